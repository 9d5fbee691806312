//! Claude Desktop's log of a server: lines of its own with the messages in them, and between them
//! what the server wrote to stderr.
//!
//! `2025-06-03T20:54:12.993Z [name] [info] Message from client: {…}`; some versions add
//! `{ metadata: … }` behind a message.

use std::sync::LazyLock;

use regex::Regex;

use super::{ImportError, Imported, is_message};
use crate::log::record::Level;
use crate::mcp::{Direction, json};
use crate::tape::builder::TapeBuilder;

static LINE: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(r"^(\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}[.\d]*Z) \[([^\]]*)\] \[(\w+)\] ?(.*)$").ok()
});

/// What stands where the application has left something out.
static CUT: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new(r"\[\d+ chars truncated\]").ok());

/// How much is looked at to tell the form.
const GLANCE: usize = 64 << 10;

pub fn is(text: &[u8]) -> bool {
    let glance = String::from_utf8_lossy(&text[..text.len().min(GLANCE)]);
    let Some(line) = LINE.as_ref() else { return false };
    glance.lines().take(200).any(|text| line.is_match(text))
}

pub fn read(text: &[u8], name: &str) -> Result<Imported, ImportError> {
    let text = String::from_utf8_lossy(text);
    let malformed = |what: &str| ImportError::Malformed { form: "claude", what: what.to_owned() };
    let pattern = LINE.as_ref().ok_or_else(|| malformed("its lines cannot be told apart"))?;
    let mut builder: Option<TapeBuilder> = None;
    let (mut wall, mut messages, mut remarks) = (0, 0, Vec::new());
    for (number, line) in (1..).zip(text.lines()) {
        let Some(found) = pattern.captures(line) else {
            // What stands between is what the server said on stderr.
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
        // Behind the message may stand what the client says of it.
        let end = json::prefix(rest.as_bytes()).unwrap_or(rest.len());
        let message = &rest[..end];
        if CUT.as_ref().is_some_and(|cut| cut.is_match(message)) {
            // The message was cut inside a text of it: it reads like a whole one.
            remarks.push(format!("line {number}: only a part of its message was recorded"));
        } else if is_message(message) {
            builder.message_at(wall, direction, message.as_bytes().to_vec());
            messages += 1;
        } else {
            remarks.push(format!("line {number}: its message is not whole"));
        }
    }
    let builder = builder.ok_or(ImportError::Empty("claude"))?;
    Ok(Imported { builder, messages, remarks })
}
