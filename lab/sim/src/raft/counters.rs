//! What a run reached. A simulation that never saw a snapshot installed has proved nothing about snapshots, so a
//! run over many seeds fails when any of these stayed at zero.

use std::fmt;

use crate::runs::Count;

macro_rules! reached {
    ($($name:ident: $text:literal,)*) => {
        /// Something worth reaching.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Reached {
            $(#[doc = $text] $name,)*
        }

        impl Reached {
            /// All of them.
            pub const ALL: &[Reached] = &[$(Reached::$name,)*];

            /// In words.
            pub fn text(self) -> &'static str {
                match self { $(Reached::$name => $text,)* }
            }
        }
    };
}

reached! {
    LeaderChange: "leader changes",
    ConflictTruncated: "conflicts truncated",
    SnapshotTaken: "snapshots taken",
    SnapshotInstalled: "snapshots installed",
    JointEntered: "joint configurations entered",
    JointLeft: "joint configurations left",
    LeaderLeft: "joint configurations left by the leader itself",
    ConfigurationRolledBack: "configurations rolled back with their entry",
    LearnerAdded: "learners added",
    Promoted: "learners promoted",
    Removed: "members removed",
    StoodAside: "removed members that set their data aside",
    Restart: "restarts",
    TornTail: "restarts with a torn tail",
    PowerLoss: "power losses",
    AllDown: "crashes of all members at once",
    CrashInTask: "crashes in the middle of a task on the state",
    FailedSync: "failed fsyncs that ended the process",
    StuckSync: "fsyncs that took longer than an election",
    Damaged: "members that reported damage",
    SetAside: "damaged members that set their data aside",
    Replaced: "damaged or lost members replaced",
    DiskLost: "disks lost",
    FollowerFull: "rounds in which a follower takes nothing in before it has applied",
    Paused: "members stopped for a while",
    Partition: "partitions",
    ClockJumped: "clocks that jumped ahead",
    OneWay: "links cut in one direction only",
    MessageLost: "messages lost",
    MessageTwice: "messages delivered twice",
    MessageLate: "messages delivered late, after newer ones",
    Transferred: "leaderships handed over",
    TransferFailed: "transfers that ran out of time or were refused",
    ChangeRefused: "changes refused",
    ReadByLeader: "linearizable reads served by the leader",
    ReadByFollower: "linearizable reads served by others",
    StaleRead: "stale reads with a bound",
    Written: "writes answered",
    Forwarded: "writes answered through another member than the leader",
    RetryAnswered: "session writes retried and answered with the first answer",
    SessionExpired: "sessions expired",
    ConditionFailed: "writes refused by their condition",
    Refused: "requests refused",
    Unknown: "requests with an unknown outcome",
    ReadOnly: "writes refused for want of disk space",
    SegmentDropped: "segments of the log dropped",
}

/// How often each was reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Counters([u64; Reached::ALL.len()]);

impl Default for Counters {
    fn default() -> Self {
        Counters([0; Reached::ALL.len()])
    }
}

impl Counters {
    /// Counts one.
    pub fn hit(&mut self, what: Reached) {
        self.0[what as usize] += 1;
    }

    /// How often it was reached.
    pub fn get(&self, what: Reached) -> u64 {
        self.0[what as usize]
    }

    /// What was never reached.
    pub fn missing(&self) -> Vec<Reached> {
        Reached::ALL
            .iter()
            .copied()
            .filter(|what| self.get(*what) == 0)
            .collect()
    }
}

impl Count for Counters {
    fn merge(&mut self, other: &Self) {
        for (mine, theirs) in self.0.iter_mut().zip(other.0) {
            *mine += theirs;
        }
    }
}

impl fmt::Display for Counters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for what in Reached::ALL {
            writeln!(f, "{:>12}  {}", self.get(*what), what.text())?;
        }
        Ok(())
    }
}
