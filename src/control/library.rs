//! Recordings of the library, in the form that peers and agents receive.

use super::api::{FrameFacts, TapeFacts};
use super::reading::Reading;
use crate::clock;
use crate::tape::library::{Catalog, ListedTape, Wanted, find};
use crate::tape::{files, open};

/// Lists up to `limit` recordings, newest first; with `text`, only those that contain it in a name,
/// a target or a tag.
///
/// # Errors
/// If the index of the library cannot be read; the error is the reason, as a sentence.
pub fn tapes(text: Option<String>, limit: usize) -> Result<Vec<TapeFacts>, String> {
    let catalog = Catalog::open(&mut |_, _| ()).map_err(|error| error.to_string())?;
    let wanted = Wanted { text, ..Wanted::default() };
    let found = catalog.find(&wanted).map_err(|error| error.to_string())?;
    Ok(found.into_iter().take(limit).map(TapeFacts::from).collect())
}

/// Returns the newest frames of the recording `tape` that match the query `filter`, in order of
/// time.
///
/// # Errors
/// If no recording or several recordings fit `tape`, if the file cannot be read, or if `filter` is
/// not a query; the error is the reason, as a sentence.
pub fn frames(tape: &str, filter: &str, limit: Option<usize>) -> Result<Vec<FrameFacts>, String> {
    let path = find(tape).map_err(|error| error.to_string())?;
    let opened = open(&path, &mut |_, _| ()).map_err(|error| error.to_string())?;
    let reading = Reading::of(&opened.log, opened.world);
    reading.frames(filter, (None, None), limit, true).map_err(|failure| failure.message)
}

impl From<ListedTape> for TapeFacts {
    fn from(entry: ListedTape) -> Self {
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
