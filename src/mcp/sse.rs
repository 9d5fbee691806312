//! Server-sent events (WHATWG HTML, 9.2 "Server-sent events"), without I/O.
//!
//! A relay must pass on every byte, so each piece keeps the bytes that it was parsed from, including
//! comments, unknown fields and unusual line ends. An event longer than the limit is not collected;
//! its pieces stream through, as those of long lines do ([`super::line`]).

use bytes::{Bytes, BytesMut};

use super::json::Span;

/// A piece of an event stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EventPart {
    /// A complete event.
    Event(Event),
    /// Bytes without an event: comments, stray blank lines, a last event that was cut off.
    Idle(Bytes),
    /// The first bytes of an event that is longer than the limit.
    Start(Bytes),
    /// More bytes of that event.
    More(Bytes),
    /// The last bytes of that event.
    End(Bytes),
}

/// The byte order mark that a stream may begin with.
pub const BOM: &[u8] = b"\xef\xbb\xbf";

/// An event with the bytes that it was parsed from, up to and including its blank line.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Event {
    /// The bytes as they arrived.
    pub raw: Bytes,
    /// The `data` lines joined by line feeds; `None` if the event has no such line.
    pub data: Option<Bytes>,
    /// The `event` field.
    pub name: Option<String>,
    /// The `id` field, which moves the client's `Last-Event-ID` even if the event has no data.
    pub id: Option<String>,
    /// The `retry` field, in milliseconds.
    pub retry: Option<u64>,
}

/// A splitter of a byte stream into events.
#[derive(Debug)]
pub struct EventSplitter {
    buffer: BytesMut,
    /// Offset of the unfinished line in the buffer.
    line: usize,
    /// Offset up to which the buffer contains no end of that line.
    searched: usize,
    /// Set if bytes of the line were returned already.
    begun: bool,
    /// Set if the block has a line that is not a comment.
    fields: bool,
    /// Set if the last line ended with a carriage return: a line feed right after it belongs to it.
    returned: bool,
    streaming: bool,
    /// Set until the first piece is returned: only there may a byte order mark stand.
    fresh: bool,
    limit: usize,
}

// === impl Event ===

impl Event {
    /// Parses the fields of a block of lines.
    pub fn parse(raw: Bytes) -> Self {
        let mut event = Self::default();
        let mut data: Vec<Span> = Vec::new();
        for line in lines(&raw) {
            let (name, value) = field(&raw, line);
            let text = || String::from_utf8_lossy(&raw[value.clone()]).into_owned();
            match &raw[name] {
                b"data" => data.push(value),
                b"event" => event.name = Some(text()),
                b"id" if !raw[value.clone()].contains(&0) => event.id = Some(text()),
                b"retry" if raw[value.clone()].iter().all(u8::is_ascii_digit) => {
                    event.retry = text().parse().ok();
                }
                _ => {}
            }
        }
        event.data = match &data[..] {
            [] => None,
            [only] => Some(raw.slice(only.clone())),
            several => {
                let parts: Vec<&[u8]> = several.iter().map(|span| &raw[span.clone()]).collect();
                Some(parts.join(&b'\n').into())
            }
        };
        event.raw = raw;
        event
    }

    /// Creates the event of a message that shadowcat itself sends: [`compose`], without parsing the
    /// result again.
    pub fn composed(data: Bytes) -> Self {
        let raw = compose(&data);
        Self { raw, data: Some(data), name: Some("message".to_owned()), id: None, retry: None }
    }

    /// Returns `true` if a client takes the data for a message of the protocol.
    pub fn is_message(&self) -> bool {
        self.data.as_ref().is_some_and(|data| !data.is_empty())
            && self.name.as_deref().is_none_or(|name| matches!(name, "" | "message"))
    }

    /// Returns the bytes of the event with other data; every other line stays as it came.
    pub fn with_data(&self, data: &[u8]) -> Bytes {
        let mut out = Vec::with_capacity(self.raw.len() + data.len());
        let mut written = false;
        let mut end = 0;
        for line in lines(&self.raw) {
            let (name, _) = field(&self.raw, line.clone());
            let between = end..line.start;
            end = line.end;
            if &self.raw[name] != b"data" {
                out.extend_from_slice(&self.raw[between.start..line.end]);
            } else if !std::mem::replace(&mut written, true) {
                out.extend_from_slice(&self.raw[between]);
                write_data(&mut out, data);
            }
        }
        out.extend_from_slice(&self.raw[end..]);
        if written { out.into() } else { compose(data) }
    }
}

/// Composes an event with a message by shadowcat itself. It has no id, since a client must not ask the
/// server to resume after an event that the server never sent.
pub fn compose(data: &[u8]) -> Bytes {
    let mut out = b"event: message\n".to_vec();
    write_data(&mut out, data);
    out.extend_from_slice(b"\n\n");
    out.into()
}

