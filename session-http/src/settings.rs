//! Which settings an operator may give, by file or by environment, and what they come to.

mod given;
mod names;
mod secrets;

use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, Visitor};
use session_core::{KeyPolicy, Limits, Policy, Reissue, Renewal, SessionManager};
use zeroize::Zeroizing;

use crate::config::{CookieConfig, CookieConfigBuilder, SameSite};
use crate::error::Error;
use crate::tower::layer::SessionLayer;

use given::Given;
use secrets::Secrets;

#[doc = include_str!("../docs/settings.md")]
#[derive(Debug, Clone, Default)]
pub struct SessionSettings {
    policy: Policy,
    cookie: CookieConfigBuilder,
    insecure_plain_http: bool,
    application: Option<String>,
    secrets: Secrets,
}

/// Where settings are written, for those that are written in one place alone, and for advice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    File,
    Environment,
}

impl SessionSettings {
    /// The application's own defaults, over which an operator's settings are put.
    ///
    /// ```
    /// use std::time::Duration;
    /// use session_http::{CookieConfig, Policy, SessionSettings};
    ///
    /// let defaults = SessionSettings::new(Policy::aal2(), &CookieConfig::default());
    /// let settings = defaults.with_vars("SHOP_", [("SHOP_IDLE_TIMEOUT", "15m")])?;
    /// assert_eq!(settings.policy()?.idle_timeout(), Duration::from_secs(15 * 60));
    /// assert_eq!(settings.policy()?.absolute_timeout(), Some(Duration::from_secs(24 * 60 * 60)));
    /// # Ok::<(), session_http::Error>(())
    /// ```
    #[must_use]
    pub fn new(policy: Policy, cookie: &CookieConfig) -> Self {
        Self {
            policy,
            cookie: cookie.to_builder(),
            insecure_plain_http: false,
            application: None,
            secrets: Secrets::default(),
        }
    }

    /// The settings in the environment variables that begin with `SESSION_`: [`with_env`](Self::with_env) over the defaults.
    ///
    /// # Errors
    ///
    /// As for [`with_env`](Self::with_env).
    pub fn from_env() -> Result<Self, Error> {
        Self::default().with_env("SESSION_")
    }

    /// Puts the settings of the environment variables that begin with `prefix` over these: with `SESSION_`, `SESSION_COOKIE_NAME` is
    /// `cookie_name`.
    ///
    /// A variable that is no setting is none of ours, and left alone, unless it looks like a misspelled one.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidSetting`] names the variable that can't be used, and never what it holds.
    pub fn with_env(self, prefix: &str) -> Result<Self, Error> {
        let mut vars = Vec::new();
        for (name, value) in std::env::vars_os() {
            let Some(name) = name.to_str() else { continue };
            if !name.starts_with(prefix) {
                continue;
            }
            match value.into_string() {
                Ok(value) => vars.push((name.to_owned(), value)),
                Err(_not_text) if names::is_meant(name, prefix) => {
                    return Err(invalid(name, "is not text in UTF-8"));
                }
                Err(_not_ours) => {}
            }
        }
        self.with_vars(prefix, vars)
    }

    /// As [`with_env`](Self::with_env), from variables that come from elsewhere.
    ///
    /// ```
    /// use session_http::SessionSettings;
    ///
    /// let vars = [("SESSION_COOKIE_NAME", "__Host-shop"), ("SESSION_IDLE_TIMEOUT", "30m")];
    /// let settings = SessionSettings::default().with_vars("SESSION_", vars)?;
    /// assert_eq!(settings.cookie()?.name(), "__Host-shop");
    ///
    /// let vars = [("SESSION_ABSOLUTE_TIMOUT", "12h")];
    /// let error = SessionSettings::default().with_vars("SESSION_", vars).unwrap_err();
    /// assert!(error.to_string().contains("SESSION_ABSOLUTE_TIMEOUT"), "{error}");
    /// # Ok::<(), session_http::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As for [`with_env`](Self::with_env).
    pub fn with_vars(
        mut self,
        prefix: &str,
        vars: impl IntoIterator<Item = (impl AsRef<str>, impl Into<String>)>,
    ) -> Result<Self, Error> {
        let mut seen = BTreeSet::new();
        for (variable, value) in vars {
            let variable = variable.as_ref();
            if !names::is_meant(variable, prefix) {
                continue;
            }
            let name = variable
                .strip_prefix(prefix)
                .unwrap_or_default()
                .to_ascii_lowercase();
            self.take(
                &name,
                Given::Text(value.into()),
                Place::Environment,
                &mut seen,
            )
            .map_err(|advice| invalid(variable, advice.in_environment(prefix)))?;
        }
        Ok(self)
    }

    /// When sessions expire and are renewed, how much they may hold, and how their keys are hashed. Reads `digest_keys_file`.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidSetting`] when two settings contradict each other, [`Error::Session`] when the server's secret can't be used.
    pub fn policy(&self) -> Result<Policy, Error> {
        if self.policy.renew_after() >= self.policy.idle_timeout() {
            let advice =
                "has to be shorter than idle_timeout, or no session would be renewed in time";
            return Err(invalid("renew_after", advice));
        }
        let name = self.application.as_deref();
        let policy = self.policy.clone();
        let policy = match name {
            Some(name) => policy.with_keys(KeyPolicy::hashed_for(name)),
            None => policy,
        };
        self.secrets.in_policy(policy, name)
    }

