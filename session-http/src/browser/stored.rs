//! One cookie as a browser keeps it: which others it replaces or hides, and which requests it goes along with.

use std::fmt;
use std::time::{Duration, SystemTime};

use super::fetch::{Fetch, Origin, is_address, registrable_domain};
use crate::config::SameSite;

/// How long a cookie without `SameSite` goes along with forms from elsewhere ("Lax-allowing-unsafe").
const UNSAFE_FOR: Duration = Duration::from_secs(2 * 60);

/// A cookie in a [`Jar`](super::Jar).
#[derive(Clone)]
pub struct StoredCookie {
    pub(super) name: String,
    pub(super) value: String,
    pub(super) domain: String,
    pub(super) is_host_only: bool,
    pub(super) path: String,
    pub(super) expires_at: Option<SystemTime>,
    pub(super) is_secure: bool,
    pub(super) is_http_only: bool,
    pub(super) same_site: SameSite,
    /// The top-level site in whose partition it is.
    pub(super) partition: Option<String>,
    pub(super) created_at: SystemTime,
    pub(super) created: u64,
    pub(super) used: u64,
}

impl StoredCookie {
    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its value.
    #[must_use]
    pub fn value(&self) -> &str {
        &self.value
    }

    /// The host that it is for, and, if [not for that alone](Self::is_host_only), those under it.
    #[must_use]
    pub fn domain(&self) -> &str {
        &self.domain
    }

    /// Whether it is for one host alone.
    #[must_use]
    pub fn is_host_only(&self) -> bool {
        self.is_host_only
    }

    /// The path that it is for, and those under it.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    /// When the browser forgets it. `None`: when it is closed.
    #[must_use]
    pub fn expires_at(&self) -> Option<SystemTime> {
        self.expires_at
    }

    /// Whether it is sent over HTTPS alone.
    #[must_use]
    pub fn is_secure(&self) -> bool {
        self.is_secure
    }

    /// Whether scripts can't read it.
    #[must_use]
    pub fn is_http_only(&self) -> bool {
        self.is_http_only
    }

    /// What it says of requests from other sites.
    #[must_use]
    pub fn same_site(&self) -> SameSite {
        self.same_site
    }

    /// Whether it is another one under each site at the top of the tab.
    #[must_use]
    pub fn is_partitioned(&self) -> bool {
        self.partition.is_some()
    }

    pub(super) fn site(&self) -> &str {
        registrable_domain(&self.domain)
    }

    pub(super) fn is_in(&self, site: &str, partition: Option<&str>) -> bool {
        self.site() == site && self.partition.as_deref() == partition
    }

    /// Whether one replaces the other.
    pub(super) fn is_same_as(&self, other: &Self) -> bool {
        self.name == other.name
            && self.domain == other.domain
            && self.is_host_only == other.is_host_only
            && self.path == other.path
            && self.partition == other.partition
    }

    /// Whether `other` has `Secure` and this one would be sent in its place or before it.
    pub(super) fn would_hide(&self, other: &Self) -> bool {
        other.is_secure
            && other.name == self.name
            && (is_within(&self.domain, &other.domain) || is_within(&other.domain, &self.domain))
            && is_under(&self.path, &other.path)
    }

    /// RFC 6265bis section 5.8.3.
    pub(super) fn is_for(&self, fetch: &Fetch, now: SystemTime, trusts_loopback: bool) -> bool {
        let Origin { host, .. } = fetch.target();
        let is_for_host = if self.is_host_only {
            *host == self.domain
        } else {
            is_within(host, &self.domain)
        };
        let is_in_partition = self
            .partition
            .as_ref()
            .is_none_or(|partition| *partition == fetch.top_level_site());
        is_for_host
            && is_in_partition
            && is_under(fetch.path(), &self.path)
            && (!self.is_secure || fetch.target().is_trustworthy(trusts_loopback))
            && (fetch.is_same_site() || self.goes_along_from_elsewhere(fetch, now))
    }

    fn goes_along_from_elsewhere(&self, fetch: &Fetch, now: SystemTime) -> bool {
        let is_visit = fetch.is_navigation() && fetch.method().is_safe();
        match self.same_site {
            SameSite::Strict => false,
            SameSite::Lax => is_visit,
            SameSite::None => true,
            SameSite::Absent => {
                let age = now.duration_since(self.created_at).unwrap_or_default();
                is_visit || (fetch.is_navigation() && age < UNSAFE_FOR)
            }
        }
    }
}

impl fmt::Debug for StoredCookie {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoredCookie")
            .field("name", &self.name)
            .field("domain", &self.domain)
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

/// Whether `host` is `domain` or under it (RFC 6265bis section 5.1.3).
pub(super) fn is_within(host: &str, domain: &str) -> bool {
    host == domain
        || (!is_address(host)
            && host
                .strip_suffix(domain)
                .is_some_and(|rest| rest.ends_with('.')))
}

/// Whether `path` is `base` or under it (RFC 6265bis section 5.1.4).
fn is_under(path: &str, base: &str) -> bool {
    match path.strip_prefix(base) {
        Some(rest) => rest.is_empty() || base.ends_with('/') || rest.starts_with('/'),
        None => false,
    }
}
