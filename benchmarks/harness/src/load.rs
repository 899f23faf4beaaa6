//! Drives servers on this machine from a process of its own, turn by turn, and says what a request cost each of them.
//!
//! Every visitor has a connection that stays open and a session of their own, and asks again as soon as they are answered. So
//! a server always has work, and a latency is mostly the wait for the others: it says how evenly a server answers.

use std::fs;
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::{JoinSet, LocalSet};

use crate::program::quartiles;
use crate::{Payload, Result, Scenario, cookie_header, report, runtime};

/// The handler outside of the layer, in the same server.
pub(crate) const BARE_PATH: &str = "/bare";
/// Says how long the server has kept a processor busy so far, in nanoseconds.
pub(crate) const CPU_PATH: &str = "/cpu";

/// Connections to one server.
const VISITORS: usize = 32;
const WARM_UP: usize = 1;
const SCENARIOS: [Scenario; 4] = [
    Scenario::Bare,
    Scenario::Unasked,
    Scenario::Read,
    Scenario::Write,
];

/// Asks `servers`, each `LIBRARY=PORT`, in turns of `milliseconds`.
pub(crate) fn run(store: &str, rounds: usize, milliseconds: u64, servers: &[&str]) -> Result<()> {
    let length = Duration::from_millis(milliseconds);
    LocalSet::new().block_on(&runtime()?, async {
        let mut turns = Vec::new();
        for server in servers {
            let (library, port) = server.split_once('=').ok_or("say LIBRARY=PORT")?;
            turns.push((library, Server::visit(port.parse()?).await?));
        }
        let mut turns: Vec<_> = turns
            .into_iter()
            .map(|(library, server)| (library, server, SCENARIOS.map(Turn::new)))
            .collect();
        for round in 0..WARM_UP + rounds {
            for (_, server, scenarios) in &mut turns {
                let mut bare = 0.0;
                for turn in scenarios {
                    let borne = server.bear(turn.scenario, length).await?;
                    if turn.scenario == Scenario::Bare {
                        bare = borne.cpu;
                    }
                    if round >= WARM_UP {
                        turn.take(borne, bare);
                    }
                }
            }
        }
        for (library, _, scenarios) in &mut turns {
            for turn in scenarios {
                turn.report(store, library)?;
            }
        }
        Ok(())
    })
}

/// How long the threads of this process have run so far, in nanoseconds.
pub(crate) fn cpu() -> std::io::Result<u64> {
    let mut nanoseconds = 0;
    for thread in fs::read_dir("/proc/self/task")? {
        let text = fs::read_to_string(thread?.path().join("schedstat"))?;
        let ran = text.split(' ').next().and_then(|ran| ran.parse().ok());
        nanoseconds += ran.unwrap_or(0);
    }
    Ok(nanoseconds)
}

/// A server, and those who visit it.
struct Server {
    visitors: Vec<Visitor>,
    /// Asks for nothing but [`CPU_PATH`].
    watcher: Visitor,
}

/// What a server bore in a turn.
struct Borne {
    requests_each_second: f64,
    /// Nanoseconds of the server's processor for each request.
    cpu: f64,
    /// In nanoseconds, from the request's first byte to the answer's last.
    latencies: Vec<f64>,
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

    async fn bear(&mut self, scenario: Scenario, length: Duration) -> Result<Borne> {
        let path = if scenario == Scenario::Bare {
            BARE_PATH
        } else {
            scenario.path()
        };
        let before = self.cpu().await?;
        let started = Instant::now();
        let mut asking = JoinSet::new();
        for visitor in self.visitors.drain(..) {
            asking.spawn_local(visitor.ask_until(path, started + length));
        }
        let mut latencies = Vec::new();
        while let Some(asked) = asking.join_next().await {
            let (visitor, waited) = asked??;
            self.visitors.push(visitor);
            latencies.extend(waited);
        }
        let took = started.elapsed();
        let cpu = self.cpu().await?.saturating_sub(before);
        let count = latencies.len() as f64;
        Ok(Borne {
            requests_each_second: count / took.as_secs_f64(),
            cpu: cpu as f64 / count,
            latencies,
        })
    }

    async fn cpu(&mut self) -> Result<u64> {
        let answer = self.watcher.ask(&request(CPU_PATH, "")).await?;
        Ok(answer.body.parse()?)
    }
}

struct Visitor {
    stream: TcpStream,
    /// The line of the header, with its end.
    cookie: String,
    heard: Vec<u8>,
}

