//! Requests of our own to authorization servers. What they are sent to was named by a peer, so it is
//! trusted with little: no redirects, no plain HTTP beyond this machine, bounded answers
//! (2026-07-28, security best practices, server-side request forgery).

use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

use reqwest::redirect::Policy;
use reqwest::{Certificate, Client, Method, Response};
use url::{Host, Url};

/// A client for what OAuth needs.
#[derive(Clone)]
pub struct Web {
    /// By the proxies of the environment …
    away: Client,
    /// … which have no business with what is on this machine.
    here: Client,
}

/// Why a request came to nothing.
#[derive(Debug, Clone, thiserror::Error)]
pub enum WebError {
    #[error("{0} is neither https nor on this machine")]
    Insecure(String),
    #[error("{by} points to {url}, which is on this machine")]
    PointsHere { url: String, by: String },
    #[error("{url} answered {status}")]
    Status { url: String, status: u16 },
    #[error("{0:?} is no URL")]
    NoUrl(String),
    #[error("cannot reach {url}: {why}")]
    Unreachable { url: String, why: String },
    #[error("{url} answered with more than {most} bytes")]
    TooLong { url: String, most: usize },
    #[error("cannot set up TLS: {0}")]
    Tls(String),
}

/// What came back.
pub struct Answer {
    pub status: u16,
    pub headers: http::HeaderMap,
    pub body: Vec<u8>,
}

/// How long an answer may take.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
/// Bytes of an answer that are read.
const MAX_ANSWER_BYTES: usize = 1 << 20;

impl Web {
    /// A client that trusts the certificates in `ca` too, or, `insecure`, any.
    ///
    /// # Errors
    /// When the certificates cannot be read.
    pub fn new(ca: Option<&Path>, insecure: bool) -> Result<Self, WebError> {
        let tls = |error: &dyn std::fmt::Display| WebError::Tls(error.to_string());
        let mut certificates = Vec::new();
        if let Some(ca) = ca {
            let pem = std::fs::read(ca).map_err(|error| tls(&error))?;
            certificates = Certificate::from_pem_bundle(&pem).map_err(|error| tls(&error))?;
        }
        let builder = || {
            Client::builder()
                .redirect(Policy::none())
                .timeout(ANSWER_TIMEOUT)
                .user_agent(concat!("shadowcat/", env!("CARGO_PKG_VERSION")))
                .tls_danger_accept_invalid_certs(insecure)
                .tls_certs_merge(certificates.clone())
        };
        let built = |builder: reqwest::ClientBuilder| builder.build().map_err(|error| tls(&error));
        Ok(Self { away: built(builder())?, here: built(builder().no_proxy())? })
    }

    /// Sends a request and reads its answer.
    ///
    /// # Errors
    /// [`WebError`]; an answer with an error status is none.
    pub async fn send(&self, request: http::Request<Vec<u8>>) -> Result<Answer, WebError> {
        let (response, url) = self.start(request).await?;
        read(response, &url).await
    }

    /// Sends a request, and returns the head of its answer alone: its body may never end.
    ///
    /// # Errors
    /// [`WebError`].
    pub async fn head(&self, request: http::Request<Vec<u8>>) -> Result<(u16, http::HeaderMap), WebError> {
        let (response, _) = self.start(request).await?;
        Ok((response.status().as_u16(), response.headers().clone()))
    }

    async fn start(&self, request: http::Request<Vec<u8>>) -> Result<(Response, Url), WebError> {
        let (parts, body) = request.into_parts();
        let url = allowed(&parts.uri.to_string())?;
        let unreachable = |error: reqwest::Error| WebError::Unreachable {
            url: url.to_string(),
            why: chain(&error.without_url()),
        };
        let client = if is_here(&url) { &self.here } else { &self.away };
        let request = client.request(parts.method, url.clone()).headers(parts.headers).body(body);
        let response = request.send().await.map_err(unreachable)?;
        Ok((response, url))
    }

    /// Fetches a document.
    ///
    /// # Errors
    /// [`WebError`]; an answer with an error status is none.
    pub async fn get(&self, url: &str) -> Result<Answer, WebError> {
        let mut request = http::Request::new(Vec::new());
        *request.method_mut() = Method::GET;
        *request.uri_mut() = url.parse().map_err(|_| WebError::NoUrl(url.to_owned()))?;
        let json = http::HeaderValue::from_static("application/json");
        request.headers_mut().insert(http::header::ACCEPT, json);
        self.send(request).await
    }
}

async fn read(mut response: Response, url: &Url) -> Result<Answer, WebError> {
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    let mut body = Vec::new();
    loop {
        match response.chunk().await {
            Ok(None) => return Ok(Answer { status, headers, body }),
            Ok(Some(chunk)) if body.len() + chunk.len() > MAX_ANSWER_BYTES => {
                return Err(WebError::TooLong { url: url.to_string(), most: MAX_ANSWER_BYTES });
            }
            Ok(Some(chunk)) => body.extend_from_slice(&chunk),
            Err(error) => {
                let why = chain(&error.without_url());
                return Err(WebError::Unreachable { url: url.to_string(), why });
            }
        }
    }
}

/// A URL that requests of ours may go to.
///
/// # Errors
/// When it is none, or neither https nor on this machine.
pub fn allowed(url: &str) -> Result<Url, WebError> {
    let parsed = Url::parse(url).map_err(|_| WebError::NoUrl(url.to_owned()))?;
    match parsed.scheme() {
        "https" => Ok(parsed),
        "http" if is_here(&parsed) => Ok(parsed),
        _ => Err(WebError::Insecure(url.to_owned())),
    }
}

/// A URL that a server named, to which requests of ours may go: a server elsewhere has no business
/// with what is on this machine.
///
/// # Errors
/// As [`allowed`], and when it points here from elsewhere.
pub fn allowed_by(url: &str, by: &Url) -> Result<Url, WebError> {
    let parsed = allowed(url)?;
    match is_here(&parsed) && !is_here(by) {
        true => Err(WebError::PointsHere { url: url.to_owned(), by: by.to_string() }),
        false => Ok(parsed),
    }
}

/// Whether a URL is of this machine.
fn is_here(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Some(Host::Ipv4(address)) => IpAddr::V4(address).is_loopback(),
        Some(Host::Ipv6(address)) => IpAddr::V6(address).is_loopback(),
        None => false,
    }
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text = format!("{text}: {error}");
        source = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_https_and_this_machine_are_trusted() {
        for fine in ["https://as.example/x", "http://localhost:1/x", "http://127.0.0.1/", "http://[::1]:8/"] {
            assert!(allowed(fine).is_ok(), "{fine}");
        }
        for bad in [
            "http://as.example/",
            "file:///etc/passwd",
            "javascript:alert(1)",
            "http://127.0.0.1.evil.example/",
            "x",
        ] {
            assert!(allowed(bad).is_err(), "{bad}");
        }
    }
}
