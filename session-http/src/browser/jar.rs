//! Which cookies a browser keeps, for how long, and to whom it sends them.

use std::fmt;
use std::time::{Duration, SystemTime};

use http::header::{COOKIE, SET_COOKIE};
use http::{HeaderMap, HeaderValue, request};

use super::fetch::{Fetch, is_address};
use super::set_cookie::SetCookie;
use super::stored::{StoredCookie, is_within};
use crate::config::SameSite;

/// Chromium's; RFC 6265bis section 6.1 asks for 50 at least.
const COOKIES_PER_SITE_MAX: usize = 180;
/// Chromium's, for the partitioned cookies of one site in one partition.
const PARTITION_BYTES_MAX: usize = 10 * 1024;
/// More responses have more orders than a test should try: this many have 5040.
const RESPONSES_MAX: usize = 7;

/// A browser's cookies. Clones are browsers of their own.
///
/// Its clock stands still until it is told otherwise ([`at`](Self::at), [`advance`](Self::advance)).
#[derive(Clone)]
pub struct Jar {
    cookies: Vec<StoredCookie>,
    now: SystemTime,
    /// Grows with everything that happens, since much happens in one second.
    ticks: u64,
    cookies_per_site_max: usize,
    trusts_loopback: bool,
    refuses_all: bool,
}

/// A cookie that a browser did not take.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Refused {
    /// Its name.
    pub name: String,
    /// What was wrong with it.
    pub reason: Reason,
}

/// Why a browser did not take a cookie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reason {
    /// The visitor allows no cookies.
    NoCookies,
    /// It is not UTF-8.
    NotText,
    /// It has neither a name nor a value.
    Empty,
    /// Name and value have more than 4096 bytes together.
    TooLarge,
    /// The host is not in the `Domain`, or that is a whole top-level domain.
    Domain,
    /// `Secure`, and it came over plain HTTP.
    PlainHttp,
    /// `SameSite=None` or `Partitioned`, without `Secure`.
    NeedsSecure,
    /// Its name begins with a prefix such as `__Host-`, and its attributes are not what the prefix asks for.
    Prefix,
    /// It says `SameSite`, and it came in answer to a part of another site's page.
    OtherSite,
    /// It came over plain HTTP and would stand in the place of one that has `Secure`.
    ReplacesSecure,
}

/// A jar that has received several responses in one of their orders.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Arrival {
    /// Which response came first, second, and so on, by their places in the list.
    pub order: Vec<usize>,
    /// What the browser then has.
    pub jar: Jar,
}

impl Jar {
    /// An empty jar, at the beginning of 2026.
    #[must_use]
    pub fn new() -> Self {
        Self::at(SystemTime::UNIX_EPOCH + Duration::from_secs(1_767_225_600))
    }

    /// An empty jar whose clock says `now`.
    #[must_use]
    pub fn at(now: SystemTime) -> Self {
        Self {
            cookies: Vec::new(),
            now,
            ticks: 0,
            cookies_per_site_max: COOKIES_PER_SITE_MAX,
            trusts_loopback: true,
            refuses_all: false,
        }
    }

    /// The visitor has switched cookies off.
    #[must_use]
    pub fn refusing_all(mut self) -> Self {
        self.refuses_all = true;
        self
    }

    /// As Safari: `http://localhost` is plain HTTP like any other.
    #[must_use]
    pub fn without_trust_in_loopback(mut self) -> Self {
        self.trusts_loopback = false;
        self
    }

    /// How many cookies the browser keeps for one site before it evicts some: first those without `Secure`, then those that
    /// were not sent for the longest time. 180 by default, as in Chromium.
    #[must_use]
    pub fn with_cookies_per_site_max(mut self, cookies: usize) -> Self {
        self.cookies_per_site_max = cookies;
        self
    }

    /// Time passes.
    pub fn advance(&mut self, by: Duration) {
        self.now += by;
        self.forget_expired();
    }

    /// The browser is closed: cookies without an age are gone.
    pub fn close_browser(&mut self) {
        self.cookies.retain(|cookie| cookie.expires_at.is_some());
    }

    /// The visitor clears all cookies, or the browser does it by itself.
    pub fn clear(&mut self) {
        self.cookies.clear();
    }

    /// Takes the cookies of a response, and says which were refused and why.
    pub fn receive(&mut self, fetch: &Fetch, headers: &HeaderMap) -> Vec<Refused> {
        let mut refused = Vec::new();
        for header in headers.get_all(SET_COOKIE) {
            if let Err((name, reason)) = self.take(fetch, header.as_bytes()) {
                refused.push(Refused { name, reason });
            }
        }
        refused
    }

