//! Rebuilds when a build is given another version.

fn main() {
    println!("cargo::rerun-if-env-changed=QUORATE_BUILD_VERSION");
    println!("cargo::rerun-if-changed=build.rs");
}
