//! HTTP Archive 1.2. An exchange over HTTP is one entry. A stdio session is one entry as well, with
//! its messages in `_webSocketMessages`, where browsers put those of a WebSocket.

use std::collections::BTreeMap;
use std::io::{self, Write};

use serde_json::{Value, json};

use super::ExportSource;
use crate::log::http::Http;
use crate::log::record::{LaneId, SessionId};
use crate::mcp::Direction;

/// Writes one HTTP Archive with all exchanges and stdio sessions, ordered by time.
///
/// # Errors
/// Returns an error if `out` cannot be written.
pub fn write(source: &ExportSource<'_>, out: &mut dyn Write) -> io::Result<()> {
    let mut entries: BTreeMap<(SessionId, LaneId), Entry> = BTreeMap::new();
    let mut sockets: BTreeMap<SessionId, (String, Vec<Value>)> = BTreeMap::new();
    for (row, record) in source.each() {
        let Some(frame) = record.frame() else { continue };
        let text = String::from_utf8_lossy(frame.message.body()).into_owned();
        match &frame.http {
            Some(http) => {
                let entry = entries.entry((row.session, http.exchange)).or_insert_with(|| Entry {
                    started: source.iso(row.at),
                    began: row.at.nanos(),
                    ..Entry::default()
                });
                entry.add(row.direction, http, &text, row.at.nanos());
            }
            None => {
                let socket = sockets.entry(row.session).or_insert_with(|| (source.iso(row.at), Vec::new()));
                let way = if row.direction == Direction::ToServer { "send" } else { "receive" };
                let seconds = source.wall(row.at) as f64 / 1e6;
                socket.1.push(json!({ "type": way, "time": seconds, "opcode": 1, "data": text }));
            }
        }
    }
    let url = source.header.target.first().filter(|target| target.contains("://")).cloned();
    let mut all: Vec<(String, Value)> = Vec::new();
    for entry in entries.into_values() {
        all.push((entry.started.clone(), entry.value(url.as_deref().unwrap_or("http://localhost/mcp"))));
    }
    for (session, (started, messages)) in sockets {
        let name = source.world.session_name(session);
        let url = format!("ws://stdio.invalid/{}", name.replace(|c: char| !c.is_ascii_alphanumeric(), "-"));
        all.push((started.clone(), socket(&started, &url, messages)));
    }
    all.sort_by(|a, b| a.0.cmp(&b.0));
    let document = json!({
        "log": {
            "version": "1.2",
            "creator": { "name": "shadowcat", "version": env!("CARGO_PKG_VERSION") },
            "comment": source.header.target.join(" "),
            "entries": all.into_iter().map(|(_, entry)| entry).collect::<Vec<_>>(),
        }
    });
    writeln!(out, "{document:#}")
}

/// An exchange, as far as it was read.
#[derive(Default)]
struct Entry {
    started: String,
    began: u64,
    ended: u64,
    answered: Option<u64>,
    method: String,
    path: String,
    status: u16,
    asked: Vec<(String, String)>,
    told: Vec<(String, String)>,
    request: String,
    response: String,
}

impl Entry {
    fn add(&mut self, direction: Direction, http: &Http, text: &str, at: u64) {
        let headers =
            || http.headers.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
        (self.method, self.path) = (http.method.to_string(), http.path.to_string());
        self.ended = self.ended.max(at);
        match direction {
            Direction::ToServer => {
                self.request.push_str(text);
                if self.asked.is_empty() {
                    self.asked = headers();
                }
            }
            Direction::ToClient => {
                self.answered.get_or_insert(at);
                self.status = http.status.unwrap_or(self.status);
                if self.told.is_empty() {
                    self.told = headers();
                }
                match &http.event {
                    Some(event) => self.response.push_str(&String::from_utf8_lossy(&event.raw)),
                    None => self.response.push_str(text),
                }
            }
        }
    }

    fn value(self, url: &str) -> Value {
        let pairs = |headers: &[(String, String)]| -> Vec<Value> {
            headers.iter().map(|(name, value)| json!({ "name": name, "value": value })).collect()
        };
        let header = |headers: &[(String, String)], name: &str| {
            let named = headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name));
            named.map_or_else(String::new, |(_, value)| value.clone())
        };
        let millis = |from: u64, to: u64| to.saturating_sub(from) as f64 / 1e6;
        let answered = self.answered.unwrap_or(self.ended);
        // The URL consists of the origin of the target and the path of the exchange.
        let root = url.splitn(4, '/').take(3).collect::<Vec<_>>().join("/");
        let query: Vec<Value> = self.path.split_once('?').map_or_else(Vec::new, |(_, query)| {
            query
                .split('&')
                .map(|pair| {
                    let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
                    json!({ "name": name, "value": value })
                })
                .collect()
        });
        let mut request = json!({
            "method": self.method,
            "url": format!("{root}{}", self.path),
            "httpVersion": "HTTP/1.1",
            "cookies": [],
            "headers": pairs(&self.asked),
            "queryString": query,
            "headersSize": -1,
            "bodySize": self.request.len(),
        });
        if !self.request.is_empty() {
            request["postData"] =
                json!({ "mimeType": header(&self.asked, "content-type"), "text": self.request });
        }
        json!({
            "startedDateTime": self.started,
            "time": millis(self.began, self.ended),
            "request": request,
            "response": {
                "status": self.status,
                "statusText": "",
                "httpVersion": "HTTP/1.1",
                "cookies": [],
                "headers": pairs(&self.told),
                "content": {
                    "size": self.response.len(),
                    "mimeType": header(&self.told, "content-type"),
                    "text": self.response,
                },
                "redirectURL": "",
                "headersSize": -1,
                "bodySize": -1,
            },
            "cache": {},
            "timings": {
                "send": 0,
                "wait": millis(self.began, answered),
                "receive": millis(answered, self.ended),
            },
        })
    }
}

fn socket(started: &str, url: &str, messages: Vec<Value>) -> Value {
    json!({
        "startedDateTime": started,
        "time": 0,
        "_resourceType": "websocket",
        "_webSocketMessages": messages,
        "request": {
            "method": "GET", "url": url, "httpVersion": "HTTP/1.1", "cookies": [], "headers": [],
            "queryString": [], "headersSize": -1, "bodySize": 0,
        },
        "response": {
            "status": 101, "statusText": "Switching Protocols", "httpVersion": "HTTP/1.1", "cookies": [],
            "headers": [], "content": { "size": 0, "mimeType": "x-unknown" }, "redirectURL": "",
            "headersSize": -1, "bodySize": 0,
        },
        "cache": {},
        "timings": { "send": 0, "wait": 0, "receive": 0 },
    })
}
