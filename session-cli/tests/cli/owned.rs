//! One owner's sessions: list, show, end.

use crate::support::{Site, key, lives, logged_in, now, sessions, started};

#[tokio::test]
async fn an_owners_sessions_are_listed_shown_and_ended_by_handle() {
    for kind in Site::BOTH {
        let site = Site::migrated(kind);
        let manager = site.manager().await;
        let first = logged_in(&manager, "7", "Ada's \x1b[2Jlaptop").await;
        let second = logged_in(&manager, "7", "phone").await;
        let other = logged_in(&manager, "8", "").await;
        let nobodys = started(&manager, "nobody").await;
        let at =
            |command: &'static str| vec![command, "--store", &site.named, "--json", "--owner", "7"];

        let listed = sessions(&at("list")).with(0).json();
        let listed = listed["sessions"].as_array().unwrap();
        assert_eq!(listed.len(), 2);
        let one = listed.iter().find(|one| one["label"] == "phone").unwrap();
        assert!(
            one["created_at"].is_i64() && one["expires_at"].is_i64(),
            "{one}"
        );
        let handle = one["handle"].as_str().unwrap();

        let text = sessions(&["list", "--store", &site.named, "--owner", "7"])
            .with(0)
            .out;
        assert!(
            text.contains(handle) && text.contains("2 sessions of 7"),
            "{text}"
        );
        assert!(
            !text.contains('\x1b'),
            "a label commands the terminal: {text:?}"
        );

        let mut show = at("show");
        show.push(handle);
        assert_eq!(sessions(&show).with(0).json()["session"], *one);
        sessions(&["show", "--store", &site.named, "--owner", "7", handle])
            .with(0)
            .says("device   phone");
        // A handle means nothing without its owner.
        for command in ["show", "end"] {
            let ended =
                sessions(&[command, "--store", &site.named, "--owner", "8", handle]).with(5);
            ended.says("8 has no session");
        }

        let mut end = at("end");
        end.push(handle);
        assert_eq!(sessions(&end).with(0).json()["ended"], 1);
        assert!(sessions(&end).with(5).json()["error"].is_string());
        sessions(&show).with(5);
        let lives = async |session: &session_core::SessionBase| {
            let key = session.session_key().unwrap();
            manager.load(&key).await.unwrap().is_some()
        };
        assert!(!lives(&second).await, "the session that was ended lives");
        assert!(lives(&first).await, "another session was ended");

        assert_eq!(sessions(&at("end-all")).with(0).json()["ended"], 1);
        assert_eq!(sessions(&at("end-all")).with(0).json()["ended"], 0);
        assert!(!lives(&first).await, "a session survived `end-all`");
        assert!(
            lives(&other).await && lives(&nobodys).await,
            "somebody else's session was ended"
        );
    }
}

#[tokio::test]
async fn an_owner_with_more_sessions_than_a_visitor_sees_is_listed_whole() {
    const SESSIONS: u64 = 1_050;
    let site = Site::migrated(Site::BOTH[0]);
    let store = site.store().await;
    for number in 0..SESSIONS {
        let mut new = lives(1_000, "{}");
        new.owner = Some("7".into());
        store.create(&key(number), new, now()).await.unwrap();
    }
    let at =
        |command: &'static str| vec![command, "--store", &site.named, "--json", "--owner", "7"];
    let listed = sessions(&at("list")).with(0).json();
    let listed = listed["sessions"].as_array().unwrap();
    assert_eq!(listed.len(), 1_050, "some of them are not listed");
    let handles = listed.iter().map(|one| one["handle"].as_str().unwrap());
    for handle in handles.step_by(350) {
        for (command, code) in [("show", 0), ("end", 0), ("end", 5)] {
            let mut at = at(command);
            at.push(handle);
            sessions(&at).with(code);
        }
    }
    assert_eq!(sessions(&at("end-all")).with(0).json()["ended"], 1_047);
}

#[test]
fn an_owner_that_can_be_none_is_a_mistake_on_the_command_line() {
    let site = Site::migrated(Site::BOTH[0]);
    for command in ["list", "end-all"] {
        let ended = sessions(&[command, "--store", &site.named, "--owner", ""]).with(2);
        ended.says("1 to 256 bytes");
    }
}
