//! The service between HTTP clients and one upstream.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use parking_lot::Mutex;

use crate::client::{Attendance, Client};
use crate::host::Host;
use crate::host::launch::greet;
use crate::log::record::{Level, SessionId};
use crate::mcp::Era;
use crate::mcp::mirror::Annotations;
use crate::session::Session;
use crate::transport::http::{Body, BodyError, Cleaner, Connect, Cut, Guard, full};
use crate::transport::memory;

use super::body::{self, Gathered};
use super::bridge::Bridge;
use super::exchange::Exchange;
use super::sessions::HttpSessions;

/// The way from HTTP clients to an HTTP upstream.
pub struct ProxyService {
    pub(super) host: Arc<Host>,
    pub(super) upstream: Arc<dyn Connect>,
    pub(super) guard: Guard,
    pub(super) cleaner: Cleaner,
    pub(super) sessions: HttpSessions,
    /// What people call the upstream.
    pub(super) name: String,
    /// The upstream as the log names it.
    pub(super) target: Vec<String>,
    pub(super) annotations: Mutex<Annotations>,
    /// An answer that breaks off before it began is a 502 rather than a connection that breaks off.
    pub(super) explains: bool,
    /// Our address is put in the place of the upstream's where OAuth speaks.
    pub(super) rewrites: bool,
    /// The person was told why clients will refuse to authorize.
    pub(super) told: AtomicBool,
}

/// How a service treats what passes.
#[derive(Debug, Clone, Copy, Default)]
pub struct ProxyOptions {
    /// Puts our address in the place of the upstream's where OAuth speaks (`--rewrite-origin`).
    pub rewrites: bool,
    /// Says 502 where the upstream only breaks off: a debugger shows what a server does, a gateway
    /// answers for it.
    pub explains: bool,
}

/// How a client of our own calls on a server.
pub struct Call {
    /// What every request carries.
    pub given: http::HeaderMap,
    /// The era to speak; found out when none is given.
    pub era: Option<Era>,
    pub attendance: Attendance,
}

/// Connects a client of our own to the server, through the same service as any other client. The
/// greeting done, `then` runs with the client.
pub fn call_on(
    service: &Arc<ProxyService>,
    call: Call,
    then: impl FnOnce(Arc<Client>) + Send + 'static,
) -> Arc<Client> {
    let Call { given, era, attendance } = call;
    /// Chunks in flight between the client and its bridge.
    const PIPE_CHUNKS: usize = 64;
    let (to_bridge, from_client) = memory::pipe(PIPE_CHUNKS);
    let (to_client, from_bridge) = memory::pipe(PIPE_CHUNKS);
    let limit = service.host.settings().inspect_limit;
    let bridge = Bridge::new(Arc::clone(service), to_client, given);
    let root = std::env::current_dir().unwrap_or_else(|_| "/".into());
    let client = Client::start(to_bridge, from_bridge, root, attendance, limit);
    bridge.speaks_for(Arc::clone(&client));
    tokio::spawn(bridge.run(from_client, limit));
    let (greeting, host) = (Arc::clone(&client), Arc::clone(&service.host));
    tokio::spawn(async move {
        match greet(&greeting, era).await {
            Ok(()) => {
                greeting.list_all().await;
                then(greeting);
            }
            Err(error) => {
                host.note(SessionId(0), Level::Error, format!("our own client found no server: {error}"))
            }
        }
    });
    client
}

/// How often sessions that have fallen silent are looked for.
const SWEEP: Duration = Duration::from_secs(30);

// === impl ProxyService ===

