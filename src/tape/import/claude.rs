//! Claude Desktop's log of a server: log lines that contain the messages, and between them what the
//! server wrote to stderr.
//!
//! `2025-06-03T20:54:12.993Z [name] [info] Message from client: {…}`; some versions add `{
//! metadata: … }` behind a message.

use std::sync::LazyLock;

use regex::Regex;

use super::{ImportError, Imported, is_message};
use crate::log::record::Level;
use crate::mcp::{Direction, json};
use crate::tape::builder::TapeBuilder;

static LINE: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(r"^(\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}[.\d]*Z) \[([^\]]*)\] \[(\w+)\] ?(.*)$").ok()
});

/// Mark that the application puts in the place of omitted text.
static CUT: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new(r"\[\d+ chars truncated\]").ok());

/// Bytes that are examined to recognize the format.
const GLANCE: usize = 64 << 10;

/// Returns `true` if a line of the log is found at the beginning of `text`.
pub fn is(text: &[u8]) -> bool {
    let glance = String::from_utf8_lossy(&text[..text.len().min(GLANCE)]);
    let Some(line) = LINE.as_ref() else { return false };
    glance.lines().take(200).any(|text| line.is_match(text))
}

/// Reads a log.
///
/// # Errors
/// Returns an error if the text contains no line of a log.
pub fn read(text: &[u8], name: &str) -> Result<Imported, ImportError> {
    let text = String::from_utf8_lossy(text);
    let malformed = |what: &str| ImportError::Malformed { form: "claude", what: what.to_owned() };
    let pattern = LINE.as_ref().ok_or_else(|| malformed("its lines cannot be told apart"))?;
    let mut builder: Option<TapeBuilder> = None;
    let (mut wall, mut messages, mut remarks) = (0, 0, Vec::new());
    for (number, line) in (1..).zip(text.lines()) {
        let Some(found) = pattern.captures(line) else {
            // Lines in between are what the server wrote to stderr.
            if let Some(builder) = builder.as_mut().filter(|_| !line.trim().is_empty()) {
                builder.stderr_at(wall, line);
            }
            continue;
        };
        wall = crate::clock::parse(&found[1]).unwrap_or(wall);
        let server = if found[2].is_empty() { name } else { &found[2] };
        let begun = builder.is_some();
        let builder = builder.get_or_insert_with(|| TapeBuilder::new(server, Vec::new(), wall));
        let said = &found[4];
        let (direction, rest) = match said.split_once("Message from ") {
            Some(("", rest)) if rest.starts_with("client: ") => {
                (Direction::ToServer, &rest["client: ".len()..])
            }
            Some(("", rest)) if rest.starts_with("server: ") => {
                (Direction::ToClient, &rest["server: ".len()..])
            }
            _ => {
                if begun && said.starts_with("Initializing server") {
                    builder.at(wall);
                    builder.session();
                }
                let level = match &found[3] {
                    "error" => Some(Level::Error),
                    "warn" | "warning" => Some(Level::Warning),
                    _ => None,
                };
                if let Some(level) = level {
                    builder.note_at(wall, level, "claude-desktop", said);
                }
                continue;
            }
        };
        // The client may have added metadata behind the message.
        let end = json::prefix(rest.as_bytes()).unwrap_or(rest.len());
        let message = &rest[..end];
        if CUT.as_ref().is_some_and(|cut| cut.is_match(message)) {
            // The text was cut inside of a string, so the message still parses.
            remarks.push(format!("line {number}: only a part of its message was recorded"));
        } else if is_message(message) {
            builder.message_at(wall, direction, message.as_bytes().to_vec());
            messages += 1;
        } else {
            remarks.push(format!("line {number}: incomplete message"));
        }
    }
    let builder = builder.ok_or(ImportError::Empty("claude"))?;
    Ok(Imported { builder, messages, remarks })
}
