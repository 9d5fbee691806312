//! Lines over the inspect limit: they stream through piece by piece, and only their beginning is
//! recorded.

use bytes::Bytes;

use super::lane::{LaneItem, Receipt};
use super::{Session, State};
use crate::log::http::Http;
use crate::log::record::{Body, LaneId, Origin, Outcome, Sent, Seq};
use crate::mcp::{Message, Opaque};
use crate::transport::{LinePiece, QueuedWrite};

/// Number of bytes of such a line that are recorded.
const RECORDED_BYTES: usize = 64 << 10;

impl Session {
    /// Receives the beginning of a line over the inspect limit; its pieces stream through untouched.
    /// Blocks while anything is held on the lane: a line that cannot be read whole may be one that
    /// must not overtake. The first `passed` bytes went on already.
    pub fn receive_start(&self, lane: LaneId, raw: Bytes, passed: usize) {
        let mut state = self.state.lock();
        while !state.holds.is_clear(lane) && !state.closed {
            self.moved.wait(&mut state);
        }
        drop(state);
        let kept = Bytes::copy_from_slice(&raw[..raw.len().min(RECORDED_BYTES)]);
        self.receive_long(lane, raw.slice(passed.min(raw.len())..), kept, None);
    }

    /// As [`Session::receive_start`] for tasks, which wait for [`Session::cleared`] before; `kept` is
    /// recorded.
    pub fn receive_long(&self, lane: LaneId, raw: Bytes, kept: Bytes, http: Option<Box<Http>>) -> Seq {
        let mut state = self.state.lock();
        let item = LaneItem { http, ..LaneItem::message(Message::opaque(kept, Opaque::Truncated)) };
        let in_flight = self.record(&mut state, lane, Origin::Wire, item, false);
        state.long.insert(lane, (in_flight.seq(), 0));
        self.stream(&mut state, lane, raw, false);
        in_flight.seq()
    }

    /// Receives more of a line over the inspect limit; `last` with its end.
    pub fn receive_more(&self, lane: LaneId, raw: Bytes, last: bool) {
        let mut state = self.state.lock();
        self.stream(&mut state, lane, raw, last);
    }

    fn stream(&self, state: &mut State, lane: LaneId, bytes: Bytes, last: bool) {
        let Some(open) = state.lanes.get(&lane) else { return };
        let Some((frame, length)) = state.long.get_mut(&lane) else { return };
        *length += bytes.len() as u64;
        let receipt = last.then_some(Receipt {
            frame: *frame,
            held_since: None,
            length: Some(*length),
            as_it_came: true,
            keeps_headers: false,
            head: None,
            more: false,
        });
        let piece = Some(LinePiece { lane: lane.0, last });
        open.lane.forward.push(QueuedWrite { bytes, receipt, piece, pace: None });
        if last {
            state.long.remove(&lane);
        }
    }

    /// Records that what came of a message over the inspect limit is all that will: its lane is gone.
    pub(super) fn forget_long(&self, state: &mut State, lane: LaneId, why: &str) {
        let Some((frame, length)) = state.long.remove(&lane) else { return };
        let sent = Sent {
            frame,
            outcome: Outcome::Dropped,
            held: None,
            length: Some(length),
            why: Some(why.to_owned()),
        };
        self.log.append(self.id, Body::Sent(sent));
    }
}
