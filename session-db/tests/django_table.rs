//! Rows that real Django wrote, and what it makes of others: read and compared as it does, or otherwise on purpose. And what
//! is said of a table that is not Django's.
#![cfg(all(
    feature = "sqlite",
    feature = "postgres",
    feature = "mysql",
    feature = "django"
))]

#[cfg(test)]
#[path = "servers/statements.rs"]
#[expect(dead_code, reason = "other tests use the rest of it")]
mod statements;
#[cfg(test)]
mod support;

use session_core::SessionManager;
use session_core::codec::{Binding, Codec};
use session_core::django::DjangoCodec;
use session_core::store::{
    Change, ExpiryChange, NewRecord, Payload, Saved, SessionStore, StoreError, StoreKey, Timestamp,
};
use session_db::{DbPool, DjangoDbStore, Error, sqlx};
use support::beside::Beside;
use support::django::{
    cases, ddl, make_table, new_store, patient_manager, second, settings, settings_of, store_in,
    text,
};
use support::records::{LATER, NOW, change, everything, key, new, text as payload_of};
use support::{Server, block_on, new_table};

/// The only row's columns, as the database shows them as text.
#[cfg(test)]
async fn row(store: &DjangoDbStore, table: &str) -> (String, String) {
    let columns = |end: &str| {
        let sql = format!("SELECT session_data, {end} FROM {table}");
        sqlx::AssertSqlSafe(sql)
    };
    let row = match store.pool() {
        DbPool::Sqlite(pool) => {
            let sql = columns("CAST(expire_date AS TEXT)");
            sqlx::query_as(sql).fetch_one(&pool).await
        }
        DbPool::Postgres(pool) => {
            let sql = columns("to_char(expire_date, 'YYYY-MM-DD HH24:MI:SS')");
            sqlx::query_as(sql).fetch_one(&pool).await
        }
        DbPool::MySql(pool) => {
            let sql = columns("DATE_FORMAT(expire_date, '%Y-%m-%d %H:%i:%s')");
            sqlx::query_as(sql).fetch_one(&pool).await
        }
        other => panic!("{other:?} is new"),
    };
    row.expect("one row")
}

#[cfg(test)]
fn session_key(case: &serde_json::Value) -> StoreKey {
    StoreKey::parse(text(case, "session_key")).expect("Django's keys are keys")
}

#[test]
fn rows_of_django_are_read_and_written_as_django_does() {
    const TEST: &str = "rows_of_django_are_read_and_written_as_django_does";
    for server in Server::all(TEST) {
        for case in cases("/db/rows", 12) {
            let name = text(case, "name");
            let settings = settings_of(case);
            let (key, now) = (session_key(case), second(&case["now"]));
            let data = text(case, "session_data");
            let end_text = text(case, "expire_date_text");
            let end = second(&case["expire_instant"]);
            block_on(async {
                let table = new_table();
                make_table(&server, &table).await;
                let store = store_in(&server, &table, &settings).await;

                // Django's row, read.
                let mut beside = Beside::connect(&server.url).await;
                let end_there = match server.name == "postgres" {
                    true => format!("to_timestamp({})", case["expire_instant"]),
                    false => format!("'{end_text}'"),
                };
                let insert = format!(
                    "INSERT INTO {table} VALUES ('{}', '{data}', {end_there})",
                    key.as_str()
                );
                beside.execute(&insert).await;
                let record = store.load(&key, now).await.unwrap();
                if end <= now {
                    assert!(record.is_none(), "{name} has ended for Django");
                } else {
                    let record = record.expect(name);
                    assert_eq!(record.expires_at, end, "{name} ends at another time");
                    let bytes = record.payload.to_bytes().unwrap();
                    let decoded = DjangoCodec::new(&settings)
                        .decode(&Binding::new(key.clone()), &bytes)
                        .unwrap();
                    assert_eq!(decoded.to_json(), text(case, "json_text"), "{name}");
                }

                // The same session, written.
                assert!(store.delete(&key).await.unwrap());
                let new = NewRecord::new(Payload::from_bytes(data.to_owned()), end);
                store.create(&key, new, now).await.unwrap();
                let (data_there, end_there) = row(&store, &table).await;
                assert_eq!(data_there, data, "{name}");
                let just_before = Timestamp::from_secs(end.as_secs() - 1);
                let record = store.load(&key, just_before).await.unwrap();
                assert_eq!(record.expect(name).expires_at, end, "{name}");
                // PostgreSQL keeps instants, whatever the project's clock shows.
                if server.name != "postgres" {
                    let whole = end_text.split('.').next();
                    assert_eq!(Some(&*end_there), whole, "{}: {name}", server.name);
                }
            });
        }
    }
}

