//! What holds for Rust files, and what neither the compiler nor clippy asks for.

use super::{File, Finding};

/// Names that say nothing: what has no better name has no reason to be a module.
const BANNED_NAMES: [&str; 6] = ["utils", "util", "helpers", "helper", "common", "misc"];

/// What marks unfinished code or a test that nobody runs. Split, so that this file does not contain them.
const UNFINISHED: [&str; 5] = [
    concat!("to", "do!("),
    concat!("unimple", "mented!("),
    concat!("#[ig", "nore"),
    concat!("```ig", "nore"),
    concat!("```rust,ig", "nore"),
];

const CANCEL_SAFETY: &str = "# Cancel safety";
const ERRORS: &str = "# Errors";

/// The first line says what the file decides, or takes in the text that does.
pub(super) fn module_docs(file: &File) -> Vec<Finding> {
    let first = file.text.lines().next().unwrap_or_default();
    let is_documented = first
        .strip_prefix("//! ")
        .is_some_and(|docs| !docs.trim().is_empty())
        || first.starts_with("#![doc = include_str!(");
    if !file.is_rust() || is_documented {
        return Vec::new();
    }
    vec![file.finding(
        1,
        "begin the file with a line `//! …` that says what it decides",
    )]
}

/// No module is called by a name that says nothing.
pub(super) fn module_names(file: &File) -> Vec<Finding> {
    if !file.is_rust() {
        return Vec::new();
    }
    let advice = |name| format!("`{name}` is no name for a module: say what it decides");
    let mut findings: Vec<_> = file
        .path
        .trim_end_matches(".rs")
        .split('/')
        .filter(|part| BANNED_NAMES.contains(part))
        .map(|name| file.finding(1, advice(name)))
        .collect();
    for (number, line) in file.lines() {
        // Its visibility may come before it; in any other place the word is prose.
        let code = line.trim_start();
        let is_module = code.starts_with("mod ") || code.starts_with("pub");
        let mut words = code.split_whitespace().skip_while(|word| *word != "mod");
        let name = words.nth(1).unwrap_or_default().trim_end_matches(';');
        if is_module && BANNED_NAMES.contains(&name) {
            findings.push(file.finding(number, advice(name)));
        }
    }
    findings
}

/// Nothing pretends to work that does not, and no test is left out.
pub(super) fn unfinished(file: &File) -> Vec<Finding> {
    let mut findings = Vec::new();
    if !file.is_rust() && !file.is_markdown() {
        return findings;
    }
    for (number, line) in file.lines() {
        for mark in UNFINISHED.iter().filter(|mark| line.contains(**mark)) {
            let message = format!("finish it or remove it: `{mark}` may not stay");
            findings.push(file.finding(number, message));
        }
    }
    findings
}

/// A public `async fn` says what a dropped future leaves behind, and when it fails. Clippy knows nothing of the first, and
/// of the second not in a trait whose methods a macro rewrites.
pub(super) fn async_headings(file: &File) -> Vec<Finding> {
    let mut findings = Vec::new();
    if !file.is_rust() || !file.path.contains("/src/") || !file.path.starts_with("session-") {
        return findings;
    }
    let lines: Vec<&str> = file.text.lines().collect();
    let mut trait_indent = None;
    for (at, line) in lines.iter().enumerate() {
        let code = line.trim_start();
        let indent = line.len() - code.len();
        if code.starts_with("pub trait ") {
            trait_indent = Some(indent);
        } else if trait_indent == Some(indent) && code.starts_with('}') {
            trait_indent = None;
        }
        let is_public = code.starts_with("pub async fn ")
            // Deeper than that is the body of a default method.
            || (code.starts_with("async fn ") && trait_indent.is_some_and(|of| indent == of + 4));
        if !is_public {
            continue;
        }
        let docs = docs_above(lines.get(..at).unwrap_or_default());
        if !docs.iter().any(|line| line.ends_with(CANCEL_SAFETY)) {
            let message = format!("add `/// {CANCEL_SAFETY}`: what does a dropped future leave?");
            findings.push(file.finding(at + 1, message));
        }
        let is_fallible = signature(lines.get(at..).unwrap_or_default()).contains("Result");
        if is_fallible && !docs.iter().any(|line| line.ends_with(ERRORS)) {
            let message =
                format!("add `/// {ERRORS}`: when does it fail, and what has happened then?");
            findings.push(file.finding(at + 1, message));
        }
    }
    findings
}

