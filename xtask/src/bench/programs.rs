//! Builds and runs the benchmark programs, which know the peers and have lock files of their own.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};

use crate::Result;
use crate::arguments::Bench;
use crate::console::{complain, say};
use crate::process::{Ended, Running, StopSignal};
use crate::service::{self, Fleet, Permission};
use crate::workspace::{Workspace, list, text};

use super::callgrind;
use super::contention::Contention;
use super::correctness::Subject;
use super::growth::Growth;
use super::load::{Load, MEMORY, REDIS};
use super::machine::Machine;
use super::one_core::OneCore;
use super::plan::{
    BATCHES, BATCHES_QUICK, CONTENDED, FILES_MAX, GROWING, GROWTH_ROUNDS, IN_PROCESS, JUDGED,
    LIBRARIES, LOAD, LOAD_QUICK, NAMED, SERVED, SERVERS, SIZE_FULL, SIZES, STORE_BATCHES, STORES,
    STORES_OF_OURS,
};
use super::results::{BARE, Results};
use super::served::Served;
use super::tables::{LEAST, OURS, OURS_ACTIX, SCENARIOS};

/// How long one call of a program may take.
const TIME_MAX: Duration = Duration::from_secs(1800);

/// The benchmark programs of this checkout.
struct Programs<'a> {
    workspace: &'a Workspace,
    /// For what they print, and what callgrind writes.
    folder: &'a Path,
    /// Where the servers are, and where programs may put files.
    variables: Vec<(&'static str, String)>,
    results: Results,
}

/// Runs them all, as far as `options` want it. `keep` is given what there is after each part, so that a server that fails
/// takes nothing along.
pub(super) fn measure(
    workspace: &Workspace,
    folder: &Path,
    options: &Bench,
    keep: &dyn Fn(&Results) -> Result<()>,
) -> Result<Results> {
    // Servers are killed, and so can't remove their folders.
    let places = folder.join("places");
    drop(fs::remove_dir_all(&places));
    fs::create_dir_all(&places)?;
    let mut programs = Programs {
        workspace,
        folder,
        variables: vec![("TMPDIR", places.display().to_string())],
        results: Results {
            machine: Machine::here(workspace),
            ..Results::default()
        },
    };
    programs.test_harness()?;
    programs.in_memory(options)?;
    keep(&programs.results)?;
    if !options.memory {
        programs.in_stores(options)?;
        keep(&programs.results)?;
    }
    fs::remove_dir_all(places)?;
    Ok(programs.results)
}