    /// The request with everything that a browser says of it: `Host`, `Cookie`, `Origin`, `Sec-Fetch-Site`. It lacks a body.
    #[must_use]
    pub fn request(&mut self, fetch: &Fetch) -> request::Builder {
        let builder = fetch.builder(self.trusts_loopback);
        match self.cookie_header(fetch) {
            Some(cookies) => builder.header(COOKIE, cookies),
            None => builder,
        }
    }

    /// The request's `Cookie` header, if it has any: longer paths before shorter ones, and then older cookies before newer.
    #[must_use]
    pub fn cookie_header(&mut self, fetch: &Fetch) -> Option<HeaderValue> {
        self.forget_expired();
        self.ticks += 1;
        let (now, ticks, trusts_loopback) = (self.now, self.ticks, self.trusts_loopback);
        let mut sent: Vec<&mut StoredCookie> = self
            .cookies
            .iter_mut()
            .filter(|cookie| cookie.is_for(fetch, now, trusts_loopback))
            .collect();
        sent.sort_by_key(|cookie| (std::cmp::Reverse(cookie.path.len()), cookie.created));
        let mut text = String::new();
        for cookie in sent {
            cookie.used = ticks;
            if !text.is_empty() {
                text.push_str("; ");
            }
            if !cookie.name.is_empty() {
                text.push_str(&cookie.name);
                text.push('=');
            }
            text.push_str(&cookie.value);
        }
        if text.is_empty() {
            return None;
        }
        let mut header = HeaderValue::try_from(text).ok()?;
        header.set_sensitive(true);
        Some(header)
    }

    /// All cookies, oldest first.
    pub fn cookies(&self) -> impl Iterator<Item = &StoredCookie> {
        self.cookies.iter()
    }

    /// The value of the only cookie called `name`. `None` if there is none, or if there are several for different hosts or
    /// paths.
    #[must_use]
    pub fn value(&self, name: &str) -> Option<&str> {
        let mut of_that_name = self.cookies.iter().filter(|cookie| cookie.name == name);
        match (of_that_name.next(), of_that_name.next()) {
            (Some(cookie), None) => Some(&cookie.value),
            _ => None,
        }
    }

    /// What this jar becomes when these responses arrive, in each of their orders.
    ///
    /// # Panics
    ///
    /// With more than seven responses: that would be more than 5040 orders.
    #[must_use]
    pub fn in_every_order(&self, responses: &[(&Fetch, &HeaderMap)]) -> Vec<Arrival> {
        assert!(
            responses.len() <= RESPONSES_MAX,
            "seven responses have 5040 orders; ask for the ones that matter"
        );
        let none = Arrival {
            order: Vec::new(),
            jar: self.clone(),
        };
        let mut arrivals = vec![none];
        for _ in responses {
            arrivals = arrivals
                .iter()
                .flat_map(|arrival| arrival.followed_by_each(responses))
                .collect();
        }
        arrivals
    }

    fn forget_expired(&mut self) {
        let now = self.now;
        self.cookies
            .retain(|cookie| cookie.expires_at.is_none_or(|end| end > now));
    }

    /// RFC 6265bis section 5.7, in its order.
    fn take(&mut self, fetch: &Fetch, header: &[u8]) -> Result<(), (String, Reason)> {
        let set = SetCookie::parse(header, self.now)?;
        if let Some(reason) = self.objection(fetch, &set) {
            return Err((set.name, reason));
        }
        let SetCookie {
            name,
            value,
            expires_at,
            domain,
            path,
            is_secure,
            is_http_only,
            same_site,
            is_partitioned,
        } = set;
        let host = &fetch.target().host;
        // A whole top-level domain's own page may name it, and gets a cookie for itself alone.
        let domain = domain.filter(|domain| !domain.is_empty() && !is_public_suffix(domain));
        self.ticks += 1;
        let cookie = StoredCookie {
            name,
            value,
            is_host_only: domain.is_none(),
            domain: domain.unwrap_or_else(|| host.clone()),
            path: path.unwrap_or_else(|| default_path(fetch.path())),
            expires_at,
            is_secure,
            is_http_only,
            same_site,
            partition: is_partitioned.then(|| fetch.top_level_site()),
            created_at: self.now,
            created: self.ticks,
            used: self.ticks,
        };
        if !cookie.is_secure
            && !fetch.target().is_trustworthy(self.trusts_loopback)
            && self.cookies.iter().any(|other| cookie.would_hide(other))
        {
            return Err((cookie.name, Reason::ReplacesSecure));
        }
        self.put(cookie);
        Ok(())
    }

