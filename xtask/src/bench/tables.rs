//! The numbers as tables: which there are, and what stands in them.

use super::load::{self, MEMORY, REDIS};
use super::results::{BARE, Results, Row};
use super::spending::SPENDERS;
use super::{contention, growth, verdicts};

/// Our library's name in the results.
pub(super) const OURS: &str = "ours";

/// Our library's name where it is middleware of actix-web.
pub(super) const OURS_ACTIX: &str = "ours-actix";

/// No library: the least that a session costs. So is its program called.
pub(super) const LEAST: &str = "least";

/// The library that can be compared with that one.
pub(super) const ACTIX: &str = "actix-session";

/// The name under which a store's results have what its bare client does.
pub(super) const PRIMITIVE: &str = "primitive";

/// The stores outside the process.
const STORES: [&str; 4] = ["file", "sqlite", "postgres", "redis"];

/// The scenarios with a layer, and what they are called.
pub(super) const SCENARIOS: [(&str, &str); 7] = [
    ("s1", "cookie, never asked"),
    ("s2", "read"),
    ("s3", "write"),
    ("s4", "no cookie, never asked"),
    ("s5", "first visit"),
    ("s6", "login"),
    ("logout", "logout"),
];

/// What a reader calls a scenario.
pub(super) fn label(scenario: &str, name: &str) -> String {
    if scenario == name {
        name.to_owned()
    } else {
        format!("{scenario} {name}")
    }
}

/// What a small session in memory may cost: instructions and allocations above the bare handler, and the total time as a
/// multiple of it.
const TARGETS: [(&str, f64, f64, f64); 6] = [
    ("s1", 2500.0, 7.0, 1.45),
    ("s2", 6000.0, 10.0, 2.2),
    ("s3", 9500.0, 16.0, 3.0),
    ("s4", 2400.0, 7.0, 1.4),
    ("s5", 12_000.0, 20.0, 4.0),
    ("s6", 11_000.0, 16.0, 4.0),
];

pub(super) struct Table {
    pub(super) title: String,
    head: Vec<String>,
    rows: Vec<Vec<String>>,
}

impl Table {
    pub(super) fn new(title: impl Into<String>, head: &[&str]) -> Self {
        Self {
            title: title.into(),
            head: head.iter().map(|&word| word.to_owned()).collect(),
            rows: Vec::new(),
        }
    }

    pub(super) fn push(&mut self, row: impl Into<Vec<String>>) {
        self.rows.push(row.into());
    }

    pub(super) fn markdown(&self) -> String {
        let line = |cells: &[String]| format!("| {} |", cells.join(" | "));
        let rule = vec!["---".to_owned(); self.head.len()];
        let mut lines = vec![line(&self.head), line(&rule)];
        lines.extend(self.rows.iter().map(|row| line(row)));
        lines.join("\n")
    }
}

/// All that the results have numbers for.
pub(super) fn all(results: &Results) -> Vec<Table> {
    let mut tables = Vec::new();
    for (payload, size) in [("small", "125 bytes"), ("large", "64 KiB")] {
        tables.push(counted(
            results,
            payload,
            format!("Instructions above the bare handler, memory, {size}"),
            |row| row.instructions,
            |_, instructions, _, _| instructions,
        ));
        tables.push(counted(
            results,
            payload,
            format!("Allocations above the bare handler, memory, {size}"),
            |row| row.allocations,
            |_, _, allocations, _| allocations,
        ));
        tables.push(times(results, payload, size));
    }
    tables.push(spending(results));
    tables.push(trips(results));
    for (payload, size) in [("small", "125 bytes"), ("large", "64 KiB")] {
        tables.push(store_times(results, payload, size));
    }
    tables.push(load::table(results, MEMORY));
    tables.push(load::table(results, REDIS));
    tables.push(verdicts::table(results));
    tables.push(contention::table(results));
    tables.push(growth::table(results));
    tables.retain(|table| !table.rows.is_empty());
    tables
}

