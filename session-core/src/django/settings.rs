//! What we have to know of a Django project, in one place.

mod given;

use std::fmt;
use std::time::Duration;

use zeroize::Zeroizing;

use super::cache_codec::DjangoCacheCodec;
use super::codec::DjangoCodec;
use super::format::Format;
use super::signer::Secrets;
use super::wall_clock::WallClock;
use crate::key::KeyPolicy;
use crate::manager::SessionManager;
use crate::policy::{Policy, Reissue, Renewal};
use crate::store::{SessionStore, StoreError};

/// What Django signs sessions with in its `db`, `cached_db` and `file` engines.
const SALT: &str = "django.contrib.sessions.SessionStore";
/// The engine whose sessions are not signed.
const CACHE: &str = "django.contrib.sessions.backends.cache";
/// The engine without a store.
const SIGNED_COOKIES: &str = "django.contrib.sessions.backends.signed_cookies";
/// In errors.
const NAME: &str = "sharing sessions with Django";

/// The settings of a Django project that concern its sessions.
///
/// Each has Django's default, except for `SECRET_KEY`, which has none. There are three ways to get them:
///
/// - from the project itself, as JSON: [`from_json`](Self::from_json);
/// - from the environment: [`from_env`](Self::from_env);
/// - in code: [`new`](Self::new) and `with_…`.
///
/// `Debug` shows neither the secret key nor its fallbacks, and they are wiped when dropped.
///
/// ```
/// use std::time::Duration;
/// use session_core::django::DjangoSettings;
///
/// let settings = DjangoSettings::new("the project's SECRET_KEY")
///     .with_fallbacks(["the SECRET_KEY before"])
///     .with_cookie_age(Duration::from_secs(3600))
///     .with_naive_times("Asia/Kolkata")?; // USE_TZ = False
/// assert!(!format!("{settings:?}").contains("SECRET_KEY before"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct DjangoSettings {
    secrets: Secrets,
    salt: String,
    wall_clock: Option<WallClock>,
    engine: String,
    file_path: Option<String>,
    cache_alias: String,
    cookie_name: String,
    cookie_age: Duration,
    cookie_domain: Option<String>,
    cookie_path: Option<String>,
    cookie_secure: bool,
    cookie_http_only: bool,
    cookie_same_site: SameSiteSetting,
    save_every_request: bool,
    expire_at_browser_close: bool,
}

/// `SESSION_COOKIE_SAMESITE`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum SameSiteSetting {
    /// `"Lax"`, the default.
    #[default]
    Lax,
    /// `"Strict"`.
    Strict,
    /// `"None"`: the word, which sends the cookie with requests from other sites as well.
    None,
    /// `False`: the cookie does not mention it.
    Absent,
}

/// In code.
impl DjangoSettings {
    /// Django's defaults with this `SECRET_KEY`: its text, or its bytes if the project has bytes there.
    #[must_use]
    pub fn new(secret_key: impl AsRef<[u8]>) -> Self {
        Self {
            secrets: Secrets {
                main: secret(secret_key),
                fallbacks: Vec::new(),
            },
            salt: SALT.to_owned(),
            wall_clock: None,
            engine: "django.contrib.sessions.backends.db".to_owned(),
            file_path: None,
            cache_alias: "default".to_owned(),
            cookie_name: "sessionid".to_owned(),
            cookie_age: Duration::from_secs(14 * 24 * 60 * 60),
            cookie_domain: None,
            cookie_path: Some("/".to_owned()),
            cookie_secure: false,
            cookie_http_only: true,
            cookie_same_site: SameSiteSetting::Lax,
            save_every_request: false,
            expire_at_browser_close: false,
        }
    }

    /// `SECRET_KEY_FALLBACKS`: what they signed is still believed, and signed with the secret key when it is next saved.
    #[doc(alias = "SECRET_KEY_FALLBACKS")]
    #[must_use]
    pub fn with_fallbacks(mut self, fallbacks: impl IntoIterator<Item = impl AsRef<[u8]>>) -> Self {
        self.secrets.fallbacks = fallbacks.into_iter().map(secret).collect();
        self
    }

