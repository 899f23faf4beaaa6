//! How the table comes to be: by ten processes at once, by people's own migrations, beside tables of others; and what
//! `check` says of one that is not as it must be.
#![cfg(all(feature = "sqlite", feature = "postgres", feature = "mysql"))]

#[cfg(test)]
mod support;

use std::io::Write as _;

use session_core::store::{
    Change, ExpiryChange, Label, NewRecord, Saved, SessionStore, StoreError, StoreKey, Timestamp,
    Version,
};
use session_db::{
    DbPool, DbStore, DbStoreConfig, Error, MIGRATION_MYSQL, MIGRATION_POSTGRES, MIGRATION_SQLITE,
    TableName, sqlx,
};
use support::children::{run_at_once, wait_for_go};
use support::records::{NOW, PATIENT, change, key, new, text};
use support::{Server, block_on, load, new_table, role, this_test_as};

/// Runs SQL beside the store, on its pool.
#[cfg(test)]
async fn execute(store: &DbStore, sql: &str) {
    let sql = sqlx::AssertSqlSafe(sql.to_owned());
    let done = match store.pool() {
        DbPool::Sqlite(pool) => sqlx::raw_sql(sql).execute(&pool).await.map(drop),
        DbPool::Postgres(pool) => sqlx::raw_sql(sql).execute(&pool).await.map(drop),
        DbPool::MySql(pool) => sqlx::raw_sql(sql).execute(&pool).await.map(drop),
        other => panic!("{other:?} is new"),
    };
    done.expect("the test's own SQL is fine");
}

/// What `check` finds.
#[cfg(test)]
async fn findings(store: &DbStore) -> Vec<String> {
    match store.check().await {
        Ok(()) => Vec::new(),
        Err(Error::NotReady { findings, .. }) => findings,
        Err(other) => panic!("{other:?}"),
    }
}

#[cfg(test)]
fn assert_finding(findings: &[String], part: &str) {
    assert!(
        findings.iter().any(|finding| finding.contains(part)),
        "nothing about {part:?} in {findings:#?}"
    );
}

#[test]
fn ten_processes_migrate_at_once() {
    const TEST: &str = "ten_processes_migrate_at_once";
    const PROCESSES: usize = 10;
    if let Some(places) = role() {
        // In a child: the whole start of a program, several times.
        wait_for_go();
        return block_on(async {
            for place in places.split('\n') {
                let (url, table) = place.split_once(' ').expect("the parent says both");
                let config = DbStoreConfig::new().with_timeout(PATIENT);
                let config = config.with_table(TableName::parse(table).unwrap());
                let store = config.connect(url).await.expect("the server answers");
                store.migrate().await.expect("another was faster, or not");
                store.check().await.expect("all is in place");
                let number = u64::from(std::process::id());
                store.create(&key(number), new("here"), NOW).await.unwrap();
            }
        });
    }
    for server in Server::all(TEST) {
        // Each a new table, and on SQLite a new file.
        let places: Vec<(Server, String)> = (0..10)
            .map(|_| match server.name {
                "sqlite" => (Server::sqlite(), new_table()),
                _ => (server.same(), new_table()),
            })
            .collect();
        let told: Vec<String> = places
            .iter()
            .map(|(server, table)| format!("{} {table}", server.url))
            .collect();
        let told = told.join("\n");
        run_at_once((0..PROCESSES).map(|_| this_test_as(TEST, &told)));
        block_on(async {
            for (server, table) in &places {
                let store = server.store_in(table).await;
                let scan = store.scan().expect("there is one");
                let page = scan.page(session_core::store::Page::first(100)).await;
                assert_eq!(page.unwrap().len(), PROCESSES, "{}", server.name);
            }
        });
    }
}

