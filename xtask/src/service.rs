//! The programs that tests talk to: what each needs, how it is started for one run, and that it is gone afterwards.

mod account;
mod browser;
mod database;
pub(crate) mod django;
mod folder;
mod install;
mod mariadb;
mod pgbouncer;
mod postgres;
mod program;
mod redis;

use std::fmt;
use std::fs;
use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::Result;
use crate::arguments::Services;
use crate::console::{complain, say};
use crate::process::{Running, StopSignal};
use crate::workspace::Workspace;

use folder::Folder;
pub(crate) use install::Permission;

/// Every service there is. One that stands behind another comes before it.
const ALL: [&Service; 10] = [
    &postgres::SERVICE,
    &mariadb::SERVICE,
    &pgbouncer::SERVICE,
    &redis::STANDALONE,
    &redis::CLUSTER,
    &redis::SENTINEL,
    &browser::SERVICE,
    &django::ON_SQLITE,
    &django::ON_POSTGRES,
    &django::ON_MARIADB,
];

/// Which integration test needs which services. It is kept out of its package's ordinary tests.
pub(crate) const TESTS: &[ServiceTest] = &[
    of_session_db("conformance_postgres", &[&postgres::SERVICE]),
    of_session_db("conformance_mysql", &[&mariadb::SERVICE]),
    of_session_db("conformance_django", BOTH_DATABASES),
    of_session_db("django_table", BOTH_DATABASES),
    of_session_db("django_writers", BOTH_DATABASES),
    of_session_db("django_round_trips", BOTH_DATABASES),
    of_session_db("django_secrets", BOTH_DATABASES),
    of_session_db("clearing", BOTH_DATABASES),
    of_session_db("migrate", BOTH_DATABASES),
    of_session_db("processes", BOTH_DATABASES),
    of_session_db("interleavings", BOTH_DATABASES),
    of_session_db("no_secret", BOTH_DATABASES),
    of_session_db("round_trips", BOTH_DATABASES),
    of_session_db("plans", BOTH_DATABASES),
    of_session_db("purge", BOTH_DATABASES),
    of_session_db("security", BOTH_DATABASES),
    of_session_db("small_pool", BOTH_DATABASES),
    of_session_db("outage", BOTH_DATABASES),
    of_session_db("pgbouncer", &[&pgbouncer::SERVICE]),
    of_session_cache("caches", ALL_OF_REDIS),
    of_session_cache("conformance_redis", &[&redis::STANDALONE]),
    of_session_cache("conformance_redis_cluster", &[&redis::CLUSTER]),
    of_session_cache("conformance_redis_sentinel", &[&redis::SENTINEL]),
    of_session_cache("conformance_django", &[&redis::STANDALONE]),
    of_session_cache("django", &[&redis::STANDALONE]),
    of_session_cache("no_secret", ALL_OF_REDIS),
    of_session_cache("outage", ALL_OF_REDIS),
    of_session_cache("processes", ALL_OF_REDIS),
    of_session_cache("round_trips", ALL_OF_REDIS),
    of_session_cache("tls", &[&redis::STANDALONE]),
    of_session_cache("security", &[&redis::STANDALONE, &redis::CLUSTER]),
    of_session_cache("topologies", ALL_OF_REDIS),
    of_session_cached_db("conformance_redis_postgres"),
    of_session_cached_db("outage"),
    of_session_cached_db("processes"),
    of_session_cached_db("security"),
    of_session_cached_db("round_trips_redis_postgres"),
    ServiceTest {
        package: "session-cli",
        test: "servers",
        services: &[
            &postgres::SERVICE,
            &mariadb::SERVICE,
            &redis::STANDALONE,
            &redis::CLUSTER,
            &redis::SENTINEL,
        ],
    },
    ServiceTest {
        package: "django-and-axum",
        test: "live",
        services: &[
            &django::ON_SQLITE,
            &django::ON_POSTGRES,
            &django::ON_MARIADB,
        ],
    },
    ServiceTest {
        package: "mail",
        test: "browser",
        services: &[
            &browser::SERVICE,
            &postgres::SERVICE,
            &mariadb::SERVICE,
            &redis::STANDALONE,
            &redis::CLUSTER,
        ],
    },
];