impl Programs<'_> {
    fn in_memory(&mut self, options: &Bench) -> Result<()> {
        let counting = self.build(IN_PROCESS, &["--features", "allocations"])?;
        self.run(&counting, &["allocations"])?;
        self.run(&counting.with_file_name(LEAST), &["allocations"])?;
        let program = self.build(IN_PROCESS, &[])?;
        if callgrind::is_installed() {
            self.instructions(&program, options)?;
        } else {
            complain(callgrind::ADVICE);
        }
        let batches = if options.quick {
            BATCHES_QUICK
        } else {
            BATCHES
        };
        self.run(&program, &["time", &batches.to_string()])?;
        let least = program.with_file_name(LEAST);
        self.run(&least, &["time", &batches.to_string()])?;
        let servers = SERVED.map(|(library, store)| (&*program, library, store));
        self.load(&servers, MEMORY, options)?;
        for library in JUDGED {
            self.judge(&program, library, "memory", 1, options)?;
        }
        Ok(())
    }

    fn in_stores(&mut self, options: &Bench) -> Result<()> {
        let mut built = Vec::new();
        for (name, served, judged) in STORES {
            built.push((name, self.build(name, &[])?, served, judged));
        }
        for (name, program, ..) in &built {
            if *name == STORES_OF_OURS {
                self.grow(program, options)?;
            }
        }
        let mut fleet = Fleet::new(self.workspace, self.folder.to_owned())?;
        self.variables.extend(start_servers(&mut fleet)?);
        let served = built.iter();
        let served = served.flat_map(|(_, program, served, _)| {
            served.iter().map(|&library| (&**program, library, REDIS))
        });
        self.load(&served.collect::<Vec<_>>(), REDIS, options)?;
        for (name, program, _, judged) in &built {
            let batches = if options.quick {
                BATCHES_QUICK
            } else {
                STORE_BATCHES
            };
            self.run(program, &["trips"])?;
            self.run(program, &["time", &batches.to_string()])?;
            if *name == STORES_OF_OURS {
                self.contend(program, options)?;
            }
            for store in ["postgres", "redis"] {
                for library in *judged {
                    for nodes in [1, 2] {
                        self.judge(program, library, store, nodes, options)?;
                    }
                }
            }
        }
        Ok(())
    }

    /// Whoever measures with it must be able to believe it.
    fn test_harness(&self) -> Result<()> {
        say(format_args!("--- testing benchmarks/harness"));
        let mut cargo = self.workspace.cargo(["test", "--locked", "--quiet"]);
        cargo
            .current_dir(self.workspace.root.join("benchmarks/harness"))
            .arg("--target-dir")
            .arg(self.workspace.target.join("benchmarks"));
        if cargo.status()?.success() {
            Ok(())
        } else {
            Err("benchmarks/harness fails its tests, so nothing is measured with it".into())
        }
    }

    /// Takes what operations cost among many sessions into the results.
    fn grow(&mut self, program: &Path, options: &Bench) -> Result<()> {
        if options.quick {
            return Ok(());
        }
        let _one_core = OneCore::take()?;
        // They are gone before the others are started, which have all cores, and the same folders.
        let mut fleet = Fleet::new(self.workspace, self.folder.to_owned())?;
        let servers = start_servers(&mut fleet)?;
        for store in GROWING {
            let sizes = SIZES.iter().chain(options.full.then_some(&SIZE_FULL));
            let size_max = match (store, options.full) {
                ("file", false) => FILES_MAX,
                _ => SIZE_FULL,
            };
            let mut command = Command::new(program);
            command.envs(servers.iter().map(|(name, url)| (name, url)));
            command.args(["growth", store, &GROWTH_ROUNDS.to_string()]);
            let sizes = sizes.filter(|&&size| size <= size_max);
            command.args(sizes.map(u64::to_string));
            let lines = self.lines(&command)?;
            self.results.growth.extend(lines.iter().map(Growth::read));
        }
        Ok(())
    }

    /// Takes what becomes of many clients on one session into the results.
    fn contend(&mut self, program: &Path, options: &Bench) -> Result<()> {
        if options.quick {
            return Ok(());
        }
        for (store, nodes) in CONTENDED {
            for nodes in nodes {
                let mut command = Command::new(program);
                command.args(["contention", store, &nodes.to_string()]);
                let lines = self.lines(&command)?;
                let lines = lines.iter().map(Contention::read);
                self.results.contention.extend(lines);
            }
        }
        Ok(())
    }

    /// Takes what a request costs each of the servers into the results, which call the store `store`: a program, a library in
    /// it, and what it calls the store.
    fn load(
        &mut self,
        servers: &[(&Path, &str, &str)],
        store: &str,
        options: &Bench,
    ) -> Result<()> {
        let (rounds, times) = if options.quick { LOAD_QUICK } else { LOAD };
        let Some((generator, ..)) = servers.first() else {
            return Ok(());
        };
        let mut command = Command::new(generator);
        command.args(["load", store, &rounds.to_string(), &times.to_string()]);
        let mut started = Vec::new();
        for (program, library, store) in servers {
            let (node, running) = self.served(program, library, store).start()?;
            command.arg(format!("{library}={}", node.port));
            started.push(running);
        }
        let lines = self.lines(&command)?;
        self.results.load.extend(lines.iter().map(Load::read));
        Ok(())
    }

    /// Takes what becomes of sessions under load into the results.
    fn judge(
        &mut self,
        program: &Path,
        library: &str,
        store: &str,
        nodes: usize,
        options: &Bench,
    ) -> Result<()> {
        if options.quick {
            return Ok(());
        }
        let served = self.served(program, library, store);
        let verdicts = Subject { served, nodes }.verdicts()?;
        self.results.verdicts.extend(verdicts);
        Ok(())
    }

    fn served<'a>(&'a self, program: &'a Path, library: &'a str, store: &'a str) -> Served<'a> {
        Served {
            program,
            library,
            store,
            variables: &self.variables,
            log: self.folder.join("served.log"),
        }
    }

    fn instructions(&mut self, program: &Path, options: &Bench) -> Result<()> {
        let libraries: &[&str] = if options.quick {
            &[OURS, OURS_ACTIX]
        } else {
            &LIBRARIES
        };
        for library in libraries {
            let program = match *library {
                LEAST => &program.with_file_name(LEAST),
                _ => program,
            };
            for payload in ["small", "large"] {
                let scenarios = std::iter::once(BARE).chain(SCENARIOS.map(|(name, _)| name));
                for scenario in scenarios {
                    self.count(program, library, payload, scenario)?;
                }
            }
        }
        Ok(())
    }

    /// Takes the instructions of one scenario into the results, if the library has it.
    fn count(
        &mut self,
        program: &Path,
        library: &str,
        payload: &str,
        scenario: &str,
    ) -> Result<()> {
        let out = self.folder.join("callgrind.out");
        let mut command = callgrind::command(program, &out);
        command.args(["instructions", library, payload, scenario]);
        let lines = self.lines(&command)?;
        let Some(line) = lines.first() else {
            return Ok(());
        };
        let requests = line["requests"].as_f64().unwrap_or(1.0);
        let counted = callgrind::read(&fs::read_to_string(&out)?)?;
        fs::remove_file(out)?;
        let mut line = line.clone();
        let each = |count: u64| json!((count as f64 / requests).round());
        if let Some(line) = line.as_object_mut() {
            let other = each(counted.total - counted.digest);
            line.insert("instructions".to_owned(), other);
            line.insert("digest_instructions".to_owned(), each(counted.digest));
            let spent = counted.spent.iter();
            let spent = spent.map(|(&spender, &count)| (spender.to_owned(), each(count)));
            line.insert("spent".to_owned(), Value::Object(spent.collect()));
        }
        self.results.add(&line);
        Ok(())
    }

    /// Takes what `program` says into the results.
    fn run(&mut self, program: &Path, arguments: &[&str]) -> Result<()> {
        let mut command = Command::new(program);
        command.args(arguments);
        for line in self.lines(&command)? {
            self.results.add(&line);
        }
        Ok(())
    }

    /// The lines of JSON that `command` prints. Its own variables count more than those of all programs.
    fn lines(&self, command: &Command) -> Result<Vec<Value>> {
        // Not the options of a tool, which come before.
        let words = command.get_args().map(|word| word.display().to_string());
        let words: Vec<_> = words.filter(|word| !word.starts_with("--")).collect();
        say(format_args!("--- {}", words.join(" ")));
        let log = self.folder.join("printed.log");
        drop(fs::remove_file(&log));
        let mut started = Command::new(command.get_program());
        started.args(command.get_args());
        for (name, value) in &self.variables {
            started.env(name, value);
        }
        started.envs(
            command
                .get_envs()
                .filter_map(|(name, value)| Some((name, value?))),
        );
        let ended = Running::start(&started, &log, StopSignal::Terminate)?.wait(TIME_MAX)?;
        let printed = String::from_utf8_lossy(&fs::read(&log)?).into_owned();
        if ended != Ended::Exited(0) {
            return Err(format!("it ended with {ended:?}. It printed:\n{}", printed.trim()).into());
        }
        let lines = printed.lines().filter(|line| line.starts_with('{'));
        lines.map(|line| Ok(serde_json::from_str(line)?)).collect()
    }

    /// Builds the program `name` as it is published, and remembers the versions of what it compares.
    fn build(&mut self, name: &str, arguments: &[&str]) -> Result<PathBuf> {
        let source = self.workspace.root.join("benchmarks").join(name);
        let target = self.workspace.target.join("benchmarks");
        say(format_args!(
            "--- building benchmarks/{name} {}",
            arguments.join(" ")
        ));
        let mut cargo = self
            .workspace
            .cargo(["build", "--release", "--locked", "--quiet"]);
        cargo
            .current_dir(&source)
            .args(arguments)
            .arg("--target-dir")
            .arg(&target);
        if !cargo.status()?.success() {
            return Err(format!(
                "benchmarks/{name} can't be built. If its Cargo.lock is behind, run `cargo update --workspace` there."
            )
            .into());
        }
        let metadata = crate::workspace::metadata(&source, &["--locked"])?;
        for package in list(&metadata, "packages") {
            let package_name = text(package, "name");
            if NAMED.contains(&package_name) {
                let version = text(package, "version");
                let libraries = &mut self.results.machine.libraries;
                libraries.push(format!("{package_name} {version}"));
                libraries.sort_unstable();
                libraries.dedup();
            }
        }
        Ok(target.join("release").join(name))
    }
}

/// The variables that say where the servers are, which `fleet` starts.
fn start_servers(fleet: &mut Fleet) -> Result<Vec<(&'static str, String)>> {
    let start = |(variable, name): (&'static str, &str)| {
        let known = service::TESTS.iter().flat_map(|test| test.services);
        let service = known.copied().find(|service| service.name == name);
        let service = service.ok_or_else(|| format!("no test starts {name} any more"))?;
        service::install(&[service], Permission::given(false));
        Ok((variable, fleet.start(service)?.url))
    };
    SERVERS.into_iter().map(start).collect()
}
