//! The HTTP face of a stdio server: clients of both eras find a server of Streamable HTTP, with the
//! statuses of the specification, and behind it are child processes.
//!
//! In the stateful era every session has a child of its own, which lives as long as the session.
//! In the stateless era all requests go to one child, told apart by ids of ours.

mod check;
mod child;
mod crew;
mod desk;
mod mailbox;
mod probe;
mod reply;
mod stateful;
mod stateless;

use std::collections::HashMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderName, Method, Request, Response, StatusCode};
use parking_lot::Mutex;

use super::body::{self, Gathered};
use crate::clock::Clock;
use crate::log::record::Opened;
use crate::mcp::compose::meta;
use crate::mcp::{Era, Kind, Message, Opaque, Revision};
use crate::proxy::host::Host;
use crate::proxy::session::Session;
use crate::proxy::supervise::PATIENCE;
use crate::transport::child::{Ended, SpawnError, Spec};
use crate::transport::http::headers::text;
use crate::transport::http::{Body, Connect, Place, Sending, Unanswered, full};

use child::{GRACE, Start, Unheard, Worker};
use crew::Crew;
use desk::{Clients, Desk, Refused};
use stateful::Member;
use stateless::{Probed, Shared};

/// A stdio server as an HTTP one.
pub struct Face {
    me: Weak<Self>,
    host: Arc<Host>,
    name: String,
    spec: Spec,
    place: Place,
    crew: Arc<Crew>,
    sessions: Mutex<HashMap<String, Arc<Member>>>,
    shared: tokio::sync::Mutex<Shared>,
    probed: tokio::sync::Mutex<Option<Probed>>,
    /// Why the server could not be started last.
    trouble: Mutex<Option<String>>,
}

/// The path at which clients find it.
pub const ENDPOINT: &str = "/mcp";
/// How often silent sessions are looked for.
const SWEEP: Duration = Duration::from_secs(30);
const SESSION_ID: HeaderName = HeaderName::from_static("mcp-session-id");

// === impl Face ===

