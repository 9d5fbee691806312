//! Commands of front ends. Within a process they are values of [`Command`]; on a control socket
//! they are JSON-RPC requests, whose method names the variant and whose params are its fields.

use std::time::Duration;

use bytes::Bytes;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::log::{Seq, SessionId};
use crate::mcp::Direction;

/// A command of a person or a script to an engine.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "method", content = "params", deny_unknown_fields)]
pub enum Command {
    /// Accepts a held frame: sends it unchanged, or as it was amended.
    #[serde(rename = "hold/accept")]
    Accept {
        /// Position of the held frame.
        frame: Seq,
    },
    /// Accepts a held frame and holds the reply to it.
    #[serde(rename = "hold/acceptAndHoldReply")]
    AcceptAndHoldReply {
        /// Position of the held frame.
        frame: Seq,
    },
    /// Accepts every held frame, and stops holding everything.
    #[serde(rename = "hold/acceptAll")]
    AcceptAll {},
    /// Sends a line in place of a held frame. The line need not be a message.
    #[serde(rename = "hold/replace")]
    Edit {
        /// Position of the held frame.
        frame: Seq,
        /// Line to send.
        #[serde(with = "line")]
        #[schemars(with = "String")]
        line: Bytes,
        /// Leave HTTP headers that repeat parts of the body unchanged, even if the body differs
        /// now.
        #[serde(default, rename = "keepsHeaders")]
        keeps_headers: bool,
    },
    /// Amends a held frame, which stays held: `hold/accept` then sends the new line.
    #[serde(rename = "hold/amend")]
    Amend {
        /// Position of the held frame.
        frame: Seq,
        /// New line of the frame.
        #[serde(with = "line")]
        #[schemars(with = "String")]
        line: Bytes,
    },
    /// Drops a held frame: its receiver does not get it.
    #[serde(rename = "hold/drop")]
    Drop {
        /// Position of the held frame.
        frame: Seq,
        /// Answer to the peer that waits for one.
        #[serde(default)]
        tell: Tell,
    },
    /// Answers a held request in place of its receiver.
    #[serde(rename = "hold/answer")]
    Answer {
        /// Position of the held frame.
        frame: Seq,
        /// Line of the response.
        #[serde(with = "line")]
        #[schemars(with = "String")]
        line: Bytes,
    },
    /// Accepts a held frame after a delay.
    #[serde(rename = "hold/delay")]
    Delay {
        /// Position of the held frame.
        frame: Seq,
        /// Delay in milliseconds.
        #[serde(with = "millis")]
        #[schemars(with = "u64")]
        by: Duration,
    },
    /// Starts or stops holding every frame. When it stops, every held frame is accepted.
    #[serde(rename = "hold/everything")]
    HoldEverything {
        /// `true` starts, `false` stops.
        on: bool,
    },
    /// Arms or disarms all breakpoints.
    #[serde(rename = "breakpoint/arm")]
    Arm {
        /// `true` arms, `false` disarms.
        armed: bool,
    },
    /// Sets a breakpoint on a query.
    #[serde(rename = "breakpoint/add")]
    Break {
        /// Query that selects the frames to hold.
        query: String,
        /// Time that a held frame waits while there is no controller, in milliseconds; the usual
        /// time of the engine if not given.
        #[serde(default)]
        patience: Option<u64>,
    },
    /// Removes a breakpoint.
    #[serde(rename = "breakpoint/remove")]
    RemoveBreakpoint {
        /// Number of the breakpoint.
        id: u32,
    },
    /// Enables a disabled breakpoint, or disables an enabled one.
    #[serde(rename = "breakpoint/toggle")]
    ToggleBreakpoint {
        /// Number of the breakpoint.
        id: u32,
    },
    /// Enables or disables a breakpoint, whatever its current state.
    #[serde(rename = "breakpoint/set")]
    SetBreakpoint {
        /// Number of the breakpoint.
        id: u32,
        /// `true` enables, `false` disables.
        enabled: bool,
    },
    /// Injects a message into a session. The peers do not see the answer to an injected request.
    #[serde(rename = "message/inject")]
    Inject {
        /// Number of the session.
        session: SessionId,
        /// Side that receives the message: `server` or `client`.
        #[serde(with = "side")]
        #[schemars(with = "String")]
        to: Direction,
        /// Line of the message. The id of a request is replaced, so that the answer can be told
        /// apart.
        #[serde(with = "line")]
        #[schemars(with = "String")]
        line: Bytes,
    },
    /// Makes a request with the built-in client.
    #[serde(rename = "client/call")]
    Call {
        /// Number of a session of the built-in client.
        session: SessionId,
        /// Method of the request.
        method: String,
        /// Params of the request.
        #[serde(default)]
        params: Option<Value>,
    },
    /// Answers a question of the server with the built-in client: a request of the server, or the
    /// input that a result requires, keyed by its `inputRequests`.
    #[serde(rename = "client/respond")]
    Respond {
        /// Number of a session of the built-in client.
        session: SessionId,
        /// Position of the frame with the question.
        frame: Seq,
        /// Answer to send.
        answer: Given,
    },
    /// Restarts the server of a session. With the built-in client as its client it gets a new
    /// session, else the session continues.
    #[serde(rename = "session/restart")]
    Restart {
        /// Number of the session.
        session: SessionId,
    },
    /// Adds a note to the recording.
    #[serde(rename = "tape/note")]
    Note {
        /// Number of the session; 0 for a note about the engine.
        session: SessionId,
        /// Position of the frame that the note is about.
        #[serde(default)]
        frame: Option<Seq>,
        /// Letter that makes the note a bookmark of its frame.
        #[serde(default)]
        mark: Option<char>,
        /// Text of the note.
        text: String,
    },
    /// Registers the sender as a controller, which can decide on held frames, and returns its
    /// number (seat). The first controller decides.
    #[serde(rename = "seat/take")]
    Attend {
        /// Name of the controller, as the others see it.
        name: String,
    },
    /// Makes a controller the one that decides.
    #[serde(rename = "seat/decide")]
    TakeOver {
        /// Number (seat) of the controller.
        #[serde(rename = "seat")]
        controller: u32,
    },
    /// Removes a controller. When none is left, held frames are accepted, those of a breakpoint
    /// with patience after its time.
    #[serde(rename = "seat/leave")]
    Leave {
        /// Number (seat) of the controller.
        #[serde(rename = "seat")]
        controller: u32,
    },
}