/// The doc comment that ends directly above, attributes aside.
fn docs_above<'a>(lines: &[&'a str]) -> Vec<&'a str> {
    lines
        .iter()
        .rev()
        .map(|line| line.trim())
        .take_while(|line| !line.is_empty() && !line.ends_with(['}', '{', ';']))
        .filter(|line| line.starts_with("///"))
        .collect()
}

/// A function's return type, wherever rustfmt broke the lines. Empty if there is none.
fn signature(lines: &[&str]) -> String {
    let mut signature = String::new();
    for line in lines {
        signature.push_str(line);
        if line.ends_with(['{', ';']) {
            break;
        }
    }
    signature
        .rsplit_once("->")
        .map_or_else(String::new, |(_, returned)| returned.to_owned())
}

#[cfg(test)]
mod tests {
    use super::super::sample::{file, lines};
    use super::*;

    const LIBRARY: &str = "session-sample/src/store.rs";

    #[test]
    fn a_file_that_does_not_say_what_it_decides_is_found() {
        for text in [
            "",
            "use std::fs;\n",
            "// Decides.\n",
            "//!\n",
            "//! \n",
            "\n//! Late.\n",
        ] {
            let findings = module_docs(&file(LIBRARY, text));
            assert_eq!(lines(&findings), [1], "{text:?}");
        }
        for text in [
            "//! Decides.\n",
            "#![doc = include_str!(\"../docs/crate.md\")]\n",
        ] {
            assert!(module_docs(&file(LIBRARY, text)).is_empty(), "{text:?}");
        }
        assert!(module_docs(&file("README.md", "Text.\n")).is_empty());
    }

    #[test]
    fn a_name_that_says_nothing_is_found() {
        for name in BANNED_NAMES {
            for path in [format!("a/src/{name}.rs"), format!("a/tests/{name}/mod.rs")] {
                assert_eq!(lines(&module_names(&file(&path, ""))), [1], "{path}");
            }
            for code in [
                format!("mod {name};"),
                format!("    pub(crate) mod {name} {{"),
            ] {
                let text = format!("//! Decides.\n{code}\n");
                assert_eq!(lines(&module_names(&file(LIBRARY, &text))), [2], "{code}");
            }
        }
        for code in ["mod commonplace;", "// a mod common in", "let x = y mod;"] {
            assert!(module_names(&file(LIBRARY, code)).is_empty(), "{code}");
        }
    }

    #[test]
    fn unfinished_code_and_ignored_tests_are_found() {
        for mark in UNFINISHED {
            let text = format!("//! Decides.\n    {mark}\n");
            assert_eq!(lines(&unfinished(&file(LIBRARY, &text))), [2], "{mark}");
        }
        assert!(unfinished(&file(LIBRARY, "// nothing left to do!\n")).is_empty());
    }

    #[test]
    fn a_public_async_function_without_its_headings_is_found() {
        let cases: [(&str, &[usize]); 6] = [
            ("pub async fn end(&self) {\n", &[1]),
            ("pub async fn end(&self) -> Result<u64, E> {\n", &[1, 1]),
            (
                "/// # Errors\n///\n/// Never.\npub async fn end(\n    &self,\n) -> Result<u64, E> {\n",
                &[4],
            ),
            (
                "/// # Cancel safety\n#[inline]\npub async fn end(&self) -> Result<(), E> {\n",
                &[3],
            ),
            (
                "pub trait Store {\n    async fn a(&self);\n    async fn b(&self) {\n        async fn inner() {}\n    }\n}\nimpl Store for S {\n    async fn a(&self) {}\n}\n",
                &[2, 3],
            ),
            (
                "/// # Cancel safety\nfn other() {}\n\npub async fn end(&self) {\n",
                &[4],
            ),
        ];
        for (text, expected) in cases {
            let findings = async_headings(&file(LIBRARY, text));
            assert_eq!(lines(&findings), expected, "{text}\ngave {findings:?}");
        }
    }

    #[test]
    fn what_is_documented_private_or_a_test_needs_no_more_headings() {
        let documented = "/// Ends it.\n///\n/// # Errors\n///\n/// Never.\n///\n/// # Cancel safety\n///\n/// Ended or not.\n#[must_use]\npub async fn end(&self) -> Result<u64, E> {\n";
        let private = "pub(crate) async fn end(&self) {\nasync fn end(&self) {\n";
        for text in [documented, private] {
            assert!(async_headings(&file(LIBRARY, text)).is_empty(), "{text}");
        }
        let test = file("session-sample/tests/store.rs", "pub async fn end() {\n");
        assert!(async_headings(&test).is_empty());
    }
}