const BOTH_DATABASES: &[&Service] = &[&postgres::SERVICE, &mariadb::SERVICE];

const fn of_session_db(test: &'static str, services: &'static [&'static Service]) -> ServiceTest {
    ServiceTest {
        package: "session-db",
        test,
        services,
    }
}

const ALL_OF_REDIS: &[&Service] = &[&redis::STANDALONE, &redis::CLUSTER, &redis::SENTINEL];

const fn of_session_cache(
    test: &'static str,
    services: &'static [&'static Service],
) -> ServiceTest {
    ServiceTest {
        package: "session-cache",
        test,
        services,
    }
}

const fn of_session_cached_db(test: &'static str) -> ServiceTest {
    ServiceTest {
        package: "session-cached-db",
        test,
        services: &[
            &postgres::SERVICE,
            &redis::STANDALONE,
            &redis::CLUSTER,
            &redis::SENTINEL,
        ],
    }
}

/// How long a service may take until it answers.
const START_TIME_MAX: Duration = Duration::from_secs(60);

/// How often a service is started when it ends at once: another program may have taken the port in between.
const STARTS_MAX: u32 = 3;

/// A program that is installed from Debian's packages and started on a port of this machine.
#[derive(Debug)]
pub(crate) struct Service {
    pub(crate) name: &'static str,
    /// What must be installed.
    programs: &'static [&'static str],
    /// What else must be there: its name, if it is not.
    lacks: fn() -> Option<&'static str>,
    /// What to install when it is not.
    packages: &'static [&'static str],
    /// The environment variable by which tests get the URL.
    pub(crate) variable: &'static str,
    /// The service that it passes its clients on to.
    behind: Option<&'static Self>,
    /// Prepares the folder, and returns the command that serves until it is asked to stop.
    prepare: fn(&Place) -> Result<Command>,
    signal: StopSignal,
    /// Whether it answers as it should.
    answers: fn(port: u16) -> bool,
    url: fn(&Place) -> String,
}

/// Where one start of a service may be.
struct Place {
    /// A port of 127.0.0.1 that was free a moment ago.
    port: u16,
    /// An empty folder that only this user can enter.
    folder: PathBuf,
    ground: Ground,
    /// The port of the service behind this one.
    behind: Option<u16>,
}

/// What all services of a run have in common.
#[derive(Debug, Clone)]
struct Ground {
    /// The checkout.
    root: PathBuf,
    /// Where cargo builds, and where things may be kept that take long to make.
    target: PathBuf,
    /// For what the services print.
    logs: PathBuf,
    /// What clients must know: whoever else uses this machine can connect as well. One for the whole run, since a service must
    /// know that of the one behind it.
    password: String,
}

/// A service that is installed when it is started could not be: there may be no network. What happened, and what to do.
#[derive(Debug)]
pub(crate) struct NotInstalled(String);

/// An integration test and its services.
pub(crate) struct ServiceTest {
    pub(crate) package: &'static str,
    pub(crate) test: &'static str,
    /// It runs if one of them is there, and skips what needs the others.
    pub(crate) services: &'static [&'static Service],
}

