//! Recordings that others made, as tapes of ours. Each form is one file, and one row of
//! [`Form::ALL`].

mod claude;
mod har;
mod inspector;
mod mcpsnoop;

use super::builder::TapeBuilder;
use crate::mcp::sse;

/// A form that a recording can be read from.
#[derive(Clone, Copy)]
pub struct Form {
    /// What it is called on the command line.
    pub name: &'static str,
    /// Whose it is.
    pub help: &'static str,
    is: fn(&[u8]) -> bool,
    read: fn(&[u8], &str) -> Result<Imported, ImportError>,
}

/// What was read.
pub struct Imported {
    pub builder: TapeBuilder,
    /// Messages that were taken in.
    pub messages: usize,
    /// What was left out or is not as it was, and why.
    pub remarks: Vec<String>,
}

/// Why nothing could be read.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    #[error("this is none of the forms that can be imported: {}", Form::ALL.map(|form| form.name).join(", "))]
    Unknown,
    #[error("this is no {form} file: {what}")]
    Malformed { form: &'static str, what: String },
    #[error("there is no MCP message in this {0} file")]
    Empty(&'static str),
}

impl Form {
    /// Every form.
    pub const ALL: [Self; 4] = [
        Self { name: "har", help: "HTTP Archive 1.2 of a browser or proxy", is: har::is, read: har::read },
        Self {
            name: "inspector",
            help: "the protocol history that MCP Inspector exports",
            is: inspector::is,
            read: inspector::read,
        },
        Self { name: "mcpsnoop", help: "mcpsnoop's JSON Lines", is: mcpsnoop::is, read: mcpsnoop::read },
        Self {
            name: "claude",
            help: "Claude Desktop's mcp-server-NAME.log",
            is: claude::is,
            read: claude::read,
        },
    ];

    /// The form called `name`.
    pub fn find(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|form| form.name == name)
    }

    /// The form that `text` is in.
    ///
    /// # Errors
    /// When it is in none.
    pub fn recognise(text: &[u8]) -> Result<Self, ImportError> {
        let text = text.strip_prefix(sse::BOM).unwrap_or(text);
        Self::ALL.into_iter().find(|form| (form.is)(text)).ok_or(ImportError::Unknown)
    }

    /// Reads `text`, a recording of what is called `name`.
    ///
    /// # Errors
    /// When it is broken, or has no message in it.
    pub fn read(self, text: &[u8], name: &str) -> Result<Imported, ImportError> {
        let imported = (self.read)(text.strip_prefix(sse::BOM).unwrap_or(text), name)?;
        match imported.messages {
            0 => Err(ImportError::Empty(self.name)),
            _ => Ok(imported),
        }
    }
}

/// A number of milliseconds in microseconds; none when it is no time that anything takes.
fn millis(millis: f64) -> Option<u64> {
    const MAX_MILLIS: f64 = 31.0 * 24.0 * 3600.0 * 1e3;
    (0.0..MAX_MILLIS).contains(&millis).then_some((millis * 1e3) as u64)
}

/// Whether a JSON text is a message of JSON-RPC, or a batch of them.
fn is_message(json: &str) -> bool {
    crate::mcp::Message::parse(json.to_owned().into()).is_rpc()
}
