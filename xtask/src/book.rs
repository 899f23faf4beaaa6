//! Makes a book of the documentation: the pages that `docs/SUMMARY.md` names, as mdBook wants them.

use std::collections::BTreeSet;
use std::fs;
use std::io::ErrorKind;
use std::path::{Component, Path, PathBuf};
use std::process::Command;

use crate::Result;
use crate::console::say;
use crate::workspace::Workspace;

/// Which pages there are, in order, with links as anybody who reads it beside the pages would follow them.
const SUMMARY: &str = "docs/SUMMARY.md";

/// Whose folder it is.
const DOCS: &str = "docs";

/// Where the pages' pictures are.
const PICTURES: &str = "docs/performance";

const CONFIGURATION: &str = "\
[book]
title = \"Sessions for Rust\"
src = \"src\"

[output.html]
# Code is compiled by `cargo xtask test-all`, and needs crates that no playground has.
playground.runnable = false
";

const ADVICE: &str = "mdbook is not installed: run `cargo install mdbook --locked`";

/// Writes the book's sources below the target folder, in the folders that they have here so that their links hold, and has
/// mdBook make pages of them.
pub(crate) fn run(workspace: &Workspace) -> Result<bool> {
    let book = workspace.target.join("book");
    let sources = book.join("src");
    if sources.exists() {
        fs::remove_dir_all(&sources)?;
    }
    for (path, text) in texts(&workspace.root)? {
        write(&sources.join(path), &text)?;
    }
    for picture in pictures(&workspace.root)? {
        fs::copy(workspace.root.join(&picture), sources.join(&picture))?;
    }
    write(&book.join("book.toml"), CONFIGURATION)?;
    match Command::new("mdbook").arg("build").arg(&book).status() {
        Ok(status) if status.success() => {
            say(format_args!(
                "The book is in {}",
                book.join("book/index.html").display()
            ));
            Ok(true)
        }
        Ok(_) => Ok(false),
        Err(error) if error.kind() == ErrorKind::NotFound => Err(ADVICE.into()),
        Err(error) => Err(format!("mdbook can't be started: {error}").into()),
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "a page of the book is made anew by the next run"
)]
fn write(path: &Path, text: &str) -> Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    Ok(fs::write(path, text)?)
}

/// The book's own pages and its summary, each where it is here, as mdBook is to read them.
fn texts(root: &Path) -> Result<Vec<(PathBuf, String)>> {
    let summary = fs::read_to_string(root.join(SUMMARY))?;
    let mut paths = Vec::new();
    for page in pages(&summary) {
        let path = from_root(Path::new(DOCS), page);
        paths.push(path.ok_or_else(|| format!("{SUMMARY}: {page} leads out"))?);
    }
    let pictures = pictures(root)?;
    let in_book: BTreeSet<PathBuf> = paths.iter().chain(&pictures).cloned().collect();
    let mut texts = vec![(PathBuf::from("SUMMARY.md"), summary_from_root(&summary))];
    for path in paths {
        let text = fs::read_to_string(root.join(&path))
            .map_err(|error| format!("{SUMMARY}: {}: {error}", path.display()))?;
        let text = for_mdbook(&text, &|target| link_in_book(&in_book, &path, target));
        texts.push((path, text));
    }
    Ok(texts)
}

/// The pictures that pages show, from the root.
fn pictures(root: &Path) -> Result<Vec<PathBuf>> {
    let mut pictures = Vec::new();
    for entry in fs::read_dir(root.join(PICTURES))? {
        let name = PathBuf::from(entry?.file_name());
        if name.extension().is_some_and(|extension| extension == "svg") {
            pictures.push(Path::new(PICTURES).join(name));
        }
    }
    Ok(pictures)
}

/// The pages that a summary links to, as it writes them.
fn pages(summary: &str) -> impl Iterator<Item = &str> {
    summary.lines().filter_map(|line| {
        let (_, link) = line.split_once("](")?;
        link.split_once(')').map(|(page, _)| page)
    })
}

/// Where a page is that is named from this folder, or `None` outside of the project.
fn from_root(folder: &Path, page: &str) -> Option<PathBuf> {
    let mut path = folder.to_owned();
    for part in Path::new(page).components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir => {
                if !path.pop() {
                    return None;
                }
            }
            Component::Normal(name) => path.push(name),
            _ => return None,
        }
    }
    Some(path)
}

/// How the book writes a link of a page, or `None` for what it does not have: source code, a file of the tests.
fn link_in_book(in_book: &BTreeSet<PathBuf>, page: &Path, target: &str) -> Option<String> {
    // An address, or a place on the same page.
    if target.contains(':') || target.starts_with('#') {
        return Some(target.to_owned());
    }
    let (path, section) = target.split_at(target.find('#').unwrap_or(target.len()));
    let found = from_root(page.parent()?, path)?;
    if !in_book.contains(&found) {
        return None;
    }
    // mdBook makes an index of a README, and leaves the links to it as they are.
    Some(match path.strip_suffix("README.md") {
        Some(folder) => format!("{folder}index.md{section}"),
        None => target.to_owned(),
    })
}

fn summary_from_root(summary: &str) -> String {
    let mut text = String::new();
    for line in summary.lines() {
        match line.split_once("](").zip(pages(line).next()) {
            Some(((before, _), page)) => {
                let path = from_root(Path::new(DOCS), page).unwrap_or_default();
                text.push_str(&format!("{before}]({})\n", path.display()));
            }
            None => text.push_str(&format!("{line}\n")),
        }
    }
    text
}

