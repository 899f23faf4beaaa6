//! What the session's cookie looks like, and what a request is answered whose session ended under it.

use session_core::SessionKey;

use crate::error::Error;

/// The cookie's default name. Browsers accept a `__Host-` cookie only with `Secure`, for the whole host, and from
/// nobody else (RFC 6265bis section 4.1.3.2): a sister domain can't plant one.
const NAME: &str = "__Host-sessionid";
/// Browsers ignore longer attributes (RFC 6265bis section 5.6).
pub(crate) const ATTRIBUTE_BYTES_MAX: usize = 1024;
/// Browsers drop a cookie whose name and value are longer together (RFC 6265bis section 5.6).
pub(crate) const COOKIE_BYTES_MAX: usize = 4096;

/// The session's cookie: its name and its attributes, checked together.
///
/// `__Host-sessionid; Path=/; HttpOnly; Secure; SameSite=Lax` unless told otherwise. How long the client keeps it is not
/// said here: it follows from the session's [`Expiry`](crate::Expiry) and the [`Policy`](crate::Policy). It is sent as
/// `Max-Age` alone, which takes precedence over `Expires` in every browser (RFC 6265bis section 5.7); only the cookie that
/// removes another has both.
///
/// ```
/// use session_http::{CookieConfig, SameSite};
///
/// let cookie = CookieConfig::builder()
///     .with_name("__Secure-shop")
///     .with_domain("example.org")
///     .with_same_site(SameSite::Strict)
///     .build()?;
/// assert_eq!(cookie.name(), "__Secure-shop");
///
/// // `__Host-` is for one host alone.
/// assert!(CookieConfig::builder().with_domain("example.org").build().is_err());
/// # Ok::<(), session_http::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct CookieConfig {
    parts: Parts,
    attributes: String,
}

/// Which requests from other sites carry the cookie.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum SameSite {
    /// None: also a visitor who follows a link to the site arrives without a session.
    Strict,
    /// Those by which the visitor comes to the site with a safe method, such as a link.
    #[default]
    Lax,
    /// All. Needs `Secure`, and protection against forged requests of your own.
    None,
    /// The cookie does not say, and browsers disagree about what that means: for most it is [`Lax`](Self::Lax), for some
    /// [`None`](Self::None). For projects that share their cookie with a Django that has `SESSION_COOKIE_SAMESITE = False`.
    Absent,
}

/// What a request is answered whose changes can't be stored, because another request has ended the session.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Interruption {
    /// 409, and the handler's response is not sent. A request with a safe method (GET, HEAD) lets its response through:
    /// it was meant to change nothing.
    #[default]
    ConflictUnlessSafe,
    /// 400, whatever the method, as Django does.
    BadRequest,
}

/// Builds a [`CookieConfig`].
#[derive(Debug, Clone)]
#[must_use = "`build` checks the parts and puts them together"]
pub struct CookieConfigBuilder(Parts);

#[derive(Debug, Clone)]
struct Parts {
    name: String,
    path: Option<String>,
    domain: Option<String>,
    secure: bool,
    http_only: bool,
    same_site: SameSite,
    partitioned: bool,
}

impl CookieConfig {
    /// The default cookie, to be changed.
    pub fn builder() -> CookieConfigBuilder {
        CookieConfigBuilder(Parts {
            name: NAME.to_owned(),
            path: Some("/".to_owned()),
            domain: None,
            secure: true,
            http_only: true,
            same_site: SameSite::Lax,
            partitioned: false,
        })
    }

    /// This cookie, to be changed.
    pub fn to_builder(&self) -> CookieConfigBuilder {
        CookieConfigBuilder(self.parts.clone())
    }

    /// The cookie's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.parts.name
    }

    /// Whether browsers send it over HTTPS alone (and, most of them, to their own machine).
    #[must_use]
    pub fn is_secure(&self) -> bool {
        self.parts.secure
    }

    /// Everything after the value, with the leading `; `.
    pub(crate) fn attributes(&self) -> &str {
        &self.attributes
    }

    /// As Django's default settings have it: `sessionid; Path=/; HttpOnly; SameSite=Lax`.
    pub(crate) fn django_default() -> Self {
        Self::builder()
            .with_name("sessionid")
            .with_secure(false)
            .0
            .render()
    }

    /// The same cookie for plain HTTP, without what a browser would refuse there.
    pub(crate) fn into_insecure(mut self) -> Self {
        let prefix = Prefix::of(&self.parts.name).map_or(0, |(prefix, _)| prefix.len());
        self.parts.name.drain(..prefix);
        self.parts.secure = false;
        self.parts.partitioned = false;
        if self.parts.same_site == SameSite::None {
            self.parts.same_site = SameSite::Lax;
        }
        self.parts.render()
    }
}

