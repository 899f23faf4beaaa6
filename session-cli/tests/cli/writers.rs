//! Visitors of an application whose sessions are on the move, and what they must not notice.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use session_core::store::StoreKey;
use session_core::{SessionBase, SessionManager};

use crate::support::{logged_in, started};

/// One visitor: begins, changes, logs in, logs out, over and over.
pub(crate) async fn visit(
    manager: SessionManager,
    visitor: usize,
    is_over: Arc<AtomicBool>,
) -> Vec<SessionBase> {
    let mut alive: Vec<SessionBase> = Vec::new();
    let mut turn = visitor;
    while !is_over.load(Ordering::Relaxed) {
        turn += 1;
        match turn % 5 {
            0 => alive.push(started(&manager, "nobody").await),
            1 => alive.push(logged_in(&manager, &format!("owner {visitor}"), "").await),
            2 => {
                if let Some(session) = alive.last() {
                    session.set("turn", &turn).unwrap();
                    session.save().await.unwrap();
                }
            }
            3 => {
                if let Some(session) = alive.first() {
                    session.cycle_key();
                    session.save().await.unwrap();
                }
            }
            _ => {
                // As many as a visitor has devices, so that every copy finds many that have ended.
                while alive.len() > 6 {
                    let session = alive.remove(1);
                    session.log_out();
                    session.save().await.unwrap();
                }
            }
        }
    }
    alive
}

#[track_caller]
pub(crate) fn assert_same(before: &BTreeMap<StoreKey, String>, after: &BTreeMap<StoreKey, String>) {
    let lost = before.keys().filter(|key| !after.contains_key(key)).count();
    let back = after.keys().filter(|key| !before.contains_key(key)).count();
    assert_eq!(
        (lost, back),
        (0, 0),
        "sessions that are lost, and that have ended and live on"
    );
    assert_eq!(before, after, "a session is not as it was last written");
}
