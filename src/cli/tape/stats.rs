//! `tape stats`: counts, times and sizes of calls, of a tape or of the library.

use std::collections::{BTreeMap, HashMap};
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use serde_json::{Value, json};

use super::list::Which;
use super::opened;
use super::progress::Bar;
use crate::cli::failure::Failure;
use crate::cli::output::{self, Format};
use crate::cli::values::bytes;
use crate::log::record::{FrameKind, OpId, Role};
use crate::log::world::World;
use crate::tape::compare::Quantiles;
use crate::tape::library::Wanted;

/// Arguments of `tape stats`.
#[derive(Debug, Args)]
pub struct Arguments {
    /// File, or the beginning of a name or id in the library; the whole library if not given.
    tape: Option<String>,
    #[command(flatten)]
    which: Which,
    #[arg(long, value_enum, default_value_t)]
    output: Format,
}

/// Calls of one tool, or requests of one method.
#[derive(Default)]
struct Calls {
    count: u64,
    errors: u64,
    durations: Vec<Duration>,
    asked: u64,
    answered: u64,
}

/// Counts the calls of a tape, or of all tapes that the options select.
///
/// # Errors
/// Fails if the tape cannot be opened, a tape and a selection are both given, or the index cannot be
/// read.
pub fn run(arguments: &Arguments) -> Result<ExitCode, Failure> {
    let mut calls: BTreeMap<String, Calls> = BTreeMap::new();
    let (mut tapes, mut frames, mut errors, mut size) = (0_u64, 0, 0, 0);
    let mut add = |world: &World, length: u64| {
        tapes += 1;
        frames += world.rows.len() as u64;
        errors += world.rows.iter().filter(|row| row.is_error).count() as u64;
        size += length;
        count(world, &mut calls);
    };
    match &arguments.tape {
        Some(name) => {
            if arguments.which.wanted()? != Wanted::default() {
                return Err(Failure::usage("a tape and filters of the library are both given")
                    .hint("remove the tape or the filters"));
            }
            let tape = opened(name)?;
            add(&tape.world, tape.bytes);
        }
        None => {
            let catalog = super::catalog(false)?;
            let entries = catalog.find(&arguments.which.wanted()?).map_err(Failure::usage)?;
            let bar = Bar::new("counting", entries.iter().map(|entry| entry.bytes).sum());
            let mut done = 0;
            for entry in entries {
                done += entry.bytes;
                bar.at(done);
                // A tape that was deleted meanwhile has nothing to count.
                if let Ok(tape) = crate::tape::open(&entry.path, &mut |_, _| ()) {
                    add(&tape.world, entry.bytes);
                }
            }
            bar.done();
        }
    }
    let mut rows: Vec<(String, Calls)> = calls.into_iter().collect();
    rows.sort_by_key(|(_, calls)| std::cmp::Reverse(calls.count));
    let rows: Vec<_> = rows.into_iter().map(|(title, calls)| row(&title, calls)).collect();
    let total = format!("{tapes} tapes, {frames} frames, {errors} errors, {}", bytes(size));
    if arguments.output == Format::Json {
        let calls: Vec<Value> = rows.into_iter().map(|(_, value)| value).collect();
        let value =
            json!({ "tapes": tapes, "frames": frames, "errors": errors, "bytes": size, "calls": calls });
        output::print(&(output::pretty(&value) + "\n")).map_err(Failure::usage)?;
        return Ok(ExitCode::SUCCESS);
    }
    let header = ["CALL", "COUNT", "ERRORS", "P50", "P95", "P99", "SENT", "RECEIVED"];
    output::list(arguments.output, &header, rows).map_err(Failure::usage)?;
    output::say(&total);
    Ok(ExitCode::SUCCESS)
}

fn count(world: &World, calls: &mut BTreeMap<String, Calls>) {
    let mut rounds: HashMap<Option<OpId>, Duration> = HashMap::new();
    for row in world.rows.iter().filter(|row| row.method.is_some()) {
        let title = || {
            let method = world.text(row.method).unwrap_or_default();
            // Resources are counted together: a row for each URI would be too many.
            let target = world.text(row.target).filter(|_| !method.starts_with("resources/"));
            target.map_or_else(|| method.to_owned(), |target| format!("{method} {target}"))
        };
        match (row.kind, row.role) {
            // A retry is a later round of its call, not another call.
            (FrameKind::Request, Role::Retry) => calls.entry(title()).or_default().asked += row.size,
            (FrameKind::Response, Role::InputRequired) => {
                *rounds.entry(row.op()).or_default() += row.duration().unwrap_or_default();
                calls.entry(title()).or_default().answered += row.size;
            }
            (FrameKind::Request, _) => {
                let calls = calls.entry(title()).or_default();
                calls.count += 1;
                calls.asked += row.size;
            }
            (FrameKind::Response, Role::Response) => {
                let calls = calls.entry(title()).or_default();
                calls.errors += u64::from(row.is_error);
                // Count the time of the server in all rounds, not the time of the user in between.
                let before = rounds.remove(&row.op()).unwrap_or_default();
                calls.durations.extend(row.duration().map(|duration| duration + before));
                calls.answered += row.size;
            }
            _ => {}
        }
    }
}

fn row(title: &str, calls: Calls) -> (Vec<String>, Value) {
    let Calls { count, errors, durations, asked, answered } = calls;
    let quantiles = Quantiles::of(durations);
    let millis = |nanos: u64| format!("{:.1}ms", nanos as f64 / 1e6);
    let cells = vec![
        title.to_owned(),
        count.to_string(),
        errors.to_string(),
        millis(quantiles.p50),
        millis(quantiles.p95),
        millis(quantiles.p99),
        bytes(asked),
        bytes(answered),
    ];
    let value = json!({
        "call": title,
        "count": count,
        "errors": errors,
        "p50_ns": quantiles.p50,
        "p95_ns": quantiles.p95,
        "p99_ns": quantiles.p99,
        "bytes_asked": asked,
        "bytes_answered": answered,
    });
    (cells, value)
}
