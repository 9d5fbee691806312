//! Records: the facts from which everything that is shown is derived.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::words::words;
use crate::clock::Stamp;
use crate::mcp::{Direction, Era, Message};

pub use super::frame::{Cause, Channel, Flags, Frame, FrameKind, Link, Origin, Role};

/// The position of a record in its log, counted from 1. It also identifies a frame.
pub type Seq = u64;

/// The number of a session within its engine, counted from 1.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    serde::Serialize,
    serde::Deserialize,
    schemars::JsonSchema,
)]
#[serde(transparent)]
pub struct SessionId(pub u32);

/// The number of a lane within its session. A lane is one ordered one-way stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LaneId(pub u32);

/// The number of an operation within its log, counted from 1. An operation is a request with all
/// messages that belong to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OpId(pub u32);

/// A record: one fact, with its time.
#[derive(Debug, Clone)]
pub struct Record {
    /// The position in the log.
    pub seq: Seq,
    /// The time at which it was recorded.
    pub at: Stamp,
    /// The session that it is about.
    pub session: SessionId,
    /// The fact.
    pub body: Body,
}

/// The fact that a record states.
#[derive(Debug, Clone)]
pub enum Body {
    /// A session began.
    Opened(Opened),
    /// A frame was seen on the wire or created by shadowcat; recorded before any verdict on it.
    Frame(Box<Frame>),
    /// A frame was held.
    Held(Held),
    /// An interceptor gave its verdict on a frame. A plain pass is not recorded.
    Ruled(Ruled),
    /// A frame was sent on, or will never be.
    Sent(Sent),
    /// Facts about one side of the session were learnt.
    Facts(Box<Facts>),
    /// A remark by a person or by the engine.
    Note(Note),
    /// Records were lost.
    Gap(Gap),
    /// A long-lived lane, such as a stream of server-sent events, ended.
    Ended(Ended),
    /// A session ended.
    Closed(Closed),
    /// The text of a held frame was changed; the frame stays held.
    Amended(Box<Amended>),
    /// A record of a kind that this version does not know, kept as its line.
    Unknown(Unknown),
}

/// The beginning of a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opened {
    /// The name of the server that people see.
    pub name: String,
    /// The command line of a stdio server, or the URL of an HTTP one.
    pub target: Vec<String>,
    /// The working directory of a stdio server.
    pub directory: Option<String>,
    /// The server's process id on this machine.
    pub pid: Option<u32>,
    /// `true` if the client is shadowcat's own.
    pub own_client: bool,
}

/// The hold of a frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// The held frame.
    pub frame: Seq,
    /// The breakpoint or rule that holds it; [`HELD_BY_ORDER`] if it waits behind another held frame.
    pub by: Arc<str>,
}

/// Author recorded for the hold of a frame that only waits behind an earlier held frame.
pub const HELD_BY_ORDER: &str = "order";

/// Author recorded for decisions made at the screen.
pub const BY_PERSON: &str = "person";

/// A verdict and its author.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ruled {
    /// The frame that was ruled on.
    pub frame: Seq,
    /// The interceptor that gave the verdict, or [`BY_PERSON`].
    pub by: Arc<str>,
    /// The kind of verdict.
    pub verdict: VerdictKind,
    /// The reason, if the author gave one.
    pub why: Option<String>,
}

/// The kinds of verdicts, with their words on tapes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum VerdictKind {
    /// Forward the frame.
    Forward,
    /// Forward another frame in its place.
    Replace,
    /// Answer the request in place of its receiver.
    Answer,
    /// Drop the frame.
    Drop,
    /// Hold the frame until a decision.
    Hold,
    /// Forward the frame later.
    Delay,
    /// Drop the frame, and close both ends of its connection.
    Close,
}

/// The end of a frame's way through the engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sent {
    /// The frame.
    pub frame: Seq,
    /// The outcome.
    pub outcome: Outcome,
    /// The time for which the frame was held in all, if it was.
    pub held: Option<Duration>,
    /// The true length in bytes of a frame that was recorded truncated.
    pub length: Option<u64>,
    /// The reason why the frame was dropped.
    pub why: Option<String>,
}