impl Face {
    /// The face of the server that `spec` starts, for up to `most` sessions at a time.
    pub fn new(host: Arc<Host>, name: String, spec: Spec, most: usize) -> Arc<Self> {
        let place = Place {
            origin: "http://localhost".into(),
            authority: "localhost".into(),
            path: ENDPOINT.into(),
            target: host.cleaner().command(&spec.command),
        };
        let face = Arc::new_cyclic(|me| Self {
            me: me.clone(),
            host,
            name,
            spec,
            place,
            crew: Crew::new(most),
            sessions: Mutex::default(),
            shared: tokio::sync::Mutex::default(),
            probed: tokio::sync::Mutex::default(),
            trouble: Mutex::default(),
        });
        let sweeping = Arc::downgrade(&face);
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(SWEEP).await;
                let Some(face) = sweeping.upgrade() else { return };
                face.sweep();
            }
        });
        face
    }

    /// Finds out ahead of the first request which era the server speaks.
    ///
    /// # Errors
    /// When it cannot be started.
    pub async fn look_ahead(&self) -> Result<(), Unanswered> {
        self.is_stateless().await.map(drop)
    }

    /// Server processes that run, and all that were started.
    pub fn processes(&self) -> (usize, usize) {
        self.crew.counts()
    }

    /// Why the server could not be started last, where it could not.
    pub fn trouble(&self) -> Option<String> {
        self.trouble.lock().clone()
    }

    /// Ends every server process, and waits until they are gone.
    pub async fn close(&self) {
        self.sessions.lock().clear();
        self.crew.close(GRACE + PATIENCE * 2).await;
    }

    /// Ends every server process at once.
    pub fn kill(&self) {
        self.crew.kill();
    }

    fn clock(&self) -> Clock {
        self.host.log().clock().clone()
    }

    /// Remembers whether the server could be started.
    fn started<T>(&self, started: Result<T, SpawnError>) -> Result<T, Unanswered> {
        *self.trouble.lock() = started.as_ref().err().map(ToString::to_string);
        started.map_err(|error| Unanswered::bad_gateway(format!("the server cannot be started: {error}")))
    }

    async fn pass(&self, request: Request<Body>) -> Result<Response<Body>, Unanswered> {
        let (parts, body) = request.into_parts();
        match parts.method {
            Method::POST => self.post(parts, body).await,
            Method::GET => self.get(&parts),
            Method::DELETE => self.delete(&parts),
            _ => Err(check::no_such_method("POST, GET, DELETE")),
        }
    }

    async fn post(&self, parts: Parts, body: Body) -> Result<Response<Body>, Unanswered> {
        check::post(&parts.headers)?;
        let limit = self.host.settings().inspect_limit;
        let message = match body::gather_reply(body, limit).await {
            Gathered::Whole(body) => Message::parse(body),
            Gathered::Long(..) => return Err(check::too_long(limit)),
            Gathered::Slow | Gathered::Broken => return Err(check::invalid("the body broke off")),
        };
        match message.kind() {
            Kind::Opaque(Opaque::NotJson(flaw)) => Err(check::not_json(flaw)),
            Kind::Opaque(why) => Err(check::invalid(why.to_string())),
            _ if is_stateless(&parts, &message) => self.stateless(parts, message).await,
            _ => self.stateful(parts, message).await,
        }
    }

    fn gone(&self, worker: &Worker) -> Unanswered {
        self.unheard(worker, Unheard::Gone)
    }

    fn unheard(&self, worker: &Worker, why: Unheard) -> Unanswered {
        if let (Unheard::Busy, None) = (why, worker.desk.over()) {
            return check::busy(why.to_string(), 1);
        }
        let why = worker.desk.over().unwrap_or_else(|| why.to_string());
        Unanswered::bad_gateway(format!("the server {} is gone: {why}", self.name))
    }

    /// Starts a server that is no client's own, with a session for what it says to nobody. `what` says
    /// what it is for, `end` what its session ended with.
    async fn start_apart(
        &self,
        what: &str,
        clients: Clients,
        end: &'static str,
    ) -> Result<(Arc<Session>, Arc<Worker>), SpawnError> {
        let session = self.host.open(Opened {
            name: format!("{} ({what})", self.name),
            target: self.place.target.clone(),
            directory: self.spec.directory.as_ref().map(|directory| directory.display().to_string()),
            pid: None,
            own_client: clients == Clients::One,
        });
        let (host, own) = (Arc::clone(&self.host), Arc::clone(&session));
        let ended = move |how: Ended| {
            own.close(end, Some(how.into()));
            host.release(own.id());
        };
        let start = Start {
            spec: &self.spec,
            desk: Desk::new(clients, Arc::clone(&session), self.clock()),
            session: Arc::clone(&session),
            limit: self.host.settings().inspect_limit,
            crew: &self.crew,
            place: None,
        };
        let started = Worker::start(start, ended).await.inspect_err(|_| {
            session.close("the server could not be started", None);
            self.host.release(session.id());
        });
        Ok((session, started?))
    }
}

impl Connect for Face {
    fn send(&self, request: Request<Body>) -> Sending<'_> {
        Box::pin(self.pass(request))
    }

    fn place(&self) -> &Place {
        &self.place
    }
}

/// Whether a request speaks the stateless era: by its envelope, or by headers that only that era has
/// where the envelope is missing. The handshake is of the other era whatever stands around it.
fn is_stateless(parts: &Parts, message: &Message) -> bool {
    let version = text(&parts.headers, "mcp-protocol-version");
    let claims = version.and_then(Revision::parse).is_some_and(|revision| revision.era() == Era::Stateless);
    message.param(&["_meta", meta::PROTOCOL_VERSION]).is_some()
        || (message.method() != Some("initialize")
            && parts.headers.get(SESSION_ID).is_none()
            && (claims || parts.headers.contains_key("mcp-method")))
}

fn refused(refused: Refused) -> Unanswered {
    match refused {
        Refused::Duplicate(_) => check::invalid(refused.to_string()),
        Refused::Over(why) => Unanswered::bad_gateway(why),
    }
}

fn accepted() -> Response<Body> {
    let mut response = Response::new(full(Bytes::new()));
    *response.status_mut() = StatusCode::ACCEPTED;
    response
}
