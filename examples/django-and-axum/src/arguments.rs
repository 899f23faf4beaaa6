//! What the service is started with.

use std::ffi::OsString;
use std::path::PathBuf;

use lexopt::prelude::{Long, Short, ValueExt as _};

use crate::BoxError;

pub(crate) const HELP: &str = "\
django-and-axum --settings FILE --django URL [--port N]

  --settings FILE  the Django project's settings, as its manage.py prints them (see the README)
  --django URL     where Django serves, as in http://127.0.0.1:8001
  --port N         the port on 127.0.0.1; 0 takes any free one (default 8000)

The variable DATABASE_URL says where the project's database is: sqlite:FILE,
postgres://USER:PASSWORD@HOST/NAME or mysql://USER:PASSWORD@HOST/NAME.";

#[derive(Debug)]
pub(crate) enum Command {
    Help,
    Serve(Arguments),
}

/// No part of it but `database` may hold a password, which is why that is not an argument: others see those.
pub(crate) struct Arguments {
    pub(crate) port: u16,
    pub(crate) settings: PathBuf,
    pub(crate) database: String,
    pub(crate) django: String,
}

impl std::fmt::Debug for Arguments {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Arguments(…)")
    }
}

/// What `arguments` ask for. They come without the program's name.
pub(crate) fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Command, BoxError> {
    let mut parser = lexopt::Parser::from_args(arguments);
    let (mut port, mut settings, mut django) = (8000, None, None);
    while let Some(argument) = parser.next()? {
        match argument {
            Long("port") => {
                let value = parser.value()?;
                port = value
                    .parse()
                    .map_err(|_not_a_port| format!("there is no port {}", value.display()))?;
            }
            Long("settings") => settings = Some(PathBuf::from(parser.value()?)),
            Long("django") => django = Some(parser.value()?.string()?),
            Long("help") | Short('h') => return Ok(Command::Help),
            other => return Err(other.unexpected().into()),
        }
    }
    Ok(Command::Serve(Arguments {
        port,
        settings: settings.ok_or("--settings is missing")?,
        database: std::env::var("DATABASE_URL")
            .map_err(|_missing| "the variable DATABASE_URL is missing")?,
        django: django.ok_or("--django is missing")?,
    }))
}
