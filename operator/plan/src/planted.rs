//! Known bugs, planted on purpose: what the simulator can find is shown by putting them back. Compiled out unless the
//! feature `planted-bugs` is on, which nothing that ships turns on.

/// A bug of a decision.
#[cfg(feature = "planted-bugs")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Bug {
    /// A group is formed though a member or a claim knows one.
    BootstrapIgnoresClaims,
    /// The founder is chosen anew in each round, and asked before the choice is durable.
    BootstrapWithoutIntent,
    /// The founder is asked before status says so: another may then be chosen when its disk is lost.
    AsksBeforeSayingSo,
    /// A member is restarted without asking whether the others are a caught-up quorum.
    RestartIgnoresLag,
    /// The next member is restarted before the last one is back.
    UpgradesTwoAtOnce,
    /// Scaling in takes the pod away before the group has let go of its member.
    ScaleInShrinksFirst,
    /// A learner is promoted before it holds the log.
    PromotesWithoutCatchingUp,
    /// A member that does not answer is taken for lost.
    RemovesTheUnreachable,
    /// A damaged member's disk is deleted whatever the others are.
    WipesWithoutQuorum,
    /// An upgrade goes on while a member is being repaired, and counts it as there.
    RollsBeforeRepair,
    /// A new template is applied without raising the partition.
    NoFence,
    /// An identity that was removed before it was ever reached is added again.
    AddsRemovedIdentity,
    /// Pods are left without a StatefulSet before the resource owns them: they outlive it.
    OrphansUnowned,
}

#[cfg(feature = "planted-bugs")]
impl Bug {
    /// All of them, for loops.
    pub const ALL: [Bug; 13] = [
        Bug::BootstrapIgnoresClaims,
        Bug::BootstrapWithoutIntent,
        Bug::AsksBeforeSayingSo,
        Bug::RestartIgnoresLag,
        Bug::UpgradesTwoAtOnce,
        Bug::ScaleInShrinksFirst,
        Bug::PromotesWithoutCatchingUp,
        Bug::RemovesTheUnreachable,
        Bug::WipesWithoutQuorum,
        Bug::RollsBeforeRepair,
        Bug::NoFence,
        Bug::AddsRemovedIdentity,
        Bug::OrphansUnowned,
    ];
}

#[cfg(feature = "planted-bugs")]
std::thread_local! {
    static PLANTED: std::cell::Cell<Option<Bug>> = const { std::cell::Cell::new(None) };
}

/// Plants a bug in every decision that is made on this thread, or heals them.
#[cfg(feature = "planted-bugs")]
pub fn plant(bug: Option<Bug>) {
    PLANTED.set(bug);
}

#[cfg(feature = "planted-bugs")]
pub(crate) fn is_planted(bug: Bug) -> bool {
    PLANTED.get() == Some(bug)
}

/// Whether a bug is planted: the constant `false` without the feature.
macro_rules! planted {
    ($bug:ident) => {{
        #[cfg(feature = "planted-bugs")]
        let planted = crate::planted::is_planted(crate::planted::Bug::$bug);
        #[cfg(not(feature = "planted-bugs"))]
        let planted = false;
        planted
    }};
}
pub(crate) use planted;
