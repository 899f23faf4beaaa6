//! Whether sessions survive what browsers do: several requests at once, on one node and on two, over HTTP.

use std::time::{Duration, Instant};

use crate::Result;
use crate::console::say;
use crate::process::Running;

use super::browser::{Answer, Cookies, Node};
use super::served::{Served, wait_until};
use super::verdicts::Verdict;

/// Requests that are in their handlers at the same time.
const CROWD: usize = 50;

/// How long requests may take to gather behind the gate. A library that lets in one at a time never gathers them.
const GATHER_MAX: Duration = Duration::from_secs(5);

/// One library on one store, on one node or two.
pub(super) struct Subject<'a> {
    pub(super) served: Served<'a>,
    pub(super) nodes: usize,
}

impl Subject<'_> {
    /// All cases, each with nodes that know nothing of the one before.
    pub(super) fn verdicts(&self) -> Result<Vec<Verdict>> {
        const CASES: [(&str, Case); 4] = [
            ("50 names", names),
            ("counter", counter),
            ("ended meanwhile", ended),
            ("rotated meanwhile", rotated),
        ];
        let mut verdicts = Vec::new();
        for (case, run) in CASES {
            say(format_args!(
                "--- {} on {}, nodes: {}: {case}",
                self.served.library, self.served.store, self.nodes
            ));
            let servers = self.start()?;
            let nodes: Vec<Node> = servers.iter().map(|(node, _)| *node).collect();
            let Found { text, is_right } = run(&nodes)?;
            verdicts.push(Verdict {
                library: self.served.library.to_owned(),
                store: self.served.store.to_owned(),
                nodes: self.nodes as u64,
                case: case.to_owned(),
                text,
                is_right,
            });
        }
        Ok(verdicts)
    }

    fn start(&self) -> Result<Vec<(Node, Running)>> {
        let mut servers = Vec::new();
        for _ in 0..self.nodes {
            servers.push(self.served.start()?);
        }
        Ok(servers)
    }
}

type Case = fn(&[Node]) -> Result<Found>;

/// What became of the sessions.
struct Found {
    text: String,
    is_right: bool,
}

/// Each request writes a name of its own.
fn names(nodes: &[Node]) -> Result<Found> {
    let cookies = visitor(nodes)?;
    let path = |at: usize| format!("/gated/set/name{at}");
    let answered = crowd(nodes, &cookies, &path)?;
    let mut kept = 0;
    for at in 0..CROWD {
        kept += usize::from(has(first(nodes)?, &cookies, &format!("name{at}"))?);
    }
    Ok(of_a_crowd(kept, answered))
}

/// Each request adds one.
fn counter(nodes: &[Node]) -> Result<Found> {
    let cookies = visitor(nodes)?;
    let answered = crowd(nodes, &cookies, &|_| "/gated/add".to_owned())?;
    let answer = first(nodes)?.get("/count", &cookies)?;
    let kept = answer.body.trim().parse().unwrap_or(0);
    Ok(of_a_crowd(kept, answered))
}

/// A request has read the session when another logs the user out, and writes afterwards.
fn ended(nodes: &[Node]) -> Result<Found> {
    let cookies = visitor(nodes)?;
    let (late, _) = meanwhile(nodes, &cookies, "/logout")?;
    let mut after = cookies.clone();
    after.take(&late.set_cookies);
    let node = first(nodes)?;
    let is_back = has(node, &cookies, "name")? || has(node, &after, "name")?;
    let is_told = late.status != 200;
    Ok(Found {
        text: match (is_back, is_told) {
            (true, _) => "the session is back".to_owned(),
            (false, true) => format!("stays ended; the late write is told ({})", late.status),
            (false, false) => "stays ended; the late write is answered 200".to_owned(),
        },
        is_right: !is_back && is_told,
    })
}