    /// What the sessions are signed with beside the secret key: `key_salt` of the project's `SessionStore`. Only a project
    /// with a session store of its own needs this: the salt is `django.contrib.sessions.` and the class's qualified name.
    #[must_use]
    pub fn with_salt(mut self, salt: impl Into<String>) -> Self {
        self.salt = salt.into();
        self
    }

    /// `USE_TZ = False`, with the project's `TIME_ZONE`: Django then writes times as its clock on the wall shows them. Needs the
    /// system's time zone database.
    ///
    /// # Errors
    ///
    /// [`StoreError::Misconfigured`] when the system does not know the zone.
    #[doc(alias = "USE_TZ")]
    #[doc(alias = "TIME_ZONE")]
    pub fn with_naive_times(mut self, time_zone: &str) -> Result<Self, StoreError> {
        self.wall_clock = Some(WallClock::of(time_zone)?);
        Ok(self)
    }

    /// `SESSION_ENGINE`, a dotted path.
    #[doc(alias = "SESSION_ENGINE")]
    #[must_use]
    pub fn with_engine(mut self, engine: impl Into<String>) -> Self {
        self.engine = engine.into();
        self
    }

    /// `SESSION_FILE_PATH`, the folder of the `file` engine.
    #[doc(alias = "SESSION_FILE_PATH")]
    #[must_use]
    pub fn with_file_path(mut self, file_path: impl Into<String>) -> Self {
        self.file_path = Some(file_path.into());
        self
    }

    /// `SESSION_CACHE_ALIAS`, the cache of the `cache` and `cached_db` engines.
    #[doc(alias = "SESSION_CACHE_ALIAS")]
    #[must_use]
    pub fn with_cache_alias(mut self, cache_alias: impl Into<String>) -> Self {
        self.cache_alias = cache_alias.into();
        self
    }

    /// `SESSION_COOKIE_NAME`.
    #[doc(alias = "SESSION_COOKIE_NAME")]
    #[must_use]
    pub fn with_cookie_name(mut self, cookie_name: impl Into<String>) -> Self {
        self.cookie_name = cookie_name.into();
        self
    }

    /// `SESSION_COOKIE_AGE`: how long a session lives after it was last saved, in whole seconds.
    #[doc(alias = "SESSION_COOKIE_AGE")]
    #[must_use]
    pub fn with_cookie_age(mut self, cookie_age: Duration) -> Self {
        self.cookie_age = cookie_age;
        self
    }

    /// `SESSION_COOKIE_DOMAIN`.
    #[doc(alias = "SESSION_COOKIE_DOMAIN")]
    #[must_use]
    pub fn with_cookie_domain(mut self, cookie_domain: impl Into<String>) -> Self {
        self.cookie_domain = Some(cookie_domain.into());
        self
    }

