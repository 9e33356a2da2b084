//! Compiles `proto/peer.proto` without an installed protoc.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo::rerun-if-changed=proto/peer.proto");
    let files = protox::compile(["peer.proto"], ["proto"])?;
    // Connections are opened and accepted by our own code (bound source address, certificates that rotate), so
    // tonic's transport is not needed.
    tonic_prost_build::configure()
        .build_transport(false)
        .bytes(".")
        .compile_fds(files)?;
    Ok(())
}
