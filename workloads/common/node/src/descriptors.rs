//! File descriptors: what disk and peers need is kept back, so that clients can never take the last one. A member that
//! cannot open a table file ends, and with it the group's leader.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::serve::TOLD;

/// For the log's segments, snapshots, libraries and the runtime itself.
const OWN: usize = 64;

/// There are too few for a single client.
#[derive(Debug, thiserror::Error)]
#[error(
    "this process may have {limit} open files, and keeps {kept} of them for its disk, its peers and the operator: raise \
     the limit (`ulimit -n`, LimitNOFILE) above that"
)]
pub struct TooFew {
    limit: usize,
    kept: usize,
}

/// The descriptors of this process.
#[derive(Clone, Copy, Debug)]
pub struct Descriptors {
    limit: usize,
}

impl Descriptors {
    /// Raises the limit as far as it may be raised (the usual 1024 is for programs that use `select`).
    pub fn claim() -> Self {
        let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
        let raised = Rlimit {
            current: maximum,
            maximum,
        };
        let limit = match setrlimit(Resource::Nofile, raised) {
            Ok(()) => maximum,
            Err(error) => {
                tracing::warn!(%error, "the limit of open files cannot be raised");
                current
            }
        };
        let limit = limit.and_then(|limit| usize::try_from(limit).ok());
        Self {
            limit: limit.unwrap_or(usize::MAX),
        }
    }

    /// As many as are wanted, but no more than one part of so many.
    pub fn part(&self, wanted: usize, parts: usize) -> usize {
        wanted.min(self.limit / parts)
    }

    /// How many clients may be connected, beside the files and connections that others were promised. That
    /// `max-connections` are too many is said.
    ///
    /// # Errors
    /// There is no room for one.
    pub fn clients(&self, promised: usize, max_connections: usize) -> Result<usize, TooFew> {
        let kept = promised + TOLD + OWN;
        let room = self.limit.saturating_sub(kept);
        if room == 0 {
            return Err(TooFew {
                limit: self.limit,
                kept,
            });
        }
        if room < max_connections {
            tracing::warn!(
                max_connections,
                open_files = self.limit,
                kept,
                served = room,
                "max-connections is more than this process may have: those beyond are refused; raise its limit of open \
                 files (`ulimit -n`, LimitNOFILE), or lower max-connections"
            );
        }
        Ok(room.min(max_connections))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_get_what_is_not_promised() {
        let few = Descriptors { limit: 1024 };
        assert_eq!((few.part(512, 4), few.part(64, 8)), (256, 64));
        let promised = 500;
        assert_eq!(
            few.clients(promised, 4096).unwrap(),
            1024 - promised - TOLD - OWN
        );
        assert_eq!(few.clients(promised, 10).unwrap(), 10);
        let told = few.clients(1024, 1).unwrap_err().to_string();
        assert!(
            told.contains("1024") && told.contains("ulimit -n"),
            "{told}"
        );
        let any = Descriptors { limit: usize::MAX };
        assert_eq!(any.clients(promised, 4096).unwrap(), 4096);
    }

    #[test]
    fn the_soft_limit_is_raised_to_the_hard_one() {
        let claimed = Descriptors::claim();
        let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
        assert_eq!(current, maximum);
        let limit = maximum.and_then(|limit| usize::try_from(limit).ok());
        assert_eq!(claimed.limit, limit.unwrap_or(usize::MAX));
    }
}
