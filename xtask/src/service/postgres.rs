//! PostgreSQL, with a superuser `postgres` and statistics of every statement.

use std::process::Command;

use super::{Place, Service, account, database, program};
use crate::Result;
use crate::process::StopSignal;

pub(super) const SERVICE: Service = Service {
    name: "postgres",
    programs: &["postgres", "initdb"],
    lacks: || None,
    packages: &["postgresql"],
    variable: "SESSION_TEST_POSTGRES",
    behind: None,
    prepare,
    signal: StopSignal::Terminate,
    answers: database::answers_as_postgres,
    url: |place| {
        let Place { port, ground, .. } = place;
        let password = &ground.password;
        format!("postgres://postgres:{password}@127.0.0.1:{port}/postgres")
    },
};

/// The tests kill the server, never the machine: what it wrote is in the system's memory, and a restart finds it there.
/// So nothing is forced onto the disk; a test that measures says `ALTER SYSTEM SET fsync = on` first.
const SETTINGS: &str = "
listen_addresses = '127.0.0.1'
unix_socket_directories = ''
max_connections = 300
fsync = off
full_page_writes = off
shared_preload_libraries = 'pg_stat_statements'
";

fn prepare(place: &Place) -> Result<Command> {
    let folder = &place.folder;
    let data = folder.join("data");
    let password = folder.join("password");
    database::append(&password, &place.ground.password)?;
    account::hand_over(folder)?;
    let mut initdb = account::unprivileged(program::path("initdb"), folder);
    initdb
        .args(["--username=postgres", "--auth=scram-sha-256"])
        .args(["--no-locale", "--encoding=UTF8", "--no-sync"])
        .arg("--pwfile")
        .arg(&password)
        .arg("--pgdata")
        .arg(&data);
    database::run(&mut initdb)?;
    let settings = format!("{SETTINGS}port = {}\n", place.port);
    database::append(&data.join("postgresql.conf"), &settings)?;

    let mut server = account::unprivileged(program::path("postgres"), folder);
    server.arg("-D").arg(&data);
    // Its fast shutdown: open transactions are rolled back, nobody is waited for.
    Ok(database::restarted(&server, "INT"))
}
