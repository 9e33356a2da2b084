//! The custom resources of quorate.dev.
