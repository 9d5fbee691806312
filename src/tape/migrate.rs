//! Conversion of tapes of older versions to the present one. The original file is never changed.
//!
//! Version 0 is one JSON document per session, as early recorders wrote it:
//! `{"session":…, "frames":[{"timestamp":…,"direction":…,"message":…}…]}`. Some documents have
//! `messages` instead of `frames`; times are ISO 8601 or milliseconds since the Unix epoch.

use std::io::{self, Read};
use std::path::Path;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::builder::TapeBuilder;
use super::files;
use super::source::PartBytes;
use crate::mcp::Direction;

/// Error in the conversion of an older tape.
#[derive(Debug, thiserror::Error)]
pub enum MigrateError {
    /// The document cannot be parsed, or there is no such version.
    #[error("invalid version 0 document: {0}")]
    Malformed(String),
    /// A frame of the document cannot be converted.
    #[error("frame {frame} of its version 0 document {what}")]
    Frame {
        /// Number of the frame, counted from 1.
        frame: usize,
        /// Description of the problem, as the end of a sentence.
        what: String,
    },
    /// The old tape cannot be read, or the new one cannot be written.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// An older version: its number, its detector, and its conversion to the present version.
struct Version {
    number: u32,
    is: fn(&[u8]) -> bool,
    migrate: fn(&[u8], &Path) -> Result<PartBytes, MigrateError>,
}

/// Older versions that can be read.
const VERSIONS: [Version; 1] = [Version { number: 0, is: is_v0, migrate: v0 }];
/// Bytes that are examined to recognize a version.
const GLANCE: u64 = 64 << 10;
/// Maximum bytes of a document, which is read into memory.
const LARGEST: u64 = 1 << 30;

/// Returns the older version of `source`; `None` if it is not of an older version.
///
/// # Errors
/// Returns an error if `source` cannot be read.
pub fn recognise(source: &PartBytes) -> io::Result<Option<u32>> {
    let mut begins = Vec::new();
    source.from(0)?.take(GLANCE).read_to_end(&mut begins)?;
    Ok(VERSIONS.iter().find(|version| (version.is)(&begins)).map(|version| version.number))
}

/// Converts the tape in `source` from `version` to the present version. A session without a name
/// gets that of the file at `path`.
///
/// # Errors
/// Returns an error if the document is broken, there is no such version, or the new tape cannot be
/// written.
pub fn migrate(source: &PartBytes, version: u32, path: &Path) -> Result<PartBytes, MigrateError> {
    let mut text = Vec::new();
    source.from(0)?.take(LARGEST).read_to_end(&mut text)?;
    let known = VERSIONS.iter().find(|known| known.number == version);
    let known = known.ok_or_else(|| MigrateError::Malformed(format!("there is no version {version}")))?;
    (known.migrate)(&text, path)
}

fn is_v0(begins: &[u8]) -> bool {
    let text = begins.trim_ascii_start();
    let has = |key: &str| memchr::memmem::find(text, key.as_bytes()).is_some();
    // Chat transcripts of models contain messages as well, but no directions.
    let is_cut = begins.len() as u64 == GLANCE;
    text.starts_with(b"{")
        && (has("\"frames\"") || has("\"messages\""))
        && (has("\"direction\"") || is_cut)
        && !has("\"r\":")
}

#[derive(Deserialize)]
struct Document<'a> {
    #[serde(borrow, default)]
    session: Option<&'a RawValue>,
    #[serde(borrow, alias = "messages")]
    frames: Vec<FrameLine<'a>>,
}

#[derive(Deserialize)]
struct FrameLine<'a> {
    #[serde(alias = "time", alias = "ts", alias = "at")]
    timestamp: serde_json::Value,
    direction: String,
    #[serde(borrow, alias = "payload", alias = "data")]
    message: &'a RawValue,
}

fn v0(text: &[u8], path: &Path) -> Result<PartBytes, MigrateError> {
    let document: Document<'_> =
        serde_json::from_slice(text).map_err(|error| MigrateError::Malformed(error.to_string()))?;
    let (name, target) = subject(document.session, path);
    let mut frames = Vec::with_capacity(document.frames.len());
    for (at, frame) in document.frames.iter().enumerate() {
        let wrong = |what: String| MigrateError::Frame { frame: at + 1, what };
        let wall = super::times::time(&frame.timestamp)
            .ok_or_else(|| wrong(format!("has an invalid time: {}", frame.timestamp)))?;
        let direction = direction(&frame.direction)
            .ok_or_else(|| wrong(format!("has the unknown direction {:?}", frame.direction)))?;
        let text = crate::mcp::layout::one_line(frame.message.get());
        frames.push((wall, direction, text));
    }
    let mut builder = TapeBuilder::new(&name, target, frames.first().map_or(0, |(wall, ..)| *wall));
    for (wall, direction, text) in frames {
        builder.message_at(wall, direction, text.into_bytes());
    }
    Ok(builder.tape()?)
}

/// Parses a word that recorders use for a direction; returns `None` for an unknown one.
pub fn direction(word: &str) -> Option<Direction> {
    let word = word.to_ascii_lowercase();
    let is = |words: &[&str]| words.contains(&word.as_str());
    const TO_SERVER: [&str; 15] = [
        "c2s",
        "to_server",
        "toserver",
        "client_to_server",
        "client-to-server",
        "clienttoserver",
        "client->server",
        "client",
        "outgoing",
        "out",
        "outbound",
        "request",
        "send",
        "sent",
        "->",
    ];
    const TO_CLIENT: [&str; 16] = [
        "s2c",
        "to_client",
        "toclient",
        "server_to_client",
        "server-to-client",
        "servertoclient",
        "server->client",
        "server",
        "incoming",
        "in",
        "inbound",
        "response",
        "recv",
        "received",
        "receive",
        "<-",
    ];
    match (is(&TO_SERVER), is(&TO_CLIENT)) {
        (true, _) => Some(Direction::ToServer),
        (_, true) => Some(Direction::ToClient),
        _ => None,
    }
}

/// Returns the name and the target of a session of version 0, which is a name or an object that
/// describes it.
fn subject(session: Option<&RawValue>, path: &Path) -> (String, Vec<String>) {
    let value: serde_json::Value =
        session.and_then(|session| serde_json::from_str(session.get()).ok()).unwrap_or_default();
    let text = |key: &str| value.get(key).and_then(serde_json::Value::as_str).map(str::to_owned);
    let name = value.as_str().map(str::to_owned).or_else(|| text("name")).or_else(|| text("id"));
    let target = match value.get("command") {
        Some(serde_json::Value::Array(words)) => {
            words.iter().filter_map(|word| word.as_str().map(str::to_owned)).collect()
        }
        Some(serde_json::Value::String(command)) => vec![command.clone()],
        _ => text("url").into_iter().collect(),
    };
    (name.unwrap_or_else(|| files::stem(path)), target)
}
