//! What axum-login's users do, with our cookie, our store and our lists.

#[cfg(test)]
mod browser;

use axum::Router;
use session_http::{MemoryStore, SessionLayer};
use with_axum_login::site::site;

use crate::browser::Browser;

fn app() -> Router {
    site(SessionLayer::new(MemoryStore::new()))
}

#[tokio::test]
async fn a_visitor_logs_in_and_out_by_axum_login() {
    let mut browser = Browser::new(&app());
    assert_eq!(browser.get("/account").await, "307 /log-in");
    assert_eq!(browser.log_in("ada", "wrong").await, "422");
    assert_eq!(browser.log_in("ada", "analytical").await, "303 /account");
    assert_eq!(browser.get("/account").await, "200 ada");
    let copy = browser.jar.clone();
    assert_eq!(browser.post("/log-out", "").await, "303 /");
    assert_eq!(browser.get("/account").await, "307 /log-in");
    browser.jar = copy;
    assert_eq!(
        browser.get("/account").await,
        "307 /log-in",
        "the key opens something after the log-out"
    );
}

#[tokio::test]
async fn our_session_has_the_owner_and_keeps_the_cart_under_a_new_key() {
    let app = app();
    let mut browser = Browser::new(&app);
    browser.post("/cart", "").await;
    let planted = browser.jar.clone();
    browser.log_in("ada", "analytical").await;
    browser.post("/cart", "").await;
    assert_eq!(browser.get("/orders").await, "200 user 7, 2 in the cart");
    let mut attacker = Browser { app, jar: planted };
    assert!(attacker.get("/orders").await.starts_with("401"));
    assert_eq!(attacker.get("/account").await, "307 /log-in");
}

#[tokio::test]
async fn who_logs_in_as_somebody_else_finds_nothing_of_the_other() {
    let mut browser = Browser::new(&app());
    browser.log_in("ada", "analytical").await;
    browser.post("/cart", "").await;
    browser.log_in("bob", "engine").await;
    assert_eq!(browser.get("/account").await, "200 bob");
    assert_eq!(browser.get("/orders").await, "200 user 8, 0 in the cart");
}

#[tokio::test]
async fn one_log_out_everywhere_ends_what_axum_login_began_on_every_device() {
    let app = app();
    let (mut phone, mut laptop) = (Browser::new(&app), Browser::new(&app));
    phone.log_in("ada", "analytical").await;
    laptop.log_in("ada", "analytical").await;
    assert_eq!(phone.get("/devices").await, "200 2");
    assert_eq!(laptop.post("/log-out-everywhere", "").await, "200");
    for device in [&mut phone, &mut laptop] {
        assert_eq!(device.get("/account").await, "307 /log-in");
    }
}
