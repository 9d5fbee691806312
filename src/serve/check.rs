//! The checks of an HTTP server of MCP before it looks into a request (2025-11-25 and 2026-07-28,
//! basic/transports), and the errors that it answers with.

use http::header::{ACCEPT, ACCEPT_ENCODING, ALLOW, CONTENT_ENCODING, RETRY_AFTER};
use http::{HeaderMap, HeaderValue, StatusCode};
use serde_json::json;

use crate::mcp::mirror::{self, Annotations};
use crate::mcp::{Id, Message, Revision, compose};
use crate::transport::http::Unanswered;
use crate::transport::http::headers::{is_json, text};

/// The code of errors that the protocol names no code for.
const REFUSED: i64 = -32000;
/// The official SDKs' code of an unknown session.
const NO_SESSION: i64 = -32001;
/// JSON-RPC 2.0 section 5.1.
const PARSE_ERROR: i64 = -32700;
const INVALID_REQUEST: i64 = -32600;
/// 2026-07-28, basic/transports: a header contradicts the body.
const HEADER_MISMATCH: i64 = -32020;

/// Checks the media types of a POST.
///
/// # Errors
/// 415 for a body that is not JSON, and 406 if either kind of answer is not acceptable.
pub fn post(headers: &HeaderMap) -> Result<(), Unanswered> {
    if !is_json(headers) {
        let why = "Content-Type must be application/json";
        return Err(Unanswered::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, REFUSED, why));
    }
    let coding = headers.get(CONTENT_ENCODING).and_then(|coding| coding.to_str().ok()).unwrap_or_default();
    if !matches!(coding.trim().to_ascii_lowercase().as_str(), "" | "identity") {
        let why = format!("Content-Encoding {coding} is not supported; send the body as it is");
        // RFC 7694, section 3.
        return Err(Unanswered::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, REFUSED, why)
            .with_header(ACCEPT_ENCODING, HeaderValue::from_static("identity")));
    }
    match accepts(headers, "application/json") && accepts(headers, "text/event-stream") {
        true => Ok(()),
        false => {
            let why = "Accept must name both application/json and text/event-stream";
            Err(Unanswered::new(StatusCode::NOT_ACCEPTABLE, REFUSED, why))
        }
    }
}

/// Checks the media type of a GET.
///
/// # Errors
/// 406.
pub fn get(headers: &HeaderMap) -> Result<(), Unanswered> {
    match accepts(headers, "text/event-stream") {
        true => Ok(()),
        false => {
            let why = "Accept must name text/event-stream";
            Err(Unanswered::new(StatusCode::NOT_ACCEPTABLE, REFUSED, why))
        }
    }
}

/// Checks the revision that a request of a session names; a request that names none is of 2025-03-26.
///
/// # Errors
/// 400.
pub fn version(headers: &HeaderMap) -> Result<(), Unanswered> {
    match text(headers, "mcp-protocol-version") {
        Some(version) if Revision::parse(version).is_none() => {
            let known = Revision::ALL.map(Revision::as_str).join(", ");
            let why = format!("MCP-Protocol-Version {version:?} is unknown; known are {known}");
            Err(Unanswered::new(StatusCode::BAD_REQUEST, REFUSED, why))
        }
        _ => Ok(()),
    }
}

/// Returns `true` if a client accepts a media type.
fn accepts(headers: &HeaderMap, wanted: &str) -> bool {
    let family = wanted.split('/').next().unwrap_or_default();
    headers
        .get_all(ACCEPT)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|range| {
            let range = range.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
            range == wanted || range == "*/*" || range.strip_suffix("/*") == Some(family)
        })
}

/// Checks the ids of a message, or of the elements of a batch.
///
/// # Errors
/// 400 for an id that is neither a string nor an integer.
pub fn ids(message: &Message) -> Result<(), Unanswered> {
    match message.elements().iter().filter_map(Message::id).all(Id::is_legal) {
        true => Ok(()),
        false => Err(invalid("an id must be a string or an integer")),
    }
}

