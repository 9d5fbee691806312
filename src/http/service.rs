//! The service between HTTP clients and one server.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use http::header::ORIGIN;
use http::{Method, Request, Response, StatusCode};
use parking_lot::Mutex;

use super::body::{self, Gathered};
use super::call::CallService;
use super::context::ServiceContext;
use super::exchange::{Exchange, Exchanges, plain};
use super::sessions::HttpSessions;
use crate::host::Host;
use crate::log::record::{Level, SessionId};
use crate::mcp::compose;
use crate::transport::http::cors;
use crate::transport::http::{BodyError, Cut, Guard, HttpBody};

/// The service between HTTP clients and one server: everything that they say to each other passes
/// through a session.
pub struct ProxyService {
    guard: Guard,
    answers_pages: bool,
    exchanges: Arc<Exchanges>,
}

/// Options of a [`ProxyService`].
#[derive(Debug, Clone, Copy, Default)]
pub struct ProxyOptions {
    /// Puts our address in the place of the upstream's where OAuth names it (`--rewrite-origin`).
    pub rewrites: bool,
    /// Answers 502 where the upstream only breaks off. A debugger shows what a server does; a gateway
    /// answers for it.
    pub explains: bool,
    /// Answers the preflights of web pages, and lets the pages that the guard admits read the answers. Without it
    /// the upstream's own answers to pages pass.
    pub answers_pages: bool,
    /// Time after which a silent session that has a name is ended, zero for never; 30 minutes if `None`.
    pub session_idle: Option<Duration>,
}

/// Interval at which silent sessions are looked for.
const SWEEP_INTERVAL: Duration = Duration::from_secs(30);

// === impl ProxyService ===

impl ProxyService {
    /// Creates the service between `upstream` and the clients that `guard` admits.
    pub fn new(
        host: Arc<Host>,
        upstream: Arc<dyn CallService>,
        guard: Guard,
        name: String,
        options: ProxyOptions,
    ) -> Arc<Self> {
        let cleaner = host.cleaner().clone();
        let target = cleaner.command(&upstream.address().target);
        let context = ServiceContext { host, cleaner, name, target, annotations: Mutex::default() };
        let exchanges = Arc::new(Exchanges {
            sessions: HttpSessions::new(context, options.session_idle),
            upstream,
            explains: options.explains,
            rewrites: options.rewrites,
            warned_of_challenge: AtomicBool::new(false),
        });
        let sweeping = Arc::downgrade(&exchanges);
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(SWEEP_INTERVAL).await;
                let Some(exchanges) = sweeping.upgrade() else { return };
                exchanges.sessions.sweep();
            }
        });
        Arc::new(Self { guard, answers_pages: options.answers_pages, exchanges })
    }

    /// Answers a request.
    ///
    /// # Errors
    /// [`Cut`] if the connection is to be closed without an answer.
    pub async fn handle<B>(
        self: Arc<Self>,
        request: Request<B>,
        peer: SocketAddr,
    ) -> Result<Response<HttpBody>, Cut>
    where
        B: http_body::Body<Data = bytes::Bytes> + Send + Unpin + 'static,
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
        let Some(origin) = parts.headers.get(ORIGIN).filter(|_| self.answers_pages).cloned() else {
            return self.exchange(Request::from_parts(parts, body), peer).await;
        };
        let mut response = match cors::preflight(&parts) {
            Some(response) => response,
            None => self.exchange(Request::from_parts(parts, body), peer).await?,
        };
        cors::allow(&origin, response.headers_mut());
        Ok(response)
    }

    /// Answers a request that was admitted, or is of this process.
    ///
    /// # Errors
    /// [`Cut`] if the connection is to be closed without an answer.
    pub async fn exchange<B>(
        self: Arc<Self>,
        request: Request<B>,
        peer: SocketAddr,
    ) -> Result<Response<HttpBody>, Cut>
    where
        B: http_body::Body<Data = bytes::Bytes> + Send + Unpin + 'static,
        B::Error: Into<BodyError> + Send,
    {
        let (parts, body) = request.into_parts();
        let limit = self.exchanges.sessions.context.host.settings().inspect_limit;
        match body::gather(body, limit).await {
            Gathered::Whole(bytes) => {
                let exchange = Exchange::open(&self.exchanges, parts, &bytes, false, peer);
                exchange.run::<B>(bytes, None).await
            }
            Gathered::Long(bytes, rest) => {
                let exchange = Exchange::open(&self.exchanges, parts, &bytes, true, peer);
                exchange.run(bytes, Some(rest)).await
            }
            Gathered::Slow => {
                let why = "the body came too slowly";
                Ok(self.refuse(peer, &parts, StatusCode::REQUEST_TIMEOUT, why))
            }
            Gathered::Broken => Err(Cut),
        }
    }

    /// Ends the streams on which no answer is awaited: they would delay a stop for nothing.
    pub fn end_standing_streams(&self) {
        self.exchanges.sessions.end_standing_streams();
    }

    /// Ends every session.
    pub fn close(&self, reason: &str) {
        self.exchanges.sessions.close_all(reason);
    }

    /// Answers a request that goes no further. The answer is noted in the log, so that nobody looks for
    /// the error in the server.
    fn refuse(
        &self,
        peer: SocketAddr,
        parts: &http::request::Parts,
        status: StatusCode,
        why: &str,
    ) -> Response<HttpBody> {
        let context = &self.exchanges.sessions.context;
        let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
        let path = context.cleaner.url(path);
        let text = format!("refused {} {path} from {}: {why}", parts.method, peer.ip());
        context.host.note(SessionId(0), Level::Warning, text);
        let line = compose::failure(None, i64::from(status.as_u16()), &format!("shadowcat: {why}"));
        plain(status, line)
    }

    pub(super) fn exchanges(&self) -> &Exchanges {
        &self.exchanges
    }
}
