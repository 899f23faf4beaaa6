//! How the databases find rows among 50,000: every statement by an index. And what an ordinary save costs PostgreSQL.
#![cfg(all(feature = "sqlite", feature = "postgres", feature = "mysql"))]

#[cfg(test)]
mod servers;

#[cfg(test)]
mod support {
    use session_core::store::{
        EndScope, ExpiryChange, Page, Saved, SessionStore, StoreError, StoreKey,
    };
    use session_core::{Owner, store::Change};
    use session_db::{DbPool, DbStore, DbStoreConfig, TableName};

    use crate::servers::records::{LATER, NOW, change, key_in_order as key, new};

    /// As many rows as an application of some size has.
    pub(crate) const ROWS: u64 = 50_000;

    /// The columns of row `i`, as expressions that are the same in all dialects: every tenth has expired, every second
    /// has an owner, and an owner has ten sessions.
    pub(crate) const COLUMNS: &str = "1, 1900100000 - (CASE WHEN i % 10 = 0 THEN 200000 ELSE 0 END) + i % 1000, 1900000000, CASE WHEN i % 2 = 0 THEN PRINTED_OWNER END, NULL";

    /// Does everything that a store can do, each on a way that sends another statement.
    pub(crate) async fn do_everything(store: &DbStore) -> Result<(), StoreError> {
        // Keys that are not among the rows that were filled in.
        let key = |number: u64| key(1_000_000 + number);
        let owner = Owner::from("somebody");
        let owned = |payload: &str| {
            let mut record = new(payload);
            record.owner = Some(owner.clone());
            record
        };
        let short = |payload: &str| {
            let mut record = owned(payload);
            record.expires_at = NOW.saturating_add(std::time::Duration::from_secs(1));
            record
        };
        let soon = NOW.saturating_add(std::time::Duration::from_secs(2));

        let version = store.create(&key(1), owned("a"), NOW).await?;
        store.load(&key(1), NOW).await?.expect("it was created");
        let saved = store.save(&key(1), &version, change("b"), NOW).await?;
        assert!(matches!(saved, Saved::Stored(_)), "{saved:?}");
        let saved = store.save(&key(1), &version, change("c"), NOW).await?;
        assert!(matches!(saved, Saved::Conflict), "{saved:?}");
        let later = LATER.saturating_add(std::time::Duration::from_secs(9));
        assert!(store.touch(&key(1), later, NOW).await?);
        assert!(store.touch(&key(1), NOW, NOW).await?, "it lives");

        // Over an expired record: a creation, and a rotation.
        store.create(&key(2), short("a"), NOW).await?;
        let version = store.create(&key(2), owned("b"), soon).await?;
        store.create(&key(3), short("a"), NOW).await?;
        let mut moved: Change = change("c");
        moved.expiry = ExpiryChange::AtLeast(LATER);
        moved.owner = Some(owner.clone());
        let rotated = store
            .rotate(&key(2), &version, &key(3), moved, soon)
            .await?;
        assert!(matches!(rotated, Saved::Stored(_)), "{rotated:?}");
        let taken = store.create(&key(3), owned("d"), soon).await;
        assert!(
            matches!(taken, Err(StoreError::KeyTaken { .. })),
            "{taken:?}"
        );

        let index = store.owner_index().expect("there is one");
        for number in 4..9 {
            store.create(&key(number), owned("a"), NOW).await?;
        }
        let listed = index.sessions_of(&owner, Page::first(3), NOW).await?;
        let last = listed.last().expect("a session").0.clone();
        index
            .sessions_of(&owner, Page::after(last, 100), NOW)
            .await?;
        assert_eq!(index.end(&owner, EndScope::One(key(4))).await?, 1);
        assert_eq!(index.end(&owner, EndScope::AllExcept(key(5))).await?, 4);
        assert_eq!(index.end(&owner, EndScope::All).await?, 1);

        store.create(&key(9), new("a"), NOW).await?;
        assert!(store.delete(&key(9)).await?);
        let scan = store.scan().expect("there is one");
        let page = scan.page(Page::first(100)).await?;
        let last: StoreKey = page.last().expect("a session").0.clone();
        scan.page(Page::after(last, 100)).await?;
        let removed = store.clear_expired(NOW, &mut |_| {}).await?;
        assert_eq!(removed, ROWS / 10, "expired rows");
        Ok(())
    }