/// Writes `data` lines, the last one without its end.
fn write_data(out: &mut Vec<u8>, data: &[u8]) {
    let data = data.trim_ascii_end();
    for (at, line) in data.split(|byte| matches!(byte, b'\n' | b'\r')).enumerate() {
        if at > 0 {
            out.push(b'\n');
        }
        out.extend_from_slice(b"data: ");
        out.extend_from_slice(line);
    }
}

/// Iterates over the lines of a block, without their ends.
fn lines(raw: &[u8]) -> impl Iterator<Item = Span> + '_ {
    let mut at = 0;
    std::iter::from_fn(move || {
        if at >= raw.len() {
            return None;
        }
        let end = memchr::memchr2(b'\n', b'\r', &raw[at..]).map_or(raw.len(), |length| at + length);
        let line = at..end;
        at = end + if raw[end..].starts_with(b"\r\n") { 2 } else { 1 };
        Some(line)
    })
}

/// Returns the spans of the name and the value of a line, without the space after the colon.
fn field(raw: &[u8], line: Span) -> (Span, Span) {
    match memchr::memchr(b':', &raw[line.clone()]) {
        Some(at) => {
            let colon = line.start + at;
            let value = colon + 1 + usize::from(raw.get(colon + 1) == Some(&b' ') && colon + 1 < line.end);
            (line.start..colon, value..line.end)
        }
        None => (line.clone(), line.end..line.end),
    }
}

// === impl Splitter ===

impl EventSplitter {
    /// Creates a splitter that collects events of up to `limit` bytes.
    pub fn new(limit: usize) -> Self {
        Self {
            buffer: BytesMut::new(),
            line: 0,
            searched: 0,
            begun: false,
            fields: false,
            returned: false,
            streaming: false,
            fresh: true,
            limit: limit.max(1),
        }
    }

