//! Where the settings of a project come from, and what is said when they can't be used.

use std::time::Duration;

use session_core::django::{DjangoSettings, SameSiteSetting};
use session_core::store::StoreError;
use session_core::{KeyPolicy, MemoryStore, Reissue, Renewal};

use crate::support::{VECTORS, chain};

/// What the documented command prints in a project with one setting of each kind.
const PRINTED: &str = r#"{"SECRET_KEY": "CANARY-one", "SECRET_KEY_FALLBACKS": ["CANARY-two", {"hex": "00ff"}], "USE_TZ": false,
"TIME_ZONE": "Asia/Kolkata", "SESSION_ENGINE": "django.contrib.sessions.backends.cached_db",
"SESSION_SERIALIZER": "django.contrib.sessions.serializers.JSONSerializer", "SESSION_FILE_PATH": null,
"SESSION_CACHE_ALIAS": "sessions", "SESSION_COOKIE_NAME": "sid", "SESSION_COOKIE_AGE": 3600, "SESSION_COOKIE_DOMAIN": null,
"SESSION_COOKIE_PATH": "/app", "SESSION_COOKIE_SECURE": true, "SESSION_COOKIE_HTTPONLY": false,
"SESSION_COOKIE_SAMESITE": "None", "SESSION_SAVE_EVERY_REQUEST": true, "SESSION_EXPIRE_AT_BROWSER_CLOSE": true,
"SESSION_KEY_SALT": "django.contrib.sessions.Outer.SessionStore"}"#;

fn check(settings: &DjangoSettings) {
    assert_eq!(
        settings.salt(),
        "django.contrib.sessions.Outer.SessionStore"
    );
    assert!(settings.wall_clock().is_some());
    assert_eq!(
        settings.engine(),
        "django.contrib.sessions.backends.cached_db"
    );
    assert_eq!(settings.file_path(), None);
    assert_eq!(settings.cache_alias(), "sessions");
    assert_eq!(settings.cookie_name(), "sid");
    assert_eq!(settings.cookie_age(), Duration::from_secs(3600));
    assert_eq!(settings.cookie_domain(), None);
    assert_eq!(settings.cookie_path(), Some("/app"));
    assert!(settings.cookie_secure());
    assert!(!settings.cookie_http_only());
    assert_eq!(settings.cookie_same_site(), SameSiteSetting::None);
    assert!(settings.save_every_request());
    assert!(settings.expire_at_browser_close());
    let printed = format!("{settings:?} {settings:#?}");
    assert!(
        !printed.contains("CANARY"),
        "a secret is printed: {printed}"
    );
}

#[test]
fn the_settings_that_a_project_prints_are_understood() {
    check(&DjangoSettings::from_json(PRINTED.as_bytes()).unwrap());
}

#[test]
fn the_environment_says_the_same() {
    let settings = DjangoSettings::from_vars([
        ("DJANGO_SECRET_KEY", "CANARY-one"),
        (
            "DJANGO_SECRET_KEY_FALLBACKS",
            r#"["CANARY-two", {"hex": "00ff"}]"#,
        ),
        ("DJANGO_USE_TZ", "False"),
        ("DJANGO_TIME_ZONE", "Asia/Kolkata"),
        (
            "DJANGO_SESSION_ENGINE",
            "django.contrib.sessions.backends.cached_db",
        ),
        ("DJANGO_SESSION_FILE_PATH", ""),
        ("DJANGO_SESSION_CACHE_ALIAS", "sessions"),
        ("DJANGO_SESSION_COOKIE_NAME", "sid"),
        ("DJANGO_SESSION_COOKIE_AGE", "3600"),
        ("DJANGO_SESSION_COOKIE_DOMAIN", "None"),
        ("DJANGO_SESSION_COOKIE_PATH", "/app"),
        ("DJANGO_SESSION_COOKIE_SECURE", "True"),
        ("DJANGO_SESSION_COOKIE_HTTPONLY", "0"),
        ("DJANGO_SESSION_COOKIE_SAMESITE", "None"),
        ("DJANGO_SESSION_SAVE_EVERY_REQUEST", "true"),
        ("DJANGO_SESSION_EXPIRE_AT_BROWSER_CLOSE", "1"),
        (
            "DJANGO_SESSION_KEY_SALT",
            "django.contrib.sessions.Outer.SessionStore",
        ),
        ("DJANGO_SETTINGS_MODULE", "mysite.settings"),
        ("SECRET_KEY", "another's"),
    ]);
    check(&settings.unwrap());
}

