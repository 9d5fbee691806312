//! Requests that an engine answers besides commands, and notifications that it sends.

use std::path::PathBuf;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::log::breakpoint::{Breakpoint, Controller, Snapshot};
use crate::log::query::Query;
use crate::log::{Seq, SessionId};
use crate::tape::Status;

/// Version of this protocol. Incremented when an older peer would misunderstand a message.
pub const VERSION: u32 = 1;

/// A request to an engine that is not a [`Command`](crate::engine::Command).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "method", content = "params", deny_unknown_fields)]
pub enum Ask {
    /// Opens a connection: the first message of every connection, answered with the facts of the
    /// engine.
    #[serde(rename = "hello")]
    Hello {
        /// Version of the control protocol that the peer speaks.
        version: u32,
        /// Name of the peer; the log names it as the author of its commands.
        name: String,
    },
    /// Turns the connection into the standard streams of a server, once this request is answered.
    /// Must be the first message, in place of hello.
    #[serde(rename = "client/attach")]
    Attach {
        /// Version of the control protocol that the peer speaks.
        version: u32,
        /// Name of the client.
        name: String,
        /// Share the running process with its other clients. A server of 2026-07-28 is always
        /// shared; a server of an earlier revision is started once more for each client that does
        /// not ask for this.
        #[serde(default)]
        share: bool,
    },
    /// Returns the identity and the state of the engine, without reading its log.
    #[serde(rename = "engine/facts")]
    Facts {},
    /// Lists the sessions of the engine, including those that have ended.
    #[serde(rename = "session/list")]
    Sessions {},
    /// Sends every record from a position on as `log/record`, then `log/caughtUp`, and from then on
    /// each new record.
    #[serde(rename = "log/subscribe")]
    Subscribe {
        /// First position to send; 1 is the beginning of the log.
        from: Seq,
    },
    /// Ends the subscription to records.
    #[serde(rename = "log/unsubscribe")]
    Unsubscribe {},
    /// Lists frames in order of time.
    #[serde(rename = "log/frames")]
    Frames {
        /// Query in the syntax of the screens; if empty, every frame matches.
        #[serde(default)]
        filter: String,
        /// First position to look at.
        #[serde(default)]
        from: Option<Seq>,
        /// Last position to look at.
        #[serde(default)]
        to: Option<Seq>,
        /// Maximum number of frames; 100 if not given.
        #[serde(default)]
        limit: Option<usize>,
        /// Return the newest matching frames instead of the oldest.
        #[serde(default)]
        newest: bool,
    },
    /// Lists records in tape format from a position on. A gap record stands for records that are
    /// lost.
    #[serde(rename = "log/read")]
    Records {
        /// First position to return; 1 is the beginning of the log.
        from: Seq,
        /// Maximum number of records; 1 if not given.
        #[serde(default)]
        limit: Option<usize>,
    },
    /// Lists the frames that wait for a verdict.
    #[serde(rename = "hold/list")]
    Held {},
    /// Returns a frame that waits for a verdict, with the line that is sent if it is accepted now.
    #[serde(rename = "hold/get")]
    HeldLine {
        /// Position of the held frame.
        frame: Seq,
    },
    /// Lists the breakpoints and the controllers, the peers that can decide on held frames.
    #[serde(rename = "breakpoint/list")]
    Breakpoints {},
    /// Lists recordings in the library of the machine that the engine runs on, newest first.
    #[serde(rename = "tape/list")]
    Tapes {
        /// Text in the name, the file name, the target, the tags, or the names that client and
        /// server report.
        #[serde(default)]
        text: Option<String>,
        /// Maximum number of recordings; 100 if not given.
        #[serde(default)]
        limit: Option<usize>,
    },
    /// Lists frames of a recording in order of time: the newest that match.
    #[serde(rename = "tape/frames")]
    TapeFrames {
        /// Name, file path, or beginning of the file name or id of the recording.
        tape: String,
        /// Query in the syntax of the screens; if empty, every frame matches.
        #[serde(default)]
        filter: String,
        /// Maximum number of frames; 100 if not given.
        #[serde(default)]
        limit: Option<usize>,
    },
}

