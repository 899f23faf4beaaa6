//! Writes the numbers where people read them: a page with tables and plots.

use std::fs;

use crate::Result;
use crate::console::say;
use crate::workspace::Workspace;

use super::machine::Machine;
use super::plot::Bars;
use super::publish;
use super::results::{Results, Row};
use super::tables::{self, PRIMITIVE, SCENARIOS};

const FOLDER: &str = "docs/performance";

const HEAD: &str = "\
<!-- `cargo xtask bench --report` writes this page. -->

# Performance

What a session costs a request, ours and three other libraries', each through its own middleware with requests built
beforehand. `cargo xtask bench` measures it again; the numbers of this page are in
[benchmarks/baseline.json](../../benchmarks/baseline.json).

";

const HOW: &str = "
## How it is measured

Each library has the same application: a page that asks for nothing, one that reads a name, one that writes one, a login that
changes the key, a logout. The requests of a batch are built first and answered in a row, on one thread. The scenarios of all
libraries take turns, batch by batch, so that whatever else the machine does meets them all.

- **Bare** is the same handler without a layer, in the same run. All numbers but multiples are above it.
- **Instructions** are counted by callgrind. Those of SHA-256 are left out, since callgrind sees a version in software of what
  processors have in hardware; the system call for random bytes is not among them. They hardly differ from run to run, and
  `cargo xtask bench --against FILE` fails when ours need 5 % more.
- **Allocations** are those of the thread that answers.
- **Nanoseconds** are the median of the batches' differences to the bare batch of the same round, with their quartiles.
- **Round trips** are counted between program and server, by a proxy: a client's turn that follows the server's.
  On PostgreSQL the last trip of each operation of tower-sessions' and axum_session's is the pool of sqlx: a lone `Sync` when
  a connection is given back, after the answer. Ours keeps its connections from one statement to the next.
- The session has three names in 125 bytes, or beside them a cart of 505 items, 64 KiB. Its cookie stands between two others.
- **ours-actix** is ours as middleware of actix-web, beside actix-session. Both stand around a scope, and above actix-web's bare
  handler in a scope. actix-session publishes no store in memory: where the others keep sessions there, it is measured with its
  encrypted cookies, which do not hold 64 KiB.
- **least** is no library but what ours can be held against: the least of a layer, an extractor, a store behind a trait whose
  methods may wait, hashed keys, shared values that are parsed when they are read, `Vary`, and an index of owners. There, a
  write replaces what another request has written meanwhile, a request that is under way brings back what was logged out, and
  nothing expires, is limited or is checked. It is in
  [benchmarks/apps/least.rs](../../benchmarks/apps/least.rs).
- **What the floor is**: each instruction is counted for the crate that its line of source comes from. Code of the standard
  library counts for the crate whose function it became a part of, or whose types it is about, and else for itself. The system
  call for random bytes is not seen, and SHA-256 is left out. What axum and tower, the types of `http`, the allocator and the
  copying of bytes need above the bare handler is what a layer asks of them: a boxed future, an extension of the request, the
  headers of the response.
- The stores that tower-sessions publishes fit its version 0.14, so it is measured with that one there.
- axum_session keeps sessions in the process for some time in front of its stores, and so does not see what other processes do.
- **Correctness**: a gate in the handlers holds requests between their read and their write, so that the outcome depends on no
  chance. 50 requests at once write a name each, or add one to a counter; one request reads the session, and writes after
  another has logged the user out, or in. With two nodes, half of the requests go to each, and what happens meanwhile
  happens on the other. Bold is what was lost without a word, or came back. The servers on actix-web are not among these.
- **Clients on one session**: 64 clients read one session before the first of them writes; then each adds one to its counter and
  saves, ten times in a row. With two nodes, half of the clients have another manager with connections of its own. \"Tried
  again\" are the saves that met a newer version; a wait is that of one save with all its attempts. `cached` is Redis in front
  of PostgreSQL.
- **Load over HTTP**: each library's application is a server with one worker thread; a generator in a process of its own
  keeps 32 connections open, each a visitor with a session of their own who asks again as soon as the answer is there. The
  servers take turns, in 15 rounds. A turn is 24 slices of 3,200 requests: each slice of a scenario follows one of the bare
  handler outside of the layer, in the same server, and the multiple is that of the four slices of a scenario to the four
  beside them. Numbers are the rounds' medians. **Server CPU** is what the kernel says that the server's threads ran, system
  calls and all, and what is compared: requests each second also depend on how the generator gets on, and a latency is mostly
  the wait for the 31 others. An answer that is not the right one ends the measurement. The servers on actix-web are compared
  with the bare handler of actix-web.
- **Growth** is measured at the stores themselves, program and servers on one core: on two, the kernel's choice of which is
  where moves a load by a factor of two. Stores of all sizes are alive at once and take turns of 25 loads and 25 saves
  of sessions from everywhere (in memory 400), after some loads that warm caches and do not count. A multiple is that of a turn
  to the smallest store's turn of the same round. Bytes are those of the process, of the blocks on disk, or what the server
  says, less what an empty store takes; `--full` adds a million sessions, and for files, which take a block of the disk each
  and are slow to remove, also the 100,000. In memory a load is 181 instructions among a thousand sessions and 182 among
  100,000: what grows with the number of sessions is the wait for memory that no cache of the processor holds.
- PostgreSQL runs without `fsync`, MariaDB syncs now and then and may keep a gibibyte in memory, and Redis writes nothing to
  disk. Files and SQLite sync as they do by default: ours with each write, so that the disk is most of
  what a write costs.
";

const NOT_MET: &str = "
## What is above its target, and what is in the way