/// The outcome of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// The bytes were written to the other side.
    Forwarded,
    /// The frame was not forwarded; another frame may have gone in its place.
    Dropped,
    /// Shadowcat answered the frame.
    Answered,
    /// The sender cancelled the frame while it was held.
    Withdrawn,
}

/// The facts that were learnt about one side.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// The side, named by the direction in which it sends.
    pub side: Direction,
    /// The era that the side speaks.
    pub era: Option<Era>,
    /// The protocol version that the side named, as spelled.
    pub version: Option<String>,
    /// The name of its program.
    pub name: Option<String>,
    /// The version of its program.
    pub release: Option<String>,
    /// The capabilities of the side as JSON text.
    pub capabilities: Option<String>,
}

/// A remark by a person or by the engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    /// The frame that the note is about, if any.
    pub frame: Option<Seq>,
    /// The letter of a note that is a bookmark of its frame.
    pub mark: Option<char>,
    /// The severity of the note.
    pub level: Level,
    /// The author: `shadowcat`, or a person.
    pub by: Arc<str>,
    /// The text of the note.
    pub text: String,
}

/// The severity of a note.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// For information only.
    Info,
    /// Worth attention.
    Warning,
    /// A failure.
    Error,
}

/// A range of records that are lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gap {
    /// The first lost record.
    pub first: Seq,
    /// The last lost record.
    pub last: Seq,
}

impl Gap {
    /// Returns the number of records in all gaps; gaps may overlap.
    pub fn total(gaps: impl IntoIterator<Item = Self>) -> u64 {
        let mut gaps: Vec<Self> = gaps.into_iter().collect();
        gaps.sort_by_key(|gap| gap.first);
        let mut counted = 0;
        let mut total = 0;
        for Self { first, last } in gaps {
            total += (last + 1).saturating_sub(first.max(counted + 1));
            counted = last.max(counted);
        }
        total
    }
}

/// The end of a lane.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    /// The lane that ended.
    pub lane: LaneId,
    /// The reason, unless the peer ended the lane regularly.
    pub why: Option<String>,
}

/// The end of a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Closed {
    /// The reason, for people.
    pub reason: String,
    /// The way in which the server's process ended, if it has one.
    pub exit: Option<Exit>,
}

/// The way in which a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Exit {
    /// The exit code.
    Code(i32),
    /// The number of the signal that killed the process.
    Signal(i32),
}

/// The change of a held frame: `message` is forwarded in its place once the frame is accepted.
#[derive(Debug, Clone)]
pub struct Amended {
    /// The held frame.
    pub frame: Seq,
    /// The author of the change.
    pub by: Arc<str>,
    /// The new message, without a terminator.
    pub message: Message,
}

/// A record that a newer version of the program wrote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unknown {
    /// The kind that the line names (member `r`).
    pub kind: Arc<str>,
    /// The whole line without its terminator, as it stands on the tape.
    pub line: Bytes,
}

words!(VerdictKind {
    Forward = "forward",
    Replace = "replace",
    Answer = "answer",
    Drop = "drop",
    Hold = "hold",
    Delay = "delay",
    Close = "close",
});
words!(Outcome { Forwarded = "forwarded", Dropped = "dropped", Answered = "answered", Withdrawn = "withdrawn" });
words!(Level { Info = "info", Warning = "warning", Error = "error" });

impl Record {
    /// Returns the frame if this record is one.
    pub fn frame(&self) -> Option<&Frame> {
        match &self.body {
            Body::Frame(frame) => Some(frame),
            _ => None,
        }
    }

    /// Returns the approximate memory cost of keeping this record, in bytes.
    pub fn cost(&self) -> usize {
        const FIXED: usize = 256;
        FIXED
            + match &self.body {
                Body::Frame(frame) => {
                    frame.message.raw().len() + frame.http.as_ref().map_or(0, |http| http.cost())
                }
                Body::Amended(amended) => amended.message.raw().len(),
                Body::Unknown(unknown) => unknown.line.len(),
                _ => 0,
            }
    }
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Code(code) => write!(f, "exited {code}"),
            Self::Signal(number) => match nix::sys::signal::Signal::try_from(*number) {
                Ok(signal) => write!(f, "killed by signal {number} ({signal})"),
                Err(_) => write!(f, "killed by signal {number}"),
            },
        }
    }
}
