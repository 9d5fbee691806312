//! MCP Inspector's export of its protocol history: an array of entries, each with a message and, if
//! it was a request, the answer to it.

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::{ImportError, Imported, is_message, millis};
use crate::mcp::{Direction, Message, layout};
use crate::tape::builder::TapeBuilder;
use crate::tape::times::time;

/// An entry, as far as it is read. Older versions wrote both messages as strings.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Entry<'a> {
    #[serde(default)]
    timestamp: Value,
    #[serde(default)]
    direction: Option<String>,
    #[serde(default)]
    origin: Option<String>,
    #[serde(borrow, alias = "request")]
    message: &'a RawValue,
    #[serde(borrow, default)]
    response: Option<&'a RawValue>,
    #[serde(default)]
    response_timestamp: Value,
    #[serde(default)]
    duration: Option<f64>,
}

/// An export that has the entries in an object.
#[derive(Deserialize)]
struct Document<'a> {
    #[serde(borrow, alias = "history", alias = "messages", alias = "requests", alias = "protocol")]
    entries: Vec<&'a RawValue>,
}

/// Returns `true` if `text` looks like an export of the Inspector.
pub fn is(text: &[u8]) -> bool {
    let begins = text.trim_ascii_start().first();
    let has = |key: &str| memchr::memmem::find(text, key.as_bytes()).is_some();
    let is_entry =
        (has("\"message\"") || has("\"request\"")) && (has("\"direction\"") || has("\"response\""));
    matches!(begins, Some(b'[' | b'{')) && is_entry && !has("\"session_id\"") && !has("\"r\":")
}

/// Reads an export.
///
/// # Errors
/// Returns [`ImportError::Malformed`] if the text is not an export of the Inspector.
pub fn read(text: &[u8], name: &str) -> Result<Imported, ImportError> {
    let malformed =
        |error: serde_json::Error| ImportError::Malformed { form: "inspector", what: error.to_string() };
    let entries: Vec<&RawValue> = match text.trim_ascii_start().first() {
        Some(b'[') => serde_json::from_slice(text).map_err(malformed)?,
        _ => serde_json::from_slice::<Document<'_>>(text).map_err(malformed)?.entries,
    };
    let mut remarks = Vec::new();
    let mut said: Vec<(u64, Direction, String)> = Vec::new();
    let mut last = 0;
    for (number, entry) in (1..).zip(entries) {
        // An entry that cannot be read costs itself only.
        let entry: Entry<'_> = match serde_json::from_str(entry.get()) {
            Ok(entry) => entry,
            Err(error) => {
                remarks.push(format!("entry {number} cannot be read: {error}"));
                continue;
            }
        };
        let wall = time(&entry.timestamp).unwrap_or(last);
        last = wall;
        let message = text_of(entry.message);
        if !is_message(&message) {
            remarks.push(format!("entry {number}: not a message"));
            continue;
        }
        let direction = direction(&entry, &message);
        said.push((wall, direction, message));
        if let Some(answer) = entry.response.map(text_of).filter(|answer| is_message(answer)) {
            let after = entry.duration.and_then(millis).map(|took| wall.saturating_add(took));
            let at = time(&entry.response_timestamp).or(after).unwrap_or(wall);
            said.push((at, direction.reverse(), answer));
        }
    }
    // Entries may be written newest first, and an answer is stored with its request: sort by time.
    said.sort_by_key(|(wall, ..)| *wall);
    let mut builder = TapeBuilder::new(name, Vec::new(), said.first().map_or(0, |(wall, ..)| *wall));
    let messages = said.len();
    for (wall, direction, text) in said {
        builder.message_at(wall, direction, text.into_bytes());
    }
    Ok(Imported { builder, messages, remarks })
}

/// Returns the direction of a message. The Inspector is a client, so a request is its own and a
/// notification that of the server, unless the entry says otherwise.
fn direction(entry: &Entry<'_>, message: &str) -> Direction {
    let parsed = Message::parse(message.to_owned().into());
    let method = parsed.method().unwrap_or_default();
    let asks_client = matches!(method, "elicitation/create" | "sampling/createMessage" | "roots/list");
    match (entry.origin.as_deref(), entry.direction.as_deref()) {
        (Some("server"), _) => Direction::ToClient,
        (Some("client"), _) => Direction::ToServer,
        (_, Some(word)) => match crate::tape::migrate::direction(word) {
            Some(Direction::ToServer) if asks_client => Direction::ToClient,
            Some(direction) => direction,
            None => match method {
                "notifications/initialized" | "notifications/cancelled" => Direction::ToServer,
                method if method.starts_with("notifications/roots/") => Direction::ToServer,
                _ => Direction::ToClient,
            },
        },
        _ if asks_client => Direction::ToClient,
        _ => Direction::ToServer,
    }
}

/// Returns a message that is stored as JSON, or as a string of JSON.
fn text_of(raw: &RawValue) -> String {
    let text: Option<String> = serde_json::from_str(raw.get()).ok();
    layout::one_line(text.as_deref().unwrap_or(raw.get()))
}
