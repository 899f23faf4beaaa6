//! The project's own commands: which there are, and how their command lines read. `cargo xtask --help` lists them.

mod arguments;
mod bench;
mod book;
mod check;
mod console;
mod demo;
mod demo_django;
mod outside_crate;
mod process;
mod release_check;
mod report;
mod service;
mod test_all;
mod tidy;
mod workspace;

use std::process::ExitCode;

use arguments::Command;
use workspace::Workspace;

/// What a command that could not do its work says.
type Error = Box<dyn std::error::Error + Send + Sync>;
type Result<T, E = Error> = std::result::Result<T, E>;

/// The exit code for a command line that nobody understands.
const EXIT_USAGE: u8 = 2;

fn main() -> ExitCode {
    let command = match arguments::parse(std::env::args_os().skip(1)) {
        Ok(command) => command,
        Err(error) => return misunderstood(&error),
    };
    if let Command::Help(text) = command {
        console::say(text.trim_end());
        return ExitCode::SUCCESS;
    }
    let workspace = match Workspace::find() {
        Ok(workspace) => workspace,
        Err(error) => return failed(&*error),
    };
    if let Command::TestAll(options) = &command
        && let Some(name) = &options.only
        && let Err(error) = workspace.package(name)
    {
        return misunderstood(&*error);
    }
    match run(&workspace, command) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => failed(&*error),
    }
}

/// `false` when the command did its work and the answer is no.
fn run(workspace: &Workspace, command: Command) -> Result<bool> {
    match command {
        Command::Help(_) => Ok(true),
        Command::Demo(options) => demo::run(workspace, options),
        Command::DemoDjango(options) => demo_django::run(workspace, options),
        Command::TestAll(options) => test_all::run(workspace, &options),
        Command::Services(options) => service::run(workspace, options),
        Command::Tidy => tidy::run(workspace),
        Command::Bench(options) => bench::run(workspace, &options),
        Command::Book => book::run(workspace),
        Command::ReleaseCheck => release_check::run(workspace),
    }
}

fn misunderstood(error: &(dyn std::error::Error + 'static)) -> ExitCode {
    console::complain(format_args!("error: {error}"));
    console::complain("`cargo xtask --help` lists the commands and their options.");
    ExitCode::from(EXIT_USAGE)
}

fn failed(error: &(dyn std::error::Error + 'static)) -> ExitCode {
    console::complain(format_args!("error: {error}"));
    ExitCode::FAILURE
}
