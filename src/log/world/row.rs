//! Rows: a frame as a list shows it. A world may have a million rows, so they are packed, and data that
//! only few frames have is kept beside them.

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use crate::clock::Stamp;
use crate::log::digest::Digest;
use crate::log::record::{Channel, Flags, FrameKind, LaneId, OpId, Origin, Outcome, Role, Seq, SessionId};
use crate::mcp::{Direction, Quirks};

/// An interned text, such as the name of a method.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Name(NonZeroU32);

/// The interned texts of a world.
#[derive(Debug, Default)]
pub struct Names {
    texts: Vec<Arc<str>>,
    known: HashMap<Arc<str>, Name>,
}

impl Names {
    /// Interns `text`, and returns its name.
    pub fn intern(&mut self, text: &str) -> Name {
        if let Some(name) = self.known.get(text) {
            return *name;
        }
        let text: Arc<str> = text.into();
        self.texts.push(Arc::clone(&text));
        let number = u32::try_from(self.texts.len()).ok().and_then(NonZeroU32::new);
        let name = Name(number.unwrap_or(NonZeroU32::MAX));
        self.known.insert(text, name);
        name
    }

    /// Returns the name of `text` if it is interned.
    pub fn find(&self, text: &str) -> Option<Name> {
        self.known.get(text).copied()
    }

    /// Returns the text of a name.
    pub fn text(&self, name: Name) -> Option<&str> {
        self.texts.get(name.0.get() as usize - 1).map(|text| &**text)
    }
}

/// A frame, with what a list shows of it.
#[derive(Debug, Clone)]
pub struct Row {
    /// The position of the frame.
    pub seq: Seq,
    /// The time at which the frame was recorded.
    pub at: Stamp,
    /// The length of the message in bytes.
    pub size: u64,
    /// Nanoseconds from the request to this response; [`NONE`] if the frame is not a response.
    duration: u64,
    /// The session of the frame.
    pub session: SessionId,
    /// The lane that the frame came through.
    pub lane: LaneId,
    /// The operation; 0 for none.
    op: u32,
    /// The method; for a response, the method of its request.
    pub method: Option<Name>,
    /// The target, such as the name of a tool; for a response, the target of its request.
    pub target: Option<Name>,
    /// Distance back to the frame that this one stands for or answers; 0 for none.
    of: u32,
    /// The index of the operation's next row; 0 if there is none.
    pub(super) next: u32,
    /// The HTTP status of a response; 0 for none.
    status: u16,
    /// The direction of the frame.
    pub direction: Direction,
    /// The kind of the frame.
    pub kind: FrameKind,
    origin: OriginKind,
    /// The role of the message in its operation.
    pub role: Role,
    /// The defects of its place in the operation.
    pub flags: Flags,
    /// The oddities of the message.
    pub quirks: Quirks,
    /// The frame's state.
    pub state: FrameState,
    /// `true` if the frame came on a stream of server-sent events.
    pub stream: bool,
    /// `true` for a failure: an HTTP status from 400 on, an error response, or a tool result with `isError`.
    pub is_error: bool,
    /// `true` if the frame was replaced by another one, or is a replacement.
    pub edited: bool,
    /// `true` for a request of a later page of a list.
    pub pages_on: bool,
    /// `true` if secrets were removed from the frame.
    pub is_redacted: bool,
}

const NONE: u64 = u64::MAX;

/// The kind of an [`Origin`], without the frame that it refers to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum OriginKind {
    Wire,
    Replaced,
    Answered,
    Injected,
    Replayed,
    Remapped,
}

/// The state of a frame on its way through the engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FrameState {
    /// Arrived, and neither written nor decided on yet.
    Moving,
    /// Held, since [`Handling::since`].
    Held,
    /// Forwarded, dropped, answered or withdrawn.
    Ended(Outcome),
}

/// The handling of a frame that was held, amended or ruled on, which few frames are.
#[derive(Debug, Clone, Copy, Default)]
pub struct Handling {
    /// The beginning of the hold, while the frame is held.
    pub since: Option<Stamp>,
    /// The time for which the frame was held in all.
    pub held: Option<Duration>,
    /// The author of the newest hold, change or verdict.
    pub by: Option<Name>,
    /// The reason of a verdict: the query of a breakpoint, or a rule's reason.
    pub why: Option<Name>,
    /// The record of its newest amendment ([`Body::Amended`](crate::log::record::Body::Amended)).
    pub amended: Option<Seq>,
}

impl Row {
    /// Creates the row of a frame that has just arrived.
    pub(super) fn new(
        seq: Seq,
        at: Stamp,
        session: SessionId,
        digest: &Digest<Name>,
        duration: Option<Duration>,
    ) -> Self {
        let of = digest.origin.of().map_or(0, |of| seq.saturating_sub(of));
        Self {
            seq,
            at,
            size: digest.size,
            duration: duration
                .map_or(NONE, |duration| u64::try_from(duration.as_nanos()).unwrap_or(NONE - 1)),
            session,
            lane: digest.lane,
            op: digest.link.op.map_or(0, |op| op.0),
            method: digest.method,
            target: digest.target,
            of: u32::try_from(of).unwrap_or(0),
            next: 0,
            status: digest.http.and_then(|http| http.status).unwrap_or(0),
            direction: digest.direction,
            kind: digest.kind,
            origin: OriginKind::of(digest.origin),
            role: digest.link.role,
            flags: digest.flags,
            quirks: digest.quirks,
            state: FrameState::Moving,
            stream: digest.http.is_some_and(|http| http.stream),
            is_error: digest.is_error,
            edited: matches!(digest.origin, Origin::Replaced(_)),
            pages_on: digest.pages_on,
            is_redacted: digest.is_redacted,
        }
    }

    /// Returns the operation that the frame belongs to, if any.
    pub fn op(&self) -> Option<OpId> {
        (self.op > 0).then_some(OpId(self.op))
    }

    /// Returns the HTTP status of a response.
    pub fn status(&self) -> Option<u16> {
        (self.status > 0).then_some(self.status)
    }

    /// Returns the time from the request to this response.
    pub fn duration(&self) -> Option<Duration> {
        (self.duration != NONE).then(|| Duration::from_nanos(self.duration))
    }

    /// Returns the source of the frame.
    pub fn origin(&self) -> Origin {
        let of = self.seq - u64::from(self.of);
        match self.origin {
            OriginKind::Wire => Origin::Wire,
            OriginKind::Replaced => Origin::Replaced(of),
            OriginKind::Answered => Origin::Answered(of),
            OriginKind::Injected => Origin::Injected,
            OriginKind::Replayed => Origin::Replayed,
            OriginKind::Remapped => Origin::Remapped(of),
        }
    }

    /// Returns the kind of stream that the frame came through.
    pub fn channel(&self) -> Channel {
        match self.kind {
            FrameKind::Stderr => Channel::Stderr,
            FrameKind::Http => Channel::Http,
            _ => Channel::Main,
        }
    }
}

impl OriginKind {
    fn of(origin: Origin) -> Self {
        match origin {
            Origin::Wire => Self::Wire,
            Origin::Replaced(_) => Self::Replaced,
            Origin::Answered(_) => Self::Answered,
            Origin::Injected => Self::Injected,
            Origin::Replayed => Self::Replayed,
            Origin::Remapped(_) => Self::Remapped,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_small() {
        assert!(size_of::<Row>() <= 80, "{}: a million of them must fit", size_of::<Row>());
    }
}
