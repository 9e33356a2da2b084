//! Why a disruptive act is not carried out now.

use serde::Serialize;

/// The name of a refusal: the reason of a condition and an event, and the label of a metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub enum Refusal {
    /// The observation is older than our own last write.
    CachesBehind,
    /// The resource is paused.
    Paused,
    /// A claim holds the data of an earlier resource of the same name.
    ForeignClaim,
    /// A member or a claim knows the group, so that an empty disk must not make a new one.
    GroupKnown,
    /// A member has not answered, so that nobody can tell what is on its disk.
    MemberSilent,
    /// No member leads, so that there is nobody to ask.
    NoLeader,
    /// A change of membership is not committed yet, or the configuration is joint.
    ChangeInFlight,
    /// The healthy, caught-up voters that remain would be less than a quorum.
    QuorumAtRisk,
    /// The member leads: leadership is handed over first.
    LeaderInPlace,
    /// The learner does not hold enough of the log to vote.
    LearnerBehind,
    /// A member is being repaired: scaling and upgrading wait.
    RepairFirst,
    /// The member that was restarted last is not back, at the new version and caught up.
    PreviousNotReady,
    /// An upgrade is under way: scaling waits.
    UpgradeFirst,
    /// The member says what a restart would interrupt.
    RestartBlocked,
    /// Others of the pool do not serve.
    MembersMissing,
    /// A kind's own, by its name.
    Own(&'static str),
}

impl Refusal {
    /// Those of a pool whose members form a group.
    pub const OF_GROUPS: [Refusal; 14] = [
        Refusal::CachesBehind,
        Refusal::Paused,
        Refusal::ForeignClaim,
        Refusal::GroupKnown,
        Refusal::MemberSilent,
        Refusal::NoLeader,
        Refusal::ChangeInFlight,
        Refusal::QuorumAtRisk,
        Refusal::LeaderInPlace,
        Refusal::LearnerBehind,
        Refusal::RepairFirst,
        Refusal::PreviousNotReady,
        Refusal::UpgradeFirst,
        Refusal::RestartBlocked,
    ];

    /// Those of a pool of members that are independent of each other.
    pub const OF_POOLS: [Refusal; 9] = [
        Refusal::CachesBehind,
        Refusal::Paused,
        Refusal::ForeignClaim,
        Refusal::MemberSilent,
        Refusal::RepairFirst,
        Refusal::PreviousNotReady,
        Refusal::UpgradeFirst,
        Refusal::RestartBlocked,
        Refusal::MembersMissing,
    ];

    /// Those of a kind that has pools of both sorts.
    pub const OF_BOTH: [Refusal; 15] = [
        Refusal::CachesBehind,
        Refusal::Paused,
        Refusal::ForeignClaim,
        Refusal::GroupKnown,
        Refusal::MemberSilent,
        Refusal::NoLeader,
        Refusal::ChangeInFlight,
        Refusal::QuorumAtRisk,
        Refusal::LeaderInPlace,
        Refusal::LearnerBehind,
        Refusal::RepairFirst,
        Refusal::PreviousNotReady,
        Refusal::UpgradeFirst,
        Refusal::RestartBlocked,
        Refusal::MembersMissing,
    ];

    /// The name in CamelCase.
    pub const fn name(self) -> &'static str {
        match self {
            Refusal::CachesBehind => "CachesBehind",
            Refusal::Paused => "Paused",
            Refusal::ForeignClaim => "ForeignClaim",
            Refusal::GroupKnown => "GroupKnown",
            Refusal::MemberSilent => "MemberSilent",
            Refusal::NoLeader => "NoLeader",
            Refusal::ChangeInFlight => "ChangeInFlight",
            Refusal::QuorumAtRisk => "QuorumAtRisk",
            Refusal::LeaderInPlace => "LeaderInPlace",
            Refusal::LearnerBehind => "LearnerBehind",
            Refusal::RepairFirst => "RepairFirst",
            Refusal::PreviousNotReady => "PreviousNotReady",
            Refusal::UpgradeFirst => "UpgradeFirst",
            Refusal::RestartBlocked => "RestartBlocked",
            Refusal::MembersMissing => "MembersMissing",
            Refusal::Own(name) => name,
        }
    }

    /// Whether somebody should look. What mostly passes by itself, or was asked for, is told as an everyday event: where
    /// it lasts, the condition `Degraded` says why.
    pub fn needs_attention(self) -> bool {
        match self {
            Refusal::ForeignClaim
            | Refusal::GroupKnown
            | Refusal::NoLeader
            | Refusal::QuorumAtRisk => true,
            Refusal::CachesBehind
            | Refusal::Paused
            | Refusal::MemberSilent
            | Refusal::ChangeInFlight
            | Refusal::LeaderInPlace
            | Refusal::LearnerBehind
            | Refusal::RepairFirst
            | Refusal::PreviousNotReady
            | Refusal::UpgradeFirst
            | Refusal::RestartBlocked
            | Refusal::MembersMissing
            | Refusal::Own(_) => false,
        }
    }
}
