//! Frames: what is seen on the wire, or made by us.

use std::sync::Arc;

use super::http::Http;
use super::record::{LaneId, OpId, Seq};
use super::words::words;
use crate::mcp::{Direction, Kind, Message};

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
    /// What was taken out of it since: the kinds of secrets.
    pub redacted: Box<[Arc<str>]>,
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

/// What a frame is, in the word of the query language.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FrameKind {
    Request,
    Response,
    Notification,
    Batch,
    /// A line of the main stream that is no message.
    Invalid,
    Stderr,
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
    /// Of a request by the server: the client's operation in whose correlation it asks.
    pub cause: Option<Cause>,
    pub flags: Flags,
}

/// The operation in whose correlation the other side asks for something.
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

    /// The flags as a number, for an index.
    pub fn bits(self) -> u8 {
        self.0
    }

    /// The flags that [`Flags::bits`] gave.
    pub fn from_bits(bits: u8) -> Self {
        Self(bits & 15)
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

words!(Channel { Main = "main", Stderr = "stderr", Http = "http" });
words!(FrameKind {
    Request = "req",
    Response = "resp",
    Notification = "notify",
    Batch = "batch",
    Invalid = "invalid",
    Stderr = "stderr",
    Http = "http",
});
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
    pub fn kind(&self) -> FrameKind {
        match (self.channel, self.message.kind()) {
            (Channel::Stderr, _) => FrameKind::Stderr,
            (Channel::Http, _) => FrameKind::Http,
            (Channel::Main, Kind::Request { .. }) => FrameKind::Request,
            (Channel::Main, Kind::Response { .. } | Kind::Failure { .. }) => FrameKind::Response,
            (Channel::Main, Kind::Notification { .. }) => FrameKind::Notification,
            (Channel::Main, Kind::Batch(_)) => FrameKind::Batch,
            (Channel::Main, Kind::Opaque(_)) => FrameKind::Invalid,
        }
    }

    /// The links of the message or of its elements.
    pub fn links(&self) -> &[Link] {
        if self.elements.is_empty() { std::slice::from_ref(&self.link) } else { &self.elements }
    }
}
