//! The streams of a world, and the operation that each HTTP exchange carries.

use super::{FrameDigest, SessionOverview, State, World};
use crate::clock::Stamp;
use crate::log::record::{Ended, FrameKind, LaneId, Role, Seq, SessionId};
use crate::mcp::Direction;

/// A stream of server-sent events.
#[derive(Debug, Clone)]
pub struct Stream {
    /// The lane of the request that opened the stream.
    pub exchange: LaneId,
    /// The first frame of the stream.
    pub first: Seq,
    /// The time of that frame.
    pub since: Stamp,
    /// The number of events so far.
    pub events: u64,
    /// The record that ended the stream, its time, and the reason unless the server ended it regularly.
    pub ended: Option<(Seq, Stamp, Option<String>)>,
    /// The column in which it is drawn beside the streams that were open when it began, counted from 0.
    pub slot: usize,
}

impl World {
    /// Updates the streams, and the operation that each exchange carries.
    pub(super) fn exchange(&mut self, seq: Seq, at: Stamp, session: SessionId, digest: &FrameDigest) {
        let Some(http) = digest.http else { return };
        self.speaks_http = true;
        if http.stream {
            let slots = &mut self.slots;
            let stream = self.streams.entry((session, digest.lane)).or_insert_with(|| {
                let slot = slots.iter().position(|taken| !taken).unwrap_or(slots.len());
                slots.resize(slots.len().max(slot + 1), false);
                slots[slot] = true;
                Stream { exchange: http.exchange, first: seq, since: at, events: 0, ended: None, slot }
            });
            stream.events += u64::from(http.event);
        }
        let place = (session, http.exchange);
        // A status without a message ends the exchange too. Only 202 announces that the answer comes
        // on another stream.
        const ACCEPTED: u16 = 202;
        if let (FrameKind::Http, Some(status), false) = (digest.kind, http.status, http.stream)
            && status != ACCEPTED
        {
            let state = if status >= 400 { State::Error } else { State::Lost };
            self.give_up(seq, at, place, state);
        }
        match (digest.link.role, digest.link.op) {
            (Role::Request | Role::Retry, Some(op)) if digest.direction == Direction::ToServer => {
                self.exchanges.insert(place, op);
            }
            (Role::Response | Role::InputRequired, op) if op == self.exchanges.get(&place).copied() => {
                self.exchanges.remove(&place);
            }
            _ => {}
        }
    }

    pub(super) fn lane_ended(&mut self, seq: Seq, at: Stamp, session: SessionId, ended: &Ended) {
        // The client's lane of a stdio server; it may have sent nothing.
        let is_input = |own: &&mut SessionOverview| {
            let is_http = own.opened.target.first().is_some_and(|target| target.contains("://"));
            !is_http && ended.why.is_none() && own.input.is_none_or(|input| input == ended.lane)
        };
        if let Some(session) = self.sessions.get_mut(&session).filter(is_input) {
            session.hung_up = session.hung_up.or(Some((seq, at)));
            return;
        }
        let place = (session, ended.lane);
        let exchange = match self.streams.get_mut(&place) {
            Some(stream) => {
                if stream.ended.is_none() {
                    self.slots[stream.slot] = false;
                }
                stream.ended = Some((seq, at, ended.why.clone()));
                (session, stream.exchange)
            }
            None => place,
        };
        self.give_up(seq, at, exchange, State::Lost);
    }

    /// Ends the operation of an exchange that will bring no response.
    fn give_up(&mut self, seq: Seq, at: Stamp, exchange: (SessionId, LaneId), state: State) {
        if let Some(op) = self.exchanges.remove(&exchange) {
            self.give_up_operation(op, seq, at, state);
        }
    }
}
