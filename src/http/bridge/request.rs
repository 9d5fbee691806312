//! A request of the bridge, and redirects within the origin of the server.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use http::header::{ACCEPT, ACCEPT_ENCODING, CONTENT_TYPE, HOST, LOCATION, USER_AGENT};
use http::{HeaderName, HeaderValue, Method, Request, Response, StatusCode};

use super::Bridge;
use super::error::ExchangeError;
use super::session::Session;
use crate::http::context::{OfClient, OwnRequest};
use crate::http::fit;
use crate::mcp::Message;
use crate::mcp::compose::meta;
use crate::transport::http::{HttpBody, ServerAddress, full};
use http_body_util::BodyExt;

/// Media types that a request accepts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Accepts {
    /// JSON and event streams.
    Both,
    /// Event streams only.
    Events,
}

pub(super) const SESSION_ID: HeaderName = HeaderName::from_static("mcp-session-id");
const VERSION: HeaderName = HeaderName::from_static("mcp-protocol-version");
/// Maximum number of redirects in a row.
const MAX_REDIRECTS: usize = 3;

impl Bridge {
    /// Sends a request in a session, and waits for the head of its response. Redirects to the same origin are
    /// followed with the same method and body (RFC 9110, 15.4.8 and 15.4.9), and remembered.
    pub(super) async fn send(
        &self,
        method: Method,
        message: Option<&Message>,
        session: &Session,
        accepts: Accepts,
        last_event: Option<&str>,
    ) -> Result<Response<HttpBody>, ExchangeError> {
        let here = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);
        let address = self.service.exchanges().upstream.address();
        for _ in 0..=MAX_REDIRECTS {
            let path = self.upstream.lock().path.clone();
            let request = self.request(&method, message, session, accepts, last_event, &path);
            let response = Arc::clone(&self.service).exchange(request, here).await;
            let response = response.map_err(|_| ExchangeError::Closed)?;
            match redirect(&response, address, &path) {
                Some(to) => {
                    self.note(&format!("the server redirects {path} to {to}: name that path in the URL"));
                    self.upstream.lock().path = to;
                }
                None => return Ok(response),
            }
        }
        Err(ExchangeError::Circle(address.origin.clone()))
    }

    /// Returns the path that requests go to.
    pub(in crate::http) fn path(&self) -> String {
        self.upstream.lock().path.clone()
    }

    /// Sends a GET to a path, and reads the head of the response and the first part of its body that comes soon.
    pub(in crate::http) async fn look(&self, path: &str) {
        const BODY_TIMEOUT: Duration = Duration::from_millis(500);
        let here = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);
        let request = self.request(&Method::GET, None, &Session::default(), Accepts::Events, None, path);
        let Ok(response) = Arc::clone(&self.service).exchange(request, here).await else { return };
        let mut body = response.into_body();
        let begun = async {
            while let Some(Ok(frame)) = body.frame().await {
                if frame.into_data().is_ok_and(|data| !data.is_empty()) {
                    return;
                }
            }
        };
        // A stream may stay silent.
        let _ = tokio::time::timeout(BODY_TIMEOUT, begun).await;
    }

    fn request(
        &self,
        method: &Method,
        message: Option<&Message>,
        session: &Session,
        accepts: Accepts,
        last_event: Option<&str>,
        path: &str,
    ) -> Request<HttpBody> {
        let exchanges = self.service.exchanges();
        let mut request =
            Request::new(full(message.map(|message| message.raw().clone()).unwrap_or_default()));
        *request.method_mut() = method.clone();
        if let Ok(uri) = path.parse() {
            *request.uri_mut() = uri;
        }
        let sent = request.headers_mut();
        sent.extend(self.given.clone());
        if let Ok(host) = HeaderValue::from_str(&exchanges.upstream.address().authority) {
            sent.insert(HOST, host);
        }
        let agent = HeaderValue::from_static(concat!("shadowcat/", env!("CARGO_PKG_VERSION")));
        sent.entry(USER_AGENT).or_insert(agent);
        // Not `deflate`, which some servers send without the zlib header (RFC 9110, 8.4.1.2).
        sent.entry(ACCEPT_ENCODING).or_insert(HeaderValue::from_static("gzip, br, zstd"));
        sent.insert(
            ACCEPT,
            HeaderValue::from_static(match accepts {
                Accepts::Both => "application/json, text/event-stream",
                Accepts::Events => "text/event-stream",
            }),
        );
        if let Some(message) = message {
            sent.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
            if message.param(&["_meta", meta::PROTOCOL_VERSION]).is_some() {
                fit::repeat(sent, &exchanges.sessions.context.annotations.lock().headers(message));
            }
        }
        for (name, value) in [(SESSION_ID, &session.id), (VERSION, &session.version)] {
            if let Some(value) = value
                && !sent.contains_key(&name)
            {
                sent.insert(name, value.clone());
            }
        }
        if let Some(Ok(last)) = last_event.map(HeaderValue::from_str) {
            sent.insert("last-event-id", last);
        }
        request.extensions_mut().insert(OwnRequest);
        if let Some(client) = &*self.client.lock() {
            request.extensions_mut().insert(OfClient(Arc::clone(client)));
        }
        request
    }
}

/// Returns the path of a redirect that keeps the method and stays at the origin of the server.
fn redirect(response: &Response<HttpBody>, address: &ServerAddress, from: &str) -> Option<String> {
    if !matches!(response.status(), StatusCode::TEMPORARY_REDIRECT | StatusCode::PERMANENT_REDIRECT) {
        return None;
    }
    let location = response.headers().get(LOCATION)?.to_str().ok()?;
    let base = url::Url::parse(&format!("{}{from}", address.origin)).ok()?;
    let to = base.join(location).ok()?;
    let path = match to.query() {
        Some(query) => format!("{}?{query}", to.path()),
        None => to.path().to_owned(),
    };
    (to.origin() == base.origin()).then_some(path)
}