    /// `SESSION_COOKIE_PATH`; `None` leaves the attribute out.
    #[doc(alias = "SESSION_COOKIE_PATH")]
    #[must_use]
    pub fn with_cookie_path<'a>(mut self, cookie_path: impl Into<Option<&'a str>>) -> Self {
        self.cookie_path = cookie_path.into().map(str::to_owned);
        self
    }

    /// `SESSION_COOKIE_SECURE`.
    #[doc(alias = "SESSION_COOKIE_SECURE")]
    #[must_use]
    pub fn with_cookie_secure(mut self, cookie_secure: bool) -> Self {
        self.cookie_secure = cookie_secure;
        self
    }

    /// `SESSION_COOKIE_HTTPONLY`.
    #[doc(alias = "SESSION_COOKIE_HTTPONLY")]
    #[must_use]
    pub fn with_cookie_http_only(mut self, cookie_http_only: bool) -> Self {
        self.cookie_http_only = cookie_http_only;
        self
    }

    /// `SESSION_COOKIE_SAMESITE`.
    #[doc(alias = "SESSION_COOKIE_SAMESITE")]
    #[must_use]
    pub fn with_cookie_same_site(mut self, cookie_same_site: SameSiteSetting) -> Self {
        self.cookie_same_site = cookie_same_site;
        self
    }

    /// `SESSION_SAVE_EVERY_REQUEST`.
    #[doc(alias = "SESSION_SAVE_EVERY_REQUEST")]
    #[must_use]
    pub fn with_save_every_request(mut self, save_every_request: bool) -> Self {
        self.save_every_request = save_every_request;
        self
    }

    /// `SESSION_EXPIRE_AT_BROWSER_CLOSE`.
    #[doc(alias = "SESSION_EXPIRE_AT_BROWSER_CLOSE")]
    #[must_use]
    pub fn with_expire_at_browser_close(mut self, expire_at_browser_close: bool) -> Self {
        self.expire_at_browser_close = expire_at_browser_close;
        self
    }
}

/// What follows from them.
impl DjangoSettings {
    /// A policy that treats sessions as the project does: its timeouts, its renewal, its keys in clear.
    ///
    /// A session's expiry moves when it is saved ([`Renewal::OnSave`]), its cookie is sent with every save
    /// ([`Reissue::OnSave`]), and the store sees the key itself ([`KeyPolicy::UnhashedSharedWithDjango`]), as Django looks for
    /// it.
    #[must_use]
    pub fn policy(&self) -> Policy {
        let renewal = if self.save_every_request {
            Renewal::EveryRequest
        } else {
            Renewal::OnSave
        };
        Policy::new()
            .with_idle_timeout(self.cookie_age)
            .with_renew_after(Duration::ZERO)
            .with_renewal(renewal)
            .with_reissue(Reissue::OnSave)
            .with_expire_at_browser_close(self.expire_at_browser_close)
            .with_keys(KeyPolicy::UnhashedSharedWithDjango)
    }

    /// Sessions in a store that the project shares: with its engine's codec and under `policy`, which is the project's own
    /// ([`policy`](Self::policy)) or one made from it.
    ///
    /// # Errors
    ///
    /// [`StoreError::Misconfigured`] when the policy can't be kept: Django's tables and files hold no time of creation, so that
    /// there is no absolute timeout, and nothing but the key itself finds a session. And when the project's engine has no store.
    pub fn manager(
        &self,
        store: impl SessionStore,
        policy: Policy,
    ) -> Result<SessionManager, StoreError> {
        if policy.absolute_timeout().is_some() {
            return Err(misconfigured(
                "Django keeps no time of creation, and so an absolute timeout can't be kept: \
                 leave it out of the policy",
            ));
        }
        if !matches!(policy.keys(), KeyPolicy::UnhashedSharedWithDjango) {
            return Err(misconfigured(
                "Django looks its sessions up by the key itself: \
                 the policy needs KeyPolicy::UnhashedSharedWithDjango, as DjangoSettings::policy has it",
            ));
        }
        let manager = SessionManager::new(store);
        let limits = policy.limits();
        let manager = match self.engine.as_str() {
            SIGNED_COOKIES => {
                return Err(misconfigured(
                    "SESSION_ENGINE keeps sessions in cookies, and needs no store: \
                     the manager is that of ReadableIrrevocableCookies",
                ));
            }
            CACHE => manager.with_codec(DjangoCacheCodec::new(self).with_limits(limits)),
            _ => manager.with_codec(DjangoCodec::new(self).with_limits(limits)),
        };
        Ok(manager.with_policy(policy))
    }

    pub(super) fn format(&self, salt: &str) -> Format {
        Format::new(salt, &self.secrets, self.wall_clock.clone())
    }

    pub(super) fn secrets(&self) -> &Secrets {
        &self.secrets
    }
}

