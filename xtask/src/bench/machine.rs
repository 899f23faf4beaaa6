//! The machine that was measured on, and with what.

use std::fs;
use std::process::Command;

use serde_json::{Value, json};

use crate::workspace::{Workspace, text};

/// What a reader must know to judge the numbers.
#[derive(Debug, Default, Clone, PartialEq)]
pub(super) struct Machine {
    pub(super) cpu: String,
    pub(super) cores: u64,
    pub(super) memory_gib: u64,
    pub(super) kernel: String,
    pub(super) rustc: String,
    /// Of the minute before the run. Above the number of cores, times mean little.
    pub(super) load_average: f64,
    pub(super) commit: String,
    /// The date of the run, `YYYY-MM-DD`.
    pub(super) date: String,
    /// The libraries as they were resolved: `name version`.
    pub(super) libraries: Vec<String>,
}

impl Machine {
    /// This one, now.
    pub(super) fn here(workspace: &Workspace) -> Self {
        let cpus = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let memory = fs::read_to_string("/proc/meminfo").unwrap_or_default();
        let kibibytes: u64 = field(&memory, "MemTotal")
            .split_whitespace()
            .next()
            .and_then(|number| number.parse().ok())
            .unwrap_or_default();
        let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
        let mut git = Command::new("git");
        git.args(["rev-parse", "--short", "HEAD"])
            .current_dir(&workspace.root);
        Self {
            cpu: field(&cpus, "model name").to_owned(),
            cores: std::thread::available_parallelism().map_or(0, |cores| cores.get() as u64),
            memory_gib: kibibytes.div_ceil(1024 * 1024),
            kernel: said(Command::new("uname").args(["-sr"])),
            rustc: said(Command::new("rustc").arg("--version")),
            load_average: load
                .split_whitespace()
                .next()
                .and_then(|number| number.parse().ok())
                .unwrap_or_default(),
            commit: said(&mut git),
            date: said(Command::new("date").arg("+%Y-%m-%d")),
            libraries: Vec::new(),
        }
    }

    /// Whether other programs kept it busy.
    pub(super) fn was_busy(&self) -> bool {
        self.load_average > 0.5 * self.cores as f64
    }

    pub(super) fn from_json(json: &Value) -> Self {
        Self {
            cpu: text(json, "cpu").to_owned(),
            cores: json["cores"].as_u64().unwrap_or_default(),
            memory_gib: json["memory_gib"].as_u64().unwrap_or_default(),
            kernel: text(json, "kernel").to_owned(),
            rustc: text(json, "rustc").to_owned(),
            load_average: json["load_average"].as_f64().unwrap_or_default(),
            commit: text(json, "commit").to_owned(),
            date: text(json, "date").to_owned(),
            libraries: crate::workspace::list(json, "libraries")
                .filter_map(|name| name.as_str().map(str::to_owned))
                .collect(),
        }
    }

    pub(super) fn to_json(&self) -> Value {
        let Self {
            cpu,
            cores,
            memory_gib,
            kernel,
            rustc,
            load_average,
            commit,
            date,
            libraries,
        } = self;
        json!({
            "cpu": cpu,
            "cores": cores,
            "memory_gib": memory_gib,
            "kernel": kernel,
            "rustc": rustc,
            "load_average": load_average,
            "commit": commit,
            "date": date,
            "libraries": libraries,
        })
    }
}

/// The value of the first line `name : value`.
fn field<'a>(text: &'a str, name: &str) -> &'a str {
    text.lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(found, _)| found.trim() == name)
        .map_or("", |(_, value)| value.trim())
}

fn said(command: &mut Command) -> String {
    let output = command.output().map(|output| output.stdout);
    String::from_utf8_lossy(&output.unwrap_or_default())
        .trim()
        .to_owned()
}
