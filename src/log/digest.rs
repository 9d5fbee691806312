//! What the fold of a log needs to know of a frame, without its message. The index of a tape keeps
//! it, so that a long tape opens without being parsed.

use std::borrow::Cow;

use super::record::{Channel, Flags, Frame, FrameKind, LaneId, Link, Origin, Role, Seq};
use crate::mcp::{Direction, Quirks};

/// A frame in short. `N` is what names a text: the text itself, or its place in a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Digest<N> {
    pub lane: LaneId,
    pub direction: Direction,
    pub kind: FrameKind,
    pub origin: Origin,
    pub link: Link,
    /// The request that it answers; of a batch, that its first element answers.
    pub reply_to: Option<Seq>,
    /// The flags of the message or of all elements of a batch.
    pub flags: Flags,
    pub quirks: Quirks,
    /// The message's own method, or what HTTP said.
    pub method: Option<N>,
    pub target: Option<N>,
    /// Bytes of the message.
    pub size: u64,
    pub is_error: bool,
    /// Whether it asks for a later page of a list.
    pub pages_on: bool,
    /// Whether secrets were taken out of it.
    pub is_redacted: bool,
    pub http: Option<HttpDigest>,
}

/// The HTTP side of a frame in short.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HttpDigest {
    /// The lane of the request.
    pub exchange: LaneId,
    pub status: Option<u16>,
    /// Whether it came on a stream of events.
    pub stream: bool,
    /// Whether it is an event of that stream, not its opening.
    pub event: bool,
}

impl<'a> Digest<Cow<'a, str>> {
    /// The digest of `frame`.
    pub fn of(frame: &'a Frame) -> Self {
        let lead = frame.links().first().copied().unwrap_or_default();
        let http = frame.http.as_deref();
        let spoken = http.filter(|_| frame.channel == Channel::Http);
        let refused = spoken.is_some_and(|http| http.status.is_some_and(|status| status >= 400));
        Self {
            lane: frame.lane,
            direction: frame.direction,
            kind: frame.kind(),
            origin: frame.origin,
            link: frame.link,
            reply_to: lead.to.filter(|_| matches!(lead.role, Role::Response | Role::InputRequired)),
            flags: frame.links().iter().fold(Flags::default(), |all, link| all.with(link.flags)),
            quirks: frame.message.quirks(),
            method: match spoken {
                Some(http) => Some(http.summary().into()),
                None => frame.message.method().map(Cow::Borrowed),
            },
            target: frame.message.target(),
            size: frame.message.raw().len() as u64,
            is_error: refused || frame.message.is_error(),
            pages_on: frame.message.param(&["cursor"]).is_some(),
            is_redacted: !frame.redacted.is_empty(),
            http: http.map(|http| HttpDigest {
                exchange: http.exchange,
                status: http.status,
                stream: http.stream,
                event: http.event.is_some(),
            }),
        }
    }
}

impl<N> Digest<N> {
    /// The same with its texts named otherwise.
    pub fn named<M>(self, method: Option<M>, target: Option<M>) -> Digest<M> {
        Digest {
            lane: self.lane,
            direction: self.direction,
            kind: self.kind,
            origin: self.origin,
            link: self.link,
            reply_to: self.reply_to,
            flags: self.flags,
            quirks: self.quirks,
            method,
            target,
            size: self.size,
            is_error: self.is_error,
            pages_on: self.pages_on,
            is_redacted: self.is_redacted,
            http: self.http,
        }
    }
}
