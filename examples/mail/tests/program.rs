//! The demo as somebody meets it who starts it: what it says, and how it ends.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};

use tokio::process::Command;

use crate::support::{END_TIME_MAX, Sample, fetch, refused, samples, started};

#[tokio::test]
async fn a_wrong_command_line_is_refused_with_code_2_and_the_usage() {
    for wrong in ["redis", "file:"] {
        let (code, said) = refused(&["--port", "0", "--store", wrong]).await;
        assert_eq!(code, Some(2), "{wrong}: {said}");
        assert!(
            said.contains(wrong) && said.contains("--store STORE"),
            "{wrong} was refused with: {said}"
        );
    }
}

#[tokio::test]
async fn a_port_that_is_taken_is_named_with_what_to_do() {
    let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let (code, said) = refused(&["--port", &port, "--store", "memory"]).await;
    assert_eq!(code, Some(1), "{said}");
    assert!(
        said.contains(&port) && said.contains("--port"),
        "it said: {said}"
    );
}

#[tokio::test]
async fn a_folder_that_cannot_be_one_is_named() {
    // Root may write everywhere, but not into a file.
    let file = tempfile::NamedTempFile::new().unwrap();
    let path = file.path().display().to_string();
    for folder in [path.clone(), format!("{path}/sessions")] {
        let store = format!("file:{folder}");
        let (code, said) = refused(&["--port", "0", "--store", &store]).await;
        assert_eq!(code, Some(1), "{folder}: {said}");
        assert!(said.contains(&path), "{folder} was refused with: {said}");
    }
}

