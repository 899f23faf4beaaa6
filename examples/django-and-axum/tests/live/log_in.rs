//! Who logs in, logs out, or gets a new password on one side has done so on the other.

use axum::http::StatusCode;

use crate::support::{Place, on_each_database};

on_each_database!(
    a_log_in_on_django_is_one_on_rust,
    a_log_in_on_rust_is_one_on_django,
    a_log_out_on_either_side_ends_the_session_on_both,
    a_new_password_ends_the_other_browsers_sessions_on_both_sides,
    who_is_no_longer_active_is_nobody_on_both_sides,
);

async fn a_log_in_on_django_is_one_on_rust(place: &Place) {
    place.add_user("from-django").await;
    let both = place.both().await;
    let visitor = both.browser();
    visitor
        .post("/rust/remember", &[("name", "cart"), ("value", "7")])
        .await;
    let key_before = visitor.key();
    visitor.log_in("/login/", "from-django").await;
    let said = visitor.both().await;
    assert_eq!(
        said.user.as_deref(),
        Some("from-django"),
        "Rust does not know them"
    );
    assert_eq!(
        said.things["cart"], "7",
        "the log-in lost what the visitor had"
    );
    assert!(
        key_before != visitor.key(),
        "the log-in kept the visitor's key"
    );
}

async fn a_log_in_on_rust_is_one_on_django(place: &Place) {
    place.add_user("from-rust").await;
    let both = place.both().await;
    let visitor = both.browser();
    let wrong = [("username", "from-rust"), ("password", "wrong")];
    let refused = visitor.post_any("/rust/login", &wrong).await;
    assert_eq!(refused.status, StatusCode::UNAUTHORIZED);
    assert_eq!(
        visitor.both().await.user,
        None,
        "a wrong password let them in"
    );

    visitor
        .post("/remember", &[("name", "cart"), ("value", "7")])
        .await;
    let before = visitor.thief();
    visitor.log_in("/rust/login", "from-rust").await;
    let said = visitor.both().await;
    assert_eq!(
        said.user.as_deref(),
        Some("from-rust"),
        "Django does not know them"
    );
    assert_eq!(
        said.things["cart"], "7",
        "the log-in lost what the visitor had"
    );
    let said = before.both().await;
    assert_eq!(
        said.user, None,
        "the key from before the log-in is logged in"
    );
    assert!(
        said.things.is_empty(),
        "the key from before the log-in still opens the session"
    );
}

async fn a_log_out_on_either_side_ends_the_session_on_both(place: &Place) {
    place.add_user("leaver").await;
    let both = place.both().await;
    for (log_in, log_out) in [("/login/", "/rust/logout"), ("/rust/login", "/logout/")] {
        let visitor = both.browser();
        visitor.log_in(log_in, "leaver").await;
        assert!(visitor.both().await.user.is_some());
        let thief = visitor.thief();
        visitor.post(log_out, &[]).await;
        assert_eq!(visitor.key(), None, "{log_out} left the cookie");
        for browser in [visitor, thief] {
            let said = browser.both().await;
            assert_eq!(said.user, None, "{log_out} left somebody logged in");
        }
    }
}

async fn a_new_password_ends_the_other_browsers_sessions_on_both_sides(place: &Place) {
    place.add_user("changer").await;
    let both = place.both().await;
    let (here, elsewhere, on_rust) = (both.browser(), both.browser(), both.browser());
    here.log_in("/login/", "changer").await;
    elsewhere.log_in("/login/", "changer").await;
    on_rust.log_in("/rust/login", "changer").await;
    let form = [
        ("old_password", "changer"),
        ("new_password1", "a new one"),
        ("new_password2", "a new one"),
    ];
    here.post("/password/", &form).await;

    for browser in [&elsewhere, &on_rust] {
        let said = browser.rust().await;
        assert_eq!(said.user, None, "a session outlived its password on Rust");
        assert_eq!(browser.django().await.user, None);
    }
    let said = here.both().await;
    assert_eq!(
        said.user.as_deref(),
        Some("changer"),
        "who changed it was logged out"
    );
    let old = [("username", "changer"), ("password", "changer")];
    let refused = on_rust.post_any("/rust/login", &old).await;
    assert_eq!(
        refused.status,
        StatusCode::UNAUTHORIZED,
        "the old password lets them in"
    );
}

async fn who_is_no_longer_active_is_nobody_on_both_sides(place: &Place) {
    place.add_user("dismissed").await;
    let both = place.both().await;
    let visitor = both.browser();
    visitor.log_in("/rust/login", "dismissed").await;
    assert!(visitor.both().await.user.is_some());
    place
        .execute("UPDATE auth_user SET is_active = (1 = 0) WHERE username = 'dismissed'")
        .await;
    assert_eq!(
        visitor.both().await.user,
        None,
        "somebody who is not active is let in"
    );
}