impl Default for CookieConfig {
    fn default() -> Self {
        Self::builder().0.render()
    }
}

impl Default for CookieConfigBuilder {
    fn default() -> Self {
        CookieConfig::builder()
    }
}

impl CookieConfigBuilder {
    /// The name: a token (RFC 9110 section 5.6.2). Default `__Host-sessionid`. Django's `SESSION_COOKIE_NAME`.
    #[doc(alias = "SESSION_COOKIE_NAME")]
    pub fn with_name(mut self, name: impl Into<String>) -> Self {
        self.0.name = name.into();
        self
    }

    /// Under which paths the cookie is sent. Default `/`. It keeps nobody out: pages of one host can read each other.
    #[doc(alias = "SESSION_COOKIE_PATH")]
    pub fn with_path(mut self, path: impl Into<String>) -> Self {
        self.0.path = Some(path.into());
        self
    }

    /// Leaves the path to the browser, which takes the folder of the page that set the cookie. Pages in different folders
    /// then have different sessions; Django does this with `SESSION_COOKIE_PATH = None`.
    pub fn without_path(mut self) -> Self {
        self.0.path = None;
        self
    }

    /// Shares the cookie with all subdomains of `domain`. By default it is the host's alone, and the default name allows
    /// nothing else: give it a name that begins with `__Secure-`, which keeps at least those out who only have plain HTTP.
    ///
    /// What every one of those subdomains can then do, and whoever has broken into one: read the key, and so take over the
    /// session; replace the cookie by one of its own, and so make the visitor work in somebody else's session; set a second
    /// one beside it, and so make the visitor anonymous. Serving them all is no reason to do it: a log-in page on one host
    /// can send visitors back to the others.
    #[doc(alias = "SESSION_COOKIE_DOMAIN")]
    pub fn with_domain(mut self, domain: impl Into<String>) -> Self {
        self.0.domain = Some(domain.into());
        self
    }

    /// Leaves the cookie to the host that sets it, which is the default.
    pub fn without_domain(mut self) -> Self {
        self.0.domain = None;
        self
    }

    /// Whether browsers send it over HTTPS alone. Default `true`. For development without HTTPS there is
    /// [`SessionLayer::with_insecure_plain_http`](crate::SessionLayer::with_insecure_plain_http).
    #[doc(alias = "SESSION_COOKIE_SECURE")]
    pub fn with_secure(mut self, secure: bool) -> Self {
        self.0.secure = secure;
        self
    }

    /// Whether it is hidden from scripts. Default `true`. No script needs it, and one that was smuggled in would send it
    /// away.
    #[doc(alias = "SESSION_COOKIE_HTTPONLY")]
    pub fn with_http_only(mut self, http_only: bool) -> Self {
        self.0.http_only = http_only;
        self
    }

    /// Which requests from other sites carry it. Default [`SameSite::Lax`], which is written out, since browsers disagree
    /// about what is meant without it.
    #[doc(alias = "SESSION_COOKIE_SAMESITE")]
    pub fn with_same_site(mut self, same_site: SameSite) -> Self {
        self.0.same_site = same_site;
        self
    }

    /// Whether a page that is embedded in others has a separate cookie in each (CHIPS). Default `false`.
    pub fn with_partitioned(mut self, partitioned: bool) -> Self {
        self.0.partitioned = partitioned;
        self
    }

    /// Checks the parts, and the rules that span them.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidCookie`], which says what browsers would refuse.
    pub fn build(self) -> Result<CookieConfig, Error> {
        match self.0.objection() {
            Some(advice) => Err(Error::InvalidCookie { advice }),
            None => Ok(self.0.render()),
        }
    }
}

