//! What a front end may want, as it is called in a process and, as JSON-RPC, on a control socket:
//! the name of a command is its method, its fields are its params.

use std::time::Duration;

use bytes::Bytes;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::log::{Seq, SessionId};
use crate::mcp::Direction;

/// What a person or a script can want from an engine.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "method", content = "params", deny_unknown_fields)]
pub enum Command {
    /// Lets a held frame go on, as it is or as it was amended.
    #[serde(rename = "hold/accept")]
    Accept { frame: Seq },
    /// Lets it go on and holds the reply.
    #[serde(rename = "hold/acceptAndHoldReply")]
    AcceptAndHoldReply { frame: Seq },
    /// Lets everything go on, and stops holding everything.
    #[serde(rename = "hold/acceptAll")]
    AcceptAll {},
    /// Sends this line in the place of a held frame, whatever it is.
    #[serde(rename = "hold/replace")]
    Edit {
        frame: Seq,
        #[serde(with = "line")]
        #[schemars(with = "String")]
        line: Bytes,
        /// HTTP headers that repeat the body stay as they came, whatever the body says now.
        #[serde(default, rename = "keepsHeaders")]
        keeps_headers: bool,
    },
    /// Changes a held frame, which stays held: `hold/accept` sends it so.
    #[serde(rename = "hold/amend")]
    Amend {
        frame: Seq,
        #[serde(with = "line")]
        #[schemars(with = "String")]
        line: Bytes,
    },
    /// Keeps a held frame from its peer.
    #[serde(rename = "hold/drop")]
    Drop {
        frame: Seq,
        #[serde(default)]
        tell: Tell,
    },
    /// Answers a held request in the place of the other side.
    #[serde(rename = "hold/answer")]
    Answer {
        frame: Seq,
        #[serde(with = "line")]
        #[schemars(with = "String")]
        line: Bytes,
    },
    /// Lets a held frame go on after a while.
    #[serde(rename = "hold/delay")]
    Delay {
        frame: Seq,
        /// In milliseconds.
        #[serde(with = "millis")]
        #[schemars(with = "u64")]
        by: Duration,
    },
    /// Holds whatever comes, or stops doing so.
    #[serde(rename = "hold/everything")]
    HoldEverything { on: bool },
    /// Arms or disarms all breakpoints.
    #[serde(rename = "breakpoint/arm")]
    Arm { armed: bool },
    /// Sets a breakpoint on a query.
    #[serde(rename = "breakpoint/add")]
    Break {
        query: String,
        /// How long what it holds waits while nobody is there who could decide, in milliseconds; as
        /// long as is usual for the engine if not given.
        #[serde(default)]
        patience: Option<u64>,
    },
    /// Removes a breakpoint.
    #[serde(rename = "breakpoint/remove")]
    RemoveBreakpoint { id: u32 },
    /// Enables or disables a breakpoint.
    #[serde(rename = "breakpoint/toggle")]
    ToggleBreakpoint { id: u32 },
    /// Sends a message of ours past the peers.
    #[serde(rename = "message/inject")]
    Inject {
        session: SessionId,
        /// `server` or `client`.
        #[serde(with = "side")]
        #[schemars(with = "String")]
        to: Direction,
        #[serde(with = "line")]
        #[schemars(with = "String")]
        line: Bytes,
    },
    /// Lets the built-in client make a request.
    #[serde(rename = "client/call")]
    Call {
        session: SessionId,
        method: String,
        #[serde(default)]
        params: Option<Value>,
    },
    /// Lets the built-in client answer what the server asks: a request of its own, or the input
    /// that a result requires, keyed by its `inputRequests`.
    #[serde(rename = "client/respond")]
    Respond { session: SessionId, frame: Seq, answer: Given },
    /// Starts the server of a session again, under a new session.
    #[serde(rename = "session/restart")]
    Restart { session: SessionId },
    /// Adds a note to the recording.
    #[serde(rename = "tape/note")]
    Note {
        session: SessionId,
        #[serde(default)]
        frame: Option<Seq>,
        /// The letter that makes it a bookmark of its frame.
        #[serde(default)]
        mark: Option<char>,
        text: String,
    },
    /// Takes a seat among those who can decide; the first one decides.
    #[serde(rename = "seat/take")]
    Attend {
        /// Who it is, as the others see it.
        name: String,
    },
    /// Makes the one in this seat the one who decides.
    #[serde(rename = "seat/decide")]
    TakeOver { seat: u32 },
    /// Leaves the seat. When it was the last one, what is held goes on.
    #[serde(rename = "seat/leave")]
    Leave { seat: u32 },
}

