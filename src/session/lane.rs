//! Lanes, the ordered one-way streams of a session, and the items that arrive on them.

use std::sync::Arc;

use bytes::Bytes;

use crate::clock::Stamp;
use crate::intercept::ResponseHead;
use crate::log::http::Http;
use crate::log::operation::Correlation;
use crate::log::record::{Channel, Frame, LaneId, OpId, Seq};
use crate::mcp::{Direction, Message, sse};
use crate::transport::WriterQueue;

/// The receipt of a queued write: names the frame, so that its write can be recorded.
#[derive(Debug)]
pub struct Receipt {
    /// The frame whose bytes are written.
    pub frame: Seq,
    pub(super) held_since: Option<Stamp>,
    /// The true length in bytes of a frame that was recorded truncated.
    pub(super) length: Option<u64>,
    /// `true` if the bytes are those that arrived.
    pub as_it_came: bool,
    /// `true` if HTTP headers that repeat parts of the body stay as they came.
    pub keeps_headers: bool,
    /// The head of the HTTP response that begins with this write.
    pub head: Option<Box<ResponseHead>>,
    /// `true` if another write of the same HTTP body follows.
    pub more: bool,
}

/// A lane to be opened.
pub struct Lane {
    /// The direction of its frames.
    pub direction: Direction,
    /// The kind of stream.
    pub channel: Channel,
    /// The queue of the peer that its frames go to.
    pub forward: Arc<WriterQueue<Receipt>>,
    /// The queue of the peer that its frames come from, for our answers to them.
    pub back: Option<Arc<WriterQueue<Receipt>>>,
    /// The scope of its message ids.
    pub scope: Scope,
    /// The form of its messages on the wire.
    pub form: LaneForm,
    /// The call that requests of the server on it are related to.
    pub correlation: Correlation,
    /// `true` if messages of our own may be sent on it.
    pub open_to_us: bool,
}

/// The scope in which the ids of a lane's messages are unique.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// The session.
    Session,
    /// The exchange that this lane begins.
    Exchange,
    /// The exchange that the lane named began.
    Of(LaneId),
}

/// The form in which messages travel on a lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LaneForm {
    /// Lines that end with a line feed (stdio transport of every revision).
    Line,
    /// HTTP bodies.
    Body,
    /// Server-sent events.
    Event,
}

/// Something that arrived on a lane, or was made by us for one.
#[derive(Debug)]
pub struct LaneItem {
    /// The message, or text that is none.
    pub message: Message,
    /// The kind of stream.
    pub channel: Channel,
    /// The facts of its HTTP exchange.
    pub http: Option<Box<Http>>,
    /// The bytes to pass on, where they are not those of the message.
    pub wire: Option<Bytes>,
}

/// The record of an item that arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Arrived {
    /// The position of the frame.
    pub seq: Seq,
    /// The operation that it belongs to.
    pub op: Option<OpId>,
}

pub(super) struct OpenLane {
    pub lane: Lane,
    pub ended: bool,
}

impl Lane {
    /// Creates a lane of lines, as a stdio server has one in each direction.
    pub fn of_lines(
        direction: Direction,
        forward: &Arc<WriterQueue<Receipt>>,
        back: &Arc<WriterQueue<Receipt>>,
    ) -> Self {
        Self {
            direction,
            channel: Channel::Main,
            forward: Arc::clone(forward),
            back: Some(Arc::clone(back)),
            scope: Scope::Session,
            form: LaneForm::Line,
            correlation: Correlation::Presumed,
            open_to_us: true,
        }
    }

    /// Returns the lane whose exchange the ids are unique in, or `None` where that is the whole
    /// session; `own` is the number of this lane.
    pub(super) fn exchange(&self, own: LaneId) -> Option<LaneId> {
        match self.scope {
            Scope::Session => None,
            Scope::Exchange => Some(own),
            Scope::Of(lane) => Some(lane),
        }
    }
}

impl LaneForm {
    /// Returns the terminator of a message that we make.
    pub(super) fn terminator(self) -> &'static [u8] {
        match self {
            Self::Line => b"\n",
            Self::Body | Self::Event => b"",
        }
    }

    /// Returns the wire form of a frame that did not arrive in this form.
    pub(super) fn encode(self, frame: &Frame) -> Bytes {
        match (self, frame.http.as_ref().and_then(|http| http.event.as_ref())) {
            (Self::Event, Some(event)) => event.raw.clone(),
            (Self::Event, None) => sse::compose(frame.message.raw()),
            (Self::Line | Self::Body, _) => frame.message.raw().clone(),
        }
    }
}

impl LaneItem {
    /// Creates an item whose wire form is the bytes of the message.
    pub fn message(message: Message) -> Self {
        Self { message, channel: Channel::Main, http: None, wire: None }
    }
}
