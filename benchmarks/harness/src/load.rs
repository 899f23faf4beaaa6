//! Drives servers on this machine from a process of its own, turn by turn, and says what a request cost each of them.
//!
//! Every visitor has a connection that stays open and a session of their own, and asks again as soon as they are answered. So
//! a server always has work, and a latency is mostly the wait for the others: it says how evenly a server answers.
//!
//! In a round each server answers in short slices of a fixed number of requests: each slice of a scenario follows one of the
//! bare handler in the same server. What else the machine does meets both.

use std::fs;
use std::io::{self, ErrorKind};
use std::time::{Duration, Instant};

use serde_json::json;
use tokio::task::{JoinSet, LocalSet};

use crate::program::quartiles;
use crate::visitor::Visitor;
use crate::{Result, Scenario, report, runtime};

/// The handler outside of the layer, in the same server.
pub const BARE_PATH: &str = "/bare";
/// Says how long the server has kept a processor busy so far, in nanoseconds.
pub const CPU_PATH: &str = "/cpu";
/// How long a connection must stay open while others have their turns.
pub const IDLE_MAX: Duration = Duration::from_secs(3600);

/// Connections to one server.
const VISITORS: usize = 32;
const WARM_UP: usize = 1;
/// Slices of each scenario in a round.
const SLICES: usize = 4;
const SCENARIOS: [Scenario; 3] = [Scenario::Unasked, Scenario::Read, Scenario::Write];

/// Asks `servers`, each `LIBRARY=PORT`. In each slice every visitor asks so many `times`.
pub(crate) fn run(store: &str, rounds: usize, times: usize, servers: &[&str]) -> Result<()> {
    LocalSet::new().block_on(&runtime()?, async {
        let mut turns = Vec::new();
        for server in servers {
            let (library, port) = server.split_once('=').ok_or("say LIBRARY=PORT")?;
            let server = Server::visit(port.parse()?).await?;
            turns.push((
                library,
                server,
                Turn::new(Scenario::Bare),
                SCENARIOS.map(Turn::new),
            ));
        }
        for round in 0..WARM_UP + rounds {
            for (_, server, bare, scenarios) in &mut turns {
                let mut bare_borne = Borne::default();
                let mut borne = SCENARIOS.map(|_| (Borne::default(), Borne::default()));
                for _ in 0..SLICES {
                    for (turn, (beside, borne)) in scenarios.iter().zip(&mut borne) {
                        let slice = server.bear(Scenario::Bare, times).await?;
                        beside.add(&slice);
                        bare_borne.add(&slice);
                        borne.add(&server.bear(turn.scenario, times).await?);
                    }
                }
                if round >= WARM_UP {
                    bare.take(&bare_borne, &bare_borne);
                    for (turn, (beside, borne)) in scenarios.iter_mut().zip(&borne) {
                        turn.take(borne, beside);
                    }
                }
            }
        }
        for (library, _, bare, scenarios) in &mut turns {
            bare.report(store, library)?;
            for turn in scenarios {
                turn.report(store, library)?;
            }
        }
        Ok(())
    })
}