/// One row for each scenario, one column for each library, the target and the ratio to the best peer.
fn counted(
    results: &Results,
    payload: &str,
    title: String,
    measure: fn(&Row) -> Option<f64>,
    target: fn(&str, f64, f64, f64) -> f64,
) -> Table {
    let libraries = in_memory(results, payload);
    let mut head = vec!["request"];
    head.extend(&libraries);
    head.extend(["ours, at most", "ours / best axum peer"]);
    let has_actix = libraries.contains(&OURS_ACTIX);
    if has_actix {
        head.push("ours-actix / actix-session");
    }
    let mut table = Table::new(title, &head);
    for (scenario, name) in SCENARIOS {
        let above: Vec<Option<f64>> = libraries
            .iter()
            .map(|library| {
                let row = find_in_memory(results, library, payload, scenario)?;
                results.above_bare(row, measure)
            })
            .collect();
        if above.iter().all(Option::is_none) {
            continue;
        }
        let mut row = vec![label(scenario, name)];
        row.extend(above.iter().map(|number| shown(*number)));
        let goal = TARGETS
            .iter()
            .find(|(of, ..)| *of == scenario && payload == "small");
        row.push(shown(goal.map(|&(of, instructions, allocations, time)| {
            target(of, instructions, allocations, time)
        })));
        let axum = |library: &str| ![OURS, LEAST, OURS_ACTIX, ACTIX].contains(&library);
        row.push(ratio(&libraries, &above, OURS, &axum));
        if has_actix {
            row.push(ratio(&libraries, &above, OURS_ACTIX, &|name| name == ACTIX));
        }
        table.push(row);
    }
    table
}

/// The median above bare with its quartiles, and the whole as a multiple of bare.
fn times(results: &Results, payload: &str, size: &str) -> Table {
    let libraries = in_memory(results, payload);
    let mut head = vec!["request"];
    head.extend(&libraries);
    head.push("ours, at most");
    let mut table = Table::new(
        format!(
            "Nanoseconds above the bare handler, memory, {size}: median (quartiles), total as a multiple of bare"
        ),
        &head,
    );
    for (scenario, name) in SCENARIOS {
        let mut row = vec![label(scenario, name)];
        let mut has_any = false;
        for library in &libraries {
            let cell = find_in_memory(results, library, payload, scenario).and_then(|row| {
                let [low, middle, high] = row.above?;
                let bare = find_in_memory(results, library, payload, BARE)?.nanoseconds?;
                Some(format!(
                    "{middle:.0} ({low:.0}–{high:.0}), × {:.2}",
                    row.nanoseconds? / bare
                ))
            });
            has_any |= cell.is_some();
            row.push(cell.unwrap_or_else(|| "–".to_owned()));
        }
        let goal = TARGETS
            .iter()
            .find(|(of, ..)| *of == scenario && payload == "small");
        row.push(goal.map_or_else(|| "–".to_owned(), |(.., time)| format!("× {time}")));
        if has_any {
            table.push(row);
        }
    }
    table
}

/// Who spends what ours needs above the bare handler, in memory: one row for each spender, one column for each scenario.
fn spending(results: &Results) -> Table {
    let mut head = vec!["who spends it".to_owned()];
    head.extend(SCENARIOS.map(|(scenario, name)| label(scenario, name)));
    let head: Vec<&str> = head.iter().map(String::as_str).collect();
    let mut table = Table::new(
        "What the floor is: whose our instructions above the bare handler are, memory, 125 bytes",
        &head,
    );
    let row = |scenario| results.find("memory", OURS, "small", scenario);
    let Some(bare) = row(BARE).filter(|bare| !bare.spent.is_empty()) else {
        return table;
    };
    let above = |scenario, spender: &str| {
        let of = |row: &Row| row.spent.get(spender).copied().unwrap_or_default();
        Some(of(row(scenario)?) - of(bare))
    };
    let mut sums = [0.0; SCENARIOS.len()];
    for spender in SPENDERS {
        let numbers = SCENARIOS.map(|(scenario, _)| above(scenario, spender));
        for (sum, number) in sums.iter_mut().zip(numbers) {
            *sum += number.unwrap_or_default();
        }
        if numbers.iter().flatten().any(|number| number.abs() >= 1.0) {
            let mut row = vec![spender.to_owned()];
            row.extend(numbers.map(|number| shown(number.map(f64::round))));
            table.push(row);
        }
    }
    let mut row = vec!["all".to_owned()];
    row.extend(sums.map(|sum| shown(Some(sum.round()))));
    table.push(row);
    table
}

