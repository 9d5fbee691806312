//! Messages of our own: injected ones, and answers in the place of a server.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::in_flight::terminated;
use super::lane::LaneItem;
use super::{Session, SessionError};
use crate::log::record::{Body, LaneId, OpId, Opened, Origin, Record, Seq, VerdictKind};
use crate::mcp::{Direction, Id, Kind, Message, compose};

impl Session {
    /// Answers a request in the place of a server that cannot.
    pub fn answer(&self, lane: LaneId, frame: Seq, item: LaneItem) {
        let mut state = self.state.lock();
        let answer = self.record(&mut state, lane, Origin::Answered(frame), item, false);
        self.send_back(&state, &answer);
    }

    /// Answers every request in frame `request` that has no answer yet with an error, in the place of a
    /// server that will not answer any more.
    pub fn fail(&self, request: Seq, why: &str) {
        let Some(record) = self.log.get(request) else { return };
        let Some(frame) = record.frame() else { return };
        let mut state = self.state.lock();
        let terminator = self.form(&state, frame.lane).terminator();
        // A batch may be answered in part.
        let open: Vec<OpId> =
            state.linker.operations.in_flight(frame.direction).map(|operation| operation.id).collect();
        let unanswered = frame.message.elements().iter().zip(frame.links());
        let unanswered = unanswered.filter(|(_, link)| link.op.is_some_and(|op| open.contains(&op)));
        let lines: Vec<_> = unanswered
            .flat_map(|(element, _)| compose::failures(element, compose::INTERNAL_ERROR, why))
            .collect();
        for line in lines {
            let item = LaneItem::message(Message::parse(terminated(&line, terminator)));
            let answer = self.record(&mut state, frame.lane, Origin::Answered(request), item, false);
            self.send_answer(&state, &answer);
        }
    }

    /// Returns the ids of requests towards `direction` that have no answer yet.
    pub fn unanswered_ids(&self, direction: Direction) -> Vec<Id> {
        self.open_requests(direction).into_iter().filter_map(|(_, id)| id).collect()
    }

    fn open_requests(&self, direction: Direction) -> Vec<(OpId, Option<Id>)> {
        let open: Vec<(OpId, Seq)> = {
            let state = self.state.lock();
            let in_flight = state.linker.operations.in_flight(direction);
            in_flight.map(|operation| (operation.id, operation.request)).collect()
        };
        let id = |request: Seq| self.log.get(request)?.frame()?.message.id().cloned();
        open.into_iter().map(|(op, request)| (op, id(request))).collect()
    }

    /// Cancels every open request towards `direction`.
    pub fn cancel_open(&self, direction: Direction, why: &str) {
        for (op, id) in self.open_requests(direction) {
            if let Some(id) = id {
                // A closed side needs no cancellation; ignore the error.
                let _ = self.inject(direction, &compose::cancelled(&id, why));
            }
            self.give_up(op);
        }
    }

    /// Records that another process, or none, is behind the session from now on.
    pub fn reopen(&self, pid: Option<u32>) {
        self.log.append(self.id, Body::Opened(Opened { pid, ..self.about.clone() }));
    }

    /// Returns the record of a frame.
    pub fn record_of(&self, frame: Seq) -> Option<Arc<Record>> {
        self.log.get(frame)
    }

    /// Returns the position of the newest record.
    pub fn last(&self) -> Seq {
        self.log.last()
    }

    /// Returns the frames of `among` that are requests towards `direction` without an answer. A
    /// replaced request counts as its replacement.
    pub fn unanswered(&self, direction: Direction, among: &BTreeSet<Seq>) -> Vec<Seq> {
        let state = self.state.lock();
        let in_flight = state.linker.operations.in_flight(direction);
        let open: BTreeSet<Seq> = in_flight.map(|operation| operation.request).collect();
        let origin = |seq: &Seq| match self.log.get(*seq).as_deref().and_then(Record::frame)?.origin {
            Origin::Replaced(original) | Origin::Remapped(original) => Some(original),
            _ => None,
        };
        let is_open = |seq: &&Seq| open.contains(seq) || origin(seq).is_some_and(|seq| open.contains(&seq));
        among.iter().filter(is_open).copied().collect()
    }

    /// Sends a message of ours towards one side. `line` has no terminator; a request in it must have
    /// an id of ours already, since its answer is kept from the peer.
    ///
    /// # Errors
    /// If that side is closed, or its era has no such message.
    pub fn inject(&self, direction: Direction, line: &[u8]) -> Result<Seq, SessionError> {
        let mut state = self.state.lock();
        let lane = state
            .lanes
            .iter()
            .find(|(_, open)| {
                let lane = &open.lane;
                lane.direction == direction && lane.open_to_us && !lane.forward.is_closed()
            })
            .map(|(id, open)| (*id, open.lane.form));
        let side = match direction {
            Direction::ToServer => "server",
            Direction::ToClient => "client",
        };
        let (lane, form) = lane.ok_or(SessionError::Closed(side))?;
        let message = Message::parse(terminated(line, form.terminator()));
        let stateless = state.linker.eras.current() == Some(crate::mcp::Era::Stateless);
        if stateless && direction == Direction::ToClient && matches!(message.kind(), Kind::Request { .. }) {
            return Err(SessionError::EraForbids);
        }
        let in_flight = self.record(&mut state, lane, Origin::Injected, LaneItem::message(message), true);
        let seq = in_flight.seq();
        self.dispatch(&mut state, in_flight);
        Ok(seq)
    }

    /// Records a verdict on a frame that no interceptor gave.
    pub fn remark(&self, frame: Seq, by: &str, verdict: VerdictKind, why: &str) {
        self.ruled(frame, by, verdict, Some(why.to_owned()));
    }
}
