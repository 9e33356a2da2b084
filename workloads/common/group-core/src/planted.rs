//! Known bugs, planted on purpose: what a simulator can find is shown by putting them back. Compiled out unless the
//! feature `planted-bugs` is on, which nothing that ships turns on. The consensus core has its own
//! (`quorate_raft::plant`).

/// A bug of this crate.
#[cfg(feature = "planted-bugs")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Bug {
    /// A snapshot holds the state but not the sessions: a retry after it is applied again.
    SessionTableMissingFromSnapshot,
    /// A session's retry is applied instead of answered.
    SessionRetryAppliedTwice,
    /// The applied index is written in a batch of its own, after what was applied.
    AppliedIndexNotAtomic,
    /// The log is cut up to what is applied, durable or not.
    LogCutBeyondDurable,
    /// The state is replaced by a snapshot without noting that this is under way.
    SnapshotInstallNotMarked,
    /// A forwarded command is sent twice, under two marks, as a careless retry would.
    ForwardResent,
    /// The time in a command is what the leader's own clock shows.
    SessionsByOwnClock,
    /// A stale read's bound counts from the leader's answer, not from the question.
    StaleAgeCountsFromAnswer,
}

#[cfg(feature = "planted-bugs")]
impl Bug {
    /// All of them, for loops.
    pub const ALL: [Bug; 8] = [
        Bug::SessionTableMissingFromSnapshot,
        Bug::SessionRetryAppliedTwice,
        Bug::AppliedIndexNotAtomic,
        Bug::LogCutBeyondDurable,
        Bug::SnapshotInstallNotMarked,
        Bug::ForwardResent,
        Bug::SessionsByOwnClock,
        Bug::StaleAgeCountsFromAnswer,
    ];
}

#[cfg(feature = "planted-bugs")]
std::thread_local! {
    static PLANTED: std::cell::Cell<Option<Bug>> = const { std::cell::Cell::new(None) };
}

/// Plants a bug in all groups and tasks that run on this thread, or heals them.
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
