//! Logging in and out: which keys open what, before and after.

use crate::support::{Demo, PASSWORD, Setting, Store, Visitor, walk};

/// What a page shows to those whose session it is.
const HERS: [&str; 2] = ["Ada Lovelace", "Log out"];

#[tokio::test]
async fn a_log_in_changes_the_key_and_the_old_one_opens_nothing() {
    walk(
        "log-in",
        Store::Files,
        [Setting::Ordinary],
        async |demo: Demo, [visitor]: [Visitor; 1]| {
            visitor.open("/").await?;
            visitor.send_mail("Ada Lovelace", "before").await?;
            let before = visitor.key().await?.unwrap();
            assert!(
                demo.page_with_key("/", &before).contains("Ada Lovelace"),
                "the key does not open its own session"
            );

            visitor.log_in("ada", PASSWORD).await?;
            assert_eq!(visitor.owner().await?.as_deref(), Some("ada"));
            let after = visitor.key().await?.unwrap();
            // Not `assert_ne!`, which would print them.
            assert!(before != after, "the log-in left the key as it was");
            let seen = demo.page_with_key("/", &before);
            for text in HERS {
                assert!(
                    !seen.contains(text),
                    "the key from before the log-in shows {text}"
                );
            }
            let seen = demo.page_with_key("/", &after);
            for text in HERS {
                assert!(seen.contains(text), "the new key does not show {text}");
            }

            visitor.open("/").await?;
            assert_eq!(
                visitor.filled_in("#from_name").await?,
                "Ada Lovelace",
                "the log-in lost what the visitor had before"
            );
            Ok(())
        },
    )
    .await;
}

#[tokio::test]
async fn a_log_out_in_one_tab_ends_the_other_tabs_session() {
    walk(
        "log-out",
        Store::Files,
        [Setting::Ordinary],
        async |demo: Demo, [visitor]: [Visitor; 1]| {
            visitor.log_in("ada", PASSWORD).await?;
            visitor.open("/").await?;
            visitor.send_mail("Ada Lovelace", "first").await?;
            let key = visitor.key().await?.unwrap();

            visitor.open_in_new_tab("/").await?;
            assert_eq!(visitor.owner().await?.as_deref(), Some("ada"));
            visitor.press("#logout").await?;
            assert_eq!(visitor.owner().await?, None, "she is still logged in");
            assert!(
                visitor.key().await?.is_none(),
                "the browser still has a key"
            );

            visitor.switch_to_tab(0).await?;
            assert_eq!(
                visitor.owner().await?.as_deref(),
                Some("ada"),
                "the other tab was to show its old page"
            );
            visitor
                .send_mail("Ada Lovelace", "from a stale tab")
                .await?;
            assert_eq!(
                visitor.owner().await?,
                None,
                "a form in a stale tab brought the session back"
            );
            visitor.open("/sessions").await?;
            assert_eq!(visitor.text("h1").await?, "Log in");

            // The same for a request that was sent before the answer to the log-out came.
            let form = "from_name=Ada+Lovelace&subject=late&message=";
            let answer = demo.post_with_key("/send", &key, form);
            assert!(
                answer.cookies.iter().all(|cookie| !cookie.contains(&key)),
                "a late request was given the dead key again"
            );
            let seen = demo.page_with_key("/", &key);
            for text in HERS {
                assert!(!seen.contains(text), "the dead key shows {text}");
            }
            Ok(())
        },
    )
    .await;
}

#[tokio::test]
async fn a_wrong_password_is_said_and_logs_nobody_in() {
    walk(
        "wrong-password",
        Store::Files,
        [Setting::Ordinary],
        async |_demo, [visitor]: [Visitor; 1]| {
            visitor.log_in("ada", "wrong").await?;
            assert_eq!(visitor.text(".problem").await?, "That is not the password.");
            assert_eq!(visitor.filled_in("#name").await?, "ada");
            assert_eq!(visitor.filled_in("#password").await?, "");
            assert_eq!(visitor.owner().await?, None);

            visitor.fill_in("#password", PASSWORD).await?;
            visitor.press("main form button").await?;
            assert_eq!(
                visitor.owner().await?.as_deref(),
                Some("ada"),
                "the right password after a wrong one was refused"
            );
            Ok(())
        },
    )
    .await;
}
