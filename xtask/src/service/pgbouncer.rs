//! PgBouncer in front of PostgreSQL, in transaction mode: a connection is another one after each transaction.

use std::process::Command;

use super::{Ground, Place, Service, account, database, postgres, program};
use crate::Result;
use crate::process::StopSignal;

pub(super) const SERVICE: Service = Service {
    name: "pgbouncer",
    programs: &["pgbouncer"],
    lacks: || None,
    packages: &["pgbouncer"],
    variable: "SESSION_TEST_PGBOUNCER",
    behind: Some(&postgres::SERVICE),
    prepare,
    signal: StopSignal::Terminate,
    answers: database::answers_as_postgres,
    url: |place| {
        let Place { port, ground, .. } = place;
        let password = &ground.password;
        format!("postgres://postgres:{password}@127.0.0.1:{port}/postgres")
    },
};

fn prepare(place: &Place) -> Result<Command> {
    let Place {
        port,
        folder,
        ground: Ground { password, .. },
        behind,
    } = place;
    let postgres = behind.ok_or("PgBouncer was started without PostgreSQL")?;
    let users = folder.join("users");
    let settings = folder.join("pgbouncer.ini");
    database::append(&users, &format!("\"postgres\" \"{password}\"\n"))?;
    // Nothing that would make it more forgiving than it is where it was just installed.
    database::append(
        &settings,
        &format!(
            "[databases]\n\
             * = host=127.0.0.1 port={postgres}\n\
             [pgbouncer]\n\
             listen_addr = 127.0.0.1\n\
             listen_port = {port}\n\
             unix_socket_dir =\n\
             auth_type = scram-sha-256\n\
             auth_file = {}\n\
             pool_mode = transaction\n\
             max_client_conn = 200\n",
            users.display()
        ),
    )?;
    account::hand_over(folder)?;
    let mut server = account::unprivileged(program::path("pgbouncer"), folder);
    server.arg("--quiet").arg(&settings);
    Ok(server)
}
