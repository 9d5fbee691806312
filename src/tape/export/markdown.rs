//! A report for an issue tracker: sessions, operations with their states, and all frames in full.

use std::io::{self, Write};

use super::{ExportSource, said};
use crate::log::world::State;
use crate::mcp::{Direction, layout};

/// Writes the report.
///
/// # Errors
/// Returns an error if `out` cannot be written.
pub fn write(source: &ExportSource<'_>, out: &mut dyn Write) -> io::Result<()> {
    let (header, world) = (source.header, source.world);
    let errors = source.each().filter(|(row, _)| row.is_error).count();
    writeln!(out, "# {}\n", escaped(&header.name))?;
    writeln!(out, "- server: {}", code(&header.target.join(" ")))?;
    writeln!(out, "- recorded: {} by {}", crate::clock::iso(header.anchor), escaped(&header.by))?;
    writeln!(out, "- frames: {}, errors: {errors}", source.frames.len())?;
    for session in world.sessions.values() {
        let of = |facts: &Option<crate::log::record::Facts>| {
            facts.as_ref().map_or_else(String::new, |facts| {
                let part = |text: &Option<String>| text.clone().unwrap_or_default();
                escaped(&format!("{} {} {}", part(&facts.name), part(&facts.release), part(&facts.version)))
            })
        };
        writeln!(
            out,
            "- session {}: client {}, server {}",
            session.id.0,
            of(&session.client),
            of(&session.server)
        )?;
        if let Some(closed) = &session.closed {
            let how = closed.exit.map_or_else(String::new, |exit| format!(" ({exit})"));
            writeln!(out, "- session {} ended: {}{how}", session.id.0, escaped(&closed.reason))?;
        }
    }
    writeln!(out, "\n## Operations\n\n| # | time | what | state | took |\n|---|---|---|---|---|")?;
    for (row, _) in source.each() {
        let Some(operation) = row.op().and_then(|op| world.operation(op)) else { continue };
        if world.first(operation).is_none_or(|first| first.seq != row.seq) {
            continue;
        }
        let state = match operation.state {
            State::Pending => "pending",
            State::InputRequired => "waits for input",
            State::Ok => "ok",
            State::Error => "**error**",
            State::Cancelled => "cancelled",
            State::Lost => "**lost**",
        };
        let took = operation.ended().map(|end| end.since(operation.started));
        let took = took.map_or_else(String::new, |took| format!("{:.1} ms", took.as_secs_f64() * 1e3));
        let arrow = if row.direction == Direction::ToServer { "" } else { "server asks: " };
        let what = [world.text(row.method), world.text(row.target)].into_iter().flatten().collect::<Vec<_>>();
        writeln!(
            out,
            "| {} | {} | {arrow}{} | {state} | {took} |",
            row.seq,
            &source.iso(row.at)[11..23],
            escaped(&what.join(" "))
        )?;
    }
    writeln!(out, "\n## Frames")?;
    for (row, record) in source.each() {
        let Some(frame) = record.frame() else { continue };
        let arrow = if row.direction == Direction::ToServer { "→ server" } else { "← client" };
        let sign = if row.is_error { " ✖" } else { "" };
        let what = [world.text(row.method), world.text(row.target)].into_iter().flatten().collect::<Vec<_>>();
        writeln!(
            out,
            "\n<details><summary>#{} {arrow} {} {}{sign}</summary>\n",
            row.seq,
            row.kind,
            html(&what.join(" "))
        )?;
        let (language, text) = match said(frame) {
            (text, false) => ("text", text),
            (text, true) => ("json", layout::pretty(&text)),
        };
        // The fence must be longer than any run of backticks in the text.
        let longest = text.split(|c| c != '`').map(str::len).max().unwrap_or(0);
        let fence = "`".repeat(longest.max(2) + 1);
        writeln!(out, "{fence}{language}\n{text}\n{fence}\n\n</details>")?;
    }
    Ok(())
}

fn html(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// Escapes text so that it is one line without markup.
fn escaped(text: &str) -> String {
    let mut out = String::new();
    for c in text.trim().chars() {
        match c {
            c if c.is_control() => out.push(' '),
            '\\' | '`' | '*' | '_' | '[' | ']' | '<' | '>' | '|' | '#' => {
                out.push('\\');
                out.push(c);
            }
            c => out.push(c),
        }
    }
    out
}

fn code(text: &str) -> String {
    let text: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    // The delimiter must be longer than any run of backticks in the text (CommonMark 6.1).
    let longest = text.split(|c| c != '`').map(str::len).max().unwrap_or(0);
    match longest {
        0 => format!("`{text}`"),
        longest => {
            let fence = "`".repeat(longest + 1);
            format!("{fence} {text} {fence}")
        }
    }
}
