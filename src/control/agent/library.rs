//! Recordings, as an agent sees them.

use serde_json::{Value, json};

use crate::clock;
use crate::control::api::FrameFacts;
use crate::control::reading::Reading;
use crate::tape::library::{Catalog, Wanted, find};
use crate::tape::{files, open};

/// Recordings of the library, the newest first.
///
/// # Errors
/// Why it cannot be read.
pub fn tapes(text: Option<String>, limit: usize) -> Result<Vec<Value>, String> {
    let catalog = Catalog::open(&mut |_, _| ()).map_err(|error| error.to_string())?;
    let wanted = Wanted { text, ..Wanted::default() };
    let found = catalog.find(&wanted).map_err(|error| error.to_string())?;
    let tape = |entry: &crate::tape::library::Entry| {
        json!({
            "tape": files::stem(&entry.path),
            "name": entry.name,
            "started": clock::iso(entry.started),
            "server": entry.server,
            "client": entry.client,
            "era": entry.era,
            "transport": entry.transport,
            "frames": entry.frames,
            "errors": entry.errors,
            "bytes": entry.bytes,
            "tags": entry.tags,
        })
    };
    Ok(found.iter().take(limit).map(tape).collect())
}

/// The newest frames of a recording that a query matches.
///
/// # Errors
/// Why it cannot be read.
pub fn frames(tape: &str, filter: &str, limit: usize) -> Result<Vec<FrameFacts>, String> {
    let path = find(tape).map_err(|error| error.to_string())?;
    let opened = open(&path, &mut |_, _| ()).map_err(|error| error.to_string())?;
    let reading = Reading::of(&opened.log, opened.world);
    reading.frames(filter, (None, None), Some(limit), true).map_err(|failure| failure.message)
}