impl ProxyService {
    /// A service in front of `upstream` for those whom `guard` lets in.
    pub fn new(
        host: Arc<Host>,
        upstream: Arc<dyn Connect>,
        guard: Guard,
        name: String,
        options: ProxyOptions,
    ) -> Arc<Self> {
        let cleaner = host.cleaner().clone();
        let target = cleaner.command(&upstream.address().target);
        let service = Arc::new(Self {
            host,
            upstream,
            guard,
            cleaner,
            sessions: HttpSessions::default(),
            name,
            target,
            annotations: Mutex::default(),
            explains: options.explains,
            rewrites: options.rewrites,
            told: AtomicBool::new(false),
        });
        let sweeping = Arc::downgrade(&service);
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(SWEEP).await;
                let Some(service) = sweeping.upgrade() else { return };
                service.sessions.sweep(&service);
            }
        });
        service
    }

    /// Answers one request.
    ///
    /// # Errors
    /// [`Cut`] when the connection is to be closed without an answer.
    pub async fn handle<B>(
        self: Arc<Self>,
        request: Request<B>,
        peer: SocketAddr,
    ) -> Result<Response<Body>, Cut>
    where
        B: http_body::Body<Data = Bytes> + Send + Unpin + 'static,
        B::Error: Into<BodyError> + Send,
    {
        let (parts, body) = request.into_parts();
        if let Err(forbidden) = self.guard.check(&parts.uri, &parts.headers) {
            return Ok(self.refuse(peer, &parts, StatusCode::FORBIDDEN, &forbidden.to_string()));
        }
        if parts.method == Method::CONNECT {
            let why = "shadowcat stands in front of one server and is no proxy for others";
            return Ok(self.refuse(peer, &parts, StatusCode::METHOD_NOT_ALLOWED, why));
        }
        self.exchange(Request::from_parts(parts, body), peer).await
    }

    /// Answers a request that comes from nowhere else but this program, or was let in.
    ///
    /// # Errors
    /// [`Cut`] when the connection is to be closed without an answer.
    pub async fn exchange<B>(
        self: Arc<Self>,
        request: Request<B>,
        peer: SocketAddr,
    ) -> Result<Response<Body>, Cut>
    where
        B: http_body::Body<Data = Bytes> + Send + Unpin + 'static,
        B::Error: Into<BodyError> + Send,
    {
        let (parts, body) = request.into_parts();
        match body::gather(body, self.host.settings().inspect_limit).await {
            Gathered::Whole(bytes) => Exchange::open(&self, parts, peer).run::<B>(bytes, None).await,
            Gathered::Long(bytes, rest) => Exchange::open(&self, parts, peer).run(bytes, Some(rest)).await,
            Gathered::Slow => {
                let why = "the body came too slowly";
                Ok(self.refuse(peer, &parts, StatusCode::REQUEST_TIMEOUT, why))
            }
            Gathered::Broken => Err(Cut),
        }
    }

    /// Ends the streams that nobody waits on for an answer: they would hold up a stop for nothing.
    pub fn hush(&self) {
        self.sessions.hush();
    }

    /// Ends every session.
    pub fn close(&self, reason: &str) {
        self.sessions.close_all(self, reason);
    }

    /// Says once why a client that is challenged by this upstream will go no further: it asks for a
    /// token for the URL that it dialled, which is not the one that the upstream's documents name
    /// (RFC 9728, 3.3).
    pub(super) fn warn_of_challenge(&self, session: &Session, status: StatusCode) {
        if status != StatusCode::UNAUTHORIZED || self.rewrites || self.told.swap(true, Ordering::Relaxed) {
            return;
        }
        let text = format!(
            "clients will refuse to log in here, since the server's documents name {}; --login or --rewrite-origin \
             helps, or a token of their own",
            self.upstream.address().origin
        );
        session.note(None, Level::Warning, text);
    }

    /// An answer of ours to a request that goes no further. It is in the log, so that nobody looks
    /// for the error in the server.
    fn refuse(
        &self,
        peer: SocketAddr,
        parts: &http::request::Parts,
        status: StatusCode,
        why: &str,
    ) -> Response<Body> {
        let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
        let text = format!("refused {} {} from {}: {why}", parts.method, self.cleaner.url(path), peer.ip());
        self.host.note(SessionId(0), Level::Warning, text);
        let line =
            crate::mcp::compose::failure(None, i64::from(status.as_u16()), &format!("shadowcat: {why}"));
        plain(status, line)
    }
}

/// A response of ours with a JSON body.
pub(super) fn plain(status: StatusCode, body: Bytes) -> Response<Body> {
    let mut response = Response::new(full(body));
    *response.status_mut() = status;
    let json = http::HeaderValue::from_static("application/json");
    response.headers_mut().insert(http::header::CONTENT_TYPE, json);
    response
}
