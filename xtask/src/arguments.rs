//! Turns a command line into a command, or says what is wrong with it.

use std::ffi::OsString;
use std::path::PathBuf;

use lexopt::prelude::{Long, Short, Value, ValueExt as _};

const HELP: &str = "\
The project's own commands. Nothing but cargo is needed to run them.

cargo xtask demo [--port N] [--store SPEC]    serve the demo and print its URL
cargo xtask demo-django [--port N]            serve a Django and a Rust service that share their sessions
cargo xtask test-all                          run what CI runs, and end with a table
cargo xtask services                          start the services that tests use, and keep them
cargo xtask tidy                              check what prose can't keep
cargo xtask bench                             measure what a session costs a request, ours and its peers'
cargo xtask book                              make a book of the documentation
cargo xtask release-check                     check what has to hold before a release

`cargo xtask COMMAND --help` says more about one of them.
";

const DEMO: &str = "\
Builds the demo and serves it on this machine until Ctrl-C.

cargo xtask demo [--port N] [--store SPEC] [-- ARGUMENTS]

  --port N        listen on port N of 127.0.0.1 (without it: 8000, or a free port when 8000 is taken)
  --store SPEC    where sessions are kept: `memory`, `file:DIR`, `sqlite:FILE`, or what `-- --help`
                  lists (without it: SQLite, in demo-sessions.db in the target folder)
  -- ARGUMENTS    handed to the demo as they are
";

const DEMO_DJANGO: &str = "\
Serves a Django project and an axum service that share their sessions, behind one address, until Ctrl-C. Django is
installed in a virtual environment in the target folder, from PyPI.

cargo xtask demo-django [--port N]

  --port N     listen on port N of 127.0.0.1 (without it: 8000, or a free port when 8000 is taken)
";

const TEST_ALL: &str = "\
Runs what CI runs: formatting, tidy, lints per crate and feature set, docs, tests with all features, the
outside crate of docs/write-a-backend.md, and the tests that need a service. It goes on after a failure and ends with a table.

cargo xtask test-all [--only CRATE] [--ci] [--full] [--install]

  --only CRATE    lints, docs and tests of one crate alone
  --ci            a skip is a failure
  --full          also what is too long for every run, and tests with each feature alone (sets SESSION_TEST_FULL=1 for the tests)
  --install       install missing Debian packages through sudo (root installs them without being asked)
";

const SERVICES: &str = "\
Starts every service that the tests use, prints the variables that the tests read, and keeps the services until Enter,
the end of the input, or Ctrl-C.

cargo xtask services [--check] [--install]

  --check      only say what is installed
  --install    install missing Debian packages through sudo (root installs them without being asked)
";

const TIDY: &str = "\
Checks what prose can't keep: the crate graph, isolation, manifests, module docs, required doc headings, README, links.
Each finding is a file, a line and what to do.

cargo xtask tidy
";

const BENCH: &str = "\
Measures what a session costs a request: ours and its peers', in memory and with each store. Programs with lock files of their
own are built for it, below the target folder; PostgreSQL, MariaDB and Redis are started.

cargo xtask bench [--quick] [--full] [--memory] [--json FILE] [--from FILE] [--against FILE] [--report]

  --quick           few batches, and instructions of ours alone: under two minutes, once everything is built
  --full            also a million sessions in each store, files included
  --memory          only sessions in memory, which need no servers
  --json FILE       write the results there (without it: bench-results/latest.json in the target folder)
  --from FILE       measure nothing, and take the results of an earlier run
  --against FILE    print ratios to an earlier run, and fail if ours need 5 % more instructions
  --report          write docs/performance
";

const BOOK: &str = "\
Makes a book of the pages that docs/SUMMARY.md names, in `book` in the target folder. It needs mdBook:
`cargo install mdbook --locked`.

cargo xtask book
";

const RELEASE_CHECK: &str = "\
Checks what has to hold before a release and is too much for every run: bans, licenses and sources of dependencies (cargo-deny),
the Rust version that is promised, the oldest versions of dependencies that are permitted, what must not compile, what would be uploaded, and
the promises of the last release. What is not installed is a failure.

cargo xtask release-check
";