    fn objection(&self, fetch: &Fetch, set: &SetCookie) -> Option<Reason> {
        let host = &fetch.target().host;
        if self.refuses_all {
            return Some(Reason::NoCookies);
        }
        if let Some(domain) = set.domain.as_deref().filter(|domain| !domain.is_empty()) {
            let is_too_wide = is_public_suffix(domain) && domain != host;
            if is_too_wide || !is_within(host, domain) {
                return Some(Reason::Domain);
            }
        }
        if set.is_secure && !fetch.target().is_trustworthy(self.trusts_loopback) {
            return Some(Reason::PlainHttp);
        }
        if !set.is_secure && (set.same_site == SameSite::None || set.is_partitioned) {
            return Some(Reason::NeedsSecure);
        }
        // One that says nothing counts as `Lax`, here as well.
        if set.same_site != SameSite::None && !fetch.is_same_site() && !fetch.is_navigation() {
            return Some(Reason::OtherSite);
        }
        (!has_what_its_prefix_asks_for(set)).then_some(Reason::Prefix)
    }

    fn put(&mut self, mut cookie: StoredCookie) {
        let replaced = self
            .cookies
            .iter()
            .position(|other| other.is_same_as(&cookie));
        if let Some(at) = replaced {
            let old = self.cookies.remove(at);
            cookie.created = old.created;
            cookie.created_at = old.created_at;
        }
        let (site, partition) = (cookie.site().to_owned(), cookie.partition.clone());
        self.cookies.push(cookie);
        self.cookies.sort_by_key(|cookie| cookie.created);
        self.forget_expired();
        while self.is_too_full(&site, partition.as_deref()) {
            let first = self
                .cookies
                .iter()
                .enumerate()
                .filter(|(_, cookie)| cookie.is_in(&site, partition.as_deref()))
                .min_by_key(|(_, cookie)| (cookie.is_secure, cookie.used));
            let Some((at, _)) = first else {
                return;
            };
            self.cookies.remove(at);
        }
    }

    fn is_too_full(&self, site: &str, partition: Option<&str>) -> bool {
        let (mut count, mut bytes) = (0, 0);
        for cookie in &self.cookies {
            if cookie.is_in(site, partition) {
                count += 1;
                bytes += cookie.name.len() + cookie.value.len();
            }
        }
        count > self.cookies_per_site_max || (partition.is_some() && bytes > PARTITION_BYTES_MAX)
    }
}

impl Default for Jar {
    fn default() -> Self {
        Self::new()
    }
}

/// Names, and no values.
impl fmt::Debug for Jar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Jar")
            .field("cookies", &self.cookies)
            .finish_non_exhaustive()
    }
}

impl Arrival {
    fn followed_by_each(&self, responses: &[(&Fetch, &HeaderMap)]) -> Vec<Self> {
        let to_come = responses
            .iter()
            .enumerate()
            .filter(|(place, _)| !self.order.contains(place));
        to_come
            .map(|(place, (fetch, headers))| {
                let mut next = self.clone();
                next.jar.receive(fetch, headers);
                next.order.push(place);
                next
            })
            .collect()
    }
}

/// RFC 6265bis section 5.7, step 20 and 21, and the `__Http-` prefixes of its successor. Without regard to case.
fn has_what_its_prefix_asks_for(set: &SetCookie) -> bool {
    let starts_with = |text: &str, prefix: &str| {
        text.get(..prefix.len())
            .is_some_and(|start| start.eq_ignore_ascii_case(prefix))
    };
    let is_for_one_host =
        set.domain.as_deref().is_none_or(str::is_empty) && set.path.as_deref() == Some("/");
    let prefixes = [
        ("__Host-Http-", is_for_one_host && set.is_http_only),
        ("__Host-", is_for_one_host),
        ("__Http-", set.is_http_only),
        ("__Secure-", true),
    ];
    for (prefix, has_the_rest) in prefixes {
        if starts_with(&set.name, prefix) {
            return set.is_secure && has_the_rest;
        }
        // It would look to a server as if it had that name.
        if set.name.is_empty() && starts_with(&set.value, prefix) {
            return false;
        }
    }
    true
}

/// Whether everybody under this name is a site of its own. There is no list here, so that these are the names of one label.
fn is_public_suffix(domain: &str) -> bool {
    !domain.contains('.') && !is_address(domain)
}

/// The folder of a page.
fn default_path(path: &str) -> String {
    match path.rfind('/') {
        None | Some(0) => "/".to_owned(),
        Some(end) => path.get(..end).unwrap_or("/").to_owned(),
    }
}
