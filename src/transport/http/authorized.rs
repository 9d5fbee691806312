//! Requests with a token of ours: `--login`.

use std::sync::Arc;

use bytes::Bytes;
use http::header::AUTHORIZATION;
use http::request::Parts;
use http::{HeaderValue, Request, Response, StatusCode};
use http_body::Body as _;
use http_body_util::BodyExt;

use super::{Body, Connect, Place, Sending, Unanswered, full};
use crate::oauth::Keeper;
use crate::oauth::discovery::Challenge;

/// A server that is sent a token of ours with every request.
pub struct Authorized {
    inner: Arc<dyn Connect>,
    keeper: Arc<Keeper>,
}

/// A body up to this length is kept until the token was accepted.
const KEPT: u64 = 1 << 20;
/// How often a request is sent again with another token: one that has ended, then one for more.
const AGAIN: usize = 2;

impl Authorized {
    /// `inner` with the tokens of `keeper`.
    pub fn new(inner: Arc<dyn Connect>, keeper: Arc<Keeper>) -> Arc<Self> {
        Arc::new(Self { inner, keeper })
    }

    async fn pass(&self, request: Request<Body>) -> Result<Response<Body>, Unanswered> {
        let (mut parts, body) = request.into_parts();
        let short = body.size_hint().upper().is_some_and(|length| length <= KEPT);
        if !short {
            self.sign(&mut parts).await;
            return self.inner.send(Request::from_parts(parts, body)).await;
        }
        let broken =
            |error: super::BodyError| Unanswered::bad_gateway(format!("the request broke off: {error}"));
        let body = gather(body).await.map_err(broken)?;
        for _ in 0..AGAIN {
            let token = self.sign(&mut parts).await;
            let response = self.inner.send(Request::from_parts(parts.clone(), full(body.clone()))).await?;
            let challenge = Challenge::of(response.headers()).unwrap_or_default();
            let more = response.status() == StatusCode::FORBIDDEN
                && challenge.error.as_deref() == Some("insufficient_scope");
            // Nothing was done that could be done twice: the server refused to look at it.
            if response.status() != StatusCode::UNAUTHORIZED && !more {
                return Ok(response);
            }
            drop(response);
            if let Err(error) = self.keeper.renew(token.as_deref(), &challenge).await {
                return Err(Unanswered::bad_gateway(format!("there is no token for the upstream: {error}")));
            }
        }
        self.sign(&mut parts).await;
        self.inner.send(Request::from_parts(parts, full(body))).await
    }

    /// Puts the token in, and returns it.
    async fn sign(&self, parts: &mut Parts) -> Option<String> {
        let token = self.keeper.token().await?;
        let mut value = HeaderValue::from_str(&format!("Bearer {token}")).ok()?;
        value.set_sensitive(true);
        parts.headers.insert(AUTHORIZATION, value);
        Some(token)
    }
}

async fn gather(mut body: Body) -> Result<Bytes, super::BodyError> {
    let mut whole = Vec::new();
    while let Some(frame) = body.frame().await {
        if let Ok(data) = frame?.into_data() {
            whole.extend_from_slice(&data);
        }
    }
    Ok(whole.into())
}

impl Connect for Authorized {
    fn send(&self, request: Request<Body>) -> Sending<'_> {
        Box::pin(self.pass(request))
    }

    fn place(&self) -> &Place {
        self.inner.place()
    }
}
