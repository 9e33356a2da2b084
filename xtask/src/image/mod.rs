//! `cargo xtask image`: one small image with every binary that users get, made without Docker.

mod archive;
#[cfg(test)]
mod docker;
mod program;

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};
use cargo_metadata::Metadata;
use quorate_plan::USER;

pub use archive::{File, Image};

use crate::say::say;
use crate::{arrows, cluster, tool};

/// The name under which the examples ask for it.
pub const NAME: &str = "quorate.local/quorate:dev";

/// What to make.
#[derive(Debug, clap::Args)]
pub struct Make {
    /// The image's name.
    #[arg(long, value_name = "NAME", default_value = NAME)]
    tag: String,
    /// Takes this file for a binary: an image that a test breaks.
    #[arg(long, value_name = "BINARY=PATH", value_parser = replacement)]
    bin: Vec<(String, PathBuf)>,
    /// Sets a variable for what runs in it.
    #[arg(long, value_name = "NAME=VALUE")]
    env: Vec<String>,
    /// Takes the binaries as they lie there, and does not build them.
    #[arg(long)]
    no_build: bool,
    /// Makes the archive, and does not load it into the nodes of the running cluster.
    #[arg(long)]
    no_load: bool,
    /// Where the archive goes, which `docker load` takes too; beside the binaries unless you say.
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Lays the image's files out in this new folder, and makes no archive: for the Dockerfile.
    #[arg(long, value_name = "FOLDER", conflicts_with_all = ["output", "tag"])]
    directory: Option<PathBuf>,
}

fn replacement(text: &str) -> Result<(String, PathBuf), String> {
    let (name, path) = text
        .split_once('=')
        .ok_or("write BINARY=PATH, as quorate-raft-cluster=/tmp/broken")?;
    Ok((name.to_owned(), path.into()))
}

impl Make {
    /// Makes it.
    pub fn run(&self, workspace: &Metadata) -> Result<()> {
        let load = !self.no_load && self.directory.is_none();
        // Before the build, which may take minutes.
        let cluster = load.then(cluster::Running::find).transpose().context(
            "the image is loaded into the running cluster; with --no-load it is only made",
        )?;
        if !self.no_build {
            build(workspace)?;
        }
        let image = self.image(workspace)?;
        if let Some(folder) = &self.directory {
            return lay_out(&image, folder);
        }
        let archive = self.write(&image, workspace)?;
        if let Some(cluster) = cluster {
            let begun = Instant::now();
            cluster.load(&archive)?;
            let seconds = begun.elapsed().as_secs_f64();
            say(format!("loaded into every node in {seconds:.1} s"))?;
        }
        Ok(())
    }

    /// Writes the archive, and says what is in it.
    fn write(&self, image: &Image, workspace: &Metadata) -> Result<PathBuf> {
        let path = self.output.clone().unwrap_or_else(|| {
            let file = format!("release/{}.tar", self.tag.replace(['/', ':'], "-"));
            workspace.target_directory.join(file).into()
        });
        let (archive, digest) = image.archive()?;
        std::fs::write(&path, &archive)
            .with_context(|| format!("cannot write {}", path.display()))?;
        for file in image.layers.iter().flatten() {
            say(format!("  {}", file.path.display()))?;
        }
        say(format!(
            "{} is {digest}, {:.1} MB, in {}",
            self.tag,
            archive.len() as f64 / 1e6,
            path.display()
        ))?;
        Ok(path)
    }

    /// A layer of what all binaries need, and one for each.
    fn image(&self, workspace: &Metadata) -> Result<Image> {
        let binaries = shipped(workspace)?;
        for (name, _) in &self.bin {
            let list = binaries.join(", ");
            ensure!(
                binaries.contains(name),
                "there is no binary {name}: there are {list}"
            );
        }
        let (mut libraries, mut layers) = (BTreeSet::new(), vec![users()]);
        for name in &binaries {
            let given = self.bin.iter().find(|(given, _)| given == name);
            let path = given.map_or_else(
                || workspace.target_directory.join("release").join(name).into(),
                |(_, path)| path.clone(),
            );
            if !path.is_file() {
                bail!(
                    "there is no {}: leave --no-build out, or name another file with --bin",
                    path.display()
                );
            }
            libraries.extend(program::libraries(&path)?);
            layers.push(vec![File {
                path: Path::new(archive::PROGRAMS).join(name),
                mode: 0o755,
                content: program::stripped(&path)?,
            }]);
        }
        for path in libraries {
            layers[0].push(File {
                content: std::fs::read(&path)?,
                mode: 0o755,
                path,
            });
        }
        Ok(Image {
            name: self.tag.clone(),
            // Each pod says which of the binaries it is.
            entrypoint: Vec::new(),
            env: self.env.clone(),
            layers,
        })
    }
}

