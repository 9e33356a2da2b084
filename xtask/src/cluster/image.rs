//! Images without a registry: an archive as `docker save` writes it, with one layer of static binaries.

use std::path::Path;

use anyhow::{Context, Result};
use serde_json::json;
use sha2::{Digest, Sha256};

use super::place::write;

/// What every sandbox is made from.
pub const PAUSE: &str = "quorate.local/pause:1";

/// Writes an archive of an image that holds these programs, at its root, and starts the first. It does not run as root.
pub fn archive(path: &Path, name: &str, programs: &[&Path]) -> Result<()> {
    let mut layer = tar::Builder::new(Vec::new());
    let mut names = Vec::new();
    for program in programs {
        let name = program.file_name().and_then(|name| name.to_str());
        let name = name.with_context(|| format!("{} is no program", program.display()))?;
        append(&mut layer, name, 0o755, &std::fs::read(program)?)?;
        names.push(format!("/{name}"));
    }
    let layer = layer.into_inner()?;
    let config = json!({
        "architecture": if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" },
        "os": "linux",
        "config": {"User": "65532:65532", "Entrypoint": &names[..1]},
        "rootfs": {"type": "layers", "diff_ids": [format!("sha256:{}", hex(&layer))]},
    })
    .to_string();
    let config_name = format!("{}.json", hex(config.as_bytes()));
    let manifest = json!([{
        "Config": config_name,
        "RepoTags": [name],
        "Layers": ["layer.tar"],
    }]);
    let mut image = tar::Builder::new(Vec::new());
    append(&mut image, &config_name, 0o644, config.as_bytes())?;
    append(&mut image, "layer.tar", 0o644, &layer)?;
    append(
        &mut image,
        "manifest.json",
        0o644,
        manifest.to_string().as_bytes(),
    )?;
    write(path, image.into_inner()?)
}

/// Owned by root and without a time, so that the same programs give the same image.
fn append(archive: &mut tar::Builder<Vec<u8>>, name: &str, mode: u32, data: &[u8]) -> Result<()> {
    let mut header = tar::Header::new_gnu();
    header.set_size(data.len() as u64);
    header.set_mode(mode);
    Ok(archive.append_data(&mut header, name, data)?)
}

fn hex(data: &[u8]) -> String {
    Sha256::digest(data)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    #[test]
    fn the_same_program_gives_the_same_image_and_its_digest_is_the_layers() {
        let folder = tempfile::tempdir().unwrap();
        let program = folder.path().join("pause");
        std::fs::write(&program, "#!").unwrap();
        let (one, two) = (folder.path().join("1.tar"), folder.path().join("2.tar"));
        archive(&one, PAUSE, &[&program]).unwrap();
        archive(&two, PAUSE, &[&program]).unwrap();
        let bytes = std::fs::read(&one).unwrap();
        assert_eq!(bytes, std::fs::read(&two).unwrap());

        let (mut layer, mut config) = (Vec::new(), String::new());
        for entry in tar::Archive::new(&bytes[..]).entries().unwrap() {
            let mut entry = entry.unwrap();
            match entry.path().unwrap().to_str().unwrap() {
                "layer.tar" => drop(entry.read_to_end(&mut layer).unwrap()),
                "manifest.json" => {}
                _ => drop(entry.read_to_string(&mut config).unwrap()),
            }
        }
        assert!(config.contains(&hex(&layer)) && config.contains("/pause"));
    }
}
