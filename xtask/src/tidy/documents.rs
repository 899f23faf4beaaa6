//! What holds for the documents: links lead somewhere, and README says nothing that is not compiled.

use std::path::{Component, Path};

use super::{File, Finding};

const README: &str = "README.md";
const CHANGELOG: &str = "CHANGELOG.md";

/// The compiled file that README's first example shows.
const EXAMPLE: &str = "session-http/examples/readme.rs";

/// What README must name, since it is how everyone begins.
const COMMANDS: [&str; 2] = ["cargo xtask demo", "cargo xtask test-all"];

/// Relative links resolve. `exists` answers for a path from the root.
pub(super) fn links(files: &[File], exists: &dyn Fn(&str) -> bool) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in files.iter().filter(|file| file.is_markdown()) {
        let mut is_code = false;
        for (number, line) in file.lines() {
            if line.trim_start().starts_with("```") {
                is_code = !is_code;
            }
            if is_code {
                continue;
            }
            for target in targets(line) {
                let path = target.split('#').next().unwrap_or_default();
                // Links with `::` are rustdoc's, in a text that is also crate docs, and rustdoc checks them.
                if path.is_empty() || path.contains(':') {
                    continue;
                }
                let is_there = resolve(&file.path, path).is_some_and(|path| exists(&path));
                if !is_there {
                    let message =
                        format!("the link to {target} leads nowhere: correct or remove it");
                    findings.push(file.finding(number, message));
                }
            }
        }
    }
    findings
}

/// README names the commands and shows an example that is compiled elsewhere, to the letter.
pub(super) fn readme(files: &[File]) -> Vec<Finding> {
    let Some(readme) = files.iter().find(|file| file.path == README) else {
        return vec![Finding::new(README, 1, "there is no README yet: write it")];
    };
    let mut findings = Vec::new();
    for command in COMMANDS {
        if !readme.text.contains(command) {
            findings.push(readme.finding(1, format!("name the command `{command}`")));
        }
    }
    let Some((number, shown)) = first_rust_block(readme) else {
        findings.push(readme.finding(1, format!("show the code of {EXAMPLE} in a ```rust block")));
        return findings;
    };
    let Some(example) = files.iter().find(|file| file.path == EXAMPLE) else {
        let message = format!("this code is compiled nowhere: put it into {EXAMPLE}");
        findings.push(readme.finding(number, message));
        return findings;
    };
    let compiled: Vec<_> = example
        .text
        .lines()
        .skip_while(|line| line.starts_with("//!") || line.trim().is_empty())
        .collect();
    for (at, line) in (0..).zip(&shown) {
        if compiled.get(at) != Some(line) {
            let message = format!("this line is not what {EXAMPLE} has: copy its code");
            findings.push(readme.finding(number + 1 + at, message));
            return findings;
        }
    }
    if compiled.len() > shown.len() {
        let message = format!("the end of {EXAMPLE} is missing here: copy its code");
        findings.push(readme.finding(number + shown.len(), message));
    }
    findings
}

/// The changelog has a place for what is being done.
pub(super) fn changelog(files: &[File]) -> Vec<Finding> {
    let advice = "add the heading `## [Unreleased]`";
    match files.iter().find(|file| file.path == CHANGELOG) {
        Some(file)
            if file
                .text
                .lines()
                .any(|line| line.starts_with("## [Unreleased]")) =>
        {
            Vec::new()
        }
        Some(file) => vec![file.finding(1, advice)],
        None => vec![Finding::new(CHANGELOG, 1, advice)],
    }
}

/// The targets of a line's links: `](target)`, and `[label]: target`.
fn targets(line: &str) -> Vec<&str> {
    let inline = line.split("](").skip(1).filter_map(|rest| {
        let target = rest.split(')').next()?;
        // A title may follow.
        target.split_whitespace().next()
    });
    let labelled = line.trim_start().strip_prefix('[').and_then(|rest| {
        let (_, target) = rest.split_once("]: ")?;
        target.split_whitespace().next()
    });
    inline.chain(labelled).collect()
}

/// `target` as seen from `file`, as a path from the root. `None` if it leads out of the root.
pub(super) fn resolve(file: &str, target: &str) -> Option<String> {
    let mut parts: Vec<&str> = file.split('/').collect();
    parts.pop();
    for part in Path::new(target).components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir => drop(parts.pop()?),
            Component::Normal(name) => parts.push(name.to_str()?),
            Component::RootDir | Component::Prefix(_) => return None,
        }
    }
    Some(parts.join("/"))
}

/// The first block marked `rust`, with the number of the line that opens it.
fn first_rust_block(file: &File) -> Option<(usize, Vec<&str>)> {
    let mut lines = file.lines();
    let (number, _) = lines.find(|(_, line)| {
        line.strip_prefix("```rust")
            .is_some_and(|rest| rest.is_empty() || rest.starts_with(','))
    })?;
    let block = lines
        .map(|(_, line)| line)
        .take_while(|line| !line.starts_with("```"));
    Some((number, block.collect()))
}

#[cfg(test)]
mod tests {
    use super::super::sample::{file, lines};
    use super::*;

    const COMMANDS_NAMED: &str = "`cargo xtask demo` and `cargo xtask test-all`\n";

    #[test]
    fn a_link_that_leads_nowhere_is_found() {
        let text = "\
[fine](format.md#bytes) and ![fine](../../README.md \"title\")
[gone](gone.md) and [out](../../../x)
[web](https://example.org/x) [here](#here) [rustdoc](crate::Store)
```
[code](is-not-a-link.md)
```
[label]: gone.md
";
        let exists = |path: &str| ["README.md", "a/docs/format.md"].contains(&path);
        let findings = links(&[file("a/docs/guide.md", text)], &exists);
        assert_eq!(lines(&findings), [2, 2, 7], "{findings:?}");
    }

    fn readme_with(block: &str) -> Vec<usize> {
        let readme_text = format!("{COMMANDS_NAMED}```rust\n{block}```\n");
        let example = "//! The example.\n//! It is in README.\n\nfn main() {\n}\n";
        lines(&readme(&[
            file(README, &readme_text),
            file(EXAMPLE, example),
        ]))
    }

    #[test]
    fn readme_shows_the_compiled_example_to_the_letter() {
        assert!(readme_with("fn main() {\n}\n").is_empty());
        assert_eq!(readme_with("fn main() {\n    x\n}\n"), [4]);
        assert_eq!(readme_with("fn main() {\n"), [3]);
        assert_eq!(readme_with("fn main() {\n}\n\n"), [5]);
    }

    #[test]
    fn a_readme_that_is_missing_or_lacks_something_is_found() {
        assert_eq!(lines(&readme(&[])), [1]);
        assert_eq!(lines(&readme(&[file(README, COMMANDS_NAMED)])), [1]);
        let block = "```rust\nfn main() {}\n```\n";
        let uncompiled = format!("{COMMANDS_NAMED}{block}");
        assert_eq!(lines(&readme(&[file(README, &uncompiled)])), [2]);
        let nameless = readme(&[file(README, block), file(EXAMPLE, "fn main() {}\n")]);
        assert_eq!(lines(&nameless), [1, 1]);
    }

    #[test]
    fn a_changelog_without_a_place_for_what_is_new_is_found() {
        assert_eq!(lines(&changelog(&[])), [1]);
        assert_eq!(lines(&changelog(&[file(CHANGELOG, "## [0.1.0]\n")])), [1]);
        let good = file(CHANGELOG, "# Changelog\n\n## [Unreleased]\n");
        assert!(changelog(&[good]).is_empty());
    }
}