/// The services that one run has started. They are stopped when this is dropped.
pub(crate) struct Fleet {
    ground: Ground,
    started: Vec<(&'static str, Started)>,
}

/// Where a service answers.
#[derive(Debug, Clone)]
pub(crate) struct Address {
    port: u16,
    pub(crate) url: String,
}

/// A service that answers. It is stopped, and its folder removed, when this is dropped.
struct Started {
    address: Address,
    // In this order: fields are dropped as they are written, and the program must be gone before its folder.
    _running: Running,
    _folder: Folder,
}

/// Starts all services and keeps them until Enter.
pub(crate) fn run(workspace: &Workspace, options: Services) -> Result<bool> {
    if options.check {
        return Ok(say_what_is_installed());
    }
    install::install(&ALL, Permission::given(options.install));
    let logs = workspace.target.join("services");
    fs::create_dir_all(&logs)?;
    let mut is_complete = true;
    let mut fleet = Fleet::new(workspace, logs)?;
    for service in ALL {
        match fleet.start(service) {
            Ok(Address { url, .. }) => say(format_args!("export {}={url}", service.variable)),
            Err(error) => {
                is_complete = false;
                complain(format_args!("{}: {error}", service.name));
            }
        }
    }
    if !fleet.started.is_empty() {
        say("Press Enter to stop.");
        io::stdin().read_line(&mut String::new())?;
    }
    Ok(is_complete)
}

fn say_what_is_installed() -> bool {
    let mut is_complete = true;
    for service in ALL {
        let advice = service.missing();
        is_complete &= advice.is_none();
        say(format_args!(
            "{}: {}",
            service.name,
            advice.as_deref().unwrap_or("installed")
        ));
    }
    is_complete
}

/// Installs what `services` lack, if that is permitted. Whether it worked shows in [`Service::missing`].
pub(crate) fn install(services: &[&'static Service], permission: Permission) {
    install::install(services, permission);
}

impl Fleet {
    /// None yet. What the services print goes to files in `logs`.
    pub(crate) fn new(workspace: &Workspace, logs: PathBuf) -> Result<Self> {
        let ground = Ground {
            root: workspace.root.clone(),
            target: workspace.target.clone(),
            logs,
            password: database::password()?,
        };
        Ok(Self {
            ground,
            started: Vec::new(),
        })
    }

    /// Where `service` answers. It is started unless it runs already, after the one behind it.
    pub(crate) fn start(&mut self, service: &'static Service) -> Result<Address> {
        let is_it = |(name, _): &&(&str, Started)| *name == service.name;
        if let Some((_, started)) = self.started.iter().find(is_it) {
            return Ok(started.address.clone());
        }
        if let Some(advice) = service.missing() {
            return Err(advice.into());
        }
        let behind = match service.behind {
            Some(behind) => Some(self.start(behind)?.port),
            None => None,
        };
        let started = service.start(&self.ground, behind)?;
        let address = started.address.clone();
        self.started.push((service.name, started));
        Ok(address)
    }
}

impl fmt::Display for NotInstalled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for NotInstalled {}

impl Service {
    /// What to do about a service that is not installed, or is but needs another that is not.
    pub(crate) fn missing(&self) -> Option<String> {
        let Some(program) = self.program_missing() else {
            return self.behind.and_then(Self::missing);
        };
        Some(format!(
            "{program} is not installed: run `sudo apt-get install --no-install-recommends {}`, or pass --install",
            self.packages.join(" ")
        ))
    }

    fn program_missing(&self) -> Option<&'static str> {
        let is_missing = |name: &&str| program::find(name).is_none();
        let program = self.programs.iter().copied().find(is_missing);
        program.or_else(self.lacks)
    }

    /// What to install for it, and for the service behind it.
    fn packages_missing(&self) -> Vec<&'static str> {
        let own = if self.program_missing().is_some() {
            self.packages
        } else {
            &[]
        };
        let behind = self.behind.map_or_else(Vec::new, Self::packages_missing);
        own.iter().copied().chain(behind).collect()
    }