struct Answer<'a> {
    head: &'a str,
    body: &'a str,
}

impl Visitor {
    async fn connect(port: u16) -> Result<Self> {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await?;
        stream.set_nodelay(true)?;
        Ok(Self {
            stream,
            cookie: String::new(),
            heard: Vec::with_capacity(4096),
        })
    }

    /// Begins a session.
    async fn begin(&mut self) -> Result<()> {
        let answer = self.ask(&request(Payload::Small.path(), "")).await?;
        let headers = answer.head.lines().filter_map(|line| line.split_once(':'));
        let set = headers.filter(|(name, _)| name.eq_ignore_ascii_case("set-cookie"));
        let cookies = cookie_header(set.map(|(_, value)| value.trim()));
        self.cookie = format!("Cookie: {cookies}\r\n");
        Ok(())
    }

    /// Asks until it is `end`. What each answer took, in nanoseconds.
    async fn ask_until(mut self, path: &str, end: Instant) -> Result<(Self, Vec<f64>)> {
        let request = request(path, &self.cookie);
        let mut waited = Vec::new();
        while Instant::now() < end {
            let asked = Instant::now();
            let answer = self.ask(&request).await?;
            waited.push(asked.elapsed().as_nanos() as f64);
            if answer.body != "hello" {
                return Err(format!("a server did not know its visitor at {path}").into());
            }
        }
        Ok((self, waited))
    }

    async fn ask(&mut self, request: &str) -> Result<Answer<'_>> {
        self.stream.write_all(request.as_bytes()).await?;
        self.heard.clear();
        let body = loop {
            if self.stream.read_buf(&mut self.heard).await? == 0 {
                return Err("a server hung up".into());
            }
            if let Some(body) = body_of_whole_answer(&self.heard)? {
                break body;
            }
        };
        let (head, body) = str::from_utf8(&self.heard)?.split_at(body);
        if !head.starts_with("HTTP/1.1 200 ") {
            let status = head.lines().next().unwrap_or_default();
            return Err(format!("a request was answered {status}").into());
        }
        Ok(Answer { head, body })
    }
}

/// As behind a proxy that speaks HTTPS with the browser.
fn request(path: &str, cookie: &str) -> String {
    format!(
        "GET {path} HTTP/1.1\r\nHost: example.org\r\nX-Forwarded-Proto: https\r\nUser-Agent: benchmark\r\n{cookie}\r\n"
    )
}

/// Where the body begins, once all of it has been heard.
fn body_of_whole_answer(heard: &[u8]) -> Result<Option<usize>> {
    let end = heard.windows(4).position(|four| four == b"\r\n\r\n");
    let Some(end) = end else { return Ok(None) };
    let (head, _) = heard.split_at(end);
    let headers = str::from_utf8(head)?.lines();
    let mut headers = headers.filter_map(|line| line.split_once(':'));
    let length = headers.find(|(name, _)| name.eq_ignore_ascii_case("content-length"));
    let (_, length) = length.ok_or("a server does not say how long its answer is")?;
    let length: usize = length.trim().parse()?;
    let body = end + 4;
    Ok((heard.len() >= body + length).then_some(body))
}

/// One scenario of one library, over all rounds.
struct Turn {
    scenario: Scenario,
    requests_each_second: Vec<f64>,
    cpu: Vec<f64>,
    /// As a multiple of the bare handler's of the same round.
    cpu_times_bare: Vec<f64>,
    latencies: [Vec<f64>; 3],
}

/// Names in the results, and the share of the answers that took no longer.
const LATENCIES: [(&str, f64); 3] = [
    ("p50_nanoseconds", 0.5),
    ("p99_nanoseconds", 0.99),
    ("p999_nanoseconds", 0.999),
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

    fn take(&mut self, mut borne: Borne, bare: f64) {
        self.requests_each_second.push(borne.requests_each_second);
        self.cpu.push(borne.cpu);
        self.cpu_times_bare.push(borne.cpu / bare);
        borne.latencies.sort_unstable_by(f64::total_cmp);
        for (taken, (_, share)) in self.latencies.iter_mut().zip(LATENCIES) {
            let at = (borne.latencies.len() as f64 * share) as usize;
            taken.extend(borne.latencies.get(at));
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

fn median(samples: &mut [f64]) -> f64 {
    let [_, median, _] = quartiles(samples, 1.0);
    median
}
