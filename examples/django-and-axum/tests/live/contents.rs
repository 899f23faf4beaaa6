//! What one side puts into a session, the other finds there.

use crate::support::{Place, on_each_database};

on_each_database!(
    what_one_side_writes_the_other_reads,
    names_and_emoji_survive_ten_round_trips,
);

async fn what_one_side_writes_the_other_reads(place: &Place) {
    let both = place.both().await;
    for (first, second) in [("/count", "/rust/count"), ("/rust/count", "/count")] {
        let visitor = both.browser();
        for (presses, path) in [first, second, second, first].into_iter().enumerate() {
            visitor.post(path, &[]).await;
            let said = visitor.both().await;
            assert_eq!(said.things["count"], presses + 1, "{path} did not count on");
        }
        let key = visitor.key();
        visitor
            .post("/remember", &[("name", "from"), ("value", "Django")])
            .await;
        visitor
            .post("/rust/remember", &[("name", "and"), ("value", "Rust")])
            .await;
        let said = visitor.both().await;
        assert_eq!(said.things.len(), 3, "somebody's things are gone");
        assert_eq!(said.things["from"], "Django");
        assert_eq!(said.things["and"], "Rust");
        assert!(key == visitor.key(), "a write changed the key");
    }
}

async fn names_and_emoji_survive_ten_round_trips(place: &Place) {
    // Latin, Cyrillic, Han, both quotes and a backslash; an emoji of several code points, and what JSON escapes.
    const NAMES: [&str; 3] = ["Zoë Ångström", "Анна 安娜", "\"it's\" \\ 👩🏽‍🚀"];
    const END: &str = " \u{1}\u{7f}\u{2028}<&>é\u{fffd}🦀";
    let both = place.both().await;
    let visitor = both.browser();
    let mut expected = [String::new(), String::new(), String::new()];
    for _ in 0..10 {
        for path in ["/remember", "/rust/remember"] {
            for (name, text) in NAMES.iter().zip(&mut expected) {
                // Each side writes what the other has read.
                let reader = if path == "/remember" {
                    visitor.rust().await
                } else {
                    visitor.django().await
                };
                let read = reader.things.get(*name).and_then(|value| value.as_str());
                assert_eq!(read.unwrap_or_default(), text, "{name} was garbled");
                text.push_str(name);
                text.push_str(END);
                visitor.post(path, &[("name", name), ("value", text)]).await;
            }
        }
    }
    let said = visitor.both().await;
    for (name, text) in NAMES.iter().zip(&expected) {
        assert_eq!(said.things[*name], text.as_str(), "{name} was garbled");
    }
}
