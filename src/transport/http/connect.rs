//! The interface between the proxy service and the connection to a server: a URL, a child process, or
//! a wrapper around either.

use std::pin::Pin;

use http::{HeaderName, HeaderValue, Request, Response, StatusCode};

use super::HttpBody;
use crate::mcp::Unreached;

/// A server that HTTP requests are sent to.
pub trait Connect: Send + Sync + 'static {
    /// Sends a request, and waits for the head of its response. If the future or the response body is
    /// dropped before the response has ended, the server is notified.
    ///
    /// # Errors
    /// The future fails with [`Unanswered`] if the server does not respond.
    fn send(&self, request: Request<HttpBody>) -> Sending<'_>;

    /// Returns the names of the server.
    fn address(&self) -> &ServerAddress;
}

/// The future of a sent request, which resolves to the head of the response.
pub type Sending<'a> = Pin<Box<dyn Future<Output = Result<Response<HttpBody>, Unanswered>> + Send + 'a>>;

/// The names of a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerAddress {
    /// The proxy of the environment that requests go through, as `host:port`; its credentials are left out.
    pub proxy: Option<String>,
    /// The origin, `https://host:port`, without a path.
    pub origin: String,
    /// The authority, `host:port`.
    pub authority: String,
    /// The path of the endpoint, with its query if it has one.
    pub path: String,
    /// The server's name on a tape: its URL, or the words of its command line.
    pub target: Vec<String>,
}

/// The reason why a server does not respond, and the answer that its client gets instead.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{why}")]
pub struct Unanswered {
    /// The HTTP status of the answer.
    pub status: StatusCode,
    /// The code of the JSON-RPC error in the answer.
    pub code: i64,
    /// The reason, which is the message of the JSON-RPC error.
    pub why: String,
    /// The `data` of the JSON-RPC error.
    pub data: Option<Box<serde_json::Value>>,
    /// An additional header of the answer.
    pub header: Option<(HeaderName, HeaderValue)>,
}

impl Unanswered {
    /// Creates an answer with `status`, and with `code` in its JSON-RPC error.
    pub fn new(status: StatusCode, code: i64, why: impl Into<String>) -> Self {
        Self { status, code, why: why.into(), data: None, header: None }
    }

    /// Creates the answer for a server that cannot be reached (502; RFC 9110, 15.6.3).
    pub fn bad_gateway(why: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_GATEWAY, i64::from(StatusCode::BAD_GATEWAY.as_u16()), why)
    }

    /// Sets the `data` of the JSON-RPC error.
    #[must_use]
    pub fn with_data(mut self, data: serde_json::Value) -> Self {
        self.data = Some(Box::new(data));
        self
    }

    /// Sets the additional header of the answer.
    #[must_use]
    pub fn with_header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.header = Some((name, value));
        self
    }
}

/// Returns the reason of an error of a connection, or of the request on it.
pub fn unreached(error: &(dyn std::error::Error + 'static), is_connect: bool) -> Unreached {
    use std::io::ErrorKind;
    let mut source = Some(error);
    let mut reason = if is_connect { Unreached::Other } else { Unreached::Reset };
    while let Some(error) = source {
        if error.is::<rustls::Error>() {
            return Unreached::Tls;
        }
        // The error of hyper-util's resolver has no public type.
        if error.to_string().starts_with("dns error") {
            return Unreached::Unresolved;
        }
        if let Some(io) = error.downcast_ref::<std::io::Error>() {
            reason = match io.kind() {
                ErrorKind::ConnectionRefused => Unreached::Refused,
                ErrorKind::TimedOut => Unreached::TimedOut,
                ErrorKind::ConnectionReset | ErrorKind::UnexpectedEof | ErrorKind::BrokenPipe => {
                    Unreached::Reset
                }
                _ => reason,
            };
            // The source of an I/O error is that of the error inside, which would be skipped.
            let mut inner = io.get_ref().map(|inner| inner as &(dyn std::error::Error + 'static));
            while let Some(error) = inner {
                if error.is::<rustls::Error>() {
                    return Unreached::Tls;
                }
                let io = error.downcast_ref::<std::io::Error>();
                inner = io.and_then(|io| Some(io.get_ref()? as &(dyn std::error::Error + 'static)));
            }
        }
        source = error.source();
    }
    reason
}