/// What the built-in client answers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Given {
    Result(Value),
    Error { code: i64, message: String },
}

/// What the sender of a dropped frame is told.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Tell {
    /// Nothing: it waits.
    #[default]
    Silence,
    /// A JSON-RPC error.
    Error { code: i64, message: String },
    /// A tool result that says the tool failed.
    ToolError { text: String },
    /// The connection is closed.
    Close,
}

/// What a command did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Reply {
    Done,
    /// The frame that was made.
    Frame(Seq),
    /// The JSON-RPC id of the request that the built-in client sent.
    Called(String),
    Breakpoint(u32),
    /// The seat that was taken.
    Seat(u32),
}

impl From<Result<Value, (i64, String)>> for Given {
    fn from(result: Result<Value, (i64, String)>) -> Self {
        match result {
            Ok(result) => Self::Result(result),
            Err((code, message)) => Self::Error { code, message },
        }
    }
}

impl Command {
    /// Whether it is done only when time has passed or a peer has said something.
    pub fn waits(&self) -> bool {
        matches!(self, Self::Delay { .. } | Self::Call { .. } | Self::Respond { .. })
    }

    /// Whether only the one who decides may want this, where somebody does.
    pub fn decides(&self) -> bool {
        match self {
            Self::Accept { .. }
            | Self::AcceptAndHoldReply { .. }
            | Self::AcceptAll {}
            | Self::Edit { .. }
            | Self::Amend { .. }
            | Self::Drop { .. }
            | Self::Answer { .. }
            | Self::Delay { .. }
            // It is how one who decides lets go; the start of it is anybody's.
            | Self::HoldEverything { on: false } => true,
            Self::HoldEverything { on: true }
            | Self::Arm { .. }
            | Self::Break { .. }
            | Self::RemoveBreakpoint { .. }
            | Self::ToggleBreakpoint { .. }
            | Self::Inject { .. }
            | Self::Call { .. }
            | Self::Respond { .. }
            | Self::Restart { .. }
            | Self::Note { .. }
            | Self::Attend { .. }
            | Self::TakeOver { .. }
            | Self::Leave { .. } => false,
        }
    }
}

/// Lines are texts in JSON.
mod line {
    use bytes::Bytes;
    use serde::{Deserialize, Deserializer, Serializer};

    pub fn serialize<S: Serializer>(line: &Bytes, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&String::from_utf8_lossy(line))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Bytes, D::Error> {
        String::deserialize(deserializer).map(Bytes::from)
    }
}

/// Durations are milliseconds.
mod millis {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer};

    pub fn serialize<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        u64::deserialize(deserializer).map(Duration::from_millis)
    }
}

/// A direction is named by the side that it goes to.
mod side {
    use serde::{Deserialize, Deserializer, Serializer};

    use crate::mcp::Direction;

    pub fn serialize<S: Serializer>(to: &Direction, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(match to {
            Direction::ToServer => "server",
            Direction::ToClient => "client",
        })
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Direction, D::Error> {
        match String::deserialize(deserializer)?.as_str() {
            "server" => Ok(Direction::ToServer),
            "client" => Ok(Direction::ToClient),
            other => Err(serde::de::Error::custom(format!("to is server or client, not {other:?}"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_a_method_and_its_params() {
        let command = Command::Inject {
            session: SessionId(2),
            to: Direction::ToClient,
            line: Bytes::from_static(b"{}"),
        };
        let json = serde_json::json!({
            "method": "message/inject", "params": { "session": 2, "to": "client", "line": "{}" }
        });
        assert_eq!(serde_json::to_value(&command).unwrap(), json);
        assert_eq!(serde_json::from_value::<Command>(json).unwrap(), command);
        let bare: Command =
            serde_json::from_value(serde_json::json!({ "method": "hold/acceptAll", "params": {} })).unwrap();
        assert_eq!(bare, Command::AcceptAll {});
    }
}
