//! No key and no data is in anything that the tool prints or leaves behind, whatever it is asked.

use std::os::unix::fs::PermissionsExt as _;

use session_core::KeyPolicy;
use session_core::store::StoreKey;

use crate::support::{Ended, Kind, Site, logged_in, sessions, tool};

const RING: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

#[tokio::test]
async fn no_key_and_no_data_is_printed_by_any_command_in_any_format() {
    for kind in Site::BOTH {
        let site = Site::migrated(kind);
        let manager = site.manager().await;
        let mut secrets = vec!["canary".to_owned(), RING.to_owned()];
        for _ in 0..4 {
            let session = logged_in(&manager, "7", "phone").await;
            session.set("value", "canary").unwrap();
            session.save().await.unwrap();
            let key = session.session_key().unwrap();
            let store_key: StoreKey = KeyPolicy::Hashed.store_key(&key);
            secrets.push(key.expose_secret().to_owned());
            secrets.push(store_key.as_str().to_owned());
        }
        let target = Site::migrated(Kind::Sqlite);
        let journal = site.folder().join("journal");
        let journal_path = journal.display().to_string();
        let listed = sessions(&["list", "--json", "--store", &site.named, "--owner", "7"]).json();
        let handle = listed["sessions"][0]["handle"].as_str().unwrap();
        let commands: Vec<Vec<&str>> = vec![
            vec!["migrate", "--store", &site.named],
            vec!["check", "--store", &site.named],
            vec!["stats", "--store", &site.named],
            vec!["list", "--store", &site.named, "--owner", "7"],
            vec!["show", "--store", &site.named, "--owner", "7", handle],
            vec!["clear-expired", "--dry-run", "--store", &site.named],
            vec!["clear-expired", "--store", &site.named],
            vec![
                "copy",
                &site.named,
                &target.named,
                "--journal",
                &journal_path,
                "--dry-run",
            ],
            vec![
                "copy",
                &site.named,
                &target.named,
                "--journal",
                &journal_path,
            ],
            vec!["reseal", "--keys-env", "RING", "--store", &site.named],
            vec![
                "reseal",
                "--keys-env",
                "RING",
                "--accept-plain",
                "--store",
                &site.named,
            ],
            vec!["end", "--store", &site.named, "--owner", "7", handle],
            vec!["end-all", "--store", &site.named, "--owner", "7"],
        ];
        for command in commands {
            for more in [
                &[][..],
                &["--json"],
                &["--progress", "lines"],
                &["--progress", "bar"],
            ] {
                // Not every command tells its progress; what refuses to must not show a secret either.
                let run = tool(&command)
                    .args(more)
                    .env("RING", RING)
                    .output()
                    .unwrap();
                let Ended { out, err, .. } = Ended::of(run);
                for secret in &secrets {
                    assert!(
                        !out.contains(&**secret) && !err.contains(&**secret),
                        "`{}` has printed a secret: {out}{err}",
                        command.join(" ")
                    );
                }
            }
        }
        let mode = std::fs::metadata(&journal).unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0, "others may read the journal");
        let journal = std::fs::read_to_string(journal).unwrap();
        assert!(journal.lines().count() > 4, "nothing was journalled");
        for secret in &secrets {
            assert!(!journal.contains(&**secret), "the journal holds a secret");
        }
    }
}
