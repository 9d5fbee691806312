//! What is recorded of an exchange, and what its bodies are.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, StatusCode};

use crate::log::http::Http;
use crate::log::record::{Channel, LaneId};
use crate::mcp::sse::Event;
use crate::mcp::{Message, Opaque};
use crate::session::Item;
use crate::transport::http::{Cleaner, headers};

/// The facts that all frames of an exchange share.
#[derive(Debug, Clone)]
pub struct Facts {
    pub exchange: LaneId,
    method: Arc<str>,
    path: Arc<str>,
}

/// Headers as they are recorded.
pub type Headers = Arc<[(Arc<str>, Arc<str>)]>;

/// Cleans headers for the record.
pub fn recorded(cleaner: &Cleaner, headers: &HeaderMap) -> Headers {
    cleaner.headers(headers).into_iter().map(|(name, value)| (name.into(), value.into())).collect()
}

impl Facts {
    /// The facts of a request; its path is a secret where it was `endpoint_is_secret` there by the server.
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

    /// The facts of a request.
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

    /// The facts of a response.
    pub fn of_response(&self, status: StatusCode, headers: Headers) -> Box<Http> {
        Box::new(Http { status: Some(status.as_u16()), ..*self.of_request(headers) })
    }

    /// The facts of an event on a stream.
    pub fn of_event(&self, status: StatusCode, headers: Headers, event: Option<Event>) -> Box<Http> {
        Box::new(Http { stream: true, event, ..*self.of_response(status, headers) })
    }
}

/// What a body is: a message, or something of HTTP alone, which is recorded without its secrets.
/// `decoded` is the body as it is to be read, `wire` as it goes on.
pub fn item(cleaner: &Cleaner, headers: &HeaderMap, decoded: Bytes, wire: Bytes, http: Box<Http>) -> Item {
    if headers::is_json(headers) && !decoded.trim_ascii().is_empty() {
        let message = Message::parse(decoded.clone());
        // What is no message and no JSON either was meant to be one.
        if message.is_rpc() || crate::mcp::json::document(&decoded).is_err() {
            return Item { message, channel: Channel::Main, http: Some(http), wire: Some(wire) };
        }
        let clean = Bytes::from(cleaner.json(&String::from_utf8_lossy(&decoded)).into_bytes());
        return of_http(clean, wire, http);
    }
    of_http(kept(cleaner, headers, &decoded), wire, http)
}

/// What is recorded of a body that is no message, or too long to be looked into.
pub fn kept(cleaner: &Cleaner, headers: &HeaderMap, body: &Bytes) -> Bytes {
    const RECORDED_BYTES: usize = 64 << 10;
    let body = body.slice(..body.len().min(RECORDED_BYTES));
    let text = match std::str::from_utf8(&body) {
        Ok(text) => text,
        // The limit cut a character in two; what stands before it is text all the same.
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

/// Something that HTTP says without a message.
pub fn of_http(text: Bytes, wire: Bytes, http: Box<Http>) -> Item {
    let message = Message::opaque(text, Opaque::Text);
    Item { message, channel: Channel::Http, http: Some(http), wire: Some(wire) }
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
