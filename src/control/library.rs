//! Recordings of the library, as peers and agents are told of them.

use super::api::{FrameFacts, TapeFacts};
use super::reading::Reading;
use crate::clock;
use crate::tape::library::{Catalog, Entry, Wanted, find};
use crate::tape::{files, open};

/// Recordings, the newest first.
///
/// # Errors
/// Why they cannot be read.
pub fn tapes(text: Option<String>, limit: usize) -> Result<Vec<TapeFacts>, String> {
    let catalog = Catalog::open(&mut |_, _| ()).map_err(|error| error.to_string())?;
    let wanted = Wanted { text, ..Wanted::default() };
    let found = catalog.find(&wanted).map_err(|error| error.to_string())?;
    Ok(found.into_iter().take(limit).map(TapeFacts::from).collect())
}

/// The newest frames of a recording that a query matches.
///
/// # Errors
/// Why it cannot be read.
pub fn frames(tape: &str, filter: &str, limit: Option<usize>) -> Result<Vec<FrameFacts>, String> {
    let path = find(tape).map_err(|error| error.to_string())?;
    let opened = open(&path, &mut |_, _| ()).map_err(|error| error.to_string())?;
    let reading = Reading::of(&opened.log, opened.world);
    reading.frames(filter, (None, None), limit, true).map_err(|failure| failure.message)
}

impl From<Entry> for TapeFacts {
    fn from(entry: Entry) -> Self {
        Self {
            tape: files::stem(&entry.path),
            name: entry.name,
            started: clock::iso(entry.started),
            server: entry.server,
            client: entry.client,
            era: entry.era,
            transport: entry.transport,
            frames: entry.frames,
            errors: entry.errors,
            bytes: entry.bytes,
            tags: entry.tags,
        }
    }
}
