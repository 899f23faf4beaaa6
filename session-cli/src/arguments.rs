//! Turns a command line into a command, or says what is wrong with it. It never repeats what may be a secret.

mod given;

use std::ffi::{OsStr, OsString};
use std::num::NonZeroU32;
use std::path::PathBuf;

use session_core::SessionHandle;

use crate::help;
use crate::outcome::Failure;
use crate::place::Place;
use crate::progress::Voice;

use given::Given;

/// What a command line asks for.
#[derive(Debug)]
pub(crate) enum Invocation {
    Say(String),
    Run(Box<Run>),
}

/// A command, and how it is to speak.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) command: Command,
    pub(crate) as_json: bool,
    pub(crate) voice: Voice,
    pub(crate) warnings: Vec<String>,
}

#[derive(Debug)]
pub(crate) enum Command {
    Migrate {
        at: Place,
        only_print: bool,
    },
    Check {
        at: Place,
    },
    ClearExpired {
        at: Place,
        rate: Rate,
        dry_run: bool,
    },
    Stats {
        at: Place,
        top: usize,
    },
    List {
        at: Place,
        owner: String,
    },
    Show {
        at: Place,
        owner: String,
        handle: SessionHandle,
    },
    End {
        at: Place,
        owner: String,
        handle: SessionHandle,
    },
    EndAll {
        at: Place,
        owner: String,
    },
    Copy(Copy),
    Reseal(Reseal),
}

/// At most so many sessions in a second.
pub(crate) type Rate = Option<NonZeroU32>;

#[derive(Debug)]
pub(crate) struct Copy {
    pub(crate) from: Place,
    pub(crate) to: Place,
    pub(crate) journal: PathBuf,
    pub(crate) known_only: bool,
    pub(crate) rate: Rate,
    pub(crate) dry_run: bool,
}

#[derive(Debug)]
pub(crate) struct Reseal {
    pub(crate) at: Place,
    pub(crate) keys: Keys,
    pub(crate) ring_name: Option<String>,
    pub(crate) accept_plain: bool,
    pub(crate) rate: Rate,
}

/// Where a ring's keys are: never on the command line.
#[derive(Debug)]
pub(crate) enum Keys {
    Variable(String),
    File(PathBuf),
}

/// What `command --help` says, by the command's name.
const COMMANDS: [(&str, &str); 10] = [
    ("migrate", help::MIGRATE),
    ("check", help::CHECK),
    ("clear-expired", help::CLEAR_EXPIRED),
    ("stats", help::STATS),
    ("list", help::LIST),
    ("show", help::SHOW),
    ("end", help::END),
    ("end-all", help::END_ALL),
    ("copy", help::COPY),
    ("reseal", help::RESEAL),
];

/// What `arguments` ask for. They come without the program's name.
pub(crate) fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Invocation, Failure> {
    let mut given = Given::read(arguments)?;
    if given.wants_version {
        let version = concat!("sessions ", env!("CARGO_PKG_VERSION"));
        return Ok(Invocation::Say(version.to_owned()));
    }
    let mut words = std::mem::take(&mut given.words).into_iter();
    let Some(name) = words.next() else {
        return if given.wants_help {
            Ok(Invocation::Say(help::OVERVIEW.to_owned()))
        } else {
            Err(misused("name a command; `sessions --help` lists them"))
        };
    };
    if name == "help" {
        return help_on(words.next().as_deref());
    }
    let Some((name, text)) = COMMANDS.into_iter().find(|(known, _)| name == *known) else {
        return Err(misused(
            "there is no such command; `sessions --help` lists them",
        ));
    };
    if given.wants_help {
        return Ok(Invocation::Say(text.to_owned()));
    }
    given.refuse_what_is_not_for(name)?;
    given.run(name, words).map(Box::new).map(Invocation::Run)
}

fn help_on(subject: Option<&OsStr>) -> Result<Invocation, Failure> {
    let Some(subject) = subject else {
        return Ok(Invocation::Say(help::OVERVIEW.to_owned()));
    };
    let others = [("stores", help::STORES), ("exit-codes", help::EXIT_CODES)];
    let found = COMMANDS
        .into_iter()
        .chain(others)
        .find(|(name, _)| subject == *name);
    let (_, text) = found
        .ok_or_else(|| misused("there is no help on that; `sessions --help` lists the commands"))?;
    Ok(Invocation::Say(text.to_owned()))
}

fn misused(advice: &str) -> Failure {
    Failure::Misused(advice.to_owned())
}