#[test]
fn a_missing_table_says_what_to_do() {
    for server in Server::all("a_missing_table_says_what_to_do") {
        block_on(async {
            let config = server.config(&new_table());
            let store = config.connect(&server.url).await.unwrap();
            let error = store.load(&key(1), NOW).await.unwrap_err();
            assert!(
                matches!(error, StoreError::Misconfigured { .. }),
                "{}: {error:?}",
                server.name
            );
            assert!(error.to_string().contains("run migrate()"), "{error}");
            let error = store.create(&key(1), new("x"), NOW).await.unwrap_err();
            assert!(error.to_string().contains("run migrate()"), "{error}");
            assert_finding(&findings(&store).await, "run migrate()");

            store.migrate().await.unwrap();
            store.migrate().await.expect("again, it does nothing");
            assert_eq!(findings(&store).await, [""; 0], "{}", server.name);
            store.create(&key(1), new("x"), NOW).await.unwrap();
            store.migrate().await.unwrap();
            let record = load(&store, &key(1)).await.expect("it was stored");
            assert_eq!(text(&record), "x", "migrating again lost a session");
        });
    }
}

#[test]
fn the_public_texts_make_the_same_table() {
    for server in Server::all("the_public_texts_make_the_same_table") {
        block_on(async {
            let text = match server.name {
                "sqlite" => MIGRATION_SQLITE,
                "postgres" => MIGRATION_POSTGRES,
                _ => MIGRATION_MYSQL,
            };
            let store = DbStore::connect(&server.url).await.unwrap();
            assert_eq!(store.migration_sql(), text);
            execute(&store, text).await;
            assert_eq!(findings(&store).await, [""; 0], "{}", server.name);
            execute(&store, "DROP TABLE web_sessions").await;
        });
    }
}

/// Two releases may run side by side: the table and the rows that release 0.1 left are found, written and left readable.
#[test]
fn a_table_of_release_0_1_is_used_as_it_is() {
    for server in Server::all("a_table_of_release_0_1_is_used_as_it_is") {
        block_on(async {
            let fixture = match server.name {
                "sqlite" => include_str!("fixtures/0.1/sqlite.sql"),
                "postgres" => include_str!("fixtures/0.1/postgres.sql"),
                _ => include_str!("fixtures/0.1/mysql.sql"),
            };
            let table = new_table();
            let store = server.config(&table).connect(&server.url).await.unwrap();
            let sql = fixture.replace("web_sessions", &table);
            for statement in sql.split_inclusive(";\n").filter(|sql| sql.contains(';')) {
                execute(&store, statement).await;
            }
            assert_eq!(findings(&store).await, [""; 0], "{}", server.name);

            let full = StoreKey::parse("4a5ab9cb7cd0f40c6ee3f4f02ff6b9ae81c6f6ff").unwrap();
            let record = load(&store, &full).await.expect("a session of 0.1 is gone");
            assert_eq!(
                text(&record),
                r#"{"cart":[1,2],"from_name":"Ada Lövelace","nothing":null}"#
            );
            assert_eq!(record.version, Version::Counter(0x0102_0304_0506_0708));
            assert_eq!(record.expires_at, Timestamp::from_secs(1_901_209_600));
            assert_eq!(record.created_at, Some(Timestamp::from_secs(1_900_000_000)));
            assert_eq!(record.owner, Some("ada".into()));
            let label = record.label.as_ref().map(|label| label.as_str());
            assert_eq!(label, Some("Ada's téléphone"));

            let bare = StoreKey::parse("4a09").unwrap();
            let poor = load(&store, &bare).await.expect("a session of 0.1 is gone");
            assert_eq!(text(&poor), "{}");
            assert!(poor.owner.is_none() && poor.label.is_none() && poor.created_at.is_none());

            let saved = store.save(&full, &record.version, change("new"), NOW).await;
            let next = Version::Counter(0x0102_0304_0506_0709);
            assert_eq!(saved.unwrap(), Saved::Stored(next), "{}", server.name);
            store.migrate().await.expect("there is nothing to do");
            let record = load(&store, &full).await.expect("it was just saved");
            assert_eq!(text(&record), "new");
        });
    }
}