/// cargo shows its progress itself.
fn build(workspace: &Metadata) -> Result<()> {
    let built = tool::cargo(workspace.workspace_root.as_std_path())
        .args(["build", "--release", "--locked", "--workspace", "--bins"])
        .status()
        .context("cannot run cargo")?;
    ensure!(built.success(), "the build failed: see above");
    Ok(())
}

/// The binaries that users get, by where their crates lie.
fn shipped(workspace: &Metadata) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for package in &workspace.packages {
        if arrows::place(package, workspace.workspace_root.as_std_path())?.is_shipped() {
            let binaries = package.targets.iter().filter(|target| target.is_bin());
            names.extend(binaries.map(|target| target.name.clone()));
        }
    }
    names.sort();
    Ok(names)
}

/// The user's name, for programs that look it up.
fn users() -> Vec<File> {
    let file = |path: &str, content: String| File {
        path: path.into(),
        mode: 0o644,
        content: content.into(),
    };
    vec![
        file(
            "/etc/passwd",
            format!(
                "root:x:0:0:root:/:/sbin/nologin\nnonroot:x:{USER}:{USER}:nonroot:/:/sbin/nologin\n"
            ),
        ),
        file("/etc/group", format!("root:x:0:\nnonroot:x:{USER}:\n")),
    ]
}

fn lay_out(image: &Image, root: &Path) -> Result<()> {
    std::fs::create_dir(root).with_context(|| format!("cannot make {}", root.display()))?;
    for file in image.layers.iter().flatten() {
        let path = root.join(file.path.strip_prefix("/")?);
        std::fs::create_dir_all(path.parent().context("a file's folder")?)?;
        std::fs::write(&path, &file.content)?;
        std::fs::set_permissions(&path, PermissionsExt::from_mode(file.mode))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(arguments: &[&str]) -> Result<Image> {
        #[derive(clap::Parser)]
        struct Line {
            #[command(flatten)]
            make: Make,
        }
        let line = [&["image"], arguments].concat();
        let line = <Line as clap::Parser>::try_parse_from(line)?;
        line.make.image(&crate::workspace()?)
    }

    /// This test's own program, in place of every binary: so that none must have been built.
    fn replaced() -> Vec<String> {
        let program = std::env::current_exe().unwrap();
        let names = shipped(&crate::workspace().unwrap()).unwrap();
        let bin = |name: &String| format!("--bin={name}={}", program.display());
        names.iter().map(bin).collect()
    }

    #[test]
    fn members_and_cli_are_shipped_and_we_are_not() {
        let names = shipped(&crate::workspace().unwrap()).unwrap();
        assert!(
            names.contains(&"quorate".into()) && names.contains(&"quorate-raft-cluster".into())
        );
        assert!(
            !names
                .iter()
                .any(|name| name.contains("xtask") || name.contains("sim"))
        );
    }

    #[test]
    fn the_image_has_a_binary_per_layer_their_libraries_once_and_no_shell() {
        let replaced = replaced();
        let arguments: Vec<&str> = replaced.iter().map(String::as_str).collect();
        let image = made(&arguments).unwrap();
        assert_eq!(image.layers.len(), 1 + replaced.len());
        let paths = || image.layers.iter().flatten().map(|file| &file.path);
        assert_eq!(paths().collect::<BTreeSet<_>>().len(), paths().count());
        assert!(paths().any(|path| path == Path::new("/usr/local/bin/quorate-raft-cluster")));
        assert!(paths().any(|path| path == Path::new("/etc/passwd")));
        assert!(!paths().any(|path| path.ends_with("sh")));
        assert!(image.entrypoint.is_empty());

        let folder = tempfile::tempdir().unwrap();
        lay_out(&image, &folder.path().join("root")).unwrap();
        assert!(folder.path().join("root/usr/local/bin/quorate").exists());
    }

    #[test]
    fn what_is_missing_is_said_with_what_to_do() {
        let unknown = made(&["--bin", "quorate-radio=/bin/true"]).unwrap_err();
        assert!(
            unknown.to_string().contains("quorate-raft-cluster"),
            "{unknown}"
        );
        let nowhere = made(&["--bin", "quorate=/nowhere"]).unwrap_err();
        assert!(nowhere.to_string().contains("--no-build"), "{nowhere}");
        let form = made(&["--bin", "quorate"]).unwrap_err();
        assert!(form.to_string().contains("BINARY=PATH"), "{form}");
    }
}
