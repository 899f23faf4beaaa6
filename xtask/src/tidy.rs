//! Executes what prose can't keep: which checks there are, and what they look at.

mod code_blocks;
mod crypto;
mod documents;
mod graph;
mod isolation;
mod manifests;
mod security;
mod source;
mod text;

use std::fmt;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::Result;
use crate::console::say;
use crate::workspace::Workspace;

/// Folders that hold bytes as somebody once wrote them, which nobody may tidy.
const AS_THEY_ARE: &str = "fixtures";

/// One place, what is wrong there, and what to do.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Finding {
    path: String,
    line: usize,
    message: String,
}

/// What one check found.
pub(crate) struct Checked {
    pub(crate) name: &'static str,
    pub(crate) findings: Vec<Finding>,
    pub(crate) took: Duration,
}

/// A text file of the checkout.
struct File {
    /// Relative to the root, with `/` between the parts.
    path: String,
    text: String,
}

/// Runs all checks and prints what they found.
pub(crate) fn run(workspace: &Workspace) -> Result<bool> {
    let results = check(workspace)?;
    let mut findings = 0;
    for result in &results {
        findings += result.findings.len();
        for finding in &result.findings {
            say(finding);
        }
    }
    say(format_args!(
        "{} checks, {findings} findings",
        results.len()
    ));
    Ok(findings == 0)
}

/// Runs all checks.
pub(crate) fn check(workspace: &Workspace) -> Result<Vec<Checked>> {
    let files = files(&workspace.root)?;
    let mut results = Vec::new();
    let mut add = |name, check: &mut dyn FnMut() -> Result<Vec<Finding>>| -> Result<()> {
        let started = Instant::now();
        let findings = check()?;
        let took = started.elapsed();
        results.push(Checked {
            name,
            findings,
            took,
        });
        Ok(())
    };
    add("whitespace", &mut || Ok(each(&files, text::whitespace)))?;
    add("machine paths", &mut || {
        Ok(each(&files, text::machine_paths))
    })?;
    add("module docs", &mut || Ok(each(&files, source::module_docs)))?;
    add("module names", &mut || {
        Ok(each(&files, source::module_names))
    })?;
    add("unfinished code", &mut || {
        Ok(each(&files, source::unfinished))
    })?;
    add("async doc headings", &mut || {
        Ok(each(&files, source::async_headings))
    })?;
    add("manifests", &mut || Ok(manifests::check(workspace, &files)))?;
    add("default features", &mut || {
        manifests::default_features(workspace, &files)
    })?;
    add("crate graph", &mut || Ok(graph::check(workspace)))?;
    add("isolation", &mut || isolation::check(workspace))?;
    add("links", &mut || {
        Ok(documents::links(&files, &|path| {
            workspace.root.join(path).exists()
        }))
    })?;
    add("code on pages", &mut || Ok(code_blocks::check(&files)))?;
    add("README", &mut || Ok(documents::readme(&files)))?;
    add("unsafe code", &mut || Ok(crypto::unsafe_code(&files)))?;
    add("cryptography", &mut || Ok(crypto::dependencies(&files)))?;
    add("primitives", &mut || Ok(each(&files, crypto::primitives)))?;
    add("hashers", &mut || Ok(each(&files, crypto::hashers)))?;
    add("security", &mut || Ok(security::check(&files)))?;
    add("CHANGELOG", &mut || Ok(documents::changelog(&files)))?;
    Ok(results)
}

fn each(files: &[File], check: impl Fn(&File) -> Vec<Finding>) -> Vec<Finding> {
    files.iter().flat_map(check).collect()
}

/// Every text file that is or may come under version control, in the order of their paths.
fn files(root: &Path) -> Result<Vec<File>> {
    let ignored = fs::read_to_string(root.join(".gitignore")).unwrap_or_default();
    let mut files = Vec::new();
    collect(root, "", &ignored, &mut files)?;
    files.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(files)
}

fn collect(root: &Path, folder: &str, ignored: &str, files: &mut Vec<File>) -> Result<()> {
    for entry in fs::read_dir(root.join(folder))? {
        let entry = entry?;
        let Ok(name) = entry.file_name().into_string() else {
            return Err(format!("{} is not UTF-8: rename it", entry.path().display()).into());
        };
        let path = if folder.is_empty() {
            name.clone()
        } else {
            format!("{folder}/{name}")
        };
        // The lines of .gitignore that name one path from the root are the only kind that this workspace has.
        let is_ignored = ignored
            .lines()
            .any(|line| line.strip_prefix('/') == Some(path.as_str()));
        if is_ignored || name == ".git" || name == AS_THEY_ARE {
            continue;
        }
        if entry.file_type()?.is_dir() {
            collect(root, &path, ignored, files)?;
        } else if let Ok(text) = String::from_utf8(fs::read(entry.path())?) {
            files.push(File { path, text });
        }
    }
    Ok(())
}

impl File {
    fn is_rust(&self) -> bool {
        self.extension() == Some("rs")
    }

    fn is_markdown(&self) -> bool {
        self.extension() == Some("md")
    }

    fn extension(&self) -> Option<&str> {
        Path::new(&self.path).extension()?.to_str()
    }

    /// The lines with their numbers, which begin at 1.
    fn lines(&self) -> impl Iterator<Item = (usize, &str)> {
        (1..).zip(self.text.lines())
    }

    fn finding(&self, line: usize, message: impl Into<String>) -> Finding {
        Finding::new(&self.path, line, message)
    }
}

impl Finding {
    fn new(path: impl Into<String>, line: usize, message: impl Into<String>) -> Self {
        Self {
            path: path.into(),
            line,
            message: message.into(),
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            path,
            line,
            message,
        } = self;
        write!(f, "{path}:{line}: {message}")
    }
}

#[cfg(test)]
mod sample {
    use super::*;

    pub(super) fn file(path: &str, text: &str) -> File {
        File {
            path: path.to_owned(),
            text: text.to_owned(),
        }
    }

    /// The lines at which a check complains.
    pub(super) fn lines(findings: &[Finding]) -> Vec<usize> {
        findings.iter().map(|finding| finding.line).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finding_can_be_clicked_on() {
        let finding = sample::file("docs/guide.md", "").finding(3, "remove it");
        assert_eq!(finding.to_string(), "docs/guide.md:3: remove it");
    }
}