/// A page that was written for rustdoc: blocks without a language are Rust, and links to items lead nowhere in a book. The others
/// are as `link` says.
fn for_mdbook(page: &str, link: &dyn Fn(&str) -> Option<String>) -> String {
    let mut text = String::new();
    let mut is_in_block = false;
    for line in page.lines() {
        if let Some(language) = line.strip_prefix("```") {
            let is_for_rustdoc = matches!(language, "" | "no_run" | "should_panic");
            text.push_str(if !is_in_block && is_for_rustdoc {
                "```rust"
            } else {
                line
            });
            is_in_block = !is_in_block;
        } else if is_in_block {
            text.push_str(line);
        } else {
            text.push_str(&with_links(line, link));
        }
        text.push('\n');
    }
    text
}

/// Leaves what it shows of a link that leads nowhere.
fn with_links(line: &str, link: &dyn Fn(&str) -> Option<String>) -> String {
    let mut text = String::new();
    let mut rest = line;
    while let Some((before, bracket)) = rest.split_once('[') {
        let Some((shown, after)) = bracket.split_once(']') else {
            break;
        };
        text.push_str(before);
        let target = after
            .strip_prefix('(')
            .and_then(|after| after.split_once(')'));
        rest = match target {
            Some((target, behind)) => {
                // With `::` it is an item, which rustdoc finds.
                let target = if target.contains("::") {
                    None
                } else {
                    link(target)
                };
                match target {
                    Some(target) => text.push_str(&format!("[{shown}]({target})")),
                    None => text.push_str(shown),
                }
                behind
            }
            // What rustdoc finds by its name.
            None if shown.starts_with('`') => {
                text.push_str(shown);
                after
            }
            None => {
                text.push_str(&format!("[{shown}]"));
                after
            }
        };
    }
    text.push_str(rest);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn root() -> &'static Path {
        Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
    }

    #[test]
    fn a_page_is_found_from_the_documentation_and_not_outside_of_the_project() {
        let found = |page| from_root(Path::new(DOCS), page);
        assert_eq!(found("guide.md"), Some(PathBuf::from("docs/guide.md")));
        assert_eq!(
            found("../session-db/docs/crate.md"),
            Some(PathBuf::from("session-db/docs/crate.md"))
        );
        assert_eq!(found("../../elsewhere.md"), None);
        assert_eq!(found("/etc/passwd"), None);
    }

    #[test]
    fn a_summary_names_pages_from_the_root() {
        let summary = "# Using\n\n- [Guide](guide.md)\n  - [Stores](../a/docs/b.md)\n";
        assert_eq!(
            pages(summary).collect::<Vec<_>>(),
            ["guide.md", "../a/docs/b.md"]
        );
        assert_eq!(
            summary_from_root(summary),
            "# Using\n\n- [Guide](docs/guide.md)\n  - [Stores](a/docs/b.md)\n"
        );
    }

    #[test]
    fn a_page_for_rustdoc_reads_well_in_a_book() {
        let page = "See [`modify`](crate::SessionBase::modify), [`Session`] and [this](other.md), not [that](x.rs).\n\
                    ```\n# hidden\nlet a = b[`c`];\n```\n```sh\nls\n```\n";
        let link = |target: &str| (target == "other.md").then(|| target.to_owned());
        assert_eq!(
            for_mdbook(page, &link),
            "See `modify`, `Session` and [this](other.md), not that.\n\
             ```rust\n# hidden\nlet a = b[`c`];\n```\n```sh\nls\n```\n"
        );
    }

    #[test]
    fn a_link_is_written_as_the_book_needs_it_or_not_at_all() {
        let in_book = ["README.md", "docs/guide.md", "docs/performance/README.md"];
        let in_book = in_book.into_iter().map(PathBuf::from).collect();
        let link = |target| link_in_book(&in_book, Path::new("docs/guide.md"), target);
        for (target, written) in [
            ("../README.md#use", Some("../index.md#use")),
            ("performance/README.md", Some("performance/index.md")),
            ("guide.md#growing", Some("guide.md#growing")),
            ("#growing", Some("#growing")),
            ("https://example.org/", Some("https://example.org/")),
            ("../deny.toml", None),
            ("../../elsewhere.md", None),
        ] {
            assert_eq!(link(target).as_deref(), written, "{target}");
        }
    }

    #[test]
    fn no_link_of_the_book_leads_nowhere() {
        let texts = texts(root()).unwrap();
        let pictures = pictures(root()).unwrap();
        let is_there = |target: &Path| {
            let page = target.with_file_name(match target.file_name() {
                Some(name) if name == "index.md" => "README.md".as_ref(),
                name => name.unwrap_or_default(),
            });
            pictures.contains(&page) || texts.iter().any(|(path, _)| *path == page)
        };
        let mut links = 0;
        for (path, text) in &texts {
            let prose = text.split("```").step_by(2);
            let targets = prose.flat_map(|part| part.split("](").skip(1));
            for target in targets.filter_map(|rest| rest.split(')').next()) {
                let file = target.split('#').next().unwrap_or_default();
                if file.is_empty() || file.contains(':') {
                    continue;
                }
                links += 1;
                let found = from_root(path.parent().unwrap(), file);
                assert!(
                    found.is_some_and(|found| is_there(&found)),
                    "a reader of {} follows the link {target} to nowhere",
                    path.display()
                );
            }
        }
        assert!(links > 50, "only {links} links were found");
    }

    #[test]
    fn every_page_of_the_documentation_is_in_the_book() {
        let texts = texts(root()).unwrap();
        for entry in fs::read_dir(root().join(DOCS)).unwrap() {
            let path = Path::new(DOCS).join(entry.unwrap().file_name());
            let is_page = path.extension().is_some_and(|extension| extension == "md");
            let is_summary = path == Path::new(SUMMARY);
            assert!(
                !is_page || is_summary || texts.iter().any(|(page, _)| *page == path),
                "{SUMMARY} does not name {}",
                path.display()
            );
        }
    }
}
