//! Serves a Django project and an axum service that share their sessions, until Ctrl-C.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::Write as _;
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::time::{Duration, Instant};

use crate::Result;
use crate::arguments::DemoDjango;
use crate::console::say;
use crate::process::{Ended, Running, StopSignal};
use crate::service::django::{self, Project};
use crate::service::{Permission, free_port};
use crate::workspace::Workspace;

/// The package that is the Rust service, and its program.
const PACKAGE: &str = "django-and-axum";

/// The port that is tried first.
const PORT: u16 = 8000;

/// Who can log in.
const USER: &str = "ada";
const PASSWORD: &str = "engine";

/// How long either of the two may take until it answers.
const START_TIME_MAX: Duration = Duration::from_secs(60);

/// Starts both, and waits until the Rust service ends. Ctrl-C ends xtask, and with it the two: `process` sees to that, as it
/// does when xtask is killed.
pub(crate) fn run(workspace: &Workspace, options: DemoDjango) -> Result<bool> {
    django::install(Permission::given(false))?;
    let folder = workspace.target.join("demo-django");
    if folder.exists() {
        fs::remove_dir_all(&folder)?;
    }
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&folder)?;
    let database = format!("sqlite:{}", folder.join("db.sqlite3").display());
    let project = Project::new(
        &workspace.root,
        &workspace.target,
        "project.settings",
        database,
    )?;
    make_database(&project)?;
    let settings = folder.join("settings.json");
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&settings)?
        .write_all(&project.settings()?)?;

    say("Building the Rust service.");
    let built = workspace.cargo(["build", "--package", PACKAGE]).status()?;
    if !built.success() {
        return Ok(false);
    }

    let django_port = free_port()?;
    let log = folder.join("django.log");
    let django = Running::start(&project.serve(django_port), &log, StopSignal::Terminate)?;
    wait_for("Django", &django, || django::answers(django_port))
        .map_err(|error| format!("{error}; see {}", log.display()))?;

    let port = options.port.map_or_else(usual_port, Ok)?;
    let mut command = std::process::Command::new(workspace.target.join("debug").join(PACKAGE));
    command
        .args(["--port", &port.to_string()])
        .args(["--django", &format!("http://127.0.0.1:{django_port}")])
        .arg("--settings")
        .arg(&settings)
        .env("DATABASE_URL", project.variable("DATABASE_URL"));
    let rust = Running::start(&command, Path::new("/dev/stderr"), StopSignal::Terminate)?;
    // Through the Rust service, and so of both.
    wait_for("the Rust service", &rust, || django::answers(port))?;
    say(what_to_click(port));
    let ended = rust.wait(Duration::MAX)?;
    drop(django);
    Ok(ended == Ended::Exited(0))
}

fn make_database(project: &Project) -> Result<()> {
    for arguments in [
        &["migrate", "-v", "0"][..],
        &[
            "createsuperuser",
            "-v",
            "0",
            "--noinput",
            "--username",
            USER,
            "--email",
            "ada@example.org",
        ],
    ] {
        let mut command = project.manage(arguments);
        command.env("DJANGO_SUPERUSER_PASSWORD", PASSWORD);
        if !command.status()?.success() {
            return Err(format!("manage.py {} failed", arguments.join(" ")).into());
        }
    }
    Ok(())
}

#[expect(
    clippy::disallowed_methods,
    reason = "there is nothing to wait on in another program that is about to listen"
)]
fn wait_for(name: &str, running: &Running, answers: impl Fn() -> bool) -> Result<()> {
    let started = Instant::now();
    while started.elapsed() < START_TIME_MAX && running.is_alive() {
        if answers() {
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Err(format!("{name} was started and does not answer").into())
}

/// The port that people expect, or a free one if another program has it.
fn usual_port() -> Result<u16> {
    match TcpListener::bind((Ipv4Addr::LOCALHOST, PORT)) {
        Ok(_free) => Ok(PORT),
        Err(_taken) => free_port(),
    }
}

fn what_to_click(port: u16) -> String {
    let origin = format!("http://127.0.0.1:{port}");
    format!(
        "
Two services, one session. Log in as {USER} with the password {PASSWORD}.

  {origin}/          Django's page: log in here, and count
  {origin}/rust/     Rust's page: you are logged in, and the count goes on
  {origin}/admin/    Django's admin; a log-in on Rust's page opens it as well

Log out on either page, and you are logged out on both. Change the password on Django's page in
one browser, and another browser's session is over, also on Rust's page.
Ctrl-C ends both."
    )
}
