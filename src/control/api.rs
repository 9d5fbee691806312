//! What can be asked of an engine, and what it tells by itself.

use std::path::PathBuf;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::log::breakpoint::{Breakpoint, Controller, Snapshot};
use crate::log::query::Query;
use crate::log::{Seq, SessionId};
use crate::tape::Status;

/// The version of this protocol. It counts up when an older peer would misunderstand.
pub const VERSION: u32 = 1;

/// A question.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "method", content = "params", deny_unknown_fields)]
pub enum Ask {
    /// The first message of every connection.
    #[serde(rename = "hello")]
    Hello {
        /// The version of the protocol that the peer speaks.
        version: u32,
        /// Who it is: the log names it where it does something.
        name: String,
    },
    /// Turns the connection into the standard streams of a server, once this is answered. It must be
    /// the first message, in the place of hello.
    #[serde(rename = "client/attach")]
    Attach {
        /// The version of the protocol that the peer speaks.
        version: u32,
        /// Who it is.
        name: String,
        /// Whether it shares the process that runs with those that are there. A server of 2026-07-28 is
        /// shared anyway; one of an earlier revision is started once more for each client.
        #[serde(default)]
        share: bool,
    },
    /// What the engine is and how it stands. Nothing has to be read for that.
    #[serde(rename = "engine/facts")]
    Facts {},
    /// Its sessions, those that have ended too.
    #[serde(rename = "session/list")]
    Sessions {},
    /// Sends every record from a position on as `log/record`, then `log/caughtUp`, and from then on
    /// what is new.
    #[serde(rename = "log/subscribe")]
    Subscribe {
        /// 1 is the beginning.
        from: Seq,
    },
    /// Sends no more records.
    #[serde(rename = "log/unsubscribe")]
    Unsubscribe {},
    /// Frames in the order of time.
    #[serde(rename = "log/frames")]
    Frames {
        /// A query, as the screens take it.
        #[serde(default)]
        filter: String,
        /// The first position that is looked at.
        #[serde(default)]
        from: Option<Seq>,
        /// The last one.
        #[serde(default)]
        to: Option<Seq>,
        /// At most so many; 100 if not given.
        #[serde(default)]
        limit: Option<usize>,
        /// The newest ones rather than the oldest.
        #[serde(default)]
        newest: bool,
    },
    /// Records as they stand on a tape, from a position on. A gap stands for those that are lost.
    #[serde(rename = "log/read")]
    Records {
        from: Seq,
        /// At most so many; one if not given.
        #[serde(default)]
        limit: Option<usize>,
    },
    /// What waits for a verdict.
    #[serde(rename = "hold/list")]
    Held {},
    /// The breakpoints, and who can decide.
    #[serde(rename = "breakpoint/list")]
    Breakpoints {},
    /// Recordings in the library of the machine that the engine runs on, the newest first.
    #[serde(rename = "tape/list")]
    Tapes {
        /// Text in a name, a target, or what a server or client calls itself.
        #[serde(default)]
        text: Option<String>,
        /// At most so many; 100 if not given.
        #[serde(default)]
        limit: Option<usize>,
    },
    /// Frames of a recording in the order of time, the newest that match.
    #[serde(rename = "tape/frames")]
    TapeFrames {
        /// A name, a file, or the beginning of an id.
        tape: String,
        /// A query, as the screens take it.
        #[serde(default)]
        filter: String,
        /// At most so many; 100 if not given.
        #[serde(default)]
        limit: Option<usize>,
    },
}

/// What an engine is and how it stands.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Facts {
    /// The version of the protocol that the engine speaks.
    pub version: u32,
    /// The program, e.g. `shadowcat 0.1.0`.
    pub program: String,
    pub pid: u32,
    /// What people call its server.
    pub name: String,
    /// The command that runs, e.g. `forward stdio`.
    pub mode: String,
    /// The server's command line or URL.
    pub target: Vec<String>,
    pub directory: Option<String>,
    /// Who started it, as far as the system tells.
    pub parent: Option<String>,
    /// The wall time of record time zero, microseconds since the Unix epoch.
    pub anchor: u64,
    /// The position of the newest record.
    pub last: Seq,
    pub tape: Tape,
    pub breakpoints: Points,
}

