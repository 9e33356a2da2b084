//! Which binary an image stands for.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// The table of `--image NAME=PATH`, and where to look without an entry.
#[derive(Clone, Debug, Default)]
pub struct Images {
    table: BTreeMap<String, PathBuf>,
    beside: Option<PathBuf>,
    search: OsString,
}

/// Why an image has no binary.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ImageError {
    /// The table names a file that is no program.
    #[error("image `{image}` is {} by --image, and that is no executable file; correct the path", path.display())]
    NoProgram {
        /// The image.
        image: String,
        /// What the table says.
        path: PathBuf,
    },
    /// The kind's own binary is nowhere.
    #[error(
        "no binary for image `{image}`: there is no `{binary}` {}on PATH; build or install it, or name one with --image {image}=PATH",
        beside_text(beside)
    )]
    NotFound {
        /// The image.
        image: String,
        /// The kind's own binary.
        binary: String,
        /// The folder of `quorate` itself.
        beside: Option<PathBuf>,
    },
}

fn beside_text(beside: &Option<PathBuf>) -> String {
    beside.as_ref().map_or_else(String::new, |folder| {
        format!("in {} nor ", folder.display())
    })
}

impl Images {
    /// The table, and the places of a kind's own binary: `beside` first, then the folders of `search` (a PATH).
    #[must_use]
    pub fn new(
        table: BTreeMap<String, PathBuf>,
        beside: Option<PathBuf>,
        search: OsString,
    ) -> Self {
        Self {
            table,
            beside,
            search,
        }
    }

    /// Looks at every entry of the table before the first is needed.
    ///
    /// # Errors
    /// When one is no program.
    pub fn check_table(&self) -> Result<(), ImageError> {
        self.table
            .keys()
            .try_for_each(|image| self.resolve(image, "").map(drop))
    }

    /// The binary of `image`: the table's, else the kind's own.
    ///
    /// # Errors
    /// When it is nowhere.
    pub fn resolve(&self, image: &str, binary: &str) -> Result<PathBuf, ImageError> {
        if let Some(path) = self.table.get(image) {
            return match is_program(path) {
                true => Ok(path.clone()),
                false => Err(ImageError::NoProgram {
                    image: image.to_owned(),
                    path: path.clone(),
                }),
            };
        }
        let places = self
            .beside
            .iter()
            .cloned()
            .chain(std::env::split_paths(&self.search));
        places
            .map(|folder| folder.join(binary))
            .find(|path| is_program(path))
            .ok_or_else(|| ImageError::NotFound {
                image: image.to_owned(),
                binary: binary.to_owned(),
                beside: self.beside.clone(),
            })
    }
}

fn is_program(path: &Path) -> bool {
    path.metadata()
        .is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn program(path: PathBuf) -> PathBuf {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, "").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        path
    }

    #[test]
    fn the_table_comes_first_then_beside_then_path() {
        let temp = tempfile::tempdir().unwrap();
        let (beside, on_path) = (temp.path().join("beside"), temp.path().join("path"));
        let listed = program(temp.path().join("v2"));
        let table = BTreeMap::from([
            ("a:2".to_owned(), listed.clone()),
            ("bad".to_owned(), temp.path().join("none")),
        ]);
        let images = Images::new(table, Some(beside.clone()), on_path.clone().into());
        assert_eq!(images.resolve("a:2", "a").unwrap(), listed);
        assert!(matches!(
            images.resolve("bad", "a"),
            Err(ImageError::NoProgram { .. })
        ));
        assert!(matches!(
            images.check_table(),
            Err(ImageError::NoProgram { .. })
        ));
        let missing = images.resolve("a:1", "a").unwrap_err().to_string();
        assert!(
            missing.contains("--image a:1=PATH") && missing.contains(&*beside.to_string_lossy()),
            "{missing}"
        );
        let found = program(on_path.join("a"));
        assert_eq!(images.resolve("a:1", "a").unwrap(), found);
        let found = program(beside.join("a"));
        assert_eq!(images.resolve("a:1", "a").unwrap(), found);
        fs::set_permissions(&found, fs::Permissions::from_mode(0o644)).unwrap();
        assert_eq!(images.resolve("a:1", "a").unwrap(), on_path.join("a"));
    }
}