    pub(crate) fn config(table: &str) -> DbStoreConfig {
        let table = TableName::parse(table).expect("a name");
        DbStoreConfig::new()
            .with_table(table)
            .with_connections_max(1)
    }

    /// Closes the store's connections, with which PostgreSQL's tell their statistics.
    pub(crate) async fn close(store: &DbStore) {
        match store.pool() {
            DbPool::Sqlite(pool) => pool.close().await,
            DbPool::Postgres(pool) => pool.close().await,
            DbPool::MySql(pool) => pool.close().await,
            _ => {}
        }
    }

    /// The texts that have to find rows, each once. All of the dialect's statements must be among them, which are so many.
    pub(crate) fn that_look_for_rows(sent: Vec<String>, statements: usize) -> Vec<String> {
        let mut texts: Vec<String> = sent
            .into_iter()
            // migrate() looks at the catalogue.
            .filter(|sql| {
                !["pg_", "pragma_", "SCHEMA"]
                    .iter()
                    .any(|part| sql.contains(part))
            })
            .filter(|sql| {
                ["SELECT", "UPDATE", "DELETE", "WITH"]
                    .iter()
                    .any(|verb| sql.starts_with(verb))
            })
            .collect();
        texts.sort();
        texts.dedup();
        let mut seen: Vec<String> = texts.iter().map(|sql| without_values(sql)).collect();
        seen.sort();
        seen.dedup();
        assert_eq!(seen.len(), statements, "these were seen: {seen:#?}");
        texts
    }

    /// The text as it was prepared: MariaDB's log has the values in their places.
    fn without_values(sql: &str) -> String {
        let mut bare = String::new();
        for (number, part) in sql.split('\'').enumerate() {
            // Every second part stands in quotes.
            bare.push_str(if number % 2 == 0 { part } else { "?" });
        }
        let words = bare.split(' ').map(|word| {
            let value = word.trim_matches([',', '(', ')']);
            let is_value = value == "NULL" || value == "_binary?" || value.parse::<i64>().is_ok();
            if is_value {
                word.replacen(value, "?", 1)
            } else {
                word.to_owned()
            }
        });
        words.collect::<Vec<_>>().join(" ")
    }
}

use session_core::SessionManager;
use session_core::store::{Page, Saved, SessionStore as _, StoreScan as _};
use session_db::sqlx::{self, Connection as _, Row as _};
use session_db::{DbStore, DbStoreConfig};
use tokio::sync::Mutex;

use servers::records::{NOW, change, key_in_order as key, new};
use servers::{Server, request, statements};
use support::{COLUMNS, ROWS, close, config, do_everything, that_look_for_rows};

/// A transaction in one database keeps PostgreSQL from reusing the room of older rows in all of them, so that a save in
/// another has to go to a new page: the tests here take turns.
static ON_POSTGRES: Mutex<()> = Mutex::const_new(());

/// Who else is connected to this database. Statistics are complete when they are gone.
const OTHERS: &str = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'";

#[tokio::test]
async fn postgres_finds_every_row_by_an_index() {
    statements::listen();
    let _alone = ON_POSTGRES.lock().await;
    let Some(database) = Server::Postgres.database("plans").await else {
        return;
    };
    let store = database.store(config("plans_postgres")).await;
    // To build an index reads the whole table, too, and is told when the connection ends.
    close(&store).await;
    let mut beside = database.beside().await;
    beside.wait_for(OTHERS, "0").await;
    let columns = COLUMNS.replace("PRINTED_OWNER", "'owner-' || i / 20");
    beside
        .execute(&format!(
            "INSERT INTO plans_postgres (session_key, version, expires_at, created_at, owner, label, payload)
             SELECT substr(md5(i::text) || md5((-i)::text), 1, 40), {columns}, convert_to(repeat('x', 200), 'UTF8')
             FROM generate_series(1, {ROWS}) AS i;
             ANALYZE plans_postgres"
        ))
        .await;
    let scans = "SELECT seq_scan FROM pg_stat_user_tables WHERE relname = 'plans_postgres'";
    let before = beside.number(scans).await;
    let store = config("plans_postgres").connect(&database.url).await;
    let store = store.expect("the server runs");
    do_everything(&store).await.expect("everything works");
    close(&store).await;
    let texts = that_look_for_rows(statements::sent_with("plans_postgres"), 13);

    // The plans that were run, with the values at hand.
    beside.wait_for(OTHERS, "0").await;
    assert_eq!(
        beside.number(scans).await,
        before,
        "the whole table was read for one of {texts:#?}"
    );

    // The plans for any value, which a prepared statement gets in the long run.
    beside
        .execute("SET plan_cache_mode = force_generic_plan")
        .await;
    for sql in texts {
        beside.execute(&format!("PREPARE one AS {sql}")).await;
        let parameters = beside
            .number("SELECT cardinality(parameter_types) FROM pg_prepared_statements WHERE name = 'one'")
            .await;
        let nulls = vec!["NULL"; usize::try_from(parameters).expect("a count")];
        let plan = beside
            .rows(&format!("EXPLAIN EXECUTE one ({})", nulls.join(", ")))
            .await;
        let plan: Vec<String> = plan.into_iter().flatten().flatten().collect();
        let plan = plan.join("\n");
        assert!(
            plan.contains("Index") && !plan.contains("Seq Scan"),
            "{sql} has the plan:\n{plan}"
        );
        beside.execute("DEALLOCATE one").await;
    }
}

