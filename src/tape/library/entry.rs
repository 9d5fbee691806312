//! The entries of the index: read from a tape, written to and read from SQLite.

use std::path::{Path, PathBuf};

use rusqlite::{Connection, Row, params};

use super::item;
use crate::log::record::{Exit, FrameKind};
use crate::mcp::Direction;
use crate::tape::{OpenedTape, files, notes};

/// A tape, as it is listed in the index.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ListedTape {
    /// Path of the first part.
    pub path: PathBuf,
    /// Id of the tape, the same in all its parts.
    pub id: String,
    /// Name that a person gave it, or else the one that it was recorded under.
    pub name: String,
    /// Command line or URL that was recorded.
    pub target: Vec<String>,
    /// Transport of the target: `http` or `stdio`.
    pub transport: String,
    /// Protocol era of the latest session in which it is known.
    pub era: Option<String>,
    /// Name that the server reported in the latest session.
    pub server: Option<String>,
    /// Name that the client reported in the latest session.
    pub client: Option<String>,
    /// Start of the recording, in microseconds since the Unix epoch.
    pub started: u64,
    /// Microseconds from the first frame to the last.
    pub duration: u64,
    /// Bytes of all its parts, as stored.
    pub bytes: u64,
    /// Number of frames.
    pub frames: u64,
    /// Number of frames that report an error.
    pub errors: u64,
    /// Description of how the server failed; `None` unless it ended by itself and with an error.
    pub failure: Option<String>,
    /// `true` if the recording was ended cleanly.
    pub sealed: bool,
    /// Time of the last write, in microseconds since the Unix epoch.
    pub modified: u64,
    /// Tags, in the order in which they were added.
    pub tags: Vec<String>,
    /// `true` if somebody named, tagged or noted it: such a tape is kept when others are deleted.
    pub is_kept: bool,
}

impl ListedTape {
    /// Reads the entry of a tape; returns `None` for later parts and files that are not tapes.
    pub(super) fn of(path: &Path) -> Option<Self> {
        let known = item(path)?;
        let tape = crate::tape::open(path, &mut |_, _| ()).ok()?;
        let world = &tape.world;
        let fact = |side: Direction| {
            let sessions = world.sessions.values().rev();
            let facts = sessions.filter_map(|session| match side {
                Direction::ToServer => session.client.as_ref(),
                Direction::ToClient => session.server.as_ref(),
            });
            facts.filter_map(|facts| facts.name.clone()).next()
        };
        let labels = notes::labels(path);
        let is_url = known.header.target.first().is_some_and(|target| target.contains("://"));
        let first = world.rows.first().map_or(0, |row| row.at.nanos());
        let last = world.rows.last().map_or(0, |row| row.at.nanos());
        Some(Self {
            path: path.to_owned(),
            id: known.header.tape.clone(),
            is_kept: labels.is_kept(),
            name: labels.name.unwrap_or(known.header.name),
            target: known.header.target,
            transport: if is_url { "http" } else { "stdio" }.to_owned(),
            era: world
                .sessions
                .values()
                .rev()
                .find_map(|session| session.era())
                .map(|era| era.as_str().to_owned()),
            server: fact(Direction::ToClient),
            client: fact(Direction::ToServer),
            started: known.header.anchor,
            duration: last.saturating_sub(first) / 1000,
            bytes: known.bytes,
            frames: world.rows.len() as u64,
            errors: world.rows.iter().filter(|row| row.is_error).count() as u64,
            failure: failure(&tape),
            sealed: tape.seal.is_some(),
            modified: known.modified,
            tags: labels.tags,
        })
    }

    /// Writes the entry under `path`, with the stamp of the tape as it was read.
    pub(super) fn insert(&self, connection: &Connection, path: &str, stamp: &str) -> rusqlite::Result<()> {
        let number = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
        connection.execute(
            "INSERT OR REPLACE INTO tapes VALUES (?1,?2,?3,?4,?5,?6,?7,?8,?9,?10,?11,?12,?13,?14,?15,?16,?17,?18,?19,?20)",
            params![
                path,
                self.id,
                self.name,
                serde_json::to_string(&self.target).unwrap_or_default(),
                self.transport,
                self.era,
                self.server,
                self.client,
                number(self.started),
                number(self.duration),
                number(self.bytes),
                number(self.frames),
                number(self.errors),
                self.sealed,
                number(self.modified),
                self.tags.join(" "),
                self.is_kept,
                stamp,
                files::stem(&self.path),
                self.failure,
            ],
        )?;
        Ok(())
    }

    /// Reads an entry from a row of the index.
    pub(super) fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        let number = |column: &str| -> rusqlite::Result<u64> {
            Ok(u64::try_from(row.get::<_, i64>(column)?).unwrap_or(0))
        };
        let words = |text: String| text.split_whitespace().map(str::to_owned).collect();
        Ok(Self {
            path: PathBuf::from(row.get::<_, String>("path")?),
            id: row.get("id")?,
            name: row.get("name")?,
            target: serde_json::from_str(&row.get::<_, String>("target")?).unwrap_or_default(),
            transport: row.get("transport")?,
            era: row.get("era")?,
            server: row.get("server")?,
            client: row.get("client")?,
            started: number("started")?,
            duration: number("duration")?,
            bytes: number("bytes")?,
            frames: number("frames")?,
            errors: number("errors")?,
            failure: row.get("failure")?,
            sealed: row.get("sealed")?,
            modified: number("modified")?,
            tags: words(row.get("tags")?),
            is_kept: row.get("kept")?,
        })
    }
}

/// Describes how the server of the last session failed. A server that was terminated by one of the
/// signals in `TOLD` has not failed.
fn failure(tape: &OpenedTape) -> Option<String> {
    const TOLD: [i32; 4] = [1, 2, 9, 15];
    const MAX_CHARS: usize = 200;
    let world = &tape.world;
    let session = world.sessions.values().next_back()?;
    let exit = session.closed.as_ref()?.exit?;
    match exit {
        Exit::Code(0) => return None,
        Exit::Code(code) if TOLD.iter().any(|signal| code == 128 + signal) => return None,
        Exit::Signal(signal) if TOLD.contains(&signal) => return None,
        Exit::Code(_) | Exit::Signal(_) => {}
    }
    let lasted = session.closed_at?.1.since(session.since);
    let words = world
        .rows
        .iter()
        .rev()
        .find(|row| row.session == session.id && row.kind == FrameKind::Stderr && row.size > 1);
    let words = words.and_then(|row| tape.log.get(row.seq)).and_then(|record| {
        let raw = record.frame()?.message.raw().clone();
        Some(String::from_utf8_lossy(raw.trim_ascii()).chars().take(MAX_CHARS).collect::<String>())
    });
    let words = words.map_or_else(String::new, |words| format!("; stderr: {words}"));
    let lasted = match lasted.as_secs() {
        0 => format!("{} ms", lasted.as_millis()),
        _ => format!("{:.1} s", lasted.as_secs_f64()),
    };
    Some(format!("{exit} after {lasted}{words}"))
}
