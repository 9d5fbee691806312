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
pub struct Web(Client);

/// Why a request came to nothing.
#[derive(Debug, thiserror::Error)]
pub enum WebError {
    #[error("{0} is neither https nor on this machine")]
    Insecure(String),
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
const PATIENCE: Duration = Duration::from_secs(30);
/// Bytes of an answer that are read.
const MOST: usize = 1 << 20;

impl Web {
    /// A client that trusts the certificates in `ca` too, or, `insecure`, any.
    ///
    /// # Errors
    /// When the certificates cannot be read.
    pub fn new(ca: Option<&Path>, insecure: bool) -> Result<Self, WebError> {
        let tls = |error: &dyn std::fmt::Display| WebError::Tls(error.to_string());
        let mut builder = Client::builder()
            .redirect(Policy::none())
            .timeout(PATIENCE)
            .user_agent(concat!("shadowcat/", env!("CARGO_PKG_VERSION")))
            .tls_danger_accept_invalid_certs(insecure);
        if let Some(ca) = ca {
            let pem = std::fs::read(ca).map_err(|error| tls(&error))?;
            let certificates = Certificate::from_pem_bundle(&pem).map_err(|error| tls(&error))?;
            builder = builder.tls_certs_merge(certificates);
        }
        Ok(Self(builder.build().map_err(|error| tls(&error))?))
    }

    /// Sends a request and reads its answer.
    ///
    /// # Errors
    /// [`WebError`]; an answer with an error status is none.
    pub async fn send(&self, request: http::Request<Vec<u8>>) -> Result<Answer, WebError> {
        let (parts, body) = request.into_parts();
        let url = allowed(&parts.uri.to_string())?;
        let unreachable = |error: reqwest::Error| WebError::Unreachable {
            url: url.to_string(),
            why: chain(&error.without_url()),
        };
        let request = self.0.request(parts.method, url.clone()).headers(parts.headers).body(body);
        let response = request.send().await.map_err(unreachable)?;
        read(response, &url).await
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
            Ok(Some(chunk)) if body.len() + chunk.len() > MOST => {
                return Err(WebError::TooLong { url: url.to_string(), most: MOST });
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
    let here = match parsed.host() {
        Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Some(Host::Ipv4(address)) => IpAddr::V4(address).is_loopback(),
        Some(Host::Ipv6(address)) => IpAddr::V6(address).is_loopback(),
        None => false,
    };
    match parsed.scheme() {
        "https" => Ok(parsed),
        "http" if here => Ok(parsed),
        _ => Err(WebError::Insecure(url.to_owned())),
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
