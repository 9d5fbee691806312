//! Tapes of older versions, written again in the present one. The original is never touched.
//!
//! Version 0 is one JSON document a session, as early recorders wrote it:
//! `{"session":…, "frames":[{"timestamp":…,"direction":…,"message":…}…]}`, with `messages` for
//! `frames` in some, and times in ISO 8601 or in milliseconds since the Unix epoch.

use std::io::{self, Read};
use std::path::Path;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::builder::TapeBuilder;
use super::files;
use super::source::Source;
use crate::mcp::Direction;

/// What an older tape is found not to be.
#[derive(Debug, thiserror::Error)]
pub enum MigrateError {
    #[error("its version 0 document is broken: {0}")]
    Malformed(String),
    #[error("frame {frame} of its version 0 document {what}")]
    Frame { frame: usize, what: String },
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// A version that can be read, how it is told, and how it becomes the next.
struct Version {
    number: u32,
    is: fn(&[u8]) -> bool,
    migrate: fn(&[u8], &Path) -> Result<Source, MigrateError>,
}

/// Every older version.
const VERSIONS: [Version; 1] = [Version { number: 0, is: is_v0, migrate: v0 }];
/// How much is looked at to tell a version.
const GLANCE: u64 = 64 << 10;
/// The largest document that is read into memory.
const LARGEST: u64 = 1 << 30;

/// The older version that `source` is of, if it is of one.
///
/// # Errors
/// When it cannot be read.
pub fn recognise(source: &Source) -> io::Result<Option<u32>> {
    let mut begins = Vec::new();
    source.from(0)?.take(GLANCE).read_to_end(&mut begins)?;
    Ok(VERSIONS.iter().find(|version| (version.is)(&begins)).map(|version| version.number))
}

/// The tape in `source`, written by `version`, in the present version; `path` names it.
///
/// # Errors
/// When it is broken.
pub fn migrate(source: &Source, version: u32, path: &Path) -> Result<Source, MigrateError> {
    let mut text = Vec::new();
    source.from(0)?.take(LARGEST).read_to_end(&mut text)?;
    let known = VERSIONS.iter().find(|known| known.number == version);
    let known = known.ok_or_else(|| MigrateError::Malformed(format!("there is no version {version}")))?;
    (known.migrate)(&text, path)
}

fn is_v0(begins: &[u8]) -> bool {
    let text = begins.trim_ascii_start();
    let has = |key: &str| memchr::memmem::find(text, key.as_bytes()).is_some();
    // Conversations with models have messages as well, but no directions.
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

fn v0(text: &[u8], path: &Path) -> Result<Source, MigrateError> {
    let document: Document<'_> =
        serde_json::from_slice(text).map_err(|error| MigrateError::Malformed(error.to_string()))?;
    let (name, target) = subject(document.session, path);
    let mut frames = Vec::with_capacity(document.frames.len());
    for (at, frame) in document.frames.iter().enumerate() {
        let wrong = |what: String| MigrateError::Frame { frame: at + 1, what };
        let wall = super::times::time(&frame.timestamp)
            .ok_or_else(|| wrong(format!("has no time that can be read: {}", frame.timestamp)))?;
        let direction = direction(&frame.direction)
            .ok_or_else(|| wrong(format!("has the direction {:?}, which says nothing", frame.direction)))?;
        let text = crate::mcp::layout::one_line(frame.message.get());
        frames.push((wall, direction, text));
    }
    let mut builder = TapeBuilder::new(&name, target, frames.first().map_or(0, |(wall, ..)| *wall));
    for (wall, direction, text) in frames {
        builder.message_at(wall, direction, text.into_bytes());
    }
    Ok(builder.tape()?)
}

/// What a direction is called by those who record.
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

/// What a session of version 0 was of: it may be named, or described by an object.
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
