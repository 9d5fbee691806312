//! What travels with a request to where it is answered: the session that it is part of.

use std::sync::{Arc, Weak};

use super::service::ProxyService;
use super::sessions::HttpSession;
use crate::log::Seq;
use crate::log::record::{Exit, VerdictKind};
use crate::session::Session;

/// The session and the frame of a request.
#[derive(Clone)]
pub struct RequestContext {
    pub session: Arc<Session>,
    pub frame: Seq,
    service: Weak<ProxyService>,
    http_session: Weak<HttpSession>,
}

/// Who maps ids of several clients onto one server.
const REMAP: &str = "remap";

impl RequestContext {
    pub fn new(service: &Arc<ProxyService>, http_session: &Arc<HttpSession>, frame: Seq) -> Self {
        let session = Arc::clone(&http_session.session);
        Self { session, frame, service: Arc::downgrade(service), http_session: Arc::downgrade(http_session) }
    }

    /// Records that the request goes on under ids of ours; `how` names both.
    pub fn remapped(&self, how: &str) {
        self.session.remark(self.frame, REMAP, VerdictKind::Forward, how);
    }

    /// Ends the session once what is under way in it has ended.
    pub fn end(&self, reason: &'static str, exit: Option<Exit>) {
        if let (Some(service), Some(http_session)) = (self.service.upgrade(), self.http_session.upgrade()) {
            service.sessions.retire(&service, &http_session, reason, exit);
        }
    }
}
