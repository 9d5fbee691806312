//! Records: the facts of which everything shown is derived.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::http::Http;
use crate::clock::Stamp;
use crate::mcp::{Direction, Era, Message};

/// The position of a record in its log, counted from 1. A frame is named by it.
pub type Seq = u64;

/// A session of an engine, counted from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
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

/// One thing seen on the wire, or made by us.
#[derive(Debug, Clone)]
pub struct Frame {
    pub lane: LaneId,
    pub direction: Direction,
    pub channel: Channel,
    pub origin: Origin,
    pub message: Message,
    pub link: Link,
    /// The links of a batch's elements, in their order; empty for any other message.
    pub elements: Vec<Link>,
    /// The HTTP exchange it was part of.
    pub http: Option<Box<Http>>,
}

/// Which kind of stream a frame came through.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Channel {
    /// The protocol's own stream.
    Main,
    /// The server's stderr: free text, never protocol.
    Stderr,
    /// What HTTP says without a message: a status, a keep-alive, the opening of a stream.
    Http,
}

/// Where a frame came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Origin {
    Wire,
    /// Sent in the place of the frame named.
    Replaced(Seq),
    /// An answer made by us to the frame named.
    Answered(Seq),
    /// Made by us without anything on the wire asking for it.
    Injected,
    /// Sent again from a tape.
    Replayed,
    /// The frame named, with ids rewritten.
    Remapped(Seq),
}

/// What a frame belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Link {
    pub op: Option<OpId>,
    pub role: Role,
    /// The request that a response answers or a cancellation ends, or the leg that a retry continues.
    pub to: Option<Seq>,
    /// Of a request by the server: the client's operation in whose course it asks.
    pub cause: Option<Cause>,
    pub flags: Flags,
}

/// The operation in whose course the other side asks for something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cause {
    pub op: OpId,
    /// Nothing in the messages says so: it was the only call in flight that may ask.
    pub presumed: bool,
}

/// What part a message plays in its operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
pub enum Role {
    #[default]
    None,
    Request,
    /// A request that continues an operation after `input_required` (2026-07-28, patterns/mrtr).
    Retry,
    Progress,
    Cancel,
    /// A notification of a subscription.
    Event,
    /// A response that asks for input; the operation goes on.
    InputRequired,
    Response,
}

/// What is wrong with a frame's place in its operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
pub struct Flags(u8);

impl Flags {
    /// A response after its request was cancelled.
    pub const LATE: Self = Self(1);
    /// A response without a request.
    pub const ORPHAN: Self = Self(2);
    /// A request whose id is in flight already, or a second response.
    pub const DUPLICATE: Self = Self(4);
    /// A response that spells the id differently than its request.
    pub const RESPELLED: Self = Self(8);

    const NAMES: [(Self, &'static str); 4] = [
        (Self::LATE, "late"),
        (Self::ORPHAN, "orphan"),
        (Self::DUPLICATE, "duplicate"),
        (Self::RESPELLED, "respelled"),
    ];

    pub fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    #[must_use]
    pub fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// The words of tapes and of the query language.
    pub fn words(self) -> impl Iterator<Item = &'static str> {
        Self::NAMES.into_iter().filter(move |(flag, _)| self.has(*flag)).map(|(_, word)| word)
    }

    /// The flag that `word` names.
    pub fn parse(word: &str) -> Option<Self> {
        Self::NAMES.into_iter().find(|(_, name)| *name == word).map(|(flag, _)| flag)
    }
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

/// A verdict and who gave it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ruled {
    pub frame: Seq,
    pub by: Arc<str>,
    pub verdict: Ruling,
    /// Why, where the one who ruled said so.
    pub why: Option<String>,
}

/// The words for verdicts on tapes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Ruling {
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

macro_rules! words {
    ($type:ty { $($variant:ident = $word:literal),+ $(,)? }) => {
        impl $type {
            /// The word of tapes and of the query language.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word),+ }
            }

            /// What `word` names.
            pub fn parse(word: &str) -> Option<Self> {
                match word { $($word => Some(Self::$variant),)+ _ => None }
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}

words!(Ruling {
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
words!(Channel { Main = "main", Stderr = "stderr", Http = "http" });
words!(Role {
    None = "none",
    Request = "request",
    Retry = "retry",
    Progress = "progress",
    Cancel = "cancel",
    Event = "event",
    InputRequired = "input_required",
    Response = "response",
});

impl Origin {
    /// The word of tapes and of the query language.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Wire => "wire",
            Self::Replaced(_) => "replaced",
            Self::Answered(_) => "answered",
            Self::Injected => "injected",
            Self::Replayed => "replayed",
            Self::Remapped(_) => "remapped",
        }
    }

    /// The frame it stands for or answers.
    pub const fn of(self) -> Option<Seq> {
        match self {
            Self::Replaced(seq) | Self::Answered(seq) | Self::Remapped(seq) => Some(seq),
            Self::Wire | Self::Injected | Self::Replayed => None,
        }
    }

    /// The origin that `word` names, with the frame it refers to.
    pub fn parse(word: &str, of: Option<Seq>) -> Option<Self> {
        match (word, of) {
            ("wire", _) => Some(Self::Wire),
            ("injected", _) => Some(Self::Injected),
            ("replayed", _) => Some(Self::Replayed),
            ("replaced", Some(seq)) => Some(Self::Replaced(seq)),
            ("answered", Some(seq)) => Some(Self::Answered(seq)),
            ("remapped", Some(seq)) => Some(Self::Remapped(seq)),
            _ => None,
        }
    }
}

impl Frame {
    /// The word of the query language: `req`, `resp`, `notify`, `batch`, `invalid`, `stderr` or
    /// `http`.
    pub fn kind(&self) -> &'static str {
        match self.channel {
            Channel::Stderr => "stderr",
            Channel::Http => "http",
            Channel::Main => self.message.kind().as_str(),
        }
    }

    /// The links of the message or of its elements.
    pub fn links(&self) -> &[Link] {
        if self.elements.is_empty() { std::slice::from_ref(&self.link) } else { &self.elements }
    }
}

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