fn trips(results: &Results) -> Table {
    let mut head = vec!["store", "library"];
    head.extend(SCENARIOS.map(|(scenario, _)| scenario));
    let mut table = Table::new("Round trips to the store's server, seen on the wire", &head);
    for store in STORES {
        for library in results.libraries(|key| key.store == store) {
            let of = |scenario| {
                results
                    .find(store, library, "small", scenario)
                    .and_then(|row| row.round_trips)
            };
            let counted: Vec<_> = SCENARIOS.map(|(scenario, _)| of(scenario)).to_vec();
            if counted.iter().any(Option::is_some) {
                let mut row = vec![store.to_owned(), library.to_owned()];
                row.extend(counted.into_iter().map(shown));
                table.push(row);
            }
        }
    }
    table
}

/// Microseconds above the bare handler, and how many times the bare client's read that is.
fn store_times(results: &Results, payload: &str, size: &str) -> Table {
    let mut head = vec!["store", "library"];
    head.extend(SCENARIOS.map(|(scenario, _)| scenario));
    let mut table = Table::new(
        format!(
            "Microseconds above the bare handler, {size} (in brackets: times the least that our client does for a read of 125 bytes)"
        ),
        &head,
    );
    for store in STORES {
        let primitive = results
            .find(store, PRIMITIVE, "small", BARE)
            .and_then(|row| row.nanoseconds);
        for library in results.libraries(|key| key.store == store && key.payload == payload) {
            let mut row = vec![store.to_owned(), library.to_owned()];
            if library == PRIMITIVE {
                let Some(nanoseconds) = primitive else {
                    continue;
                };
                row.push(String::new());
                row.push(format!("{:.1}", nanoseconds / 1000.0));
                row.extend(vec![String::new(); SCENARIOS.len() - 2]);
                table.push(row);
                continue;
            }
            let mut has_any = false;
            for (scenario, _) in SCENARIOS {
                let found = results.find(store, library, payload, scenario);
                let cell = found.and_then(|row| row.above).map(|[_, above, _]| {
                    let times = primitive.map_or_else(String::new, |primitive| {
                        format!(" ({:.2})", above / primitive)
                    });
                    format!("{:.1}{times}", above / 1000.0)
                });
                has_any |= cell.is_some();
                row.push(cell.unwrap_or_else(|| "–".to_owned()));
            }
            if has_any {
                table.push(row);
            }
        }
    }
    table
}

/// The libraries that keep nothing outside the process. actix-session publishes no store in memory, and is measured with its
/// cookies.
pub(super) fn in_memory<'a>(results: &'a Results, payload: &str) -> Vec<&'a str> {
    results.libraries(|key| is_in_memory(&key.store) && key.payload == payload)
}

pub(super) fn find_in_memory<'a>(
    results: &'a Results,
    library: &str,
    payload: &str,
    scenario: &str,
) -> Option<&'a Row> {
    results
        .find("memory", library, payload, scenario)
        .or_else(|| results.find("cookie", library, payload, scenario))
}

fn is_in_memory(store: &str) -> bool {
    ["memory", "cookie"].contains(&store)
}

/// What `ours` needs, as a multiple of what the best of the peers does.
fn ratio(
    libraries: &[&str],
    above: &[Option<f64>],
    ours: &str,
    is_peer: &dyn Fn(&str) -> bool,
) -> String {
    let of = |is_wanted: &dyn Fn(&str) -> bool| {
        let numbers = libraries.iter().zip(above);
        let numbers = numbers.filter(|(library, _)| is_wanted(library));
        numbers
            .filter_map(|(_, number)| *number)
            .min_by(f64::total_cmp)
    };
    match (of(&|library| library == ours), of(is_peer)) {
        (Some(ours), Some(best)) if best > 0.0 => format!("{:.2}", ours / best),
        _ => "–".to_owned(),
    }
}

