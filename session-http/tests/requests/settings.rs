//! What an operator may set: from files, from the environment, and what is refused.

use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use session_core::{MemoryStore, Reissue, Renewal};
use session_http::{Error, SessionSettings};

const FROM_NAMES: &str = "SESSION_";

fn minutes(minutes: u64) -> Duration {
    Duration::from_secs(60 * minutes)
}

fn by_vars(vars: &[(&str, &str)]) -> Result<SessionSettings, Error> {
    SessionSettings::default().with_vars(FROM_NAMES, vars.iter().copied())
}

/// The text of an error, with all its causes.
fn told(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text += &format!(": {error}");
        cause = error.source();
    }
    text
}

/// Everything that a file can say, each different from what holds without it.
const ALL: &str = r#"
    cookie_name = "__Secure-shop"
    cookie_path = "/shop"
    cookie_domain = "example.org"
    cookie_secure = true
    cookie_http_only = false
    cookie_same_site = "None"
    cookie_partitioned = true
    idle_timeout = "30m"
    absolute_timeout = 43200
    anonymous_idle_timeout = "10m"
    renew_after = 60
    renewal = "on_save"
    reissue = "on_save"
    expire_at_browser_close = true
    not_before = "2026-01-31T13:00:00+01:00"
    sessions_per_owner_max = 5
    new_anonymous_per_minute_max = 100
    data_bytes_max = 4096
    names_max = 16
    name_bytes_max = 32
    candidates_max = 2
    store_timeout = 2
    commit_timeout = "3s"
"#;

#[track_caller]
fn assert_is_all(settings: &SessionSettings) {
    let policy = settings.policy().unwrap();
    assert_eq!(policy.idle_timeout(), minutes(30));
    assert_eq!(policy.absolute_timeout(), Some(minutes(12 * 60)));
    assert_eq!(policy.anonymous_idle_timeout(), minutes(10));
    assert_eq!(policy.renew_after(), minutes(1));
    assert_eq!(policy.renewal(), Renewal::OnSave);
    assert_eq!(policy.reissue(), Reissue::OnSave);
    assert!(policy.expire_at_browser_close());
    let noon = SystemTime::UNIX_EPOCH + Duration::from_secs(1_769_860_800);
    assert_eq!(policy.not_before(), Some(noon));
    assert_eq!(policy.sessions_per_owner_max().map(usize::from), Some(5));
    assert_eq!(policy.new_anonymous_per_minute_max(), Some(100));
    let limits = policy.limits();
    assert_eq!(limits.data_bytes_max, 4096);
    assert_eq!(limits.names_max, 16);
    assert_eq!(limits.name_bytes_max, 32);
    assert_eq!(limits.candidates_max, 2);
    assert_eq!(limits.store_timeout, Duration::from_secs(2));
    assert_eq!(limits.commit_timeout, Duration::from_secs(3));
    let cookie = format!("{:?}", settings.cookie().unwrap());
    let attributes = "; Path=/shop; Domain=example.org; Secure; SameSite=None; Partitioned";
    assert!(cookie.contains(attributes), "{cookie}");
    assert!(cookie.contains("__Secure-shop"), "{cookie}");
    drop(settings.layer(MemoryStore::new()).unwrap());
}

#[test]
fn a_file_in_toml_or_json_sets_all_there_is() {
    assert_is_all(&toml::from_str(ALL).unwrap());
    let table: toml::Table = toml::from_str(ALL).unwrap();
    let json = serde_json::to_string(&table).unwrap();
    assert_is_all(&serde_json::from_str(&json).unwrap());
}

#[test]
fn variables_set_the_same_as_a_file() {
    let table: toml::Table = toml::from_str(ALL).unwrap();
    let vars = table.into_iter().map(|(name, value)| {
        let text = match value {
            toml::Value::String(text) => text,
            toml::Value::Integer(number) => number.to_string(),
            toml::Value::Boolean(flag) => flag.to_string(),
            other => panic!("{other:?} is no setting's value"),
        };
        (format!("SESSION_{}", name.to_ascii_uppercase()), text)
    });
    assert_is_all(
        &SessionSettings::default()
            .with_vars(FROM_NAMES, vars)
            .unwrap(),
    );
}