/// Visits, a log-in, two tabs, a log-out, and a scrape: what the documentation promises is there, and nothing of a visitor.
#[tokio::test]
async fn a_scrape_has_every_documented_number_and_nothing_of_a_visitor() {
    const CANARY: &str = "canary9f86d081";
    let (_demo, _output, address) =
        started(&["--port", "0", "--store", "memory", "--metrics"]).await;
    let send = format!("from={CANARY}&to=b%40example.org&message={CANARY}&name={CANARY}");
    let first = fetch(&address, "POST", "/counter", "", "").await;
    let mut cookies = vec![first.cookie.expect("a visitor who counts has a session")];
    let mut cookie = cookies[0].clone();
    fetch(&address, "POST", "/send", &cookie, &send).await;
    fetch(&address, "GET", "/login", &cookie, "").await;
    let log_in = format!("name={CANARY}&password=session");
    let answer = fetch(&address, "POST", "/login", &cookie, &log_in).await;
    cookie = answer.cookie.expect("a log-in changes the key");
    cookies.push(cookie.clone());
    fetch(&address, "GET", "/sessions", &cookie, "").await;
    fetch(&address, "POST", "/logout", &cookie, "").await;
    fetch(&address, "GET", "/counter", &cookie, "").await;

    let page = fetch(&address, "GET", "/metrics", "", "").await.body;
    let samples = samples(&page);
    let documented: Vec<&str> = include_str!("../../../docs/observability.md")
        .lines()
        .filter(|line| line.starts_with("| `session."))
        .map(|line| line.split('`').nth(3).expect("a row has Prometheus' name"))
        .collect();
    assert_eq!(documented.len(), 15, "rows are missing: {documented:?}");
    let base = |name: &str| {
        let ends = ["_bucket", "_sum", "_count"];
        let bare = ends.iter().find_map(|end| name.strip_suffix(end));
        bare.unwrap_or(name).to_owned()
    };
    for name in &documented {
        let is_there = samples.iter().any(|sample| base(&sample.name) == *name);
        assert!(is_there, "{name} is documented and not told:\n{page}");
    }
    for sample in &samples {
        let name = base(&sample.name);
        assert!(
            documented.contains(&name.as_str()),
            "{name} is told and not documented"
        );
    }

    let value = |name: &str, labels: &str| {
        let of = |sample: &&Sample| sample.name == name && sample.labels == labels;
        let sample = samples.iter().find(of);
        sample
            .unwrap_or_else(|| panic!("no {name}{{{labels}}}:\n{page}"))
            .value
    };
    assert_eq!(value("session_created_total", ""), 1.0);
    assert_eq!(value("session_rotated_total", ""), 1.0);
    assert_eq!(value("session_ended_total", r#"reason="log_out""#), 1.0);
    assert_eq!(value("session_unknown_keys_total", ""), 1.0);
    let rotations = r#"db_system_name="memory",db_operation_name="rotate",outcome="ok""#;
    let count = "session_store_operation_duration_seconds_count";
    assert_eq!(value(count, rotations), 1.0);

    for secret in cookies.iter().filter_map(|cookie| cookie.split_once('=')) {
        assert!(!page.contains(secret.1), "the page holds a session's key");
    }
    assert!(
        !page.contains(CANARY),
        "the page holds what a visitor wrote"
    );
    let labels = samples.iter().flat_map(|sample| sample.labels.split(','));
    for label in labels.filter(|label| !label.is_empty()) {
        let (_, value) = label.split_once('=').unwrap();
        let is_word = value.len() <= 24 && !value.contains(char::is_whitespace);
        assert!(is_word, "a label may be one of a few words only: {label}");
    }
}

#[tokio::test]
async fn without_being_asked_the_demo_has_no_page_for_prometheus() {
    let (_demo, _output, address) = started(&["--port", "0", "--store", "memory"]).await;
    let answer = fetch(&address, "GET", "/metrics", "", "").await;
    assert_eq!(answer.status, 404, "anybody can read the numbers");
}

#[tokio::test]
async fn ctrl_c_ends_it_well_also_while_a_form_is_half_sent() {
    let (mut demo, _output, address) = started(&["--port", "0", "--store", "memory"]).await;
    // Half a form. The demo asks for the other half, and will wait for it.
    let mut halting = TcpStream::connect(address).unwrap();
    halting
        .write_all(
            b"POST /send HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-www-form-urlencoded\r\n\
            Content-Length: 100\r\nExpect: 100-continue\r\n\r\n",
        )
        .unwrap();
    let mut answer = [0; 12];
    halting.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"HTTP/1.1 100", "the demo does not wait for more");

    let id = demo.id().unwrap().to_string();
    let interrupted = Command::new("kill").args(["-INT", &id]).status().await;
    assert!(interrupted.unwrap().success());
    let status = tokio::time::timeout(END_TIME_MAX, demo.wait())
        .await
        .expect("Ctrl-C did not end the demo")
        .unwrap();
    assert_eq!(status.code(), Some(0), "it ended badly: {status}");
}

#[cfg(test)]
mod support {
    use std::process::{Output, Stdio};
    use std::time::Duration;

    use tokio::io::{
        AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader, Lines,
    };
    use tokio::net::TcpStream;
    use tokio::process::{Child, ChildStdout, Command};

    /// How long a program may take until it ends.
    pub(crate) const END_TIME_MAX: Duration = Duration::from_secs(10);

    pub(crate) fn demo(arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_mail"));
        command.args(arguments).kill_on_drop(true);
        command
    }

    /// Runs a demo that is to end at once, and gives its exit code and what it said.
    pub(crate) async fn refused(arguments: &[&str]) -> (Option<i32>, String) {
        let ended = tokio::time::timeout(END_TIME_MAX, demo(arguments).output()).await;
        let ended = ended.unwrap_or_else(|_still_running| panic!("{arguments:?} was not refused"));
        let Output { status, stderr, .. } = ended.unwrap();
        (status.code(), String::from_utf8(stderr).unwrap())
    }

    /// A demo that serves, what it prints, and where it is. It must be able to print as long as it runs.
    pub(crate) async fn started(
        arguments: &[&str],
    ) -> (Child, Lines<BufReader<ChildStdout>>, String) {
        let mut demo = demo(arguments).stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(demo.stdout.take().unwrap()).lines();
        let line = lines.next_line().await.unwrap().unwrap();
        let address = line.trim_start_matches("The demo is at http://");
        let address = address.trim_end_matches('/').to_owned();
        (demo, lines, address)
    }

    /// What came back.
    pub(crate) struct Answer {
        pub(crate) status: u16,
        /// The last cookie that was set, as it is sent back.
        pub(crate) cookie: Option<String>,
        pub(crate) body: String,
    }

    pub(crate) async fn fetch(
        address: &str,
        method: &str,
        path: &str,
        cookie: &str,
        form: &str,
    ) -> Answer {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let length = form.len();
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nCookie: {cookie}\r\n\
            Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {length}\r\n\r\n{form}"
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut text = String::new();
        let read = tokio::time::timeout(END_TIME_MAX, stream.read_to_string(&mut text));
        read.await.expect("the demo does not answer").unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        let mut cookies = head
            .lines()
            .filter_map(|line| line.strip_prefix("set-cookie: "));
        let cookie = cookies.next_back().and_then(|set| set.split(';').next());
        Answer {
            status,
            cookie: cookie.map(str::to_owned),
            body: body.to_owned(),
        }
    }

    /// One line of Prometheus' text format.
    pub(crate) struct Sample {
        pub(crate) name: String,
        /// Without the braces; and without `le`, which a bucket has.
        pub(crate) labels: String,
        pub(crate) value: f64,
    }

    /// Every sample of a scrape, each of a type that was declared before it.
    pub(crate) fn samples(page: &str) -> Vec<Sample> {
        let mut types = Vec::new();
        let mut samples = Vec::new();
        for line in page.lines().filter(|line| !line.is_empty()) {
            if let Some(comment) = line.strip_prefix("# ") {
                let words: Vec<&str> = comment.split(' ').collect();
                match words[..] {
                    ["TYPE", name, "counter" | "histogram"] => types.push(name),
                    ["HELP", _, _, ..] => {}
                    _ => panic!("not a comment of the format: {line}"),
                }
                continue;
            }
            let (series, value) = line.rsplit_once(' ').unwrap();
            let (name, labels) = series
                .strip_suffix('}')
                .and_then(|series| series.split_once('{'))
                .unwrap_or((series, ""));
            let is_declared = types.iter().any(|known| name.starts_with(known));
            assert!(is_declared, "{name} comes without a type");
            let labels: Vec<&str> = labels
                .split(',')
                .filter(|label| !label.starts_with("le="))
                .collect();
            samples.push(Sample {
                name: name.to_owned(),
                labels: labels.join(","),
                value: value.parse().unwrap(),
            });
        }
        samples
    }
}
