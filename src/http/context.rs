//! Contexts: of a proxy service, shared by its parts, and of a request, which travels with its call.

use std::sync::{Arc, Weak};

use parking_lot::Mutex;

use crate::client::Client;
use crate::host::Host;
use crate::log::Seq;
use crate::log::record::{Exit, VerdictKind};
use crate::mcp::mirror::Annotations;
use crate::session::Session;
use crate::transport::http::Cleaner;

/// The facts and services that all parts of a proxy service share.
pub struct ServiceContext {
    /// The engine.
    pub host: Arc<Host>,
    /// Keeps secrets out of the log.
    pub cleaner: Cleaner,
    /// The name of the upstream, as people call it.
    pub name: String,
    /// The name of the upstream in the log: its URL, or its command line.
    pub target: Vec<String>,
    /// The arguments that requests repeat in headers, learnt from tool lists (2026-07-28,
    /// basic/transports).
    pub annotations: Mutex<Annotations>,
}

/// The session and the frame of a request, for the server that answers it.
#[derive(Clone)]
pub struct RequestContext {
    /// The session.
    pub session: Arc<Session>,
    /// The frame of the request, as it goes on.
    pub frame: Seq,
    owner: Weak<dyn EndSession>,
}

/// The HTTP session of a request, which its server can end.
pub(super) trait EndSession: Send + Sync {
    /// Ends the session as soon as its exchanges have ended.
    fn end(self: Arc<Self>, reason: &'static str, exit: Option<Exit>);
}

/// Request extension that marks the requests of the built-in client, so that their session can be
/// attributed to it.
#[derive(Clone)]
pub struct OfClient(pub Arc<Client>);

/// Request extension that marks the requests of this program's own client, whose answers are decoded.
#[derive(Debug, Clone, Copy)]
pub struct OwnRequest;

/// Request extension with the address of the client's machine.
#[derive(Debug, Clone, Copy)]
pub struct PeerAddress(pub std::net::IpAddr);

/// Author, in the log, of messages whose ids are mapped onto a shared server.
const REMAP: &str = "remap";

impl RequestContext {
    pub(super) fn new(session: Arc<Session>, frame: Seq, owner: Weak<dyn EndSession>) -> Self {
        Self { session, frame, owner }
    }

    /// Records that the request goes on under ids of ours; `how` names both.
    pub fn remapped(&self, how: &str) {
        self.session.remark(self.frame, REMAP, VerdictKind::Forward, how);
    }

    /// Ends the session as soon as its exchanges have ended.
    pub fn end_session(&self, reason: &'static str, exit: Option<Exit>) {
        if let Some(owner) = self.owner.upgrade() {
            owner.end(reason, exit);
        }
    }
}
