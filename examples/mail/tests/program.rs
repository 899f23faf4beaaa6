//! The demo as somebody meets it who starts it: what it says, and how it ends.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::process::Stdio;

use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::Command;

use crate::support::{END_TIME_MAX, demo, refused};

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

#[tokio::test]
async fn ctrl_c_ends_it_well_also_while_a_form_is_half_sent() {
    let mut demo = demo(&["--port", "0", "--store", "memory"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(demo.stdout.take().unwrap()).lines();
    let line = lines.next_line().await.unwrap().unwrap();
    let address = line
        .trim_start_matches("The demo is at http://")
        .trim_end_matches('/');
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
    use std::process::Output;
    use std::time::Duration;

    use tokio::process::Command;

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
}
