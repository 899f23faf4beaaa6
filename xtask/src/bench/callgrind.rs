//! Counts a program's instructions: how callgrind is called, and how what it writes is read.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use crate::Result;

use super::spending::{Place, whose};

/// The function of the benchmark programs in which instructions count.
const MEASURED: &str = "*program::measured*";

/// Parts of the names of functions that compute SHA-256.
const DIGEST: [&str; 2] = ["sha2::", "sha256"];

/// How many instructions, of the program and all it called.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Counted {
    pub(super) total: u64,
    /// Those among them that compute SHA-256.
    pub(super) digest: u64,
    /// The others, by who spends them.
    pub(super) spent: BTreeMap<&'static str, u64>,
}

/// What to say when it is missing.
pub(super) const ADVICE: &str = "valgrind is not installed: run `sudo apt-get install --no-install-recommends valgrind`. \
     INSTRUCTIONS ARE NOT COUNTED.";

pub(super) fn is_installed() -> bool {
    let version = Command::new("valgrind").arg("--version").output();
    version.is_ok_and(|output| output.status.success())
}

/// A command that runs `program` and writes what it counted to the file `out`.
pub(super) fn command(program: &Path, out: &Path) -> Command {
    let mut command = Command::new("valgrind");
    command
        .args(["--tool=callgrind", "--quiet"])
        .args(["--compress-strings=no", "--compress-pos=no"])
        .arg(format!("--toggle-collect={MEASURED}"))
        .arg(format!("--callgrind-out-file={}", out.display()))
        .arg(program);
    command
}

/// Adds up what callgrind wrote without compression: each function's own cost.
pub(super) fn read(text: &str) -> Result<Counted> {
    let mut counted = Counted {
        total: 0,
        digest: 0,
        spent: BTreeMap::new(),
    };
    let (mut function, mut line_file, mut symbol) = ("", "", "");
    let mut is_digest = false;
    let mut is_of_a_call = false;
    for line in text.lines() {
        if let Some(file) = line.strip_prefix("fl=") {
            (function, line_file) = (file, file);
        } else if let Some(file) = line.strip_prefix("fi=").or(line.strip_prefix("fe=")) {
            line_file = file;
        } else if let Some(name) = line.strip_prefix("fn=") {
            (symbol, line_file) = (name, function);
            is_digest = DIGEST.iter().any(|part| name.contains(part));
        } else if line.starts_with("calls=") {
            // The next line is what the called function cost, which is counted where it stands for itself.
            is_of_a_call = true;
        } else if line.starts_with(|first: char| first.is_ascii_digit()) {
            let cost = line.split(' ').nth(1).and_then(|cost| cost.parse().ok());
            let cost: u64 = cost.ok_or("callgrind wrote a line that is not understood")?;
            if !std::mem::take(&mut is_of_a_call) {
                counted.total += cost;
                if is_digest {
                    counted.digest += cost;
                } else {
                    let place = Place {
                        line: line_file,
                        function,
                        symbol,
                    };
                    *counted.spent.entry(whose(place)).or_default() += cost;
                }
            }
        }
    }
    if counted.total == 0 {
        return Err("callgrind counted nothing".into());
    }
    Ok(counted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_function_counts_once_and_the_digest_apart() {
        let text = "\
# callgrind format
version: 1
positions: line
events: Ir

fl=/s/session-core/src/load.rs
fn=session_core::load
12 100
cfn=sha2::compress
calls=3 7
13 3000
fe=/s/session-http/src/lib.rs
14 20

fl=/s/session-core/src/slot.rs
fn=session_core::slot
7 30

fl=sha.rs
fn=sha2::compress
7 3000
totals: 3150
";
        let counted = Counted {
            total: 3150,
            digest: 3000,
            spent: BTreeMap::from([("session-core", 130), ("session-http", 20)]),
        };
        assert_eq!(read(text).unwrap(), counted);
    }

    #[test]
    fn a_file_that_counts_nothing_is_an_error() {
        read("fn=main\n\ntotals: 0\n").unwrap_err();
        read("fn=main\n12 many\n").unwrap_err();
    }
}
