//! Makes what sessions are kept in.

use serde_json::json;

use crate::backend::Opening;
use crate::outcome::{Failure, Report};
use crate::place::Place;

pub(super) async fn run(at: &Place, only_print: bool) -> Result<Report, Failure> {
    if only_print {
        let backend = at.open(Opening::Existing).await?;
        let sql = backend.migration().ok_or_else(|| {
            Failure::Misused(format!("{at} is no database: there is no SQL to print"))
        })?;
        return Ok(Report::done(
            sql.clone(),
            json!({ "store": at.to_string(), "sql": sql }),
        ));
    }
    let done = at.open(Opening::MayMake).await?.migrate().await?;
    Ok(Report::done(
        format!("{at}: {done}"),
        json!({ "store": at.to_string(), "migrated": true }),
    ))
}