/// Checks the headers that repeat parts of the body.
///
/// # Errors
/// 400 for a header that contradicts the body.
pub fn mirrored(annotations: &Annotations, message: &Message, headers: &HeaderMap) -> Result<(), Unanswered> {
    mirror::compare(&annotations.headers(message), |name| {
        let text = |value: &HeaderValue| value.to_str().ok().map(str::to_owned);
        headers.get_all(name).iter().map(text).collect()
    })
    .map_err(|error| Unanswered::new(StatusCode::BAD_REQUEST, HEADER_MISMATCH, error.to_string()))
}

// --- errors

/// The error for a body that is not JSON.
pub fn not_json(why: impl std::fmt::Display) -> Unanswered {
    Unanswered::new(StatusCode::BAD_REQUEST, PARSE_ERROR, format!("the body is not JSON: {why}"))
}

/// The error for a request that is not valid.
pub fn invalid(why: impl Into<String>) -> Unanswered {
    Unanswered::new(StatusCode::BAD_REQUEST, INVALID_REQUEST, why)
}

/// The error for a request of the stateless era without its envelope.
pub fn no_envelope() -> Unanswered {
    let why = format!("params._meta must name {}", compose::meta::PROTOCOL_VERSION);
    Unanswered::new(StatusCode::BAD_REQUEST, compose::INVALID_PARAMS, why)
}

/// The error for a body over the inspect limit.
pub fn too_long(limit: usize) -> Unanswered {
    let why = format!("the body is longer than {limit} bytes");
    Unanswered::new(StatusCode::PAYLOAD_TOO_LARGE, REFUSED, why)
}

/// The error for an HTTP method that this endpoint does not have.
pub fn method_not_allowed(allowed: &'static str) -> Unanswered {
    Unanswered::new(StatusCode::METHOD_NOT_ALLOWED, REFUSED, format!("this endpoint takes {allowed}"))
        .with_header(ALLOW, HeaderValue::from_static(allowed))
}

/// The error for a request that must name a session.
pub fn no_session_named() -> Unanswered {
    let why = "Mcp-Session-Id is missing; a session begins with initialize";
    Unanswered::new(StatusCode::BAD_REQUEST, REFUSED, why)
}

/// The error for a session that does not exist.
pub fn session_unknown() -> Unanswered {
    Unanswered::new(StatusCode::NOT_FOUND, NO_SESSION, "this session does not exist, or has ended")
}

/// The error for a client of the stateless era. It must not look like an answer of that era, or the client
/// would not fall back to `initialize` (2026-07-28, basic/transports, backward compatibility).
pub fn stateful_only() -> Unanswered {
    let why = "the server speaks revisions up to 2025-11-25 only: begin with initialize";
    let data = json!({ "era": "2025", "fallback": "initialize" });
    Unanswered::new(StatusCode::BAD_REQUEST, REFUSED, why).with_data(data)
}

/// The error for a request that may succeed after this number of seconds.
pub fn busy(why: impl Into<String>, seconds: u32) -> Unanswered {
    Unanswered::new(StatusCode::SERVICE_UNAVAILABLE, REFUSED, why)
        .with_header(RETRY_AFTER, HeaderValue::from(seconds))
}

/// The error for a request while the gateway is being stopped.
pub fn stopping() -> Unanswered {
    busy("the gateway is being stopped", 1)
}

/// The error for a server that did not answer `initialize` in time.
pub fn silent(seconds: u64) -> Unanswered {
    let why = format!("the server did not answer initialize within {seconds} s");
    Unanswered::new(StatusCode::GATEWAY_TIMEOUT, 504, why)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_kinds_of_answers_must_be_acceptable() {
        let of = |accept: &'static str| {
            HeaderMap::from_iter([
                (ACCEPT, HeaderValue::from_static(accept)),
                (http::header::CONTENT_TYPE, HeaderValue::from_static("application/json")),
            ])
        };
        for fine in ["application/json, text/event-stream", "*/*", "application/*;q=0.5,Text/Event-Stream"] {
            assert!(post(&of(fine)).is_ok(), "{fine}");
        }
        for bad in ["application/json", "text/event-stream", "text/html", ""] {
            assert_eq!(post(&of(bad)).unwrap_err().status, StatusCode::NOT_ACCEPTABLE, "{bad}");
        }
        assert!(get(&of("text/event-stream")).is_ok() && get(&of("application/json")).is_err());
    }
}
