//! `tape show`: the frames of a tape, in a table or for programs.

use std::process::ExitCode;

use super::{Unjudged, opened, query};
use crate::cli::failure::Failure;
use crate::cli::output::{self, Format, JsonText};
use crate::cli::values::bytes;
use crate::clock;
use crate::log::record::{Frame, Record};
use crate::log::subject::{Prefilter, RowSubject};
use crate::log::world::{FrameState, Row, World};
use crate::mcp::{Kind, Opaque};
use crate::tape::OpenedTape;
use crate::tape::format::write_record;

/// Prints the frames of a tape that match `filter`, and what is missing from the tape.
///
/// # Errors
/// Fails if the filter is invalid, or the tape cannot be opened.
pub fn show(name: &str, filter: &str, format: Format) -> Result<ExitCode, Failure> {
    let query = query(filter)?;
    let OpenedTape { header, world, log, seal, torn, last, .. } = opened(name)?;
    let anchor = header.anchor;
    let prefilter = Prefilter::new(&query, &log, 1, last);
    let mut unjudged = Unjudged::default();
    let rows: Vec<_> = world
        .rows
        .iter()
        .filter(|row| {
            let subject = RowSubject { prefilter: Some(&prefilter), ..RowSubject::new(&world, row, &log) };
            unjudged.matches(&query, &subject)
        })
        .filter_map(|row| {
            let record = log.get(row.seq)?;
            Some((cells(&world, row, record.frame()?, anchor), value(&world, row, &record, anchor)))
        })
        .collect();
    let shown = rows.len();
    let header = [
        "#", "TIME", "SESS", "DIR", "OP", "KIND", "METHOD", "TARGET", "ORIGIN", "STATE", "HELD", "DUR",
        "SIZE", "SUMMARY",
    ];
    output::list(format, &header, rows).map_err(Failure::usage)?;
    unjudged.say();
    if format == Format::Table {
        let total = world.rows.len();
        output::say(&format!("{shown} of {total} frames, {last} records"));
    }
    if seal.is_none() {
        output::say("the tape is not sealed: it is still being recorded, or its recorder was killed");
    }
    if torn > 0 {
        output::say(&format!("the last line is truncated: {torn} bytes are ignored"));
    }
    for gap in &world.gaps {
        output::say(&format!("records {} to {} were lost before they could be written", gap.first, gap.last));
    }
    Ok(ExitCode::SUCCESS)
}

fn state(world: &World, row: &Row) -> String {
    let mut words = Vec::new();
    if let FrameState::Ended(outcome) = row.state {
        words.push(outcome.as_str().to_owned());
    }
    world.statuses(row, &mut |word| {
        if !words.iter().any(|known| known == word) {
            words.push(word.to_owned());
        }
    });
    words.join(",")
}

/// Returns the table cells of a frame. `anchor` is the wall time of the tape's record time zero, in
/// microseconds since the Unix epoch.
pub fn cells(world: &World, row: &Row, frame: &Frame, anchor: u64) -> Vec<String> {
    let time = clock::format(anchor.saturating_add(row.at.nanos() / 1000), "%H:%M:%S%.3f");
    let origin = match row.origin().of() {
        Some(of) => format!("{} #{of}", row.origin().as_str()),
        None => row.origin().as_str().to_owned(),
    };
    let millis = |duration: Option<std::time::Duration>| {
        duration.map_or_else(String::new, |duration| format!("{:.1}ms", duration.as_secs_f64() * 1e3))
    };
    vec![
        row.seq.to_string(),
        time,
        row.session.0.to_string(),
        row.direction.as_str().to_owned(),
        row.op().map_or_else(String::new, |op| op.0.to_string()),
        row.kind.to_string(),
        world.text(row.method).unwrap_or_default().to_owned(),
        world.text(row.target).unwrap_or_default().to_owned(),
        origin,
        state(world, row),
        millis(world.handling(row.seq).held),
        millis(row.duration()),
        bytes(row.size),
        summary(frame),
    ]
}

/// Summarizes a frame in a few words that are safe to print.
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

/// Returns a frame as JSON: its line of the tape with members that the tape leaves to the reader.
/// `anchor` is the wall time of the tape's record time zero, in microseconds since the Unix epoch.
pub fn value(world: &World, row: &Row, record: &Record, anchor: u64) -> JsonText {
    // Programs need only one description of a frame: the line of the tape, as it is spelled.
    let mut line = Vec::new();
    write_record(&mut line, record, anchor.saturating_add(row.at.nanos() / 1000));
    let state = state(world, row);
    let words: Vec<&str> = state.split(',').filter(|word| !word.is_empty()).collect();
    let more = serde_json::json!({
        "method": world.text(row.method),
        "target": world.text(row.target),
        "state": words,
        "size": row.size,
        "duration_ns": row.duration().map(|d| d.as_nanos() as u64),
        "held_ns": world.handling(row.seq).held.map(|held| held.as_nanos() as u64),
    });
    let line = String::from_utf8_lossy(&line);
    let members = line.trim_end().strip_suffix('}').unwrap_or_default();
    JsonText::of(format!("{members},{}", &more.to_string()[1..]))
}
