//! Kills the server as xtask runs it, which starts it again: at once, or when the file `down` is gone.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use super::Server;
use super::beside::Beside;

/// A server that may be killed. It is left alone, and may start again, when this is dropped.
#[derive(Debug)]
pub(crate) struct Victim {
    /// The file with its process id on the first line.
    process: PathBuf,
    /// Keeps it down as long as it exists.
    down: PathBuf,
}

impl Victim {
    pub(crate) async fn of(server: Server, beside: &mut Beside) -> Self {
        let (data, process) = match server {
            Server::MariaDb => (
                beside.text("SELECT @@datadir").await,
                beside.text("SELECT @@pid_file").await,
            ),
            Server::Postgres | Server::PgBouncer => {
                let data = beside.text("SHOW data_directory").await;
                let process = format!("{data}/postmaster.pid");
                (data, process)
            }
        };
        let folder = Path::new(&data).parent().expect("a folder for the server");
        Self {
            down: folder.join("down"),
            process: process.into(),
        }
    }

    /// Ends it in the middle of whatever it does, and keeps it down.
    pub(crate) fn kill(&self) {
        File::create(&self.down).expect("the server's folder is ours");
        let id = fs::read_to_string(&self.process).expect("the server runs");
        let id = id.lines().next().expect("a process id").trim().to_owned();
        let status = Command::new("kill").args(["-s", "KILL", &id]).status();
        assert!(
            status.expect("kill is there").success(),
            "the server could not be killed"
        );
    }

    pub(crate) fn let_it_start(&self) {
        drop(fs::remove_file(&self.down));
    }
}

impl Drop for Victim {
    fn drop(&mut self) {
        self.let_it_start();
    }
}
