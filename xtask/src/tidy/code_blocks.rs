//! Code on a page is compiled: rustdoc gets every page that shows Rust, and what a page says to write instead is among it. (What
//! rustdoc is told to ignore is found as unfinished.)

use std::collections::BTreeSet;

use super::{File, Finding};

/// Its first block is compared with a compiled example by the check of README.
const README: &str = "README.md";

/// Its blocks that name a file are made a crate of, and its tests run: `outside_crate`.
const OUTSIDE_CRATE: &str = crate::outside_crate::DOCUMENT;

const UNCOMPILED: &str = "this code is compiled nowhere: take the page into a library's documentation, as docs/lib.rs does, or \
                          name the language if it is not Rust";

/// Looks at every block of code on every page.
pub(super) fn check(files: &[File]) -> Vec<Finding> {
    let compiled = compiled_pages(files);
    let mut findings = Vec::new();
    for file in files.iter().filter(|file| file.is_markdown()) {
        let blocks = blocks(file);
        findings.extend(uncompiled(file, &blocks, compiled.contains(&file.path)));
        findings.extend(unlike_what_is_compiled(file, &blocks));
    }
    findings
}

/// A block of code between fences.
struct Block<'a> {
    /// That of the fence.
    line: usize,
    /// What follows the fence: the language, and how rustdoc is to treat it.
    info: &'a str,
    lines: Vec<(usize, &'a str)>,
}

impl Block<'_> {
    /// Whether rustdoc takes it for Rust, as it does what has no language.
    fn is_rust(&self) -> bool {
        const HOW: [&str; 6] = [
            "rust",
            "no_run",
            "should_panic",
            "compile_fail",
            "ignore",
            "edition2024",
        ];
        let mut words = self.info.split([',', ' ']);
        words
            .next()
            .is_none_or(|word| word.is_empty() || HOW.contains(&word))
    }

    fn names_a_file(&self) -> bool {
        self.info.split(',').any(|word| word.starts_with("file="))
    }
}

fn blocks(file: &File) -> Vec<Block<'_>> {
    let mut blocks = Vec::new();
    let mut lines = file.lines();
    while let Some((line, text)) = lines.next() {
        let Some(info) = text.trim_start().strip_prefix("```") else {
            continue;
        };
        let lines = lines
            .by_ref()
            .take_while(|(_, text)| !text.trim_start().starts_with("```"));
        blocks.push(Block {
            line,
            info: info.trim(),
            lines: lines.collect(),
        });
    }
    blocks
}

/// The pages that the documentation of a library takes in. Rustdoc runs no code of a program's.
fn compiled_pages(files: &[File]) -> BTreeSet<String> {
    let mut pages = BTreeSet::new();
    for file in files.iter().filter(|file| file.is_rust()) {
        if file.path.ends_with("/main.rs") {
            continue;
        }
        for (_, line) in file.lines() {
            let Some((_, page)) = line.split_once("doc = include_str!(\"") else {
                continue;
            };
            let page = page.split('"').next().unwrap_or_default();
            pages.extend(super::documents::resolve(&file.path, page));
        }
    }
    pages
}

fn uncompiled(file: &File, blocks: &[Block<'_>], is_compiled: bool) -> Vec<Finding> {
    if is_compiled {
        return Vec::new();
    }
    let by_other_checks = usize::from(file.path == README);
    let rust = blocks.iter().filter(|block| block.is_rust());
    rust.skip(by_other_checks)
        .filter(|block| file.path != OUTSIDE_CRATE || !block.names_a_file())
        .map(|block| file.finding(block.line, UNCOMPILED))
        .collect()
}

/// What is to be written in place of something else is a part of what is compiled below.
fn unlike_what_is_compiled(file: &File, blocks: &[Block<'_>]) -> Vec<Finding> {
    let compiled: BTreeSet<&str> = blocks
        .iter()
        .filter(|block| block.is_rust())
        .flat_map(|block| &block.lines)
        .map(|(_, line)| line.trim())
        .collect();
    let mut findings = Vec::new();
    for block in blocks.iter().filter(|block| block.info == "diff") {
        for (number, line) in &block.lines {
            let added = line.strip_prefix('+').map(str::trim);
            if added.is_some_and(|line| !compiled.contains(line)) {
                let message = "no block of Rust on this page has this line: show the whole, so that it is compiled";
                findings.push(file.finding(*number, message));
            }
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::super::sample::{file, lines};
    use super::*;

    const PAGE: &str = "docs/page.md";

    fn on_page(text: &str, is_compiled: bool) -> Vec<usize> {
        let doc = if is_compiled {
            "#[doc = include_str!(\"page.md\")]\nmod page {}\n"
        } else {
            "mod page {}\n"
        };
        lines(&check(&[file(PAGE, text), file("docs/lib.rs", doc)]))
    }

    #[test]
    fn rust_on_a_page_that_no_library_takes_in_is_found() {
        let text = "\
```
let a = 1;
```
```rust,no_run
let b = 2;
```
```sh
ls
```
- in a list:
  ```no_run
  let c = 3;
  ```
";
        assert_eq!(on_page(text, false), [1, 4, 11]);
        assert!(on_page(text, true).is_empty());
        let program = "#![doc = include_str!(\"../docs/crate.md\")]\n";
        let files = [
            file("cli/docs/crate.md", text),
            file("cli/src/main.rs", program),
        ];
        assert_eq!(lines(&check(&files)), [1, 4, 11]);
    }

    #[test]
    fn readme_may_show_one_block_and_the_outside_crate_those_that_are_files() {
        let two = "```rust\na\n```\n```rust\nb\n```\n";
        assert_eq!(lines(&check(&[file(README, two)])), [4]);
        let files = "```rust,file=src/lib.rs\na\n```\n```rust\nb\n```\n";
        assert_eq!(lines(&check(&[file(OUTSIDE_CRATE, files)])), [4]);
    }

    #[test]
    fn what_is_to_be_written_instead_is_compiled_too() {
        let text = "\
```diff
-let old = before().await?;
+    let new = after()?;
     same();
+let forgotten = 1;
```
```rust
let new = after()?;
```
";
        assert_eq!(on_page(text, true), [5]);
    }
}