/// Whole where the fraction says nothing.
fn shown(number: Option<f64>) -> String {
    match number {
        None => "–".to_owned(),
        Some(number) if number.abs() >= 100.0 || number.fract().abs() < 0.05 => {
            format!("{number:.0}")
        }
        Some(number) => format!("{number:.1}"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::results::sample::row;
    use super::*;

    #[test]
    fn ours_stands_beside_its_target_and_the_best_peer() {
        let results = Results {
            rows: vec![
                row(OURS, BARE, 1000.0),
                row(OURS, "s2", 5000.0),
                row("tower-sessions", BARE, 1000.0),
                row("tower-sessions", "s2", 9000.0),
                row("axum_session", BARE, 1000.0),
                row("axum_session", "s2", 17_000.0),
            ],
            ..Results::default()
        };
        let tables = all(&results);
        assert_eq!(tables.len(), 1, "a table without numbers was kept");
        let markdown = tables[0].markdown();
        assert!(
            markdown.contains("| s2 read | 4000 | 8000 | 16000 | 6000 | 0.50 |"),
            "{markdown}"
        );
    }

    #[test]
    fn ours_in_actix_is_compared_with_its_peer_there_and_is_no_peer_of_ours_in_axum() {
        let bare = [OURS, "tower-sessions", OURS_ACTIX, ACTIX].map(|name| row(name, BARE, 1000.0));
        let mut results = Results {
            rows: bare.to_vec(),
            ..Results::default()
        };
        results.rows.extend([
            row(OURS, "s2", 5000.0),
            row("tower-sessions", "s2", 9000.0),
            row(OURS_ACTIX, "s2", 4000.0),
            row(ACTIX, "s2", 7000.0),
        ]);
        let markdown = all(&results)[0].markdown();
        assert!(
            markdown.contains("| s2 read | 4000 | 8000 | 3000 | 6000 | 6000 | 0.50 | 0.50 |"),
            "{markdown}"
        );
    }

    #[test]
    fn the_least_is_nobodys_peer() {
        let bare = [OURS, LEAST, "tower-sessions"].map(|name| row(name, BARE, 1000.0));
        let mut results = Results {
            rows: bare.to_vec(),
            ..Results::default()
        };
        results.rows.extend([
            row(OURS, "s2", 5000.0),
            row(LEAST, "s2", 2000.0),
            row("tower-sessions", "s2", 9000.0),
        ]);
        let markdown = all(&results)[0].markdown();
        assert!(
            markdown.contains("| s2 read | 4000 | 1000 | 8000 | 6000 | 0.50 |"),
            "{markdown}"
        );
    }

    #[test]
    fn whose_instructions_they_are_is_shown_without_those_of_the_bare_handler() {
        let spent = |scenario, tokio, core| Row {
            spent: [("tokio", tokio), ("session-core", core)]
                .map(|(spender, number)| (spender.to_owned(), number))
                .into(),
            ..row(OURS, scenario, tokio + core)
        };
        let results = Results {
            rows: vec![spent(BARE, 300.0, 0.0), spent("s1", 320.4, 500.0)],
            ..Results::default()
        };
        let markdown = spending(&results).markdown();
        let rows: Vec<_> = markdown.lines().skip(2).collect();
        assert_eq!(
            rows,
            [
                "| session-core | 500 | – | – | – | – | – | – |",
                "| tokio | 20 | – | – | – | – | – | – |",
                "| all | 520 | 0 | 0 | 0 | 0 | 0 | 0 |",
            ]
        );
    }

    #[test]
    fn fractions_are_shown_where_they_say_something() {
        let cases = [
            (None, "–"),
            (Some(7.0), "7"),
            (Some(7.01), "7"),
            (Some(7.25), "7.2"),
            (Some(1234.5), "1234"),
        ];
        for (number, expected) in cases {
            assert_eq!(shown(number), expected, "{number:?}");
        }
    }
}