/// Answer of the built-in client to a question of the server.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Given {
    /// Result of the request.
    Result(Value),
    /// JSON-RPC error.
    Error {
        /// JSON-RPC error code.
        code: i64,
        /// Error message.
        message: String,
    },
}

/// Reaction to a dropped frame that the peer waiting for an answer sees: the sender of a request,
/// or the receiver of a response.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Tell {
    /// No answer: the peer keeps waiting.
    #[default]
    Silence,
    /// A JSON-RPC error.
    Error {
        /// JSON-RPC error code.
        code: i64,
        /// Error message.
        message: String,
    },
    /// A tool result that reports a failure of the tool.
    ToolError {
        /// Text content of the tool result.
        text: String,
    },
    /// The connection to the peer is closed.
    Close,
}

/// Result of a command that was carried out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Reply {
    /// The command has no other result.
    Done,
    /// Position of the frame or note that the command created.
    Frame(Seq),
    /// JSON-RPC id of the request that the built-in client sent.
    Called(String),
    /// Number of the breakpoint that was set.
    Breakpoint(u32),
    /// Number (seat) of the new controller.
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
    /// Returns the name of the command on the control socket, such as `hold/accept`.
    pub fn method(&self) -> String {
        let value = serde_json::to_value(self).unwrap_or_default();
        value["method"].as_str().unwrap_or_default().to_owned()
    }

    /// Returns `true` if the command waits until time has passed or a peer has answered.
    pub fn waits(&self) -> bool {
        matches!(self, Self::Delay { .. } | Self::Call { .. } | Self::Respond { .. })
    }

    /// Returns `true` if, of the controllers, only the deciding one may send the command.
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
            // Stopping accepts held frames, which is a decision; every controller may start it.
            | Self::HoldEverything { on: false } => true,
            Self::HoldEverything { on: true }
            | Self::Arm { .. }
            | Self::Break { .. }
            | Self::RemoveBreakpoint { .. }
            | Self::ToggleBreakpoint { .. }
            | Self::SetBreakpoint { .. }
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

/// Serialization of lines as JSON strings.
mod line {
    use bytes::Bytes;
    use serde::{Deserialize, Deserializer, Serializer};

    /// Writes a line as a string; invalid UTF-8 is replaced.
    pub fn serialize<S: Serializer>(line: &Bytes, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&String::from_utf8_lossy(line))
    }

    /// Reads a line from a string.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Bytes, D::Error> {
        String::deserialize(deserializer).map(Bytes::from)
    }
}

/// Serialization of durations as whole milliseconds.
mod millis {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer};

    /// Writes a duration as milliseconds.
    pub fn serialize<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX))
    }

    /// Reads a duration from milliseconds.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        u64::deserialize(deserializer).map(Duration::from_millis)
    }
}

/// Serialization of directions by the side that they lead to.
mod side {
    use serde::{Deserialize, Deserializer, Serializer};

    use crate::mcp::Direction;

    /// Writes `server` or `client`.
    pub fn serialize<S: Serializer>(to: &Direction, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(match to {
            Direction::ToServer => "server",
            Direction::ToClient => "client",
        })
    }

    /// Reads `server` or `client`.
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