#[test]
fn what_lives_for_django_lives_here_but_for_the_last_part_of_a_second() {
    let server = Server::sqlite();
    let all = cases("/db/visibility", 5)
        .iter()
        .map(|case| (case, "expire_date_text", "loads"))
        .chain(
            cases("/db/foreign_expire_text", 16)
                .iter()
                .map(|case| (case, "expire_date_value", "django_loads_it")),
        );
    for (case, end, loads) in all {
        block_on(async {
            let table = new_table();
            make_table(&server, &table).await;
            let store = store_in(&server, &table, &settings()).await;
            let value = match &case[end] {
                serde_json::Value::String(text) => format!("'{text}'"),
                number => number.to_string(),
            };
            let mut beside = Beside::connect(&server.url).await;
            let insert = format!(
                "INSERT INTO {table} VALUES ('{}', 'data', {value})",
                key(1).as_str()
            );
            beside.execute(&insert).await;

            let now = second(&case["now"]);
            let record = store.load(&key(1), now).await.unwrap();
            // Django's clock has fractions. A session that ends within this second is over here, and not yet removed.
            let ends_within_this_second = value.starts_with("'2026-01-02 03:04:05.");
            let is_there = record.is_some();
            let expected = case[loads] == true && !ends_within_this_second;
            assert_eq!(is_there, expected, "{case}");
            if let Some(record) = record {
                assert!(record.is_live(now), "{case}: it is said to be over");
                let end = record.expires_at;
                let just_before = Timestamp::from_secs(end.as_secs() - 1);
                assert!(
                    store.load(&key(1), just_before).await.unwrap().is_some(),
                    "{case}: it ends before it is said to"
                );
                assert!(
                    store.load(&key(1), end).await.unwrap().is_none(),
                    "{case}: it outlives its end"
                );
            }
            let removed = store.clear_expired(now, &mut |_| {}).await.unwrap();
            let expected = case["removed_by_clear_expired"] == true && !ends_within_this_second;
            assert_eq!(removed == 1, expected, "{case}");
        });
    }
}

#[test]
fn a_damaged_row_is_reported_and_left_as_it_is() {
    const TEST: &str = "a_damaged_row_is_reported_and_left_as_it_is";
    let server_settings = settings_of(&serde_json::Value::Null);
    for server in Server::all(TEST) {
        for case in cases("/db/damaged_rows", 4) {
            let name = text(case, "name");
            block_on(async {
                let table = new_table();
                make_table(&server, &table).await;
                let store = store_in(&server, &table, &server_settings).await;
                let data = text(case, "session_data");
                let new = NewRecord::new(Payload::from_bytes(data.to_owned()), Timestamp::MAX);
                let session_key = session_core::SessionKey::parse(&[b'd'; 32]).unwrap();
                let at = StoreKey::parse(session_key.expose_secret()).unwrap();
                store.create(&at, new, NOW).await.unwrap();
                let manager = patient_manager(store.clone(), &server_settings);
                let session = manager.load(&session_key).await;
                match name {
                    "valid" => {
                        let session = session.unwrap().expect(name);
                        assert_eq!(session.get::<u32>("a").unwrap(), Some(1));
                    }
                    // Django begins an empty session under the same key, and overwrites them.
                    _ => assert!(!matches!(session, Ok(Some(_))), "{name} is served"),
                }
                assert_eq!(row(&store, &table).await.0, data, "{name} was touched");
            });
        }
    }
}

