//! Children of a test that all start at one signal, each with a store on the same table.

use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};

use session_db::{DbStore, DbStoreConfig, Error, TableName};

use super::records::PATIENT;
use super::{Server, block_on, role, this_test_as};

/// Runs `test` again in `processes` children, which all start at one signal, and gives what each of them said. `task` is
/// what they are told.
pub(crate) fn run_children(
    test: &str,
    server: &Server,
    table: &str,
    processes: usize,
    task: &str,
) -> Vec<String> {
    let commands = (0..processes).map(|number| {
        let mut child = this_test_as(test, &number.to_string());
        child.env("SESSION_DB_TEST_URL", &server.url);
        child.env("SESSION_DB_TEST_TABLE", table);
        child.env("SESSION_DB_TEST_TASK", task);
        child
    });
    run_at_once(commands)
}

/// Runs children that each [`wait_for_go`], and gives what each of them said.
pub(crate) fn run_at_once(commands: impl IntoIterator<Item = Command>) -> Vec<String> {
    let mut children = Vec::new();
    for mut child in commands {
        child.stdin(Stdio::piped()).stdout(Stdio::piped());
        children.push(child.spawn().expect("a child"));
    }
    // All of them are connected before any of them begins.
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
        let status = child.wait().expect("it ends");
        assert!(status.success(), "a child failed");
    }
    said
}

/// What a child does, once all are ready: it is given its number, its store and its task, and may say something. `false`
/// if this process is no child.
pub(crate) fn is_child<F>(does: impl FnOnce(usize, DbStore, String) -> F) -> bool
where
    F: Future<Output = String>,
{
    is_child_with(async |config, url| config.connect(&url).await, does)
}

/// The same beside Django.
#[cfg(all(
    feature = "sqlite",
    feature = "postgres",
    feature = "mysql",
    feature = "django"
))]
pub(crate) fn is_child_beside_django<F>(
    does: impl FnOnce(usize, session_db::DjangoDbStore, String) -> F,
) -> bool
where
    F: Future<Output = String>,
{
    let connect = async |config: DbStoreConfig, url: String| {
        let settings = super::django::settings();
        config.connect_beside_django(&url, &settings).await
    };
    is_child_with(connect, does)
}

fn is_child_with<S, F>(
    connect: impl AsyncFnOnce(DbStoreConfig, String) -> Result<S, Error>,
    does: impl FnOnce(usize, S, String) -> F,
) -> bool
where
    F: Future<Output = String>,
{
    let Some(number) = role() else {
        return false;
    };
    let tell = |name: &str| std::env::var(name).expect("the parent tells it");
    let table = TableName::parse(&tell("SESSION_DB_TEST_TABLE")).expect("a name");
    block_on(async {
        let config = DbStoreConfig::new().with_table(table).with_timeout(PATIENT);
        let store = connect(config, tell("SESSION_DB_TEST_URL")).await;
        let store = store.expect("the server answers");
        wait_for_go();
        let number = number.parse().expect("a number");
        let said = does(number, store, tell("SESSION_DB_TEST_TASK")).await;
        say(&format!("said {said}"));
    });
    true
}

/// Until all of the parent's children are here.
pub(crate) fn wait_for_go() {
    say("ready");
    let mut line = String::new();
    std::io::stdin()
        .read_line(&mut line)
        .expect("the parent lives");
}

fn say(line: &str) {
    // libtest may have begun the line.
    let mut stdout = std::io::stdout().lock();
    writeln!(stdout, "{line}").expect("the parent listens");
    stdout.flush().expect("the parent listens");
}
