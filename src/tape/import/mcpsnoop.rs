//! mcpsnoop's log: one envelope per line, with the message as it was on the wire.

use std::collections::HashMap;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::{ImportError, Imported};
use crate::log::record::SessionId;
use crate::mcp::{Direction, layout};
use crate::tape::builder::TapeBuilder;

/// An envelope, as far as it is read.
#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(default)]
    session_id: String,
    /// Connection, over HTTP: request ids are unique within one.
    #[serde(default)]
    conn_id: Option<serde_json::Value>,
    #[serde(default)]
    redacted: bool,
    #[serde(default)]
    server_label: String,
    ts: String,
    direction: String,
    #[serde(borrow, default)]
    raw: Option<&'a RawValue>,
    #[serde(default)]
    text: Option<String>,
    #[serde(default)]
    truncated: bool,
}

/// Returns `true` if one of the first lines of `text` is an envelope.
pub fn is(text: &[u8]) -> bool {
    // The first line may be cut off, where a log was rotated.
    const LOOKED_AT: usize = 5;
    let lines = text.split(|byte| *byte == b'\n').filter(|line| !line.trim_ascii().is_empty());
    lines.take(LOOKED_AT).any(|line| serde_json::from_slice::<Envelope<'_>>(line).is_ok())
}

/// Reads a log.
///
/// # Errors
/// Returns [`ImportError::Empty`] if no line can be read.
pub fn read(text: &[u8], name: &str) -> Result<Imported, ImportError> {
    let mut builder: Option<TapeBuilder> = None;
    let mut sessions: HashMap<(String, String), SessionId> = HashMap::new();
    let (mut messages, mut remarks) = (0, Vec::new());
    for (number, line) in (1..).zip(text.split(|byte| *byte == b'\n')) {
        if line.trim_ascii().is_empty() {
            continue;
        }
        let envelope: Envelope<'_> = match serde_json::from_slice(line) {
            Ok(envelope) => envelope,
            Err(error) => {
                remarks.push(format!("line {number}: {error}"));
                continue;
            }
        };
        let Some(wall) = crate::clock::parse(&envelope.ts) else {
            remarks.push(format!("line {number}: {:?} is not a time", envelope.ts));
            continue;
        };
        let label = if envelope.server_label.is_empty() { name } else { &envelope.server_label };
        let builder = builder.get_or_insert_with(|| TapeBuilder::new(label, target(&envelope), wall));
        let connection = envelope.conn_id.as_ref().map(ToString::to_string).unwrap_or_default();
        let session = (envelope.session_id.clone(), connection);
        match sessions.get(&session) {
            Some(id) => builder.resume(*id),
            None if sessions.is_empty() => {
                sessions.insert(session, SessionId(1));
            }
            None => {
                builder.at(wall);
                sessions.insert(session, builder.session());
            }
        }
        if envelope.truncated {
            remarks.push(format!("line {number}: truncated by the recorder"));
            continue;
        }
        if envelope.redacted {
            remarks.push(format!("line {number}: redacted by the recorder"));
        }
        let direction = match envelope.direction.as_str() {
            "c2s" => Direction::ToServer,
            "s2c" => Direction::ToClient,
            "stderr" => {
                builder.stderr_at(wall, envelope.text.as_deref().unwrap_or_default());
                continue;
            }
            // The command has been taken as the target of the tape.
            "meta" => continue,
            other => {
                remarks.push(format!("line {number}: {other:?} is not a direction"));
                continue;
            }
        };
        let line = match (envelope.raw, envelope.text) {
            (Some(raw), _) => layout::one_line(raw.get()),
            (None, Some(text)) => text,
            (None, None) => continue,
        };
        builder.message_at(wall, direction, line.into_bytes());
        messages += 1;
    }
    let builder = builder.ok_or(ImportError::Empty("mcpsnoop"))?;
    Ok(Imported { builder, messages, remarks })
}

/// Returns the command that the first envelope of a session names.
fn target(envelope: &Envelope<'_>) -> Vec<String> {
    #[derive(Deserialize)]
    struct Meta {
        command: Vec<String>,
    }
    let meta = envelope.raw.filter(|_| envelope.direction == "meta");
    meta.and_then(|raw| serde_json::from_str::<Meta>(raw.get()).ok())
        .map(|meta| meta.command)
        .unwrap_or_default()
}
