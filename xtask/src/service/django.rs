//! Django, from PyPI in a virtual environment: the project of `examples/django-and-axum`, on SQLite, on PostgreSQL and on
//! MariaDB.

use std::fs::{self, DirBuilder, File};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Map, Value, json};

use super::{Ground, NotInstalled, Place, Service, database, mariadb, postgres, program};
use crate::Result;
use crate::console::say;
use crate::process::StopSignal;

pub(super) const ON_SQLITE: Service = Service {
    name: "django-sqlite",
    variable: "SESSION_TEST_DJANGO_SQLITE",
    ..SERVICE
};

pub(super) const ON_POSTGRES: Service = Service {
    name: "django-postgres",
    variable: "SESSION_TEST_DJANGO_POSTGRES",
    behind: Some(&postgres::SERVICE),
    prepare: |place| prepare(place, Some(&POSTGRES)),
    ..SERVICE
};

pub(super) const ON_MARIADB: Service = Service {
    name: "django-mariadb",
    variable: "SESSION_TEST_DJANGO_MARIADB",
    behind: Some(&mariadb::SERVICE),
    prepare: |place| prepare(place, Some(&MARIADB)),
    ..SERVICE
};

/// What the three have in common. Their address is that of a file: tests that restart Django, or run its commands, need more than
/// a port.
const SERVICE: Service = Service {
    name: "",
    programs: &["python3"],
    lacks: || no_virtual_environments().then_some("python3's module venv"),
    packages: &["python3", "python3-venv"],
    variable: "",
    behind: None,
    prepare: |place| prepare(place, None),
    signal: StopSignal::Terminate,
    answers,
    url: |place| place.folder.join(ADDRESS).display().to_string(),
};

/// The project, from the root.
const PROJECT: &str = "examples/django-and-axum/django";

/// In the service's folder: where Django serves, and how its commands are run.
const ADDRESS: &str = "django.json";

/// The interpreter in a virtual environment.
const PYTHON: &str = "bin/python";

/// A name for the database on a server that has others.
const DATABASE: &str = "django";

/// A server for the database.
struct Server {
    scheme: &'static str,
    role: &'static str,
    /// Makes the database anew, since an earlier start may have left it.
    make_database: &'static str,
}

const POSTGRES: Server = Server {
    scheme: "postgres",
    role: "postgres",
    make_database: "
import os, psycopg
server = psycopg.connect(host='127.0.0.1', port=os.environ['PORT'], user='postgres', password=os.environ['PASSWORD'], autocommit=True)
server.execute('DROP DATABASE IF EXISTS django WITH (FORCE)')
server.execute('CREATE DATABASE django')
",
};

const MARIADB: Server = Server {
    scheme: "mysql",
    role: "root",
    make_database: "
import os, pymysql
server = pymysql.connect(host='127.0.0.1', port=int(os.environ['PORT']), user='root', password=os.environ['PASSWORD'])
server.query('DROP DATABASE IF EXISTS django')
server.query('CREATE DATABASE django CHARACTER SET utf8mb4')
",
};

/// The documented command that prints a project's settings.
const PRINT_SETTINGS: &str = include_str!("../../../session-core/docs/print_settings.txt");

/// The project, with an interpreter that has Django, and the variables that its settings read.
pub(crate) struct Project {
    python: PathBuf,
    manage: PathBuf,
    environment: Vec<(&'static str, String)>,
}

impl Project {
    /// With its database at `database_url`, which is not looked at yet, and this module of settings.
    pub(crate) fn new(
        root: &Path,
        target: &Path,
        settings: &str,
        database_url: String,
    ) -> Result<Self> {
        let folder = root.join(PROJECT);
        Ok(Self {
            python: python(&folder.join("requirements.txt"), target)?,
            manage: folder.join("manage.py"),
            environment: vec![
                ("DATABASE_URL", database_url),
                ("DJANGO_SETTINGS_MODULE", settings.to_owned()),
                ("SECRET_KEY", database::password()?),
                ("PYTHONDONTWRITEBYTECODE", "1".to_owned()),
            ],
        })
    }

    /// `manage.py` with these arguments.
    pub(crate) fn manage(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.python);
        command.arg(&self.manage).args(arguments);
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command
    }

    /// Serves on this port until it is asked to stop.
    pub(crate) fn serve(&self, port: u16) -> Command {
        self.manage(&[
            "runserver",
            "--noreload",
            "--skip-checks",
            &format!("127.0.0.1:{port}"),
        ])
    }