    /// What the session's cookie looks like.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidCookie`] says what browsers would refuse.
    pub fn cookie(&self) -> Result<CookieConfig, Error> {
        self.cookie.clone().build()
    }

    /// Sessions in `store` under the [`policy`](Self::policy), sealed if there are keys for that. Reads `digest_keys_file` and
    /// `sealing_keys_file`.
    ///
    /// # Errors
    ///
    /// As for [`policy`](Self::policy), also for the other secret.
    pub fn manager(&self, manager: impl Into<SessionManager>) -> Result<SessionManager, Error> {
        let manager = manager.into().with_policy(self.policy()?);
        let name = self.application.as_deref();
        self.secrets.in_manager(manager, name)
    }

    /// All of it: sessions in `store`, in a cookie.
    ///
    /// ```
    /// use session_http::{MemoryStore, SessionSettings};
    ///
    /// let settings = SessionSettings::from_env()?;
    /// let layer = settings.layer(MemoryStore::new())?;
    /// # drop(layer);
    /// # Ok::<(), session_http::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As for [`manager`](Self::manager) and [`cookie`](Self::cookie).
    pub fn layer(&self, manager: impl Into<SessionManager>) -> Result<SessionLayer, Error> {
        let layer = SessionLayer::new(self.manager(manager)?).with_cookie(self.cookie()?);
        Ok(if self.insecure_plain_http {
            layer.with_insecure_plain_http()
        } else {
            layer
        })
    }

    /// Takes one setting, once from each place.
    fn take(
        &mut self,
        name: &str,
        given: Given,
        place: Place,
        seen: &mut BTreeSet<&'static str>,
    ) -> Result<(), Advice> {
        let canonical = names::canonical(name).ok_or_else(|| names::unknown(name))?;
        if !seen.insert(canonical) {
            return Err(Advice::Text(
                "is given twice, perhaps by another of its names: give it once",
            ));
        }
        if let Some(secret) = names::secret(name) {
            return match (place, given) {
                (Place::Environment, Given::Text(keys)) => {
                    self.secrets.put_keys(secret, &Zeroizing::new(keys))
                }
                _ => Err(Advice::Text(
                    "is a secret, which does not belong among the settings: keep it in a file of its own and name that with \
                     `…_file`, or give it by an environment variable",
                )),
            };
        }
        self.put(name, &given)
    }

    /// Puts one setting over what was there.
    fn put(&mut self, name: &str, given: &Given) -> Result<(), Advice> {
        match name {
            "cookie_name" => {
                let text = given.text()?.to_owned();
                self.change_cookie(|cookie| cookie.with_name(text));
            }
            "cookie_path" => {
                let text = given.text_or_empty()?.to_owned();
                self.change_cookie(|cookie| {
                    if text.is_empty() {
                        cookie.without_path()
                    } else {
                        cookie.with_path(text)
                    }
                });
            }
            "cookie_domain" => {
                let text = given.text_or_empty()?.to_owned();
                self.change_cookie(|cookie| {
                    if text.is_empty() {
                        cookie.without_domain()
                    } else {
                        cookie.with_domain(text)
                    }
                });
            }
            "cookie_secure" => {
                let flag = given.flag()?;
                self.change_cookie(|cookie| cookie.with_secure(flag));
            }
            "cookie_http_only" | "cookie_httponly" => {
                let flag = given.flag()?;
                self.change_cookie(|cookie| cookie.with_http_only(flag));
            }
            "cookie_same_site" | "cookie_samesite" => {
                let same_site = given.word(&[
                    ("strict", SameSite::Strict),
                    ("lax", SameSite::Lax),
                    ("none", SameSite::None),
                    ("absent", SameSite::Absent),
                ]);
                let same_site = same_site.ok_or(Advice::Text(
                    "has to be \"strict\", \"lax\", \"none\", or \"absent\" to leave it out",
                ))?;
                self.change_cookie(|cookie| cookie.with_same_site(same_site));
            }
            "cookie_partitioned" => {
                let flag = given.flag()?;
                self.change_cookie(|cookie| cookie.with_partitioned(flag));
            }
            "insecure_plain_http" => self.insecure_plain_http = given.flag()?,
            "application" => self.application = Some(given.text()?.to_owned()),
            _ => return self.put_policy(name, given),
        }
        Ok(())
    }

