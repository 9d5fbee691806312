//! The HTTP side of a frame. Secrets are removed before any of it is created.

use std::sync::Arc;

use super::record::LaneId;
use crate::mcp::sse::Event;

/// The recorded text of a response whose body broke off.
pub const BROKEN_BODY: &str = "[the body broke off]";

/// The HTTP exchange that a frame belongs to, as far as it had gone when the frame was seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Http {
    /// The lane of the request, which identifies the exchange.
    pub exchange: LaneId,
    /// The method of the request.
    pub method: Arc<str>,
    /// The path and query of the request.
    pub path: Arc<str>,
    /// The status, if the frame belongs to the response.
    pub status: Option<u16>,
    /// The headers of the request or response. On a stream only the first frame has them.
    pub headers: Arc<[(Arc<str>, Arc<str>)]>,
    /// `true` if the frame came on a stream of server-sent events.
    pub stream: bool,
    /// The event that carried the message, on a stream.
    pub event: Option<Event>,
}

impl Http {
    /// Returns the value of the first header called `name`, in any case.
    pub fn header(&self, name: &str) -> Option<&str> {
        let named = |(key, _): &&(Arc<str>, Arc<str>)| key.eq_ignore_ascii_case(name);
        self.headers.iter().find(named).map(|(_, value)| &**value)
    }

    /// Returns a summary such as `POST /mcp`, preceded by the status of a response: `200 POST /mcp`.
    pub fn summary(&self) -> String {
        match self.status {
            Some(status) => format!("{status} {} {}", self.method, self.path),
            None => format!("{} {}", self.method, self.path),
        }
    }

    /// Passes every phrase that a query can find to `yes`: the summary, each header as `name: value`,
    /// `stream`, and the name and id of the event.
    pub fn phrases(&self, yes: &mut dyn FnMut(&str)) {
        yes(&self.summary());
        self.headers.iter().for_each(|(name, value)| yes(&format!("{name}: {value}")));
        if self.stream {
            yes("stream");
        }
        if let Some(event) = &self.event {
            event.name.iter().for_each(|name| yes(&format!("event: {name}")));
            event.id.iter().for_each(|id| yes(&format!("id: {id}")));
        }
    }

    /// Returns the approximate memory cost beside the message, in bytes.
    pub fn cost(&self) -> usize {
        let headers: usize = self.headers.iter().map(|(name, value)| name.len() + value.len() + 32).sum();
        headers + self.path.len() + self.event.as_ref().map_or(0, |event| event.raw.len())
    }
}