/// How the rows of the files in `fixtures` are spelled, by the database itself.
#[cfg(test)]
mod spelled {
    pub(crate) const BY_SQLITE: &str = "SELECT '(' || quote(session_key) || ', ' || version || ', ' || expires_at || ', ' || quote(created_at) || ', ' || quote(owner) || ', ' || quote(label) || ', x''' || lower(hex(payload)) || ''')' FROM web_sessions ORDER BY session_key DESC";
    pub(crate) const BY_POSTGRES: &str = r"SELECT '(' || quote_literal(session_key) || ', ' || version || ', ' || expires_at || ', ' || coalesce(created_at::text, 'NULL') || ', ' || quote_nullable(owner) || ', ' || quote_nullable(label) || ', ''\x' || encode(payload, 'hex') || ''')' FROM web_sessions ORDER BY session_key DESC";
    pub(crate) const BY_MARIADB: &str = "SELECT CAST(CONVERT(CONCAT('(''', session_key, ''', ', version, ', ', expires_at, ', ', COALESCE(created_at, 'NULL'), ', ', COALESCE(CONCAT('''', REPLACE(owner, '''', ''''''), ''''), 'NULL'), ', ', COALESCE(CONCAT('''', REPLACE(label, '''', ''''''), ''''), 'NULL'), ', x''', LOWER(HEX(payload)), ''')') USING utf8mb4) AS CHAR) FROM web_sessions ORDER BY session_key DESC";
}