#[test]
fn keys_and_data_are_compared_by_their_bytes() {
    const TEST: &str = "keys_and_data_are_compared_by_their_bytes";
    for server in Server::all(TEST) {
        block_on(async {
            let table = new_table();
            make_table(&server, &table).await;
            let store = store_in(&server, &table, &settings()).await;
            let mut beside = Beside::connect(&server.url).await;
            let insert = format!(
                "INSERT INTO {table} VALUES ('ABCDEFGH12345678', 'Data', '9999-01-01 00:00:00')"
            );
            beside.execute(&insert).await;
            // MariaDB takes the one key for the other, where it is asked to find it. So does it with spaces at the end.
            let lower = StoreKey::parse("abcdefgh12345678").unwrap();
            assert!(store.load(&lower, NOW).await.unwrap().is_none());
            assert!(!store.touch(&lower, Timestamp::MAX, NOW).await.unwrap());
            assert!(!store.delete(&lower).await.unwrap(), "{}", server.name);
            assert_eq!(row(&store, &table).await.0, "Data");
            beside.execute(&format!("DELETE FROM {table}")).await;

            for (stored, other) in [("Data", "data"), ("data", "data "), ("data", "DATA")] {
                // Not by the store, which writes no spaces.
                let insert = format!(
                    "INSERT INTO {table} VALUES ('{}', '{other}', '9999-01-01 00:00:00')",
                    key(1).as_str()
                );
                beside.execute(&insert).await;
                let found = store.load(&key(1), NOW).await.unwrap();
                let version = found.expect("it was just inserted").version;
                let there = store.save(&key(1), &version, change(stored), NOW).await;
                assert!(matches!(there, Ok(Saved::Stored(_))), "{there:?}");
                let late = store.save(&key(1), &version, change("lost"), NOW).await;
                assert_eq!(late.unwrap(), Saved::Conflict, "{}", server.name);
                let late = store
                    .rotate(&key(1), &version, &key(2), change("lost"), NOW)
                    .await;
                assert_eq!(late.unwrap(), Saved::Conflict, "{}", server.name);
                assert!(store.delete(&key(1)).await.unwrap());
            }
        });
    }
}

#[test]
fn what_django_writes_in_between_is_a_conflict_and_what_it_ends_is_gone() {
    const TEST: &str = "what_django_writes_in_between_is_a_conflict_and_what_it_ends_is_gone";
    for server in Server::all(TEST) {
        block_on(async {
            let table = new_table();
            make_table(&server, &table).await;
            let store = store_in(&server, &table, &settings()).await;
            let mut django = Beside::connect(&server.url).await;
            let version = store.create(&key(1), new("ours"), NOW).await.unwrap();

            let django_saves = format!("UPDATE {table} SET session_data = 'Django''s'");
            django.execute(&django_saves).await;
            let saved = store.save(&key(1), &version, change("lost"), NOW).await;
            assert_eq!(saved.unwrap(), Saved::Conflict, "{}", server.name);
            let record = store.load(&key(1), NOW).await.unwrap().unwrap();
            assert_eq!(
                payload_of(&record),
                "Django's",
                "a write of Django's was lost"
            );

            // Its own expiry, moved by Django alone, is no conflict, and stays.
            let later = "2035-06-01 00:00:00";
            let django_moves = format!("UPDATE {table} SET expire_date = '{later}'");
            django.execute(&django_moves).await;
            let saved = store
                .save(&key(1), &record.version, change("ours"), NOW)
                .await;
            let Ok(Saved::Stored(version)) = saved else {
                panic!("{}: {saved:?}", server.name);
            };
            assert_eq!(row(&store, &table).await.1, later);

            django.execute(&format!("DELETE FROM {table}")).await;
            let saved = store.save(&key(1), &version, change("back"), NOW).await;
            assert_eq!(saved.unwrap(), Saved::Gone, "{}", server.name);
        });
    }
}

#[test]
fn the_other_rows_and_columns_of_a_project_are_left_alone() {
    const TEST: &str = "the_other_rows_and_columns_of_a_project_are_left_alone";
    for server in Server::all(TEST) {
        block_on(async {
            let table = new_table();
            make_table(&server, &table).await;
            let mut django = Beside::connect(&server.url).await;
            // A session model of the project's own.
            django
                .execute(&format!(
                    "ALTER TABLE {table} ADD COLUMN account_id integer NULL"
                ))
                .await;
            let store = store_in(&server, &table, &settings()).await;
            store.check().await.expect("more columns do no harm");
            for number in 1..=3 {
                store.create(&key(number), new("data"), NOW).await.unwrap();
            }
            django
                .execute(&format!("UPDATE {table} SET account_id = 7"))
                .await;
            let record = store.load(&key(1), NOW).await.unwrap().unwrap();
            let change = Change::new(Payload::from_bytes("moved"), ExpiryChange::AtLeast(LATER));
            let moved = store
                .rotate(&key(1), &record.version, &key(4), change, NOW)
                .await;
            assert!(matches!(moved, Ok(Saved::Stored(_))), "{moved:?}");
            let count =
                |what: &str| format!("SELECT CAST(count(*) AS CHAR(2)) FROM {table} WHERE {what}");
            for (what, expected) in [
                ("account_id = 7", "3"),
                ("session_data = 'data'", "2"),
                ("session_data = 'moved'", "1"),
            ] {
                let sql = sqlx::AssertSqlSafe(count(what));
                let found: String = match store.pool() {
                    DbPool::Sqlite(pool) => sqlx::query_scalar(sql).fetch_one(&pool).await,
                    DbPool::Postgres(pool) => sqlx::query_scalar(sql).fetch_one(&pool).await,
                    DbPool::MySql(pool) => sqlx::query_scalar(sql).fetch_one(&pool).await,
                    other => panic!("{other:?} is new"),
                }
                .unwrap();
                assert_eq!(found.trim(), expected, "{}: rows with {what}", server.name);
            }
        });
    }
}

