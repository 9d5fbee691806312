//! Requests that carry an access token of shadowcat's own: `--login`.

use std::sync::Arc;

use http::header::{AUTHORIZATION, RETRY_AFTER};
use http::request::Parts;
use http::{HeaderValue, Request, Response, StatusCode};
use http_body::Body as _;
use http_body_util::BodyExt;

use super::{Connect, HttpBody, Sending, ServerAddress, Unanswered, full};
use crate::oauth::discovery::Challenge;
use crate::oauth::{LoginError, TokenManager};

/// A server whose requests all carry an access token of shadowcat's own.
pub struct Authorized {
    inner: Arc<dyn Connect>,
    tokens: Arc<TokenManager>,
}

/// Maximum length of a body that is kept, so that it can be sent again with a renewed token: bodies up to the
/// default inspect limit are in memory anyway.
const MAX_RESENT_BYTES: u64 = 16 << 20;

impl Authorized {
    /// Adds the tokens of `tokens` to the requests that are sent to `inner`.
    pub fn new(inner: Arc<dyn Connect>, tokens: Arc<TokenManager>) -> Arc<Self> {
        Arc::new(Self { inner, tokens })
    }

    async fn pass(&self, request: Request<HttpBody>) -> Result<Response<HttpBody>, Unanswered> {
        let (mut parts, body) = request.into_parts();
        let path = parts.uri.path().to_owned();
        let short = body.size_hint().upper().is_some_and(|length| length <= MAX_RESENT_BYTES);
        if !short {
            let token = self.sign(&mut parts, &path);
            let response = self.inner.send(Request::from_parts(parts, body)).await?;
            let Some((_, challenge)) = asks(&response) else { return Ok(response) };
            self.renew(token.as_deref(), &challenge).await?;
            let why = "the token was renewed, but the request was too long to be kept; send it again";
            return Err(Unanswered::new(StatusCode::SERVICE_UNAVAILABLE, 503, why)
                .with_header(RETRY_AFTER, HeaderValue::from(0)));
        }
        let broken =
            |error: super::BodyError| Unanswered::bad_gateway(format!("the request was cut off: {error}"));
        let body = body.collect().await.map_err(broken)?.to_bytes();
        let (mut renewed, mut stepped_up) = (false, false);
        loop {
            let token = self.sign(&mut parts, &path);
            let response = self.inner.send(Request::from_parts(parts.clone(), full(body.clone()))).await?;
            // A challenge means that the server did not process the request: sending it again is safe.
            match asks(&response) {
                None => return Ok(response),
                Some((Want::Token, challenge)) if !renewed => {
                    renewed = true;
                    self.renew(token.as_deref(), &challenge).await?;
                }
                // Scopes that the user did not grant are for the client to know: pass the challenge on.
                Some((Want::More, challenge)) if !stepped_up => {
                    stepped_up = true;
                    if self.renew(token.as_deref(), &challenge).await.is_err() {
                        return Ok(response);
                    }
                }
                Some((Want::More, _)) => return Ok(response),
                // The challenge names a server that the client did not dial: do not pass it on.
                Some((Want::Token, _)) => return Err(Unanswered::bad_gateway(LoginError::Again.to_string())),
            }
        }
    }

    async fn renew(&self, refused: Option<&str>, challenge: &Challenge) -> Result<(), Unanswered> {
        let renewed = self.tokens.renew(refused, challenge).await;
        renewed
            .map_err(|error| Unanswered::bad_gateway(format!("cannot get a token for the upstream: {error}")))
    }

    /// Sets the `Authorization` header, and returns the token in it.
    fn sign(&self, parts: &mut Parts, path: &str) -> Option<String> {
        let token = self.tokens.token(path)?;
        let mut value = HeaderValue::from_str(&format!("Bearer {token}")).ok()?;
        value.set_sensitive(true);
        parts.headers.insert(AUTHORIZATION, value);
        Some(token)
    }
}

/// A server's demand before it processes a request.
enum Want {
    /// A token, or a new one.
    Token,
    /// A token with more scopes.
    More,
}

fn asks(response: &Response<HttpBody>) -> Option<(Want, Challenge)> {
    let challenge = Challenge::of(response.headers());
    match response.status() {
        StatusCode::UNAUTHORIZED => Some((Want::Token, challenge.unwrap_or_default())),
        StatusCode::FORBIDDEN => challenge
            .filter(|challenge| challenge.error.as_deref() == Some("insufficient_scope"))
            .map(|challenge| (Want::More, challenge)),
        _ => None,
    }
}

impl Connect for Authorized {
    fn send(&self, request: Request<HttpBody>) -> Sending<'_> {
        Box::pin(self.pass(request))
    }

    fn address(&self) -> &ServerAddress {
        self.inner.address()
    }
}