- **Instructions in memory**: the column *least* is what a session needs that has nothing of what ours is for. What ours has
  above it is one state for all tasks of a request, the checks of the cookie and its key, a call that is bounded in time,
  expiry and its renewal; for a write also the comparison of versions, the limits, and what a merge would need; for a log-in the
  move to a new key. \"What the floor is\" has whose they are. Other ways to find the cookie and to write hexadecimal digits
  were tried, and brought nothing.
- **Times in memory** follow the instructions. A first visit and a log-in each ask the operating system for 32 random bytes, a
  system call of 370 ns on this machine. Bytes are not asked for in advance: a copy of the process or of the virtual machine
  would have the same ones.
- **CPU over HTTP** is the same instructions, and two headers more in the response for who has asked for the session.
- **Redis**: a save is a script, since Redis 7 has no compare-and-swap of its own. [The page of
  session-cache](../../session-cache/docs/crate.md) has what the server spends on it. With the least script that could do it, a
  load and a save would cost the server 2.3 times a `GET`; with ours, 2.8.
- **Files** that are synced wait for the disk twice, and each is a commit of the file system's journal. [Their
  format](../../session-file/docs/format.md) has every step in microseconds, what lies below, and why it is not done.
- **SQLite** syncs each write too. Writes that wait for each other are committed together, which this page does not show, since it
  asks one after the other: with 64 clients it is 9.7 times as many as bare updates,
  [measured there](../../session-db/docs/crate.md#figures).
- **Growth**: in memory it is the wait for memory: a load among a million took 600 ns, and 62 when the same keys were asked for
  again; a look-up in a bare hash map went from 7 ns among a thousand to more than 100. SQLite's load among a million is a
  read of pages that the connection's cache of 2 MiB does not hold, by memory map as slow as by calls; that of a file goes
  through directories and inodes which the kernel's caches don't all hold.
";

/// Writes page and plots.
pub(super) fn write(workspace: &Workspace, results: &Results) -> Result<()> {
    let folder = workspace.root.join(FOLDER);
    fs::create_dir_all(&folder)?;
    let mut page = HEAD.to_owned();
    page.push_str(&described(&results.machine));
    for (name, bars) in plots(results) {
        let file = format!("{name}.svg");
        publish(&folder.join(&file), &bars.svg())?;
        page.push_str(&format!("\n![{}]({file})\n", bars.title));
    }
    for table in tables::all(results) {
        page.push_str(&format!("\n## {}\n\n{}\n", table.title, table.markdown()));
    }
    page.push_str(NOT_MET);
    page.push_str(HOW);
    publish(&folder.join("README.md"), &page)?;
    say(format_args!("written: {FOLDER}/README.md"));
    Ok(())
}

fn described(machine: &Machine) -> String {
    let Machine {
        cpu,
        cores,
        memory_gib,
        kernel,
        rustc,
        load_average,
        commit,
        date,
        libraries,
    } = machine;
    let busy = if machine.was_busy() {
        format!(
            "**Other programs kept the machine busy (load {load_average:.1} on {cores} cores): times are information only. \
             Instructions, allocations and round trips do not mind.**\n"
        )
    } else {
        String::new()
    };
    format!(
        "{date}, commit {commit}: {cpu}, {cores} cores, {memory_gib} GiB, {kernel}, {rustc}.\n{busy}\n{}.\n",
        libraries.join(", ")
    )
}

fn plots(results: &Results) -> Vec<(&'static str, Bars<'static>)> {
    let mut plots = vec![
        (
            "instructions",
            in_memory(
                results,
                "Instructions above the bare handler, memory, 125 bytes",
                |row| row.instructions,
            ),
        ),
        (
            "allocations",
            in_memory(
                results,
                "Allocations above the bare handler, memory, 125 bytes",
                |row| row.allocations,
            ),
        ),
        (
            "time",
            in_memory(
                results,
                "Nanoseconds above the bare handler, memory, 125 bytes",
                |row| row.nanoseconds,
            ),
        ),
        (
            "round-trips-postgres",
            trips(results, "postgres", "Round trips to PostgreSQL"),
        ),
        (
            "round-trips-redis",
            trips(results, "redis", "Round trips to Redis"),
        ),
    ];
    plots.retain(|(_, bars)| !bars.series.is_empty());
    plots
}

fn in_memory(
    results: &Results,
    title: &'static str,
    measure: fn(&Row) -> Option<f64>,
) -> Bars<'static> {
    let series = tables::in_memory(results, "small").into_iter();
    let series = series.map(|library| {
        let numbers = SCENARIOS.map(|(scenario, _)| {
            let row = tables::find_in_memory(results, library, "small", scenario)?;
            results.above_bare(row, measure)
        });
        (library.to_owned(), numbers.to_vec())
    });
    Bars {
        title,
        groups: groups(),
        series: series.filter(has_any).collect(),
    }
}

/// Each library that has a store there.
fn trips(results: &Results, store: &str, title: &'static str) -> Bars<'static> {
    let libraries = results.libraries(|key| key.store == store && key.library != PRIMITIVE);
    let series = libraries.into_iter().map(|library| {
        let numbers = SCENARIOS.map(|(scenario, _)| {
            results
                .find(store, library, "small", scenario)
                .and_then(|row| row.round_trips)
        });
        (library.to_owned(), numbers.to_vec())
    });
    Bars {
        title,
        groups: groups(),
        series: series.filter(has_any).collect(),
    }
}

fn groups() -> Vec<String> {
    SCENARIOS
        .map(|(scenario, name)| tables::label(scenario, name))
        .to_vec()
}

fn has_any((_, numbers): &(String, Vec<Option<f64>>)) -> bool {
    numbers.iter().any(Option::is_some)
}