/// The other direction: what the code of today makes and writes is what release 0.1 did, byte for byte. For a new release's
/// files, which stand beside the old ones, this prints what there is to write.
#[test]
fn a_table_of_today_is_written_in_the_bytes_of_release_0_1() {
    const FULL_VERSION: u64 = 0x0102_0304_0506_0708;
    for server in Server::all("a_table_of_today_is_written_in_the_bytes_of_release_0_1") {
        block_on(async {
            let table = new_table();
            let store = server.store_in(&table).await;
            let end = Timestamp::from_secs(1_901_209_600);
            let write = async |key: &str, mut change: Change, version: u64| {
                let key = StoreKey::parse(key).unwrap();
                let record = NewRecord::new(change.payload.clone(), end);
                store.create(&key, record, NOW).await.unwrap();
                // Where versions begin is drawn at random. Everything else is as the save writes it.
                let before = version - 1;
                let set = format!(
                    "UPDATE {table} SET version = {before} WHERE session_key = '{}'",
                    key.as_str()
                );
                execute(&store, &set).await;
                change.expiry = ExpiryChange::Set(end);
                let saved = store
                    .save(&key, &Version::Counter(before), change, NOW)
                    .await;
                let stored = Saved::Stored(Version::Counter(version));
                assert_eq!(saved.unwrap(), stored, "{}", server.name);
            };
            let mut rich = change(r#"{"cart":[1,2],"from_name":"Ada Lövelace","nothing":null}"#);
            rich.owner = Some("ada".into());
            rich.label = Some(Label::new("Ada's téléphone"));
            rich.created_at = Some(Timestamp::from_secs(1_900_000_000));
            write(
                "4a5ab9cb7cd0f40c6ee3f4f02ff6b9ae81c6f6ff",
                rich,
                FULL_VERSION,
            )
            .await;
            write("4a09", change("{}"), 1).await;

            let of_ours = |sql: &str| sqlx::AssertSqlSafe(sql.replace("web_sessions", &table));
            let (rows, quote, fixture): (Result<Vec<String>, _>, _, _) = match store.pool() {
                DbPool::Sqlite(pool) => {
                    let spelled = sqlx::query_scalar(of_ours(spelled::BY_SQLITE));
                    let fixture = include_str!("fixtures/0.1/sqlite.sql");
                    (spelled.fetch_all(&pool).await, '"', fixture)
                }
                DbPool::Postgres(pool) => {
                    let spelled = sqlx::query_scalar(of_ours(spelled::BY_POSTGRES));
                    let fixture = include_str!("fixtures/0.1/postgres.sql");
                    (spelled.fetch_all(&pool).await, '"', fixture)
                }
                DbPool::MySql(pool) => {
                    let spelled = sqlx::query_scalar(of_ours(spelled::BY_MARIADB));
                    let fixture = include_str!("fixtures/0.1/mysql.sql");
                    (spelled.fetch_all(&pool).await, '`', fixture)
                }
                other => panic!("{other:?} is new"),
            };
            let written = format!(
                "{}\nINSERT INTO {quote}web_sessions{quote} (session_key, version, expires_at, created_at, owner, label, payload) VALUES\n    {};\n",
                store.migration_sql().replace(&table, "web_sessions"),
                rows.unwrap().join(",\n    "),
            );
            assert!(
                written == fixture,
                "{}: an earlier release would find another table, or other rows:\n{written}",
                server.name
            );
        });
    }
}

#[test]
fn a_table_may_be_called_by_a_word_of_sql() {
    for server in Server::all("a_table_may_be_called_by_a_word_of_sql") {
        block_on(async {
            let store = server.store_in("select").await;
            support::do_everything(&store).await;
            assert_eq!(findings(&store).await, [""; 0], "{}", server.name);
            let quote = if server.name == "mariadb" { '`' } else { '"' };
            execute(&store, &format!("DROP TABLE {quote}select{quote}")).await;
        });
    }
}

#[test]
fn schemas_are_made_only_if_that_is_asked_for() {
    for server in [
        Server::postgres("schemas_are_made_only_if_that_is_asked_for"),
        Server::mariadb("schemas_are_made_only_if_that_is_asked_for"),
    ]
    .into_iter()
    .flatten()
    {
        block_on(async {
            let schema = new_table();
            let table = format!("{schema}.Visits");
            let store = server.config(&table).connect(&server.url).await.unwrap();
            let error = store
                .migrate()
                .await
                .expect_err("a schema was made unasked");
            let text = support::records::chain(&error);
            assert!(text.contains("with_schema_creation"), "{text}");
            let config = server.config(&table).with_schema_creation();
            let store = config.connect(&server.url).await.unwrap();
            store.migrate().await.unwrap();
            assert_eq!(findings(&store).await, [""; 0], "{}", server.name);
            store.create(&key(1), new("x"), NOW).await.unwrap();
            assert!(load(&store, &key(1)).await.is_some());
            match server.name {
                "postgres" => execute(&store, &format!("DROP SCHEMA {schema} CASCADE")).await,
                _ => execute(&store, &format!("DROP DATABASE {schema}")).await,
            }
        });
    }
    block_on(async {
        let server = Server::sqlite();
        let store = server
            .config("auth.visits")
            .connect(&server.url)
            .await
            .unwrap();
        let error = store.migrate().await.unwrap_err();
        assert!(
            error.to_string().contains("SQLite has no schemas"),
            "{error}"
        );
        assert_finding(&findings(&store).await, "SQLite has no schemas");
    });
}

#[test]
fn anothers_table_is_neither_taken_nor_touched() {
    for server in Server::all("anothers_table_is_neither_taken_nor_touched") {
        block_on(async {
            let table = new_table();
            let store = server.config(&table).connect(&server.url).await.unwrap();
            let make = format!("CREATE TABLE {table} (id INTEGER PRIMARY KEY, owner INTEGER)");
            execute(&store, &make).await;
            assert!(
                store.migrate().await.is_err(),
                "{}: a table of another's was taken for ours",
                server.name
            );
            let found = findings(&store).await;
            assert_finding(&found, "the column session_key");
            assert_finding(&found, "the column payload");
            assert_finding(&found, "the column owner is");
            assert_finding(&found, "session_key is not the primary key");
            let error = store.load(&key(1), NOW).await.unwrap_err();
            assert!(error.to_string().contains("check()"), "{error}");
            execute(&store, &format!("INSERT INTO {table} VALUES (1, 2)")).await;

            // With the very columns that would be indexed.
            let table = new_table();
            let store = server.config(&table).connect(&server.url).await.unwrap();
            let make = format!(
                "CREATE TABLE {table} (id INTEGER PRIMARY KEY, owner INTEGER, expires_at INTEGER)"
            );
            execute(&store, &make).await;
            let before = indexes(&store, &table).await;
            let error = store.migrate().await.unwrap_err();
            assert!(
                error.to_string().contains("a table of their own"),
                "{}: {error}",
                server.name
            );
            assert_eq!(
                indexes(&store, &table).await,
                before,
                "{}: another's table was given indexes",
                server.name
            );
        });
    }
}

#[cfg(test)]
async fn indexes(store: &DbStore, table: &str) -> i64 {
    match store.pool() {
        DbPool::Sqlite(pool) => {
            let sql = sqlx::query_scalar("SELECT count(*) FROM pragma_index_list(?)");
            sql.bind(table).fetch_one(&pool).await.unwrap()
        }
        DbPool::Postgres(pool) => {
            let sql = "SELECT count(*) FROM pg_index WHERE indrelid = to_regclass($1)";
            let sql = sqlx::query_scalar(sql).bind(table);
            sql.fetch_one(&pool).await.unwrap()
        }
        DbPool::MySql(pool) => {
            let sql = "SELECT COUNT(DISTINCT INDEX_NAME) FROM information_schema.STATISTICS WHERE TABLE_NAME = ?";
            let sql = sqlx::query_scalar(sql).bind(table);
            sql.fetch_one(&pool).await.unwrap()
        }
        other => panic!("{other:?} is new"),
    }
}

/// What somebody meets who has written down a wrong place: each says what to write instead, or what to do.
#[test]
fn a_wrong_place_is_an_error_that_says_what_to_do() {
    const TEST: &str = "a_wrong_place_is_an_error_that_says_what_to_do";
    block_on(async {
        let folder = tempfile::tempdir().unwrap();
        let text = folder.path().join("text");
        let mut file = std::fs::File::create(&text).unwrap();
        file.write_all("some text ".repeat(100).as_bytes()).unwrap();
        let own = "write sqlite:app.db";
        let mut wrong: Vec<(String, &str)> = [
            ("app.db", own),
            ("sqlite:", own),
            ("sqlite://", own),
            ("postgre://ada@localhost/app", own),
            ("postgres:app", own),
            ("mysql:app", own),
            ("postgres://ada@localhost:99999/app", own),
            ("sqlite:/no/such/folder/app.db", "is its folder there"),
            (
                "postgres://ada@no-such-host.invalid/app",
                "is its host's name right",
            ),
            (
                "mysql://ada@no-such-host.invalid/app",
                "is its host's name right",
            ),
        ]
        .map(|(url, says)| (url.to_owned(), says))
        .into();
        wrong.push((
            format!("sqlite:{}", text.display()),
            "is no database of SQLite",
        ));
        if let Some(server) = Server::postgres(TEST) {
            let (host, _) = server.url.rsplit_once('/').unwrap();
            wrong.push((
                server.url_of("postgres", "wrong"),
                "look at user, password and database",
            ));
            wrong.push((
                format!("{host}/nosuch"),
                "look at user, password and database",
            ));
            let (_, address) = host.split_once('@').unwrap();
            wrong.push((format!("mysql://ada:b@{address}/app"), "in time"));
        }
        if let Some(server) = Server::mariadb(TEST) {
            let (host, _) = server.url.rsplit_once('/').unwrap();
            wrong.push((
                server.url_of("root", "wrong"),
                "look at user, password and database",
            ));
            wrong.push((format!("{host}/nosuch"), "look at its name in the URL"));
            let (_, address) = host.split_once('@').unwrap();
            wrong.push((
                format!("postgres://ada:b@{address}/app"),
                "something else answers at this host and port",
            ));
            // It is a URL all the same, for a table whose name says the database.
            let store = DbStore::connect(host).await.unwrap();
            let error = store.load(&key(1), NOW).await.unwrap_err();
            assert!(
                error.to_string().contains("no database is chosen"),
                "{error}"
            );
            let found = findings(&store).await;
            assert_finding(&found, "the table does not exist");
            assert_eq!(found.len(), 1, "root may do everything: {found:#?}");
            let error = store.migrate().await.unwrap_err();
            let text = support::records::chain(&error);
            assert!(text.contains("no database is chosen"), "{text}");
        }
        for (url, says) in wrong {
            let config = DbStoreConfig::new().with_timeout(std::time::Duration::from_secs(1));
            let Err(error) = config.connect(&url).await else {
                panic!("{url} was taken for a place");
            };
            let text = support::records::chain(&error);
            assert!(
                text.contains(says),
                "{url} says nothing of {says:?}: {text}"
            );
        }
    });
}

/// Each index costs every log-in: there is none that nobody needs.
#[test]
fn a_table_has_its_key_two_indexes_and_no_more() {
    for server in Server::all("a_table_has_its_key_two_indexes_and_no_more") {
        block_on(async {
            let table = new_table();
            let store = server.store_in(&table).await;
            let indexes = indexes(&store, &table).await;
            assert_eq!(indexes, 3, "{}: the key's included", server.name);
        });
    }
}

#[test]
fn check_names_each_missing_index_and_a_wrong_type() {
    for server in Server::all("check_names_each_missing_index_and_a_wrong_type") {
        block_on(async {
            let table = new_table();
            let store = server.store_in(&table).await;
            for column in ["owner", "expires_at"] {
                let drop_index = match server.name {
                    "mariadb" => format!("DROP INDEX {table}_{column} ON {table}"),
                    _ => format!("DROP INDEX {table}_{column}"),
                };
                execute(&store, &drop_index).await;
                let found = findings(&store).await;
                assert_eq!(found.len(), 1, "{found:#?}");
                assert_finding(&found, &format!("an index that begins with {column}"));
                let migrated = store.migrate().await;
                migrated.expect("it does what the finding says it does");
                assert_eq!(findings(&store).await, [""; 0], "{}", server.name);
            }

            let text = match server.name {
                // A column's type is for ever: the table is made anew.
                "sqlite" => {
                    let text = store.migration_sql();
                    let other = text.replace("expires_at INTEGER", "expires_at TEXT");
                    assert_ne!(other, text, "the migration spells it otherwise");
                    format!("DROP TABLE {table}; {other}")
                }
                "postgres" => format!("ALTER TABLE {table} ALTER COLUMN expires_at TYPE integer"),
                _ => format!(
                    "ALTER TABLE {table} MODIFY expires_at INT NOT NULL, MODIFY session_key VARCHAR(40) CHARACTER SET utf8mb4, ENGINE = MyISAM"
                ),
            };
            execute(&store, &text).await;
            let found = findings(&store).await;
            match server.name {
                "sqlite" => assert_finding(&found, "the column expires_at is TEXT"),
                "postgres" => assert_finding(&found, "the column expires_at is integer"),
                _ => {
                    assert_finding(&found, "the column expires_at is int");
                    assert_finding(&found, "not InnoDB");
                    assert_finding(&found, "does not compare bytes");
                }
            }
        });
    }
}

/// sqlx has an answer count the rows that a statement found; something in between may see to it that those are counted which
/// it changed. No statement here writes what is there already, so that there is nothing to check. (The contract's tests run
/// on such connections, too.)
#[test]
fn what_an_answer_counts_as_an_affected_row_makes_no_difference() {
    const TEST: &str = "what_an_answer_counts_as_an_affected_row_makes_no_difference";
    let Some(mut server) = Server::mariadb(TEST) else {
        return;
    };
    server.url = support::changed_rows::url_over(&server.url);
    block_on(async {
        let table = new_table();
        let store = server.store_in(&table).await;
        store.create(&key(99), new("x"), NOW).await.unwrap();
        let DbPool::MySql(pool) = store.pool() else {
            panic!("this is MariaDB");
        };
        let same = format!("UPDATE {table} SET version = version");
        let same = sqlx::query(sqlx::AssertSqlSafe(same));
        let affected = same.execute(&pool).await.unwrap().rows_affected();
        assert_eq!(affected, 0, "rows that were found are counted after all");
        store.delete(&key(99)).await.unwrap();
        assert_eq!(findings(&store).await, [""; 0]);
        support::do_everything(&store).await;
    });
}

#[test]
fn check_names_what_is_wrong_with_a_pool() {
    use sqlx::sqlite::{SqliteConnectOptions, SqlitePool};
    block_on(async {
        let server = Server::sqlite();
        let options: SqliteConnectOptions = server.url.parse().unwrap();
        let options = options
            .create_if_missing(true)
            .busy_timeout(std::time::Duration::ZERO);
        let store = DbStore::new(SqlitePool::connect_with(options).await.unwrap());
        store.migrate().await.expect("settings stop no migration");
        let found = findings(&store).await;
        assert_finding(&found, "the journal mode is delete");
        assert_finding(&found, "the busy timeout is 0 ms");

        let memory = DbStore::connect("sqlite::memory:").await.unwrap();
        memory.migrate().await.unwrap();
        assert_eq!(findings(&memory).await, [""; 0]);
    });
    const TEST: &str = "check_names_what_is_wrong_with_a_pool";
    if let Some(server) = Server::postgres(TEST) {
        block_on(async {
            let options: sqlx::postgres::PgConnectOptions = server.url.parse().unwrap();
            let options = options.options([
                ("default_transaction_isolation", "serializable"),
                ("default_transaction_read_only", "on"),
            ]);
            let pool = sqlx::PgPool::connect_with(options).await.unwrap();
            let table = new_table();
            let _made = server.store_in(&table).await;
            let store = server.config(&table).with_pool(pool);
            let found = findings(&store).await;
            assert_finding(&found, "the isolation level is serializable");
            assert_finding(&found, "the server is read-only");
            let error = store.create(&key(1), new("x"), NOW).await.unwrap_err();
            assert!(
                matches!(error, StoreError::Unavailable { .. }),
                "read-only is no fault of the session: {error:?}"
            );
        });
    }
    if let Some(server) = Server::mariadb(TEST) {
        block_on(async {
            let pool = sqlx::mysql::MySqlPoolOptions::new().after_connect(|connection, _| {
                let settings = "SET SESSION TRANSACTION ISOLATION LEVEL READ UNCOMMITTED; SET SESSION autocommit = 0";
                Box::pin(async move {
                    sqlx::raw_sql(settings).execute(connection).await.map(drop)
                })
            });
            let pool = pool.connect(&server.url).await.unwrap();
            let table = new_table();
            let _made = server.store_in(&table).await;
            let store = server.config(&table).with_pool(pool);
            let found = findings(&store).await;
            assert_finding(&found, "READ-UNCOMMITTED");
            assert_finding(&found, "autocommit is off");
        });
    }
}

#[test]
fn a_role_with_no_more_than_it_needs_can_do_everything() {
    const TEST: &str = "a_role_with_no_more_than_it_needs_can_do_everything";
    for server in [Server::postgres(TEST), Server::mariadb(TEST)]
        .into_iter()
        .flatten()
    {
        block_on(async {
            let table = new_table();
            let owner = server.store_in(&table).await;
            let role = format!("r{}", &table[2..]);
            match server.name {
                "postgres" => {
                    execute(
                        &owner,
                        &format!("CREATE ROLE {role} LOGIN PASSWORD 'secret'"),
                    )
                    .await;
                }
                _ => {
                    execute(
                        &owner,
                        &format!("CREATE USER {role}@'%' IDENTIFIED BY 'secret'"),
                    )
                    .await;
                }
            }
            let url = server.url_of(&role, "secret");
            let grantee = match server.name {
                "postgres" => role.clone(),
                _ => format!("{role}@'%'"),
            };
            // Each of these is not enough.
            for rights in [
                "SELECT",
                "SELECT, INSERT, UPDATE",
                "SELECT, INSERT, DELETE",
                "SELECT, UPDATE, DELETE",
            ] {
                execute(&owner, &format!("GRANT {rights} ON {table} TO {grantee}")).await;
                let store = server.config(&table).connect(&url).await.unwrap();
                assert_finding(
                    &findings(&store).await,
                    "GRANT SELECT, INSERT, UPDATE, DELETE",
                );
                if rights == "SELECT" {
                    let error = store.create(&key(1), new("x"), NOW).await.unwrap_err();
                    assert!(error.to_string().contains("GRANT"), "{error}");
                }
                execute(
                    &owner,
                    &format!("REVOKE {rights} ON {table} FROM {grantee}"),
                )
                .await;
            }
            let grant = format!("GRANT SELECT, INSERT, UPDATE, DELETE ON {table} TO {grantee}");
            execute(&owner, &grant).await;

            let store = server.config(&table).connect(&url).await.unwrap();
            store
                .migrate()
                .await
                .expect("all is there already, so that no right to make tables is needed");
            assert_eq!(findings(&store).await, [""; 0], "{}", server.name);
            support::do_everything(&store).await;

            // What it may not do is a fault of the set-up, and says so.
            let elsewhere = server.config(&new_table()).connect(&url).await.unwrap();
            let error = elsewhere.migrate().await.unwrap_err();
            assert!(
                support::records::everything(&error).contains("GRANT"),
                "{error:?}"
            );
        });
    }
}

#[test]
fn what_a_program_starts_with_can_be_spawned() {
    fn assert_send<T: Send>(future: T) -> T {
        future
    }
    block_on(async {
        let store = assert_send(DbStore::connect("sqlite::memory:"))
            .await
            .unwrap();
        assert_send(store.migrate()).await.unwrap();
        assert_send(store.check()).await.unwrap();
    });
}
