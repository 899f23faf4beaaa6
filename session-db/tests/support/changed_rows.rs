//! A way to MariaDB on which a statement's answer counts the rows that it changed, as for clients of other languages. sqlx
//! always asks for those that were found.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::thread;

/// `CLIENT_FOUND_ROWS`, in the first byte of what a client says that it can.
const FOUND_ROWS: u8 = 2;

/// `url` over this way, which ends with the process.
pub(crate) fn url_over(url: &str) -> String {
    let (_, place) = url.split_once('@').expect("a URL with a role");
    let (place, _) = place.split_once('/').expect("a URL with a database");
    let server: SocketAddr = place.parse().expect("a server on this machine");
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    let port = listener.local_addr().expect("it is bound").port();
    thread::spawn(move || {
        for client in listener.incoming().map_while(Result::ok) {
            let server = TcpStream::connect(server).expect("the server runs");
            join(&client, &server);
        }
    });
    url.replacen(place, &format!("127.0.0.1:{port}"), 1)
}

fn join(client: &TcpStream, server: &TcpStream) {
    let again = |stream: &TcpStream| stream.try_clone().expect("a second handle");
    let (from, to) = (again(client), again(server));
    thread::spawn(move || pass_on(from, to, true));
    let (from, to) = (again(server), again(client));
    thread::spawn(move || pass_on(from, to, false));
}

/// Passes on what is said. What a client says first is the length of a packet, its number, and what the client can.
fn pass_on(mut from: TcpStream, mut to: TcpStream, mut is_greeting: bool) {
    let mut piece = vec![0; 64 * 1024];
    while let Ok(length @ 1..) = from.read(&mut piece) {
        if std::mem::take(&mut is_greeting) {
            assert!(piece[4] & FOUND_ROWS != 0, "sqlx asks for something else");
            piece[4] &= !FOUND_ROWS;
        }
        if to.write_all(&piece[..length]).is_err() {
            break;
        }
    }
    for side in [from, to] {
        drop(side.shutdown(Shutdown::Both));
    }
}
