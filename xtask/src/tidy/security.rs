//! What the page about security promises is tested: each row that it takes has tests that carry its number.

use std::collections::{BTreeMap, BTreeSet};

use super::{File, Finding};

const PAGE: &str = "docs/security.md";

/// The third column of a row that is not taken begins so, and goes on with the reason.
const NOT_TAKEN: &str = "not taken:";

/// Where the clauses of the kit are listed: each of them becomes tests in every backend.
const CLAUSES: &str = "session-core/src/conformance/security.rs";

/// Where each module is a test of what must not compile.
const MUST_NOT_BUILD: &str = "must_not_build.rs";

/// The rows of the security requirements that this project has promised to take. The page takes these, and may take others.
const PROMISED: &[(&str, &[u8])] = &[
    ("ID", &[1, 2, 3, 4, 5, 8, 10, 11]),
    ("REST", &[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 13, 15]),
    ("FIX", &[1, 2, 3, 4, 5, 6, 7, 8]),
    ("ROT", &[1, 2, 3, 4, 10]),
    ("EXP", &[1, 2, 3, 5, 6, 10, 11, 12]),
    ("END", &[1, 2, 3, 4, 5, 6, 8, 10, 11]),
    ("RACE", &[1, 2, 3, 4, 5, 6, 8, 9, 10, 11, 12]),
    ("COOK", &[2, 3, 4, 5, 6, 8, 11, 12, 15]),
    ("HTTP", &[2, 3, 4, 7, 11]),
    ("IN", &[1, 2, 3, 4, 5, 6, 7, 10, 11, 12, 13]),
    ("DATA", &[1, 2, 3, 4, 5, 6, 7, 8]),
    ("LEAK", &[1, 2, 3, 4, 5, 7, 8, 9]),
    ("DOS", &[1, 2, 4, 6, 7, 8, 9]),
    ("FAIL", &[1, 2, 3, 4, 5, 6, 7, 8, 10]),
    ("PROC", &[1, 2, 3]),
];

/// One line of the page's tables.
#[derive(Debug)]
struct Row<'a> {
    line: usize,
    id: &'a str,
    is_taken: bool,
    /// What stands between backticks in its last column.
    tests: Vec<&'a str>,
}

pub(super) fn check(files: &[File]) -> Vec<Finding> {
    let Some(page) = files.iter().find(|file| file.path == PAGE) else {
        return vec![Finding::new(
            PAGE,
            1,
            "the page about security is not there: write it",
        )];
    };
    let rows = rows(page);
    let tests = tests(files);
    let mut findings = Vec::new();
    let mut seen = BTreeMap::new();
    for row in &rows {
        if let Some(before) = seen.insert(row.id, row.line) {
            let message = format!("{} is in line {before} already: remove one", row.id);
            findings.push(page.finding(row.line, message));
        }
        if !row.is_taken {
            continue;
        }
        let part = row.id.to_lowercase().replace('-', "_");
        if !row.tests.iter().any(|test| carries(test, &part)) {
            let message = format!("{} is taken, and none of its tests carries {part}", row.id);
            findings.push(page.finding(row.line, message));
        }
        for test in row.tests.iter().filter(|test| !tests.contains(**test)) {
            let message = format!("there is no test {test}: correct its name");
            findings.push(page.finding(row.line, message));
        }
    }
    for (group, numbers) in PROMISED {
        for number in *numbers {
            let id = format!("{group}-{number:02}");
            if !rows.iter().any(|row| row.id == id && row.is_taken) {
                let message = format!("{id} was promised, and the page does not take it");
                findings.push(page.finding(1, message));
            }
        }
    }
    findings
}

fn rows(page: &File) -> Vec<Row<'_>> {
    page.lines()
        .filter_map(|(line, text)| {
            let mut cells = text.strip_prefix("| ")?.split(" | ");
            let (id, _asks) = (cells.next()?.trim(), cells.next()?);
            if !is_id(id) {
                return None;
            }
            let last = cells.next().unwrap_or_default().trim_end_matches(" |");
            let is_taken = !last.starts_with(NOT_TAKEN);
            let tests = last.split('`').skip(1).step_by(2);
            Some(Row {
                line,
                id,
                is_taken,
                tests: if is_taken {
                    tests.collect()
                } else {
                    Vec::new()
                },
            })
        })
        .collect()
}

/// Two to four capitals and two digits.
fn is_id(text: &str) -> bool {
    text.split_once('-').is_some_and(|(group, number)| {
        (2..=4).contains(&group.len())
            && group.bytes().all(|byte| byte.is_ascii_uppercase())
            && number.len() == 2
            && number.bytes().all(|byte| byte.is_ascii_digit())
    })
}

/// Whether `part`, as `rest_06`, is in the name between underscores.
fn carries(name: &str, part: &str) -> bool {
    format!("_{name}_").contains(&format!("_{part}_"))
}

