//! What HTTP adds to a frame. Secrets were cleaned out before any of this was made.

use std::sync::Arc;

use super::record::LaneId;
use crate::mcp::sse::Event;

/// The exchange that a frame was part of, as far as it had gone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Http {
    /// The lane of the request, which names the exchange.
    pub exchange: LaneId,
    pub method: Arc<str>,
    /// Path and query.
    pub path: Arc<str>,
    /// Of a response.
    pub status: Option<u16>,
    /// The headers of the request or response. Only the first frame of a stream has them.
    pub headers: Arc<[(Arc<str>, Arc<str>)]>,
    /// Whether it came on a stream of events.
    pub stream: bool,
    pub event: Option<Event>,
}

impl Http {
    /// The first header called `name`, whatever its case.
    pub fn header(&self, name: &str) -> Option<&str> {
        let named = |(key, _): &&(Arc<str>, Arc<str>)| key.eq_ignore_ascii_case(name);
        self.headers.iter().find(named).map(|(_, value)| &**value)
    }

    /// `POST /mcp`, with the status where there is one.
    pub fn summary(&self) -> String {
        match self.status {
            Some(status) => format!("{status} {} {}", self.method, self.path),
            None => format!("{} {}", self.method, self.path),
        }
    }

    /// What a query may look for: the summary, each header as `name: value`, the event's name and id.
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

    /// Bytes of memory that it costs beside the message, roughly.
    pub fn cost(&self) -> usize {
        let headers: usize = self.headers.iter().map(|(name, value)| name.len() + value.len() + 32).sum();
        headers + self.path.len() + self.event.as_ref().map_or(0, |event| event.raw.len())
    }
}
