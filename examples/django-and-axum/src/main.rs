//! A Rust service that shares its sessions with a running Django: both behind one address, one log-in for both.
//!
//! `cargo xtask demo-django` starts the two. What is below `/rust/` is answered here, the rest by Django.

mod arguments;
mod app;
mod error;
mod login;
mod pages;
mod password;
mod proxy;
mod users;

use std::net::Ipv4Addr;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use session_core::django::DjangoSettings;
use session_core::store::SessionStore;
use session_db::DjangoDbStore;
use session_file::DjangoFileStore;
use session_http::SessionLayer;
use tokio::net::TcpListener;

use crate::arguments::{Arguments, Command};
use crate::proxy::Django;
use crate::users::Users;

/// How long an interrupted service waits for answers under way.
const PATIENCE: Duration = Duration::from_secs(2);

type BoxError = Box<dyn std::error::Error + Send + Sync>;

#[tokio::main]
#[expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a program that talks to whoever started it"
)]
async fn main() -> ExitCode {
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .init();
    match arguments::parse(std::env::args_os().skip(1)) {
        Ok(Command::Help) => {
            println!("{}", arguments::HELP);
            ExitCode::SUCCESS
        }
        Ok(Command::Serve(arguments)) => match serve(&arguments).await {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("{}", chain(&*error));
                ExitCode::FAILURE
            }
        },
        Err(error) => {
            eprintln!("{error}\n\n{}", arguments::HELP);
            ExitCode::from(2)
        }
    }
}

#[expect(clippy::print_stdout, reason = "the address is what one waits for")]
async fn serve(arguments: &Arguments) -> Result<(), BoxError> {
    let Arguments {
        port,
        settings,
        database,
        django,
    } = arguments;
    let json = tokio::fs::read(settings)
        .await
        .map_err(|error| format!("can't read {}: {error}", settings.display()))?;
    let settings = DjangoSettings::from_json(&json)?;
    let store = open_store(&settings, database).await?;
    let sessions = SessionLayer::django(&settings, store)?;
    let users = Users::connect(database, settings).await?;
    let app = app::router(users, sessions, Django::at(django)?);

    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, *port))
        .await
        .map_err(|error| {
            format!("can't listen on port {port} ({error}); choose one with --port")
        })?;
    println!("Serving at http://{}/", listener.local_addr()?);
    let serving = axum::serve(listener, app).with_graceful_shutdown(interrupted());
    let out_of_patience = async {
        interrupted().await;
        tokio::time::sleep(PATIENCE).await;
    };
    tokio::select! {
        served = serving => served?,
        () = out_of_patience => {}
    }
    Ok(())
}

/// The project's own store: its table, or its folder.
async fn open_store(
    settings: &DjangoSettings,
    database: &str,
) -> Result<Arc<dyn SessionStore>, BoxError> {
    match settings.engine() {
        "django.contrib.sessions.backends.db" => {
            let store = DjangoDbStore::connect(database, settings).await?;
            store.check().await?;
            Ok(Arc::new(store))
        }
        "django.contrib.sessions.backends.file" => Ok(Arc::new(DjangoFileStore::open(settings)?)),
        other => Err(format!("this example has no store for SESSION_ENGINE {other}").into()),
    }
}

async fn interrupted() {
    if let Err(error) = tokio::signal::ctrl_c().await {
        tracing::error!("Ctrl-C can't be heard: {error}");
        std::future::pending::<()>().await;
    }
}

/// An error and what caused it, on one line.
fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(": ")
}
