//! What became of sessions when requests met: one case of one library, and the table of all.

use serde_json::{Value, json};

use crate::workspace::text;

use super::results::Results;
use super::tables::{OURS, Table};

/// What became of sessions under load.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Verdict {
    pub(super) store: String,
    pub(super) library: String,
    pub(super) nodes: u64,
    pub(super) case: String,
    pub(super) text: String,
    /// Nothing was lost without a word, and nothing came back.
    pub(super) is_right: bool,
}

impl Verdict {
    pub(super) fn read(json: &Value) -> Self {
        Self {
            store: text(json, "store").to_owned(),
            library: text(json, "library").to_owned(),
            nodes: json["nodes"].as_u64().unwrap_or_default(),
            case: text(json, "case").to_owned(),
            text: text(json, "verdict").to_owned(),
            is_right: json["is_right"] == true,
        }
    }

    pub(super) fn to_json(&self) -> Value {
        let Self {
            store,
            library,
            nodes,
            case,
            text,
            is_right,
        } = self;
        json!({
            "store": store,
            "library": library,
            "nodes": nodes,
            "case": case,
            "verdict": text,
            "is_right": is_right,
        })
    }
}

/// One row for each library on a store, one column for each case.
pub(super) fn table(results: &Results) -> Table {
    let mut cases: Vec<&str> = Vec::new();
    let mut subjects: Vec<(&str, &str, u64)> = Vec::new();
    for verdict in &results.verdicts {
        let subject = (&*verdict.store, &*verdict.library, verdict.nodes);
        if !cases.contains(&&*verdict.case) {
            cases.push(&verdict.case);
        }
        if !subjects.contains(&subject) {
            subjects.push(subject);
        }
    }
    subjects.sort_by_key(|&(store, library, nodes)| (store, nodes, library != OURS));
    let mut head = vec!["store", "nodes", "library"];
    head.extend(&cases);
    let mut table = Table::new("Correctness under load, over HTTP", &head);
    for (store, library, nodes) in subjects {
        let mut row = vec![store.to_owned(), nodes.to_string(), library.to_owned()];
        row.extend(cases.iter().map(|&case| {
            let found = results.verdicts.iter().find(|verdict| {
                (&*verdict.store, &*verdict.library, verdict.nodes) == (store, library, nodes)
                    && verdict.case == case
            });
            found.map_or_else(
                || "–".to_owned(),
                |Verdict { text, is_right, .. }| {
                    if *is_right {
                        text.clone()
                    } else {
                        format!("**{text}**")
                    }
                },
            )
        }));
        table.push(row);
    }
    table
}
