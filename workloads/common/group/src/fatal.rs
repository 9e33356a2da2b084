//! What ends the process: it is told to main, never acted on in the depth.

use quorate_store::LogError;

/// The exit code that main should end with on a [`Fatal`]: EX_SOFTWARE of sysexits.h.
pub const EXIT_CODE: u8 = 70;

/// The groups cannot go on; the process must end and start again.
#[derive(Debug, thiserror::Error)]
pub enum Fatal {
    /// A write or fsync of the log failed. What is on the disk now is unknown to this process (fsyncgate, 2018):
    /// only a new one, which reads it again, can say.
    #[error("the log cannot be written: {0}; check the disk, then start the member again")]
    Log(#[from] LogError),
    /// The state cannot be read or written. As with the log: only a new process, which opens it again, can say what is
    /// on the disk.
    #[error("{0}; check the disk and its free space, then start the member again")]
    State(String),
    /// A write was asked for although the log was found damaged.
    #[error("the log is damaged, and yet a write was asked for")]
    NoLog,
    /// A thread or task ended that must not.
    #[error("{0} ended unexpectedly; the log before this line says why")]
    Ended(&'static str),
}
