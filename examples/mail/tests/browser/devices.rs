//! The list of one's own sessions: who is in it, and who can end what.

use fantoccini::error::CmdError;

use crate::support::{Demo, PASSWORD, Setting, Store, Visitor, walk};

/// Posts a handle that the page did not offer.
const SET_HANDLE: &str = "document.querySelector('input[name=handle]').value = arguments[0]";

#[tokio::test]
async fn another_browser_appears_in_the_list_and_can_be_ended() {
    walk(
        "devices",
        Store::Files,
        [Setting::Ordinary, Setting::Ordinary],
        both_ways_of_ending,
    )
    .await;
}

#[tokio::test]
async fn another_browser_can_be_ended_in_memory_too() {
    walk(
        "devices-memory",
        Store::Memory,
        [Setting::Ordinary, Setting::Ordinary],
        both_ways_of_ending,
    )
    .await;
}

#[tokio::test]
async fn another_browser_can_be_ended_in_sqlite_too() {
    walk(
        "devices-sqlite",
        Store::Sqlite,
        [Setting::Ordinary, Setting::Ordinary],
        both_ways_of_ending,
    )
    .await;
}

#[tokio::test]
async fn another_browser_can_be_ended_in_postgres_too() {
    walk(
        "devices-postgres",
        Store::Postgres,
        [Setting::Ordinary, Setting::Ordinary],
        both_ways_of_ending,
    )
    .await;
}

#[tokio::test]
async fn another_browser_can_be_ended_in_mariadb_too() {
    walk(
        "devices-mariadb",
        Store::MariaDb,
        [Setting::Ordinary, Setting::Ordinary],
        both_ways_of_ending,
    )
    .await;
}

#[tokio::test]
async fn another_browser_can_be_ended_in_redis_too() {
    walk(
        "devices-redis",
        Store::Redis,
        [Setting::Ordinary, Setting::Ordinary],
        both_ways_of_ending,
    )
    .await;
}

#[tokio::test]
async fn another_browser_can_be_ended_in_a_cluster_of_redis_too() {
    walk(
        "devices-redis-cluster",
        Store::RedisCluster,
        [Setting::Ordinary, Setting::Ordinary],
        both_ways_of_ending,
    )
    .await;
}

#[tokio::test]
async fn another_browser_can_be_ended_in_a_cached_database_too() {
    walk(
        "devices-cached",
        Store::Cached,
        [Setting::Ordinary, Setting::Ordinary],
        both_ways_of_ending,
    )
    .await;
}

async fn both_ways_of_ending(_demo: Demo, [here, there]: [Visitor; 2]) -> Result<(), CmdError> {
    here.log_in("ada", PASSWORD).await?;
    assert_eq!(here.count(".sessions li").await?, 1);
    assert_eq!(
        here.count("#end-others").await?,
        0,
        "there are no others to end"
    );

    let ways = [
        (".sessions form button", "That session has ended."),
        ("#end-others", "Sessions ended: 1."),
    ];
    for (button, message) in ways {
        there.log_in("ada", PASSWORD).await?;
        here.open("/sessions").await?;
        assert_eq!(
            here.count(".sessions li").await?,
            2,
            "the other browser is not in the list"
        );
        assert_eq!(here.count(".badge").await?, 1);

        here.press(button).await?;
        assert_eq!(here.text("#messages").await?, message);
        assert_eq!(here.count(".sessions li").await?, 1);
        there.open("/sessions").await?;
        assert_eq!(
            there.text("h1").await?,
            "Log in",
            "a session that was ended is still open"
        );
        assert_eq!(here.owner().await?.as_deref(), Some("ada"));
    }
    Ok(())
}

#[tokio::test]
async fn nobody_ends_a_session_that_is_not_theirs() {
    walk(
        "handles",
        Store::Files,
        [Setting::Ordinary, Setting::Ordinary],
        async |_demo, [ada, eve]: [Visitor; 2]| {
            // Each has two sessions: only others have a handle in the list.
            for (visitor, name) in [(&ada, "ada"), (&eve, "eve")] {
                visitor.log_in(name, PASSWORD).await?;
                visitor.browser.delete_all_cookies().await?;
                visitor.log_in(name, PASSWORD).await?;
                assert_eq!(
                    visitor.count(".sessions li").await?,
                    2,
                    "{name} does not have two sessions in the list"
                );
            }

            let hers = ada.filled_in("input[name=handle]").await?;
            for handle in [&*hers, "not a handle", "", "0123456789abcdef01234567"] {
                eve.open("/sessions").await?;
                eve.run(SET_HANDLE, &[handle]).await?;
                eve.press(".sessions form button").await?;
                assert_eq!(
                    eve.text("#messages").await?,
                    "That session had ended already.",
                    "the handle {handle:?} was answered otherwise"
                );
                assert_eq!(eve.count(".sessions li").await?, 2);
            }
            ada.open("/sessions").await?;
            assert_eq!(
                ada.count(".sessions li").await?,
                2,
                "a stranger ended one of her sessions"
            );

            // Logged out in another tab, the page's buttons lead to the log-in.
            ada.open_in_new_tab("/sessions").await?;
            ada.press("#logout").await?;
            ada.switch_to_tab(0).await?;
            ada.press("#end-others").await?;
            assert_eq!(ada.text("h1").await?, "Log in");
            Ok(())
        },
    )
    .await;
}