#[test]
fn what_django_could_not_read_is_refused_before_it_is_sent() {
    block_on(async {
        let server = Server::sqlite();
        let store = new_store(&server, &settings()).await;
        for bytes in [&b"\0"[..], b"\xff", "é".as_bytes(), br#"{"a":1}"#] {
            let new = NewRecord::new(Payload::from_bytes(bytes.to_vec()), LATER);
            let error = store.create(&key(1), new, NOW).await.unwrap_err();
            assert!(
                matches!(error, StoreError::Unrepresentable { .. }),
                "{error:?}"
            );
            assert!(
                everything(&error).contains("DjangoSettings::manager"),
                "it does not say what to do: {error:?}"
            );
        }
    });
}

/// Whoever builds a manager as for every other store writes JSON, which Django would take for a damaged session.
#[test]
fn a_manager_without_djangos_codec_is_told_so_by_its_first_save() {
    for server in Server::all("a_manager_without_djangos_codec_is_told_so_by_its_first_save") {
        block_on(async {
            let store = new_store(&server, &settings()).await;
            let manager = SessionManager::new(store);
            let session = manager.start();
            session.set("n", &1).unwrap();
            let error = session.save().await.expect_err("Django can't read it");
            let said = everything(&error);
            assert!(said.contains("DjangoSettings::manager"), "{said}");
        });
    }
}

/// What `check` finds.
#[cfg(test)]
async fn findings(store: &DjangoDbStore) -> String {
    match store.check().await {
        Ok(()) => String::new(),
        Err(Error::NotReady { findings, .. }) => findings.join("\n"),
        Err(other) => panic!("{other:?}"),
    }
}

#[test]
fn the_check_knows_djangos_table_and_names_what_is_wrong() {
    const TEST: &str = "the_check_knows_djangos_table_and_names_what_is_wrong";
    for server in Server::all(TEST) {
        block_on(async {
            let table = new_table();
            if server.name == "sqlite" {
                // The file.
                make_table(&server, &new_table()).await;
            }
            let store = store_in(&server, &table, &settings()).await;
            let found = findings(&store).await;
            assert!(found.contains("manage.py migrate"), "{found}");
            let error = store.load(&key(1), NOW).await.unwrap_err();
            let said = everything(&error);
            assert!(said.contains("manage.py migrate"), "{said}");
            assert!(!said.contains("migrate()"), "not ours to make: {said}");

            make_table(&server, &table).await;
            assert_eq!(findings(&store).await, "", "{}", server.name);

            let mut beside = Beside::connect(&server.url).await;
            let index = format!("{table}_expire_date_a5c62663");
            let drop_index = match server.name {
                "mariadb" => format!("DROP INDEX {index} ON {table}"),
                _ => format!("DROP INDEX {index}"),
            };
            beside.execute(&drop_index).await;
            let found = findings(&store).await;
            assert!(
                found.contains("expire_date") && found.contains("Django's own migration"),
                "{found}"
            );

            beside.execute(&format!("DROP TABLE {table}")).await;
            let other = "CREATE TABLE {} (session_key varchar(40) PRIMARY KEY, data text)";
            beside.execute(&other.replace("{}", &table)).await;
            let found = findings(&store).await;
            for column in ["session_data", "expire_date"] {
                assert!(
                    found.contains(&format!("the column {column}")),
                    "{column} is not missed: {found}"
                );
            }
            let error = store.load(&key(1), NOW).await.unwrap_err();
            let said = everything(&error);
            assert!(said.contains("than Django's own"), "{said}");
        });
    }
}

