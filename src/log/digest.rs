//! The digest of a frame: all that the fold of a log needs of it, without its message. The index of a
//! tape stores digests, so that a long tape opens without being parsed.

use std::borrow::Cow;

use super::record::{Channel, Flags, Frame, FrameKind, LaneId, Link, Origin, Role, Seq};
use crate::mcp::{Direction, Quirks};

/// The digest of a frame. `N` stands for a text: the text itself, or its position in a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Digest<N> {
    /// The lane that the frame came through.
    pub lane: LaneId,
    /// The direction of the frame.
    pub direction: Direction,
    /// The kind of the frame.
    pub kind: FrameKind,
    /// The source of the frame.
    pub origin: Origin,
    /// The place of the frame in its operation.
    pub link: Link,
    /// The request that the frame answers; for a batch, the request that its first element answers.
    pub reply_to: Option<Seq>,
    /// The flags of the message, or those of all elements of a batch together.
    pub flags: Flags,
    /// The oddities of the message.
    pub quirks: Quirks,
    /// The message's own method, or the summary of a frame that is HTTP only.
    pub method: Option<N>,
    /// The target of the method, such as the name of a tool.
    pub target: Option<N>,
    /// Length of the message in bytes, terminator included.
    pub size: u64,
    /// `true` for a failure: an HTTP status from 400 on, an error response, or a tool result with `isError`.
    pub is_error: bool,
    /// `true` for a request of a later page of a list: it has a `cursor`.
    pub pages_on: bool,
    /// `true` if secrets were removed from the frame.
    pub is_redacted: bool,
    /// The HTTP side of the frame; `None` for other transports.
    pub http: Option<HttpDigest>,
}

/// The digest of the HTTP side of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HttpDigest {
    /// The lane of the request, which identifies the exchange.
    pub exchange: LaneId,
    /// The HTTP status of a response.
    pub status: Option<u16>,
    /// `true` if the frame came on a stream of server-sent events.
    pub stream: bool,
    /// `true` for an event of that stream, `false` for its opening.
    pub event: bool,
}

impl<'a> Digest<Cow<'a, str>> {
    /// Returns the digest of `frame`.
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
            pages_on: frame.message.param(&["cursor"]).is_some_and(|cursor| cursor != b"null"),
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
    /// Returns the digest with its texts replaced by `method` and `target`.
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
