//! Stands between a store and its server: counts round trips, holds messages back, loses answers.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread;

/// A way to a server, which ends with the process.
#[derive(Debug, Clone)]
pub(crate) struct Proxy {
    port: u16,
    state: Arc<State>,
}

#[derive(Debug, Default)]
struct State {
    now: Mutex<Now>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Now {
    /// How often a client began to speak after the server had spoken, or first.
    round_trips: u64,
    is_stalled: bool,
    /// How many answers are still to be lost.
    answers_to_lose: u64,
}

/// What was said last on a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Last {
    Answer,
    Test,
    Question,
}

/// How sqlx asks whether a server is there: PostgreSQL's `Sync`, and the command `COM_PING`.
const TESTS: [&[u8]; 2] = [b"S\0\0\0\x04", b"\x01\0\0\0\x0e"];

impl Proxy {
    /// A proxy to the server of `url`, which is on this machine.
    pub(crate) fn to(url: &str) -> Self {
        let server = SocketAddr::from((Ipv4Addr::LOCALHOST, port_of(url)));
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let port = listener.local_addr().expect("it is bound").port();
        let state = Arc::new(State::default());
        let proxy = Self {
            port,
            state: Arc::clone(&state),
        };
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                // A server that is down refuses, and so does this.
                if let Ok(server) = TcpStream::connect(server) {
                    join(&client, &server, &state);
                }
            }
        });
        proxy
    }

    /// `url` through this proxy.
    pub(crate) fn url(&self, url: &str) -> String {
        Self::url_at(url, self.port)
    }

    /// `url` at another port of this machine.
    pub(crate) fn url_at(url: &str, port: u16) -> String {
        let theirs = format!("127.0.0.1:{}", port_of(url));
        url.replacen(&theirs, &format!("127.0.0.1:{port}"), 1)
    }

    pub(crate) fn round_trips(&self) -> u64 {
        self.state.lock().round_trips
    }

    /// Holds back all that is sent from now on, until it is told otherwise.
    pub(crate) fn stall(&self, is_stalled: bool) {
        self.state.lock().is_stalled = is_stalled;
        self.state.changed.notify_all();
    }

    /// Loses the next answers, so many of them, and the connections that they were to come on. Answers to tests arrive.
    pub(crate) fn lose_answers(&self, answers: u64) {
        self.state.lock().answers_to_lose = answers;
    }
}

impl State {
    fn lock(&self) -> MutexGuard<'_, Now> {
        self.now.lock().expect("nothing panics under this lock")
    }

    fn wait_while_stalled(&self) -> MutexGuard<'_, Now> {
        self.changed
            .wait_while(self.lock(), |now| now.is_stalled)
            .expect("nothing panics under this lock")
    }
}

fn port_of(url: &str) -> u16 {
    let (_, after_host) = url
        .split_once("@127.0.0.1:")
        .expect("a server on this machine");
    let digits = after_host.split('/').next().unwrap_or_default();
    digits.parse().expect("a port")
}

/// Passes on what either side says, until one of them hangs up.
fn join(client: &TcpStream, server: &TcpStream, state: &Arc<State>) {
    let last = Arc::new(Mutex::new(Last::Answer));
    let again = |stream: &TcpStream| stream.try_clone().expect("a second handle");
    for stream in [client, server] {
        stream.set_nodelay(true).expect("a socket");
    }

    let (mut from, mut to) = (again(client), again(server));
    let (said, shared) = (Arc::clone(&last), Arc::clone(state));
    thread::spawn(move || {
        pass_on(&mut from, &mut to, |piece| {
            let mut now = shared.wait_while_stalled();
            let mut said = said.lock().expect("nothing panics under this lock");
            let is_test = TESTS.contains(&piece);
            now.round_trips += u64::from(*said == Last::Answer);
            *said = if is_test { Last::Test } else { Last::Question };
            true
        });
    });

    let (mut from, mut to) = (again(server), again(client));
    let shared = Arc::clone(state);
    thread::spawn(move || {
        pass_on(&mut from, &mut to, |_piece| {
            let mut now = shared.wait_while_stalled();
            let mut said = last.lock().expect("nothing panics under this lock");
            let may_pass = *said != Last::Question || now.answers_to_lose == 0;
            if !may_pass {
                now.answers_to_lose -= 1;
            }
            *said = Last::Answer;
            may_pass
        });
    });
}

/// Asks `may_pass` about each piece, and hangs up if it may not.
fn pass_on(from: &mut TcpStream, to: &mut TcpStream, may_pass: impl Fn(&[u8]) -> bool) {
    let mut piece = vec![0; 64 * 1024];
    while let Ok(length @ 1..) = from.read(&mut piece) {
        let piece = &piece[..length];
        if !may_pass(piece) || to.write_all(piece).is_err() {
            break;
        }
    }
    for side in [from, to] {
        drop(side.shutdown(Shutdown::Both));
    }
}