    fn put_policy(&mut self, name: &str, given: &Given) -> Result<(), Advice> {
        let policy = self.policy.clone();
        self.policy = match name {
            "idle_timeout" | "cookie_age" => policy.with_idle_timeout(given.time_to_live()?),
            "absolute_timeout" => {
                let is_none = given.word(&[("none", ())]).is_some();
                let timeout = (!is_none).then(|| given.time_to_live()).transpose()?;
                policy.with_absolute_timeout(timeout)
            }
            "anonymous_idle_timeout" => policy.with_anonymous_idle_timeout(given.time_to_live()?),
            "renew_after" => policy.with_renew_after(given.duration()?),
            "renewal" => {
                let renewal = given.word(&[
                    ("on_access", Renewal::OnAccess),
                    ("on_save", Renewal::OnSave),
                    ("every_request", Renewal::EveryRequest),
                ]);
                policy.with_renewal(renewal.ok_or(Advice::Text(
                    "has to be \"on_access\", \"on_save\" or \"every_request\"",
                ))?)
            }
            "save_every_request" if given.flag()? => policy.with_renewal(Renewal::EveryRequest),
            "save_every_request" if policy.renewal() == Renewal::EveryRequest => {
                policy.with_renewal(Renewal::default())
            }
            "save_every_request" => policy,
            "reissue" => {
                let reissue = given.word(&[
                    ("on_change", Reissue::OnChange),
                    ("on_save", Reissue::OnSave),
                ]);
                policy.with_reissue(
                    reissue.ok_or(Advice::Text("has to be \"on_change\" or \"on_save\""))?,
                )
            }
            "expire_at_browser_close" => policy.with_expire_at_browser_close(given.flag()?),
            "not_before" => policy.with_not_before(given.moment()?),
            "sessions_per_owner_max" => policy.with_sessions_per_owner_max(given.at_least_one()?),
            "new_anonymous_per_minute_max" => {
                let sessions = given.at_least_one()?.get();
                policy
                    .with_new_anonymous_per_minute_max(u32::try_from(sessions).unwrap_or(u32::MAX))
            }
            _ => match self.limits_with(name, given)? {
                Some(limits) => policy.with_limits(limits),
                None => return self.secrets.put_file(name, given.text()?),
            },
        };
        Ok(())
    }

    fn limits_with(&self, name: &str, given: &Given) -> Result<Option<Limits>, Advice> {
        let mut limits = *self.policy.limits();
        match name {
            "data_bytes_max" => limits.data_bytes_max = given.at_least_one()?.get(),
            "names_max" => limits.names_max = given.at_least_one()?.get(),
            "name_bytes_max" => limits.name_bytes_max = given.at_least_one()?.get(),
            "candidates_max" => limits.candidates_max = given.at_least_one()?.get(),
            "store_timeout" => limits.store_timeout = given.time_to_live()?,
            "commit_timeout" => limits.commit_timeout = given.time_to_live()?,
            _ => return Ok(None),
        }
        Ok(Some(limits))
    }

    fn change_cookie(&mut self, change: impl FnOnce(CookieConfigBuilder) -> CookieConfigBuilder) {
        self.cookie = change(self.cookie.clone());
    }
}

/// A map of settings by their names in a file, as [`SessionSettings`]' page lists them. What it leaves out has its default, and a name
/// that is none is an error. Formats have to say what kind each value is of, as TOML, JSON and YAML do.
impl<'de> Deserialize<'de> for SessionSettings {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Settings;

        impl<'de> Visitor<'de> for Settings {
            type Value = SessionSettings;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("settings of sessions by their names")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<SessionSettings, A::Error> {
                let mut settings = SessionSettings::default();
                let mut seen = BTreeSet::new();
                while let Some(name) = map.next_key::<String>()? {
                    let given = map.next_value()?;
                    settings
                        .take(&name, given, Place::File, &mut seen)
                        .map_err(|advice| A::Error::custom(invalid(&name, advice)))?;
                }
                Ok(settings)
            }
        }

        deserializer.deserialize_map(Settings)
    }
}

/// What is wrong with a setting, and what to do about it; nothing of what it holds.
enum Advice {
    Text(&'static str),
    /// It is no setting, but perhaps this one is meant.
    Unknown(Option<&'static str>),
    /// A server's keys are none.
    #[cfg(feature = "sealed")]
    Keys(session_core::SessionError),
}

impl Advice {
    /// Names the other setting as it is written there.
    fn in_environment(self, prefix: &str) -> String {
        match self {
            Self::Unknown(Some(meant)) => {
                format!(
                    "is no setting; perhaps {prefix}{} is meant",
                    meant.to_ascii_uppercase()
                )
            }
            other => other.to_string(),
        }
    }
}

impl fmt::Display for Advice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => f.write_str(text),
            Self::Unknown(Some(meant)) => write!(f, "is no setting; perhaps {meant} is meant"),
            Self::Unknown(None) => {
                f.write_str("is no setting: SessionSettings' documentation lists them all")
            }
            #[cfg(feature = "sealed")]
            Self::Keys(error) => write!(f, "can't be used: {error}"),
        }
    }
}

fn invalid(setting: &str, advice: impl fmt::Display) -> Error {
    Error::InvalidSetting {
        setting: setting.to_owned(),
        advice: advice.to_string(),
    }
}

/// What a timeout needs at least, since stores keep whole seconds.
const TIME_TO_LIVE_MIN: Duration = Duration::from_secs(1);
