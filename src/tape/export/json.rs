//! JSON, as one document or as JSON Lines.

use std::io::{self, Write};

use serde_json::json;

use super::ExportSource;

/// Writes one document with the tape, its sessions and its frames.
///
/// # Errors
/// Returns an error if `out` cannot be written.
pub fn document(source: &ExportSource<'_>, out: &mut dyn Write) -> io::Result<()> {
    let sessions = source.world.sessions.values().map(|session| {
        json!({
            "session": session.id.0,
            "name": session.opened.name,
            "target": session.opened.target,
            "era": session.era().map(|era| era.as_str()),
            "frames": session.frames,
            "errors": session.errors,
        })
    });
    let head = json!({
        "format": "shadowcat-export",
        "version": 1,
        "by": source.header.by,
        "tape": source.header.tape,
        "name": source.header.name,
        "target": source.header.target,
        "started": crate::clock::iso(source.header.anchor),
        "sessions": sessions.collect::<Vec<_>>(),
    });
    // Frames are written one by one: a long tape must not be in memory as a whole.
    let head = format!("{head:#}");
    out.write_all(head.trim_end_matches(['}', '\n']).as_bytes())?;
    out.write_all(b",\n  \"frames\": [")?;
    let mut first = true;
    for (row, record) in source.each() {
        let Some(frame) = record.frame() else { continue };
        out.write_all(if first { b"\n    " } else { b",\n    " })?;
        first = false;
        write!(out, "{}", source.object(row, frame))?;
    }
    out.write_all(b"\n  ]\n}\n")
}

/// Writes one line per frame.
///
/// # Errors
/// Returns an error if `out` cannot be written.
pub fn lines(source: &ExportSource<'_>, out: &mut dyn Write) -> io::Result<()> {
    for (row, record) in source.each() {
        if let Some(frame) = record.frame() {
            writeln!(out, "{}", source.object(row, frame))?;
        }
    }
    Ok(())
}
