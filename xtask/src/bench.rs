//! Measures what a session costs a request, ours and its peers', and says whether ours has become dearer.

mod browser;
mod callgrind;
mod compare;
mod contention;
mod correctness;
mod document;
mod growth;
mod load;
mod machine;
mod one_core;
mod plan;
mod plot;
mod programs;
mod results;
mod served;
mod spending;
mod tables;
mod verdicts;

use std::fs;
use std::path::{Path, PathBuf};

use crate::Result;
use crate::arguments::Bench;
use crate::console::say;
use crate::workspace::Workspace;

use results::Results;

/// Measures, or reads what was measured, and does with it what `options` say. `false` when ours has become dearer.
pub(crate) fn run(workspace: &Workspace, options: &Bench) -> Result<bool> {
    // Read first: whoever mistypes a name need not wait for a run.
    let earlier = options.against.as_deref().map(read).transpose()?;
    let results = match &options.from {
        Some(path) => read(path)?,
        None => measure(workspace, options)?,
    };
    for table in tables::all(&results) {
        say(format_args!("\n{}\n\n{}", table.title, table.markdown()));
    }
    if options.report {
        document::write(workspace, &results)?;
    }
    let Some(earlier) = earlier else {
        return Ok(true);
    };
    let comparison = compare::compare(&earlier, &results)?;
    say(comparison.text());
    Ok(comparison.is_good())
}

fn measure(workspace: &Workspace, options: &Bench) -> Result<Results> {
    let folder = workspace.target.join("bench-results");
    fs::create_dir_all(&folder)?;
    let path = options
        .json
        .clone()
        .unwrap_or_else(|| folder.join("latest.json"));
    let keep = |results: &Results| publish(&path, &format!("{:#}\n", results.to_json()));
    let results = programs::measure(workspace, &folder, options, &keep)?;
    say(format_args!("written: {}", path.display()));
    Ok(results)
}

fn read(path: &Path) -> Result<Results> {
    let text = fs::read_to_string(path)
        .map_err(|error| format!("{} can't be read: {error}", path.display()))?;
    let json = serde_json::from_str(&text)
        .map_err(|error| format!("{} is no JSON: {error}", path.display()))?;
    Results::from_json(&json).map_err(|error| format!("{}: {error}", path.display()).into())
}

/// Writes a file that anybody can make again.
fn publish(path: &PathBuf, text: &str) -> Result<()> {
    use std::io::Write as _;
    let mut file = fs::File::create(path)
        .map_err(|error| format!("{} can't be written: {error}", path.display()))?;
    Ok(file.write_all(text.as_bytes())?)
}
