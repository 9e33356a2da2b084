//! Known bugs, planted on purpose: what a simulator can find is shown by putting them back. Compiled out unless the
//! feature `planted-bugs` is on, which nothing that ships turns on.

/// A bug of this crate.
#[cfg(feature = "planted-bugs")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Bug {
    /// A follower acknowledges entries before they are durable.
    AckBeforeSync,
    /// A vote is sent before it is durable.
    VoteBeforeSync,
    /// The write of a vote leaves out whom it was given to.
    VoteNotWritten,
    /// A leader commits entries of earlier terms by counting, and so needs none of its own to begin with (paper,
    /// figure 8).
    OldTermCommit,
    /// A leader answers reads without asking whether it still leads.
    ReadWithoutRound,
    /// A read joins the round that is already under way when it comes.
    ReadJoinsOldRound,
    /// A leader answers reads from a commit index of before its term.
    ReadBeforeFirstCommit,
    /// A configuration stays in force when its entry is truncated.
    ConfigurationNotRolledBack,
    /// A joint configuration asks only the new half.
    JointCountsOneHalf,
    /// Voters are exchanged in one step, without a joint configuration.
    ChangeWithoutJoint,
    /// A change is taken before the leader has committed an entry of its term (the single-server-change bug).
    ChangeBeforeFirstCommit,
    /// A follower cuts its log after every append, so that a late one takes acknowledged entries away.
    AppendTruncatesAlways,
    /// A follower does not look at the term of the entry before the first.
    NoPrevTermCheck,
    /// A leader counts itself for entries that its disk does not have yet.
    LeaderCountsItselfEarly,
    /// A follower takes entries in however much it has not applied.
    UnappliedUnbounded,
    /// A late report of an overwritten write counts for the entries that replaced it (ABA).
    WrittenCountsOverwritten,
}

#[cfg(feature = "planted-bugs")]
impl Bug {
    /// All of them, for loops.
    pub const ALL: [Bug; 16] = [
        Bug::AckBeforeSync,
        Bug::VoteBeforeSync,
        Bug::VoteNotWritten,
        Bug::OldTermCommit,
        Bug::ReadWithoutRound,
        Bug::ReadJoinsOldRound,
        Bug::ReadBeforeFirstCommit,
        Bug::ConfigurationNotRolledBack,
        Bug::JointCountsOneHalf,
        Bug::ChangeWithoutJoint,
        Bug::ChangeBeforeFirstCommit,
        Bug::AppendTruncatesAlways,
        Bug::NoPrevTermCheck,
        Bug::LeaderCountsItselfEarly,
        Bug::UnappliedUnbounded,
        Bug::WrittenCountsOverwritten,
    ];
}

#[cfg(feature = "planted-bugs")]
std::thread_local! {
    static PLANTED: std::cell::Cell<Option<Bug>> = const { std::cell::Cell::new(None) };
}

/// Plants a bug in every core that runs on this thread, or heals them.
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
