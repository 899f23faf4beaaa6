//! What stands on a command line, and which command may have which of it.

use std::ffi::OsString;
use std::path::PathBuf;

use lexopt::prelude::{Long, Short, Value, ValueExt as _};
use session_core::SessionHandle;

use super::{Command, Copy, Keys, Rate, Reseal, Run, misused};
use crate::outcome::Failure;
use crate::place::{Named, Place};
use crate::progress::Voice;

/// Where the store is named if the command line does not.
const STORE_VARIABLE: &str = "SESSIONS_STORE";

/// What was given, before anybody knows whether the command wants it.
#[derive(Default)]
pub(super) struct Given {
    pub(super) words: Vec<OsString>,
    store: Option<Named>,
    owner: Option<String>,
    journal: Option<PathBuf>,
    keys: Option<Keys>,
    ring_name: Option<String>,
    rate: Rate,
    top: Option<usize>,
    flags: Vec<&'static str>,
    as_json: bool,
    is_quiet: bool,
    voice: Option<Voice>,
    pub(super) wants_help: bool,
    pub(super) wants_version: bool,
    /// The options of some commands only that were given.
    special: Vec<&'static str>,
}

/// The options that only some commands have, and which.
const SPECIAL: [(&str, &[&str]); 14] = [
    ("print", &["migrate"]),
    ("rate", &["clear-expired", "copy", "reseal"]),
    ("dry-run", &["clear-expired", "copy"]),
    ("top", &["stats"]),
    ("owner", &["list", "show", "end", "end-all"]),
    ("journal", &["copy"]),
    ("known-only", &["copy"]),
    ("keys-env", &["reseal"]),
    ("keys-file", &["reseal"]),
    ("ring-name", &["reseal"]),
    ("accept-plain", &["reseal"]),
    ("store", NOT_COPY),
    ("store-file", NOT_COPY),
    ("progress", &["clear-expired", "stats", "copy", "reseal"]),
];

const NOT_COPY: &[&str] = &[
    "migrate",
    "check",
    "clear-expired",
    "stats",
    "list",
    "show",
    "end",
    "end-all",
    "reseal",
];

impl Given {
    pub(super) fn read(arguments: impl IntoIterator<Item = OsString>) -> Result<Self, Failure> {
        let mut parser = lexopt::Parser::from_args(arguments);
        let mut given = Self::default();
        while let Some(argument) = parser.next().map_err(|error| told(&error))? {
            let name = match argument {
                Value(word) => {
                    given.words.push(word);
                    continue;
                }
                Short('h') => "help".to_owned(),
                Short('V') => "version".to_owned(),
                Short(other) => return Err(misused(&format!("there is no option -{other}"))),
                Long(name) => name.to_owned(),
            };
            given.take(&name, &mut parser)?;
        }
        Ok(given)
    }

    fn take(&mut self, name: &str, parser: &mut lexopt::Parser) -> Result<(), Failure> {
        let special = SPECIAL.iter().find(|(known, _)| *known == name);
        self.special.extend(special.map(|(name, _)| *name));
        let mut value = || parser.value().map_err(|error| told(&error));
        match name {
            "help" => self.wants_help = true,
            "version" => self.wants_version = true,
            "json" => self.as_json = true,
            "quiet" => self.is_quiet = true,
            "progress" => {
                let value = value()?;
                self.voice = Some(match value.to_str() {
                    Some("bar") => Voice::Bar,
                    Some("lines") => Voice::Lines,
                    Some("none") => Voice::Silent,
                    _ => return Err(misused("--progress is bar, lines or none")),
                });
            }
            "store" => self.store(Named::parse(&value()?)?)?,
            "store-file" => self.store(Named::in_file(&PathBuf::from(value()?))?)?,
            "owner" => self.owner = Some(text(value()?, "--owner")?),
            "journal" => self.journal = Some(value()?.into()),
            "keys-env" => self.keys(Keys::Variable(text(value()?, "--keys-env")?))?,
            "keys-file" => self.keys(Keys::File(value()?.into()))?,
            "ring-name" => self.ring_name = Some(text(value()?, "--ring-name")?),
            "rate" => {
                let rate = value()?.parse().ok();
                self.rate = Some(rate.ok_or_else(|| {
                    misused("--rate is a number of sessions in a second, 1 or more")
                })?);
            }
            "top" => {
                let top = value()?.parse().ok();
                self.top = Some(top.ok_or_else(|| misused("--top is a number of owners"))?);
            }
            "print" | "dry-run" | "known-only" | "accept-plain" => {
                self.flags.extend(special.map(|(name, _)| *name));
            }
            other => {
                return Err(misused(&format!(
                    "there is no option --{other}; see `sessions --help`"
                )));
            }
        }
        Ok(())
    }

    fn store(&mut self, named: Named) -> Result<(), Failure> {
        if self.store.replace(named).is_some() {
            return Err(misused("name one store"));
        }
        Ok(())
    }

