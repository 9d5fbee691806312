//! The HTTP adapter of a stdio server: a [`CallService`] that answers clients of both eras as a server of
//! Streamable HTTP, with the statuses of the specification, by server processes.
//!
//! In the stateful era every session has a process of its own, which lives as long as the session.
//! In the stateless era all requests go to one process, told apart by ids of ours.

mod check;
mod opening;
mod probe;
mod reply;
mod stateful;
mod stateless;

use std::collections::HashMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

use http::request::Parts;
use http::{HeaderName, Method, StatusCode};
use parking_lot::Mutex;

use self::opening::{Opening, Outcome};
use self::stateful::StatefulSession;
use self::stateless::{Probed, SharedProcess};
use crate::clock::Clock;
use crate::host::Host;
use crate::http::{Answer, Call, CallBody, CallService, Calling};
use crate::log::record::Opened;
use crate::mcp::compose::meta;
use crate::mcp::{Era, Kind, Message, Opaque, Revision};
use crate::session::Session;
use crate::stdio::process::{ProcessOptions, ServerProcess, WriteError};
use crate::stdio::router::{AskError, Clients, ResponseRouter};
use crate::stdio::supervisor::Supervisor;
use crate::transport::child::{ProcessExit, SpawnError, Spec};
use crate::transport::http::headers::text;
use crate::transport::http::{ServerAddress, Unanswered};

/// A stdio server as a server of HTTP calls.
pub struct HttpAdapter {
    me: Weak<Self>,
    host: Arc<Host>,
    name: String,
    spec: Spec,
    address: ServerAddress,
    supervisor: Arc<Supervisor>,
    /// Sessions of the stateful era by the values of `Mcp-Session-Id`.
    sessions: Mutex<HashMap<String, Arc<StatefulSession>>>,
    /// Sessions of the stateful era that are being opened, or whose client has not come back for the answer.
    openings: Mutex<Vec<Arc<Opening>>>,
    /// Time after which a silent session is ended; zero for never.
    idle: Duration,
    /// The process of the stateless era.
    shared: tokio::sync::Mutex<SharedProcess>,
    probed: tokio::sync::Mutex<Option<Probed>>,
    /// The reason why the last start of the server failed.
    start_error: Mutex<Option<String>>,
}

/// Path of the MCP endpoint.
pub const ENDPOINT: &str = "/mcp";
/// Bounds of the interval at which silent sessions are looked for.
const SWEEP_INTERVALS: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(30));

/// Limits of the sessions of the stateful era.
#[derive(Debug, Clone, Copy)]
pub struct SessionLimits {
    /// Maximum number of sessions at a time.
    pub count: usize,
    /// Time after which a silent session is ended; zero for never.
    pub idle: Duration,
}
const SESSION_ID: HeaderName = HeaderName::from_static("mcp-session-id");

// === impl HttpAdapter ===

