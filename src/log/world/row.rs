//! One frame as a list shows it. There may be a million of them, so a row is packed, and what few
//! frames have stands beside the rows.

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use crate::clock::Stamp;
use crate::log::digest::Digest;
use crate::log::record::{Channel, Flags, FrameKind, LaneId, OpId, Origin, Outcome, Role, Seq, SessionId};
use crate::mcp::{Direction, Quirks};

/// A name kept once, however many rows have it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Name(NonZeroU32);

/// The names of a world.
#[derive(Debug, Default)]
pub struct Names {
    texts: Vec<Arc<str>>,
    known: HashMap<Arc<str>, Name>,
}

impl Names {
    /// The name of `text`.
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

    /// The name of `text`, if any row has it.
    pub fn find(&self, text: &str) -> Option<Name> {
        self.known.get(text).copied()
    }

    /// The text of a name.
    pub fn text(&self, name: Name) -> Option<&str> {
        self.texts.get(name.0.get() as usize - 1).map(|text| &**text)
    }
}

/// One frame, as a list shows it.
#[derive(Debug, Clone)]
pub struct Row {
    pub seq: Seq,
    pub at: Stamp,
    /// Bytes on the wire.
    pub size: u64,
    /// Nanoseconds from the request to this response; [`NONE`] when it is none.
    duration: u64,
    pub session: SessionId,
    pub lane: LaneId,
    /// 0 for none.
    op: u32,
    /// The method, of a response that of its request.
    pub method: Option<Name>,
    pub target: Option<Name>,
    /// The frame that it stands for or answers, counted back from this one.
    of: u32,
    /// The place of the operation's next row; 0 when there is none.
    pub(super) next: u32,
    /// The HTTP status of a response; 0 for none.
    status: u16,
    pub direction: Direction,
    pub kind: FrameKind,
    origin: Origins,
    pub role: Role,
    pub flags: Flags,
    pub quirks: Quirks,
    pub state: FrameState,
    /// Whether it came on a stream of events.
    pub stream: bool,
    pub is_error: bool,
    /// Whether it went on changed, or stands for what was changed.
    pub edited: bool,
    /// Whether it asks for a later page of a list.
    pub pages_on: bool,
    /// Whether secrets were taken out of it.
    pub is_redacted: bool,
}

const NONE: u64 = u64::MAX;

/// [`Origin`] without the frame it names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Origins {
    Wire,
    Replaced,
    Answered,
    Injected,
    Replayed,
    Remapped,
}

/// Where a frame is on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FrameState {
    /// Arrived, and not yet written or decided.
    Moving,
    /// Stopped; [`Handling::since`] says when.
    Held,
    Ended(Outcome),
}

/// What only few frames have: they were held or ruled on.
#[derive(Debug, Clone, Copy, Default)]
pub struct Handling {
    /// When it was held first, while it is.
    pub since: Option<Stamp>,
    /// How long it was held in all.
    pub held: Option<Duration>,
    /// Who held or ruled on it last.
    pub by: Option<Name>,
    /// The breakpoint's query or the rule's reason, where it was held or ruled on.
    pub why: Option<Name>,
}

impl Row {
    /// The row of a frame that has just arrived.
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
            origin: Origins::of(digest.origin),
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

    pub fn op(&self) -> Option<OpId> {
        (self.op > 0).then_some(OpId(self.op))
    }

    /// The HTTP status, of a response.
    pub fn status(&self) -> Option<u16> {
        (self.status > 0).then_some(self.status)
    }

    /// From the request to this response.
    pub fn duration(&self) -> Option<Duration> {
        (self.duration != NONE).then(|| Duration::from_nanos(self.duration))
    }

    pub fn origin(&self) -> Origin {
        let of = self.seq - u64::from(self.of);
        match self.origin {
            Origins::Wire => Origin::Wire,
            Origins::Replaced => Origin::Replaced(of),
            Origins::Answered => Origin::Answered(of),
            Origins::Injected => Origin::Injected,
            Origins::Replayed => Origin::Replayed,
            Origins::Remapped => Origin::Remapped(of),
        }
    }

    pub fn channel(&self) -> Channel {
        match self.kind {
            FrameKind::Stderr => Channel::Stderr,
            FrameKind::Http => Channel::Http,
            _ => Channel::Main,
        }
    }
}

impl Origins {
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