/// Reading.
impl DjangoSettings {
    /// See [`with_salt`](Self::with_salt).
    #[must_use]
    pub fn salt(&self) -> &str {
        &self.salt
    }

    /// The project's clock on the wall, if it writes its times as that shows them (`USE_TZ = False`). `None`: it writes UTC.
    #[must_use]
    pub fn wall_clock(&self) -> Option<&WallClock> {
        self.wall_clock.as_ref()
    }

    /// See [`with_engine`](Self::with_engine).
    #[must_use]
    pub fn engine(&self) -> &str {
        &self.engine
    }

    /// See [`with_file_path`](Self::with_file_path).
    #[must_use]
    pub fn file_path(&self) -> Option<&str> {
        self.file_path.as_deref()
    }

    /// See [`with_cache_alias`](Self::with_cache_alias).
    #[must_use]
    pub fn cache_alias(&self) -> &str {
        &self.cache_alias
    }

    /// See [`with_cookie_name`](Self::with_cookie_name).
    #[must_use]
    pub fn cookie_name(&self) -> &str {
        &self.cookie_name
    }

    /// See [`with_cookie_age`](Self::with_cookie_age).
    #[must_use]
    pub fn cookie_age(&self) -> Duration {
        self.cookie_age
    }

    /// See [`with_cookie_domain`](Self::with_cookie_domain).
    #[must_use]
    pub fn cookie_domain(&self) -> Option<&str> {
        self.cookie_domain.as_deref()
    }

    /// See [`with_cookie_path`](Self::with_cookie_path).
    #[must_use]
    pub fn cookie_path(&self) -> Option<&str> {
        self.cookie_path.as_deref()
    }

    /// See [`with_cookie_secure`](Self::with_cookie_secure).
    #[must_use]
    pub fn cookie_secure(&self) -> bool {
        self.cookie_secure
    }

    /// See [`with_cookie_http_only`](Self::with_cookie_http_only).
    #[must_use]
    pub fn cookie_http_only(&self) -> bool {
        self.cookie_http_only
    }

    /// See [`with_cookie_same_site`](Self::with_cookie_same_site).
    #[must_use]
    pub fn cookie_same_site(&self) -> SameSiteSetting {
        self.cookie_same_site
    }

    /// See [`with_save_every_request`](Self::with_save_every_request).
    #[must_use]
    pub fn save_every_request(&self) -> bool {
        self.save_every_request
    }

    /// See [`with_expire_at_browser_close`](Self::with_expire_at_browser_close).
    #[must_use]
    pub fn expire_at_browser_close(&self) -> bool {
        self.expire_at_browser_close
    }
}

impl fmt::Debug for DjangoSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            secrets: _,
            salt,
            wall_clock,
            engine,
            file_path,
            cache_alias,
            cookie_name,
            cookie_age,
            cookie_domain,
            cookie_path,
            cookie_secure,
            cookie_http_only,
            cookie_same_site,
            save_every_request,
            expire_at_browser_close,
        } = self;
        f.debug_struct("DjangoSettings")
            .field("salt", salt)
            .field("wall_clock", wall_clock)
            .field("engine", engine)
            .field("file_path", file_path)
            .field("cache_alias", cache_alias)
            .field("cookie_name", cookie_name)
            .field("cookie_age", cookie_age)
            .field("cookie_domain", cookie_domain)
            .field("cookie_path", cookie_path)
            .field("cookie_secure", cookie_secure)
            .field("cookie_http_only", cookie_http_only)
            .field("cookie_same_site", cookie_same_site)
            .field("save_every_request", save_every_request)
            .field("expire_at_browser_close", expire_at_browser_close)
            .finish_non_exhaustive()
    }
}

fn secret(bytes: impl AsRef<[u8]>) -> Zeroizing<Vec<u8>> {
    Zeroizing::new(bytes.as_ref().to_vec())
}

/// Says what to do.
pub(super) fn misconfigured(advice: &str) -> StoreError {
    StoreError::misconfigured(NAME, advice, None)
}
