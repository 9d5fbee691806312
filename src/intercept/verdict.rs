//! What an interceptor can say about a frame.

use std::future::Future;
use std::pin::Pin;

use bytes::Bytes;

use crate::log::record::VerdictKind;

/// What becomes of a frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Goes on unchanged.
    Pass,
    /// These go on in its place, each a whole line without its terminator. They may be anything,
    /// invalid JSON included: that is a test.
    Deliver(Vec<Outgoing>),
    /// It goes no further and its sender gets this.
    Answer(Bytes),
    /// It goes no further.
    Drop,
    /// It goes no further and both ends of its connection are closed.
    Close,
}

/// A line that goes on in the place of another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outgoing {
    pub line: Bytes,
    /// HTTP headers that repeat the body stay as they came: how a server takes the mismatch is a test.
    pub keeps_headers: bool,
}

/// A verdict now, from a person, or later.
pub enum Decision {
    Now(Verdict),
    /// Until a person (or a timeout, or the end of the session) decides.
    Hold,
    /// When the future is ready.
    Later(Pin<Box<dyn Future<Output = Verdict> + Send>>),
}

/// A decision and why.
pub struct Ruling {
    pub decision: Decision,
    pub why: Option<String>,
}

impl Verdict {
    /// This line goes on in its place.
    pub fn replace(line: Bytes) -> Self {
        Self::Deliver(vec![line.into()])
    }

    /// What is odd about it.
    pub fn remark(&self) -> Option<&'static str> {
        match self {
            Self::Deliver(all) if all.iter().any(|each| each.keeps_headers) => {
                Some("its headers stay as they came")
            }
            _ => None,
        }
    }

    /// The word for the log.
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

impl From<Bytes> for Outgoing {
    fn from(line: Bytes) -> Self {
        Self { line, keeps_headers: false }
    }
}

impl From<Verdict> for Ruling {
    fn from(verdict: Verdict) -> Self {
        Self { decision: Decision::Now(verdict), why: None }
    }
}

impl Ruling {
    /// A hold, with the reason that the screen shows.
    pub fn hold(why: impl Into<String>) -> Self {
        Self { decision: Decision::Hold, why: Some(why.into()) }
    }
}
