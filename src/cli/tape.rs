//! `shadowcat tape`: looking at recordings.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::failure::Failure;
use super::output::{self, Format};
use crate::clock::{self, Clock};
use crate::log::Log;
use crate::log::Query;
use crate::log::record::{Body, Frame, Gap, Record};
use crate::log::subject::RowSubject;
use crate::log::world::{Row, Way, World};
use crate::mcp::{Kind, Opaque};
use crate::tape::format::{Seal, write_record};
use crate::tape::library::{self, FindError};
use crate::tape::{OpenError, Reader};

/// Arguments of `tape`.
#[derive(Debug, Args)]
pub struct Arguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// List the library, newest first.
    List {
        #[arg(long, value_enum, default_value_t)]
        output: Format,
    },
    /// Show the frames of a tape.
    Show {
        /// A file, or the beginning of a name or id in the library.
        tape: String,
        /// Only frames that this query matches, e.g. 'tool:search status:error'.
        #[arg(long, value_name = "QUERY", default_value = "")]
        filter: String,
        #[arg(long, value_enum, default_value_t)]
        output: Format,
    },
    /// Check that a tape is whole: order, checksums, its end.
    Validate {
        /// A file, or the beginning of a name or id in the library.
        tape: String,
        #[arg(long, value_enum, default_value_t)]
        output: Format,
    },
}

/// Runs a tape command.
pub fn run(arguments: Arguments) -> Result<ExitCode, Failure> {
    match arguments.action {
        Action::List { output } => list(output),
        Action::Show { tape, filter, output } => show(&tape, &filter, output),
        Action::Validate { tape, output } => validate(&tape, output),
    }
}

fn find(name: &str) -> Result<Reader, Failure> {
    let path = library::find(name).map_err(explain)?;
    Reader::open(&path).map_err(|error| explain(error.into()))
}

fn explain(error: FindError) -> Failure {
    let hint = match &error {
        FindError::None(_) => "`shadowcat tape list` shows what there is",
        FindError::Several { .. } => "give more of the name",
        FindError::Open(OpenError::NoHeader { .. }) => "only files that shadowcat recorded can be opened",
        FindError::Open(_) => "check the path and its permissions",
    };
    Failure::usage(error).hint(hint)
}

fn list(format: Format) -> Result<ExitCode, Failure> {
    let row = |item: library::Item| {
        let file = item.path.file_stem().map(|file| file.to_string_lossy().into_owned()).unwrap_or_default();
        let when = clock::format(item.header.anchor, "%Y-%m-%d %H:%M:%S");
        let state = if item.seal.is_some() { "sealed" } else { "open" };
        let count =
            |of: fn(&Seal) -> u64| item.seal.as_ref().map_or_else(String::new, |seal| of(seal).to_string());
        let cells = vec![
            file,
            item.header.name.clone(),
            when,
            count(|seal| seal.frames),
            count(|seal| seal.errors),
            bytes(item.bytes),
            state.to_owned(),
        ];
        let value = json!({
            "path": item.path,
            "id": item.header.tape,
            "name": item.header.name,
            "target": item.header.target,
            "started": item.header.anchor,
            "bytes": item.bytes,
            "sealed": item.seal.is_some(),
            "frames": item.seal.as_ref().map(|seal| seal.frames),
            "errors": item.seal.as_ref().map(|seal| seal.errors),
            "facts": item.seal.as_ref().map(|seal| &seal.facts),
        });
        (cells, value)
    };
    let rows: Vec<_> = library::list().into_iter().map(row).collect();
    if rows.is_empty() && format == Format::Table {
        output::say("no tapes yet; `shadowcat demo` records one, and so does every forwarded session");
    }
    output::list(format, &["TAPE", "SERVER", "STARTED", "FRAMES", "ERRORS", "SIZE", "STATE"], rows)
        .map_err(Failure::usage)?;
    Ok(ExitCode::SUCCESS)
}

fn show(name: &str, filter: &str, format: Format) -> Result<ExitCode, Failure> {
    let query = Query::parse(filter).map_err(|error| {
        let mark = " ".repeat(filter[..error.span.start.min(filter.len())].chars().count());
        Failure::usage(format!("the filter is wrong: {error}\n  {filter}\n  {mark}^")).hint(
            "fields are tool: method: status: kind: dir: dur: size: body: json: and more; see the README",
        )
    })?;
    let mut reader = find(name)?;
    let anchor = reader.header().anchor;
    let mut world = World::default();
    let mut records = Vec::new();
    for record in reader.by_ref() {
        world.apply(&record);
        records.push(record);
    }
    let last = records.last().map_or(0, |record| record.seq);
    let log = Log::finished(Clock::manual(anchor), records.clone());
    let rows: Vec<_> = world
        .rows
        .iter()
        .filter(|row| query.matches(&RowSubject { world: &world, row, log: &log }))
        .filter_map(|row| {
            let at = records.binary_search_by_key(&row.seq, |record| record.seq).ok()?;
            let record = &records[at];
            Some((cells(&world, row, record.frame()?, anchor), value(&world, row, record, anchor)))
        })
        .collect();
    let shown = rows.len();
    let header = [
        "#", "TIME", "SESS", "DIR", "OP", "KIND", "METHOD", "TARGET", "ORIGIN", "STATE", "HELD", "DUR",
        "SIZE", "SUMMARY",
    ];
    output::list(format, &header, rows).map_err(Failure::usage)?;
    let ending = reader.ending();
    if format == Format::Table {
        let total = world.rows.len();
        output::say(&format!("{shown} of {total} frames, {last} records"));
    }
    if ending.seal.is_none() {
        output::say("the tape is not sealed: it is still being recorded, or its recorder was killed");
    }
    if ending.torn > 0 {
        output::say(&format!("its last line is torn: {} bytes of it are not shown", ending.torn));
    }
    for gap in &world.gaps {
        output::say(&format!("records {} to {} were lost before they could be written", gap.first, gap.last));
    }
    for damage in &ending.damage {
        output::say(&format!("{}:{}: {}", damage.path.display(), damage.offset, damage.what));
    }
    Ok(ExitCode::SUCCESS)
}