#[test]
fn a_store_never_changes_what_is_djangos() {
    block_on(async {
        let server = Server::sqlite();
        let path = server.url.trim_start_matches("sqlite:").to_owned();
        let missing = DjangoDbStore::connect(&server.url, &settings()).await;
        assert!(missing.is_err(), "an empty database was made for Django");
        assert!(!std::path::Path::new(&path).exists());

        make_table(&server, "django_session").await;
        let store = DjangoDbStore::connect(&server.url, &settings())
            .await
            .unwrap();
        store.check().await.expect("it is Django's own table");
        store.create(&key(1), new("data"), NOW).await.unwrap();
        store.clear_expired(LATER, &mut |_| {}).await.unwrap();
        let DbPool::Sqlite(pool) = store.pool() else {
            panic!("this is SQLite");
        };
        let mode: String = sqlx::query_scalar("PRAGMA journal_mode")
            .fetch_one(&pool)
            .await
            .unwrap();
        assert_eq!(mode, "delete", "the file's mode is for Django to choose");
        let texts: Vec<String> =
            sqlx::query_scalar("SELECT sql FROM sqlite_master WHERE sql IS NOT NULL")
                .fetch_all(&pool)
                .await
                .unwrap();
        assert_eq!(texts, ddl(&server, "django_session"), "the schema changed");
    });
}

/// Every operation of a store, each on a way that sends another statement. The table has no row of these keys.
#[cfg(test)]
async fn do_everything(store: &DjangoDbStore) {
    let soon = Timestamp::from_secs(NOW.as_secs() + 2);
    let short = |payload: &str| {
        let end = Timestamp::from_secs(NOW.as_secs() + 1);
        NewRecord::new(Payload::from_bytes(payload.to_owned()), end)
    };
    let later = |payload: &str| {
        let mut change = change(payload);
        change.expiry = ExpiryChange::AtLeast(LATER);
        change
    };
    let stored = |saved: Result<Saved, StoreError>| match saved.expect("it works") {
        Saved::Stored(version) => version,
        other => panic!("the only writer was answered {other:?}"),
    };
    let first = store.create(&key(1), new("a"), NOW).await.unwrap();
    let second = stored(store.save(&key(1), &first, change("b"), NOW).await);
    let third = stored(store.save(&key(1), &second, later("c"), NOW).await);
    let late = store.save(&key(1), &second, change("d"), NOW).await;
    assert_eq!(late.unwrap(), Saved::Conflict);
    let end = Timestamp::from_secs(LATER.as_secs() + 9);
    assert!(store.touch(&key(1), end, NOW).await.unwrap());
    let fourth = stored(
        store
            .rotate(&key(1), &third, &key(2), change("e"), NOW)
            .await,
    );
    // Over an expired session: a change of the key, and a creation.
    store.create(&key(3), short("x"), NOW).await.unwrap();
    stored(
        store
            .rotate(&key(2), &fourth, &key(3), later("f"), soon)
            .await,
    );
    store.create(&key(4), short("x"), NOW).await.unwrap();
    store.create(&key(4), new("g"), soon).await.unwrap();
    assert!(store.load(&key(4), soon).await.unwrap().is_some());
    assert!(store.delete(&key(4)).await.unwrap());
}

