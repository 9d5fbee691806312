//! The HTTP adapter of a stdio server: clients of both eras find a server of Streamable HTTP, with the
//! statuses of the specification, and behind it are child processes.
//!
//! In the stateful era every session has a child of its own, which lives as long as the session.
//! In the stateless era all requests go to one child, told apart by ids of ours.

mod check;
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

use crate::clock::Clock;
use crate::host::Host;
use crate::http::body::{self, Gathered};
use crate::log::record::Opened;
use crate::mcp::compose::meta;
use crate::mcp::{Era, Kind, Message, Opaque, Revision};
use crate::session::Session;
use crate::stdio::lifecycle::TERM_GRACE;
use crate::transport::child::{Ended, SpawnError, Spec};
use crate::transport::http::headers::text;
use crate::transport::http::{Body, Connect, Sending, ServerAddress, Unanswered, full};

use crate::stdio::process::{STDIN_CLOSED_GRACE, ServerProcess, Start, Unheard};
use crate::stdio::router::{AskError, Clients, ResponseRouter};
use crate::stdio::supervisor::Supervisor;
use stateful::StatefulSession;
use stateless::{Probed, SharedProcess};

/// A stdio server as an HTTP one.
pub struct HttpAdapter {
    me: Weak<Self>,
    host: Arc<Host>,
    name: String,
    spec: Spec,
    address: ServerAddress,
    supervisor: Arc<Supervisor>,
    sessions: Mutex<HashMap<String, Arc<StatefulSession>>>,
    shared: tokio::sync::Mutex<SharedProcess>,
    probed: tokio::sync::Mutex<Option<Probed>>,
    /// Why the server could not be started last.
    trouble: Mutex<Option<String>>,
}

/// The path at which clients find it.
pub const ENDPOINT: &str = "/mcp";
/// How often silent sessions are looked for.
const SWEEP: Duration = Duration::from_secs(30);
const SESSION_ID: HeaderName = HeaderName::from_static("mcp-session-id");

// === impl HttpAdapter ===

impl HttpAdapter {
    /// The adapter of the server that `spec` starts, for up to `most` sessions at a time.
    pub fn new(host: Arc<Host>, name: String, spec: Spec, most: usize) -> Arc<Self> {
        let address = ServerAddress {
            origin: "http://localhost".into(),
            authority: "localhost".into(),
            path: ENDPOINT.into(),
            target: host.cleaner().command(&spec.command),
        };
        let adapter = Arc::new_cyclic(|me| Self {
            me: me.clone(),
            host,
            name,
            spec,
            address,
            supervisor: Supervisor::new(most),
            sessions: Mutex::default(),
            shared: tokio::sync::Mutex::default(),
            probed: tokio::sync::Mutex::default(),
            trouble: Mutex::default(),
        });
        let sweeping = Arc::downgrade(&adapter);
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(SWEEP).await;
                let Some(adapter) = sweeping.upgrade() else { return };
                adapter.sweep();
            }
        });
        adapter
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
        self.supervisor.counts()
    }

    /// Why the server could not be started last, where it could not.
    pub fn trouble(&self) -> Option<String> {
        self.trouble.lock().clone()
    }

    /// Ends every server process, and waits until they are gone.
    pub async fn close(&self) {
        self.sessions.lock().clear();
        self.supervisor.close(STDIN_CLOSED_GRACE + TERM_GRACE * 2).await;
    }

    /// Ends every server process at once.
    pub fn kill(&self) {
        self.supervisor.kill();
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

    fn gone(&self, process: &ServerProcess) -> Unanswered {
        self.unheard(process, Unheard::Gone)
    }

    fn unheard(&self, process: &ServerProcess, why: Unheard) -> Unanswered {
        if let (Unheard::Busy, None) = (why, process.router.over()) {
            return check::busy(why.to_string(), 1);
        }
        let why = process.router.over().unwrap_or_else(|| why.to_string());
        Unanswered::bad_gateway(format!("the server {} is gone: {why}", self.name))
    }

    /// Starts a server that is no client's own, with a session for what it says to nobody. `what` says
    /// what it is for, `end` what its session ended with.
    async fn start_apart(
        &self,
        what: &str,
        clients: Clients,
        end: &'static str,
    ) -> Result<(Arc<Session>, Arc<ServerProcess>), SpawnError> {
        let session = self.host.open(Opened {
            name: format!("{} ({what})", self.name),
            target: self.address.target.clone(),
            directory: self.spec.directory.as_ref().map(|directory| directory.display().to_string()),
            pid: None,
            own_client: clients == Clients::One,
        });
        let (host, own) = (Arc::clone(&self.host), Arc::clone(&session));
        let ended = move |how: Ended| {
            own.close(end, Some(how.into()));
            host.remove_session(own.id());
        };
        let start = Start {
            spec: &self.spec,
            router: ResponseRouter::new(clients, Arc::clone(&session), self.clock()),
            session: Arc::clone(&session),
            limit: self.host.settings().inspect_limit,
            supervisor: &self.supervisor,
            place: None,
        };
        let started = ServerProcess::start(start, ended).await.inspect_err(|_| {
            session.close("the server could not be started", None);
            self.host.remove_session(session.id());
        });
        Ok((session, started?))
    }
}

impl Connect for HttpAdapter {
    fn send(&self, request: Request<Body>) -> Sending<'_> {
        Box::pin(self.pass(request))
    }

    fn address(&self) -> &ServerAddress {
        &self.address
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

fn refused(refused: AskError) -> Unanswered {
    match refused {
        AskError::Duplicate(_) => check::invalid(refused.to_string()),
        AskError::Over(why) => Unanswered::bad_gateway(why),
    }
}

fn accepted() -> Response<Body> {
    let mut response = Response::new(full(Bytes::new()));
    *response.status_mut() = StatusCode::ACCEPTED;
    response
}
