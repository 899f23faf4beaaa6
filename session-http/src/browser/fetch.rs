//! Where a request goes, which page makes it, and what a browser says of that.

use std::net::IpAddr;

use http::header::{HOST, ORIGIN};
use http::{HeaderName, Method, Uri, request};

const SEC_FETCH_MODE: HeaderName = HeaderName::from_static("sec-fetch-mode");
const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// A request as a browser makes it: its method, where it goes, and on whose behalf.
///
/// Addresses are absolute, such as `https://shop.example.org/cart`.
#[derive(Debug, Clone)]
pub struct Fetch {
    method: Method,
    url: Uri,
    target: Origin,
    /// The page whose link, form or script it is. Without one the visitor has typed the address.
    from: Option<Origin>,
    /// Whether the answer becomes the page in the tab, and is not a part of it.
    is_navigation: bool,
}

/// Scheme, host and port of a page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Origin {
    pub(super) is_https: bool,
    pub(super) host: String,
    /// Where it is not the scheme's own.
    port: Option<u16>,
}

impl Fetch {
    /// The visitor types the address, or has it bookmarked.
    ///
    /// # Panics
    ///
    /// If `url` is no absolute `http` or `https` address. The same holds for the other methods.
    #[must_use]
    pub fn get(url: &str) -> Self {
        let (url, target) = parse(url);
        Self {
            method: Method::GET,
            url,
            target,
            from: None,
            is_navigation: true,
        }
    }

    /// The visitor sends a form that is on a page of the same origin.
    #[must_use]
    pub fn post(url: &str) -> Self {
        let get = Self::get(url);
        Self {
            method: Method::POST,
            from: Some(get.target.clone()),
            ..get
        }
    }

    /// With another method.
    #[must_use]
    pub fn with_method(self, method: Method) -> Self {
        Self { method, ..self }
    }

    /// A link or a form on the page at `url` leads there: the answer takes that page's place.
    #[must_use]
    pub fn from_page(self, url: &str) -> Self {
        Self {
            from: Some(parse(url).1),
            is_navigation: true,
            ..self
        }
    }

    /// The page at `url`, which is the one at the top of the tab, loads it as a part of itself: an image, a script's request,
    /// a frame.
    #[must_use]
    pub fn within_page(self, url: &str) -> Self {
        Self {
            from: Some(parse(url).1),
            is_navigation: false,
            ..self
        }
    }

    pub(super) fn method(&self) -> &Method {
        &self.method
    }

    pub(super) fn target(&self) -> &Origin {
        &self.target
    }

    pub(super) fn path(&self) -> &str {
        self.url.path()
    }

    pub(super) fn is_navigation(&self) -> bool {
        self.is_navigation
    }

    /// Whether no other site has a hand in it.
    pub(super) fn is_same_site(&self) -> bool {
        self.from
            .as_ref()
            .is_none_or(|from| from.site() == self.target.site())
    }

    /// The site at the top of the tab, to whose partition a partitioned cookie belongs.
    pub(super) fn top_level_site(&self) -> String {
        match &self.from {
            Some(page) if !self.is_navigation => page.site(),
            _ => self.target.site(),
        }
    }

    /// The request without its cookies. The address is absolute, as HTTP/2 has it.
    pub(super) fn builder(&self, trusts_loopback: bool) -> request::Builder {
        let mut builder = request::Builder::new()
            .method(self.method.clone())
            .uri(self.url.clone());
        if let Some(authority) = self.url.authority() {
            builder = builder.header(HOST, authority.as_str());
        }
        // Browsers say it only to whom they trust.
        if self.target.is_trustworthy(trusts_loopback) {
            // What a page fetches by itself is taken for a script's, which has this mode unless it asks for another.
            let mode = if self.is_navigation {
                "navigate"
            } else {
                "cors"
            };
            builder = builder
                .header(SEC_FETCH_SITE, self.relation())
                .header(SEC_FETCH_MODE, mode);
        }
        match &self.from {
            Some(from) if !self.method.is_safe() => builder.header(ORIGIN, from.text()),
            _ => builder,
        }
    }

    fn relation(&self) -> &'static str {
        match &self.from {
            None => "none",
            Some(from) if *from == self.target => "same-origin",
            Some(from) if from.site() == self.target.site() => "same-site",
            Some(_) => "cross-site",
        }
    }
}

impl Origin {
    /// Scheme and registrable domain, taken for the last two labels. An address is a site of its own.
    pub(super) fn site(&self) -> String {
        let scheme = if self.is_https { "https" } else { "http" };
        format!("{scheme}://{}", registrable_domain(&self.host))
    }

    /// Whether the way there is protected, or so short that nobody listens.
    pub(super) fn is_trustworthy(&self, trusts_loopback: bool) -> bool {
        self.is_https || (trusts_loopback && is_loopback(&self.host))
    }

    fn text(&self) -> String {
        let scheme = if self.is_https { "https" } else { "http" };
        match self.port {
            Some(port) => format!("{scheme}://{}:{port}", self.host),
            None => format!("{scheme}://{}", self.host),
        }
    }
}

/// The last two labels of a name; all of an address.
pub(super) fn registrable_domain(host: &str) -> &str {
    if is_address(host) {
        return host;
    }
    let dots = host.rmatch_indices('.').nth(1);
    dots.map_or(host, |(at, _)| host.get(at + 1..).unwrap_or(host))
}

pub(super) fn is_address(host: &str) -> bool {
    host.trim_start_matches('[')
        .trim_end_matches(']')
        .parse::<IpAddr>()
        .is_ok()
}

fn is_loopback(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost"
        || host.ends_with(".localhost")
        || address
            .parse::<IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}

#[expect(
    clippy::panic,
    reason = "a test that names no address is to fail at once; the documentation says so"
)]
fn parse(text: &str) -> (Uri, Origin) {
    let url: Option<Uri> = text.parse().ok();
    let origin = url.as_ref().and_then(|url| {
        let is_https = match url.scheme_str()? {
            "https" => true,
            "http" => false,
            _ => return None,
        };
        let own_port = if is_https { 443 } else { 80 };
        Some(Origin {
            is_https,
            host: url.host()?.to_ascii_lowercase(),
            port: url.port_u16().filter(|port| *port != own_port),
        })
    });
    match (url, origin) {
        (Some(url), Some(origin)) => (url, origin),
        _ => panic!("{text:?} is no absolute http or https address"),
    }
}
