//! Settings as somebody wrote them: the project itself, or the environment.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;
use zeroize::Zeroizing;

use super::{DjangoSettings, SameSiteSetting, misconfigured, secret};
use crate::django::wall_clock::WallClock;
use crate::store::StoreError;

/// The one serializer whose sessions can be shared, and Django's default.
const JSON_SERIALIZER: &str = "django.contrib.sessions.serializers.JSONSerializer";
/// What the names of environment variables begin with.
const PREFIX: &str = "DJANGO_";

/// From outside.
impl DjangoSettings {
    /// The settings that a project prints of itself:
    ///
    /// ```text
    #[doc = include_str!("../../../docs/print_settings.txt")]
    /// ```
    ///
    /// The output holds the secret key: keep it where the secret key is kept. Settings that are missing have Django's default,
    /// and what is not a setting of sessions is ignored.
    ///
    /// ```
    /// use session_core::django::DjangoSettings;
    ///
    /// let printed = r#"{"SECRET_KEY": "the project's", "SECRET_KEY_FALLBACKS": [], "SESSION_COOKIE_AGE": 3600}"#;
    /// let settings = DjangoSettings::from_json(printed.as_bytes())?;
    /// assert_eq!(settings.cookie_age().as_secs(), 3600);
    /// # Ok::<(), session_core::store::StoreError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`StoreError::Misconfigured`] says which setting is missing or can't be used.
    pub fn from_json(json: &[u8]) -> Result<Self, StoreError> {
        let given: BTreeMap<String, Value> = serde_json::from_slice(json).map_err(|_not_json| {
            misconfigured("the settings are not a JSON object: print them with the command that DjangoSettings::from_json documents")
        })?;
        Self::from_given(&Given {
            prefix: "",
            values: given,
        })
    }

    /// The settings in environment variables with Django's names and `DJANGO_` before them, such as `DJANGO_SECRET_KEY` and
    /// `DJANGO_SESSION_COOKIE_AGE`.
    ///
    /// A text stands there as it is; `True` and `False`, numbers, `None`, and the list of `DJANGO_SECRET_KEY_FALLBACKS` as JSON
    /// or as Python writes the first four.
    ///
    /// # Errors
    ///
    /// [`StoreError::Misconfigured`] says which variable is missing or can't be used.
    pub fn from_env() -> Result<Self, StoreError> {
        Self::from_vars(std::env::vars_os().filter_map(|(name, value)| {
            Some((name.into_string().ok()?, value.into_string().ok()?))
        }))
    }

    /// As [`from_env`](Self::from_env), from variables that come from elsewhere.
    ///
    /// ```
    /// use session_core::django::DjangoSettings;
    ///
    /// let settings = DjangoSettings::from_vars([
    ///     ("DJANGO_SECRET_KEY", "the project's"),
    ///     ("DJANGO_SECRET_KEY_FALLBACKS", r#"["the one before"]"#),
    ///     ("DJANGO_SESSION_COOKIE_SECURE", "True"),
    /// ])?;
    /// assert!(settings.cookie_secure());
    /// assert!(DjangoSettings::from_vars([("DJANGO_SESSION_COOKIE_AGE", "60")]).is_err()); // no secret key
    /// # Ok::<(), session_core::store::StoreError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`StoreError::Misconfigured`] says which variable is missing or can't be used.
    pub fn from_vars(
        vars: impl IntoIterator<Item = (impl AsRef<str>, impl Into<String>)>,
    ) -> Result<Self, StoreError> {
        let values = vars
            .into_iter()
            .filter_map(|(name, value)| {
                let name = name.as_ref().strip_prefix(PREFIX)?;
                Some((name.to_owned(), as_python_or_json(name, value.into())))
            })
            .collect();
        Self::from_given(&Given {
            prefix: PREFIX,
            values,
        })
    }

    fn from_given(given: &Given) -> Result<Self, StoreError> {
        let secret_key = given.secret("SECRET_KEY")?;
        let secret_key = secret_key.ok_or_else(|| given.refuse("SECRET_KEY", "is missing"))?;
        let mut settings = Self::new(&*secret_key);
        settings.secrets.fallbacks = given.secrets("SECRET_KEY_FALLBACKS")?;

        if given
            .text("SESSION_SERIALIZER")?
            .is_some_and(|path| path != JSON_SERIALIZER)
        {
            let advice = format!("can't be shared: set it to {JSON_SERIALIZER}, Django's default");
            return Err(given.refuse("SESSION_SERIALIZER", &advice));
        }
        if given.flag("USE_TZ")? == Some(false) {
            let time_zone = given.text("TIME_ZONE")?;
            settings.wall_clock = Some(WallClock::of(time_zone.unwrap_or("America/Chicago"))?);
        }
        let age = given.get("SESSION_COOKIE_AGE").map(|age| {
            age.as_u64().ok_or_else(|| {
                given.refuse(
                    "SESSION_COOKIE_AGE",
                    "has to be a number of whole seconds, at least 0",
                )
            })
        });
        settings.cookie_age = age
            .transpose()?
            .map_or(settings.cookie_age, Duration::from_secs);
        settings.cookie_same_site = given.same_site()?.unwrap_or_default();

        let Self {
            secrets: _,
            wall_clock: _,
            cookie_age: _,
            cookie_same_site: _,
            salt,
            engine,
            file_path,
            cache_alias,
            cookie_name,
            cookie_domain,
            cookie_path,
            cookie_secure,
            cookie_http_only,
            save_every_request,
            expire_at_browser_close,
        } = &mut settings;
        for (name, place) in [
            ("SESSION_KEY_SALT", salt),
            ("SESSION_ENGINE", engine),
            ("SESSION_CACHE_ALIAS", cache_alias),
            ("SESSION_COOKIE_NAME", cookie_name),
        ] {
            if let Some(text) = given.text(name)? {
                text.clone_into(place);
            }
        }
        for (name, place) in [
            ("SESSION_FILE_PATH", file_path),
            ("SESSION_COOKIE_DOMAIN", cookie_domain),
            ("SESSION_COOKIE_PATH", cookie_path),
        ] {
            if given.values.contains_key(name) {
                let text = given.text(name)?.filter(|text| !text.is_empty());
                *place = text.map(str::to_owned);
            }
        }
        for (name, place) in [
            ("SESSION_COOKIE_SECURE", cookie_secure),
            ("SESSION_COOKIE_HTTPONLY", cookie_http_only),
            ("SESSION_SAVE_EVERY_REQUEST", save_every_request),
            ("SESSION_EXPIRE_AT_BROWSER_CLOSE", expire_at_browser_close),
        ] {
            *place = given.flag(name)?.unwrap_or(*place);
        }
        Ok(settings)
    }
}

