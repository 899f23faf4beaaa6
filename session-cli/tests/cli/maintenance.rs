//! Migrate, check, clear, count, reseal.

use std::fs::Permissions;
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::PermissionsExt as _;
use std::process::Stdio;

use session_core::codec::{JsonCodec, SealedCodec};
use session_core::{KeyRing, SessionManager};

use crate::support::{Ended, Kind, Site, key, lives, logged_in, long_ago, sessions, started, tool};

#[test]
fn migrate_makes_what_is_missing_and_check_then_has_nothing_to_say() {
    for kind in Site::BOTH {
        let site = Site::empty(kind);
        let missing = sessions(&["check", "--json", "--store", &site.named]).with(4);
        assert_eq!(missing.json()["findings"][0]["severity"], "error");
        for _twice in 0..2 {
            sessions(&["migrate", "--store", &site.named]).with(0);
        }
        sessions(&["check", "--store", &site.named])
            .with(0)
            .says("ready for sessions");
        let json = sessions(&["check", "--json", "--store", &site.named])
            .with(0)
            .json();
        assert_eq!(json["ready"], true);
        assert_eq!(json["store"], site.named);
    }
}

#[tokio::test]
async fn check_says_what_is_wrong_and_what_to_do() {
    let folder = Site::migrated(Kind::File);
    std::fs::set_permissions(
        folder.folder().join("sessions"),
        Permissions::from_mode(0o755),
    )
    .unwrap();
    sessions(&["check", "--store", &folder.named])
        .with(4)
        .says("chmod 700");

    let site = Site::empty(Kind::Sqlite);
    drop(site.store().await);
    let ended = sessions(&["check", "--store", &site.named]).with(4);
    ended.says("migrate()");
    let sql = sessions(&["migrate", "--print", "--store", &site.named]).with(0);
    sql.says("CREATE TABLE");
    sessions(&["check", "--store", &site.named]).with(4);
    let other = format!("{}#table=visits", site.named);
    sessions(&["migrate", "--store", &other]).with(0);
    sessions(&["check", "--store", &other])
        .with(0)
        .says("#table=visits");
    sessions(&["check", "--store", &site.named]).with(4);
}

