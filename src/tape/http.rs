//! HTTP facts of a frame in its line: `"http":{…}`.

use std::io::Write;
use std::sync::Arc;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::log::http::Http;
use crate::log::record::LaneId;
use crate::mcp::sse::Event;

/// HTTP facts, as a tape spells them.
#[derive(Serialize, Deserialize)]
pub struct HttpLine {
    /// Lane of the request.
    x: u32,
    method: String,
    path: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    status: Option<u16>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    headers: Vec<(String, String)>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    stream: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    event: Option<EventLine>,
}

/// Bytes of an event: those around the message if the event contains it verbatim, or else all of
/// them.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum EventLine {
    Around { pre: String, post: String },
    Raw { raw: String },
    Base64 { base64: String },
}

/// Appends `,"http":{…}`; `message` is the raw message of the frame.
pub fn write(line: &mut Vec<u8>, http: &Http, message: &[u8]) {
    let text = |text: &Arc<str>| text.to_string();
    let value = HttpLine {
        x: http.exchange.0,
        method: text(&http.method),
        path: text(&http.path),
        status: http.status,
        headers: http.headers.iter().map(|(name, value)| (text(name), text(value))).collect(),
        stream: http.stream,
        event: http.event.as_ref().map(|event| EventLine::of(&event.raw, message)),
    };
    let _ = write!(line, r#","http":"#);
    // Writing plain data into memory cannot fail.
    let _ = serde_json::to_writer(line, &value);
}

impl EventLine {
    fn of(raw: &Bytes, message: &[u8]) -> Self {
        let Ok(text) = std::str::from_utf8(raw) else {
            return Self::Base64 { base64: BASE64_STANDARD.encode(raw) };
        };
        let around = std::str::from_utf8(message)
            .ok()
            .filter(|message| !message.is_empty())
            .and_then(|message| text.split_once(message));
        match around {
            Some((pre, post)) => Self::Around { pre: pre.to_owned(), post: post.to_owned() },
            None => Self::Raw { raw: text.to_owned() },
        }
    }

    fn raw(self, message: &[u8]) -> Option<Bytes> {
        Some(match self {
            Self::Around { pre, post } => [pre.as_bytes(), message, post.as_bytes()].concat().into(),
            Self::Raw { raw } => raw.into(),
            Self::Base64 { base64 } => BASE64_STANDARD.decode(base64).ok()?.into(),
        })
    }
}

impl HttpLine {
    /// Returns the HTTP facts of the frame whose raw message is `message`; `None` if the event is
    /// broken.
    pub fn http(self, message: &[u8]) -> Option<Http> {
        Some(Http {
            exchange: LaneId(self.x),
            method: self.method.into(),
            path: self.path.into(),
            status: self.status,
            headers: self.headers.into_iter().map(|(name, value)| (name.into(), value.into())).collect(),
            stream: self.stream,
            event: match self.event {
                Some(event) => Some(Event::parse(event.raw(message)?)),
                None => None,
            },
        })
    }
}
