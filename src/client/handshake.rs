//! What the built-in client says of itself, and what it reads from the answers to its first requests.

use serde_json::{Value, json};

use super::ClientError;
use crate::mcp::era::versions;
use crate::mcp::json as json_text;
use crate::mcp::{Era, Kind, Message, Revision};

/// Result of a probe for the era that a server speaks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Probed {
    /// The server speaks the stateless era.
    Stateless,
    /// The server does not know the probe, or names only versions of the stateful era.
    Stateful,
    /// The server names these versions, none of which we speak.
    Other(String),
}

impl Probed {
    pub(super) fn of(answer: &Message) -> Self {
        let path: &[&str] = match answer.kind() {
            Kind::Failure { .. } => match answer.outcome(&["code"]) {
                Some(b"-32022") => &["data", "supported"],
                // HeaderMismatch and MissingRequiredClientCapability (2026-07-28).
                Some(b"-32020" | b"-32021") => return Self::Stateless,
                _ => return Self::Stateful,
            },
            _ => &["supportedVersions"],
        };
        let named = versions(answer, path);
        let speaks = |era| named.iter().filter_map(|name| Revision::parse(name)).any(|v| v.era() == era);
        match (speaks(Era::Stateless), named.is_empty() || speaks(Era::Stateful)) {
            (true, _) => Self::Stateless,
            (false, true) => Self::Stateful,
            (false, false) => Self::Other(named.join(", ")),
        }
    }
}

pub(super) fn refused(method: &str, answer: &Message) -> ClientError {
    let why = answer.outcome(&["message"]).and_then(json_text::unescape).unwrap_or_default();
    let code = answer.outcome(&["code"]).map(|code| format!(" ({})", String::from_utf8_lossy(code)));
    ClientError::Refused(method.to_owned(), format!("{why}{}", code.unwrap_or_default()))
}

pub(super) fn info() -> Value {
    json!({ "name": "shadowcat", "title": "Shadowcat", "version": env!("CARGO_PKG_VERSION") })
}

pub(super) fn capabilities() -> Value {
    json!({ "roots": { "listChanged": false }, "sampling": {}, "elicitation": { "form": {}, "url": {} } })
}