#[tokio::test]
async fn clear_expired_removes_what_has_expired_and_a_dry_run_nothing() {
    for kind in Site::BOTH {
        let site = Site::migrated(kind);
        let store = site.store().await;
        for n in 0..40 {
            let new = lives(-100, "old");
            store.create(&key(n), new, long_ago()).await.unwrap();
        }
        for n in 100..105 {
            store
                .create(&key(n), lives(500, "living"), long_ago())
                .await
                .unwrap();
        }
        let dry = [
            "clear-expired",
            "--dry-run",
            "--json",
            "--store",
            &site.named,
        ];
        assert_eq!(sessions(&dry).with(0).json()["expired"], 40);
        let shown = sessions(&[
            "clear-expired",
            "--dry-run",
            "--progress",
            "bar",
            "--store",
            &site.named,
        ]);
        assert!(
            shown.err.contains('░') && shown.err.contains('\r'),
            "no bar: {:?}",
            shown.err
        );
        shown.says("40 sessions would be removed");

        let cleared =
            sessions(&["clear-expired", "--rate", "1000", "--store", &site.named]).with(0);
        cleared.says("40 sessions removed");
        assert!(
            !cleared.err.contains('\r'),
            "no terminal, and a bar: {:?}",
            cleared.err
        );
        cleared.says("removed: ");
        let again = sessions(&["clear-expired", "--json", "--store", &site.named]).with(0);
        assert_eq!(again.json()["removed"], 0);
        assert_eq!(again.err, "", "JSON was asked for, and progress was told");
        assert_eq!(site.records().await.len(), 5, "a live session was removed");
    }
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_terminal_gets_a_bar_that_is_gone_in_the_end_and_anything_else_gets_lines() {
    let site = Site::migrated(Kind::Sqlite);
    let store = site.store().await;
    for n in 0..40 {
        let new = lives(-100, "old");
        store.create(&key(n), new, long_ago()).await.unwrap();
    }
    let arguments = ["clear-expired", "--dry-run", "--store", &site.named];
    let piped = sessions(&arguments).with(0);
    assert!(
        piped.err.contains("looking for expired sessions: ") && !piped.err.contains(['\r', '░']),
        "no terminal, and no plain line: {:?}",
        piped.err
    );

    // The second knows not how much there is.
    let removing = ["clear-expired", "--store", &site.named];
    for (arguments, told, said) in [
        (
            &arguments[..],
            "looking for expired sessions ",
            "40 sessions would be removed",
        ),
        (&removing, "removed ", "40 sessions removed"),
    ] {
        let shown = on_a_terminal(arguments).with(0).out;
        let (bar, rest) = shown
            .rsplit_once("\r\x1b[K")
            .expect("the bar stays on the line");
        assert!(
            bar.contains(told) && bar.contains('░'),
            "a terminal, and no bar: {shown:?}"
        );
        assert!(!bar.contains('\n'), "the bar is many lines: {shown:?}");
        assert!(rest.contains(said), "{shown:?}");
        assert!(!rest.contains('░'), "{shown:?}");
    }
}

/// The program `script` gives the tool a terminal, and passes on what is written to that. It belongs to util-linux; elsewhere it takes
/// other options.
#[cfg(target_os = "linux")]
fn on_a_terminal(arguments: &[&str]) -> Ended {
    let words = [env!("CARGO_BIN_EXE_sessions")]
        .into_iter()
        .chain(arguments.iter().copied());
    let line: String = words.map(|word| format!("'{word}' ")).collect();
    let shown = std::process::Command::new("script")
        .args(["--quiet", "--return", "--command", &line, "/dev/null"])
        .env_remove("SESSIONS_STORE")
        .stdin(Stdio::null())
        .output();
    Ended::of(shown.expect("`script` of util-linux is installed"))
}

#[tokio::test]
async fn a_slow_clear_expired_that_is_killed_has_kept_to_its_rate_and_is_finished_by_the_next() {
    const EXPIRED: u64 = 400;
    for kind in Site::BOTH {
        let site = Site::migrated(kind);
        let store = site.store().await;
        for n in 0..EXPIRED {
            let new = lives(-100, "old");
            store.create(&key(n), new, long_ago()).await.unwrap();
        }
        // So slow that it is killed while it rests after its first batch.
        let slow = ["clear-expired", "--rate", "1", "--store", &site.named];
        let mut slow = tool(&slow)
            .args(["--progress", "lines"])
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut told = BufReader::new(slow.stderr.take().unwrap()).lines();
        let first = told.next().expect("it tells what it has removed").unwrap();
        // Without a rate it would be done long before all of these have looked.
        for _ in 0..20 {
            sessions(&["stats", "--json", "--store", &site.named]).with(0);
        }
        assert!(
            slow.try_wait().unwrap().is_none(),
            "400 sessions at one in a second, and it is done: {first}"
        );
        slow.kill().unwrap();
        slow.wait().unwrap();
        let rest = sessions(&["clear-expired", "--json", "--store", &site.named]).with(0);
        let rest = rest.json()["removed"].as_u64().unwrap();
        assert!(
            rest > 0 && rest < EXPIRED,
            "{kind:?}: the killed one had removed {}",
            EXPIRED - rest
        );
    }
}

#[tokio::test]
async fn stats_count_and_draw_what_is_there() {
    for kind in Site::BOTH {
        let site = Site::migrated(kind);
        let manager = site.manager().await;
        for _ in 0..3 {
            logged_in(&manager, "ada", "").await;
        }
        logged_in(&manager, "eve\x1b[2J", "").await;
        started(&manager, "nobody").await;
        let store = site.store().await;
        store
            .create(&key(1), lives(-100, "old"), long_ago())
            .await
            .unwrap();
        store
            .create(&key(2), lives(500, &"x".repeat(5_000)), long_ago())
            .await
            .unwrap();

        let json = sessions(&["stats", "--json", "--store", &site.named])
            .with(0)
            .json();
        for (name, count) in [("live", 6), ("expired", 1), ("anonymous", 2), ("owners", 2)] {
            assert_eq!(json[name], count, "{name} in {json}");
        }
        assert_eq!(json["top_owners"][0]["owner"], "ada");
        assert_eq!(json["top_owners"][0]["sessions"], 3);
        assert_eq!(json["bytes"]["largest"], 5_000);
        assert_eq!(json["by_age_secs"]["buckets"][0]["count"], 5);
        assert_eq!(json["by_age_secs"]["unknown"], 1);

        let text = sessions(&["stats", "--top", "1", "--store", &site.named])
            .with(0)
            .out;
        for words in [
            "live     6: 4 of 2 owners, 2 of nobody",
            "expired  1; `sessions clear-expired`",
            "the largest 4.8 KiB",
            "under 1 hour    ████████████████████████████████████████ 5",
            "        3  ada",
        ] {
            assert!(text.contains(words), "{words:?} is not in: {text}");
        }
        assert!(!text.contains("eve"), "one owner was asked for: {text}");
        assert!(
            !text.contains('\x1b'),
            "an owner's name commands the terminal: {text:?}"
        );
    }
}

const OLD: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
const NEW: &str = "ICEiIyQlJicoKSorLC0uLzAxMjM0NTY3ODk6Ozw9Pj8=";

fn sealed(manager: SessionManager, ring: &str) -> SessionManager {
    let ring = KeyRing::parse(ring).unwrap();
    manager.with_codec(SealedCodec::new(JsonCodec::default(), &ring))
}

fn reseal(site: &Site, more: &[&str]) -> Ended {
    let mut arguments = vec![
        "reseal",
        "--keys-env",
        "RING",
        "--json",
        "--store",
        &site.named,
    ];
    arguments.extend(more);
    Ended::of(
        tool(&arguments)
            .env("RING", format!("{NEW} {OLD}"))
            .output()
            .unwrap(),
    )
}

#[tokio::test]
async fn reseal_leaves_nothing_that_an_older_key_is_needed_for() {
    for kind in Site::BOTH {
        let site = Site::migrated(kind);
        let old = logged_in(&sealed(site.manager().await, OLD), "ada", "").await;
        let plain = started(&site.manager().await, "plain").await;

        let first = reseal(&site, &[]).with(3).json();
        assert_eq!(
            (&first["resealed"], &first["unreadable"]),
            (&1.into(), &1.into())
        );
        let second = reseal(&site, &["--accept-plain"]).with(0).json();
        assert_eq!(
            (&second["resealed"], &second["unreadable"]),
            (&1.into(), &0.into())
        );
        let third = reseal(&site, &["--rate", "1000"]).with(0).json();
        assert_eq!((&third["seen"], &third["resealed"]), (&2.into(), &0.into()));

        let manager = sealed(site.manager().await, NEW);
        for (session, name) in [(old, "ada"), (plain, "plain")] {
            let key = session.session_key().unwrap();
            let found = manager.load(&key).await.unwrap().expect("it lives");
            assert_eq!(found.get::<String>("name").unwrap().as_deref(), Some(name));
        }
    }
}

#[test]
fn keys_come_from_a_file_too_and_are_not_shown_when_they_are_wrong() {
    let site = Site::migrated(Kind::Sqlite);
    let path = site.folder().join("ring");
    for (text, code) in [
        (format!("{NEW} # since May\n{OLD}"), 0),
        ("c2VjcmV0".to_owned(), 2),
    ] {
        std::fs::File::create(&path).unwrap();
        std::io::Write::write_all(&mut std::fs::File::create(&path).unwrap(), text.as_bytes())
            .unwrap();
        let path = path.display().to_string();
        let ended = sessions(&["reseal", "--keys-file", &path, "--store", &site.named]).with(code);
        assert!(
            !format!("{ended:?}").contains(&text),
            "a key was shown: {ended:?}"
        );
    }
}
