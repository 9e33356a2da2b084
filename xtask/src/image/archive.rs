//! An image as `docker save` writes it: a tar of layers, a config and a manifest. The same files give the same bytes.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use quorate_plan::USER;
use serde_json::json;
use sha2::{Digest, Sha256};

/// Where programs lie.
pub const PROGRAMS: &str = "/usr/local/bin";

/// An image. It never runs as root.
#[derive(Debug, Default)]
pub struct Image {
    /// As `quorate.local/quorate:dev`.
    pub name: String,
    /// What it starts unless it is told; nothing, when it must be told.
    pub entrypoint: Vec<String>,
    /// Variables as `NAME=VALUE`, beside the PATH.
    pub env: Vec<String>,
    /// Files that change together lie in one layer: images share the layers that are the same.
    pub layers: Vec<Vec<File>>,
}

/// A file of an image, owned by root.
#[derive(Clone, Debug)]
pub struct File {
    /// From the image's root on.
    pub path: PathBuf,
    /// Its permissions.
    pub mode: u32,
    /// What it holds.
    pub content: Vec<u8>,
}

impl Image {
    /// The archive, and the digest that Docker and Kubernetes know the image by.
    pub fn archive(&self) -> Result<(Vec<u8>, String)> {
        let mut image = tar::Builder::new(Vec::new());
        let (mut digests, mut names) = (Vec::new(), Vec::new());
        for layer in &self.layers {
            let layer = tar_of(layer)?;
            let digest = hex(&layer);
            let name = format!("{digest}.tar");
            append(&mut image, &name, 0o644, &layer)?;
            digests.push(format!("sha256:{digest}"));
            names.push(name);
        }
        let mut env = vec![format!("PATH={PROGRAMS}")];
        env.extend(self.env.iter().cloned());
        let config = json!({
            "architecture": if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" },
            "os": "linux",
            "config": {
                "User": format!("{USER}:{USER}"),
                "Env": env,
                "Entrypoint": self.entrypoint,
            },
            "rootfs": {"type": "layers", "diff_ids": digests},
        })
        .to_string();
        let digest = hex(config.as_bytes());
        let config_name = format!("{digest}.json");
        append(&mut image, &config_name, 0o644, config.as_bytes())?;
        let manifest = json!([{"Config": config_name, "RepoTags": [self.name], "Layers": names}]);
        let manifest = manifest.to_string();
        append(&mut image, "manifest.json", 0o644, manifest.as_bytes())?;
        Ok((image.into_inner()?, format!("sha256:{digest}")))
    }
}

fn tar_of(files: &[File]) -> Result<Vec<u8>> {
    let mut layer = tar::Builder::new(Vec::new());
    let mut files: Vec<&File> = files.iter().collect();
    files.sort_by_key(|file| &file.path);
    let inside = |path: &Path| -> Result<PathBuf> {
        let inside = path.strip_prefix("/");
        Ok(inside
            .with_context(|| format!("{} is no absolute path", path.display()))?
            .into())
    };
    // By themselves, or whoever unpacks it chooses their permissions.
    let folders: BTreeSet<&Path> = files
        .iter()
        .flat_map(|file| file.path.ancestors().skip(1))
        .filter(|folder| folder.parent().is_some())
        .collect();
    for folder in folders {
        let mut header = header(0o755);
        header.set_entry_type(tar::EntryType::Directory);
        layer.append_data(&mut header, inside(folder)?, std::io::empty())?;
    }
    for file in files {
        append(&mut layer, inside(&file.path)?, file.mode, &file.content)?;
    }
    Ok(layer.into_inner()?)
}

fn append(
    archive: &mut tar::Builder<Vec<u8>>,
    path: impl AsRef<Path>,
    mode: u32,
    data: &[u8],
) -> Result<()> {
    let mut header = header(mode);
    header.set_size(data.len() as u64);
    Ok(archive.append_data(&mut header, path, data)?)
}

/// Of root, and without a time.
fn header(mode: u32) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.set_mode(mode);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_size(0);
    header
}

fn hex(data: &[u8]) -> String {
    Sha256::digest(data)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::io::Read;

    use super::*;

    fn image(files: &[(&str, &str)]) -> Image {
        let file = |(path, content): &(&str, &str)| File {
            path: path.into(),
            mode: 0o755,
            content: (*content).into(),
        };
        Image {
            name: "quorate.local/x:1".into(),
            layers: vec![files.iter().map(file).collect()],
            ..Image::default()
        }
    }

    fn entries(archive: &[u8]) -> BTreeMap<String, (u32, Vec<u8>)> {
        let mut archive = tar::Archive::new(archive);
        let read = |entry: std::io::Result<tar::Entry<'_, &[u8]>>| {
            let mut entry = entry.unwrap();
            let path = entry.path().unwrap().display().to_string();
            let mut content = Vec::new();
            entry.read_to_end(&mut content).unwrap();
            (path, (entry.header().mode().unwrap(), content))
        };
        archive.entries().unwrap().map(read).collect()
    }

    #[test]
    fn the_same_files_in_any_order_give_the_same_image() {
        let one = image(&[("/bin/a", "1"), ("/bin/b", "2")]);
        let two = image(&[("/bin/b", "2"), ("/bin/a", "1")]);
        assert_eq!(one.archive().unwrap(), two.archive().unwrap());
        let other = image(&[("/bin/a", "1"), ("/bin/b", "3")]);
        assert_ne!(one.archive().unwrap().1, other.archive().unwrap().1);
    }

    #[test]
    fn the_manifest_names_the_config_and_the_config_the_layers_and_nobody_runs_as_root() {
        let image = Image {
            env: vec!["A=1".into()],
            ..image(&[("/bin/a", "1")])
        };
        let (archive, digest) = image.archive().unwrap();
        let entries = entries(&archive);
        let json =
            |name: &str| -> serde_json::Value { serde_json::from_slice(&entries[name].1).unwrap() };
        let manifest = &json("manifest.json")[0];
        let config = manifest["Config"].as_str().unwrap();
        assert_eq!(format!("sha256:{}", hex(&entries[config].1)), digest);
        let layer = manifest["Layers"][0].as_str().unwrap();
        let config = json(config);
        let found = format!("sha256:{}", hex(&entries[layer].1));
        assert_eq!(config["rootfs"]["diff_ids"][0], found);
        assert_eq!(config["config"]["User"], "65532:65532");
        let env = serde_json::json!(["PATH=/usr/local/bin", "A=1"]);
        assert_eq!(config["config"]["Env"], env);
    }

    #[test]
    fn a_layer_brings_its_folders() {
        let layer = tar_of(&image(&[("/usr/bin/a", "1")]).layers[0]).unwrap();
        let entries = entries(&layer);
        assert_eq!(
            entries.keys().collect::<Vec<_>>(),
            ["usr", "usr/bin", "usr/bin/a"]
        );
        assert!(entries.values().all(|(mode, _)| *mode == 0o755));
    }

    #[test]
    fn a_path_that_starts_nowhere_is_refused() {
        let error = tar_of(&image(&[("a", "1")]).layers[0]).unwrap_err();
        assert!(error.to_string().contains("absolute"));
    }
}
