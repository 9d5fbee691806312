//! Records: the facts of which everything shown is derived.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::words::words;
use crate::clock::Stamp;
use crate::mcp::{Direction, Era};

pub use super::frame::{Cause, Channel, Flags, Frame, FrameKind, Link, Origin, Role};

/// The position of a record in its log, counted from 1. A frame is named by it.
pub type Seq = u64;

/// A session of an engine, counted from 1.
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

/// A lane of a session: one ordered one-way stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LaneId(pub u32);

/// An operation: a request with all that belongs to it. Counted from 1 over the whole log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OpId(pub u32);

/// One fact.
#[derive(Debug, Clone)]
pub struct Record {
    pub seq: Seq,
    pub at: Stamp,
    pub session: SessionId,
    pub body: Body,
}

/// What happened.
#[derive(Debug, Clone)]
pub enum Body {
    /// A session began.
    Opened(Opened),
    /// Something was seen on the wire or made by us; recorded before anyone ruled on it.
    Frame(Box<Frame>),
    /// A frame was stopped.
    Held(Held),
    /// An interceptor gave its verdict on a frame; a plain pass is not worth a record.
    Ruled(Ruled),
    /// A frame's way ended.
    Sent(Sent),
    /// Something was learnt about a side of the session.
    Facts(Box<Facts>),
    /// A remark by a person or by the engine.
    Note(Note),
    /// Records were lost.
    Gap(Gap),
    /// A lane ended that was open for a while: a stream of events.
    Ended(Ended),
    /// A session ended.
    Closed(Closed),
}

/// How a session began.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opened {
    /// What people call the server.
    pub name: String,
    /// The command line of a stdio server, or the URL of an HTTP one.
    pub target: Vec<String>,
    /// The working directory of a stdio server.
    pub directory: Option<String>,
    /// The server's process id on this machine.
    pub pid: Option<u32>,
    /// Whether the client is shadowcat's own.
    pub own_client: bool,
}

/// A frame was stopped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    pub frame: Seq,
    /// The breakpoint or rule that stopped it; `order` when it waits behind another hold.
    pub by: Arc<str>,
}

/// Who stops a frame only because an earlier one is held.
pub const HELD_BY_ORDER: &str = "order";

/// Who decides for a person.
pub const BY_PERSON: &str = "person";

/// A verdict and who gave it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ruled {
    pub frame: Seq,
    pub by: Arc<str>,
    pub verdict: VerdictKind,
    /// Why, where the one who ruled said so.
    pub why: Option<String>,
}

/// The words for verdicts on tapes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum VerdictKind {
    Forward,
    Replace,
    Answer,
    Drop,
    Hold,
    Delay,
    Close,
}

/// How a frame's way ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sent {
    pub frame: Seq,
    pub outcome: Outcome,
    /// How long it was held in all.
    pub held: Option<Duration>,
    /// The true length in bytes of a frame that was recorded truncated.
    pub length: Option<u64>,
    /// Why it was dropped.
    pub why: Option<String>,
}

/// What became of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// Its bytes were written to the other side.
    Forwarded,
    /// Nobody gets it; another frame may go in its place.
    Dropped,
    /// We answered it.
    Answered,
    /// Its sender cancelled it while it was held.
    Withdrawn,
}

/// What was learnt about one side.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// The side, named by the direction in which it sends.
    pub side: Direction,
    pub era: Option<Era>,
    pub version: Option<String>,
    pub name: Option<String>,
    pub release: Option<String>,
    /// Its capabilities as JSON text.
    pub capabilities: Option<String>,
}

/// A remark.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    pub frame: Option<Seq>,
    /// The letter that makes it a bookmark of its frame.
    pub mark: Option<char>,
    pub level: Level,
    /// Who says it: `shadowcat`, or a person.
    pub by: Arc<str>,
    pub text: String,
}

/// How much a note matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    Info,
    Warning,
    Error,
}

/// Records that are gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gap {
    pub first: Seq,
    pub last: Seq,
}

impl Gap {
    /// How many records are missing in all; gaps may overlap.
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
    pub lane: LaneId,
    /// Why, where it was not its peer that ended it as it should.
    pub why: Option<String>,
}

/// How a session ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Closed {
    pub reason: String,
    pub exit: Option<Exit>,
}

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Exit {
    Code(i32),
    Signal(i32),
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
    /// The frame, if this record is one.
    pub fn frame(&self) -> Option<&Frame> {
        match &self.body {
            Body::Frame(frame) => Some(frame),
            _ => None,
        }
    }

    /// Bytes of memory that keeping this record costs, roughly.
    pub fn cost(&self) -> usize {
        const FIXED: usize = 256;
        let frame =
            |frame: &Frame| frame.message.raw().len() + frame.http.as_ref().map_or(0, |http| http.cost());
        FIXED + self.frame().map_or(0, frame)
    }
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Code(code) => write!(f, "exited {code}"),
            Self::Signal(signal) => write!(f, "killed by signal {signal}"),
        }
    }
}
