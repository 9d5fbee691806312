//! What we say in a session ourselves: to one side, or in the place of the other.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::lane::{Form, Item};
use super::{Session, SessionError};
use crate::log::record::{Body, LaneId, OpId, Opened, Origin, Outcome, Record, Seq, VerdictKind};
use crate::mcp::{Direction, Id, Kind, Message, compose};
use crate::session::splice::terminated;

impl Session {
    /// Answers a request in the place of a server that cannot.
    pub fn answer(&self, lane: LaneId, frame: Seq, item: Item) {
        let mut state = self.state.lock();
        let in_flight = self.record(&mut state, lane, Origin::Answered(frame), item, false);
        self.send_back(&state, &in_flight);
    }

    /// Answers a request with an error, in the place of a server that will not answer any more. What is
    /// no request needs no answer.
    pub fn fail(&self, request: Seq, why: &str) {
        let Some(record) = self.log.get(request) else { return };
        let Some(frame) = record.frame() else { return };
        let all = match frame.message.kind() {
            Kind::Batch(all) => all.as_slice(),
            _ => std::slice::from_ref(&frame.message),
        };
        let mut state = self.state.lock();
        let form = state.lanes.get(&frame.lane).map_or(Form::Line, |open| open.lane.form);
        for message in all {
            let Kind::Request { id, .. } = message.kind() else { continue };
            let line = compose::failure(Some(id), compose::INTERNAL_ERROR, &format!("shadowcat: {why}"));
            let item = Item::message(Message::parse(terminated(&line, form.terminator())));
            let answer = self.record(&mut state, frame.lane, Origin::Answered(request), item, false);
            match answer.ours.contains(&true) {
                true => self.gone(&answer, Outcome::Dropped, Some("it answers our own request")),
                false => self.send_back(&state, &answer),
            }
        }
    }

    /// The ids of what was asked in `direction` and has no answer yet.
    pub fn asking(&self, direction: Direction) -> Vec<Id> {
        self.asked(direction).into_iter().filter_map(|(_, id)| id).collect()
    }

    fn asked(&self, direction: Direction) -> Vec<(OpId, Option<Id>)> {
        let asked: Vec<(OpId, Seq)> = {
            let state = self.state.lock();
            state.operations.in_flight(direction).map(|operation| (operation.id, operation.request)).collect()
        };
        let id = |request: Seq| self.log.get(request)?.frame()?.message.id().cloned();
        asked.into_iter().map(|(op, request)| (op, id(request))).collect()
    }

    /// Takes back what was asked in `direction` and nobody waits for any more.
    pub fn take_back(&self, direction: Direction, why: &str) {
        for (op, id) in self.asked(direction) {
            if let Some(id) = id {
                // A side that is gone was asked nothing.
                let _ = self.inject(direction, &compose::cancelled(&id, why));
            }
            self.give_up(op);
        }
    }

    /// The session goes on with this process behind it, or with none.
    pub fn reopen(&self, pid: Option<u32>) {
        self.log.append(self.id, Body::Opened(Opened { pid, ..self.about.clone() }));
    }

    /// The record of a frame.
    pub fn record_of(&self, frame: Seq) -> Option<Arc<Record>> {
        self.log.get(frame)
    }

    /// The position of the newest record.
    pub fn last(&self) -> Seq {
        self.log.last()
    }

    /// Which of these frames are requests in `direction` without an answer. What an edited one arrived as
    /// counts as it.
    pub fn unanswered(&self, direction: Direction, among: &BTreeSet<Seq>) -> Vec<Seq> {
        let state = self.state.lock();
        let open: BTreeSet<Seq> =
            state.operations.in_flight(direction).map(|operation| operation.request).collect();
        let origin = |seq: &Seq| match self.log.get(*seq).as_deref().and_then(Record::frame)?.origin {
            Origin::Replaced(original) | Origin::Remapped(original) => Some(original),
            _ => None,
        };
        let is_open = |seq: &&Seq| open.contains(seq) || origin(seq).is_some_and(|seq| open.contains(&seq));
        among.iter().filter(is_open).copied().collect()
    }

    /// Sends a message of ours towards one side. `line` has no terminator; a request in it must
    /// have an id of ours already, since its answer is kept from the peer.
    ///
    /// # Errors
    /// When that side is closed, or its era has no such message.
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
        let stateless = state.eras.current() == Some(crate::mcp::Era::Stateless);
        if stateless && direction == Direction::ToClient && matches!(message.kind(), Kind::Request { .. }) {
            return Err(SessionError::EraForbids);
        }
        let in_flight = self.record(&mut state, lane, Origin::Injected, Item::message(message), true);
        let seq = in_flight.seq();
        self.dispatch(&mut state, in_flight);
        Ok(seq)
    }

    /// Records what was done to a frame on its way that no stage of the chain ruled.
    pub fn remark(&self, frame: Seq, by: &str, verdict: VerdictKind, why: &str) {
        self.ruled(frame, by, verdict, Some(why.to_owned()));
    }
}