/// Identity and state of an engine.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct EngineFacts {
    /// Version of the control protocol that the engine speaks.
    pub version: u32,
    /// Program and its version, e.g. `shadowcat 0.1.0`.
    pub program: String,
    /// Process id of the engine.
    pub pid: u32,
    /// Display name of the server.
    pub name: String,
    /// Running command, e.g. `forward stdio`.
    pub mode: String,
    /// Command line or URL of the server.
    pub target: Vec<String>,
    /// Working directory of the engine.
    pub directory: Option<String>,
    /// Name of the process that started the engine, if the system reports it.
    pub parent: Option<String>,
    /// Wall-clock time of record time zero, in microseconds since the Unix epoch.
    pub anchor: u64,
    /// Position of the newest record.
    pub last: Seq,
    /// State of the recording.
    pub tape: Tape,
    /// Breakpoints and controllers.
    pub breakpoints: Points,
}

/// State of a recording.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Tape {
    /// First file of the recording; none when nothing is recorded.
    pub path: Option<PathBuf>,
    /// Size of all files of the recording, in bytes.
    pub bytes: u64,
    /// Number of recorded frames.
    pub frames: u64,
    /// Error that currently keeps records from being written.
    pub failing: Option<String>,
}

/// A session of an engine.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SessionFacts {
    /// Number of the session in its engine, counted from 1.
    pub session: SessionId,
    /// Display name of the server.
    pub name: String,
    /// Name that the client reports.
    pub client: Option<String>,
    /// Name that the server reports.
    pub server: Option<String>,
    /// Era that the server speaks, or else the client: `2025` or `2026`.
    pub era: Option<String>,
    /// `true` until the session is closed.
    pub open: bool,
    /// Process id of the server.
    #[serde(default)]
    pub process: Option<u32>,
    /// `true` while the server has ended and the client waits for another.
    #[serde(default)]
    pub down: bool,
    /// Number of frames.
    pub frames: u64,
    /// Number of frames that report an error.
    pub errors: u64,
    /// Number of frames that wait for a verdict.
    pub held: u64,
    /// Time at which the session began, in microseconds since the Unix epoch.
    pub since: u64,
}

/// Breakpoints of an engine, and its controllers.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Points {
    /// Breakpoints, in the order in which they were set.
    pub points: Vec<Point>,
    /// `true` if breakpoints hold frames at all.
    pub armed: bool,
    /// `true` if every frame is held, with or without a breakpoint.
    pub everything: bool,
    /// Controllers, in the order in which they were registered.
    #[serde(rename = "watchers")]
    pub controllers: Vec<Controller>,
    /// Held frames that were amended and are still held.
    #[serde(default)]
    pub amended: Vec<Amended>,
}

/// A held frame that was amended and is still held.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Amended {
    /// Position of the held frame.
    pub frame: Seq,
    /// Line that is sent in place of the frame.
    pub line: String,
}

/// A breakpoint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Point {
    /// Number of the breakpoint in its engine, counted from 1.
    pub id: u32,
    /// Query that selects the frames to hold.
    pub query: String,
    /// `false` if the breakpoint is switched off.
    pub enabled: bool,
    /// Number of frames that the breakpoint has held.
    pub hits: u64,
    /// Time that a held frame waits while there is no controller, in milliseconds.
    #[serde(default)]
    pub patience: u64,
}

/// A frame that waits for a verdict.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct HeldFrame {
    /// Position of the frame; decisions name the frame by it.
    pub id: Seq,
    /// Number of the session in its engine.
    pub session: SessionId,
    /// Display name of the server.
    pub name: String,
    /// Direction: `c2s` (client to server) or `s2c` (server to client).
    pub direction: String,
    /// Method of the message; for a response, that of its request.
    pub method: Option<String>,
    /// Target of the method, such as the name of a tool.
    pub target: Option<String>,
    /// Reason for the hold, or else the breakpoint or rule that stopped the frame.
    pub by: Option<String>,
    /// Time since the frame was stopped, in milliseconds.
    pub age: u64,
    /// Message as received: JSON, or a string if it is no JSON-RPC message.
    pub message: Value,
    /// Line that is sent if the frame is accepted now; only present if the frame was amended.
    pub amended: Option<String>,
}

