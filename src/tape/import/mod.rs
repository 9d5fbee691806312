//! Import of recordings of other programs as tapes. Each format is one module, and one row of
//! [`ImportFormat::ALL`].

mod claude;
mod har;
mod inspector;
mod mcpsnoop;

use super::builder::TapeBuilder;
use crate::mcp::sse;

/// An import format.
#[derive(Clone, Copy)]
pub struct ImportFormat {
    /// Name of the format on the command line.
    pub name: &'static str,
    /// Description of the format for the help text.
    pub help: &'static str,
    is: fn(&[u8]) -> bool,
    read: fn(&[u8], &str) -> Result<Imported, ImportError>,
}

/// Result of an import.
pub struct Imported {
    /// Builder of a tape with the messages.
    pub builder: TapeBuilder,
    /// Number of messages that were imported.
    pub messages: usize,
    /// Remarks on messages that were left out or changed, with the reasons.
    pub remarks: Vec<String>,
}

/// Error of an import.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// The text is in no known format.
    #[error("unknown format; supported formats: {}", ImportFormat::ALL.map(|form| form.name).join(", "))]
    Unknown,
    /// The text is broken.
    #[error("not a valid {form} file: {what}")]
    Malformed {
        /// Name of the format.
        form: &'static str,
        /// Description of the problem.
        what: String,
    },
    /// The text, of the format named, contains no MCP message.
    #[error("there is no MCP message in this {0} file")]
    Empty(&'static str),
}

impl ImportFormat {
    /// Import formats, in the order in which they are tried.
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

    /// Returns the format called `name`.
    pub fn find(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|form| form.name == name)
    }

    /// Returns the format of `text`.
    ///
    /// # Errors
    /// Returns [`ImportError::Unknown`] if the text is in no known format.
    pub fn recognise(text: &[u8]) -> Result<Self, ImportError> {
        let text = text.strip_prefix(sse::BOM).unwrap_or(text);
        Self::ALL.into_iter().find(|form| (form.is)(text)).ok_or(ImportError::Unknown)
    }

    /// Reads `text`; `name` is the name of the recording if the text does not give one.
    ///
    /// # Errors
    /// Returns [`ImportError::Malformed`] if the text is broken, and [`ImportError::Empty`] if it
    /// contains no message.
    pub fn read(self, text: &[u8], name: &str) -> Result<Imported, ImportError> {
        let imported = (self.read)(text.strip_prefix(sse::BOM).unwrap_or(text), name)?;
        match imported.messages {
            0 => Err(ImportError::Empty(self.name)),
            _ => Ok(imported),
        }
    }
}

/// Converts milliseconds to microseconds; returns `None` if the number cannot be a duration.
fn millis(millis: f64) -> Option<u64> {
    const MAX_MILLIS: f64 = 31.0 * 24.0 * 3600.0 * 1e3;
    (0.0..MAX_MILLIS).contains(&millis).then_some((millis * 1e3) as u64)
}

/// Returns `true` if a JSON text is a JSON-RPC message or a batch of them.
fn is_message(json: &str) -> bool {
    crate::mcp::Message::parse(json.to_owned().into()).is_rpc()
}
