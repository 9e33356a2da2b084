//! A build that is broken on purpose, for the tests of upgrades. One build has every fault, since builds take minutes;
//! its image says which by `BROKEN_BUILD`, so that what is upgraded to is an image like any other.

/// How a build can be broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It ends at once, again and again.
    Crashes,
    /// It runs and follows its leader, and says that it is not ready.
    NeverReady,
    /// Its peers take it for a stranger.
    CannotJoin,
}

/// Whether this build has this fault. A shipped one has none, whatever its environment says.
pub fn has(fault: Fault) -> bool {
    if !cfg!(feature = "broken-build") {
        return false;
    }
    let told = std::env::var("BROKEN_BUILD").unwrap_or_default();
    let chosen = match told.as_str() {
        "never-ready" => Fault::NeverReady,
        "cannot-join" => Fault::CannotJoin,
        _ => Fault::Crashes,
    };
    chosen == fault
}
