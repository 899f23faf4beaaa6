//! The contract of every store, in Django's own table on each of the databases.
#![cfg(all(
    feature = "sqlite",
    feature = "postgres",
    feature = "mysql",
    feature = "django"
))]

#[cfg(test)]
mod support;

use session_core::django::DjangoSettings;
use support::Server;
use support::django::{AsDigits, make_table, new_store, settings, store_in};

/// A store in a table of its own. Without a server the tests say aloud that they are skipped (and fail in CI); what they
/// then do on SQLite says nothing about the server.
async fn stored_in(server: Option<Server>, settings: &DjangoSettings) -> (AsDigits, Server) {
    let server = server.unwrap_or_else(Server::sqlite);
    (AsDigits(new_store(&server, settings).await), server)
}

#[expect(
    clippy::expect_used,
    reason = "this makes what the tests need, and can't go on without"
)]
fn without_use_tz() -> DjangoSettings {
    let settings = settings().with_naive_times("Asia/Kolkata");
    settings.expect("the system knows the zone")
}

const TEST: &str = "conformance_django";

macro_rules! suite {
    ($name:ident, $new_store:expr) => {
        session_core::conformance_suite!(
            || async { $new_store.await },
            name: $name,
            except: [
                owner_index = "Django's table names no owner",
                scan = "others keep sessions in it, whose keys are no keys here",
                owner_label_and_creation_time = "Django's table has no place for them",
                versions_are_unique = "no place for a version: the content itself is compared",
            ],
        );
    };
}

suite!(sqlite, stored_in(Some(Server::sqlite()), &settings()));
suite!(
    sqlite_without_use_tz,
    stored_in(Some(Server::sqlite()), &without_use_tz())
);
suite!(postgres, stored_in(Server::postgres(TEST), &settings()));
suite!(mariadb, stored_in(Server::mariadb(TEST), &settings()));

/// As behind a pooler: no statement is prepared.
async fn unprepared() -> (AsDigits, Server) {
    let Some(mut server) = Server::postgres(TEST) else {
        return stored_in(None, &settings()).await;
    };
    let table = support::new_table();
    make_table(&server, &table).await;
    server.url = format!("{}?statement-cache-capacity=0", server.url);
    (
        AsDigits(store_in(&server, &table, &settings()).await),
        server,
    )
}

suite!(postgres_unprepared, unprepared());
