//! The page for Prometheus: what the sessions of this process do, in numbers.

use axum::Router;
use axum::http::header;
use axum::routing::get;
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder};

use crate::BoxError;

/// In seconds. From a store in this process to one that is as slow as a call may be.
const DURATIONS: [f64; 11] = [
    0.000_01, 0.000_1, 0.000_5, 0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0,
];

/// In bytes, up to the most that a session may hold.
const SIZES: [f64; 6] = [64.0, 256.0, 1_024.0, 4_096.0, 65_536.0, 1_048_576.0];

/// Collects from now on, for the whole process.
///
/// The demo serves it beside its pages. An application that everybody can reach keeps it on an address of its own.
pub(crate) fn router() -> Result<Router, BoxError> {
    let buckets = |name: &str| Matcher::Full(name.to_owned());
    let handle = PrometheusBuilder::new()
        .with_recommended_naming(true)
        .set_buckets_for_metric(buckets("session.store.operation.duration"), &DURATIONS)?
        .set_buckets_for_metric(buckets("session.payload.size"), &SIZES)?
        .install_recorder()?;
    session_http::describe_metrics();
    let scrape = move || {
        // Moves what was measured into the buckets. The numbers are as old as the last scrape, and no older.
        handle.run_upkeep();
        let page = handle.render();
        async { ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], page) }
    };
    Ok(Router::new().route("/metrics", get(scrape)))
}
