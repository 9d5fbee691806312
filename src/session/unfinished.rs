//! Lines whose end has not come: a prompt, a progress bar, or messages of a peer that writes no newlines. Their
//! bytes go on after a pause, unless somebody may want to change the line or hold it; the line is recorded once,
//! when it ends.

use std::sync::atomic::Ordering;

use bytes::Bytes;

use super::lane::LaneItem;
use super::{LaneId, Receipt, Session};
use crate::log::record::{Channel, Origin};
use crate::mcp::{Message, Opaque};
use crate::transport::{LinePiece, QueuedWrite};

impl Session {
    /// Returns the reason why an unfinished line on `lane` has to wait for its end; `None` if its bytes may go
    /// on.
    pub fn waits_whole(&self, lane: LaneId) -> Option<&'static str> {
        let state = self.state.lock();
        let is_stderr = state.lanes.get(&lane).is_some_and(|open| open.lane.channel == Channel::Stderr);
        if is_stderr {
            return None;
        }
        if !self.chain.load().is_idle() {
            return Some("a breakpoint or a rule may want to hold or change it");
        }
        (!state.holds.is_clear(lane)).then_some("messages before it are held")
    }

    /// Passes on bytes of a line that has not ended. The line is recorded when it does.
    pub fn pass_unfinished(&self, lane: LaneId, bytes: Bytes) {
        self.activity.fetch_add(1, Ordering::Relaxed);
        let state = self.state.lock();
        if let Some(open) = state.lanes.get(&lane) {
            let piece = Some(LinePiece { lane: lane.0, last: false });
            open.lane.forward.push(QueuedWrite { bytes, receipt: None, piece, pace: None });
        }
    }

    /// Receives a line of which the first `passed` bytes went on before it ended. Nobody is asked about it,
    /// since it cannot be held or changed any more.
    pub fn receive_rest(&self, lane: LaneId, line: Bytes, passed: usize) {
        let mut state = self.state.lock();
        let Some(open) = state.lanes.get(&lane) else { return };
        let channel = open.lane.channel;
        let rest = line.slice(passed.min(line.len())..);
        let message = match channel {
            Channel::Main | Channel::Http => Message::parse(line),
            Channel::Stderr => Message::opaque(line, Opaque::Text),
        };
        let item = LaneItem { channel, ..LaneItem::message(message) };
        let in_flight = self.record(&mut state, lane, Origin::Wire, item, false);
        let Some(open) = state.lanes.get(&lane) else { return };
        let receipt = Receipt {
            frame: in_flight.seq(),
            held_since: None,
            length: None,
            as_it_came: true,
            keeps_headers: false,
            head: None,
            more: false,
        };
        let piece = Some(LinePiece { lane: lane.0, last: true });
        open.lane.forward.push(QueuedWrite { bytes: rest, receipt: Some(receipt), piece, pace: None });
    }
}
