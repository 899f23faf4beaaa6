//! Children of a test that all start at one signal.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::Stdio;

use session_core::SessionKey;
use session_file::FileStore;

use super::{open, this_test_as};

pub(crate) const PROCESSES: u64 = 4;
pub(crate) const EACH: u64 = 50;

/// Runs `test` again in [`PROCESSES`] children, which all start at one signal, and gives what each of them said.
pub(crate) fn run_children(test: &str, folder: &Path) -> Vec<String> {
    run_children_on(test, folder, "")
}

/// As [`run_children`]; each child finds the session's key in [`session_key`].
pub(crate) fn run_children_on(test: &str, folder: &Path, key: &str) -> Vec<String> {
    let mut children = Vec::new();
    for number in 0..PROCESSES {
        let mut child = this_test_as(test, &format!("{number}"));
        child.env("SESSION_FILE_TEST_FOLDER", folder);
        child.env("SESSION_FILE_TEST_KEY", key);
        child.stdin(Stdio::piped()).stdout(Stdio::piped());
        children.push(child.spawn().expect("a child"));
    }
    // All of them have the folder open before any of them writes.
    let mut ready = Vec::new();
    for child in &mut children {
        let mut lines = BufReader::new(child.stdout.take().expect("it is piped")).lines();
        let found = lines.any(|line| line.is_ok_and(|line| line.ends_with("ready")));
        assert!(found, "a child did not get ready");
        ready.push(lines);
    }
    for child in &mut children {
        let mut stdin = child.stdin.take().expect("it is piped");
        stdin.write_all(b"go\n").expect("a child that waits");
    }
    let said: Vec<String> = ready
        .into_iter()
        .map(|lines| {
            let mut lines = lines.map_while(Result::ok);
            let said = lines.find_map(|line| line.strip_prefix("said ").map(str::to_owned));
            lines.for_each(drop);
            said.unwrap_or_default()
        })
        .collect();
    for mut child in children {
        assert!(child.wait().expect("it ends").success(), "a child failed");
    }
    said
}

/// In a child: its number and store, once all are ready.
pub(crate) fn wait_for_the_others(role: &str) -> (u64, FileStore) {
    let folder = std::env::var_os("SESSION_FILE_TEST_FOLDER").expect("the parent names it");
    let store = open(Path::new(&folder));
    say("ready");
    let mut line = String::new();
    std::io::stdin()
        .read_line(&mut line)
        .expect("the parent lives");
    (role.parse().expect("a number"), store)
}

/// In a child: the key of the session that all children work on.
pub(crate) fn session_key() -> SessionKey {
    let key = std::env::var("SESSION_FILE_TEST_KEY").expect("the parent tells it");
    SessionKey::parse(key.as_bytes()).expect("the parent has it from a session")
}

pub(crate) fn say(line: &str) {
    // libtest may have begun the line.
    let mut stdout = std::io::stdout().lock();
    writeln!(stdout, "{line}").expect("the parent listens");
    stdout.flush().expect("the parent listens");
}
