#![doc = include_str!("../docs/crate.md")]

mod arguments;
mod help;
mod outcome;
mod place;
mod backend;
mod pace;
mod progress;
mod text;
mod walk;
mod copy;
mod command;

use std::io::{self, Write as _};
use std::process::ExitCode;

use crate::arguments::Invocation;
use crate::outcome::Outcome;

#[tokio::main]
async fn main() -> ExitCode {
    let invocation = match arguments::parse(std::env::args_os().skip(1)) {
        Ok(Invocation::Say(text)) => {
            say(text.trim_end());
            return Outcome::Done.into();
        }
        Ok(Invocation::Run(invocation)) => invocation,
        Err(mistake) => {
            complain(&mistake.to_string());
            return Outcome::Misused.into();
        }
    };
    for warning in &invocation.warnings {
        complain(&format!("warning: {warning}"));
    }
    let as_json = invocation.as_json;
    let ended = command::run(*invocation).await;
    match ended {
        Ok(report) => {
            say(&report.shown(as_json));
            report.outcome.into()
        }
        Err(failure) => {
            if as_json {
                say(&failure.as_json());
            } else {
                complain(&failure.to_string());
            }
            failure.outcome().into()
        }
    }
}

/// Whoever reads may have gone away, as `head` does; that is no failure of what was done.
fn say(text: &str) {
    drop(writeln!(io::stdout().lock(), "{text}"));
}

fn complain(text: &str) {
    drop(writeln!(io::stderr().lock(), "{text}"));
}