#[tokio::test]
async fn mariadb_finds_every_row_by_an_index() {
    let Some(database) = Server::MariaDb.database("plans").await else {
        return;
    };
    let store = database.store(config("plans_mariadb")).await;
    let mut beside = database.beside().await;
    let columns = COLUMNS.replace("PRINTED_OWNER", "CONCAT('owner-', i DIV 20)");
    beside
        .execute(&format!(
            "INSERT INTO plans_mariadb (session_key, version, expires_at, created_at, owner, label, payload)
             SELECT SUBSTR(CONCAT(MD5(i), MD5(-i)), 1, 40), {columns}, REPEAT('x', 200)
             FROM (SELECT CAST(seq AS SIGNED) AS i FROM seq_1_to_{ROWS}) AS numbers;
             ANALYZE TABLE plans_mariadb",
        ))
        .await;
    // The general log has each statement as it was run, with its values.
    beside
        .execute("SET GLOBAL log_output = 'TABLE'; TRUNCATE mysql.general_log; SET GLOBAL general_log = ON")
        .await;
    let done = do_everything(&store).await;
    beside
        .execute("SET GLOBAL general_log = OFF; SET GLOBAL log_output = 'FILE'")
        .await;
    done.expect("everything works");
    let sent = beside
        .rows("SELECT argument FROM mysql.general_log WHERE command_type = 'Execute' AND argument LIKE '%plans_mariadb%'")
        .await;
    let sent = sent.into_iter().flatten().flatten().collect();
    for sql in that_look_for_rows(sent, 15) {
        let plan = beside.rows(&format!("EXPLAIN {sql}")).await;
        for step in plan {
            // id, select_type, table, type, possible_keys, key, key_len, ref, rows, Extra
            let is_derived = step[2]
                .as_deref()
                .is_some_and(|table| table.starts_with("<derived"));
            let found_nothing = step[9]
                .as_deref()
                .is_some_and(|extra| extra.starts_with("Impossible WHERE"));
            assert!(
                is_derived
                    || found_nothing
                    // The whole table, and a whole index.
                    || (!matches!(step[3].as_deref(), Some("ALL" | "index")) && step[5].is_some()),
                "{sql} has the plan {step:?}"
            );
        }
    }
}

