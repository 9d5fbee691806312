//! A frame on its way through the pipeline.

use std::sync::Arc;
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};

use crate::clock::Stamp;
use crate::intercept::{Chain, Pace, ResponseHead};
use crate::log::operation::Operation;
use crate::log::record::{Frame, LaneId, Link, OpId, Record, Role, Seq};
use crate::mcp::{Direction, Kind, Method};

/// A frame on its way through the pipeline.
#[derive(Clone)]
pub struct InFlight {
    /// The order in its lane: the position of the frame that arrived, whatever replaced it since.
    pub order: Seq,
    /// The lane on which the frame arrived.
    pub lane: LaneId,
    /// The record of the frame as it is now.
    pub record: Arc<Record>,
    /// The operation of each element of its message.
    pub operations: Vec<Option<Arc<Operation>>>,
    /// The chain that was in force when it arrived.
    pub chain: Arc<Chain>,
    /// The time at which the frame was first held.
    pub held_since: Option<Stamp>,
    /// The bytes to pass on, where they are not those of the message.
    pub wire: Option<Bytes>,
    /// The way in which it is to be sent.
    pub delivery: Delivery,
}

/// The way in which a frame that we made or changed is sent.
#[derive(Debug, Clone, Default)]
pub struct Delivery {
    /// The speed at which the bytes are written; at once if `None`.
    pub pace: Option<Pace>,
    /// The head of the HTTP response that begins with it.
    pub head: Option<Box<ResponseHead>>,
    /// `true` if another write of the same HTTP body follows.
    pub more: bool,
    /// `true` if HTTP headers that repeat parts of the body stay as they came.
    pub keeps_headers: bool,
}

impl InFlight {
    /// Returns the position of the frame as it is now.
    pub fn seq(&self) -> Seq {
        self.record.seq
    }

    /// Returns the frame as it is now.
    ///
    /// # Panics
    /// Never: an in-flight frame is only made from the record of a frame.
    pub fn frame(&self) -> &Frame {
        match self.record.frame() {
            Some(frame) => frame,
            None => unreachable!("an in-flight frame is made from the record of a frame"),
        }
    }

    /// Returns the operation of a message that is no batch.
    pub fn operation(&self) -> Option<&Arc<Operation>> {
        match self.frame().message.kind() {
            Kind::Batch(_) => None,
            _ => self.operations.first()?.as_ref(),
        }
    }

    /// Returns the time for which it has been held at `now`.
    pub fn held_for(&self, now: Stamp) -> Option<Duration> {
        self.held_since.map(|since| now.since(since))
    }

    /// Returns `true` if the message is a request.
    pub fn is_request(&self) -> bool {
        matches!(self.frame().message.kind(), Kind::Request { .. })
    }

    /// Returns the operations that the message, or the elements of a batch, ask for.
    pub fn requested(&self) -> impl Iterator<Item = OpId> + '_ {
        let asks = |link: &Link| link.op.filter(|_| link.role == Role::Request);
        self.frame().links().iter().filter_map(asks)
    }

    /// Returns, for each element of the message, whether it answers a request of ours.
    pub fn answers_ours(&self) -> impl Iterator<Item = bool> + '_ {
        let direction = self.frame().direction;
        self.operations.iter().map(move |operation| is_ours(operation.as_deref(), direction))
    }

    /// Returns a batch without the elements that answer requests of ours, or `None` if nothing is
    /// left, or the message is no batch.
    pub fn without_ours(&self) -> Option<Bytes> {
        let Kind::Batch(messages) = self.frame().message.kind() else { return None };
        let kept = messages.iter().zip(self.answers_ours()).filter(|(_, ours)| !ours);
        let rest = kept.map(|(message, _)| message.body()).collect::<Vec<_>>().join(&b","[..]);
        (!rest.is_empty()).then(|| [&b"["[..], &rest, b"]"].concat().into())
    }

    /// Returns `true` if both frames belong to a common operation.
    pub fn shares_operation(&self, other: &Self) -> bool {
        self.ops().any(|op| other.ops().any(|its| its == op))
    }

    /// Returns `true` if nothing on its lane may overtake the frame while it is held.
    pub fn freezes_lane(&self) -> bool {
        let frame = self.frame();
        // A client that lost its stream asks for the events after the last id that it saw, so events
        // with ids keep their order.
        if frame.http.as_ref().is_some_and(|http| http.event.as_ref().is_some_and(|event| event.id.is_some()))
        {
            return true;
        }
        match frame.message.kind() {
            Kind::Opaque(_) | Kind::Batch(_) => true,
            Kind::Notification { method, .. } => frame.link.op.is_none() && !Method::is_vital(method),
            Kind::Request { .. } | Kind::Response { .. } | Kind::Failure { .. } => {
                let method = self.operation().map(|operation| &*operation.method);
                matches!(method, Some("initialize" | "server/discover"))
            }
        }
    }

    fn ops(&self) -> impl Iterator<Item = OpId> + '_ {
        self.frame().links().iter().filter_map(|link| link.op)
    }
}

/// Returns `true` if a message towards `direction` belongs to a request of ours that went the other
/// way.
pub fn is_ours(operation: Option<&Operation>, direction: Direction) -> bool {
    operation.is_some_and(|operation| operation.injected && operation.direction == direction.reverse())
}

/// Returns the terminator of a line.
pub fn terminator(raw: &[u8]) -> &'static [u8] {
    match raw {
        [.., b'\r', b'\n'] => b"\r\n",
        [.., b'\n'] => b"\n",
        _ => b"",
    }
}

/// Returns a line with its terminator.
pub fn terminated(line: &[u8], terminator: &[u8]) -> Bytes {
    let mut bytes = BytesMut::with_capacity(line.len() + terminator.len());
    bytes.put_slice(line);
    bytes.put_slice(terminator);
    bytes.freeze()
}
