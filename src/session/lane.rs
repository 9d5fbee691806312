//! Lanes: the ordered one-way streams that a session is made of, and what arrives on them.

use std::sync::Arc;

use bytes::Bytes;

use crate::clock::Stamp;
use crate::log::http::Http;
use crate::log::operation::Correlation;
use crate::log::record::{Channel, Frame, LaneId, OpId, Seq};
use crate::mcp::{Direction, Message, sse};
use crate::transport::WriterQueue;

/// What comes back when a frame's bytes were written.
#[derive(Debug)]
pub struct Receipt {
    pub frame: Seq,
    pub(super) held_since: Option<Stamp>,
    /// The true length of a frame that was recorded truncated.
    pub(super) length: Option<u64>,
    /// Whether the bytes are those that arrived.
    pub as_it_came: bool,
    /// Whether HTTP headers that repeat the body are to stay as they came.
    pub keeps_headers: bool,
}

/// A lane to be opened.
pub struct Lane {
    pub direction: Direction,
    pub channel: Channel,
    /// Where its frames go.
    pub forward: Arc<WriterQueue<Receipt>>,
    /// Where answers of ours to its frames go.
    pub back: Option<Arc<WriterQueue<Receipt>>>,
    pub scope: Scope,
    pub form: Form,
    pub correlation: Correlation,
    /// Whether messages of ours may be sent on it.
    pub open_to_us: bool,
}

/// Where the ids of a lane's messages are unique.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// In the session.
    Session,
    /// In the exchange that this lane begins.
    Exchange,
    /// In the exchange that the lane named began.
    Of(LaneId),
}

/// The form in which messages travel on a lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// Lines that end with a line feed.
    Line,
    /// A body of its own each.
    Body,
    /// Server-sent events.
    Event,
}

/// Something that arrived on a lane, or was made by us for one.
#[derive(Debug)]
pub struct Item {
    pub message: Message,
    pub channel: Channel,
    pub http: Option<Box<Http>>,
    /// The bytes to pass on, where they are not those of the message.
    pub wire: Option<Bytes>,
}

/// What became of an item that arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Arrived {
    /// Its frame.
    pub seq: Seq,
    /// The operation it belongs to.
    pub op: Option<OpId>,
}

pub(super) struct OpenLane {
    pub lane: Lane,
    pub ended: bool,
}

impl Lane {
    /// A lane of lines, as a stdio server has one each way.
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
            form: Form::Line,
            correlation: Correlation::Presumed,
            open_to_us: true,
        }
    }

    /// The lane that ids are unique in, where it is not the whole session; `own` is this lane.
    pub(super) fn exchange(&self, own: LaneId) -> Option<LaneId> {
        match self.scope {
            Scope::Session => None,
            Scope::Exchange => Some(own),
            Scope::Of(lane) => Some(lane),
        }
    }
}

impl Form {
    /// What ends a message that we make.
    pub(super) fn terminator(self) -> &'static [u8] {
        match self {
            Self::Line => b"\n",
            Self::Body | Self::Event => b"",
        }
    }

    /// The bytes of a frame that did not arrive as it is.
    pub(super) fn dress(self, frame: &Frame) -> Bytes {
        match (self, frame.http.as_ref().and_then(|http| http.event.as_ref())) {
            (Self::Event, Some(event)) => event.raw.clone(),
            (Self::Event, None) => sse::compose(frame.message.raw()),
            (Self::Line | Self::Body, _) => frame.message.raw().clone(),
        }
    }
}

impl Item {
    /// A message that travels as its own bytes.
    pub fn message(message: Message) -> Self {
        Self { message, channel: Channel::Main, http: None, wire: None }
    }
}