    /// Starts it on a free port and waits until it answers.
    fn start(&self, ground: &Ground, behind: Option<u16>) -> Result<Started> {
        Folder::sweep();
        let log = ground.logs.join(format!("service-{}.log", self.name));
        let mut starts = 0;
        loop {
            starts += 1;
            let folder = Folder::new(self.name)?;
            let place = Place {
                port: free_port()?,
                folder: folder.path().to_owned(),
                ground: ground.clone(),
                behind,
            };
            let command = (self.prepare)(&place)?;
            let running = Running::start(&command, &log, self.signal)?;
            if self.is_up(place.port, &running) {
                return Ok(Started {
                    address: Address {
                        port: place.port,
                        url: (self.url)(&place),
                    },
                    _running: running,
                    _folder: folder,
                });
            }
            if starts == STARTS_MAX || running.is_alive() {
                drop(running);
                let output = fs::read(&log).unwrap_or_default();
                return Err(format!(
                    "{} was started and does not answer. It printed:\n{}",
                    self.name,
                    String::from_utf8_lossy(&output).trim_end()
                )
                .into());
            }
        }
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "there is nothing to wait on in another program that is about to listen"
    )]
    fn is_up(&self, port: u16, running: &Running) -> bool {
        let started = Instant::now();
        while started.elapsed() < START_TIME_MAX && running.is_alive() {
            if (self.answers)(port) {
                return true;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        false
    }
}

pub(crate) fn free_port() -> Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    Ok(listener.local_addr()?.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    const MISSING: Service = Service {
        name: "sample",
        programs: &["xtask-has-no-such-program"],
        lacks: || None,
        packages: &["sample-server", "sample-tools"],
        variable: "SESSION_TEST_SAMPLE",
        behind: None,
        prepare: |_| Ok(Command::new("false")),
        signal: StopSignal::Terminate,
        answers: |_| false,
        url: |place| format!("sample://127.0.0.1:{}", place.port),
    };

    #[test]
    fn a_missing_service_says_exactly_what_to_install() {
        let advice = MISSING.missing().unwrap();
        assert!(advice.contains("xtask-has-no-such-program"), "{advice}");
        assert!(
            advice.contains("apt-get install --no-install-recommends sample-server sample-tools"),
            "{advice}"
        );
    }

    #[test]
    fn a_service_that_ends_at_once_is_an_error_with_what_it_printed() {
        let logs = Folder::new("test-ends-at-once").unwrap();
        let broken = Service {
            prepare: |_| {
                let mut command = Command::new("sh");
                command.args(["-c", "echo the disk is full; exit 1"]);
                Ok(command)
            },
            ..MISSING
        };
        let ground = Ground {
            root: PathBuf::new(),
            target: PathBuf::new(),
            logs: logs.path().to_owned(),
            password: String::new(),
        };
        let Err(error) = broken.start(&ground, None) else {
            panic!("a service that does not run was taken for started");
        };
        assert!(error.to_string().contains("the disk is full"), "{error}");
    }

    #[test]
    fn a_service_says_so_when_the_one_behind_it_is_not_installed() {
        let in_front = Service {
            name: "in-front",
            programs: &["sh"],
            behind: Some(&MISSING),
            ..MISSING
        };
        let advice = in_front.missing().unwrap();
        assert!(advice.contains("sample-server"), "{advice}");
    }

    #[test]
    fn every_service_of_a_test_is_one_that_can_be_started_by_hand() {
        let is_in_all = |service: &Service| ALL.iter().any(|known| known.name == service.name);
        for test in TESTS {
            for service in test.services {
                assert!(
                    is_in_all(service),
                    "{} needs a service that `cargo xtask services` does not start",
                    test.test
                );
            }
        }
    }

    #[test]
    fn every_test_that_needs_a_service_exists() {
        let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        for test in TESTS {
            let mut packages = fs::read_dir(&root)
                .unwrap()
                .chain(fs::read_dir(root.join("examples")).unwrap());
            let tests = packages
                .find_map(|entry| {
                    let entry = entry.unwrap();
                    (entry.file_name() == test.package).then(|| entry.path().join("tests"))
                })
                .unwrap_or_default();
            let is_there = tests.join(format!("{}.rs", test.test)).is_file()
                || tests.join(test.test).join("main.rs").is_file();
            assert!(is_there, "{} has no test {}", test.package, test.test);
        }
    }
}