/// Settings as somebody wrote them.
struct Given {
    /// What stands before a setting's name where it was written.
    prefix: &'static str,
    values: BTreeMap<String, Value>,
}

impl Given {
    /// A setting that is there, and not `None`.
    fn get(&self, name: &str) -> Option<&Value> {
        self.values.get(name).filter(|value| !value.is_null())
    }

    fn text(&self, name: &str) -> Result<Option<&str>, StoreError> {
        let text = |value: &'_ Value| value.is_string();
        match self.get(name) {
            Some(value) if text(value) => Ok(value.as_str()),
            Some(_) => Err(self.refuse(name, "has to be a text")),
            None => Ok(None),
        }
    }

    /// Python takes numbers for flags as well.
    fn flag(&self, name: &str) -> Result<Option<bool>, StoreError> {
        match self.get(name) {
            Some(Value::Bool(flag)) => Ok(Some(*flag)),
            Some(Value::Number(number)) => Ok(Some(number.as_f64() != Some(0.0))),
            Some(_) => Err(self.refuse(name, "has to be True or False")),
            None => Ok(None),
        }
    }

    fn secret(&self, name: &str) -> Result<Option<Zeroizing<Vec<u8>>>, StoreError> {
        self.get(name)
            .map(|value| self.read_secret(name, value))
            .transpose()
    }

    fn secrets(&self, name: &str) -> Result<Vec<Zeroizing<Vec<u8>>>, StoreError> {
        match self.get(name) {
            Some(Value::Array(values)) => values
                .iter()
                .map(|value| self.read_secret(name, value))
                .collect(),
            Some(_) => Err(self.refuse(name, "has to be a list of texts")),
            None => Ok(Vec::new()),
        }
    }

    /// A text, or `{"hex": "…"}` for a secret that is bytes.
    fn read_secret(&self, name: &str, value: &Value) -> Result<Zeroizing<Vec<u8>>, StoreError> {
        #[derive(Deserialize)]
        struct Bytes {
            hex: String,
        }
        let bytes = match value {
            Value::String(text) => Some(secret(text)),
            _ => Bytes::deserialize(value)
                .ok()
                .and_then(|bytes| from_hex(&bytes.hex)),
        };
        let bytes = bytes
            .ok_or_else(|| self.refuse(name, "has to be a text, or bytes as {\"hex\": \"…\"}"))?;
        if bytes.is_empty() {
            // Django refuses to start as well.
            return Err(self.refuse(name, "must not be empty"));
        }
        Ok(bytes)
    }

    fn same_site(&self) -> Result<Option<SameSiteSetting>, StoreError> {
        const SETTING: &str = "SESSION_COOKIE_SAMESITE";
        let text = match self.values.get(SETTING) {
            None => return Ok(None),
            Some(Value::Bool(false) | Value::Null) => return Ok(Some(SameSiteSetting::Absent)),
            Some(value) => value.as_str().unwrap_or("?"),
        };
        match text.to_ascii_lowercase().as_str() {
            "lax" => Ok(Some(SameSiteSetting::Lax)),
            "strict" => Ok(Some(SameSiteSetting::Strict)),
            "none" => Ok(Some(SameSiteSetting::None)),
            _ => Err(self.refuse(SETTING, "has to be \"Lax\", \"Strict\", \"None\" or False")),
        }
    }

    /// Says what is wrong with a setting, and not what it holds.
    fn refuse(&self, name: &str, why: &str) -> StoreError {
        misconfigured(&format!("{}{name} {why}", self.prefix))
    }
}

/// The value of a variable: a text, unless it is something else to Python or JSON.
fn as_python_or_json(name: &str, text: String) -> Value {
    let is_text = matches!(
        name,
        "SECRET_KEY" | "SESSION_KEY_SALT" | "SESSION_COOKIE_NAME" | "SESSION_FILE_PATH"
    );
    if is_text {
        return Value::String(text);
    }
    match text.as_str() {
        "True" => Value::Bool(true),
        "False" => Value::Bool(false),
        // The word is what SameSite has to say; elsewhere it is Python's.
        "None" if name != "SESSION_COOKIE_SAMESITE" => Value::Null,
        _ => serde_json::from_str(&text).unwrap_or(Value::String(text)),
    }
}

fn from_hex(text: &str) -> Option<Zeroizing<Vec<u8>>> {
    let (pairs, []) = text.as_bytes().as_chunks::<2>() else {
        return None;
    };
    let digit = |byte: u8| char::from(byte).to_digit(16);
    pairs
        .iter()
        .map(|[high, low]| u8::try_from(digit(*high)? << 4 | digit(*low)?).ok())
        .collect::<Option<Vec<u8>>>()
        .map(Zeroizing::new)
}