    fn keys(&mut self, keys: Keys) -> Result<(), Failure> {
        if self.keys.replace(keys).is_some() {
            return Err(misused(
                "name one place for the ring's keys: --keys-env or --keys-file",
            ));
        }
        Ok(())
    }

    pub(super) fn refuse_what_is_not_for(&self, command: &str) -> Result<(), Failure> {
        for (option, commands) in SPECIAL {
            if self.special.contains(&option) && !commands.contains(&command) {
                return Err(misused(&format!(
                    "`{command}` has no option --{option}; see `sessions {command} --help`"
                )));
            }
        }
        Ok(())
    }

    fn has(&self, flag: &str) -> bool {
        self.flags.contains(&flag)
    }

    pub(super) fn run(
        mut self,
        name: &str,
        mut words: impl Iterator<Item = OsString>,
    ) -> Result<Run, Failure> {
        let mut warnings = Vec::new();
        let mut named = Vec::new();
        if name == "copy" {
            for which in ["FROM", "TO"] {
                let word = words.next().ok_or_else(|| {
                    misused(&format!(
                        "copy needs two stores, and {which} is missing; see `sessions copy --help`"
                    ))
                })?;
                named.push(Named::parse(&word)?);
            }
        } else {
            named.push(match self.store.take() {
                Some(named) => named,
                None => Named::in_variable(STORE_VARIABLE).map_err(|mistake| {
                    Failure::Misused(format!(
                        "name the store, by --store, --store-file or the environment: {mistake}"
                    ))
                })?,
            });
        }
        if !self.is_quiet && named.iter().any(|named| named.shows_password) {
            warnings.push("every user of this machine can read the password in a command line; give the URL by env:VARIABLE, @FILE or --store-file".to_owned());
        }
        let mut places = named.into_iter().map(|named| named.place);
        let at = places.next().ok_or_else(|| misused("name the store"))?;
        let command = self.command(name, at, places.next(), &mut words)?;
        if words.next().is_some() {
            return Err(misused(&format!(
                "there is a word too many; see `sessions {name} --help`"
            )));
        }
        let voice = match self.voice {
            _ if self.is_quiet => Voice::Silent,
            Some(voice) => voice,
            None if self.as_json => Voice::Silent,
            None => Voice::suiting(),
        };
        Ok(Run {
            command,
            as_json: self.as_json,
            voice,
            warnings,
        })
    }

    fn command(
        &mut self,
        name: &str,
        at: Place,
        to: Option<Place>,
        words: &mut impl Iterator<Item = OsString>,
    ) -> Result<Command, Failure> {
        let rate = self.rate;
        Ok(match (name, to) {
            ("migrate", _) => Command::Migrate { at, only_print: self.has("print") },
            ("check", _) => Command::Check { at },
            ("clear-expired", _) => Command::ClearExpired { at, rate, dry_run: self.has("dry-run") },
            ("stats", _) => Command::Stats { at, top: self.top.unwrap_or(5) },
            ("list", _) => Command::List { at, owner: self.owner()? },
            ("show", _) => Command::Show { at, owner: self.owner()?, handle: handle(words.next())? },
            ("end", _) => Command::End { at, owner: self.owner()?, handle: handle(words.next())? },
            ("end-all", _) => Command::EndAll { at, owner: self.owner()? },
            ("copy", Some(to)) => Command::Copy(Copy {
                from: at,
                to,
                journal: self.journal.take().ok_or_else(|| misused("copy needs --journal FILE: without it, what has ended since an earlier copy would be brought back"))?,
                known_only: self.has("known-only"),
                rate,
                dry_run: self.has("dry-run"),
            }),
            _ => Command::Reseal(Reseal {
                at,
                keys: self.keys.take().ok_or_else(|| misused("reseal needs the ring's keys: --keys-env VARIABLE or --keys-file FILE"))?,
                ring_name: self.ring_name.take(),
                accept_plain: self.has("accept-plain"),
                rate,
            }),
        })
    }

    fn owner(&mut self) -> Result<String, Failure> {
        self.owner
            .take()
            .ok_or_else(|| misused("whose sessions? Give --owner ID"))
    }
}

fn handle(word: Option<OsString>) -> Result<SessionHandle, Failure> {
    let word =
        word.ok_or_else(|| misused("which session? Give its handle, as `sessions list` shows it"))?;
    let word = word.to_str().unwrap_or_default();
    word.parse()
        .map_err(|error: session_core::SessionError| Failure::Misused(error.to_string()))
}

fn text(value: OsString, option: &str) -> Result<String, Failure> {
    value
        .into_string()
        .map_err(|_not_text| misused(&format!("{option} is not text in UTF-8")))
}

/// What the parser objects to, without the value, which may be a URL with its password.
fn told(error: &lexopt::Error) -> Failure {
    misused(&match error {
        lexopt::Error::UnexpectedValue { option, .. } => format!("{option} takes no value"),
        lexopt::Error::MissingValue {
            option: Some(option),
        } => format!("{option} needs a value"),
        _ => "the command line can't be read; see `sessions --help`".to_owned(),
    })
}
