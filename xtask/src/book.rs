//! Makes a book of the documentation: the pages that `docs/SUMMARY.md` names, as mdBook wants them.

use std::fs;
use std::io::ErrorKind;
use std::path::{Component, Path, PathBuf};
use std::process::Command;

use crate::Result;
use crate::console::say;
use crate::workspace::Workspace;

/// Which pages there are, in order, with links as anybody who reads it beside the pages would follow them.
const SUMMARY: &str = "docs/SUMMARY.md";

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
    let summary = fs::read_to_string(workspace.root.join(SUMMARY))?;
    for page in pages(&summary) {
        let path = from_root(page).ok_or_else(|| format!("{SUMMARY}: {page} leads out"))?;
        let text = fs::read_to_string(workspace.root.join(&path))
            .map_err(|error| format!("{SUMMARY}: {}: {error}", path.display()))?;
        write(&sources.join(&path), &for_mdbook(&text))?;
    }
    for picture in pictures(&workspace.root.join("docs/performance"))? {
        let name = picture.file_name().unwrap_or_default();
        fs::copy(&picture, sources.join("docs/performance").join(name))?;
    }
    write(&sources.join("SUMMARY.md"), &summary_from_root(&summary))?;
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

fn pictures(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut pictures = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "svg") {
            pictures.push(path);
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

/// Where a page is that is named from the folder of the documentation, or `None` outside of the project.
fn from_root(page: &str) -> Option<PathBuf> {
    let mut path = PathBuf::from("docs");
    for part in Path::new(page).components() {
        match part {
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

fn summary_from_root(summary: &str) -> String {
    let mut text = String::new();
    for line in summary.lines() {
        match line.split_once("](").zip(pages(line).next()) {
            Some(((before, _), page)) => {
                let path = from_root(page).unwrap_or_default();
                text.push_str(&format!("{before}]({})\n", path.display()));
            }
            None => text.push_str(&format!("{line}\n")),
        }
    }
    text
}

/// A page that was written for rustdoc: blocks without a language are Rust, and links to items lead nowhere in a book.
fn for_mdbook(page: &str) -> String {
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
            text.push_str(&without_item_links(line));
        }
        text.push('\n');
    }
    text
}

/// Leaves of a link to an item what it shows.
fn without_item_links(line: &str) -> String {
    let mut text = String::new();
    let mut rest = line;
    while let Some((before, link)) = rest.split_once('[') {
        let Some((shown, after)) = link.split_once(']') else {
            break;
        };
        text.push_str(before);
        let target = after
            .strip_prefix('(')
            .and_then(|after| after.split_once(')'));
        rest = match target {
            Some((target, behind)) if target.contains("::") => {
                text.push_str(shown);
                behind
            }
            Some((target, behind)) => {
                text.push_str(&format!("[{shown}]({target})"));
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

    #[test]
    fn a_page_is_found_from_the_documentation_and_not_outside_of_the_project() {
        assert_eq!(from_root("guide.md"), Some(PathBuf::from("docs/guide.md")));
        assert_eq!(
            from_root("../session-db/docs/crate.md"),
            Some(PathBuf::from("session-db/docs/crate.md"))
        );
        assert_eq!(from_root("../../elsewhere.md"), None);
        assert_eq!(from_root("/etc/passwd"), None);
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
        let page = "See [`modify`](crate::SessionBase::modify), [`Session`] and [this](other.md).\n\
                    ```\n# hidden\nlet a = b[`c`];\n```\n```sh\nls\n```\n";
        assert_eq!(
            for_mdbook(page),
            "See `modify`, `Session` and [this](other.md).\n\
             ```rust\n# hidden\nlet a = b[`c`];\n```\n```sh\nls\n```\n"
        );
    }
}
