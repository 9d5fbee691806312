//! The hop from the gateway's endpoint to an HTTP server elsewhere.

use std::sync::Arc;

use http::header::{AUTHORIZATION, COOKIE, SET_COOKIE, WWW_AUTHENTICATE};
use http::uri::PathAndQuery;
use http::{HeaderMap, Request, Response, StatusCode, Uri};

use super::ENDPOINT;
use crate::transport::http::{Body, Connect, Place, Sending, Unanswered};

/// A server at another path than ours, reached with credentials of ours.
///
/// The client's own credentials end here: a token that was not issued for the server must not be
/// passed on to it (2025-06-18 on, basic/authorization, token passthrough), and its challenge must not
/// reach a client that it does not name.
pub struct Hop {
    inner: Arc<dyn Connect>,
    place: Place,
    given: HeaderMap,
}

impl Hop {
    /// The hop to `inner`; every request carries `given`.
    pub fn new(inner: Arc<dyn Connect>, given: HeaderMap) -> Arc<Self> {
        let place = Place { path: ENDPOINT.to_owned(), ..inner.place().clone() };
        Arc::new(Self { inner, place, given })
    }

    /// The path of the server's own endpoint, with what the client asked of ours.
    fn uri(&self, asked: &Uri) -> Option<Uri> {
        let path = &self.inner.place().path;
        let path = match asked.query() {
            Some(query) if path.contains('?') => format!("{path}&{query}"),
            Some(query) => format!("{path}?{query}"),
            None => path.clone(),
        };
        Some(path.parse::<PathAndQuery>().ok()?.into())
    }

    async fn pass(&self, mut request: Request<Body>) -> Result<Response<Body>, Unanswered> {
        if let Some(uri) = self.uri(request.uri()) {
            *request.uri_mut() = uri;
        }
        for name in [AUTHORIZATION, COOKIE] {
            request.headers_mut().remove(name);
        }
        for (name, value) in &self.given {
            request.headers_mut().insert(name, value.clone());
        }
        let mut response = self.inner.send(request).await?;
        if response.status() == StatusCode::UNAUTHORIZED {
            let why = "the upstream refuses the gateway's credentials; --header or --login gives it some";
            return Err(Unanswered::bad_gateway(why));
        }
        for name in [WWW_AUTHENTICATE, SET_COOKIE] {
            response.headers_mut().remove(name);
        }
        Ok(response)
    }
}

impl Connect for Hop {
    fn send(&self, request: Request<Body>) -> Sending<'_> {
        Box::pin(self.pass(request))
    }

    fn place(&self) -> &Place {
        &self.place
    }
}
