//! The record of an exchange: HTTP facts without secrets, and the items that its bodies are.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, StatusCode};

use crate::log::http::Http;
use crate::log::record::{Channel, LaneId};
use crate::mcp::sse::Event;
use crate::mcp::{Message, Opaque};
use crate::session::LaneItem;
use crate::transport::http::{Cleaner, headers};

/// The facts that all frames of an exchange share.
#[derive(Debug, Clone)]
pub struct ExchangeFacts {
    /// The lane of the request, which identifies the exchange.
    pub exchange: LaneId,
    method: Arc<str>,
    path: Arc<str>,
}

/// Headers without secrets, as they are recorded.
pub type Headers = Arc<[(Arc<str>, Arc<str>)]>;

/// Returns headers without secrets, for the record.
pub fn recorded(cleaner: &Cleaner, headers: &HeaderMap) -> Headers {
    cleaner.headers(headers).into_iter().map(|(name, value)| (name.into(), value.into())).collect()
}

impl ExchangeFacts {
    /// Creates the facts of an exchange. With `endpoint_is_secret` the path identifies the session, and
    /// is recorded as a fingerprint.
    pub fn new(
        cleaner: &Cleaner,
        exchange: LaneId,
        parts: &http::request::Parts,
        endpoint_is_secret: bool,
    ) -> Self {
        let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
        let path = if endpoint_is_secret { cleaner.endpoint(path) } else { cleaner.url(path) };
        Self { exchange, method: parts.method.as_str().into(), path: path.into() }
    }

    /// Returns `true` for a request with the method GET.
    pub fn is_get(&self) -> bool {
        &*self.method == "GET"
    }

    /// Returns the facts of the request.
    pub fn of_request(&self, headers: Headers) -> Box<Http> {
        Box::new(Http {
            exchange: self.exchange,
            method: Arc::clone(&self.method),
            path: Arc::clone(&self.path),
            status: None,
            headers,
            stream: false,
            event: None,
        })
    }

    /// Returns the facts of the response.
    pub fn of_response(&self, status: StatusCode, headers: Headers) -> Box<Http> {
        Box::new(Http { status: Some(status.as_u16()), ..*self.of_request(headers) })
    }

    /// Returns the facts of an event in the response, or of the opening of the stream.
    pub fn of_event(&self, status: StatusCode, headers: Headers, event: Option<Event>) -> Box<Http> {
        Box::new(Http { stream: true, event, ..*self.of_response(status, headers) })
    }
}

/// Parses the message in a body, where the headers say that the body is JSON.
pub fn message(headers: &HeaderMap, body: &Bytes) -> Option<Message> {
    (headers::is_json(headers) && !body.is_empty()).then(|| Message::parse(body.clone()))
}

/// Returns the item of a body: a message, or text of HTTP alone, which is recorded without its secrets.
/// `message` is [`message`] of the `decoded` body; `wire` are the bytes that go on.
pub fn item(
    cleaner: &Cleaner,
    headers: &HeaderMap,
    message: Option<Message>,
    decoded: &Bytes,
    wire: Bytes,
    http: Box<Http>,
) -> LaneItem {
    match message.filter(|_| !decoded.trim_ascii().is_empty()) {
        // Invalid JSON is recorded as a broken message; JSON that is no message as HTTP only.
        Some(message) if message.is_rpc() || crate::mcp::json::document(decoded).is_err() => {
            LaneItem { message, channel: Channel::Main, http: Some(http), wire: Some(wire) }
        }
        Some(_) => {
            let clean = Bytes::from(cleaner.json(&String::from_utf8_lossy(decoded)).into_bytes());
            of_http(clean, wire, http)
        }
        None => of_http(kept(cleaner, headers, decoded), wire, http),
    }
}

/// Returns the recorded part of a body that is no message, or over the inspect limit, without secrets.
pub fn kept(cleaner: &Cleaner, headers: &HeaderMap, body: &Bytes) -> Bytes {
    /// Number of bytes that are recorded.
    const RECORDED_BYTES: usize = 64 << 10;
    let body = body.slice(..body.len().min(RECORDED_BYTES));
    let text = match std::str::from_utf8(&body) {
        Ok(text) => text,
        // The limit cut a character in two: the text before it is recorded.
        Err(error) if error.error_len().is_none() => {
            std::str::from_utf8(&body[..error.valid_up_to()]).unwrap_or_default()
        }
        Err(_) => return body,
    };
    match headers::is_type(headers, "application/x-www-form-urlencoded") {
        true => cleaner.form(text).into(),
        false => cleaner.json(text).into(),
    }
}

/// Creates the item of something that HTTP says without a message.
pub fn of_http(text: Bytes, wire: Bytes, http: Box<Http>) -> LaneItem {
    let message = Message::opaque(text, Opaque::Text);
    LaneItem { message, channel: Channel::Http, http: Some(http), wire: Some(wire) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_form_is_cleaned_wherever_it_is_cut() {
        let headers = HeaderMap::from_iter([(
            http::header::CONTENT_TYPE,
            http::HeaderValue::from_static("application/x-www-form-urlencoded"),
        )]);
        for pad in 0..4 {
            let form = format!("client_secret=hush&{}{}", "x".repeat(pad), "ü€".repeat(40_000));
            let kept = kept(&Cleaner::new(), &headers, &Bytes::from(form));
            assert!(!String::from_utf8_lossy(&kept).contains("hush"));
        }
    }
}
