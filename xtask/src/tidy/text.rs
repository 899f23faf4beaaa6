//! What holds for every text file.

use super::{File, Finding};

/// Folders of one machine, which mean nothing on another. Split, so that this file does not name them.
const MACHINE_FOLDERS: [&str; 4] = [
    concat!("/ho", "me/"),
    concat!("/ro", "ot/"),
    concat!("/wo", "rk/"),
    concat!("/Us", "ers/"),
];

/// Lines end in one line feed and in nothing before it; files end in one; there are no tabs.
pub(super) fn whitespace(file: &File) -> Vec<Finding> {
    let mut findings = Vec::new();
    // Not `lines()`, which takes a carriage return for part of the line's end.
    for (number, line) in (1..).zip(file.text.split('\n')) {
        if line.ends_with('\r') {
            findings.push(file.finding(number, "end the line with a line feed alone"));
        } else if line.ends_with([' ', '\t']) {
            findings.push(file.finding(number, "remove the spaces at the end of the line"));
        }
        if line.contains('\t') {
            findings.push(file.finding(number, "replace the tab by spaces"));
        }
    }
    let last = file.text.lines().count();
    if !file.text.is_empty() && !file.text.ends_with('\n') {
        findings.push(file.finding(last, "end the file with a line feed"));
    } else if file.text.ends_with("\n\n") {
        findings.push(file.finding(last, "remove the empty line at the end of the file"));
    }
    findings
}

/// No file names a folder of somebody's machine.
pub(super) fn machine_paths(file: &File) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (number, line) in file.lines() {
        for folder in MACHINE_FOLDERS {
            // `frame/work/` is a relative path and fine; a quote, a space or an `=` before it make it absolute.
            let is_absolute = |at: usize| {
                !line[..at].ends_with(|c: char| c.is_alphanumeric() || "._-}".contains(c))
            };
            if line.match_indices(folder).any(|(at, _)| is_absolute(at)) {
                let message =
                    format!("{folder}… is a folder of one machine: write a relative path");
                findings.push(file.finding(number, message));
            }
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::super::sample::{file, lines};
    use super::*;

    #[test]
    fn stray_whitespace_is_found() {
        let cases: [(&str, &[usize]); 9] = [
            ("", &[]),
            ("one\ntwo\n", &[]),
            ("one \ntwo\n", &[1]),
            ("one\n\ttwo\n", &[2]),
            ("one\t\n", &[1, 1]),
            ("one\r\ntwo\r\n", &[1, 2]),
            ("one\ntwo", &[2]),
            ("one\n\n", &[2]),
            ("one\n \n", &[2]),
        ];
        for (text, expected) in cases {
            let findings = whitespace(&file("sample.txt", text));
            assert_eq!(lines(&findings), expected, "{text:?} gave {findings:?}");
        }
    }

    #[test]
    fn a_folder_of_one_machine_is_found_and_a_relative_path_is_not() {
        for folder in MACHINE_FOLDERS {
            for before in ["", "see ", "path = \"", "file:", "("] {
                let text = format!("fine\n{before}{folder}me/x\n");
                let findings = machine_paths(&file("sample.md", &text));
                assert_eq!(lines(&findings), [2], "{text:?}");
            }
            for before in ["our", "docs", "..", "${x}"] {
                let text = format!("{before}{folder}me/x\n");
                let findings = machine_paths(&file("sample.md", &text));
                assert!(findings.is_empty(), "{text:?} gave {findings:?}");
            }
        }
    }
}