/// What the caller wants.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Command {
    Help(&'static str),
    Demo(Demo),
    DemoDjango(DemoDjango),
    TestAll(TestAll),
    Services(Services),
    Tidy,
    Bench(Bench),
    Book,
    ReleaseCheck,
}

/// How to serve the demo.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Demo {
    pub(crate) port: Option<u16>,
    pub(crate) store: Option<OsString>,
    pub(crate) rest: Vec<OsString>,
}

/// How to serve the demo with Django.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct DemoDjango {
    pub(crate) port: Option<u16>,
}

/// What to test, and how strictly.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct TestAll {
    pub(crate) only: Option<String>,
    pub(crate) ci: bool,
    pub(crate) full: bool,
    pub(crate) install: bool,
}

/// Which services to start.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Services {
    pub(crate) check: bool,
    pub(crate) install: bool,
}

/// What to measure, and what to do with it.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Bench {
    pub(crate) quick: bool,
    pub(crate) full: bool,
    pub(crate) memory: bool,
    pub(crate) json: Option<PathBuf>,
    pub(crate) from: Option<PathBuf>,
    pub(crate) against: Option<PathBuf>,
    pub(crate) report: bool,
}

/// The command that `arguments` ask for. They come without the program's name.
pub(crate) fn parse(
    arguments: impl IntoIterator<Item = OsString>,
) -> Result<Command, lexopt::Error> {
    let mut parser = lexopt::Parser::from_args(arguments);
    match parser.next()? {
        None => Err("which command?".into()),
        Some(Long("help") | Short('h')) => Ok(Command::Help(HELP)),
        Some(Value(name)) => match name.to_str() {
            Some("demo") => demo(&mut parser),
            Some("demo-django") => demo_django(&mut parser),
            Some("test-all") => test_all(&mut parser),
            Some("services") => services(&mut parser),
            Some("tidy") => without_options(&mut parser, TIDY, Command::Tidy),
            Some("bench") => bench(&mut parser),
            Some("book") => without_options(&mut parser, BOOK, Command::Book),
            Some("release-check") => {
                without_options(&mut parser, RELEASE_CHECK, Command::ReleaseCheck)
            }
            Some("help") => Ok(Command::Help(HELP)),
            _ => Err(format!("there is no command {}", name.display()).into()),
        },
        Some(other) => Err(other.unexpected()),
    }
}

fn demo(parser: &mut lexopt::Parser) -> Result<Command, lexopt::Error> {
    let mut options = Demo::default();
    loop {
        if let Some(rest) = after_dashes(parser) {
            options.rest = rest;
            return Ok(Command::Demo(options));
        }
        match parser.next()? {
            None => return Ok(Command::Demo(options)),
            Some(Long("help") | Short('h')) => return Ok(Command::Help(DEMO)),
            Some(Long("port")) => options.port = Some(parser.value()?.parse()?),
            Some(Long("store")) => options.store = Some(parser.value()?),
            Some(other) => return Err(other.unexpected()),
        }
    }
}

fn demo_django(parser: &mut lexopt::Parser) -> Result<Command, lexopt::Error> {
    let mut options = DemoDjango::default();
    while let Some(argument) = parser.next()? {
        match argument {
            Long("help") | Short('h') => return Ok(Command::Help(DEMO_DJANGO)),
            Long("port") => options.port = Some(parser.value()?.parse()?),
            other => return Err(other.unexpected()),
        }
    }
    Ok(Command::DemoDjango(options))
}

fn test_all(parser: &mut lexopt::Parser) -> Result<Command, lexopt::Error> {
    let mut options = TestAll::default();
    while let Some(argument) = parser.next()? {
        match argument {
            Long("help") | Short('h') => return Ok(Command::Help(TEST_ALL)),
            Long("only") => options.only = Some(parser.value()?.string()?),
            Long("ci") => options.ci = true,
            Long("full") => options.full = true,
            Long("install") => options.install = true,
            other => return Err(other.unexpected()),
        }
    }
    Ok(Command::TestAll(options))
}

fn services(parser: &mut lexopt::Parser) -> Result<Command, lexopt::Error> {
    let mut options = Services::default();
    while let Some(argument) = parser.next()? {
        match argument {
            Long("help") | Short('h') => return Ok(Command::Help(SERVICES)),
            Long("check") => options.check = true,
            Long("install") => options.install = true,
            other => return Err(other.unexpected()),
        }
    }
    Ok(Command::Services(options))
}

