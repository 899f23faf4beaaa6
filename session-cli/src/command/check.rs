//! Says what is wrong with a store, and what to do.

use serde_json::json;

use crate::backend::{Finding, Opening, Severity};
use crate::outcome::{Failure, Outcome, Report};
use crate::place::Place;

pub(super) async fn run(at: &Place) -> Result<Report, Failure> {
    let checked = match at.open(Opening::Existing).await {
        Ok(backend) => backend.check().await,
        Err(failure) => Err(failure),
    };
    let findings = match checked {
        Ok(findings) => findings,
        Err(misused @ Failure::Misused(_)) => return Err(misused),
        Err(failure) => {
            let advice = failure.to_string();
            // Whoever reads it knows which store was asked for.
            let advice = advice.strip_prefix(&format!("{at}: ")).unwrap_or(&advice);
            vec![Finding::error(advice.to_owned())]
        }
    };
    Ok(report(at, &findings))
}

fn report(at: &Place, findings: &[Finding]) -> Report {
    let outcome = match findings.iter().map(|finding| finding.severity).max() {
        None => Outcome::Done,
        Some(Severity::Warning) => Outcome::NeedsAttention,
        Some(Severity::Error) => Outcome::NotReady,
    };
    let mut text = match outcome {
        Outcome::Done => format!("{at}: ready for sessions"),
        _ => format!("{at}:"),
    };
    for Finding { severity, advice } in findings {
        text += &format!("\n  {}: {advice}", word(*severity));
    }
    let json: Vec<_> = findings
        .iter()
        .map(
            |Finding { severity, advice }| json!({ "severity": word(*severity), "advice": advice }),
        )
        .collect();
    let json = json!({
        "store": at.to_string(),
        "ready": outcome != Outcome::NotReady,
        "findings": json,
    });
    Report::done(text, json).with(outcome)
}

const fn word(severity: Severity) -> &'static str {
    match severity {
        Severity::Warning => "warning",
        Severity::Error => "error",
    }
}