#[test]
fn nothing_set_is_the_default() {
    let settings: SessionSettings = toml::from_str("").unwrap();
    let default = session_core::Policy::new();
    assert_eq!(
        format!("{:?}", settings.policy().unwrap()),
        format!("{default:?}")
    );
    assert_eq!(settings.cookie().unwrap().name(), "__Host-sessionid");
}

#[test]
fn variables_come_before_a_file_and_spare_the_rest() {
    let settings: SessionSettings =
        toml::from_str("idle_timeout = \"30m\"\nabsolute_timeout = \"12h\"\ncookie_name = \"a\"")
            .unwrap();
    let vars = [
        ("SHOP_IDLE_TIMEOUT", "5m"),
        ("SHOP_ABSOLUTE_TIMEOUT", "None"),
    ];
    let settings = settings.with_vars("SHOP_", vars).unwrap();
    let policy = settings.policy().unwrap();
    assert_eq!(policy.idle_timeout(), minutes(5), "the file came first");
    assert_eq!(policy.absolute_timeout(), None, "a limit can't be lifted");
    assert_eq!(settings.cookie().unwrap().name(), "a", "the rest is lost");
}

#[test]
fn djangos_names_mean_what_they_mean_there() {
    let settings = by_vars(&[
        ("SESSION_COOKIE_AGE", "3600"),
        ("SESSION_COOKIE_HTTPONLY", "False"),
        ("SESSION_COOKIE_SAMESITE", "Strict"),
        ("SESSION_SAVE_EVERY_REQUEST", "True"),
        ("SESSION_COOKIE_DOMAIN", ""),
        ("SESSION_COOKIE_PATH", ""),
        ("SESSION_COOKIE_NAME", "sessionid"),
    ])
    .unwrap();
    let policy = settings.policy().unwrap();
    assert_eq!(policy.idle_timeout(), minutes(60));
    assert_eq!(policy.renewal(), Renewal::EveryRequest);
    let cookie = format!("{:?}", settings.cookie().unwrap());
    let attributes = "attributes: \"; Secure; SameSite=Strict\"";
    assert!(cookie.contains(attributes), "{cookie}");

    let off = settings.with_vars(FROM_NAMES, [("SESSION_SAVE_EVERY_REQUEST", "0")]);
    let policy = off.unwrap().policy().unwrap();
    assert_eq!(
        policy.renewal(),
        Renewal::OnAccess,
        "it can't be switched off"
    );
}

#[test]
fn what_cannot_be_used_is_refused_by_its_name_and_never_quoted() {
    const MARK: &str = "5w0rdf1sh";
    for (name, value) in [
        ("cookie_name", "5"),
        ("cookie_name", "\"\""),
        ("cookie_name", "true"),
        ("cookie_path", "1"),
        ("cookie_secure", "\"5w0rdf1sh\""),
        ("cookie_secure", "2"),
        ("cookie_http_only", "\"\""),
        ("cookie_same_site", "\"5w0rdf1sh\""),
        ("cookie_same_site", "false"),
        ("cookie_partitioned", "\"yes\""),
        ("insecure_plain_http", "\"5w0rdf1sh\""),
        ("idle_timeout", "\"5w0rdf1sh\""),
        ("idle_timeout", "0"),
        ("idle_timeout", "\"0s\""),
        ("absolute_timeout", "0"),
        ("absolute_timeout", "\"\""),
        ("anonymous_idle_timeout", "true"),
        ("renew_after", "\"-1\""),
        ("renewal", "\"always\""),
        ("save_every_request", "\"5w0rdf1sh\""),
        ("reissue", "1"),
        ("expire_at_browser_close", "\"5w0rdf1sh\""),
        ("not_before", "\"2026-01-31\""),
        ("not_before", "\"2026-01-31T12:00:00\""),
        ("sessions_per_owner_max", "0"),
        ("new_anonymous_per_minute_max", "0"),
        ("data_bytes_max", "\"1MiB\""),
        ("names_max", "0"),
        ("name_bytes_max", "0"),
        ("candidates_max", "0"),
        ("store_timeout", "0"),
        ("commit_timeout", "0"),
        ("digest_keys", "\"5w0rdf1sh\""),
        ("sealing_keys", "\"5w0rdf1sh\""),
        ("idle_timeouts", "\"5w0rdf1sh\""),
        ("engine", "\"5w0rdf1sh\""),
        ("Idle_Timeout", "60"),
    ] {
        let json = format!("{{\"{name}\": {value}}}");
        let error = serde_json::from_str::<SessionSettings>(&json).unwrap_err();
        let text = format!("{error} {error:?}");
        assert!(text.contains(name), "{json}: {text}");
        assert!(!text.contains(MARK), "{json} is quoted: {text}");
        let toml = format!("{name} = {value}");
        assert!(toml::from_str::<SessionSettings>(&toml).is_err(), "{toml}");
    }
    for (name, value) in [
        ("SESSION_IDLE_TIMEOUT", "5w0rdf1sh"),
        ("SESSION_IDLE_TIMEOUT", ""),
        ("SESSION_COOKIE_SECURE", "5w0rdf1sh"),
        ("SESSION_COOKIE_AGES", "5w0rdf1sh"),
        ("SESSION_COOKIE_COLOR", "5w0rdf1sh"),
        ("SESSION_SEALING_KEYS", ""),
        ("SESSION_SEALING_KEYS", "5w0rdf1sh"),
        ("SESSION_SEALING_KEY", "5w0rdf1sh"),
        ("SESSION_DIGEST_KEYS", "5w0rdf1sh"),
        ("SESSION_DIGEST_KEYS_FILE", ""),
    ] {
        let error = by_vars(&[(name, value)]).unwrap_err();
        let text = told(&error) + &format!("{error:?}");
        assert!(text.contains(name), "{name}: {text}");
        assert!(!text.contains(MARK), "{name} is quoted: {text}");
    }
}

