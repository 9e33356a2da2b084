//! What the documentation names is there: our commands with their flags, the image, files and pages.

use std::path::{Path, PathBuf};

use clap::Parser;
use clap::error::ErrorKind;

use crate::Xtask;

/// The pages, with their text.
fn pages() -> Vec<(PathBuf, String)> {
    let root = crate::root().unwrap();
    let folders = [root.clone(), root.join("docs")];
    let entries = folders
        .iter()
        .flat_map(|folder| std::fs::read_dir(folder).unwrap());
    let paths = entries.map(|entry| entry.unwrap().path());
    let pages = paths.filter(|path| path.extension().is_some_and(|end| end == "md"));
    pages
        .map(|path| {
            let text = std::fs::read_to_string(&path).unwrap();
            (path, text)
        })
        .collect()
}

/// What follows `before`, each time, up to one of `ends`.
fn after<'a>(text: &'a str, before: &'a str, ends: &'a [char]) -> impl Iterator<Item = &'a str> {
    text.split(before)
        .skip(1)
        .map(move |rest| rest.split(ends).next().unwrap_or_default())
}

/// The commands that a page shows to be typed.
fn typed(text: &str) -> String {
    let blocks = after(text, "```sh\n", &['`']);
    blocks.collect::<Vec<_>>().join("\n")
}

#[test]
fn every_cargo_xtask_that_a_page_names_is_understood() {
    for (page, text) in pages() {
        for line in after(&text, "cargo xtask", &['`', '\n', '#', '|', ';', ')', '&']) {
            let words = ["cargo xtask"].into_iter().chain(line.split_whitespace());
            let Err(error) = Xtask::try_parse_from(words) else {
                continue;
            };
            // A name of a group of commands, or a question for help.
            let named = [
                ErrorKind::DisplayHelp,
                ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand,
            ];
            assert!(named.contains(&error.kind()), "{}: {error}", page.display());
        }
    }
}

#[test]
fn every_file_that_a_page_gives_to_a_command_or_links_to_exists() {
    let root = crate::root().unwrap();
    let exists = |page: &Path, folder: &Path, file: &str| {
        let there = folder.join(file).exists();
        assert!(there, "{} names {file}, which is not there", page.display());
    };
    for (page, text) in pages() {
        let typed = typed(&text);
        for option in [" -f ", " --config "] {
            for file in after(&typed, option, &[' ', '\n']) {
                exists(&page, &root, file);
            }
        }
        for link in after(&text, "](", &[')', '#']) {
            if !link.is_empty() && !link.contains("://") {
                exists(&page, page.parent().unwrap(), link);
            }
        }
    }
}

#[test]
fn the_image_that_kind_is_given_is_the_one_that_xtask_makes() {
    let root = crate::root().unwrap();
    let page = std::fs::read_to_string(root.join("docs/quickstart-kind.md")).unwrap();
    let named: Vec<String> = after(&page, "quorate.local/", &[' ', '\n', '`'])
        .map(|rest| format!("quorate.local/{rest}"))
        .collect();
    assert!(named.len() >= 2, "built, then loaded: {named:?}");
    assert!(
        named.iter().all(|name| name == crate::image::NAME),
        "{named:?}"
    );
}
