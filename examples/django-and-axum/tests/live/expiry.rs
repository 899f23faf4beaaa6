//! When one side says that a session ends, it ends on the other.

use crate::support::{Place, on_each_database};

on_each_database!(
    an_end_that_one_side_sets_is_the_others,
    a_session_that_ends_with_the_browser_does_so_on_both_sides,
    a_session_that_one_side_has_let_expire_is_gone_on_the_other,
);

/// The first second of 2100.
const FAR: u64 = 4_102_444_800;

async fn an_end_that_one_side_sets_is_the_others(place: &Place) {
    let both = place.both().await;
    for expire in ["/expire", "/rust/expire"] {
        let visitor = both.browser();
        visitor.post("/rust/count", &[]).await;
        visitor.post(expire, &[("at", &FAR.to_string())]).await;
        assert_eq!(
            visitor.django().await.expires_at,
            FAR,
            "{expire}, on Django"
        );
        assert_eq!(visitor.rust().await.expires_at, FAR, "{expire}, on Rust");
        // A later write on either side leaves it alone.
        for count in ["/count", "/rust/count"] {
            visitor.post(count, &[]).await;
            assert_eq!(visitor.django().await.expires_at, FAR, "{expire}, {count}");
            assert_eq!(visitor.rust().await.expires_at, FAR, "{expire}, {count}");
        }
    }
}

async fn a_session_that_ends_with_the_browser_does_so_on_both_sides(place: &Place) {
    let both = place.both().await;
    for (expire, count) in [("/expire", "/rust/count"), ("/rust/expire", "/count")] {
        let visitor = both.browser();
        visitor.post("/rust/count", &[]).await;
        visitor.post(expire, &[("in", "0")]).await;
        assert!(visitor.django().await.ends_with_the_browser, "{expire}");
        assert!(visitor.rust().await.ends_with_the_browser, "{expire}");
        // The other side, which sends the cookie again, leaves it to the browser as well.
        let cookie = visitor.post(count, &[]).await.cookie;
        let cookie = cookie.expect("a write sends the cookie again");
        let attributes = cookie
            .split_once(';')
            .map_or("", |(_, attributes)| attributes);
        assert!(
            !attributes.contains("Max-Age") && !attributes.contains("expires"),
            "{count} gave the cookie a time: {attributes}"
        );

        visitor.post(expire, &[("in", "3600")]).await;
        assert!(!visitor.django().await.ends_with_the_browser, "{expire}");
        assert!(!visitor.rust().await.ends_with_the_browser, "{expire}");
    }
}

async fn a_session_that_one_side_has_let_expire_is_gone_on_the_other(place: &Place) {
    let both = place.both().await;
    for expire in ["/expire", "/rust/expire"] {
        let visitor = both.browser();
        visitor.post("/rust/count", &[]).await;
        visitor.post("/count", &[]).await;
        let thief = visitor.thief();
        assert_eq!(thief.both().await.things["count"], 2);
        visitor.post(expire, &[("at", "946684800")]).await;
        let said = thief.both().await;
        assert!(said.things.is_empty(), "{expire} left the session alive");
    }
}
