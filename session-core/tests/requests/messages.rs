//! Messages for the next page: none is lost between parallel requests, and none is shown twice by those who take them.
use session_core::conformance::{Gate, Operation};
use session_core::{
    Message, MessageLevel, SessionBase, SessionData, SessionError, SessionKey, SessionManager,
};

use crate::support::{Site, poll_once};

fn texts(messages: &[Message]) -> Vec<&str> {
    messages.iter().map(Message::text).collect()
}

async fn visitor(site: &Site) -> SessionKey {
    site.visitor(|session| {
        session.set("n", &1).unwrap();
        session.messages().info("old").unwrap();
    })
    .await
}

async fn stored(site: &Site, key: &SessionKey) -> Vec<String> {
    let session = site.stored(key).await.expect("it lives");
    let messages = session.messages().peek().unwrap();
    messages.iter().map(|one| one.text().to_owned()).collect()
}

async fn change(site: &Site, key: &SessionKey, change: impl FnOnce(&SessionBase)) {
    let request = site.request(Some(key));
    change(&request.session().await);
    request.finish().await.expect_done();
}

#[tokio::test]
async fn what_one_page_pushes_the_next_one_takes() {
    let site = Site::new();
    let key = visitor(&site).await;
    change(&site, &key, |session| {
        session.messages().success("saved").unwrap();
        session.messages().error("but").unwrap();
    })
    .await;
    let request = site.request(Some(&key));
    let session = request.session().await;
    assert_eq!(
        texts(&session.messages().peek().unwrap()),
        ["old", "saved", "but"]
    );
    let taken = session.messages().take().await.unwrap();
    assert_eq!(texts(&taken), ["old", "saved", "but"]);
    assert_eq!(taken[2].level(), MessageLevel::ERROR);
    assert!(session.messages().peek().unwrap().is_empty());
    assert!(session.messages().take().await.unwrap().is_empty());
    request.finish().await.expect_done();
    let session = site.stored(&key).await.unwrap();
    assert_eq!(session.snapshot().to_json(), r#"{"n":1}"#);
}

#[tokio::test]
async fn no_messages_cost_no_write_and_a_visitor_without_a_session_gets_none() {
    let site = Site::new();
    let key = site.visitor(|session| session.set("n", &1).unwrap()).await;
    site.calls();
    let request = site.request(Some(&key));
    let session = request.session().await;
    assert!(session.messages().take().await.unwrap().is_empty());
    assert!(session.messages().pop().unwrap().is_empty());
    assert!(!session.is_modified());
    request.finish().await.expect_done();
    assert_eq!(site.calls(), 1, "only the session was loaded");
    let request = site.request(None);
    let session = request.session().await;
    session.messages().info("at once").unwrap();
    let taken = session.messages().take().await.unwrap();
    assert_eq!(texts(&taken), ["at once"], "a page shows its own messages");
    assert_eq!(request.finish().await.word(), "accessed");
    assert_eq!(site.calls(), 0, "a record was made for nothing");
}

#[tokio::test]
async fn two_pages_that_take_at_the_same_time_show_each_message_once() {
    for slow in [Operation::Save, Operation::Load] {
        let site = Site::new();
        let key = visitor(&site).await;
        let gate = site.store.hold(slow);
        let page = || {
            let (manager, key) = (site.manager.clone(), same(&key));
            tokio::spawn(async move { take(&manager, &key).await })
        };
        let first = page();
        gate.reached().await;
        let second = page().await.unwrap();
        gate.release();
        let mut shown = first.await.unwrap();
        shown.extend(second);
        assert_eq!(shown, ["old"], "{slow:?}: lost, or shown twice");
    }
}

fn same(key: &SessionKey) -> SessionKey {
    SessionKey::parse(key.expose_secret().as_bytes()).unwrap()
}

async fn take(manager: &SessionManager, key: &SessionKey) -> Vec<String> {
    let session = manager.load(key).await.unwrap().expect("it lives");
    let taken = session.messages().take().await.unwrap();
    taken.iter().map(|one| one.text().to_owned()).collect()
}

#[tokio::test]
async fn what_is_pushed_while_another_page_takes_or_pops_is_kept_for_one_of_them() {
    for pops in [false, true] {
        let site = Site::new();
        let key = visitor(&site).await;
        let gate = site.store.hold(Operation::Save);
        let page = async {
            let request = site.request(Some(&key));
            let session = request.session().await;
            let shown = if pops {
                session.messages().pop().unwrap()
            } else {
                session.messages().take().await.unwrap()
            };
            request.finish().await.expect_done();
            texts(&shown).join(",")
        };
        let push = async {
            gate.reached().await;
            change(&site, &key, |session| {
                session.messages().info("new").unwrap();
            })
            .await;
            gate.release();
        };
        let (shown, ()) = tokio::join!(page, push);
        let left = stored(&site, &key).await.join(",");
        let expected = if pops {
            ("old", "new")
        } else {
            ("old,new", "")
        };
        assert_eq!((&*shown, &*left), expected, "pops: {pops}");
    }
}

#[tokio::test]
async fn what_was_popped_is_gone_with_its_name_also_beside_another_request() {
    for is_beside in [false, true] {
        let site = Site::new();
        let key = visitor(&site).await;
        let request = site.request(Some(&key));
        let session = request.session().await;
        assert_eq!(texts(&session.messages().pop().unwrap()), ["old"]);
        assert!(session.messages().peek().unwrap().is_empty());
        if is_beside {
            change(&site, &key, |session| session.set("n", &2).unwrap()).await;
        }
        request.finish().await.expect_done();
        let left = site.stored(&key).await.unwrap().snapshot().to_json();
        let expected = if is_beside {
            r#"{"n":2}"#
        } else {
            r#"{"n":1}"#
        };
        assert_eq!(left, expected);
    }
}

#[tokio::test]
async fn a_pop_removes_what_it_has_shown_and_nothing_else() {
    let site = Site::new();
    let key = visitor(&site).await;
    let request = site.request(Some(&key));
    let session = request.session().await;
    assert_eq!(texts(&session.messages().pop().unwrap()), ["old"]);
    let other = site.stored(&key).await.unwrap();
    assert_eq!(texts(&other.messages().take().await.unwrap()), ["old"]);
    let now = Message::new(MessageLevel::INFO, "new");
    other.messages().push_now(now).await.unwrap();
    request.finish().await.expect_done();
    assert_eq!(stored(&site, &key).await, ["new"], "nobody has seen it");
}

#[tokio::test]
async fn messages_that_two_requests_push_are_both_kept() {
    let site = Site::new();
    let key = visitor(&site).await;
    let request = site.request(Some(&key));
    let session = request.session().await;
    session.messages().info("one").unwrap();
    change(&site, &key, |session| {
        session.messages().info("two").unwrap();
    })
    .await;
    let other = site.stored(&key).await.unwrap();
    let now = Message::new(MessageLevel::INFO, "three");
    other.messages().push_now(now).await.unwrap();
    let now = Message::new(MessageLevel::INFO, "four");
    session.messages().push_now(now).await.unwrap();
    assert_eq!(
        texts(&session.messages().peek().unwrap()),
        ["old", "two", "three", "four", "one"]
    );
    request.finish().await.expect_done();
    assert_eq!(
        stored(&site, &key).await,
        ["old", "two", "three", "four", "one"]
    );
}

#[tokio::test]
async fn a_page_that_fails_drops_what_was_done_and_keeps_what_was_to_be_shown() {
    let site = Site::new();
    let key = visitor(&site).await;
    let request = site.request(Some(&key));
    let session = request.session().await;
    assert_eq!(texts(&session.messages().pop().unwrap()), ["old"]);
    session.messages().success("saved").unwrap();
    let failed = Message::new(MessageLevel::ERROR, "failed");
    session.messages().push_now(failed).await.unwrap();
    request.finish_with_5xx().await.expect_done();
    assert_eq!(stored(&site, &key).await, ["old", "failed"]);
    let request = site.request(Some(&key));
    assert_eq!(request.session().await.messages().pop().unwrap().len(), 2);
    request.finish_with_5xx().await.expect_done();
    assert_eq!(stored(&site, &key).await.len(), 2, "nobody has seen them");
}

#[tokio::test]
async fn the_oldest_message_gives_way_beyond_the_limit() {
    let site = Site::new();
    let key = visitor(&site).await;
    for number in 0..70 {
        change(&site, &key, |session| {
            session.messages().info(number.to_string()).unwrap();
        })
        .await;
    }
    let left = stored(&site, &key).await;
    assert_eq!(left.len(), 64);
    assert_eq!((&*left[0], &*left[63]), ("6", "69"));
}

#[tokio::test]
async fn messages_are_those_that_django_writes_and_reads() {
    // Written by Django 5.2.19's SessionStorage, and as it would be without extra tags.
    let written = r#"[["__json_message", 0, 25, "Saved \u201cit\u201d <now>.", ""], ["__json_message", 0, 40, "no", "big red"], ["__json_message", 1, 30, "<b>x</b>", ""], ["__json_message", 0, 42, "own"]]"#;
    let site = Site::new();
    let session = with_raw(&site, &serde_json::to_string(written).unwrap()).await;
    let messages = session.messages().peek().unwrap();
    let seen: Vec<_> = messages
        .iter()
        .map(|one| (one.level().number(), one.text(), one.tags(), one.is_html()))
        .collect();
    let expected = [
        (25, "Saved “it” <now>.", "success".to_owned(), false),
        (40, "no", "big red error".to_owned(), false),
        (30, "<b>x</b>", "warning".to_owned(), true),
        (42, "own", String::new(), false),
    ];
    assert_eq!(seen, expected);
    let taken = session.messages().take().await.unwrap();
    assert_eq!(taken, messages);
    for message in taken {
        session.messages().push(message).unwrap();
    }
    let own = Message::new(MessageLevel::DEBUG, "x").with_extra_tags("y");
    session.messages().push(own).unwrap();
    let text: String = session.get("_messages").unwrap().unwrap();
    assert_eq!(
        text,
        r#"[["__json_message",0,25,"Saved “it” <now>.",""],["__json_message",0,40,"no","big red"],["__json_message",1,30,"<b>x</b>",""],["__json_message",0,42,"own",""],["__json_message",0,10,"x","y"]]"#
    );
    session.save().await.unwrap();
}

/// A session whose messages are this JSON.
async fn with_raw(site: &Site, json: &str) -> SessionBase {
    use session_core::store::{Change, ExpiryChange, Page, Payload, Saved, SessionStore};

    let key = visitor(site).await;
    let now = session_core::Clock::now(&site.clock);
    let scan = site.store.scan().expect("memory can be scanned");
    let page = scan.page(Page::first(10)).await.unwrap();
    let (place, record) = page.into_iter().next().expect("one record");
    let mut data = SessionData::default();
    data.insert_json("_messages", json).unwrap();
    let change = Change::new(Payload::from_bytes(data.to_json()), ExpiryChange::Keep);
    let saved = site.store.save(&place, &record.version, change, now).await;
    assert!(matches!(saved, Ok(Saved::Stored(_))));
    site.stored(&key).await.expect("it lives")
}

#[tokio::test]
async fn what_is_no_list_of_messages_is_an_error_and_stays() {
    for json in [
        "7",
        "[]",
        r#""""#,
        r#""{}""#,
        r#""[1]""#,
        r#""[[]]""#,
        r#""[[\"other\",0,25,\"canary\",\"\"]]""#,
        r#""[[\"__json_message\",0,25]]""#,
        r#""[[\"__json_message\",0,\"25\",\"canary\"]]""#,
        r#""[[\"__json_message\",0,25,\"canary\",7]]""#,
    ] {
        let site = Site::new();
        let session = with_raw(&site, json).await;
        let messages = session.messages();
        let now = Message::new(MessageLevel::INFO, "x");
        let failures = [
            messages.peek().unwrap_err(),
            messages.pop().unwrap_err(),
            messages.info("x").unwrap_err(),
            messages.push_now(now).await.unwrap_err(),
            messages.take().await.unwrap_err(),
        ];
        for failure in failures {
            let SessionError::WrongType { name, .. } = &failure else {
                panic!("{json}: {failure:?}")
            };
            assert_eq!(name, "_messages");
            assert!(!format!("{failure:?}").contains("canary"), "{failure:?}");
        }
        session.save().await.unwrap();
        assert_eq!(
            session.snapshot().json("_messages"),
            Some(json),
            "it is lost"
        );
    }
}

#[tokio::test]
async fn the_name_is_reserved_and_a_text_is_not_printed() {
    let site = Site::new();
    let key = visitor(&site).await;
    let session = site.stored(&key).await.unwrap();
    assert!(!session.remove("_messages"));
    let refused = session.take::<String>("_messages").await;
    assert!(matches!(refused, Err(SessionError::ReservedName { .. })));
    let message = Message::new(MessageLevel::new(7), "canary").with_extra_tags("canary");
    let shown = format!("{message:?} {:?}", session.messages());
    assert!(
        !shown.contains("canary") && !shown.contains("old"),
        "{shown}"
    );
    assert!(shown.contains("MessageLevel(7)"), "{shown}");
}

#[tokio::test]
async fn a_take_that_is_dropped_has_happened_or_not() {
    type Hold = fn(&Site) -> Gate;
    let rows: [(Hold, usize); 2] = [
        (|site| site.store.hold(Operation::Save), 1),
        (|site| site.store.hold_answer(Operation::Save), 0),
    ];
    for (hold, left) in rows {
        let site = Site::new();
        let key = visitor(&site).await;
        let session = site.stored(&key).await.unwrap();
        let gate = hold(&site);
        let mut take = Box::pin(session.messages().take());
        assert!(poll_once(&mut take).await.is_none());
        assert!(gate.is_reached());
        drop(take);
        assert_eq!(stored(&site, &key).await.len(), left);
    }
}
