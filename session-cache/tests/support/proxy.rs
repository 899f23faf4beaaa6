//! Stands between a cache and its server: falls silent, delays, and cuts connections in the middle of an answer.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// A way to a server, which ends with the runtime.
#[derive(Debug, Clone)]
pub(crate) struct Proxy {
    port: u16,
    server: String,
    state: Arc<Mutex<State>>,
    silence: watch::Sender<Silence>,
}

#[derive(Debug, Default)]
struct State {
    connections: u64,
    delay: Duration,
    /// So many answers pass, and the next one is cut after so many bytes, and its connection with it.
    cut: Option<(u64, usize)>,
}

/// Which connections are silent: those with a number up to this.
type Silence = u64;

impl Proxy {
    /// A proxy to the server of `url`, which is on this machine.
    pub(crate) async fn to(url: &str) -> Self {
        let (_, rest) = url
            .split_once("127.0.0.1:")
            .expect("a server on this machine");
        let port = rest.split('/').next().expect("a port");
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let proxy = Self {
            port: listener.local_addr().expect("it is bound").port(),
            server: format!("127.0.0.1:{port}"),
            state: Arc::default(),
            silence: watch::Sender::new(0),
        };
        let accepting = proxy.clone();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                // A server that is down refuses, and so does this.
                if let Ok(server) = TcpStream::connect(&accepting.server).await {
                    accepting.join(client, server);
                }
            }
        });
        proxy
    }

    /// `url` through this proxy.
    pub(crate) fn url(&self, url: &str) -> String {
        url.replacen(&self.server, &format!("127.0.0.1:{}", self.port), 1)
    }

    /// How many connections there were.
    pub(crate) fn connections(&self) -> u64 {
        self.state().connections
    }

    /// Holds back all that is sent on the connections that there are, and on those to come if `also_new`.
    pub(crate) fn fall_silent(&self, also_new: bool) {
        let silent = if also_new {
            u64::MAX
        } else {
            self.connections()
        };
        self.silence.send_replace(silent);
    }

    /// Passes on what was held back, and all that comes.
    pub(crate) fn speak(&self) {
        self.silence.send_replace(0);
    }

    /// Each answer waits for so long.
    pub(crate) fn delay(&self, delay: Duration) {
        self.state().delay = delay;
    }

    /// The next answer is cut after so many bytes.
    pub(crate) fn cut_next_answer(&self, after: usize) {
        self.cut_answer_behind(0, after);
    }

    /// So many answers pass, and the one behind them is cut after so many bytes.
    pub(crate) fn cut_answer_behind(&self, answers: u64, after: usize) {
        self.state().cut = Some((answers, after));
    }

    /// Cuts nothing any more. Whether it still would have.
    pub(crate) fn spare(&self) -> bool {
        self.state().cut.take().is_some()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nothing panics under this lock")
    }

    fn join(&self, client: TcpStream, server: TcpStream) {
        let number = {
            let mut state = self.state();
            state.connections += 1;
            state.connections
        };
        for stream in [&client, &server] {
            stream.set_nodelay(true).expect("a socket");
        }
        let (from_client, to_client) = client.into_split();
        let (from_server, to_server) = server.into_split();
        tokio::spawn(self.clone().pass_on(from_client, to_server, number, false));
        tokio::spawn(self.clone().pass_on(from_server, to_client, number, true));
    }

    async fn pass_on(
        self,
        mut from: OwnedReadHalf,
        mut to: OwnedWriteHalf,
        number: u64,
        are_answers: bool,
    ) {
        let mut piece = vec![0; 64 * 1024];
        let mut silence = self.silence.subscribe();
        while let Ok(length @ 1..) = from.read(&mut piece).await {
            let mut length = length;
            let is_heard = silence.wait_for(|silent| number > *silent).await.is_ok();
            let mut is_cut = false;
            let delay = {
                let mut state = self.state();
                match state.cut.take_if(|_| are_answers) {
                    Some((0, after)) => {
                        is_cut = true;
                        length = length.min(after);
                    }
                    Some((answers, after)) => state.cut = Some((answers - 1, after)),
                    None => {}
                }
                state.delay
            };
            if are_answers && !delay.is_zero() {
                tokio::time::sleep(delay).await;
            }
            let written = to.write_all(&piece[..length]).await;
            if !is_heard || is_cut || written.is_err() {
                break;
            }
        }
        drop(to.shutdown().await);
    }
}
