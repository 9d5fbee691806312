//! Frames, each of which was seen on the wire or created by shadowcat.

use std::sync::Arc;

use super::http::Http;
use super::record::{LaneId, OpId, Seq};
use super::words::words;
use crate::mcp::{Direction, Kind, Message};

/// A message, line of text or HTTP event that was seen on the wire or created by shadowcat.
#[derive(Debug, Clone)]
pub struct Frame {
    /// The lane that the frame came through.
    pub lane: LaneId,
    /// The direction of the frame.
    pub direction: Direction,
    /// The kind of stream that the frame came through.
    pub channel: Channel,
    /// The source of the frame.
    pub origin: Origin,
    /// The message, with its bytes.
    pub message: Message,
    /// The place of the message in its operation.
    pub link: Link,
    /// The links of a batch's elements, in their order; empty for any other message.
    pub elements: Vec<Link>,
    /// The HTTP exchange that the frame belongs to, if it came over HTTP.
    pub http: Option<Box<Http>>,
    /// The kinds of secrets that were removed from the frame after it was recorded.
    pub redacted: Box<[Arc<str>]>,
}

/// The kind of stream that a frame came through.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Channel {
    /// The protocol's own stream.
    Main,
    /// The server's stderr: free text, never protocol.
    Stderr,
    /// HTTP without a message: a status, a keep-alive, the opening of a stream.
    Http,
}

/// The kind of a frame, as the query language names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FrameKind {
    /// A request (`req`).
    Request,
    /// A response, successful or not (`resp`).
    Response,
    /// A notification (`notify`).
    Notification,
    /// An array of messages (`batch`).
    Batch,
    /// A line of the main stream that is not a message.
    Invalid,
    /// A line of the server's stderr.
    Stderr,
    /// HTTP without a message.
    Http,
}

/// The source of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Origin {
    /// Read from the wire.
    Wire,
    /// Sent by shadowcat in place of the frame named.
    Replaced(Seq),
    /// Created by shadowcat as the answer to the frame named.
    Answered(Seq),
    /// Created by shadowcat without a frame that asked for it.
    Injected,
    /// Sent again from a tape.
    Replayed,
    /// The frame named, with its ids rewritten.
    Remapped(Seq),
}

/// The place of a message in its operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Link {
    /// The operation, if the message belongs to one.
    pub op: Option<OpId>,
    /// The role of the message in the operation.
    pub role: Role,
    /// The request that a response answers or a cancellation ends, or the leg that a retry continues.
    pub to: Option<Seq>,
    /// For a request by the server: the client's operation in whose course the server asks.
    pub cause: Option<Cause>,
    /// The defects of the message's place in its operation.
    pub flags: Flags,
}

/// The operation in whose course the other side asks for something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cause {
    /// The operation.
    pub op: OpId,
    /// `true` if no message states the relation: the operation was the only candidate in flight.
    pub presumed: bool,
}

/// The role of a message in its operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
pub enum Role {
    /// No role: the message belongs to no operation.
    #[default]
    None,
    /// The request that begins the operation.
    Request,
    /// A request that continues an operation after `input_required` (2026-07-28, patterns/mrtr).
    Retry,
    /// A progress notification.
    Progress,
    /// The notification that cancels the operation.
    Cancel,
    /// A notification of a subscription.
    Event,
    /// A response that asks for input; the operation continues.
    InputRequired,
    /// The response that ends the operation.
    Response,
}

/// The defects of a frame's place in its operation, as a set of flags.
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

    /// A response whose id is not that of its request, which its HTTP exchange tells.
    pub const MISMATCHED: Self = Self(16);

    const NAMES: [(Self, &'static str); 5] = [
        (Self::LATE, "late"),
        (Self::ORPHAN, "orphan"),
        (Self::DUPLICATE, "duplicate"),
        (Self::RESPELLED, "respelled"),
        (Self::MISMATCHED, "mismatched"),
    ];

    /// Returns `true` if all flags of `other` are set.
    pub fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Returns `true` if no flag is set.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Returns the union of two sets of flags.
    #[must_use]
    pub fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Returns the flags as a number, for an index.
    pub fn bits(self) -> u8 {
        self.0
    }

    /// Returns the flags of a number that [`Flags::bits`] returned; unknown bits are ignored.
    pub fn from_bits(bits: u8) -> Self {
        Self(bits & 31)
    }

    /// Returns the words of tapes and of the query language for the flags that are set.
    pub fn words(self) -> impl Iterator<Item = &'static str> {
        Self::NAMES.into_iter().filter(move |(flag, _)| self.has(*flag)).map(|(_, word)| word)
    }

    /// Returns the flag that `word` names.
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
    /// Returns the word of tapes and of the query language.
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

    /// Returns the frame that this one stands for or answers, if any.
    pub const fn of(self) -> Option<Seq> {
        match self {
            Self::Replaced(seq) | Self::Answered(seq) | Self::Remapped(seq) => Some(seq),
            Self::Wire | Self::Injected | Self::Replayed => None,
        }
    }

    /// Returns the origin that `word` names, with the frame that it refers to. Returns `None` for an
    /// unknown word, or if the frame is needed and missing.
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

impl FrameKind {
    /// Returns the kind of a frame that carries `message` on a stream of kind `channel`.
    pub fn of(channel: Channel, message: &Message) -> Self {
        match (channel, message.kind()) {
            (Channel::Stderr, _) => Self::Stderr,
            (Channel::Http, _) => Self::Http,
            (Channel::Main, Kind::Request { .. }) => Self::Request,
            (Channel::Main, Kind::Response { .. } | Kind::Failure { .. }) => Self::Response,
            (Channel::Main, Kind::Notification { .. }) => Self::Notification,
            (Channel::Main, Kind::Batch(_)) => Self::Batch,
            (Channel::Main, Kind::Opaque(_)) => Self::Invalid,
        }
    }
}

impl Frame {
    /// Returns the kind of the frame.
    pub fn kind(&self) -> FrameKind {
        FrameKind::of(self.channel, &self.message)
    }

    /// Returns the links of the elements of a batch, or the link of any other message.
    pub fn links(&self) -> &[Link] {
        if self.elements.is_empty() { std::slice::from_ref(&self.link) } else { &self.elements }
    }
}
