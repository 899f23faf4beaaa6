//! Whole structs in a session: their defaults, and the way from an older shape to the current one.
use std::cell::Cell;
use std::error::Error;

use serde::{Deserialize, Serialize};
use session_core::conformance::Operation;
use session_core::{Field, OldView, SessionBase, SessionError, SessionKey, View};

use crate::support::{Site, times, told};

thread_local! {
    static UPGRADES: Cell<u32> = const { Cell::new(0) };
}

fn upgrades() -> u32 {
    UPGRADES.take()
}

/// As the last release has it.
#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
struct Before {
    language: String,
    visits: u32,
}

impl View for Before {
    const FIELD: Field<Self> = Field::new("settings");
}

/// As this one does.
#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Settings {
    languages: Vec<String>,
    visits: u32,
}

impl View for Settings {
    const FIELD: Field<Self> = Field::new("settings");
    const VERSION: u32 = 3;

    fn upgrade(old: OldView<'_>) -> Result<Self, SessionError> {
        UPGRADES.set(UPGRADES.get() + 1);
        if old.version() != 1 {
            return Err(old.refuse("version 2 was never released"));
        }
        let Before { language, visits } = old.parse()?;
        let languages = vec![language];
        Ok(Self { languages, visits })
    }
}

fn settings(languages: &[&str], visits: u32) -> Settings {
    let languages = languages.iter().map(|one| (*one).to_owned()).collect();
    Settings { languages, visits }
}

/// A visitor of the last release.
async fn visitor(site: &Site) -> SessionKey {
    site.visitor(|session| {
        let language = "en".to_owned();
        session
            .view()
            .set(&Before {
                language,
                visits: 5,
            })
            .unwrap();
        session.set("n", &1).unwrap();
    })
    .await
}

/// A visitor whose settings are this JSON.
async fn visitor_with(site: &Site, json: &str) -> SessionKey {
    let value: serde_json::Value = serde_json::from_str(json).unwrap();
    site.visitor(|session| session.set("settings", &value).unwrap())
        .await
}

async fn stored(site: &Site, key: &SessionKey) -> String {
    let session = site.stored(key).await.expect("it lives");
    session
        .snapshot()
        .json("settings")
        .unwrap_or("-")
        .to_owned()
}

async fn change(site: &Site, key: &SessionKey, change: impl FnOnce(&SessionBase)) {
    let request = site.request(Some(key));
    change(&request.session().await);
    request.finish().await.expect_done();
}

