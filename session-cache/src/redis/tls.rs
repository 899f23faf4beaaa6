//! Which cryptography TLS uses: the program's own choice, and ring where it has made none.

use redis::ConnectionInfo;

/// Sees to it that a connection by TLS finds a provider. Without one, rustls would panic where several are compiled in.
#[cfg(feature = "tls-rustls")]
pub(super) fn prepare(info: Option<&ConnectionInfo>) {
    let is_tls =
        info.is_some_and(|info| matches!(info.addr(), redis::ConnectionAddr::TcpTls { .. }));
    if is_tls && rustls::crypto::CryptoProvider::get_default().is_none() {
        // Another thread may have been faster, which is as good.
        drop(rustls::crypto::ring::default_provider().install_default());
    }
}

#[cfg(not(feature = "tls-rustls"))]
pub(super) const fn prepare(_info: Option<&ConnectionInfo>) {}
