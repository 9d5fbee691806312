//! The seam between what stands in front of a server and the way to it: a URL, a child process,
//! and whatever is put around either.

use std::pin::Pin;

use http::{HeaderName, HeaderValue, Request, Response, StatusCode};

use super::Body;

/// A server that HTTP requests are passed on to.
pub trait Connect: Send + Sync + 'static {
    /// Sends a request, and waits for the head of its response. Dropped before the response has
    /// ended, it tells the server.
    fn send(&self, request: Request<Body>) -> Sending<'_>;

    /// What it is called.
    fn address(&self) -> &ServerAddress;
}

/// A request on its way.
pub type Sending<'a> = Pin<Box<dyn Future<Output = Result<Response<Body>, Unanswered>> + Send + 'a>>;

/// What a server is called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerAddress {
    /// `https://host:port`, without a path.
    pub origin: String,
    /// `host:port`.
    pub authority: String,
    /// The path of its endpoint, with a query where it has one.
    pub path: String,
    /// What a tape names it by: its URL, or its command line.
    pub target: Vec<String>,
}

/// Why a server gives no answer, and what its client is told instead.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{why}")]
pub struct Unanswered {
    pub status: StatusCode,
    /// The code of the JSON-RPC error.
    pub code: i64,
    pub why: String,
    /// The `data` of the JSON-RPC error.
    pub data: Option<Box<serde_json::Value>>,
    /// What the response says beside it.
    pub header: Option<(HeaderName, HeaderValue)>,
}

impl Unanswered {
    /// An answer with `status`, and `code` in its JSON-RPC error.
    pub fn new(status: StatusCode, code: i64, why: impl Into<String>) -> Self {
        Self { status, code, why: why.into(), data: None, header: None }
    }

    /// The server is not there (RFC 9110, 15.6.3).
    pub fn bad_gateway(why: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_GATEWAY, i64::from(StatusCode::BAD_GATEWAY.as_u16()), why)
    }

    #[must_use]
    pub fn with_data(mut self, data: serde_json::Value) -> Self {
        self.data = Some(Box::new(data));
        self
    }

    #[must_use]
    pub fn with_header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.header = Some((name, value));
        self
    }
}