/// A request has read the session when another logs the user in, and writes afterwards.
fn rotated(nodes: &[Node]) -> Result<Found> {
    let cookies = visitor(nodes)?;
    let (late, login) = meanwhile(nodes, &cookies, "/login")?;
    let mut after = cookies.clone();
    after.take(&login.set_cookies);
    let has_new_key = !after.is_same(&cookies);
    // The browser gets the login's answer first, then the late one's.
    after.take(&late.set_cookies);
    let node = first(nodes)?;
    let is_logged_in = has(node, &after, "name")? && has_new_key;
    let lives_on = has(node, &cookies, "name")?;
    let is_kept = has(node, &after, "late")?;
    let mut text = if is_logged_in {
        "logged in".to_owned()
    } else {
        "LOGGED OUT".to_owned()
    };
    if lives_on {
        text.push_str("; the old key LIVES ON");
    }
    let is_told = late.status != 200;
    text.push_str(&match (is_kept, is_told) {
        (true, _) => "; the late write is kept".to_owned(),
        (false, true) => format!("; the late write is told ({})", late.status),
        (false, false) => "; the late write is LOST with a 200".to_owned(),
    });
    Ok(Found {
        is_right: is_logged_in && !lives_on && (is_kept || is_told),
        text,
    })
}

fn of_a_crowd(kept: usize, answered: usize) -> Found {
    let refused = CROWD - answered;
    let mut text = format!("{kept} of {CROWD} kept");
    if refused > 0 {
        text.push_str(&format!(", {refused} refused"));
    }
    Found {
        text,
        is_right: kept == CROWD,
    }
}

/// The cookies of a new visitor.
fn visitor(nodes: &[Node]) -> Result<Cookies> {
    let mut cookies = Cookies::default();
    let answer = first(nodes)?.get("/seed", &cookies)?;
    cookies.take(&answer.set_cookies);
    if answer.status != 200 || cookies.is_empty() {
        return Err(format!("no session could be begun: {}", answer.status).into());
    }
    Ok(cookies)
}

/// Sends a crowd through the gate: all read before one of them writes. The number of those that were answered 200.
fn crowd(nodes: &[Node], cookies: &Cookies, path: &dyn Fn(usize) -> String) -> Result<usize> {
    all(nodes, "/gate/close")?;
    std::thread::scope(|scope| {
        let requests: Vec<_> = nodes
            .iter()
            .cycle()
            .take(CROWD)
            .enumerate()
            .map(|(at, node)| {
                let path = path(at);
                scope.spawn(move || node.post(&path, cookies))
            })
            .collect();
        let gathered = gather(nodes, CROWD);
        all(nodes, "/gate/open")?;
        gathered?;
        let mut answered = 0;
        for request in requests {
            let answer = request.join().map_err(|_panic| "a request panicked")??;
            answered += usize::from(answer.status == 200);
        }
        Ok(answered)
    })
}

/// Holds a write on the first node while the last one answers `path`. Both answers.
fn meanwhile(nodes: &[Node], cookies: &Cookies, path: &str) -> Result<(Answer, Answer)> {
    let (node, other) = (first(nodes)?, nodes.last().ok_or("there is no node")?);
    all(nodes, "/gate/close")?;
    std::thread::scope(|scope| {
        let late = scope.spawn(|| node.post("/gated/set/late", cookies));
        let gathered = gather(nodes, 1);
        let answer = other.get(path, cookies);
        all(nodes, "/gate/open")?;
        gathered?;
        let late = late.join().map_err(|_panic| "a request panicked")??;
        Ok((late, answer?))
    })
}

/// Waits until `count` requests are behind the gates, or no more come.
fn gather(nodes: &[Node], count: usize) -> Result<()> {
    let started = Instant::now();
    wait_until(2 * GATHER_MAX, || {
        let mut waiting = 0;
        for node in nodes {
            waiting += node.say("/gate/waiting")?.parse().unwrap_or(0);
        }
        Ok(waiting >= count || started.elapsed() > GATHER_MAX)
    })
}

fn all(nodes: &[Node], path: &str) -> Result<()> {
    for node in nodes {
        node.say(path)?;
    }
    Ok(())
}

fn has(node: &Node, cookies: &Cookies, name: &str) -> Result<bool> {
    Ok(node.get(&format!("/has/{name}"), cookies)?.body.trim() == "true")
}

fn first(nodes: &[Node]) -> Result<&Node> {
    Ok(nodes.first().ok_or("there is no node")?)
}
