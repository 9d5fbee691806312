//! Decisions on held frames: by controllers, scripts and interceptors.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::holds::{HoldReason, WaitingFrame};
use super::in_flight::InFlight;
use super::{Session, SessionError, State};
use crate::clock::Stamp;
use crate::intercept::Verdict;
use crate::log::record::{Amended, Body, Outcome, Seq};
use crate::mcp::{Direction, Message};

/// A frame on which a controller decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HeldFrame {
    /// The frame.
    pub seq: Seq,
    /// The time at which it was held.
    pub since: Stamp,
    /// Time that it waits while no controller is attached.
    pub patience: Duration,
}

impl Session {
    /// Gives the verdict on a frame that waits for one. A verdict of a person on a frame whose
    /// verdict an interceptor still computes overrides the interceptor.
    ///
    /// # Errors
    /// If the frame waits for no verdict, or an answer is given to something that is no request.
    pub fn decide(&self, seq: Seq, by: &str, verdict: Verdict) -> Result<(), SessionError> {
        self.conclude(seq, by, |_| verdict)
    }

    /// Releases a held frame, as it is or as it was amended.
    ///
    /// # Errors
    /// If the frame waits for no verdict.
    pub fn accept(&self, seq: Seq, by: &str) -> Result<(), SessionError> {
        self.conclude(seq, by, accepted)
    }

    /// Releases every held frame, in the order of arrival on each lane, until none is held. Frames
    /// whose verdict an interceptor computes keep waiting for it.
    pub fn accept_all(&self, by: &str) {
        loop {
            let next = self.state.lock().holds.held().next().map(|waiting| waiting.in_flight.seq());
            let Some(seq) = next else { return };
            // A frame that another decided in between is no longer held: look for the next one.
            let _ = self.accept(seq, by);
        }
    }

    /// Changes a held frame, which stays held: [`Session::accept`] sends `line` in its place.
    ///
    /// # Errors
    /// If the frame is not held.
    pub fn amend(&self, seq: Seq, by: &str, line: Bytes) -> Result<(), SessionError> {
        let mut state = self.state.lock();
        if !state.holds.amend(seq, line.clone()) {
            return Err(SessionError::NotHeld(seq));
        }
        let amended = Amended { frame: seq, by: by.into(), message: Message::parse(line.clone()) };
        self.log.append(self.id, Body::Amended(Box::new(amended)));
        (self.hooks.amended)(seq, Some(line));
        Ok(())
    }

    /// Gives the verdict that an interceptor has computed, unless somebody decided meanwhile.
    pub(super) fn resolve(&self, seq: Seq, verdict: Verdict) {
        let mut state = self.state.lock();
        let by = match state.holds.undecided(seq).map(|waiting| &waiting.reason) {
            Some(HoldReason::Pending { by, .. }) => Arc::clone(by),
            _ => return,
        };
        // The frame is pending, and only an answer to something that is no request is refused; such
        // a frame is dropped, as the interceptor wanted it to go no further.
        if self.conclude_in(&mut state, seq, &by, |_| verdict).is_err() {
            let _ = self.conclude_in(&mut state, seq, &by, |_| Verdict::Drop);
        }
    }

    fn conclude(
        &self,
        seq: Seq,
        by: &str,
        verdict: impl FnOnce(&WaitingFrame) -> Verdict,
    ) -> Result<(), SessionError> {
        self.conclude_in(&mut self.state.lock(), seq, by, verdict)
    }

    fn conclude_in(
        &self,
        state: &mut State,
        seq: Seq,
        by: &str,
        verdict: impl FnOnce(&WaitingFrame) -> Verdict,
    ) -> Result<(), SessionError> {
        let waiting = state.holds.undecided(seq).ok_or(SessionError::NotHeld(seq))?;
        let verdict = verdict(waiting);
        if matches!(verdict, Verdict::Answer(_)) && !waiting.in_flight.is_request() {
            return Err(SessionError::NoRequest(seq));
        }
        let waiting = state.holds.take_undecided(seq).ok_or(SessionError::NotHeld(seq))?;
        let resume = waiting.reason.resume();
        let in_flight = self.resume(waiting);
        self.ruled(seq, by, verdict.kind(), verdict.remark().map(str::to_owned));
        self.apply(state, in_flight, verdict, resume);
        self.advance(state);
        Ok(())
    }

    /// Ends the wait of a frame that was taken out of the holds.
    pub(super) fn resume(&self, waiting: WaitingFrame) -> InFlight {
        let WaitingFrame { in_flight, reason } = waiting;
        self.log.unpin(in_flight.seq());
        if matches!(reason, HoldReason::Decision { amended: Some(_), .. }) {
            (self.hooks.amended)(in_flight.seq(), None);
        }
        in_flight
    }

    /// Returns the held frames, in the order of their arrival on each lane.
    pub fn held(&self) -> Vec<Seq> {
        self.state.lock().holds.held().map(|waiting| waiting.in_flight.seq()).collect()
    }

    /// Returns the held frames with the terms of their holds.
    pub fn held_frames(&self) -> Vec<HeldFrame> {
        let held = |waiting: &WaitingFrame| match waiting.reason {
            HoldReason::Decision { patience, .. } => Some(HeldFrame {
                seq: waiting.in_flight.seq(),
                since: waiting.in_flight.held_since.unwrap_or(waiting.in_flight.record.at),
                patience,
            }),
            _ => None,
        };
        self.state.lock().holds.held().filter_map(held).collect()
    }

    /// Returns a frame that waits for a verdict.
    pub fn held_frame(&self, seq: Seq) -> Option<InFlight> {
        self.state.lock().holds.undecided(seq).map(|waiting| waiting.in_flight.clone())
    }

    /// Returns the text that goes on in the place of a held frame once it is accepted.
    pub fn amended(&self, seq: Seq) -> Option<Bytes> {
        match &self.state.lock().holds.undecided(seq)?.reason {
            HoldReason::Decision { amended, .. } => amended.clone(),
            _ => None,
        }
    }

    /// Returns `true` if a frame waits for a verdict, of a controller or of an interceptor.
    pub fn is_deciding(&self) -> bool {
        self.state.lock().holds.any_undecided()
    }

    /// Drops every frame that waits.
    pub fn drop_all(&self, why: &str) {
        let mut state = self.state.lock();
        for direction in [Direction::ToServer, Direction::ToClient] {
            self.abandon(&mut state, direction, why);
        }
        self.advance(&mut state);
    }

    pub(super) fn abandon(&self, state: &mut State, direction: Direction, why: &str) {
        for waiting in state.holds.drain_towards(direction) {
            let in_flight = self.resume(waiting);
            self.gone(&in_flight, Outcome::Dropped, Some(why));
        }
    }
}

/// Returns the verdict that releases a frame: as it was amended, or as it is.
fn accepted(waiting: &WaitingFrame) -> Verdict {
    match &waiting.reason {
        HoldReason::Decision { amended: Some(line), .. } => Verdict::replace(line.clone()),
        _ => Verdict::Pass,
    }
}
