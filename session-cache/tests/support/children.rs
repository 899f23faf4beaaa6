//! Children of a test that are this test again, and all start at one signal.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Command, Stdio};

use session_cache::{CacheStore, RedisStore};

use super::{Server, connected};

/// Runs `test`, its full name, again in `processes` children, which all start at one signal, and gives what each of them said.
/// `task` is what they are told.
pub(crate) fn run_children(
    test: &str,
    server: Server,
    prefix: &str,
    processes: usize,
    task: &str,
) -> Vec<String> {
    let mut children = Vec::new();
    for number in 0..processes {
        let mut child = Command::new(std::env::current_exe().expect("a test knows its program"));
        child
            .args(["--exact", test, "--nocapture", "--test-threads=1"])
            .env("SESSION_CACHE_TEST_NUMBER", number.to_string())
            .env("SESSION_CACHE_TEST_SERVER", format!("{server:?}"))
            .env("SESSION_CACHE_TEST_PREFIX", prefix)
            .env("SESSION_CACHE_TEST_TASK", task)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
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
    let mut said = Vec::new();
    for lines in ready {
        let mut lines = lines.map_while(Result::ok);
        let line = lines.find_map(|line| line.strip_prefix("said ").map(str::to_owned));
        lines.for_each(drop);
        said.push(line.unwrap_or_default());
    }
    for mut child in children {
        assert!(child.wait().expect("it ends").success(), "a child failed");
    }
    said
}

/// What a child does, once all are ready: it is given its number, its store and its task, and may say something. `false` if this
/// process is no child.
pub(crate) fn is_child<F>(does: impl FnOnce(usize, RedisStore, String) -> F) -> bool
where
    F: Future<Output = String>,
{
    is_child_with(
        async |server, prefix| {
            let config = server.config_with_prefix(&prefix);
            CacheStore::new(connected(config.expect("the parent has it")).await)
        },
        does,
    )
}

/// The same with a store of another kind, which `connects` makes of the server and the prefix.
pub(crate) fn is_child_with<S, F>(
    connects: impl AsyncFnOnce(Server, String) -> S,
    does: impl FnOnce(usize, S, String) -> F,
) -> bool
where
    F: Future<Output = String>,
{
    let Ok(number) = std::env::var("SESSION_CACHE_TEST_NUMBER") else {
        return false;
    };
    let tell = |name: &str| std::env::var(name).expect("the parent tells it");
    let server = tell("SESSION_CACHE_TEST_SERVER");
    let server = Server::ALL
        .into_iter()
        .find(|known| format!("{known:?}") == server)
        .expect("the parent knows it");
    block_on(async {
        let store = connects(server, tell("SESSION_CACHE_TEST_PREFIX")).await;
        say("ready");
        let mut line = String::new();
        std::io::stdin()
            .read_line(&mut line)
            .expect("the parent lives");
        let number = number.parse().expect("a number");
        let said = does(number, store, tell("SESSION_CACHE_TEST_TASK")).await;
        say(&format!("said {said}"));
    });
    true
}

fn say(line: &str) {
    // libtest may have begun the line.
    let mut stdout = std::io::stdout().lock();
    writeln!(stdout, "{line}").expect("the parent listens");
    stdout.flush().expect("the parent listens");
}

pub(crate) fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime")
        .block_on(future)
}
