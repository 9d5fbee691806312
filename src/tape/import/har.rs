//! HTTP Archive 1.2: MCP over HTTP, as a browser or a proxy saw it. WebSocket messages, which the
//! export writes for stdio sessions, are read as well.

use serde_json::Value;

use super::{ImportError, Imported, is_message, millis};
use crate::log::http::Http;
use crate::log::record::{LaneId, Origin};
use crate::mcp::sse::{Event, EventPart, EventSplitter};
use crate::mcp::tree::exact_value;
use crate::mcp::{Direction, Message, Opaque, json, layout, secret, sensitive};
use crate::tape::builder::TapeBuilder;
use crate::tape::times::time;

/// Returns `true` if `text` looks like an HTTP Archive.
pub fn is(text: &[u8]) -> bool {
    let has = |key: &str| memchr::memmem::find(text, key.as_bytes()).is_some();
    text.trim_ascii_start().starts_with(b"{") && has("\"log\"") && has("\"entries\"")
}

/// Reads an HTTP Archive.
///
/// # Errors
/// Returns [`ImportError::Malformed`] if the text is not JSON.
pub fn read(text: &[u8], name: &str) -> Result<Imported, ImportError> {
    let malformed = |what: String| ImportError::Malformed { form: "har", what };
    let root = json::document(text).map_err(|error| malformed(error.to_string()))?;
    let list = json::lookup(text, root.clone(), &["log", "entries"]).filter(|span| text[span.start] == b'[');
    let list = list.ok_or_else(|| malformed("log.entries is no array".to_owned()))?;
    let mut remarks = Vec::new();
    let mut read = Vec::new();
    for (number, span) in (1..).zip(json::elements(text, list)) {
        match exact_value(&text[span]) {
            Ok(entry) => read.push((number, entry)),
            Err(error) => remarks.push(format!("entry {number} cannot be read: {error}")),
        }
    }
    let mut entries: Vec<&(usize, Value)> = read.iter().collect();
    let comment = json::lookup(text, root, &["log", "comment"]).and_then(|span| json::unescape(&text[span]));
    // Entries keep their order if the time of one of them is missing.
    let start = |(_, entry): &(usize, Value)| time(&entry["startedDateTime"]);
    if entries.iter().all(|entry| start(entry).is_some()) {
        entries.sort_by_key(|entry| start(entry));
    }
    let began = entries.iter().find_map(|entry| start(entry)).unwrap_or(0);
    let speaks = |(_, entry): &&&(usize, Value)| request_body(entry).is_some_and(is_message);
    let url = entries.iter().find(speaks).and_then(|(_, entry)| entry["request"]["url"].as_str());
    let target = match (url, comment.as_deref()) {
        (Some(url), _) => vec![clean(url)],
        (None, Some(command)) if !command.is_empty() => command.split(' ').map(str::to_owned).collect(),
        (None, _) => Vec::new(),
    };
    let mut reading = Reading { events: Vec::new(), remarks, lane: 1, now: began };
    for (number, entry) in entries {
        reading.socket(entry);
        reading.exchange(*number, entry);
    }
    let Reading { mut events, remarks, .. } = reading;
    // Exchanges overlap: a stream stays open while other requests are answered.
    events.sort_by_key(|event| event.wall);
    let (mut builder, mut messages) = (TapeBuilder::new(name, target, began), 0);
    for Seen { wall, direction, message, http } in events {
        messages += usize::from(message.is_rpc());
        builder.at(wall);
        match http {
            Some(http) => builder.http(direction, message, http),
            None => builder.say(direction, message, Origin::Wire),
        };
    }
    Ok(Imported { builder, messages, remarks })
}

fn request_body(entry: &Value) -> Option<&str> {
    entry["request"]["postData"]["text"].as_str()
}

/// A message or an empty body, with the time at which it was seen.
struct Seen {
    wall: u64,
    direction: Direction,
    message: Message,
    http: Option<Http>,
}

struct Reading {
    events: Vec<Seen>,
    remarks: Vec<String>,
    lane: u32,
    /// Time of the newest exchange, in microseconds since the Unix epoch.
    now: u64,
}

impl Reading {
    fn socket(&mut self, entry: &Value) {
        for message in entry["_webSocketMessages"].as_array().into_iter().flatten() {
            let wall = time(&message["time"]).unwrap_or(0);
            let direction = match message["type"].as_str() {
                Some("send") => Direction::ToServer,
                _ => Direction::ToClient,
            };
            let line = layout::one_line(message["data"].as_str().unwrap_or_default()) + "\n";
            self.events.push(Seen { wall, direction, message: Message::parse(line.into()), http: None });
        }
    }

