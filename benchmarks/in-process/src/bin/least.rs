//! The least that a session costs. A program of its own, so that the compiler places the libraries' code as it would without it.

#[path = "../../../apps/least.rs"]
mod least;

use harness::{AxumApp, Candidate, Result, runtime};

const CANDIDATES: &[Candidate] = &[Candidate {
    store: "memory",
    library: "least",
    make: |_| Ok(Box::new(AxumApp::new("least", runtime()?, least::app))),
}];

fn main() -> Result<()> {
    harness::run(CANDIDATES)
}