/// How long the threads of this process have run so far, in nanoseconds: the kernel counts them when a thread is put aside,
/// and a server that waits for its next request has been put aside.
pub fn cpu() -> io::Result<u64> {
    let mut nanoseconds = 0;
    for thread in fs::read_dir("/proc/self/task")? {
        match fs::read_to_string(thread?.path().join("schedstat")) {
            Ok(text) => nanoseconds += ran(&text)?,
            // It has ended since.
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(nanoseconds)
}

/// The first number of a thread's `schedstat`.
fn ran(schedstat: &str) -> io::Result<u64> {
    let first = schedstat.split(' ').next().unwrap_or_default();
    first
        .parse()
        .map_err(|error| io::Error::new(ErrorKind::InvalidData, error))
}

/// A server, and those who visit it.
struct Server {
    visitors: Vec<Visitor>,
    /// Asks for nothing but [`CPU_PATH`].
    watcher: Visitor,
}

/// What a server bore in some slices.
#[derive(Debug, Default, Clone)]
struct Borne {
    seconds: f64,
    /// Nanoseconds of the server's processor.
    cpu: f64,
    /// In nanoseconds, from the request's first byte to the answer's last.
    latencies: Vec<f64>,
}

impl Borne {
    fn add(&mut self, other: &Self) {
        self.seconds += other.seconds;
        self.cpu += other.cpu;
        self.latencies.extend(&other.latencies);
    }

    fn requests_each_second(&self) -> f64 {
        self.latencies.len() as f64 / self.seconds
    }

    fn cpu_each(&self) -> f64 {
        self.cpu / self.latencies.len() as f64
    }
}

impl Server {
    async fn visit(port: u16) -> Result<Self> {
        let mut visitors = Vec::new();
        for _ in 0..VISITORS {
            let mut visitor = Visitor::connect(port).await?;
            visitor.begin().await?;
            visitors.push(visitor);
        }
        let watcher = Visitor::connect(port).await?;
        Ok(Self { visitors, watcher })
    }

    async fn bear(&mut self, scenario: Scenario, times: usize) -> Result<Borne> {
        let path = if scenario == Scenario::Bare {
            BARE_PATH
        } else {
            scenario.path()
        };
        let before = self.watcher.number(CPU_PATH).await?;
        let started = Instant::now();
        let mut asking = JoinSet::new();
        for visitor in self.visitors.drain(..) {
            asking.spawn_local(visitor.ask(path, times));
        }
        let mut latencies = Vec::new();
        while let Some(asked) = asking.join_next().await {
            let (visitor, waited) = asked??;
            self.visitors.push(visitor);
            latencies.extend(waited);
        }
        let seconds = started.elapsed().as_secs_f64();
        let after = self.watcher.number(CPU_PATH).await?;
        Ok(Borne {
            seconds,
            cpu: after.saturating_sub(before) as f64,
            latencies,
        })
    }
}

/// One scenario of one library, over all rounds.
struct Turn {
    scenario: Scenario,
    requests_each_second: Vec<f64>,
    cpu: Vec<f64>,
    /// As a multiple of the bare handler's in the slices beside.
    cpu_times_bare: Vec<f64>,
    latencies: [Vec<f64>; 3],
}

/// Names in the results, and how many in a thousand answers took no longer.
const LATENCIES: [(&str, usize); 3] = [
    ("p50_nanoseconds", 500),
    ("p99_nanoseconds", 990),
    ("p999_nanoseconds", 999),
];

impl Turn {
    fn new(scenario: Scenario) -> Self {
        Self {
            scenario,
            requests_each_second: Vec::new(),
            cpu: Vec::new(),
            cpu_times_bare: Vec::new(),
            latencies: [const { Vec::new() }; 3],
        }
    }

    fn take(&mut self, borne: &Borne, bare: &Borne) {
        self.requests_each_second.push(borne.requests_each_second());
        self.cpu.push(borne.cpu_each());
        self.cpu_times_bare.push(borne.cpu_each() / bare.cpu_each());
        let mut latencies = borne.latencies.clone();
        latencies.sort_unstable_by(f64::total_cmp);
        for (taken, (_, in_a_thousand)) in self.latencies.iter_mut().zip(LATENCIES) {
            taken.extend(percentile(&latencies, in_a_thousand));
        }
    }

    fn report(&mut self, store: &str, library: &str) -> Result<()> {
        let mut line = json!({
            "store": store,
            "library": library,
            "scenario": self.scenario.name(),
            "requests_each_second": median(&mut self.requests_each_second),
            "cpu_nanoseconds": median(&mut self.cpu),
            "cpu_times_bare": quartiles(&mut self.cpu_times_bare, 1000.0),
        });
        for (taken, (name, _)) in self.latencies.iter_mut().zip(LATENCIES) {
            line[name] = json!(median(taken));
        }
        report(&line)
    }
}

/// The smallest of `sorted` that so many in a thousand do not exceed.
fn percentile(sorted: &[f64], in_a_thousand: usize) -> Option<f64> {
    let count = (sorted.len() * in_a_thousand).div_ceil(1000);
    sorted.get(count.checked_sub(1)?).copied()
}

fn median(samples: &mut [f64]) -> f64 {
    let [_, median, _] = quartiles(samples, 1.0);
    median
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::visitor::tests::{RIGHT, server};

    #[test]
    fn a_percentile_is_the_smallest_that_enough_answers_do_not_exceed() {
        let thousand: Vec<f64> = (1..=1000).map(f64::from).collect();
        let three = [10.0, 20.0, 30.0];
        for (sorted, in_a_thousand, expected) in [
            (&thousand[..], 500, Some(500.0)),
            (&thousand, 990, Some(990.0)),
            (&thousand, 999, Some(999.0)),
            (&thousand, 1000, Some(1000.0)),
            (&three, 500, Some(20.0)),
            (&three, 999, Some(30.0)),
            (&three[..1], 500, Some(10.0)),
            (&[], 500, None),
        ] {
            let found = percentile(sorted, in_a_thousand);
            let length = sorted.len();
            assert_eq!(found, expected, "{in_a_thousand} in a thousand of {length}");
        }
    }

    #[test]
    fn quartiles_are_of_the_sorted_samples() {
        let mut samples = [5.0, 1.0, 4.0, 2.0, 3.0];
        assert_eq!(quartiles(&mut samples, 1.0), [2.0, 3.0, 4.0]);
        assert_eq!(quartiles(&mut [], 1.0), [0.0; 3]);
    }

    #[test]
    fn slices_add_up_before_anything_is_divided() {
        let slice = |seconds, cpu, latency| Borne {
            seconds,
            cpu,
            latencies: vec![latency; 10],
        };
        let mut bare = slice(1.0, 100.0, 1.0);
        bare.add(&slice(3.0, 300.0, 1.0));
        assert_eq!(bare.requests_each_second(), 5.0);
        assert_eq!(bare.cpu_each(), 20.0);
        let mut turn = Turn::new(Scenario::Read);
        turn.take(&slice(1.0, 250.0, 7.0), &bare);
        assert_eq!(turn.cpu_times_bare, [1.25]);
        assert_eq!(turn.latencies, [[7.0], [7.0], [7.0]]);
    }

    #[test]
    fn a_slice_ends_with_the_first_wrong_answer_of_any_visitor() {
        LocalSet::new().block_on(&runtime().unwrap(), async {
            const CPU: [&str; 2] = [
                "HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\n1000",
                "HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\n1600",
            ];
            let failed = "HTTP/1.1 500 Internal Server Error\r\ncontent-length: 5\r\n\r\nhello";
            for (second, is_right) in [(RIGHT, true), (failed, false)] {
                let mut visitors = Vec::new();
                for answers in [vec![RIGHT, RIGHT], vec![RIGHT, second]] {
                    visitors.push(Visitor::connect(server(answers)).await.unwrap());
                }
                let watcher = Visitor::connect(server(CPU.to_vec())).await.unwrap();
                let mut server = Server { visitors, watcher };
                let borne = server.bear(Scenario::Read, 2).await;
                assert_eq!(borne.is_ok(), is_right, "{second}");
                if let Ok(borne) = borne {
                    assert_eq!(borne.latencies.len(), 4, "not every request was counted");
                    assert_eq!(borne.cpu_each(), 150.0);
                }
            }
        });
    }

    #[test]
    fn a_threads_time_is_the_first_number_and_nonsense_is_an_error() {
        assert_eq!(ran("48210987 1203 17\n").unwrap(), 48_210_987);
        ran("").unwrap_err();
        ran("soon").unwrap_err();
    }

    #[test]
    fn what_threads_compute_is_seen() {
        let before = cpu().unwrap();
        let deadline = Instant::now() + Duration::from_secs(60);
        // The kernel counts at each tick at the latest.
        while cpu().unwrap() < before + 1_000_000 {
            assert!(Instant::now() < deadline, "time passes, and is not counted");
        }
    }
}
