//! The programs that tests talk to: what each needs, how it is started for one run, and that it is gone afterwards.

mod browser;
mod install;

use std::fs::{self, DirBuilder};
use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use crate::Result;
use crate::arguments::Services;
use crate::console::{complain, say};
use crate::process::{Running, StopSignal};
use crate::workspace::Workspace;

pub(crate) use install::Permission;

/// Every service there is.
const ALL: [&Service; 1] = [&browser::SERVICE];

/// Which integration test needs which service. It is kept out of its package's ordinary tests.
pub(crate) const TESTS: [ServiceTest; 1] = [ServiceTest {
    service: &browser::SERVICE,
    package: "mail",
    test: "browser",
}];

/// How long a service may take until it answers.
const START_TIME_MAX: Duration = Duration::from_secs(60);

/// How often a service is started when it ends at once: another program may have taken the port in between.
const STARTS_MAX: u32 = 3;

/// What the folders in which services run are called, before the service's name and xtask's process id.
const FOLDER_PREFIX: &str = "xtask-service-";

/// A program that is installed from Debian's packages and started on a port of this machine.
#[derive(Debug)]
pub(crate) struct Service {
    pub(crate) name: &'static str,
    /// What must be on the PATH.
    programs: &'static [&'static str],
    /// What to install when it is not.
    packages: &'static [&'static str],
    /// The environment variable by which tests get the URL.
    pub(crate) variable: &'static str,
    /// Prepares the folder, and returns the command that serves until it is asked to stop.
    prepare: fn(port: u16, folder: &Path) -> Result<Command>,
    signal: StopSignal,
    /// Whether it answers as it should.
    answers: fn(port: u16) -> bool,
    url: fn(port: u16) -> String,
}

/// An integration test and its service.
pub(crate) struct ServiceTest {
    pub(crate) service: &'static Service,
    pub(crate) package: &'static str,
    pub(crate) test: &'static str,
}

/// A service that answers. It is stopped, and its folder removed, when this is dropped.
pub(crate) struct Started {
    pub(crate) url: String,
    // In this order: fields are dropped as they are written, and the program must be gone before its folder.
    _running: Running,
    _folder: Folder,
}

/// A folder that only this user can enter, removed when this is dropped.
struct Folder(PathBuf);

/// Starts all services and keeps them until Enter.
pub(crate) fn run(workspace: &Workspace, options: Services) -> Result<bool> {
    if options.check {
        return Ok(say_what_is_installed());
    }
    install::install(&ALL, Permission::given(options.install));
    let logs = workspace.target.join("services");
    fs::create_dir_all(&logs)?;
    let mut is_complete = true;
    let mut started = Vec::new();
    for service in ALL {
        let result = service
            .missing()
            .map_or_else(|| service.start(&logs), |advice| Err(advice.into()));
        match result {
            Ok(one) => {
                say(format_args!("export {}={}", service.variable, one.url));
                started.push(one);
            }
            Err(error) => {
                is_complete = false;
                complain(format_args!("{}: {error}", service.name));
            }
        }
    }
    if !started.is_empty() {
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

impl Service {
    /// What to do about a service that is not installed.
    pub(crate) fn missing(&self) -> Option<String> {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let is_there = |program: &&str| {
            std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
        };
        let program = self.programs.iter().find(|program| !is_there(program))?;
        Some(format!(
            "{program} is not installed: run `sudo apt-get install --no-install-recommends {}`, or pass --install",
            self.packages.join(" ")
        ))
    }

    /// Starts it on a free port and waits until it answers.
    pub(crate) fn start(&self, logs: &Path) -> Result<Started> {
        Folder::sweep();
        let log = logs.join(format!("service-{}.log", self.name));
        let mut starts = 0;
        loop {
            starts += 1;
            let port = free_port()?;
            let folder = Folder::new(self.name)?;
            let command = (self.prepare)(port, &folder.0)?;
            let running = Running::start(&command, &log, self.signal)?;
            if self.is_up(port, &running) {
                return Ok(Started {
                    url: (self.url)(port),
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

impl Folder {
    fn new(service: &str) -> Result<Self> {
        let name = format!("{FOLDER_PREFIX}{service}-{}", std::process::id());
        let path = std::env::temp_dir().join(name);
        if path.exists() {
            fs::remove_dir_all(&path)?;
        }
        DirBuilder::new().mode(0o700).create(&path)?;
        Ok(Self(path))
    }

    /// Removes what was left by runs that were killed. Their processes are gone, since `process` sees to that.
    fn sweep() {
        // Without /proc nobody knows who is alive.
        if !Path::new("/proc/self").exists() {
            return;
        }
        for entry in fs::read_dir(std::env::temp_dir())
            .into_iter()
            .flatten()
            .flatten()
        {
            let name = entry.file_name();
            let id = name
                .to_str()
                .and_then(|name| name.strip_prefix(FOLDER_PREFIX))
                .and_then(|name| name.rsplit_once('-'))
                .and_then(|(_, id)| id.parse::<u32>().ok());
            if let Some(id) = id
                && !Path::new("/proc").join(id.to_string()).exists()
            {
                // Another user's folder stays, which is no concern of this run.
                drop(fs::remove_dir_all(entry.path()));
            }
        }
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // A file that a dying child still writes is swept by the next run.
        drop(fs::remove_dir_all(&self.0));
    }
}

fn free_port() -> Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    Ok(listener.local_addr()?.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    const MISSING: Service = Service {
        name: "sample",
        programs: &["xtask-has-no-such-program"],
        packages: &["sample-server", "sample-tools"],
        variable: "SESSION_TEST_SAMPLE",
        prepare: |_, _| Ok(Command::new("false")),
        signal: StopSignal::Terminate,
        answers: |_| false,
        url: |port| format!("sample://127.0.0.1:{port}"),
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
            prepare: |_, _| {
                let mut command = Command::new("sh");
                command.args(["-c", "echo the disk is full; exit 1"]);
                Ok(command)
            },
            ..MISSING
        };
        let Err(error) = broken.start(&logs.0) else {
            panic!("a service that does not run was taken for started");
        };
        assert!(error.to_string().contains("the disk is full"), "{error}");
    }

    #[test]
    fn every_service_test_is_kept_out_of_the_ordinary_tests_by_name() {
        for test in TESTS {
            assert!(
                ALL.iter().any(|service| service.name == test.service.name),
                "{} needs a service that `cargo xtask services` does not start",
                test.test
            );
        }
    }
}