    fn exchange(&mut self, number: usize, entry: &Value) {
        let body = request_body(entry).unwrap_or_default();
        let answer = self.answer(number, entry);
        let is_stream = [header(&entry["response"], "content-type"), mime(entry)]
            .iter()
            .any(|kind| kind.starts_with("text/event-stream"));
        let events = if is_stream { events(&answer) } else { Vec::new() };
        let speaks = |event: &Event| {
            event.data.as_deref().is_some_and(|data| is_message(&String::from_utf8_lossy(data)))
        };
        let is_session = !header(&entry["request"], "mcp-session-id").is_empty();
        if !is_message(body) && !(is_stream && (is_session || events.iter().any(speaks))) {
            // Not MCP: a page, an image, a token, or the events of another protocol.
            return;
        }
        let request = LaneId(self.lane);
        self.lane += 2;
        let began = time(&entry["startedDateTime"]).unwrap_or_else(|| {
            self.remarks
                .push(format!("entry {number}: invalid time; the time of the entry before it is used"));
            self.now
        });
        self.now = began;
        let ended = began.saturating_add(entry["time"].as_f64().and_then(millis).unwrap_or(0));
        let status = entry["response"]["status"].as_u64().and_then(|status| u16::try_from(status).ok());
        let url = entry["request"]["url"].as_str().unwrap_or_default();
        let path = url.splitn(4, '/').nth(3).unwrap_or_default();
        let facts = |of: &Value, status: Option<u16>, stream: bool, event: Option<Event>| Http {
            exchange: request,
            method: entry["request"]["method"].as_str().unwrap_or("POST").into(),
            path: clean(&format!("/{path}")).into(),
            status,
            headers: headers(of),
            stream,
            event,
        };
        self.frame(began, Direction::ToServer, body, facts(&entry["request"], None, false, None));
        if is_stream {
            let mut of = &entry["response"];
            for event in events {
                let data = event.data.clone().unwrap_or_default();
                let data = String::from_utf8_lossy(&data).into_owned();
                self.frame(ended, Direction::ToClient, &data, facts(of, status, true, Some(event)));
                of = &Value::Null;
            }
        } else {
            if !answer.is_empty() && !is_message(&answer) {
                self.remarks.push(format!("entry {number}: the response is not a message"));
            }
            self.frame(ended, Direction::ToClient, &answer, facts(&entry["response"], status, false, None));
        }
    }

    /// Returns the body of the response, decoded.
    fn answer(&mut self, number: usize, entry: &Value) -> String {
        use base64::Engine as _;
        let content = &entry["response"]["content"];
        let text = content["text"].as_str().unwrap_or_default();
        if content["encoding"].as_str() != Some("base64") {
            return text.to_owned();
        }
        match base64::prelude::BASE64_STANDARD.decode(text) {
            Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
            Err(error) => {
                self.remarks.push(format!("entry {number}: the response is not valid base64: {error}"));
                String::new()
            }
        }
    }

    fn frame(&mut self, wall: u64, direction: Direction, text: &str, http: Http) {
        let message = match text.is_empty() {
            true => Message::opaque(bytes::Bytes::new(), Opaque::Text),
            false => Message::parse(text.to_owned().into()),
        };
        self.events.push(Seen { wall, direction, message, http: Some(http) });
    }
}

/// Returns the events of a complete stream.
fn events(stream: &str) -> Vec<Event> {
    let mut splitter = EventSplitter::new(usize::MAX);
    splitter.feed(stream.as_bytes());
    let pieces = std::iter::from_fn(|| splitter.next_piece()).collect::<Vec<_>>();
    let event = |piece| match piece {
        EventPart::Event(event) => Some(event),
        _ => None,
    };
    pieces.into_iter().chain(splitter.finish()).filter_map(event).collect()
}

fn mime(entry: &Value) -> String {
    entry["response"]["content"]["mimeType"].as_str().unwrap_or_default().to_ascii_lowercase()
}

fn header(of: &Value, name: &str) -> String {
    let all = of["headers"].as_array();
    let named = |header: &&Value| header["name"].as_str().is_some_and(|key| key.eq_ignore_ascii_case(name));
    let value = all.into_iter().flatten().find(named).and_then(|header| header["value"].as_str());
    value.unwrap_or_default().to_ascii_lowercase()
}

/// Returns a path or URL without the secrets in its query: archives are seldom redacted.
fn clean(path: &str) -> String {
    let mut clean = path.to_owned();
    let forms = secret::find(path).into_iter().map(|(span, _)| span);
    let mut spans: Vec<_> = sensitive::find(path).into_iter().chain(forms).collect();
    spans.sort_by_key(|span| std::cmp::Reverse(span.start));
    spans.dedup_by(|later, earlier| later.end > earlier.start);
    for span in spans {
        clean.replace_range(span, "[redacted:named]");
    }
    clean
}

/// Returns the headers with their secrets redacted: archives are seldom redacted.
fn headers(of: &Value) -> std::sync::Arc<[(std::sync::Arc<str>, std::sync::Arc<str>)]> {
    let pair = |header: &Value| {
        let (name, value) = (header["name"].as_str()?, header["value"].as_str()?);
        let value = if crate::mcp::sensitive::sensitivity(name).is_some()
            || name.eq_ignore_ascii_case("mcp-session-id")
        {
            "[redacted:header]"
        } else {
            value
        };
        Some((name.into(), value.into()))
    };
    of["headers"].as_array().into_iter().flatten().filter_map(pair).collect()
}
