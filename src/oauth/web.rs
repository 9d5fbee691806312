//! HTTP requests to authorization servers. Their addresses come from a peer and are trusted little:
//! no redirects, no plain HTTP except to this machine, answers of limited size (2026-07-28,
//! security best practices, server-side request forgery).

use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

use reqwest::redirect::Policy;
use reqwest::{Certificate, Client, Method, Response};
use url::{Host, Url};

/// An HTTP client for OAuth requests.
#[derive(Clone)]
pub struct Web {
    /// Client for other machines; uses the proxies that the environment names.
    away: Client,
    /// Client for this machine; uses no proxies.
    here: Client,
}

/// Error from an HTTP request.
#[derive(Debug, Clone, thiserror::Error)]
pub enum WebError {
    /// The URL is neither https nor on this machine.
    #[error("{0} is neither https nor on this machine")]
    Insecure(String),
    /// The server at `by`, which is elsewhere, names a URL on this machine.
    #[error("{by} points to {url}, which is on this machine")]
    PointsHere {
        /// URL on this machine.
        url: String,
        /// URL of the server that named it.
        by: String,
    },
    /// The server answered with this error status.
    #[error("{url} answered {status}")]
    Status {
        /// Requested URL.
        url: String,
        /// HTTP status code.
        status: u16,
    },
    /// The text is not a URL.
    #[error("{0:?} is not a URL")]
    NoUrl(String),
    /// The server could not be reached, or the connection failed.
    #[error("cannot reach {url}: {why}")]
    Unreachable {
        /// Requested URL.
        url: String,
        /// Error of the connection, with its causes.
        why: String,
    },
    /// The body of the answer has more than `most` bytes.
    #[error("{url} answered with more than {most} bytes")]
    TooLong {
        /// Requested URL.
        url: String,
        /// Maximum size in bytes.
        most: usize,
    },
    /// The certificates cannot be read or used.
    #[error("cannot set up TLS: {0}")]
    Tls(String),
}

/// The answer to a request.
pub struct WebResponse {
    /// HTTP status code.
    pub status: u16,
    /// Headers of the answer.
    pub headers: http::HeaderMap,
    /// Whole body, at most 1 MiB.
    pub body: Vec<u8>,
}

/// Time limit for a whole answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
/// Maximum size of an answer's body in bytes.
const MAX_ANSWER_BYTES: usize = 1 << 20;

impl Web {
    /// Creates a client that also trusts the certificates in the PEM file `ca`; with `insecure` it
    /// accepts any certificate.
    ///
    /// # Errors
    /// [`WebError::Tls`] if the certificates cannot be read or used.
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

    /// Sends a request and reads its answer. An answer with an error status is not an error.
    ///
    /// # Errors
    /// [`WebError`] if the URL is not allowed, the server cannot be reached, or the answer is too
    /// long.
    pub async fn send(&self, request: http::Request<Vec<u8>>) -> Result<WebResponse, WebError> {
        let (response, url) = self.start(request).await?;
        read(response, &url).await
    }

    /// Sends a request and returns status and headers of the answer; the body is not read, since it
    /// may never end.
    ///
    /// # Errors
    /// [`WebError`] if the URL is not allowed or the server cannot be reached.
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

    /// Fetches a JSON document. An answer with an error status is not an error.
    ///
    /// # Errors
    /// [`WebError`] if the URL is invalid or not allowed, the server cannot be reached, or the
    /// answer is too long.
    pub async fn get(&self, url: &str) -> Result<WebResponse, WebError> {
        let mut request = http::Request::new(Vec::new());
        *request.method_mut() = Method::GET;
        *request.uri_mut() = url.parse().map_err(|_| WebError::NoUrl(url.to_owned()))?;
        let json = http::HeaderValue::from_static("application/json");
        request.headers_mut().insert(http::header::ACCEPT, json);
        self.send(request).await
    }
}

async fn read(mut response: Response, url: &Url) -> Result<WebResponse, WebError> {
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    let mut body = Vec::new();
    loop {
        match response.chunk().await {
            Ok(None) => return Ok(WebResponse { status, headers, body }),
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

/// Parses a URL to which requests may be sent.
///
/// # Errors
/// If it is not a URL, or is neither https nor http to this machine.
pub fn allowed(url: &str) -> Result<Url, WebError> {
    let parsed = Url::parse(url).map_err(|_| WebError::NoUrl(url.to_owned()))?;
    match parsed.scheme() {
        "https" => Ok(parsed),
        "http" if is_here(&parsed) => Ok(parsed),
        _ => Err(WebError::Insecure(url.to_owned())),
    }
}

/// Parses a URL that the server at `by` named. A server elsewhere must not direct requests to this
/// machine.
///
/// # Errors
/// As for [`allowed`], and if the URL is on this machine but `by` is not.
pub fn allowed_by(url: &str, by: &Url) -> Result<Url, WebError> {
    let parsed = allowed(url)?;
    match is_here(&parsed) && !is_here(by) {
        true => Err(WebError::PointsHere { url: url.to_owned(), by: by.to_string() }),
        false => Ok(parsed),
    }
}

/// Returns `true` if a URL is on this machine.
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