    /// Appends bytes that were read.
    pub fn feed(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// Returns the next piece, or `None` until more bytes are fed.
    pub fn next_piece(&mut self) -> Option<EventPart> {
        if self.fresh {
            if self.buffer.len() < BOM.len() && BOM.starts_with(&self.buffer) {
                return None;
            }
            self.fresh = false;
            if self.buffer.starts_with(BOM) {
                return Some(EventPart::Idle(self.consume(BOM.len())));
            }
        }
        loop {
            if self.returned
                && let Some(byte) = self.buffer.get(self.line)
            {
                self.returned = false;
                if *byte == b'\n' {
                    self.line += 1;
                    self.searched = self.line;
                    if self.line == 1 && !self.streaming {
                        // The carriage return of this line end was returned already.
                        return Some(EventPart::Idle(self.consume(1)));
                    }
                }
            }
            let Some(length) = memchr::memchr2(b'\n', b'\r', &self.buffer[self.searched..]) else {
                return self.unfinished();
            };
            let end = self.searched + length;
            let first = self.buffer[self.line];
            let is_blank = end == self.line && !self.begun;
            let is_comment = first == b':' && !self.begun;
            let pair = self.buffer[end..].starts_with(b"\r\n");
            self.returned = self.buffer[end] == b'\r' && end + 1 == self.buffer.len();
            self.line = end + if pair { 2 } else { 1 };
            self.searched = self.line;
            self.begun = false;
            if is_blank {
                let had_fields = std::mem::take(&mut self.fields);
                let streaming = std::mem::take(&mut self.streaming);
                let bytes = self.consume(self.line);
                return Some(match (streaming, had_fields) {
                    (true, _) => EventPart::End(bytes),
                    (false, true) => EventPart::Event(Event::parse(bytes)),
                    (false, false) => EventPart::Idle(bytes),
                });
            }
            if is_comment && !self.fields && !self.streaming {
                // Keep-alives are passed on at once; they often consist of this line and a blank one.
                let rest = &self.buffer[self.line..];
                let blank = if rest.starts_with(b"\r\n") { 2 } else { usize::from(rest.starts_with(b"\n")) };
                return Some(EventPart::Idle(self.consume(self.line + blank)));
            }
            self.fields |= !is_comment;
        }
    }

    fn unfinished(&mut self) -> Option<EventPart> {
        self.searched = self.buffer.len();
        if self.streaming {
            let bytes = self.take_unfinished();
            return (!bytes.is_empty()).then_some(EventPart::More(bytes));
        }
        if self.buffer.len() > self.limit {
            self.streaming = true;
            return Some(EventPart::Start(self.take_unfinished()));
        }
        None
    }

    /// Returns the remaining bytes at the end of the stream.
    pub fn finish(&mut self) -> Option<EventPart> {
        let rest = self.take_unfinished();
        match std::mem::take(&mut self.streaming) {
            true => Some(EventPart::End(rest)),
            false => (!rest.is_empty()).then_some(EventPart::Idle(rest)),
        }
    }

    fn take_unfinished(&mut self) -> Bytes {
        self.begun |= self.line < self.buffer.len();
        self.consume(self.buffer.len())
    }

    fn consume(&mut self, length: usize) -> Bytes {
        self.line = self.line.saturating_sub(length);
        self.searched = self.searched.saturating_sub(length);
        super::line::split_front(&mut self.buffer, length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pieces(limit: usize, chunks: &[&str]) -> Vec<EventPart> {
        let mut splitter = EventSplitter::new(limit);
        let mut pieces = Vec::new();
        for chunk in chunks {
            splitter.feed(chunk.as_bytes());
            pieces.extend(std::iter::from_fn(|| splitter.next_piece()));
        }
        pieces.extend(splitter.finish());
        pieces
    }

    fn event(text: &str) -> Event {
        Event::parse(Bytes::copy_from_slice(text.as_bytes()))
    }

    fn idle(text: &'static str) -> EventPart {
        EventPart::Idle(Bytes::from_static(text.as_bytes()))
    }

    #[test]
    fn reads_the_fields_in_any_order_and_spelling() {
        let read = event("data: {\"a\":1}\nid: 0/0\nretry: 3000\n\n");
        assert_eq!(read.data.as_deref(), Some(&b"{\"a\":1}"[..]));
        assert_eq!((read.id.as_deref(), read.retry, read.name.as_deref()), (Some("0/0"), Some(3000), None));
        assert!(read.is_message());
        let odd = event("event:endpoint\r\ndata:/messages?id=1\r\ndata\r\nretry:soon\r\n\r\n");
        assert_eq!(odd.data.as_deref(), Some(&b"/messages?id=1\n"[..]));
        assert_eq!((odd.name.as_deref(), odd.retry), (Some("endpoint"), None));
        assert!(!odd.is_message());
        let priming = event("id: 7\ndata: \n\n");
        assert_eq!(priming.data.as_deref(), Some(&b""[..]));
        assert!(!priming.is_message());
    }

    #[test]
    fn keep_alives_go_on_at_once_and_events_when_they_are_whole() {
        let mut splitter = EventSplitter::new(100);
        splitter.feed(b": ping\n");
        assert_eq!(splitter.next_piece(), Some(idle(": ping\n")));
        splitter.feed(b"\ndata: 1\n: inside\n");
        assert_eq!(splitter.next_piece(), Some(idle("\n")));
        assert_eq!(splitter.next_piece(), None);
        splitter.feed(b"\n");
        assert_eq!(splitter.next_piece(), Some(EventPart::Event(event("data: 1\n: inside\n\n"))));
        assert_eq!(splitter.finish(), None);
    }

    #[test]
    fn carriage_returns_may_be_cut_from_their_line_feeds() {
        let whole = pieces(100, &["data: 1\r\n\r\ndata: 2\r\n\r\n"]);
        assert_eq!(
            whole,
            [EventPart::Event(event("data: 1\r\n\r\n")), EventPart::Event(event("data: 2\r\n\r\n"))]
        );
        let cut = pieces(100, &["data: 1\r", "\n\r", "\ndata: 2\r\r"]);
        assert_eq!(
            cut,
            [EventPart::Event(event("data: 1\r\n\r")), idle("\n"), EventPart::Event(event("data: 2\r\r"))]
        );
    }

    #[test]
    fn a_long_event_streams_through() {
        let all = pieces(8, &["data: 1234", "5678\nid: 1\n", "\ndata: 2\n\n"]);
        assert!(matches!(&all[0], EventPart::Start(bytes) if bytes == "data: 1234"), "{all:?}");
        assert!(matches!(&all[all.len() - 2], EventPart::End(_)), "{all:?}");
        assert_eq!(all[all.len() - 1], EventPart::Event(event("data: 2\n\n")));
    }

    #[test]
    fn an_edit_keeps_every_other_line() {
        let before = event(": note\nevent: message\nid: 4\ndata: {\ndata: }\nx: y\n\n");
        assert_eq!(before.data.as_deref(), Some(&b"{\n}"[..]));
        assert_eq!(before.with_data(b"[1]\n"), ": note\nevent: message\nid: 4\ndata: [1]\nx: y\n\n");
        assert_eq!(event("id: 4\n\n").with_data(b"1"), "event: message\ndata: 1\n\n");
        assert_eq!(compose(b"{\n}"), "event: message\ndata: {\ndata: }\n\n");
    }
}