#[tokio::test]
async fn a_view_of_version_1_is_what_its_field_has_always_been() {
    let site = Site::new();
    let key = visitor_with(&site, r#"{"visits":5}"#).await;
    let session = site.stored(&key).await.unwrap();
    let view = session.view::<Before>();
    let expected = Before {
        visits: 5,
        ..Before::default()
    };
    assert!(view.is_set());
    assert_eq!(
        view.get().unwrap(),
        expected,
        "a missing field has its default"
    );
    view.modify(|settings| settings.visits += 1).unwrap();
    session.save().await.unwrap();
    assert_eq!(stored(&site, &key).await, r#"{"language":"","visits":6}"#);
    assert_eq!(
        session.get(Before::FIELD).unwrap(),
        Some(view.get().unwrap())
    );
    assert!(view.remove() && !view.remove() && !view.is_set());
    assert_eq!(view.get().unwrap(), Before::default());
    session.save().await.unwrap();
}

#[tokio::test]
async fn an_old_value_is_upgraded_once_and_stored_with_its_version() {
    let site = Site::new();
    let key = visitor(&site).await;
    let request = site.request(Some(&key));
    let session = request.session().await;
    let view = session.view::<Settings>();
    for _ in 0..3 {
        assert_eq!(view.get().unwrap(), settings(&["en"], 5));
    }
    view.modify(|settings| settings.visits += 1).unwrap();
    request.finish().await.expect_done();
    assert_eq!(upgrades(), 1);
    let expected = r#"{"_version":3,"languages":["en"],"visits":6}"#;
    assert_eq!(stored(&site, &key).await, expected);
    let request = site.request(Some(&key));
    let session = request.session().await;
    assert_eq!(
        session.view::<Settings>().get().unwrap(),
        settings(&["en"], 6)
    );
    assert!(
        !session.is_modified(),
        "a read of what is current is a change"
    );
    request.finish().await.expect_done();
    assert_eq!(upgrades(), 0, "what is stored is upgraded again");
}

#[tokio::test]
async fn a_commit_that_is_tried_again_upgrades_nothing_anew() {
    for reads_first in [true, false] {
        let site = Site::new();
        let key = visitor(&site).await;
        let request = site.request(Some(&key));
        let session = request.session().await;
        let view = session.view::<Settings>();
        if reads_first {
            view.get().unwrap();
        }
        view.modify(|settings| settings.visits += 1).unwrap();
        change(&site, &key, |session| session.set("other", &1).unwrap()).await;
        request.finish().await.expect_done();
        assert_eq!(upgrades(), 1, "reads first: {reads_first}");
        assert_eq!(view.get().unwrap(), settings(&["en"], 6));
    }
}

#[tokio::test]
async fn two_requests_that_upgrade_at_the_same_time_lose_no_change() {
    let site = Site::new();
    let key = visitor(&site).await;
    let gate = site.store.hold(Operation::Save);
    let slow = async {
        let request = site.request(Some(&key));
        let session = request.session().await;
        let view = session.view::<Settings>();
        view.modify(|settings| settings.visits += 1).unwrap();
        request.finish().await.expect_done();
        view.get().unwrap()
    };
    let fast = async {
        gate.reached().await;
        let session = site.stored(&key).await.unwrap();
        let view = session.view::<Settings>();
        let counted = view.modify_now(|settings| {
            settings.visits += 1;
            settings.visits
        });
        assert_eq!(counted.await.unwrap(), 6);
        gate.release();
    };
    let (seen, ()) = tokio::join!(slow, fast);
    assert_eq!(seen, settings(&["en"], 7));
    assert_eq!(
        upgrades(),
        2,
        "once by each, and never on what the other has upgraded"
    );
}

#[tokio::test]
async fn what_a_server_of_the_last_release_stores_meanwhile_is_upgraded_as_well() {
    let site = Site::new();
    let key = visitor(&site).await;
    let request = site.request(Some(&key));
    let session = request.session().await;
    let view = session.view::<Settings>();
    view.modify(|settings| settings.languages.push("fi".to_owned()))
        .unwrap();
    change(&site, &key, |session| {
        session
            .view::<Before>()
            .modify(|settings| settings.visits = 40)
            .unwrap();
    })
    .await;
    request.finish().await.expect_done();
    assert_eq!(view.get().unwrap(), settings(&["en", "fi"], 40));
}

#[tokio::test]
async fn the_last_release_refuses_what_the_next_one_has_stored_and_leaves_it() {
    let site = Site::new();
    let key = visitor(&site).await;
    change(&site, &key, |session| {
        drop(session.view::<Settings>().get().unwrap());
    })
    .await;
    let before = stored(&site, &key).await;
    let session = site.stored(&key).await.unwrap();
    let view = session.view::<Before>();
    let failures = [
        view.get().unwrap_err(),
        view.modify(|settings| settings.visits = 0).unwrap_err(),
        view.modify_now(|settings| settings.visits = 0)
            .await
            .unwrap_err(),
    ];
    for failure in failures {
        assert_eq!(
            failure.to_string(),
            r#"the session's value "settings" has version 3, and can't be brought to version 1"#
        );
    }
    session.set("n", &2).unwrap();
    session.save().await.unwrap();
    assert_eq!(stored(&site, &key).await, before, "it is lost");
}

#[tokio::test]
async fn a_value_that_can_not_be_upgraded_is_named_kept_and_not_printed() {
    for (json, found) in [
        (r#"{"language":["canary"],"visits":5}"#, 1),
        (r#"{"_version": 2, "language": "canary"}"#, 2),
        (r#"{"language": "canary", "_version": 4}"#, 4),
        (r#""canary""#, 1),
    ] {
        let site = Site::new();
        let key = visitor_with(&site, json).await;
        let before = stored(&site, &key).await;
        let request = site.request(Some(&key));
        let session = request.session().await;
        let view = session.view::<Settings>();
        let failures = [
            view.get().unwrap_err(),
            view.modify(|settings| settings.visits = 0).unwrap_err(),
            view.modify_now(|settings| settings.visits = 0)
                .await
                .unwrap_err(),
        ];
        for failure in failures {
            let version = match &failure {
                SessionError::NotUpgradable {
                    name,
                    found,
                    wanted: 3,
                    ..
                } => {
                    assert_eq!(name, "settings");
                    *found
                }
                other => panic!("{json}: {other:?}"),
            };
            assert_eq!(version, found);
            let mut chain = format!("{failure:?}");
            let mut next: Option<&dyn Error> = Some(&failure);
            while let Some(error) = next {
                chain += &error.to_string();
                next = error.source();
            }
            assert!(!chain.contains("canary"), "{chain}");
        }
        let is_asked = upgrades() > 0;
        assert_eq!(is_asked, found < 3, "nobody knows a way back");
        session.set("n", &2).unwrap();
        request.finish().await.expect_done();
        assert_eq!(stored(&site, &key).await, before, "it is lost");
        let session = site.stored(&key).await.unwrap();
        session.view().set(&settings(&["de"], 0)).unwrap();
        session.save().await.unwrap();
        assert_eq!(
            stored(&site, &key).await,
            r#"{"_version":3,"languages":["de"],"visits":0}"#
        );
    }
}

#[tokio::test]
async fn an_upgrade_that_is_not_stored_is_done_again() {
    let site = Site::new();
    let key = visitor(&site).await;
    let before = stored(&site, &key).await;
    for _ in 0..2 {
        let request = site.request(Some(&key));
        request.session().await.view::<Settings>().get().unwrap();
        request.finish_with_5xx().await.expect_done();
        assert_eq!(stored(&site, &key).await, before);
        assert_eq!(upgrades(), 1);
    }
    let session = site.stored(&key).await.unwrap();
    let view = session.view::<Settings>();
    let refused = view.try_modify_now(|settings| {
        settings.visits = 0;
        Err::<(), _>("sold out")
    });
    assert_eq!(refused.await.unwrap(), Err("sold out"));
    assert_eq!(stored(&site, &key).await, before);
}

#[test]
fn a_read_where_no_commit_comes_leaves_nothing_that_would_be_lost() {
    let site = Site::new();
    let lines = told(async || {
        let key = visitor(&site).await;
        let loaded = site.stored(&key).await.unwrap();
        let request = site.request(Some(&key));
        let late = request.session().await;
        request.finish().await.expect_done();
        for session in [&loaded, &late] {
            assert_eq!(
                session.view::<Settings>().get().unwrap(),
                settings(&["en"], 5)
            );
            assert!(!session.is_modified());
        }
        drop(loaded);
        let stream = late.detach();
        let view = stream.save(|session| session.view::<Settings>().modify(|one| one.visits += 1));
        view.await.unwrap();
        assert_eq!(late.view::<Settings>().get().unwrap(), settings(&["en"], 6));
    });
    assert_eq!(times(&lines, "session_changes_lost"), 0, "{lines:#?}");
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct Clash {
    _version: u32,
}

impl View for Clash {
    const FIELD: Field<Self> = Field::new("clash");
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct List(Vec<u32>);

impl View for List {
    const FIELD: Field<Self> = Field::new("list");
    const VERSION: u32 = 2;
}

#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
struct Deep(Vec<std::collections::BTreeMap<String, u32>>);

impl View for Deep {
    const FIELD: Field<Self> = Field::new("deep");
}

#[tokio::test]
async fn what_has_no_place_for_a_version_is_refused_when_it_is_set() {
    let site = Site::new();
    let request = site.request(None);
    let session = request.session().await;
    let refused = [
        session.view::<Clash>().set(&Clash::default()).unwrap_err(),
        session.view::<List>().set(&List(vec![1])).unwrap_err(),
        session
            .view::<List>()
            .modify(|list| list.0.push(1))
            .unwrap_err(),
    ];
    for error in refused {
        assert!(
            matches!(error, SessionError::NotSerializable { .. }),
            "{error:?}"
        );
    }
    session.set("list", &[1, 2]).unwrap();
    let no_way = session.view::<List>().get().unwrap_err();
    assert!(
        matches!(no_way, SessionError::NotUpgradable { found: 1, .. }),
        "{no_way:?}"
    );
    let deep = Deep(vec![[("_version".to_owned(), 7)].into()]);
    session.view().set(&deep).unwrap();
    assert_eq!(
        session.view::<Deep>().get().unwrap(),
        deep,
        "that one is its own"
    );
    let shown = format!("{:?}", session.view::<Deep>());
    assert!(shown.contains("deep") && !shown.contains('7'), "{shown}");
}
