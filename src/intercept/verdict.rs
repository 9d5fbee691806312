//! The answers that an interceptor can give about a frame.

use std::future::Future;
use std::num::NonZeroU32;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::log::record::VerdictKind;

pub use crate::transport::Pace;

/// The fate of a frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// The frame goes on unchanged.
    Pass,
    /// The messages go on in the place of the frame, in this order. An empty list drops the frame.
    Deliver(Vec<Outgoing>),
    /// The frame goes no further and its sender gets these, in this order. Over HTTP they are one
    /// response, with the status and headers of the first.
    Answer(Vec<Outgoing>),
    /// The frame goes no further.
    Drop,
    /// The frame goes no further and both ends of its connection are closed.
    Close,
}

/// A message, or any other bytes, that an interceptor or a person sends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outgoing {
    /// The message without a terminator. Invalid JSON is allowed, for tests of the peer.
    pub line: Bytes,
    /// The bytes that end the message; those that are usual for its lane if `None`.
    pub terminator: Option<Bytes>,
    /// The speed at which the bytes are written; at once if `None`.
    pub pace: Option<Pace>,
    /// The head of the HTTP response that begins with this message: of an answer, or of an edited
    /// response. Without one an answer has status 200, and an edited response keeps its own head.
    pub head: Option<Box<ResponseHead>>,
    /// Set to keep HTTP headers that repeat parts of the body as they came, to test how a server
    /// takes the mismatch.
    pub keeps_headers: bool,
}

/// Status and headers of an HTTP response that we make (RFC 9110, sections 15 and 6.3).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResponseHead {
    /// The status code, 200 to 599.
    pub status: u16,
    /// Names and values of headers that are added; each replaces all headers of its name.
    pub headers: Vec<(Arc<str>, Arc<str>)>,
}

/// A verdict that an interceptor computes while the frame waits.
pub type PendingVerdict = Pin<Box<dyn Future<Output = Verdict> + Send>>;

/// A verdict now, by a person, or later.
pub enum Decision {
    /// The verdict is known.
    Now(Verdict),
    /// A person decides. With nobody attached, the frame is released after `patience`.
    Hold {
        /// Time that the frame waits while nobody is attached who can decide; zero releases it at
        /// once.
        patience: Duration,
    },
    /// The interceptor decides when the future is ready. Neither accept-all nor the last detach
    /// releases the frame before that.
    Later(PendingVerdict),
}

/// A decision and its reason.
pub struct Ruling {
    /// The decision.
    pub decision: Decision,
    /// The reason, as log and screen show it.
    pub why: Option<String>,
}

impl Verdict {
    /// Delivers `line` in the place of the frame.
    pub fn replace(line: Bytes) -> Self {
        Self::Deliver(vec![line.into()])
    }

    /// Answers with `line`.
    pub fn answer(line: Bytes) -> Self {
        Self::Answer(vec![line.into()])
    }

    /// Returns a remark for the log where the verdict does something unusual.
    pub fn remark(&self) -> Option<&'static str> {
        match self {
            Self::Deliver(all) if all.iter().any(|each| each.keeps_headers) => {
                Some("its headers were kept unchanged")
            }
            _ => None,
        }
    }

    /// Returns the kind that the log records.
    pub fn kind(&self) -> VerdictKind {
        match self {
            Self::Pass => VerdictKind::Forward,
            Self::Deliver(_) => VerdictKind::Replace,
            Self::Answer(_) => VerdictKind::Answer,
            Self::Drop => VerdictKind::Drop,
            Self::Close => VerdictKind::Close,
        }
    }
}

impl Outgoing {
    /// Sets the status and headers of the HTTP response that begins with this message.
    #[must_use]
    pub fn with_head(mut self, status: u16, headers: &[(&str, &str)]) -> Self {
        let headers = headers.iter().map(|(name, value)| (Arc::from(*name), Arc::from(*value))).collect();
        self.head = Some(Box::new(ResponseHead { status, headers }));
        self
    }

    /// Sets the speed at which the message is written.
    #[must_use]
    pub fn with_pace(mut self, bytes_per_second: NonZeroU32) -> Self {
        self.pace = Some(Pace { bytes_per_second });
        self
    }
}

impl From<Bytes> for Outgoing {
    fn from(line: Bytes) -> Self {
        Self { line, terminator: None, pace: None, head: None, keeps_headers: false }
    }
}

impl From<Verdict> for Ruling {
    fn from(verdict: Verdict) -> Self {
        Self { decision: Decision::Now(verdict), why: None }
    }
}

impl Ruling {
    /// Creates a hold with the reason that the screen shows; see [`Decision::Hold`] for `patience`.
    pub fn hold(why: impl Into<String>, patience: Duration) -> Self {
        Self { decision: Decision::Hold { patience }, why: Some(why.into()) }
    }

    /// Creates a ruling whose verdict comes later.
    pub fn later(verdict: impl Future<Output = Verdict> + Send + 'static) -> Self {
        Self { decision: Decision::Later(Box::pin(verdict)), why: None }
    }
}
