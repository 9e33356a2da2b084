//! What an image needs of a program: itself without debug information, its loader and its shared libraries.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::tool;

/// The program without debug information, which is three quarters of it. The names of functions stay, for whoever
/// reads the trace of a crash.
pub fn stripped(program: &Path) -> Result<Vec<u8>> {
    let folder = tempfile::tempdir()?;
    let to = folder.path().join("stripped");
    let (from, out) = (program.display().to_string(), to.display().to_string());
    tool::run("strip", &["--strip-debug", "-o", &out, &from])
        .context("please install binutils, if it is not there")?;
    Ok(std::fs::read(to)?)
}

/// Loader and libraries, where the loader will look for them.
pub fn libraries(program: &Path) -> Result<BTreeSet<PathBuf>> {
    match tool::run("ldd", &[&program.display().to_string()]) {
        Ok(listed) => parse(&listed),
        Err(error) if format!("{error:#}").contains("not a dynamic executable") => {
            Ok(BTreeSet::new())
        }
        Err(error) => Err(error),
    }
}

/// Lines `NAME => PATH (ADDRESS)`; the loader has its path for a name, and what the kernel brings has none.
fn parse(listed: &str) -> Result<BTreeSet<PathBuf>> {
    let mut found = BTreeSet::new();
    for line in listed.lines().map(str::trim) {
        let (name, place) = line.split_once(" => ").unwrap_or((line, line));
        if place.starts_with("not found") {
            bail!("{name} is nowhere: please install the package that has it");
        }
        let path = place.split(" (").next().unwrap_or_default();
        if path.starts_with('/') {
            found.insert(path.into());
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_and_loader_are_taken_and_the_kernels_own_is_not() {
        let listed = "\tlinux-vdso.so.1 (0x00007f)\n\tlibm.so.6 => /lib/x86_64-linux-gnu/libm.so.6 (0x00007f)\n\t/lib64/ld-linux-x86-64.so.2 (0x00007f)\n";
        let expected = [
            "/lib/x86_64-linux-gnu/libm.so.6",
            "/lib64/ld-linux-x86-64.so.2",
        ];
        assert_eq!(
            parse(listed).unwrap(),
            expected.map(PathBuf::from).into_iter().collect()
        );
        assert!(parse("\tstatically linked\n").unwrap().is_empty());
    }

    #[test]
    fn a_library_that_is_nowhere_is_named() {
        let error = parse("\tlibx.so.1 => not found\n").unwrap_err();
        assert!(error.to_string().contains("libx.so.1"));
    }

    #[test]
    fn this_very_program_has_a_loader_and_shrinks() {
        let program = std::env::current_exe().unwrap();
        let found = libraries(&program).unwrap();
        assert!(found.iter().all(|path| path.exists()), "{found:?}");
        assert!(
            found
                .iter()
                .any(|path| path.to_string_lossy().contains("/ld-"))
        );
        let size = std::fs::metadata(&program).unwrap().len();
        assert!((stripped(&program).unwrap().len() as u64) < size);
    }
}
