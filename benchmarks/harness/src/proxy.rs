//! Counts round trips on the wire: a client's turn that follows a server's.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use crate::Result;

/// How long nothing must be heard before a count is believed: what a pool says to a connection that it takes back comes
/// after the answer.
const SILENCE: Duration = Duration::from_millis(100);

/// Stands between a client and its server.
pub(crate) struct Proxy {
    trips: Arc<AtomicU64>,
    url: String,
}

impl Proxy {
    /// In front of the server at `url`.
    pub(crate) fn before(url: &str) -> Result<Self> {
        let (head, rest) = url.split_once("://").ok_or("this is no URL")?;
        let (user, place) = rest.rsplit_once('@').unwrap_or(("", rest));
        let (server, path) = place.split_once('/').unwrap_or((place, ""));
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let at = if user.is_empty() { "" } else { "@" };
        let url = format!("{head}://{user}{at}{}/{path}", listener.local_addr()?);
        let trips = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&trips);
        let server = server.to_owned();
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                if let Ok(server) = TcpStream::connect(&server) {
                    between(client, server, &counted);
                }
            }
        });
        Ok(Self { trips, url })
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// All trips so far, once nobody speaks any more.
    pub(crate) fn trips(&self) -> u64 {
        loop {
            let before = self.trips.load(Ordering::SeqCst);
            thread::sleep(SILENCE);
            if self.trips.load(Ordering::SeqCst) == before {
                return before;
            }
        }
    }
}

fn between(client: TcpStream, server: TcpStream, trips: &Arc<AtomicU64>) {
    let has_answered = Arc::new(AtomicBool::new(true));
    let (Ok(from_client), Ok(from_server)) = (client.try_clone(), server.try_clone()) else {
        return;
    };
    drop((client.set_nodelay(true), server.set_nodelay(true)));
    let (trips, answered) = (Arc::clone(trips), Arc::clone(&has_answered));
    thread::spawn(move || {
        pass(from_client, server, || {
            if answered.swap(false, Ordering::SeqCst) {
                trips.fetch_add(1, Ordering::SeqCst);
            }
        });
    });
    thread::spawn(move || {
        pass(from_server, client, || {
            has_answered.store(true, Ordering::SeqCst)
        })
    });
}

fn pass(mut from: TcpStream, mut to: TcpStream, mut heard: impl FnMut()) {
    let mut piece = vec![0; 128 * 1024];
    while let Ok(length @ 1..) = from.read(&mut piece) {
        heard();
        if to.write_all(&piece[..length]).is_err() {
            break;
        }
    }
    drop((from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both)));
}