#[test]
fn every_row_of_djangos_is_found_by_an_index() {
    const TEST: &str = "every_row_of_djangos_is_found_by_an_index";
    const ROWS: u64 = 50_000;
    // Every tenth has expired.
    const REST: &str =
        "'data', CASE WHEN i % 10 = 0 THEN '2001-01-01 00:00:00' ELSE '2090-01-01 00:00:00' END";
    statements::listen();
    for server in Server::all(TEST) {
        block_on(async {
            let table = new_table();
            make_table(&server, &table).await;
            let mut beside = Beside::connect(&server.url).await;
            let rows = match server.name {
                "sqlite" => format!(
                    "WITH RECURSIVE numbers (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM numbers WHERE i < {ROWS}) SELECT printf('%08x%024x', i * 2654435761 & 4294967295, i), {REST} FROM numbers; ANALYZE"
                ),
                "postgres" => format!(
                    "SELECT md5(i::text), {} FROM generate_series(1, {ROWS}) AS i; ANALYZE {table}",
                    REST.replace("END", "END::timestamptz")
                ),
                _ => format!(
                    "SELECT MD5(i), {REST} FROM (SELECT seq AS i FROM seq_1_to_{ROWS}) AS numbers; ANALYZE TABLE {table}"
                ),
            };
            beside.execute(&format!("INSERT INTO {table} {rows}")).await;
            if server.name == "mariadb" {
                let listen = "SET GLOBAL log_output = 'TABLE'; SET GLOBAL general_log = ON";
                beside.execute(listen).await;
            }
            // Connected now: SQLite reads what `ANALYZE` found when it opens a file.
            let store = store_in(&server, &table, &settings()).await;
            do_everything(&store).await;
            let removed = store.clear_expired(NOW, &mut |_| {}).await;
            assert_eq!(removed.unwrap(), ROWS / 10, "{}", server.name);

            let mut sent = match server.name {
                "mariadb" => {
                    let quiet = "SET GLOBAL general_log = OFF; SET GLOBAL log_output = 'FILE'";
                    beside.execute(quiet).await;
                    let log = format!(
                        "SELECT argument FROM mysql.general_log WHERE command_type = 'Execute' AND argument LIKE '%{table}%'"
                    );
                    let texts = beside.rows(&log).await;
                    texts.into_iter().flatten().flatten().collect()
                }
                _ => statements::sent_with(&table),
            };
            sent.retain(|sql| !sql.starts_with("INSERT") && !sql.starts_with("CREATE"));
            sent.sort();
            sent.dedup();
            // On MariaDB with their values in them, and two more.
            let least = if server.name == "mariadb" { 12 } else { 10 };
            assert!(sent.len() >= least, "only these were seen: {sent:#?}");
            for sql in sent {
                let plan = plan(&store, &mut beside, &sql).await;
                assert!(
                    plan.is_by_an_index,
                    "{}: {sql} has the plan {}",
                    server.name, plan.text
                );
            }
        });
    }
}

#[cfg(test)]
struct Plan {
    text: String,
    is_by_an_index: bool,
}

/// How the database would run a statement of the store's.
#[cfg(test)]
async fn plan(store: &DjangoDbStore, beside: &mut Beside, sql: &str) -> Plan {
    match store.pool() {
        DbPool::Sqlite(pool) => {
            let explain = sqlx::AssertSqlSafe(format!("EXPLAIN QUERY PLAN {sql}"));
            let steps = sqlx::raw_sql(explain).fetch_all(&pool).await.unwrap();
            let steps: Vec<String> = steps
                .iter()
                .map(|step| sqlx::Row::try_get(step, 3).unwrap())
                .collect();
            Plan {
                is_by_an_index: steps.iter().any(|step| step.starts_with("SEARCH"))
                    && !steps.iter().any(|step| step.starts_with("SCAN")),
                text: steps.join("\n"),
            }
        }
        DbPool::Postgres(_) => {
            // The plan for any value, which a prepared statement gets in the long run.
            let prepare = format!("SET plan_cache_mode = force_generic_plan; PREPARE one AS {sql}");
            beside.execute(&prepare).await;
            let parameters = "SELECT cardinality(parameter_types) FROM pg_prepared_statements WHERE name = 'one'";
            let parameters = usize::try_from(beside.number(parameters).await).unwrap();
            let nulls = vec!["NULL"; parameters].join(", ");
            let steps = beside.rows(&format!("EXPLAIN EXECUTE one ({nulls})")).await;
            beside.execute("DEALLOCATE one").await;
            let steps: Vec<String> = steps.into_iter().flatten().flatten().collect();
            let text = steps.join("\n");
            Plan {
                is_by_an_index: text.contains("Index") && !text.contains("Seq Scan"),
                text,
            }
        }
        DbPool::MySql(_) => {
            // id, select_type, table, type, possible_keys, key, key_len, ref, rows, Extra
            let steps = beside.rows(&format!("EXPLAIN {sql}")).await;
            let is_good = |step: &Vec<Option<String>>| {
                let begins = |at: usize, with: &str| {
                    step[at]
                        .as_deref()
                        .is_some_and(|text| text.starts_with(with))
                };
                begins(2, "<derived")
                    || begins(9, "Impossible WHERE")
                    || (!begins(3, "ALL") && !begins(3, "index") && step[5].is_some())
            };
            Plan {
                is_by_an_index: steps.iter().all(is_good),
                text: format!("{steps:?}"),
            }
        }
        other => panic!("{other:?} is new"),
    }
}