fn bench(parser: &mut lexopt::Parser) -> Result<Command, lexopt::Error> {
    let mut options = Bench::default();
    while let Some(argument) = parser.next()? {
        match argument {
            Long("help") | Short('h') => return Ok(Command::Help(BENCH)),
            Long("quick") => options.quick = true,
            Long("full") => options.full = true,
            Long("memory") => options.memory = true,
            Long("json") => options.json = Some(parser.value()?.into()),
            Long("from") => options.from = Some(parser.value()?.into()),
            Long("against") => options.against = Some(parser.value()?.into()),
            Long("report") => options.report = true,
            other => return Err(other.unexpected()),
        }
    }
    Ok(Command::Bench(options))
}

fn without_options(
    parser: &mut lexopt::Parser,
    help: &'static str,
    command: Command,
) -> Result<Command, lexopt::Error> {
    match parser.next()? {
        None => Ok(command),
        Some(Long("help") | Short('h')) => Ok(Command::Help(help)),
        Some(other) => Err(other.unexpected()),
    }
}

/// What follows `--`, if that is what comes next.
fn after_dashes(parser: &mut lexopt::Parser) -> Option<Vec<OsString>> {
    let mut rest = parser.try_raw_args()?;
    rest.next_if(|argument| argument == "--")?;
    Some(rest.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Command, String> {
        parse(line.split_whitespace().map(OsString::from)).map_err(|error| error.to_string())
    }

    #[test]
    fn each_command_is_understood_with_its_options() {
        let cases = [
            ("demo", Command::Demo(Demo::default())),
            (
                "demo --port 81 --store memory -- --port 2",
                Command::Demo(Demo {
                    port: Some(81),
                    store: Some("memory".into()),
                    rest: vec!["--port".into(), "2".into()],
                }),
            ),
            (
                "demo-django --port 81",
                Command::DemoDjango(DemoDjango { port: Some(81) }),
            ),
            (
                "test-all --only session-core --ci --full --install",
                Command::TestAll(TestAll {
                    only: Some("session-core".into()),
                    ci: true,
                    full: true,
                    install: true,
                }),
            ),
            (
                "services --check",
                Command::Services(Services {
                    check: true,
                    install: false,
                }),
            ),
            ("tidy", Command::Tidy),
            ("bench", Command::Bench(Bench::default())),
            (
                "bench --quick --full --memory --json a --from b --against c --report",
                Command::Bench(Bench {
                    quick: true,
                    full: true,
                    memory: true,
                    json: Some("a".into()),
                    from: Some("b".into()),
                    against: Some("c".into()),
                    report: true,
                }),
            ),
        ];
        for (line, command) in cases {
            assert_eq!(parsed(line), Ok(command), "{line}");
        }
    }

    #[test]
    fn every_command_explains_itself() {
        for line in [
            "",
            "demo",
            "demo-django",
            "test-all",
            "services",
            "tidy",
            "bench",
        ] {
            let help = parsed(&format!("{line} --help"));
            assert!(
                matches!(&help, Ok(Command::Help(text)) if text.contains("cargo xtask")),
                "`{line} --help` gave {help:?}"
            );
        }
    }

    #[test]
    fn a_wrong_command_line_is_refused_and_the_mistake_is_named() {
        let cases = [
            ("", "which command"),
            ("test_all", "test_all"),
            ("--fast", "--fast"),
            ("demo --port", "--port"),
            ("demo --port eighty", "eighty"),
            ("demo --port 70000", "70000"),
            ("demo memory", "memory"),
            ("demo-django --store memory", "--store"),
            ("test-all --onyl session-core", "--onyl"),
            ("test-all session-core", "session-core"),
            ("test-all --ci=yes", "yes"),
            ("services redis", "redis"),
            ("tidy --fix", "--fix"),
            ("bench quick", "quick"),
        ];
        for (line, named) in cases {
            let message = parsed(line).expect_err(line);
            assert!(
                message.contains(named),
                "`{line}` was refused with: {message}"
            );
        }
    }
}
