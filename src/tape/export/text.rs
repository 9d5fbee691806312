//! Plain text for people, with one frame per line.

use std::io::{self, Write};

use super::{ExportSource, said};
use crate::mcp::{Direction, layout};

/// Writes a line about the tape and one line per frame.
///
/// # Errors
/// Returns an error if `out` cannot be written.
pub fn write(source: &ExportSource<'_>, out: &mut dyn Write) -> io::Result<()> {
    let header = source.header;
    writeln!(
        out,
        "{} {} {}",
        harmless(&header.name),
        crate::clock::iso(header.anchor),
        harmless(&header.target.join(" "))
    )?;
    for (row, record) in source.each() {
        let Some(frame) = record.frame() else { continue };
        let arrow = match row.direction {
            Direction::ToServer => "->",
            Direction::ToClient => "<-",
        };
        let (said, _) = said(frame);
        let http = frame.http.as_ref().map_or_else(String::new, |http| format!("{} ", http.summary()));
        let op = row.op().map_or_else(String::new, |op| format!("#{}", op.0));
        writeln!(
            out,
            "{:>6} {} s{} {arrow} {:<6} {op:<5} {}{}",
            row.seq,
            &source.iso(row.at)[11..23],
            row.session.0,
            row.kind,
            harmless(&http),
            harmless(&said)
        )?;
    }
    Ok(())
}

/// Replaces characters that could control the terminal.
fn harmless(text: &str) -> String {
    text.chars().map(|c| if layout::is_harmful(c) { char::REPLACEMENT_CHARACTER } else { c }).collect()
}
