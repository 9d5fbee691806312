//! Lines over the inspect limit: they stream through piece by piece, and only how they begin is recorded.

use bytes::Bytes;

use super::lane::{Item, Receipt};
use super::{Session, State};
use crate::log::http::Http;
use crate::log::record::{LaneId, Origin, Seq};
use crate::mcp::{Message, Opaque};
use crate::transport::{LinePiece, QueuedWrite};

/// How much of a line over the inspect limit is kept for the record.
const KEPT_OF_LONG: usize = 64 << 10;

impl Session {
    /// Takes in the beginning of a line that is longer than the inspect limit; its pieces stream
    /// through untouched. Blocks while anything is held on the lane, since a line that cannot be
    /// read whole cannot be told from one that must not overtake.
    pub fn receive_start(&self, lane: LaneId, raw: Bytes) {
        let mut state = self.state.lock();
        while !state.holds.is_clear(lane) && !state.closed {
            self.moved.wait(&mut state);
        }
        drop(state);
        let kept = Bytes::copy_from_slice(&raw[..raw.len().min(KEPT_OF_LONG)]);
        self.receive_long(lane, raw, kept, None);
    }

    /// The same for tasks, which wait for [`Session::cleared`] before; `kept` is what is recorded.
    pub fn receive_long(&self, lane: LaneId, raw: Bytes, kept: Bytes, http: Option<Box<Http>>) -> Seq {
        let mut state = self.state.lock();
        let item = Item { http, ..Item::message(Message::opaque(kept, Opaque::Truncated)) };
        let in_flight = self.record(&mut state, lane, Origin::Wire, item, false);
        state.long.insert(lane, (in_flight.seq(), 0));
        self.stream(&mut state, lane, raw, false);
        in_flight.seq()
    }

    /// Takes in more of a long line; `last` with its end.
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
        });
        open.lane.forward.push(QueuedWrite { bytes, receipt, piece: Some(LinePiece { lane: lane.0, last }) });
        if last {
            state.long.remove(&lane);
        }
    }
}