fn state(world: &World, row: &Row) -> String {
    let mut words = Vec::new();
    if let Way::Ended(outcome) = row.way {
        words.push(outcome.as_str().to_owned());
    }
    world.statuses(row, &mut |word| {
        if !words.iter().any(|known| known == word) {
            words.push(word.to_owned());
        }
    });
    words.join(",")
}

fn cells(world: &World, row: &Row, frame: &Frame, anchor: u64) -> Vec<String> {
    let time = clock::format(anchor.saturating_add(row.at.nanos() / 1000), "%H:%M:%S%.3f");
    let origin = match row.origin.of() {
        Some(of) => format!("{} #{of}", row.origin.as_str()),
        None => row.origin.as_str().to_owned(),
    };
    let millis = |duration: Option<std::time::Duration>| {
        duration.map_or_else(String::new, |duration| format!("{:.1}ms", duration.as_secs_f64() * 1e3))
    };
    vec![
        row.seq.to_string(),
        time,
        row.session.0.to_string(),
        row.direction.as_str().to_owned(),
        row.op.map_or_else(String::new, |op| op.0.to_string()),
        row.kind.to_owned(),
        world.text(row.method).unwrap_or_default().to_owned(),
        world.text(row.target).unwrap_or_default().to_owned(),
        origin,
        state(world, row),
        millis(row.held),
        millis(row.duration),
        bytes(row.size),
        summary(frame),
    ]
}

/// What a frame says, in a few words that are safe to print.
fn summary(frame: &Frame) -> String {
    let text = |bytes: &[u8]| -> String {
        let text = String::from_utf8_lossy(bytes.trim_ascii()).into_owned();
        text.chars().take(60).map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
    };
    match frame.message.kind() {
        Kind::Opaque(Opaque::Text) => text(frame.message.raw()),
        Kind::Opaque(why) => format!("{} ({why})", text(frame.message.raw())),
        Kind::Failure { .. } => frame.message.outcome(&["message"]).map(text).unwrap_or_default(),
        Kind::Batch(messages) => format!("{} messages", messages.len()),
        _ => String::new(),
    }
}

fn value(world: &World, row: &Row, record: &Record, anchor: u64) -> Value {
    // The tape's own line is the one description of a frame that programs need to know.
    let mut line = Vec::new();
    write_record(&mut line, record, anchor.saturating_add(row.at.nanos() / 1000));
    let mut value: Value = serde_json::from_slice(&line).unwrap_or_default();
    if let Value::Object(members) = &mut value {
        members.insert("method".into(), world.text(row.method).into());
        members.insert("target".into(), world.text(row.target).into());
        members
            .insert("state".into(), state(world, row).split(',').filter(|word| !word.is_empty()).collect());
        members.insert("size".into(), row.size.into());
        members.insert("duration_ns".into(), row.duration.map(|d| d.as_nanos() as u64).into());
        members.insert("held_ns".into(), row.held.map(|held| held.as_nanos() as u64).into());
    }
    value
}

fn validate(name: &str, format: Format) -> Result<ExitCode, Failure> {
    let mut reader = find(name)?;
    let mut records = 0_u64;
    let mut frames = 0_u64;
    let mut gaps = Vec::new();
    for record in reader.by_ref() {
        records += 1;
        frames += u64::from(record.frame().is_some());
        if let Body::Gap(gap) = &record.body {
            gaps.push(*gap);
        }
    }
    let lost = Gap::total(gaps);
    let ending = reader.ending();
    let mut problems: Vec<String> = ending
        .damage
        .iter()
        .map(|damage| format!("{}:{}: {}", damage.path.display(), damage.offset, damage.what))
        .collect();
    if ending.torn > 0 {
        problems.push(format!("torn: the last line is not whole ({} bytes of it are there)", ending.torn));
    }
    if ending.seal.is_none() {
        problems.push("not sealed: still being recorded, or its recorder was killed".to_owned());
    }
    let whole = problems.is_empty();
    let value = json!({
        "tape": reader.header().tape,
        "records": records,
        "frames": frames,
        "lost": lost,
        "sealed": ending.seal.is_some(),
        "problems": problems,
    });
    match format {
        Format::Json => output::print(&(output::pretty(&value) + "\n")),
        Format::Yaml => output::list(format, &[], vec![(Vec::new(), value)]),
        Format::Table => {
            let mut text = format!("{records} records, {frames} frames, {lost} lost\n");
            text.extend(problems.iter().map(|problem| format!("{problem}\n")));
            text.push_str(if whole { "whole\n" } else { "" });
            output::print(&text)
        }
    }
    .map_err(Failure::usage)?;
    Ok(if whole { ExitCode::SUCCESS } else { ExitCode::from(super::failure::Kind::Check as u8) })
}

/// A count of bytes for people.
pub fn bytes(count: u64) -> String {
    match count {
        0..1_000 => format!("{count} B"),
        1_000..1_000_000 => format!("{:.1} kB", count as f64 / 1e3),
        1_000_000..1_000_000_000 => format!("{:.1} MB", count as f64 / 1e6),
        _ => format!("{:.1} GB", count as f64 / 1e9),
    }
}