impl HttpAdapter {
    /// Creates the adapter of the server that `spec` starts.
    pub fn new(host: Arc<Host>, name: String, spec: Spec, limits: SessionLimits) -> Arc<Self> {
        let address = ServerAddress {
            proxy: None,
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
            supervisor: Supervisor::new(limits.count),
            sessions: Mutex::default(),
            openings: Mutex::default(),
            idle: limits.idle,
            shared: tokio::sync::Mutex::default(),
            probed: tokio::sync::Mutex::default(),
            start_error: Mutex::default(),
        });
        let (least, most) = SWEEP_INTERVALS;
        let interval = if limits.idle.is_zero() { most } else { (limits.idle / 4).clamp(least, most) };
        let sweeping = Arc::downgrade(&adapter);
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(interval).await;
                let Some(adapter) = sweeping.upgrade() else { return };
                adapter.sweep();
            }
        });
        adapter
    }

    /// Finds out ahead of the first request which era the server speaks.
    ///
    /// # Errors
    /// If the server cannot be started.
    pub async fn look_ahead(&self) -> Result<(), Unanswered> {
        self.is_stateless().await.map(drop)
    }

    /// Returns the number of server processes that run, and of all that were started.
    pub fn processes(&self) -> (usize, usize) {
        self.supervisor.counts()
    }

    /// Returns the reason why the last start of the server failed, if it did.
    pub fn start_error(&self) -> Option<String> {
        self.start_error.lock().clone()
    }

    /// Tells the clients whose sessions are being opened that the gateway stops.
    pub fn end_openings(&self) {
        let openings = std::mem::take(&mut *self.openings.lock());
        for opening in openings {
            opening.settle(Outcome::Failed(check::stopping()), self.clock().now());
        }
    }

    /// Ends every server process, and waits until they are gone.
    pub async fn close(&self) {
        self.end_openings();
        self.sessions.lock().clear();
        // Each process is killed after twice its grace; the rest is for reading what it wrote.
        self.supervisor.close(self.spec.grace * 2 + Duration::from_secs(1)).await;
    }

    /// Kills every server process.
    pub fn kill(&self) {
        self.supervisor.kill();
    }

    fn clock(&self) -> Clock {
        self.host.log().clock().clone()
    }

    fn limit(&self) -> usize {
        self.host.settings().inspect_limit
    }

    /// Remembers the error of a start that failed.
    fn started<T>(&self, started: Result<T, SpawnError>) -> Result<T, Unanswered> {
        *self.start_error.lock() = started.as_ref().err().map(ToString::to_string);
        started.map_err(|error| Unanswered::bad_gateway(format!("the server cannot be started: {error}")))
    }

    async fn dispatch(&self, call: Call) -> Result<Answer, Unanswered> {
        match call.head.method {
            Method::POST => self.post(call).await,
            Method::GET => self.get(&call.head),
            Method::DELETE => self.delete(&call.head),
            _ => Err(check::method_not_allowed("POST, GET, DELETE")),
        }
    }

    async fn post(&self, call: Call) -> Result<Answer, Unanswered> {
        let Call { head, message, body, context } = call;
        check::post(&head.headers)?;
        let CallBody::Whole(body) = body else { return Err(check::too_long(self.limit())) };
        let message = message.unwrap_or_else(|| Message::parse(body.bytes()));
        match message.kind() {
            Kind::Opaque(Opaque::NotJson(flaw)) => Err(check::not_json(flaw)),
            Kind::Opaque(why) => Err(check::invalid(why.to_string())),
            _ if is_stateless(&head, &message) => self.stateless(&head, &context, message, body).await,
            _ => self.stateful(&head, context, message, body).await,
        }
    }

    fn ended(&self, process: &ServerProcess) -> Unanswered {
        self.unwritable(process, WriteError::Gone)
    }

    fn unwritable(&self, process: &ServerProcess, why: WriteError) -> Unanswered {
        if let (WriteError::Busy, None) = (why, process.router.over()) {
            return check::busy(why.to_string(), 1);
        }
        let why = process.router.over().unwrap_or_else(|| why.to_string());
        Unanswered::bad_gateway(format!("the server {} is gone: {why}", self.name))
    }

    /// Starts a process that is not of one client's session, with a session of its own for its stderr and
    /// unclaimed messages. `purpose` names it, and `end` is the reason that its session ends with.
    async fn start_apart(
        &self,
        purpose: &str,
        clients: Clients,
        end: &'static str,
    ) -> Result<(Arc<Session>, Arc<ServerProcess>), SpawnError> {
        let session = self.host.open(Opened {
            name: format!("{} ({purpose})", self.name),
            target: self.address.target.clone(),
            directory: self.spec.directory.as_ref().map(|directory| directory.display().to_string()),
            pid: None,
            own_client: clients == Clients::One,
        });
        let (host, own) = (Arc::clone(&self.host), Arc::clone(&session));
        let ended = move |exit: ProcessExit| {
            own.close(end, Some(exit.into()));
            host.remove_session(own.id());
        };
        let options = ProcessOptions {
            spec: &self.spec,
            router: ResponseRouter::new(clients, Arc::clone(&session), self.clock()),
            session: Arc::clone(&session),
            limit: self.limit(),
            supervisor: &self.supervisor,
            permit: None,
        };
        let started = ServerProcess::start(options, ended).await.inspect_err(|_| {
            session.close("the server could not be started", None);
            self.host.remove_session(session.id());
        });
        Ok((session, started?))
    }
}

impl CallService for HttpAdapter {
    fn call(&self, call: Call) -> Calling<'_> {
        Box::pin(self.dispatch(call))
    }

    fn address(&self) -> &ServerAddress {
        &self.address
    }
}

/// Returns `true` if a request speaks the stateless era: by its envelope, or by headers that only that
/// era has if the envelope is missing. `initialize` is of the stateful era in any case.
fn is_stateless(head: &Parts, message: &Message) -> bool {
    let version = text(&head.headers, "mcp-protocol-version");
    let claims = version.and_then(Revision::parse).is_some_and(|revision| revision.era() == Era::Stateless);
    message.param(&["_meta", meta::PROTOCOL_VERSION]).is_some()
        || (message.method() != Some("initialize")
            && head.headers.get(SESSION_ID).is_none()
            && (claims || head.headers.contains_key("mcp-method")))
}

fn refused(error: AskError) -> Unanswered {
    match error {
        AskError::Duplicate(_) => check::invalid(error.to_string()),
        AskError::Over(why) => Unanswered::bad_gateway(why),
    }
}

fn accepted() -> Answer {
    Answer::empty(StatusCode::ACCEPTED)
}
