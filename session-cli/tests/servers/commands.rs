//! Every command on every kind of server.

use std::sync::Arc;

use session_core::SessionManager;

use crate::place::Server;
use crate::support::{Ended, key, lives, logged_in, long_ago, now, sessions, tool};

const RING: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

#[tokio::test]
async fn every_command_works_on_every_server_and_shows_no_password() {
    for place in Server::ALL.into_iter().filter_map(Server::place) {
        let store = place.store().await;
        let manager = SessionManager::new(Arc::clone(&store));
        for _ in 0..3 {
            logged_in(&manager, "7", "phone").await;
        }
        logged_in(&manager, "8", "").await;
        for n in 0..10 {
            store
                .create(&key(n), lives(-30, "dead"), long_ago())
                .await
                .unwrap();
        }
        let run = |arguments: &[&str]| {
            let mut all = vec![arguments[0], "--json", "--store", &place.named];
            all.extend(&arguments[1..]);
            let ended = Ended::of(tool(&all).env("RING", RING).output().unwrap());
            assert!(
                !ended.out.contains(&place.password) && !ended.err.contains(&place.password),
                "the password is in: {}{}",
                ended.out,
                ended.err
            );
            ended.says("every user of this machine");
            Ended {
                err: String::new(),
                ..ended
            }
        };

        // A Redis as tests start it has no append-only file, which is worth a warning.
        let code = if place.forgets() { 3 } else { 0 };
        let checked = run(&["check"]).with(code).json();
        assert_eq!(checked["ready"], true, "{checked}");

        let counted = run(&["stats"]).with(0).json();
        assert_eq!(counted["live"], 4, "{:?}: {counted}", place.server);
        let dry = run(&["clear-expired", "--dry-run"]).with(0).json();
        assert_eq!(dry["expired"], counted["expired"]);
        let cleared = run(&["clear-expired"]).with(0).json();
        let expired = if place.forgets() { 0 } else { 10 };
        assert_eq!(cleared["removed"], expired, "{:?}", place.server);

        let listed = run(&["list", "--owner", "7"]).with(0).json();
        let handle = listed["sessions"][1]["handle"].as_str().unwrap().to_owned();
        run(&["show", "--owner", "7", &handle]).with(0);
        run(&["show", "--owner", "8", &handle]).with(5);
        assert_eq!(
            run(&["end", "--owner", "7", &handle]).with(0).json()["ended"],
            1
        );
        run(&["end", "--owner", "7", &handle]).with(5);
        let sealed = run(&["reseal", "--keys-env", "RING", "--accept-plain"])
            .with(0)
            .json();
        assert_eq!(sealed["resealed"], 3, "{:?}: {sealed}", place.server);
        assert_eq!(run(&["end-all", "--owner", "7"]).with(0).json()["ended"], 2);
        assert_eq!(run(&["stats"]).with(0).json()["live"], 1);
        assert!(store.load(&key(1), now()).await.unwrap().is_none());
    }
}

#[test]
fn a_server_that_does_not_let_the_tool_in_is_code_1_and_repeats_no_password() {
    for server in [Server::Postgres, Server::MariaDb, Server::Redis] {
        let Some(place) = server.place() else {
            continue;
        };
        let wrong = place.named.replace(&place.password, "swordfish");
        let ended = sessions(&["stats", "--store", &wrong]).with(1);
        assert!(!ended.err.contains("swordfish"), "{}", ended.err);
        let checked = sessions(&["check", "--json", "--store", &wrong]).with(4);
        assert!(!checked.out.contains("swordfish"), "{}", checked.out);
    }
}