    /// The settings as JSON, printed by the command that the documentation gives.
    pub(crate) fn settings(&self) -> Result<Vec<u8>> {
        let (_, code) = PRINT_SETTINGS
            .trim()
            .split_once(" -c ")
            .ok_or("the documented command has no -c any more")?;
        let output = self
            .manage(&["shell", "-v", "0", "-c", code.trim_matches('"')])
            .output()?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            return Err(format!("the settings can't be printed: {}", said.trim_end()).into());
        }
        Ok(output.stdout)
    }

    /// The value of a variable that the project reads.
    pub(crate) fn variable(&self, name: &str) -> &str {
        let mut environment = self.environment.iter();
        environment
            .find(|(of, _)| *of == name)
            .map_or("", |(_, value)| value)
    }

    /// All that is needed to run its commands.
    fn address(&self, port: u16) -> Result<Value> {
        let environment: Map<String, Value> = self
            .environment
            .iter()
            .map(|(name, value)| ((*name).to_owned(), value.as_str().into()))
            .collect();
        let settings: Value = serde_json::from_slice(&self.settings()?)?;
        Ok(json!({
            "url": format!("http://127.0.0.1:{port}"),
            "python": self.python.display().to_string(),
            "manage": self.manage.display().to_string(),
            "environment": environment,
            "settings": settings,
        }))
    }
}

/// Whether a web server on this port has a session for whoever asks.
pub(crate) fn answers(port: u16) -> bool {
    const QUESTION: &[u8] =
        b"GET /session.json HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n";
    const ANSWER: &[u8] = b"HTTP/1.1 200";
    database::answer(port, QUESTION, ANSWER.len()).is_some_and(|answer| answer == ANSWER)
}

fn prepare(place: &Place, server: Option<&Server>) -> Result<Command> {
    let Place {
        port,
        folder,
        ground:
            Ground {
                root,
                target,
                password,
                ..
            },
        behind,
    } = place;
    let server = server.zip(*behind);
    let url = match server {
        None => format!("sqlite:{}", folder.join("db.sqlite3").display()),
        Some((Server { scheme, role, .. }, port)) => {
            format!("{scheme}://{role}:{password}@127.0.0.1:{port}/{DATABASE}")
        }
    };
    let project = Project::new(root, target, "project.settings_for_tests", url)?;
    if let Some((Server { make_database, .. }, port)) = server {
        let mut make = Command::new(&project.python);
        make.args(["-c", make_database]);
        make.env("PORT", port.to_string()).env("PASSWORD", password);
        database::run(&mut make)?;
    }
    database::run(&mut project.manage(&["migrate", "-v", "0"]))?;
    let address = project.address(*port)?.to_string();
    database::append(&folder.join(ADDRESS), &address)?;
    Ok(project.serve(*port))
}

/// An interpreter that has what `requirements` names. It is made once, and then kept in the target folder.
fn python(requirements: &Path, target: &Path) -> Result<PathBuf> {
    let folder = target.join("django");
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&folder)?;
    // Two runs at once: one makes it, the other waits.
    let lock = File::create(folder.join("lock"))?;
    lock.lock()?;
    let environment = folder.join("environment");
    let python = environment.join(PYTHON);
    let wanted = fs::read_to_string(requirements)?;
    // Written last, and so a sign that everything is there.
    let sign = environment.join("requirements.txt");
    if fs::read_to_string(&sign).is_ok_and(|has| has == wanted) && python.exists() {
        return Ok(python);
    }
    say("--- installing Django in a virtual environment, in the target folder");
    install_in(&environment, requirements).map_err(|error| {
        let advice = "Django can't be installed from PyPI, for which a network is needed";
        NotInstalled(format!("{advice}: {error}"))
    })?;
    database::append(&sign, &wanted)?;
    Ok(python)
}

fn install_in(environment: &Path, requirements: &Path) -> Result<()> {
    let mut make = Command::new(program::path("python3"));
    database::run(make.args(["-m", "venv", "--clear"]).arg(environment))?;
    let mut install = Command::new(environment.join(PYTHON));
    install
        .args(["-m", "pip", "install", "--quiet", "--requirement"])
        .arg(requirements)
        .env("PIP_DISABLE_PIP_VERSION_CHECK", "1")
        .env("PIP_ROOT_USER_ACTION", "ignore");
    database::run(&mut install)
}

/// Debian's `python3` comes without what makes a virtual environment.
fn no_virtual_environments() -> bool {
    let mut look = Command::new(program::path("python3"));
    look.args(["-c", "import ensurepip, venv"]);
    database::run(&mut look).is_err()
}

/// Installs what is missing to start Django, if that is permitted.
pub(crate) fn install(permission: super::Permission) -> Result<()> {
    super::install(&[&ON_SQLITE], permission);
    ON_SQLITE
        .missing()
        .map_or(Ok(()), |advice| Err(advice.into()))
}
