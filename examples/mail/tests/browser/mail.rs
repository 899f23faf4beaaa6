//! The mail form: what it remembers, and what it refuses.

use fantoccini::error::CmdError;

use crate::support::{Demo, Setting, Store, Visitor, walk};

#[tokio::test]
async fn the_form_remembers_who_sent_the_last_message() {
    walk(
        "mail-files",
        Store::Files,
        [Setting::Ordinary],
        remembers_the_sender,
    )
    .await;
}

#[tokio::test]
async fn the_form_remembers_in_memory_too() {
    walk(
        "mail-memory",
        Store::Memory,
        [Setting::Ordinary],
        remembers_the_sender,
    )
    .await;
}

#[tokio::test]
async fn the_form_remembers_in_sqlite_too() {
    walk(
        "mail-sqlite",
        Store::Sqlite,
        [Setting::Ordinary],
        remembers_the_sender,
    )
    .await;
}

#[tokio::test]
async fn the_form_remembers_in_postgres_too() {
    walk(
        "mail-postgres",
        Store::Postgres,
        [Setting::Ordinary],
        remembers_the_sender,
    )
    .await;
}

#[tokio::test]
async fn the_form_remembers_in_mariadb_too() {
    walk(
        "mail-mariadb",
        Store::MariaDb,
        [Setting::Ordinary],
        remembers_the_sender,
    )
    .await;
}

#[tokio::test]
async fn the_form_remembers_in_redis_too() {
    walk(
        "mail-redis",
        Store::Redis,
        [Setting::Ordinary],
        remembers_the_sender,
    )
    .await;
}

#[tokio::test]
async fn the_form_remembers_in_a_cluster_of_redis_too() {
    walk(
        "mail-redis-cluster",
        Store::RedisCluster,
        [Setting::Ordinary],
        remembers_the_sender,
    )
    .await;
}

#[tokio::test]
async fn the_form_remembers_in_a_cached_database_too() {
    walk(
        "mail-cached",
        Store::Cached,
        [Setting::Ordinary],
        remembers_the_sender,
    )
    .await;
}

async fn remembers_the_sender(_demo: Demo, [visitor]: [Visitor; 1]) -> Result<(), CmdError> {
    visitor.open("/").await?;
    assert_eq!(
        visitor.filled_in("#from_name").await?,
        "",
        "the form knows somebody who was never here"
    );
    assert!(
        visitor.key().await?.is_none(),
        "looking at the form started a session"
    );

    visitor.send_mail("Ada Lovelace", "The engine").await?;
    let thanks = visitor.text("#messages").await?;
    assert!(
        thanks.contains("Ada Lovelace") && thanks.contains("The engine"),
        "the thanks were: {thanks}"
    );
    assert_eq!(visitor.filled_in("#from_name").await?, "Ada Lovelace");

    visitor.open_in_new_tab("/").await?;
    assert_eq!(
        visitor.filled_in("#from_name").await?,
        "Ada Lovelace",
        "the form forgot who came back"
    );
    assert_eq!(
        visitor.count("#messages").await?,
        0,
        "the message was shown a second time"
    );
    Ok(())
}

#[tokio::test]
async fn what_a_visitor_types_stays_text() {
    const NAME: &str = r#""><b id="typed">A</b>&amp;"#;
    walk(
        "markup",
        Store::Files,
        [Setting::Ordinary],
        async |_demo, [visitor]: [Visitor; 1]| {
            visitor.open("/").await?;
            visitor.send_mail(NAME, "<i id=typed>hello</i>").await?;
            assert_eq!(visitor.filled_in("#from_name").await?, NAME);
            let thanks = visitor.text("#messages").await?;
            assert!(
                thanks.contains(NAME) && thanks.contains("<i id=typed>hello</i>"),
                "the thanks were: {thanks}"
            );

            visitor.log_in(NAME, "wrong").await?;
            assert_eq!(visitor.filled_in("#name").await?, NAME);
            visitor.log_in(NAME, crate::support::PASSWORD).await?;
            assert_eq!(visitor.owner().await?.as_deref(), Some(NAME));
            assert_eq!(
                visitor.count("#typed").await?,
                0,
                "what was typed became an element of the page"
            );
            Ok(())
        },
    )
    .await;
}

#[tokio::test]
async fn a_name_that_is_too_long_is_refused_and_nothing_is_lost() {
    // A visitor whose browser knows no limits.
    const TYPE_A_LOT: &str = "
        const field = document.querySelector('#from_name');
        field.removeAttribute('maxlength');
        field.value = 'x'.repeat(Number(arguments[0]));
    ";
    walk(
        "too-long",
        Store::Files,
        [Setting::Ordinary],
        async |demo: Demo, [visitor]: [Visitor; 1]| {
            visitor.open("/").await?;
            visitor.send_mail("Ada", "first").await?;
            for length in ["81", "1500000"] {
                visitor.fill_in("#subject", "too long").await?;
                visitor.run(TYPE_A_LOT, &[length]).await?;
                visitor.press("main form button").await?;
                let problem = visitor.text(".problem").await?;
                assert!(
                    problem.contains("at most 80 characters"),
                    "after {length} characters it said: {problem}"
                );
                assert_eq!(
                    visitor.filled_in("#from_name").await?,
                    "Ada",
                    "a name that was refused replaced the one before"
                );
            }

            let key = visitor.key().await?.unwrap();
            let form = format!("from_name={}&subject=s&message=m", "x".repeat(3 << 20));
            assert_eq!(
                demo.post_with_key("/send", &key, &form).status,
                413,
                "three megabytes were not refused"
            );
            let form = "from_name=&subject=s&message=m";
            assert_eq!(
                demo.post_with_key("/send", &key, form).status,
                422,
                "an empty name was not refused"
            );
            visitor.open("/").await?;
            assert_eq!(visitor.filled_in("#from_name").await?, "Ada");
            Ok(())
        },
    )
    .await;
}
