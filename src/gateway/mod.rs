//! The gateway: an MCP server behind one HTTP endpoint, with health and metrics for its operation.
//!
//! Work that needs only HTTP headers happens here, in the [router](Gateway::router). Work that needs a
//! message is done by an interceptor of the chain behind [`ProxyService`]. A
//! [`Connect`](crate::transport::http::Connect) chooses and reaches the server.

mod health;
mod hop;
mod metrics;
mod passed;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::body::Body as EdgeBody;
use axum::extract::{Extension, Request, State};
use axum::response::{IntoResponse, Response as Answer};
use axum::routing::any;
use http::header::{ALLOW, CONTENT_TYPE};
use http::{HeaderValue, Method, StatusCode};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use tower_service::Service;

use crate::http::ProxyService;
use crate::log::Log;
use crate::mcp::compose;
use crate::serve::HttpAdapter;
use crate::transport::http::{Cut, Guard, HttpBody};

use health::UpstreamState;

pub use hop::Hop;
pub use metrics::Metrics;
pub use passed::Passed;

/// A gateway in front of one server.
pub struct Gateway {
    service: Arc<ProxyService>,
    /// HTTP adapter of a stdio server; `None` for an HTTP server.
    adapter: Option<Arc<HttpAdapter>>,
    guard: Guard,
    metrics: Arc<Metrics>,
    /// Display name of the server.
    name: String,
}

/// Path of the MCP endpoint.
pub const ENDPOINT: &str = crate::serve::ENDPOINT;

/// Marker on a response that is not sent: the connection is closed instead.
#[derive(Clone)]
struct CloseConnection;

impl Gateway {
    /// Creates a gateway that answers the requests that `guard` admits, and computes its metrics from
    /// `log`. `adapter` is the HTTP adapter behind `service`, if the server is a stdio server; `name` is
    /// the server's name in `/health`.
    ///
    /// # Panics
    /// Panics outside a Tokio runtime.
    pub fn new(
        service: Arc<ProxyService>,
        adapter: Option<Arc<HttpAdapter>>,
        guard: Guard,
        log: &Arc<Log>,
        name: String,
    ) -> Arc<Self> {
        let metrics = Metrics::follow(log);
        Arc::new(Self { service, adapter, guard, metrics, name })
    }

    /// Returns the routes. Each route applies the guard; the endpoint leaves that to the proxy service,
    /// which also records refused requests.
    pub fn router(self: Arc<Self>) -> Router {
        Router::new()
            .route(ENDPOINT, any(endpoint))
            .route("/health", any(health))
            .route("/metrics", any(metrics_text))
            .fallback(nowhere)
            .with_state(self)
    }

    fn metrics_text(&self) -> String {
        let processes = self.adapter.as_ref().map(|adapter| adapter.processes());
        self.metrics.text(processes)
    }

    fn health(&self) -> serde_json::Value {
        let processes = self.adapter.as_ref().map(|adapter| adapter.processes().0);
        let seen = match (
            self.metrics.upstream(),
            self.adapter.as_ref().and_then(|adapter| adapter.start_error()),
        ) {
            (UpstreamState::Unknown, Some(trouble)) => UpstreamState::Down(trouble),
            (seen, _) => seen,
        };
        health::report(&self.name, &seen, processes)
    }
}

/// Answers a request that a listener received from `peer`.
///
/// # Errors
/// [`Cut`] if the connection is to be closed without an answer.
pub async fn answer(
    mut router: Router,
    request: Request<Incoming>,
    peer: SocketAddr,
) -> Result<http::Response<HttpBody>, Cut> {
    let mut request = request.map(EdgeBody::new);
    request.extensions_mut().insert(peer);
    let routed: Result<Answer, Infallible> = router.call(request).await;
    let response = match routed {
        Ok(response) => response,
        Err(never) => match never {},
    };
    match response.extensions().get::<CloseConnection>() {
        Some(CloseConnection) => Err(Cut),
        None => Ok(response.map(|body| body.map_err(Into::into).boxed_unsync())),
    }
}

async fn endpoint(
    State(gateway): State<Arc<Gateway>>,
    Extension(peer): Extension<SocketAddr>,
    request: Request,
) -> Answer {
    match Arc::clone(&gateway.service).handle(request, peer).await {
        Ok(response) => response.map(EdgeBody::new),
        Err(Cut) => {
            let mut closed = StatusCode::INTERNAL_SERVER_ERROR.into_response();
            closed.extensions_mut().insert(CloseConnection);
            closed
        }
    }
}

async fn health(State(gateway): State<Arc<Gateway>>, request: Request) -> Answer {
    guarded(&gateway, &request, || read_only(&request, || json(StatusCode::OK, gateway.health().to_string())))
}

async fn metrics_text(State(gateway): State<Arc<Gateway>>, request: Request) -> Answer {
    guarded(&gateway, &request, || {
        read_only(&request, || {
            let mut response = gateway.metrics_text().into_response();
            let text = HeaderValue::from_static(metrics::MEDIA_TYPE);
            response.headers_mut().insert(CONTENT_TYPE, text);
            response
        })
    })
}

async fn nowhere(State(gateway): State<Arc<Gateway>>, request: Request) -> Answer {
    guarded(&gateway, &request, || {
        let why = format!("shadowcat: {} is not here; MCP is at {ENDPOINT}", request.uri().path());
        let error = compose::failure(None, i64::from(StatusCode::NOT_FOUND.as_u16()), &why);
        // A CONNECT request has no path, so its method is refused instead (RFC 9110, section 9.3.6).
        let status = match *request.method() == Method::CONNECT {
            true => StatusCode::METHOD_NOT_ALLOWED,
            false => StatusCode::NOT_FOUND,
        };
        json(status, String::from_utf8_lossy(&error).into_owned())
    })
}

fn guarded(gateway: &Gateway, request: &Request, answer: impl FnOnce() -> Answer) -> Answer {
    match gateway.guard.check(request.uri(), request.headers()) {
        Ok(()) => answer(),
        Err(forbidden) => {
            let error = compose::failure(
                None,
                i64::from(StatusCode::FORBIDDEN.as_u16()),
                &format!("shadowcat: {forbidden}"),
            );
            json(StatusCode::FORBIDDEN, String::from_utf8_lossy(&error).into_owned())
        }
    }
}

fn read_only(request: &Request, answer: impl FnOnce() -> Answer) -> Answer {
    if matches!(*request.method(), Method::GET | Method::HEAD) {
        return answer();
    }
    let mut response = json(StatusCode::METHOD_NOT_ALLOWED, String::new());
    response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
    response
}

fn json(status: StatusCode, body: String) -> Answer {
    let mut response = (status, body).into_response();
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}