/// How the recording stands.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Tape {
    /// The file; none when nothing is recorded.
    pub path: Option<PathBuf>,
    pub bytes: u64,
    pub frames: u64,
    /// Why nothing can be written right now.
    pub failing: Option<String>,
}

/// A session of an engine.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SessionFacts {
    pub session: SessionId,
    pub name: String,
    pub client: Option<String>,
    pub server: Option<String>,
    pub era: Option<String>,
    pub open: bool,
    /// The process of its server.
    #[serde(default)]
    pub process: Option<u32>,
    /// Its server has ended, and its client stays until there is another.
    #[serde(default)]
    pub down: bool,
    pub frames: u64,
    pub errors: u64,
    pub held: u64,
    /// Microseconds since the Unix epoch.
    pub since: u64,
}

/// The breakpoints of an engine, and who can decide.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Points {
    pub points: Vec<Point>,
    pub armed: bool,
    /// Whether every frame is held.
    pub everything: bool,
    #[serde(rename = "watchers")]
    pub controllers: Vec<Controller>,
    /// What goes on instead of held frames that were changed and are still held.
    #[serde(default)]
    pub amended: Vec<Amended>,
}

/// A held frame that was changed and is still held.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Amended {
    pub frame: Seq,
    /// What goes on instead.
    pub line: String,
}

/// A breakpoint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Point {
    pub id: u32,
    pub query: String,
    pub enabled: bool,
    pub hits: u64,
    /// How long what it holds waits while nobody is there, in milliseconds.
    #[serde(default)]
    pub patience: u64,
}

/// A frame that waits for a verdict.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct HeldFrame {
    /// The frame, by which it is decided on.
    pub id: Seq,
    pub session: SessionId,
    pub name: String,
    pub direction: String,
    pub method: Option<String>,
    pub target: Option<String>,
    /// What stopped it.
    pub by: Option<String>,
    /// How long it is held, in milliseconds.
    pub age: u64,
    /// The message as it came: JSON, or a text where it is none.
    pub message: Value,
    /// The line that goes on if it is accepted now, where it was amended.
    pub amended: Option<String>,
}

/// A frame as lists show it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct FrameFacts {
    pub seq: Seq,
    /// ISO 8601.
    pub time: String,
    pub session: SessionId,
    pub direction: String,
    pub kind: String,
    pub operation: Option<u32>,
    pub method: Option<String>,
    pub target: Option<String>,
    pub origin: String,
    pub state: Vec<String>,
    pub error: bool,
    /// In milliseconds.
    pub duration: Option<f64>,
    /// Bytes.
    pub size: u64,
    /// The message as it came: JSON, or a text where it is none.
    pub message: Value,
}

/// A recording in the library.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct TapeFacts {
    /// What it is found by.
    pub tape: String,
    pub name: String,
    /// ISO 8601.
    pub started: String,
    pub server: Option<String>,
    pub client: Option<String>,
    pub era: Option<String>,
    pub transport: String,
    pub frames: u64,
    pub errors: u64,
    pub bytes: u64,
    pub tags: Vec<String>,
}

/// What an engine tells by itself.
pub const NOTICES: [(&str, &str); 4] = [
    ("log/record", "A record, as it stands on a tape."),
    ("log/caughtUp", "Everything that was there when the subscription began has been sent."),
    ("breakpoint/changed", "The breakpoints or who can decide have changed: what breakpoint/list answers."),
    ("tape/status", "The recording has gone on, or cannot: what engine/facts has as tape."),
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
    /// The breakpoint, as number `id`; none when its query is of a newer program.
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
