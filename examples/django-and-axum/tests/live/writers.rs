//! Many at once: what is written on Rust is not lost, whatever else goes on.

use tokio::task::JoinSet;

use crate::support::{Place, on_each_database};

on_each_database!(
    fifty_writers_on_rust_lose_nothing_beside_readers_on_django,
    clearsessions_takes_what_has_expired_and_nothing_of_the_writers,
);

async fn fifty_writers_on_rust_lose_nothing_beside_readers_on_django(place: &Place) {
    const WRITERS: u64 = 50;
    const READERS: u64 = 4;
    place.add_user("busy").await;
    let both = place.both().await;
    let visitor = both.browser();
    visitor.log_in("/login/", "busy").await;

    let mut writers = JoinSet::new();
    for _ in 0..WRITERS {
        let tab = visitor.clone();
        writers.spawn(async move { tab.post("/rust/count", &[]).await });
    }
    let mut readers = JoinSet::new();
    for _ in 0..READERS {
        let tab = visitor.clone();
        readers.spawn(async move {
            let mut last = 0;
            while last < WRITERS {
                let said = tab.django().await;
                assert_eq!(
                    said.user.as_deref(),
                    Some("busy"),
                    "a reader was logged out"
                );
                let count = said.things.get("count").and_then(|count| count.as_u64());
                let count = count.unwrap_or_default();
                assert!(last <= count, "Django saw {count} after {last}");
                last = count;
            }
        });
    }
    // A reader goes on until it has seen every press: a lost one is noticed here, before anybody waits for it.
    while let Some(written) = writers.join_next().await {
        written.unwrap();
    }
    assert_eq!(
        visitor.rust().await.things["count"],
        WRITERS,
        "presses were lost"
    );
    while let Some(read) = readers.join_next().await {
        read.unwrap();
    }
    assert_eq!(visitor.both().await.things["count"], WRITERS);
}

async fn clearsessions_takes_what_has_expired_and_nothing_of_the_writers(place: &Place) {
    const EXPIRED: usize = 3;
    const WRITERS: usize = 10;
    let both = place.both().await;
    let mut expired = Vec::new();
    for _ in 0..EXPIRED {
        let visitor = both.browser();
        visitor.post("/rust/count", &[]).await;
        expired.push(visitor.key().unwrap());
        visitor.post("/expire", &[("at", "946684800")]).await;
    }
    assert_eq!(
        place.rows(&expired).await,
        EXPIRED,
        "Django keeps what has expired"
    );

    let mut clearing = place.manage(&["clearsessions"]).spawn().unwrap();
    let (cleared, is_clearing) = tokio::sync::watch::channel(true);
    let mut writers = JoinSet::new();
    for _ in 0..WRITERS {
        let (visitor, is_clearing) = (both.browser(), is_clearing.clone());
        writers.spawn(async move {
            let mut presses = 0_u64;
            loop {
                // Asked before the press, so that the last one comes after the clearing.
                let is_last = !*is_clearing.borrow();
                visitor.post("/rust/count", &[]).await;
                presses += 1;
                if is_last {
                    return (visitor, presses);
                }
            }
        });
    }
    let status = clearing.wait().await.unwrap();
    cleared.send_replace(false);
    assert!(status.success(), "clearsessions failed beside our writers");
    while let Some(writer) = writers.join_next().await {
        let (visitor, presses) = writer.unwrap();
        assert_eq!(
            visitor.both().await.things["count"],
            presses,
            "presses were lost"
        );
    }
    assert_eq!(
        place.rows(&expired).await,
        0,
        "what has expired is still there"
    );
}
