//! When sessions end that Django has timed, and how Django is told of those that we time.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use serde_json::Value;
use session_core::codec::Codec;
use session_core::django::{DjangoCodec, DjangoSettings};
use session_core::store::{NewRecord, Payload, SessionStore, Timestamp};
use session_core::{
    Clock, Expiry, ManualClock, MemoryStore, SessionBase, SessionData, SessionKey, SessionManager,
};

use crate::support::{
    VECTORS, any_place, cases, clock_at, data, seconds, settings_of, text, whole,
};

const KEY: &[u8] = b"abcdefghijklmnopqrstuvwxyz012345";

/// The session with these data, as one who asks for it at `clock`'s time gets it.
pub(crate) fn load(
    settings: &DjangoSettings,
    data: &SessionData,
    clock: ManualClock,
) -> Option<SessionBase> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap();
    let key = SessionKey::parse(KEY).unwrap();
    let store = Arc::new(MemoryStore::new());
    let payload = DjangoCodec::new(settings)
        .encode(&any_place(), data)
        .unwrap();
    let new = NewRecord::new(Payload::from_bytes(payload), Timestamp::MAX);
    let now = clock.now();
    let manager: SessionManager = settings
        .manager(Arc::clone(&store), settings.policy())
        .unwrap()
        .with_clock(clock);
    runtime.block_on(async {
        store.create(&any_place().key, new, now).await.unwrap();
        manager.load(&key).await.unwrap()
    })
}

fn with_expiry(value: &Value) -> SessionData {
    let mut data = SessionData::default();
    if value != "<absent>" {
        data.insert("_session_expiry", value).unwrap();
    }
    data
}

#[test]
fn what_django_has_timed_ends_when_django_says() {
    for case in cases("/expiry/computed", 38) {
        let settings = settings_of(&VECTORS["constants"])
            .with_cookie_age(seconds(&case["cookie_age"]))
            .with_expire_at_browser_close(case["expire_at_browser_close_setting"] == true);
        let now = whole(&case["now"]);
        let session = load(
            &settings,
            &with_expiry(&case["stored"]),
            clock_at(&case["now"]),
        );
        let age = match &case["age"] {
            Value::Bool(age) => Some(i64::from(*age)),
            // Rounded towards the past, as everything here.
            Value::Number(age) => Some(
                format!("{:.0}", age.as_f64().unwrap().floor())
                    .parse()
                    .unwrap(),
            ),
            // Django fails: on a time without an offset, and on what is no time.
            _ => None,
        };
        let Some(session) = session else {
            assert!(
                age.is_some_and(|age| age <= 0),
                "{case}: it is still alive for Django"
            );
            continue;
        };
        // Django fails when it asks for the date of these; here they are as good as none.
        if !case["date"].is_object() {
            let until_close = session.expires_at_browser_close();
            assert_eq!(until_close, case["browser_close"] == true, "{case}");
        }
        let age_here = i64::try_from(session.expiry_age().as_secs()).unwrap();
        match (age, case["stored"].as_str()) {
            // Django counts the fractions of now as well.
            (Some(age), Some(_)) => {
                assert!((age..=age + 1).contains(&age_here), "{case}: {age_here}");
            }
            // A negative age is zero here.
            (Some(age), None) => assert_eq!(age_here, age.max(0), "{case}"),
            // A time without an offset counts as UTC.
            (None, Some("2026-01-02T03:05:05")) => assert_eq!(age_here, 60, "{case}"),
            (None, _) => assert_eq!(session.expiry_age(), settings.cookie_age(), "{case}"),
        }
        assert_eq!(
            session.expires_at(),
            SystemTime::from(now.saturating_add(session.expiry_age())),
            "{case}"
        );
    }
}

#[test]
fn what_is_timed_here_is_spelled_for_django() {
    for case in cases("/expiry/set_expiry", 11) {
        let name = text(case, "name");
        let now = whole(&case["now"]);
        let at = |text: &str| match name {
            "aware UTC" | "aware UTC micros" | "aware +05:30" => {
                assert!(text.starts_with("2026-02-01"), "{name}");
                Expiry::At(Timestamp::from_secs(1_769_904_000).into())
            }
            _ => panic!("{name} is new"),
        };
        let expiry = match &case["input"] {
            Value::Null => Expiry::Default,
            Value::Number(number) => match number.as_i64().unwrap() {
                0 => Expiry::AtBrowserClose,
                age => Expiry::OnInactivity(Duration::from_secs(u64::try_from(age).unwrap_or(0))),
            },
            input => match (
                input["timedelta_seconds"].as_f64(),
                input["datetime"].as_str(),
            ) {
                (Some(seconds), _) => {
                    let seconds: i64 = format!("{:.0}", seconds.floor()).parse().unwrap();
                    Expiry::At(Timestamp::from_secs(now.as_secs() + seconds).into())
                }
                (_, text) => at(text.unwrap()),
            },
        };
        let settings = settings_of(&VECTORS["constants"]);
        let session = load(&settings, &SessionData::default(), clock_at(&case["now"])).unwrap();
        session.set_expiry(expiry).unwrap();
        let expected: Value = serde_json::from_str(text(case, "stored_json_text")).unwrap();
        let stored = session.snapshot();
        let stored = stored.json("_session_expiry");
        match &expected["_session_expiry"] {
            Value::Null => assert_eq!(stored, None, "{name}"),
            // Zero is taken, and any other negative number ends the session as well.
            Value::Number(number) if number.as_i64() < Some(0) => {
                assert_eq!(stored, Some("-1"), "{name}");
            }
            Value::String(text) => {
                let stored: String = serde_json::from_str(stored.unwrap()).unwrap();
                assert!(
                    stored.ends_with("+00:00") && stored.len() == 25,
                    "{name}: Python 3.10 can't read {stored}"
                );
                // The same moment, without its fraction, and in UTC.
                let moment = |text: &str| text.parse::<jiff::Timestamp>().unwrap().as_second();
                assert_eq!(moment(&stored), moment(text), "{name}");
            }
            number => assert_eq!(stored, Some(number.to_string().as_str()), "{name}"),
        }
    }
}