#[test]
fn advice_names_the_setting_that_was_meant() {
    let meant = |json| {
        let error = serde_json::from_str::<SessionSettings>(json).unwrap_err();
        error.to_string()
    };
    let text = meant(r#"{"absolute_timout": "12h"}"#);
    assert!(text.contains("perhaps absolute_timeout is meant"), "{text}");
    let error = by_vars(&[("SESSION_ABSOLUTE_TIMOUT", "12h")]).unwrap_err();
    let text = error.to_string();
    assert!(
        text.contains("perhaps SESSION_ABSOLUTE_TIMEOUT is meant"),
        "{text}"
    );
    let text = meant(r#"{"digest_keys": "…"}"#);
    assert!(text.contains("a file of its own"), "{text}");
}

#[test]
fn one_thing_is_said_once() {
    for twice in [
        "idle_timeout = 60\ncookie_age = 60",
        "renewal = \"on_save\"\nsave_every_request = true",
        "cookie_http_only = true\ncookie_httponly = true",
    ] {
        let error = toml::from_str::<SessionSettings>(twice).unwrap_err();
        let text = error.to_string();
        assert!(text.contains("is given twice"), "{twice}: {text}");
    }
    let error = serde_json::from_str::<SessionSettings>(r#"{"renew_after": 1, "renew_after": 2}"#);
    assert!(error.is_err(), "which of the two holds is chance");
}

#[test]
fn settings_that_contradict_each_other_are_refused_before_the_server_starts() {
    for (toml, word) in [
        ("idle_timeout = \"1h\"\nrenew_after = \"1h\"", "renew_after"),
        ("cookie_secure = false", "Secure"),
        ("cookie_domain = \"example.org\"", "__Secure-"),
        ("cookie_path = \"\"", "Path=/"),
        ("cookie_name = \"a b\"", "letters"),
        (
            "cookie_name = \"a\"\ncookie_secure = false\ncookie_same_site = \"none\"",
            "SameSite=None",
        ),
    ] {
        let settings: SessionSettings = toml::from_str(toml).unwrap();
        let error = settings.layer(MemoryStore::new()).unwrap_err();
        assert!(told(&error).contains(word), "{toml}: {error}");
    }
}

#[test]
fn another_programs_variables_are_left_alone() {
    let settings = by_vars(&[
        ("SESSION_MANAGER", "local/desktop:@/tmp/.ICE-unix/1"),
        ("SESSION_SERVICE_HOST", "10.0.0.1"),
        ("SESSION_PORT", "tcp://10.0.0.1:80"),
        ("COOKIE_NAME", "a b"),
        ("session_cookie_name", "a b"),
    ]);
    assert_eq!(
        settings.unwrap().cookie().unwrap().name(),
        "__Host-sessionid"
    );
}

#[test]
fn plain_http_is_asked_for_by_the_name_that_says_what_it_costs() {
    let layer = |toml| {
        let settings: SessionSettings = toml::from_str(toml).unwrap();
        format!("{:?}", settings.layer(MemoryStore::new()).unwrap())
    };
    assert!(layer("insecure_plain_http = false").contains("__Host-sessionid"));
    let insecure = layer("insecure_plain_http = true");
    assert!(!insecure.contains("__Host-"), "{insecure}");
    assert!(!insecure.contains("; Secure"), "{insecure}");
}

#[tokio::test]
async fn sep_01_an_application_opens_no_session_of_another_in_the_same_store() {
    let store = Arc::new(MemoryStore::new());
    let manager = |name: Option<&str>| {
        let vars = name.map(|name| ("SESSION_APPLICATION", name));
        let settings = SessionSettings::default().with_vars(FROM_NAMES, vars);
        settings.unwrap().manager(Arc::clone(&store)).unwrap()
    };
    let all = [Some("shop"), Some("shop-staging"), None].map(manager);
    for (number, own) in all.iter().enumerate() {
        let session = own.start();
        session.log_in("ada").unwrap();
        session.save().await.unwrap();
        let key = session.session_key().unwrap();
        for (other, manager) in all.iter().enumerate() {
            let found = manager.load(&key).await.unwrap();
            assert_eq!(found.is_some(), number == other, "{number} in {other}");
        }
    }
}

/// Variables can't be set in a process that has threads, so that this test runs itself once more, in an environment of its own.
#[test]
fn the_environment_itself_is_read() {
    const INSIDE: &str = "SESSION_SETTINGS_TEST";
    if std::env::var_os(INSIDE).is_some() {
        let settings = SessionSettings::from_env().unwrap();
        assert_eq!(settings.policy().unwrap().idle_timeout(), minutes(45));
        assert_eq!(settings.cookie().unwrap().name(), "__Host-shop");
        let shop = SessionSettings::default().with_env("SHOP_").unwrap();
        assert_eq!(shop.policy().unwrap().idle_timeout(), minutes(15));
        let broken = SessionSettings::default().with_env("BROKEN_").unwrap_err();
        assert!(broken.to_string().contains("BROKEN_RENEWAL"), "{broken}");
        return;
    }
    let run = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "settings::the_environment_itself_is_read"])
        .env(INSIDE, "1")
        .env("SESSION_IDLE_TIMEOUT", "45m")
        .env("SESSION_COOKIE_NAME", "__Host-shop")
        .env("SHOP_COOKIE_AGE", "900")
        .env("BROKEN_RENEWAL", "sometimes")
        .output()
        .unwrap();
    let out = String::from_utf8_lossy(&run.stdout);
    assert!(run.status.success(), "{out}");
    assert!(out.contains("1 passed"), "it did not run: {out}");
}

#[cfg(all(feature = "sealed", unix))]
mod secrets {
    use std::fmt::Write as _;

    use session_core::store::{NewRecord, SessionStore, StoreKey, Timestamp};
    use session_core::{KeyPolicy, SessionKey};

    use super::*;

    const BASE64: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

    async fn stored(settings: &SessionSettings) -> (StoreKey, StoreKey, Vec<u8>) {
        let store = Arc::new(MemoryStore::new());
        let manager = settings.manager(Arc::clone(&store)).unwrap();
        let session = manager.start();
        session.set("name", "Ada").unwrap();
        session.save().await.unwrap();
        let key: SessionKey = session.session_key().unwrap();
        let policy = settings.policy().unwrap();
        let place = policy.keys().store_key(&key);
        let record = store
            .load(&place, Timestamp::from(SystemTime::UNIX_EPOCH))
            .await;
        let bytes = record.unwrap().unwrap().payload.to_bytes().unwrap();
        (place, KeyPolicy::Hashed.store_key(&key), bytes.to_vec())
    }

    #[tokio::test]
    async fn secrets_come_from_a_file_or_a_variable_and_are_used() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("keys");
        let mut keys = String::new();
        writeln!(keys, "{BASE64} # of today").unwrap();
        tempfile::NamedTempFile::new_in(&folder)
            .and_then(|mut temporary| {
                std::io::Write::write_all(&mut temporary, keys.as_bytes())?;
                temporary.persist(&file).map_err(std::io::Error::from)
            })
            .unwrap();
        let path = file.to_str().unwrap();
        let toml = format!("digest_keys_file = '{path}'\nsealing_keys_file = '{path}'");
        let by_file: SessionSettings = toml::from_str(&toml).unwrap();
        let by_variable = by_vars(&[
            ("SESSION_DIGEST_KEYS", BASE64),
            ("SESSION_SEALING_KEYS", BASE64),
        ])
        .unwrap();
        for settings in [&by_file, &by_variable] {
            let (place, hashed, bytes) = stored(settings).await;
            assert_ne!(place, hashed, "the keys are hashed without the secret");
            let text = String::from_utf8_lossy(&bytes);
            assert!(!text.contains("Ada"), "the data are not sealed: {text}");
            let debug = format!("{settings:?}");
            assert!(!debug.contains("AAEC"), "a secret is printed: {debug}");
        }
    }

    #[tokio::test]
    async fn sep_01_what_one_application_sealed_another_does_not_open_with_the_same_secret() {
        let store = Arc::new(MemoryStore::new());
        let settings = |name| {
            by_vars(&[
                ("SESSION_APPLICATION", name),
                ("SESSION_DIGEST_KEYS", BASE64),
                ("SESSION_SEALING_KEYS", BASE64),
            ])
            .unwrap()
        };
        let [shop, staging] = ["shop", "shop-staging"].map(settings);
        let manager = shop.manager(Arc::clone(&store)).unwrap();
        let session = manager.start();
        session.set("name", "Ada").unwrap();
        session.save().await.unwrap();
        let key = session.session_key().unwrap();
        let place = |settings: &SessionSettings| {
            let policy = settings.policy().unwrap();
            policy.keys().store_key(&key)
        };
        assert_ne!(place(&shop), place(&staging), "both look in the same place");
        // Somebody who can write the store puts it where the other one looks.
        let now = Timestamp::from(SystemTime::UNIX_EPOCH);
        let record = store.load(&place(&shop), now).await.unwrap().unwrap();
        let mut copy = NewRecord::new(record.payload, record.expires_at);
        copy.created_at = record.created_at;
        store.create(&place(&staging), copy, now).await.unwrap();
        let manager = staging.manager(Arc::clone(&store)).unwrap();
        let found = manager.load(&key).await;
        assert!(!matches!(found, Ok(Some(_))), "it opens there as well");
    }

    #[test]
    fn a_file_of_keys_that_is_missing_or_holds_none_is_named_and_not_quoted() {
        let settings: SessionSettings =
            toml::from_str("sealing_keys_file = '/nowhere/at/all'").unwrap();
        let error = settings.layer(MemoryStore::new()).unwrap_err();
        assert!(told(&error).contains("/nowhere/at/all"), "{error}");
        settings.policy().unwrap();
    }

    #[test]
    fn keys_are_given_or_their_file_is_named_and_not_both() {
        for vars in [
            [
                ("SESSION_DIGEST_KEYS", BASE64),
                ("SESSION_DIGEST_KEYS_FILE", "a"),
            ],
            [
                ("SESSION_SEALING_KEYS_FILE", "a"),
                ("SESSION_SEALING_KEYS", BASE64),
            ],
        ] {
            let error = by_vars(&vars).unwrap_err();
            assert!(told(&error).contains("is given twice"), "{error}");
        }
    }

    #[test]
    fn a_variable_replaces_the_file_that_a_file_of_settings_names() {
        let settings: SessionSettings =
            toml::from_str("digest_keys_file = '/nowhere/at/all'").unwrap();
        let settings = settings.with_vars(FROM_NAMES, [("SESSION_DIGEST_KEYS", BASE64)]);
        settings.unwrap().policy().unwrap();
    }
}
