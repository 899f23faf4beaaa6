//! MariaDB, with a user `root` that may do everything.

use std::process::Command;

use super::{Place, Service, account, database, program};
use crate::Result;
use crate::process::StopSignal;

pub(super) const SERVICE: Service = Service {
    name: "mariadb",
    programs: &["mariadbd", "mariadb-install-db", "my_print_defaults"],
    lacks: || None,
    // The programs alone: `mariadb-server` would set up a server of its own.
    packages: &["mariadb-server-core", "mariadb-client-core"],
    variable: "SESSION_TEST_MARIADB",
    behind: None,
    prepare,
    signal: StopSignal::Terminate,
    answers,
    url: |place| {
        let Place { port, ground, .. } = place;
        let password = &ground.password;
        format!("mysql://root:{password}@127.0.0.1:{port}/mysql")
    },
};

fn prepare(place: &Place) -> Result<Command> {
    let folder = &place.folder;
    let data = format!("--datadir={}", folder.join("data").display());
    // Run at each start, before anybody can connect.
    let users = format!(
        "CREATE USER IF NOT EXISTS root@127.0.0.1 IDENTIFIED BY '{}';\n\
         GRANT ALL ON *.* TO root@127.0.0.1 WITH GRANT OPTION;\n",
        place.ground.password
    );
    let init = folder.join("init.sql");
    database::append(&init, &users)?;
    account::hand_over(folder)?;
    let mut install = account::unprivileged(program::path("mariadb-install-db"), folder);
    install
        .arg("--no-defaults")
        .arg(&data)
        // Its own user `root` comes in through the socket alone, and nobody without a password.
        .args(["--auth-root-authentication-method=socket", "--skip-test-db"])
        // What is lost when the machine stops right now is nothing that anybody needs.
        .args(["--innodb-flush-method=nosync", "--innodb-log-file-size=16M"]);
    database::run(&mut install)?;

    let mut server = account::unprivileged(program::path("mariadbd"), folder);
    server
        .arg("--no-defaults")
        .arg(&data)
        .arg(format!("--port={}", place.port))
        .arg("--bind-address=127.0.0.1")
        .arg(format!("--socket={}", folder.join("socket").display()))
        .arg(format!("--pid-file={}", folder.join("pid").display()))
        .arg(format!("--init-file={}", init.display()))
        .args(["--skip-name-resolve", "--max-connections=300"])
        .arg("--innodb-log-file-size=16M")
        // The tests kill the server, never the machine: a commit is handed to the system and need not reach the disk. A
        // test that measures says `SET GLOBAL innodb_flush_log_at_trx_commit = 1` first.
        .arg("--innodb-flush-log-at-trx-commit=2");
    Ok(database::restarted(&server, "TERM"))
}

/// Whether it greets with protocol 10, which it does unasked.
fn answers(port: u16) -> bool {
    const PROTOCOL: u8 = 10;
    // A packet is its length in three bytes, its number, and the greeting, which begins with the protocol.
    database::answer(port, b"", 5).is_some_and(|greeting| greeting.ends_with(&[0, PROTOCOL]))
}
