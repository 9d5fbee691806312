//! Excerpt of a recording as a small tape without secrets, to go with a bug report.

use std::collections::BTreeSet;

use super::format::{Header, write_record, write_tagged};
use super::redact::Redactor;
use crate::log::Log;
use crate::log::record::{Seq, SessionId};
use crate::log::world::World;

/// Maximum number of records of a log that is taken as a whole.
const WHOLE: Seq = 300;
/// Number of frames that are taken from the beginning and from the end.
const ENDS: usize = 40;
/// Maximum number of frames of operations that failed.
const TROUBLE: usize = 80;
/// Approximate maximum bytes of the excerpt; a record of more than `LARGEST` bytes is left out.
const MAX_BYTES: usize = 48 << 10;
const LARGEST: usize = 8 << 10;

/// Returns a report in Markdown: `words`, and a tape with the beginning, the errors and the end of
/// one session or of all. Both are without secrets.
pub fn report(words: &str, log: &Log, world: &World, only: Option<SessionId>) -> String {
    let is_of = |session: SessionId| only.is_none_or(|only| only == session);
    let chosen = match world.last <= WHOLE {
        true => (1..=world.last).collect(),
        false => choose(world, &is_of),
    };
    let records: Vec<_> =
        chosen.into_iter().filter_map(|seq| log.get(seq)).filter(|record| is_of(record.session)).collect();
    let redactor = Redactor::default();
    // Secrets are collected first: one that is found late may also occur in earlier records.
    redactor.learn();
    records.iter().for_each(|record| drop(redactor.record(record)));
    redactor.begin();
    let mut text = Vec::new();
    let header = Header { name: "excerpt".to_owned(), ..Header::new(log.clock().anchor()) };
    write_tagged(&mut text, "header", &header);
    let mut left_out = 0;
    for record in records {
        let mut line = Vec::new();
        write_record(&mut line, &redactor.record(&record), log.clock().wall(record.at));
        match line.len() <= LARGEST && text.len() + line.len() <= MAX_BYTES {
            true => text.extend_from_slice(&line),
            false => left_out += 1,
        }
    }
    let tape = String::from_utf8_lossy(&text).into_owned();
    let more = match left_out {
        0 => String::new(),
        count => format!(" {count} larger messages are left out."),
    };
    let report: Vec<String> = words.lines().map(|line| redactor.words(line, "report")).collect();
    let report = report.join("\n");
    format!(
        "{report}\n\n<details><summary>recorded messages</summary>\n\nA tape without secrets: in a file ending \
         in `.tape`, `shadowcat tui FILE` opens it.{more}\n\n``````jsonl\n{tape}``````\n\n</details>\n"
    )
}

fn choose(world: &World, is_of: &impl Fn(SessionId) -> bool) -> BTreeSet<Seq> {
    let rows: Vec<_> = world.rows.iter().filter(|row| is_of(row.session)).collect();
    let mut chosen: BTreeSet<Seq> =
        rows.iter().take(ENDS).chain(rows.iter().rev().take(ENDS)).map(|row| row.seq).collect();
    // The requests of errors are included: an error without its request says little.
    let ops: BTreeSet<_> =
        rows.iter().rev().filter(|row| row.is_error).filter_map(|row| row.op()).take(TROUBLE / 2).collect();
    chosen.extend(
        rows.iter()
            .filter(|row| row.op().is_some_and(|op| ops.contains(&op)))
            .take(TROUBLE)
            .map(|row| row.seq),
    );
    for session in world.sessions.values().filter(|session| is_of(session.id)) {
        chosen.insert(session.seq);
        chosen.extend(session.learnt.iter().map(|(seq, _)| *seq));
        chosen.extend(session.closed_at.map(|(seq, _)| seq));
    }
    chosen
}