/// The names of all tests: functions with an attribute that ends in `test`, those that a macro of a test file makes of a function
/// that is marked by nothing, clauses of the kit, and what must not compile.
fn tests(files: &[File]) -> BTreeSet<&str> {
    let mut names = BTreeSet::new();
    for file in files.iter().filter(|file| file.is_rust()) {
        let is_of_tests = format!("/{}", file.path).contains("/tests/");
        let mut is_marked = false;
        for line in file.text.lines().map(str::trim) {
            if line.starts_with("#[") {
                is_marked |= line.starts_with("#[test]") || line.starts_with("#[tokio::test");
                continue;
            }
            if let Some(name) = function(line) {
                if is_marked || is_of_tests {
                    names.insert(name);
                }
            } else if file.path == CLAUSES {
                names.extend(clause(line));
            } else if file.path.ends_with(MUST_NOT_BUILD)
                && let Some(name) = line.strip_prefix("mod ")
            {
                names.extend(name.strip_suffix(" {}"));
            }
            if !line.starts_with("//") {
                is_marked = false;
            }
        }
    }
    names
}

fn function(line: &str) -> Option<&str> {
    let line = line.strip_prefix("pub(crate) ").unwrap_or(line);
    let line = line.strip_prefix("async ").unwrap_or(line);
    let rest = line.strip_prefix("fn ")?;
    rest.split(['(', '<']).next()
}

/// `topic::name;` or `topic::name, what_it_needs;`
fn clause(line: &str) -> Option<&str> {
    let (_topic, rest) = line.strip_suffix(';')?.split_once("::")?;
    let name = rest.split(',').next()?;
    let is_name = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
    name.bytes().all(is_name).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::super::sample::{file, lines};
    use super::*;

    /// A page that takes all that was promised, but with `change` made to it, and tests for all of it.
    fn found(change: impl Fn(String) -> String) -> Vec<Finding> {
        let mut page = "# Security\n\n| row | asks | tests |\n| --- | --- | --- |\n".to_owned();
        let mut code = "//! Tests.\n".to_owned();
        for (group, numbers) in PROMISED {
            for number in *numbers {
                let name = format!("{}_{number:02}_holds", group.to_lowercase());
                page.push_str(&format!("| {group}-{number:02} | this | `{name}` |\n"));
                code.push_str(&format!("#[test]\nfn {name}() {{}}\n"));
            }
        }
        page.push_str("| BIND-01 | that | not taken: the browsers are not ready |\n");
        check(&[file(PAGE, &change(page)), file("a/src/lib.rs", &code)])
    }

    #[test]
    fn proc_01_a_page_whose_rows_are_tested_is_fine() {
        let findings = found(|page| page);
        assert!(findings.is_empty(), "{findings:?}");
    }

    #[test]
    fn proc_01_a_row_without_a_test_of_its_number_is_found() {
        for (right, wrong, complaints) in [
            ("| `id_01_holds` |", "| by design |", 1),
            ("| `id_01_holds` |", "| `id_02_holds` |", 1),
            // Neither is it its number, nor is there such a test.
            ("| `id_01_holds` |", "| `id_011_holds` |", 2),
            ("| `id_01_holds` |", "| `id_01_holds`, `id_01_is_gone` |", 1),
            ("| `id_01_holds` |", "| not taken: no time |", 1),
            ("| ID-01 |", "| ID-09 |", 2),
            ("| BIND-01 |", "| ID-01 |", 1),
        ] {
            let findings = found(|page| {
                assert!(page.contains(right), "{right} is not in the page");
                page.replacen(right, wrong, 1)
            });
            assert_eq!(findings.len(), complaints, "{wrong}: {findings:?}");
        }
        assert_eq!(lines(&check(&[])), [1], "a page that is missing");
    }

    #[test]
    fn proc_01_tests_are_told_from_other_functions() {
        let code = "\
#[test]
fn a() {}
#[tokio::test(flavor = \"multi_thread\")]
#[expect(something, reason = \"x\")]
async fn b() {}
fn helper() {}
#[test]
struct S;
fn c() {}
";
        let in_tests = "async fn d<S>() {}\n";
        let must_not = "/// ```compile_fail\nmod e {}\nmod other;\n";
        let clauses = "at_rest::f;\nending::g, owner_index;\nuse a::B;\nfn helper() {}\n";
        let files = [
            file("x/src/lib.rs", code),
            file("x/tests/y/z.rs", in_tests),
            file("x/src/must_not_build.rs", must_not),
            file(CLAUSES, clauses),
        ];
        let names: Vec<&str> = tests(&files).into_iter().collect();
        assert_eq!(names, ["a", "b", "d", "e", "f", "g"]);
    }
}