impl Parts {
    fn objection(&self) -> Option<&'static str> {
        let Self {
            name,
            path,
            domain,
            secure,
            http_only,
            same_site,
            partitioned,
        } = self;
        if name.is_empty() || !name.bytes().all(is_token_byte) {
            return Some("a name is made of letters, digits and any of !#$%&'*+-.^_`|~");
        }
        if name.len() > COOKIE_BYTES_MAX - SessionKey::LEN {
            return Some(
                "browsers drop a cookie whose name and value have more than 4096 bytes, and a key has 32 of them",
            );
        }
        if let Some((prefix, rules)) = Prefix::of(name) {
            let rest = name.get(prefix.len()..).unwrap_or_default();
            if rest.is_empty() || Prefix::of(rest).is_some() {
                return Some("behind one prefix such as `__Host-` comes a name without one");
            }
            if !secure {
                return Some(
                    "a name that begins with `__Host-`, `__Secure-` or `__Http-` needs Secure",
                );
            }
            if rules.host_only && path.as_deref() != Some("/") {
                return Some("a name that begins with `__Host-` needs Path=/");
            }
            if rules.host_only && domain.is_some() {
                return Some(
                    "a name that begins with `__Host-` can't have a Domain: use `__Secure-`",
                );
            }
            if rules.http_only && !http_only {
                return Some("a name that begins with `__Http-` or `__Host-Http-` needs HttpOnly");
            }
        }
        if let Some(path) = path {
            if !path.starts_with('/') || !path.bytes().all(is_attribute_byte) {
                return Some("a path begins with `/` and is made of printable ASCII without `;`");
            }
            if path.len() > ATTRIBUTE_BYTES_MAX {
                return Some("browsers ignore a path of more than 1024 bytes");
            }
        }
        if let Some(domain) = domain {
            let host = domain.strip_prefix('.').unwrap_or(domain);
            let is_valid = !host.is_empty()
                && host.split('.').all(|label| {
                    !label.is_empty()
                        && label
                            .bytes()
                            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
                });
            if !is_valid {
                return Some(
                    "a domain is a host name in ASCII, such as `example.org`, without scheme, port or path",
                );
            }
            if domain.len() > ATTRIBUTE_BYTES_MAX {
                return Some("browsers ignore a domain of more than 1024 bytes");
            }
        }
        if *same_site == SameSite::None && !secure {
            return Some("SameSite=None needs Secure");
        }
        if *partitioned && !secure {
            return Some("Partitioned needs Secure");
        }
        None
    }

    fn render(self) -> CookieConfig {
        let mut attributes = String::new();
        if let Some(path) = &self.path {
            attributes.push_str("; Path=");
            attributes.push_str(path);
        }
        if let Some(domain) = &self.domain {
            attributes.push_str("; Domain=");
            attributes.push_str(domain);
        }
        if self.http_only {
            attributes.push_str("; HttpOnly");
        }
        if self.secure {
            attributes.push_str("; Secure");
        }
        attributes.push_str(match self.same_site {
            SameSite::Strict => "; SameSite=Strict",
            SameSite::Lax => "; SameSite=Lax",
            SameSite::None => "; SameSite=None",
            SameSite::Absent => "",
        });
        if self.partitioned {
            attributes.push_str("; Partitioned");
        }
        CookieConfig {
            parts: self,
            attributes,
        }
    }
}

/// What a name's prefix asks of the attributes, beside `Secure`.
#[derive(Clone, Copy)]
struct Prefix {
    host_only: bool,
    http_only: bool,
}

impl Prefix {
    /// Longer ones before those that they begin with.
    const ALL: [(&str, Self); 4] = [
        ("__Host-Http-", Self::new(true, true)),
        ("__Host-", Self::new(true, false)),
        ("__Http-", Self::new(false, true)),
        ("__Secure-", Self::new(false, false)),
    ];

    const fn new(host_only: bool, http_only: bool) -> Self {
        Self {
            host_only,
            http_only,
        }
    }

    /// Browsers look at prefixes without regard to case (RFC 6265bis section 5.4).
    fn of(name: &str) -> Option<(&'static str, Self)> {
        Self::ALL.into_iter().find(|(prefix, _)| {
            name.get(..prefix.len())
                .is_some_and(|start| start.eq_ignore_ascii_case(prefix))
        })
    }
}

fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

fn is_attribute_byte(byte: u8) -> bool {
    matches!(byte, b' '..=b'~') && byte != b';'
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_made_without_a_check_would_pass_it() {
        let names = [
            "id",
            "__Host-id",
            "__Secure-id",
            "__Http-id",
            "__Host-Http-id",
        ];
        let built = names.map(|name| {
            let builder = CookieConfig::builder()
                .with_name(name)
                .with_same_site(SameSite::None)
                .with_partitioned(true);
            builder.build().unwrap()
        });
        let insecure = built.map(CookieConfig::into_insecure);
        for cookie in [CookieConfig::default(), CookieConfig::django_default()]
            .into_iter()
            .chain(insecure)
        {
            assert_eq!(cookie.parts.objection(), None, "{cookie:?}");
            assert!(cookie.name().ends_with("id"), "{cookie:?}");
        }
    }
}
