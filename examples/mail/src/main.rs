//! The demo: a mail form that remembers its sender, a log-in, a list of one's own sessions, and a counter that loses nothing.
//!
//! `cargo xtask demo` runs it. It works without JavaScript.

mod arguments;
mod app;
mod mail;
mod account;
mod devices;
mod counter;
mod page;

use std::process::ExitCode;

use tokio::net::TcpListener;

use crate::arguments::{Arguments, Command};

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
    match arguments::parse() {
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
async fn serve(Arguments { port, store }: Arguments) -> Result<(), BoxError> {
    let layer = session_http::SessionLayer::new(store.open()?);
    let listener = TcpListener::bind((std::net::Ipv4Addr::LOCALHOST, port)).await?;
    println!("The demo is at http://{}/", listener.local_addr()?);
    println!("Sessions are kept in {store}. Ctrl-C ends it.");
    let interrupted = async { tokio::signal::ctrl_c().await.unwrap_or_default() };
    axum::serve(listener, app::router(layer))
        .with_graceful_shutdown(interrupted)
        .await?;
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
