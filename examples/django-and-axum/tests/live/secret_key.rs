//! `SECRET_KEY` is changed: what the former one signed is believed for as long as it is among the fallbacks.

use crate::support::{Place, on_two_databases};

on_two_databases!(a_session_outlives_its_secret_key_on_both_sides);

async fn a_session_outlives_its_secret_key_on_both_sides(place: &Place) {
    const NEW: &str = "the new secret key of this walk";
    place.add_user("outlives").await;
    let before = place.both().await;
    let after = place.with_keys(NEW, &[place.secret_key()]).await;
    let at_last = place.with_keys(NEW, &[]).await;
    for (log_in, count) in [("/login/", "/rust/count"), ("/rust/login", "/count")] {
        let visitor = before.browser();
        visitor.log_in(log_in, "outlives").await;
        visitor.post(count, &[]).await;
        let forgotten = visitor.thief();

        let visitor = after.browser_with_cookies_of(&visitor);
        let key = visitor.key();
        // The first to look makes the hash of the password anew, under a new key.
        let said = if count == "/count" {
            visitor.django().await
        } else {
            visitor.rust().await
        };
        assert_eq!(
            said.user.as_deref(),
            Some("outlives"),
            "{log_in}: logged out"
        );
        assert!(key != visitor.key(), "the hash was not renewed");
        let said = visitor.both().await;
        assert_eq!(
            said.user.as_deref(),
            Some("outlives"),
            "{log_in}: logged out"
        );
        assert_eq!(said.things["count"], 1);

        // What was saved since is signed with the new key, and needs no fallback.
        let visitor = at_last.browser_with_cookies_of(&visitor);
        let said = visitor.both().await;
        assert_eq!(
            said.user.as_deref(),
            Some("outlives"),
            "{log_in}: not signed anew"
        );
        assert_eq!(said.things["count"], 1);
        let said = before.browser_with_cookies_of(&visitor).rust().await;
        assert_eq!(
            said.user, None,
            "a key that nobody has configured was believed"
        );
        assert!(
            forgotten.both().await.user.is_none(),
            "the former key of the session lives"
        );
    }
}