/// A frame that waits for a verdict, with the line that is sent if it is accepted now.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HeldLine {
    /// The held frame.
    pub held: HeldFrame,
    /// Line as received, or as it was amended; invalid UTF-8 is replaced.
    pub line: String,
}

/// A frame as lists show it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct FrameFacts {
    /// Position of the frame in the log.
    pub seq: Seq,
    /// Time of the frame, as ISO 8601.
    pub time: String,
    /// Number of the session in its engine.
    pub session: SessionId,
    /// Direction: `c2s` (client to server) or `s2c` (server to client).
    pub direction: String,
    /// Kind: `req`, `resp`, `notify`, `batch`, `invalid`, `stderr` or `http`.
    pub kind: String,
    /// Number of the operation that the frame belongs to.
    pub operation: Option<u32>,
    /// Method of the message; for a response, that of its request.
    pub method: Option<String>,
    /// Target of the method, such as the name of a tool.
    pub target: Option<String>,
    /// Origin: `wire`, `replaced`, `answered`, `injected`, `replayed` or `remapped`.
    pub origin: String,
    /// Outcome, e.g. `forwarded`, and status words of the query language, e.g. `held` or `late`.
    pub state: Vec<String>,
    /// `true` if the message reports an error.
    pub error: bool,
    /// Time from the request to this response, in milliseconds.
    pub duration: Option<f64>,
    /// Size of the message in bytes.
    pub size: u64,
    /// Message as received: JSON, or a string if it is no JSON-RPC message.
    pub message: Value,
}

/// A recording in the library.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct TapeFacts {
    /// Name of the recording's file without its extension, by which other requests find it.
    pub tape: String,
    /// Name that a person gave to the recording, or else the name under which it was recorded.
    pub name: String,
    /// Time at which the recording began, as ISO 8601.
    pub started: String,
    /// Name that the server reported.
    pub server: Option<String>,
    /// Name that the client reported.
    pub client: Option<String>,
    /// Era that was spoken: `2025` or `2026`.
    pub era: Option<String>,
    /// Transport of the server: `stdio` or `http`.
    pub transport: String,
    /// Number of frames.
    pub frames: u64,
    /// Number of frames that report an error.
    pub errors: u64,
    /// Size of all files of the recording, in bytes.
    pub bytes: u64,
    /// Tags that people gave to the recording.
    pub tags: Vec<String>,
}

/// Notifications that an engine sends: the method of each and its description.
pub const NOTICES: [(&str, &str); 4] = [
    ("log/record", "A record, as it stands on a tape."),
    ("log/caughtUp", "Every record that existed when the subscription began has been sent."),
    (
        "breakpoint/changed",
        "The breakpoints or controllers have changed; params as the result of breakpoint/list.",
    ),
    ("tape/status", "The recording has progressed or failed; params as `tape` in engine/facts."),
];

impl From<&Snapshot> for Points {
    fn from(snapshot: &Snapshot) -> Self {
        let point = |point: &Breakpoint| Point {
            id: point.id,
            query: point.query.text().to_owned(),
            enabled: point.enabled,
            hits: point.hits,
            patience: u64::try_from(point.patience.as_millis()).unwrap_or(u64::MAX),
        };
        let amended = |(frame, line): (&Seq, &bytes::Bytes)| Amended {
            frame: *frame,
            line: String::from_utf8_lossy(line).into_owned(),
        };
        Self {
            points: snapshot.points.iter().map(point).collect(),
            armed: snapshot.armed,
            everything: snapshot.everything,
            controllers: snapshot.controllers.clone(),
            amended: snapshot.amended.iter().map(amended).collect(),
        }
    }
}

impl Point {
    /// Returns the breakpoint with the number `id`; `None` if this program does not understand the
    /// query, which comes from a newer one.
    pub fn breakpoint(&self, id: u32) -> Option<Breakpoint> {
        Some(Breakpoint {
            id,
            query: Query::parse(&self.query).ok()?,
            enabled: self.enabled,
            hits: self.hits,
            patience: Duration::from_millis(self.patience),
        })
    }
}

impl From<&Status> for Tape {
    fn from(status: &Status) -> Self {
        let Status { path, bytes, frames, failing, .. } = status.clone();
        Self { path, bytes, frames, failing }
    }
}