#[test]
fn without_use_tz_times_are_those_of_the_clock_on_the_wall() {
    let case = &VECTORS["expiry"]["use_tz_false"];
    let settings = settings_of(&VECTORS["constants"])
        .with_naive_times(text(case, "time_zone"))
        .unwrap();
    let codec = DjangoCodec::new(&settings).with_clock(clock_at(&case["now"]));
    let aware =
        DjangoCodec::new(&settings_of(&VECTORS["constants"])).with_clock(clock_at(&case["now"]));

    // As Django left it, through our hands and back.
    let stored = aware
        .encode(&any_place(), &data(text(case, "stored_json_text")))
        .unwrap();
    let read = codec.decode(&any_place(), &stored).unwrap();
    assert_eq!(
        read.get::<String>("_session_expiry").unwrap().as_deref(),
        Some("2026-01-02T03:05:05.250000+00:00")
    );
    assert_eq!(
        codec.encode(&any_place(), &read).unwrap(),
        stored,
        "Django reads another time"
    );
    let session = load(&settings, &read, clock_at(&case["now"])).unwrap();
    assert_eq!(session.expiry_age(), seconds(&case["age"]));

    // As it is set here.
    let mut data = SessionData::default();
    data.insert("_session_expiry", "2026-01-02T03:05:05+00:00")
        .unwrap();
    let stored = codec.encode(&any_place(), &data).unwrap();
    let seen_by_django = aware.decode(&any_place(), &stored).unwrap();
    assert_eq!(
        seen_by_django.json("_session_expiry"),
        Some("\"2026-01-02T08:35:05\"")
    );

    // Numbers are the same in all zones, and what is no time is left alone.
    for untouched in [
        "0",
        "300",
        "-1",
        "1.5",
        "null",
        "\"\"",
        "\"not a date\"",
        "[]",
        "false",
    ] {
        let mut data = SessionData::default();
        data.insert_json("_session_expiry", untouched).unwrap();
        let stored = codec.encode(&any_place(), &data).unwrap();
        assert_eq!(
            codec.decode(&any_place(), &stored).unwrap(),
            data,
            "{untouched}"
        );
    }
}

#[test]
fn a_wall_clock_is_read_and_set_across_its_jumps() {
    let settings = DjangoSettings::new("secret")
        .with_naive_times("Europe/Berlin")
        .unwrap();
    let wall_clock = settings.wall_clock().unwrap();
    // 2026-03-29 01:00 UTC: from 02:00 to 03:00. 2026-10-25 01:00 UTC: from 03:00 to 02:00.
    for jump in [1_774_746_000, 1_792_890_000] {
        for around in [-7200, -3601, -1, 3600, 7200] {
            let moment = Timestamp::from_secs(jump + around);
            assert_eq!(
                wall_clock.moment_of(wall_clock.shows_at(moment)),
                moment,
                "{jump} {around}"
            );
        }
    }
    // The hour that it skips counts from before, and of the hour that it shows twice the first is meant.
    assert_eq!(
        wall_clock.moment_of(1_774_746_000 + 3600 + 1800).as_secs(),
        1_774_746_000 + 1800
    );
    let first = 1_792_890_000 - 1800;
    let shown = wall_clock.shows_at(Timestamp::from_secs(first));
    assert_eq!(
        wall_clock.shows_at(Timestamp::from_secs(first + 3600)),
        shown
    );
    assert_eq!(wall_clock.moment_of(shown).as_secs(), first);
    assert_eq!(
        wall_clock.shows_at(Timestamp::MAX),
        Timestamp::MAX.as_secs() + 3600
    );
}

#[test]
fn an_unknown_zone_is_an_error_that_says_what_to_do() {
    let error = DjangoSettings::new("secret")
        .with_naive_times("Mars/Olympus")
        .unwrap_err();
    assert!(error.to_string().contains("tzdata"), "{error}");
}
