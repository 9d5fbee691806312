//! What travels with a request to where it is answered: the session that it is part of.

use std::sync::{Arc, Weak};

use super::Gate;
use super::visits::Visit;
use crate::log::Seq;
use crate::log::record::{Exit, Ruling};
use crate::proxy::session::Session;

/// The session and the frame of a request.
#[derive(Clone)]
pub struct Spoken {
    pub session: Arc<Session>,
    pub frame: Seq,
    gate: Weak<Gate>,
    visit: Weak<Visit>,
}

/// Who maps ids of several clients onto one server.
const REMAP: &str = "remap";

impl Spoken {
    pub fn new(gate: &Arc<Gate>, visit: &Arc<Visit>, frame: Seq) -> Self {
        let session = Arc::clone(&visit.session);
        Self { session, frame, gate: Arc::downgrade(gate), visit: Arc::downgrade(visit) }
    }

    /// Records that the request goes on under ids of ours; `how` names both.
    pub fn remapped(&self, how: &str) {
        self.session.remark(self.frame, REMAP, Ruling::Forward, how);
    }

    /// Ends the session once what is under way in it has ended.
    pub fn end(&self, reason: &'static str, exit: Option<Exit>) {
        if let (Some(gate), Some(visit)) = (self.gate.upgrade(), self.visit.upgrade()) {
            gate.visits.retire(&gate, &visit, reason, exit);
        }
    }
}
