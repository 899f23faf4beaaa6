//! Redis by TLS: a certificate that the system trusts opens a connection, and no other does.
#![cfg(feature = "tls-rustls")]

#[cfg(test)]
mod support;

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use session_cache::{CacheStore, RedisCacheConfig, RedisStore};
use session_core::store::{Saved, SessionStore as _, StoreError};
use support::children::block_on;
use support::{NOW, Server, WAIT_MAX, assert_unavailable, chain, change, key, load, new, text};

#[cfg(test)]
const TEST: &str = "a_certificate_that_is_trusted_opens_a_connection_and_no_other_does";

/// Where a child of the test is to connect to, and what it is to find.
#[cfg(test)]
const URL: &str = "SESSION_CACHE_TEST_TLS_URL";
#[cfg(test)]
const FINDS: &str = "SESSION_CACHE_TEST_TLS_FINDS";

/// Which certificates a program trusts: all that are in this file, where it is said, and else the system's.
#[cfg(test)]
const TRUSTED: &str = "SSL_CERT_FILE";

/// A server of this test's own that speaks nothing but TLS. It is gone, with its folder, when this is dropped.
#[cfg(test)]
struct TlsServer {
    process: Child,
    folder: PathBuf,
    port: u16,
}

#[cfg(test)]
impl TlsServer {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = listener.local_addr().expect("it is bound").port();
        drop(listener);
        let name = format!("session-cache-tls-{}-{port}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        std::fs::create_dir(&folder).expect("a new folder");
        issue_certificates(&folder);
        let process = Command::new("redis-server")
            .args(["--bind", "127.0.0.1", "--port", "0"])
            .args(["--tls-port", &port.to_string(), "--tls-auth-clients", "no"])
            .args([
                "--tls-cert-file",
                "server.pem",
                "--tls-key-file",
                "server.key",
            ])
            .args(["--tls-ca-cert-file", "ca.pem", "--save", ""])
            .current_dir(&folder)
            .stdout(Stdio::null())
            .spawn()
            .expect("redis-server is there");
        Self {
            process,
            folder,
            port,
        }
    }

    /// Runs this test again in a program that trusts `trusted`, or what the system trusts.
    fn is_found(&mut self, scheme: &str, host: &str, trusted: Option<&str>, finds: &str) {
        let mut child = Command::new(std::env::current_exe().expect("a test knows its program"));
        child
            .args(["--exact", TEST, "--nocapture"])
            .env(URL, format!("{scheme}://{host}:{}", self.port))
            .env(FINDS, finds)
            .env_remove(TRUSTED);
        if let Some(trusted) = trusted {
            child.env(TRUSTED, self.folder.join(trusted));
        }
        let status = child.status().expect("a child");
        let ended = self.process.try_wait().expect("a child of ours");
        assert!(
            ended.is_none(),
            "the server ended: does it speak TLS? {ended:?}"
        );
        assert!(
            status.success(),
            "{scheme}, {host}, trusting {trusted:?}: not {finds}"
        );
    }
}

#[cfg(test)]
impl Drop for TlsServer {
    fn drop(&mut self) {
        drop(self.process.kill());
        drop(self.process.wait());
        drop(std::fs::remove_dir_all(&self.folder));
    }
}

/// An authority, a certificate by it for 127.0.0.1, and another authority that has issued nothing.
#[cfg(test)]
fn issue_certificates(folder: &Path) {
    let issue = |arguments: &[&str]| {
        let issued = Command::new("openssl")
            .args(["req", "-x509", "-days", "2", "-nodes", "-newkey", "ec"])
            .args(["-pkeyopt", "ec_paramgen_curve:P-256"])
            .args(arguments)
            .current_dir(folder)
            .output()
            .expect("openssl is there");
        assert!(
            issued.status.success(),
            "openssl: {}",
            String::from_utf8_lossy(&issued.stderr)
        );
    };
    for name in ["ca", "other"] {
        let (key, certificate) = (format!("{name}.key"), format!("{name}.pem"));
        let subject = format!("/CN=An authority of this test, {name}");
        issue(&["-subj", &subject, "-keyout", &key, "-out", &certificate]);
    }
    issue(&[
        "-subj",
        "/CN=A server of this test",
        "-CA",
        "ca.pem",
        "-CAkey",
        "ca.key",
        "-addext",
        "basicConstraints=critical,CA:FALSE",
        "-addext",
        "subjectAltName=IP:127.0.0.1",
        "-keyout",
        "server.key",
        "-out",
        "server.pem",
    ]);
}

#[test]
fn a_certificate_that_is_trusted_opens_a_connection_and_no_other_does() {
    if let Ok(url) = std::env::var(URL) {
        let finds = std::env::var(FINDS).expect("the parent says it");
        return block_on(finds_out(&url, &finds));
    }
    // The server is its own; this says whether there may be one.
    if Server::Standalone.url().is_none() {
        return;
    }
    let mut server = TlsServer::start();
    server.is_found("rediss", "127.0.0.1", Some("ca.pem"), "a server");
    server.is_found("rediss", "127.0.0.1", Some("other.pem"), "nothing");
    server.is_found("rediss", "127.0.0.1", None, "nothing");
    // The certificate is for another name.
    server.is_found("rediss", "localhost", Some("ca.pem"), "nothing");
    server.is_found("redis", "127.0.0.1", Some("ca.pem"), "nothing");
}

#[cfg(test)]
async fn finds_out(url: &str, finds: &str) {
    let config = || {
        let config = RedisCacheConfig::from_url(url).expect("a URL");
        config.with_timeout(Duration::from_secs(2))
    };
    if finds == "nothing" {
        let store: RedisStore = CacheStore::new(config().build());
        assert_unavailable("load", store.load(&key(1), NOW).await);
        return;
    }
    let started = Instant::now();
    let cache = loop {
        match config().connect().await {
            Ok(cache) => break cache,
            Err(error @ StoreError::Unavailable { .. }) => assert!(
                started.elapsed() < WAIT_MAX,
                "no connection by TLS: {}",
                chain(&error)
            ),
            Err(error) => panic!("no connection by TLS: {}", chain(&error)),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    let store = CacheStore::new(cache);
    let version = store.create(&key(1), new("a"), NOW).await.unwrap();
    let saved = store.save(&key(1), &version, change("b"), NOW).await;
    assert!(matches!(saved, Ok(Saved::Stored(_))), "{saved:?}");
    assert_eq!(text(&load(&store, &key(1)).await.expect("it lives")), "b");
    assert!(store.delete(&key(1)).await.unwrap());
}
