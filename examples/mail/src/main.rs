//! The demo: a mail form that remembers its sender, a log-in, a list of one's own sessions, and a counter that loses nothing.
//!
//! `cargo xtask demo` runs it. It works without JavaScript.

mod arguments;
mod app;
mod mail;
mod account;
mod devices;
mod counter;
mod metrics;
mod page;

use std::net::Ipv4Addr;
use std::process::ExitCode;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

use crate::arguments::{Arguments, Command};

/// How long an interrupted demo waits for answers under way, and for forms that are half sent.
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
        Ok(Command::Serve(arguments)) => match serve(arguments).await {
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
async fn serve(arguments: Arguments) -> Result<(), BoxError> {
    let Arguments {
        port,
        store,
        metrics,
    } = arguments;
    // Before the store is opened, so that nothing of it is missed.
    let scraped = metrics.then(metrics::router).transpose()?;
    let opened = store.open().await?;
    let layer = session_http::SessionLayer::new(opened.manager.clone());
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port))
        .await
        .map_err(|error| {
            format!("can't listen on port {port} ({error}); choose one with --port")
        })?;
    // Before anybody knows of the address: from here on Ctrl-C is no accident.
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut same_interrupt = signal(SignalKind::interrupt())?;
    println!("The demo is at http://{}/", listener.local_addr()?);
    println!("Sessions are kept in {store}. Ctrl-C ends it.");

    // Outside of the session's layer: a scrape is nobody's visit.
    let app = app::router(layer).merge(scraped.unwrap_or_default());
    let serving = axum::serve(listener, app).with_graceful_shutdown(async move {
        interrupt.recv().await;
    });
    let out_of_patience = async {
        same_interrupt.recv().await;
        tokio::select! {
            _second = same_interrupt.recv() => {}
            () = tokio::time::sleep(PATIENCE) => {}
        }
    };
    tokio::select! {
        served = serving => served?,
        () = out_of_patience => {}
    }
    Ok(())
}

/// An error and what caused it, on one line.
fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(": ")
}