#[test]
fn a_secret_is_a_text_whatever_it_looks_like() {
    for secret in [
        "True",
        "None",
        "123",
        "[\"a\"]",
        "{\"hex\":\"00\"}",
        "\"quoted\"",
    ] {
        let from_env = DjangoSettings::from_vars([("DJANGO_SECRET_KEY", secret)]).unwrap();
        let codec = |settings: &DjangoSettings| {
            let codec = session_core::django::DjangoCodec::new(settings);
            crate::support::encode(
                &codec.with_clock(crate::support::clock_at(&0.into())),
                &crate::support::data("{}"),
            )
        };
        assert_eq!(
            codec(&from_env),
            codec(&DjangoSettings::new(secret)),
            "{secret}"
        );
    }
}

#[test]
fn djangos_defaults_are_the_defaults() {
    let defaults = &VECTORS["constants"]["settings_defaults"];
    let mut given = defaults.clone();
    given["SECRET_KEY"] = "secret".into();
    let given = DjangoSettings::from_json(given.to_string().as_bytes()).unwrap();
    assert_eq!(
        format!("{given:?}"),
        format!("{:?}", DjangoSettings::new("secret"))
    );
}

#[test]
fn what_cant_be_used_is_named_and_not_shown() {
    let cases = [
        ("CANARY", "not a JSON object"),
        ("[]", "not a JSON object"),
        ("{}", "SECRET_KEY is missing"),
        (r#"{"SECRET_KEY": null}"#, "SECRET_KEY is missing"),
        (r#"{"SECRET_KEY": ""}"#, "SECRET_KEY must not be empty"),
        (
            r#"{"SECRET_KEY": {"hex": "CANARY"}}"#,
            "SECRET_KEY has to be",
        ),
        (r#"{"SECRET_KEY": {"hex": "0"}}"#, "SECRET_KEY has to be"),
        (
            r#"{"SECRET_KEY": "s", "SECRET_KEY_FALLBACKS": "CANARY"}"#,
            "SECRET_KEY_FALLBACKS has to be a list",
        ),
        (
            r#"{"SECRET_KEY": "s", "SECRET_KEY_FALLBACKS": [7]}"#,
            "SECRET_KEY_FALLBACKS has to be",
        ),
        (
            r#"{"SECRET_KEY": "s", "SESSION_COOKIE_AGE": -1}"#,
            "SESSION_COOKIE_AGE has to be",
        ),
        (
            r#"{"SECRET_KEY": "s", "SESSION_COOKIE_AGE": "CANARY"}"#,
            "SESSION_COOKIE_AGE has to be",
        ),
        (
            r#"{"SECRET_KEY": "s", "SESSION_COOKIE_NAME": 7}"#,
            "SESSION_COOKIE_NAME has to be",
        ),
        (
            r#"{"SECRET_KEY": "s", "SESSION_COOKIE_SECURE": "CANARY"}"#,
            "SESSION_COOKIE_SECURE has to be",
        ),
        (
            r#"{"SECRET_KEY": "s", "SESSION_COOKIE_SAMESITE": "CANARY"}"#,
            "SESSION_COOKIE_SAMESITE has to be",
        ),
        (
            r#"{"SECRET_KEY": "s", "SESSION_SERIALIZER": "CANARY"}"#,
            "SESSION_SERIALIZER can't be shared",
        ),
        (
            r#"{"SECRET_KEY": "s", "USE_TZ": false, "TIME_ZONE": "CANARY"}"#,
            "TIME_ZONE is not in",
        ),
    ];
    for (json, advice) in cases {
        let error = DjangoSettings::from_json(json.as_bytes()).unwrap_err();
        assert!(
            matches!(error, StoreError::Misconfigured { .. }),
            "{json}: {error}"
        );
        assert!(chain(&error).contains(advice), "{json}: {}", chain(&error));
        assert!(
            !format!("{} {error:?}", chain(&error)).contains("CANARY"),
            "{json}: {error:?}"
        );
    }
    let error = DjangoSettings::from_vars([("DJANGO_SECRET_KEY", "")]).unwrap_err();
    assert!(
        chain(&error).contains("DJANGO_SECRET_KEY must not be empty"),
        "{error}"
    );
}

#[test]
fn the_policy_is_that_of_the_project() {
    let settings = DjangoSettings::from_json(PRINTED.as_bytes()).unwrap();
    let policy = settings.policy();
    assert_eq!(policy.idle_timeout(), Duration::from_secs(3600));
    assert_eq!(policy.renewal(), Renewal::EveryRequest);
    assert_eq!(policy.reissue(), Reissue::OnSave);
    assert!(policy.expire_at_browser_close());
    assert!(matches!(policy.keys(), KeyPolicy::UnhashedSharedWithDjango));
    assert_eq!(DjangoSettings::new("s").policy().renewal(), Renewal::OnSave);
}

#[test]
fn a_policy_that_cant_be_kept_beside_django_is_refused_when_the_manager_is_built() {
    let settings = DjangoSettings::new("secret");
    let absolute = settings
        .policy()
        .with_absolute_timeout(Duration::from_secs(60));
    let error = settings.manager(MemoryStore::new(), absolute).unwrap_err();
    assert!(error.to_string().contains("absolute timeout"), "{error}");
    let hashed = settings.policy().with_keys(KeyPolicy::Hashed);
    let error = settings.manager(MemoryStore::new(), hashed).unwrap_err();
    assert!(
        error.to_string().contains("UnhashedSharedWithDjango"),
        "{error}"
    );
}

#[test]
fn the_engine_chooses_the_codec() {
    let key = session_core::SessionKey::parse(b"abcdefghijklmnopqrstuvwxyz012345").unwrap();
    for (engine, written) in [
        ("django.contrib.sessions.backends.cache", r#"{"a":1}"#),
        ("django.contrib.sessions.backends.db", "eyJhIjoxfQ:0:"),
        (
            "django.contrib.sessions.backends.cached_db",
            "eyJhIjoxfQ:0:",
        ),
        ("a.module.of.their.own", "eyJhIjoxfQ:0:"),
    ] {
        let settings = DjangoSettings::new("secret").with_engine(engine);
        let manager = settings
            .manager(MemoryStore::new(), settings.policy())
            .unwrap();
        let payload = session_core::store::Payload::from_bytes(written);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .unwrap();
        let is_read = runtime.block_on(async {
            let now = session_core::store::Timestamp::from_secs(0);
            let new =
                session_core::store::NewRecord::new(payload, session_core::store::Timestamp::MAX);
            let store_key = manager.policy().keys().store_key(&key);
            manager.store().create(&store_key, new, now).await.unwrap();
            manager.load(&key).await.unwrap().is_some()
        });
        // The signature is not one, so that only the codec that wants none is content.
        assert_eq!(is_read, engine.ends_with(".cache"), "{engine}");
    }
    let cookies = DjangoSettings::new("secret")
        .with_engine("django.contrib.sessions.backends.signed_cookies");
    let error = cookies
        .manager(MemoryStore::new(), cookies.policy())
        .unwrap_err();
    assert!(
        error.to_string().contains("ReadableIrrevocableCookies"),
        "{error}"
    );
}