#[tokio::test]
async fn sqlite_finds_every_row_by_an_index() {
    statements::listen();
    let folder = tempfile::tempdir().expect("a temporary folder");
    let url = format!("sqlite:{}", folder.path().join("test.db").display());
    let config = config("plans_sqlite").with_sync(session_db::SyncPolicy::AtCheckpoints);
    let store = config.clone().connect(&url).await.expect("a new file");
    store.migrate().await.expect("a new table");
    let mut beside = sqlx::SqliteConnection::connect(&url).await.expect("a file");
    let columns = COLUMNS.replace("PRINTED_OWNER", "'owner-' || (i / 20)");
    let fill = format!(
        "INSERT INTO plans_sqlite (session_key, version, expires_at, created_at, owner, label, payload)
         WITH RECURSIVE numbers (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM numbers WHERE i < {ROWS})
         SELECT printf('%08x', i * 2654435761 & 4294967295) || printf('%032x', i), {columns}, zeroblob(200) FROM numbers;
         ANALYZE"
    );
    sqlx::raw_sql(sqlx::AssertSqlSafe(fill))
        .execute(&mut beside)
        .await
        .expect("rows");
    close(&store).await;
    // Opened anew: SQLite reads what `ANALYZE` found when it opens a file.
    let store = config.connect(&url).await.expect("the file");
    do_everything(&store).await.expect("everything works");
    for sql in that_look_for_rows(statements::sent_with("plans_sqlite"), 14) {
        let explain = format!("EXPLAIN QUERY PLAN {sql}");
        let plan = sqlx::raw_sql(sqlx::AssertSqlSafe(explain))
            .fetch_all(&mut beside)
            .await
            .expect("a plan");
        let steps: Vec<String> = plan
            .iter()
            .map(|step| step.try_get(3).expect("a step's text"))
            .collect();
        assert!(
            steps.iter().any(|step| step.starts_with("SEARCH"))
                && !steps.iter().any(|step| step.starts_with("SCAN")),
            "{sql} has the plan {steps:?}"
        );
    }
}

#[tokio::test]
async fn an_ordinary_save_touches_no_index_of_postgres() {
    // Few saves of each, and few rows to a page: the first save of a full page finds no room but what the fill factor has
    // left there. The later ones find what the older states took.
    const SESSIONS: u64 = 1_000;
    const SAVES: u64 = 2;
    let _alone = ON_POSTGRES.lock().await;
    let Some(database) = Server::Postgres.database("hot_updates").await else {
        return;
    };
    let store = database.store(DbStoreConfig::new()).await;
    let mut versions = Vec::new();
    let requests = write_in_requests(&store).await;
    for number in 0..SESSIONS {
        let version = store
            .create(&key(number), new(&"x".repeat(1_400)), NOW)
            .await;
        versions.push(version.expect("a new key"));
    }
    for round in 0..SAVES {
        for (number, version) in (0..).zip(&mut versions) {
            let payload = format!("{round:01400}");
            let saved = store
                .save(&key(number), version, change(&payload), NOW)
                .await;
            match saved.expect("the database works") {
                Saved::Stored(newer) => *version = newer,
                other => panic!("the only writer was answered {other:?}"),
            }
        }
    }
    close(&store).await;
    let mut beside = database.beside().await;
    let updates = "SELECT n_tup_upd FROM pg_stat_user_tables WHERE relname = 'web_sessions'";
    beside
        .wait_for(updates, &(requests + SESSIONS * SAVES).to_string())
        .await;
    let hot = beside
        .number(&updates.replace("n_tup_upd", "n_tup_hot_upd"))
        .await;
    let all = i64::try_from(requests + SESSIONS * SAVES).expect("a count");
    assert!(
        hot * 100 >= all * 95,
        "of {all} saves only {hot} were HOT updates: saves grow the indexes"
    );
}

/// Saves sessions as requests do, under the usual policy, and says how often. Their expiry stays where it is: a renewal is
/// due once in a tenth of the idle timeout.
#[cfg(test)]
async fn write_in_requests(store: &DbStore) -> u64 {
    const VISITORS: u64 = 20;
    const REQUESTS: u64 = 10;
    let manager = SessionManager::new(store.clone());
    let mut cookies = Vec::new();
    for _ in 0..VISITORS {
        let created = request(&manager, None, |session| session.set("count", &0_u64)).await;
        let (_, cookie) = created.expect("the database works");
        cookies.push(cookie.expect("a new session"));
    }
    let expiries = async || {
        let page = store.page(Page::first(1_000)).await;
        let page = page.expect("the database works");
        let expiries = page.into_iter().map(|(_, record)| record.expires_at);
        expiries.collect::<Vec<_>>()
    };
    let before = expiries().await;
    for number in 1..=REQUESTS {
        for cookie in &cookies {
            let written = request(&manager, Some(cookie), |session| {
                session.set("count", &number)
            });
            let (set, _) = written.await.expect("the database works");
            set.expect("a number");
        }
    }
    assert_eq!(
        expiries().await,
        before,
        "an ordinary save moves the expiry, and with it an entry of an index"
    );
    VISITORS * REQUESTS
}
