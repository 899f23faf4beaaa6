//! The layer and the cookie of a Django project, as its settings say.

use session_core::SessionError;
use session_core::django::{DjangoSettings, SameSiteSetting};
use session_core::store::SessionStore;

use crate::config::{CookieConfig, SameSite};
use crate::error::Error;
use crate::tower::layer::SessionLayer;

impl SessionLayer {
    /// The sessions of a Django project, in the store that it uses: with its cookie, its codec, its timeouts, and as
    /// [`django_compatible`](Self::django_compatible) says.
    ///
    /// ```
    /// use session_core::django::DjangoSettings;
    /// use session_http::{MemoryStore, SessionLayer};
    ///
    /// let settings = DjangoSettings::new("the project's SECRET_KEY").with_cookie_secure(true);
    /// let layer = SessionLayer::django(&settings, MemoryStore::new())?; // a store of the project's table or folder
    /// # drop(layer);
    /// # Ok::<(), session_http::Error>(())
    /// ```
    ///
    /// For another policy or clock, and for sessions that live in their cookies, put the parts together yourself:
    ///
    /// ```
    /// use session_core::django::{DjangoSettings, ReadableIrrevocableCookies};
    /// use session_http::{CookieConfig, SessionError, SessionLayer};
    ///
    /// let settings = DjangoSettings::new("the project's SECRET_KEY")
    ///     .with_engine("django.contrib.sessions.backends.signed_cookies");
    /// let cookies = ReadableIrrevocableCookies::new(&settings);
    /// let manager = cookies.manager(settings.policy()).map_err(SessionError::from)?;
    /// let layer = SessionLayer::new(manager)
    ///     .django_compatible()
    ///     .with_cookie(CookieConfig::django(&settings)?);
    /// # drop(layer);
    /// # Ok::<(), session_http::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Session`] when the project's engine has no store, [`Error::InvalidCookie`] as for [`CookieConfig::django`].
    pub fn django(settings: &DjangoSettings, store: impl SessionStore) -> Result<Self, Error> {
        let manager = settings
            .manager(store, settings.policy())
            .map_err(SessionError::from)?;
        Ok(Self::new(manager)
            .django_compatible()
            .with_cookie(CookieConfig::django(settings)?))
    }
}

impl CookieConfig {
    /// The cookie of a Django project: its name, path, domain and attributes.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidCookie`] when browsers would refuse it. Django sends such a cookie, and every visitor is anonymous.
    pub fn django(settings: &DjangoSettings) -> Result<Self, Error> {
        // To Django an empty attribute is none.
        let is_there = |value: &&str| !value.is_empty();
        let mut cookie = Self::builder()
            .with_name(settings.cookie_name())
            .with_secure(settings.cookie_secure())
            .with_http_only(settings.cookie_http_only())
            .with_same_site(match settings.cookie_same_site() {
                SameSiteSetting::Strict => SameSite::Strict,
                SameSiteSetting::None => SameSite::None,
                SameSiteSetting::Absent => SameSite::Absent,
                _ => SameSite::Lax,
            });
        cookie = match settings.cookie_path().filter(is_there) {
            Some(path) => cookie.with_path(path),
            None => cookie.without_path(),
        };
        if let Some(domain) = settings.cookie_domain().filter(is_there) {
            cookie = cookie.with_domain(domain);
        }
        cookie.build()
    }
}
