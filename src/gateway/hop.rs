//! Hop from the gateway's endpoint to a remote HTTP server.

use std::sync::Arc;

use http::header::{AUTHORIZATION, COOKIE, LOCATION, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode};

use super::{ENDPOINT, Passed};
use crate::transport::http::headers::is_of_protocol;
use crate::transport::http::secrets::is_telling;
use crate::transport::http::{Cleaner, Connect, HttpBody, Sending, ServerAddress, Unanswered};

/// Connection to a server whose path differs from [`ENDPOINT`], made with credentials of the gateway.
///
/// The client's own credentials end here: a token that was not issued for the server must not be
/// passed on to it (2025-06-18 on, basic/authorization, token passthrough). Nor does the server's
/// challenge reach the client, since it is meant for the gateway.
pub struct Hop {
    inner: Arc<dyn Connect>,
    address: ServerAddress,
    given: HeaderMap,
    passed: Passed,
}

impl Hop {
    /// Creates a hop to `inner` that adds the headers `given` to every request. Credentials of clients end here,
    /// except those in `passed`.
    pub fn new(inner: Arc<dyn Connect>, given: HeaderMap, passed: Passed) -> Arc<Self> {
        let address = ServerAddress { path: ENDPOINT.to_owned(), ..inner.address().clone() };
        Arc::new(Self { inner, address, given, passed })
    }

    async fn pass(&self, mut request: Request<HttpBody>) -> Result<Response<HttpBody>, Unanswered> {
        // Drop the client's query, which no revision defines; the path keeps the server's own query, which
        // may be a key.
        let path = &self.inner.address().path;
        *request.uri_mut() =
            path.parse().map_err(|_| Unanswered::bad_gateway("the URL of the upstream has no valid path"))?;
        let cookies = self.passed.cookies_of(request.headers());
        let ends = |name: &&HeaderName| is_credential(name) && !self.passed.has(name);
        let secrets: Vec<HeaderName> = request.headers().keys().filter(ends).cloned().collect();
        for name in secrets {
            request.headers_mut().remove(name);
        }
        // A header that is given takes the place of the client's; it may have several values.
        for name in self.given.keys() {
            request.headers_mut().remove(name);
        }
        for (name, value) in &self.given {
            request.headers_mut().append(name, value.clone());
        }
        if let Some(cookies) = cookies {
            // One header with all cookies: servers exist that read the first only (RFC 6265, 5.4).
            let given = request.headers_mut().remove(COOKIE);
            let parts: Vec<&[u8]> = given.iter().chain([&cookies]).map(HeaderValue::as_bytes).collect();
            if let Ok(all) = HeaderValue::from_bytes(&parts.join(&b"; "[..])) {
                request.headers_mut().insert(COOKIE, all);
            }
        }
        let mut response = self.inner.send(request).await?;
        if response.status() == StatusCode::UNAUTHORIZED {
            let why = "the upstream refused the gateway (401); set credentials with --header or --login";
            return Err(Unanswered::bad_gateway(why));
        }
        if response.status().is_redirection() {
            let to = response.headers().get(LOCATION).and_then(|to| to.to_str().ok()).unwrap_or("nowhere");
            let to = Cleaner::new().url(to);
            let why = format!("the upstream redirects to {to}; name that URL if it is the right one");
            return Err(Unanswered::bad_gateway(why));
        }
        response.headers_mut().remove(WWW_AUTHENTICATE);
        self.passed.keep_set(response.headers_mut());
        Ok(response)
    }
}

/// Returns `true` if a header holds a credential for the gateway. Headers of the protocol are none: the
/// server needs them.
fn is_credential(name: &HeaderName) -> bool {
    matches!(*name, AUTHORIZATION | COOKIE) || (!is_of_protocol(name) && is_telling(name.as_str()))
}

impl Connect for Hop {
    fn send(&self, request: Request<HttpBody>) -> Sending<'_> {
        Box::pin(self.pass(request))
    }

    fn address(&self) -> &ServerAddress {
        &self.address
    }
}
