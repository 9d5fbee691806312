//! Recordings in the forms of others. Each form is one file, and one row of [`Form::ALL`].

mod csv;
mod curl;
mod har;
mod html;
mod json;
mod markdown;
mod otlp;
mod text;

use std::io::{self, Write};
use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::format::Header;
use super::opened::Opened;
use crate::clock::{self, Stamp};
use crate::log::record::{Frame, Record};
use crate::log::world::{FrameState, Row, World};
use crate::log::{Log, Seq};
use crate::mcp::layout;
use crate::mcp::token::quote;

/// What is exported: a tape, or the frames of it that were asked for.
pub struct Source<'a> {
    pub header: &'a Header,
    pub world: &'a World,
    pub log: &'a Log,
    /// The frames, in order.
    pub frames: Vec<Seq>,
    /// Is told how many frames were written.
    pub progress: Box<dyn Fn(u64) + 'a>,
}

/// A form that a recording can be written in.
#[derive(Clone, Copy)]
pub struct Form {
    /// What it is called on the command line.
    pub name: &'static str,
    /// What it is good for.
    pub help: &'static str,
    write: fn(&Source<'_>, &mut dyn Write) -> io::Result<()>,
}

impl Form {
    /// Every form.
    pub const ALL: [Self; 9] = [
        Self { name: "json", help: "one document", write: json::document },
        Self { name: "jsonl", help: "one frame a line", write: json::lines },
        Self { name: "har", help: "HTTP Archive 1.2, for browsers' network panels", write: har::write },
        Self { name: "markdown", help: "a report to paste into an issue", write: markdown::write },
        Self { name: "text", help: "one frame a line, for people", write: text::write },
        Self { name: "curl", help: "a shell script that asks the same", write: curl::write },
        Self { name: "otlp", help: "OpenTelemetry traces as OTLP/JSON", write: otlp::write },
        Self { name: "csv", help: "one frame a row, for spreadsheets", write: csv::write },
        Self {
            name: "html",
            help: "one page with everything in it, to look at and play",
            write: html::write,
        },
    ];

    /// The form called `name`.
    pub fn find(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|form| form.name == name)
    }

    /// Writes `source` in this form.
    ///
    /// # Errors
    /// When `out` does not take it.
    pub fn write(self, source: &Source<'_>, out: &mut dyn Write) -> io::Result<()> {
        (self.write)(source, out)
    }
}

impl<'a> Source<'a> {
    /// Everything on a tape, or the frames that `asked` says.
    pub fn new(tape: &'a Opened, asked: impl Fn(&Row) -> bool) -> Self {
        let frames = tape.world.rows.iter().filter(|row| asked(row)).map(|row| row.seq).collect();
        let progress = Box::new(|_| ());
        Self { header: &tape.header, world: &tape.world, log: &tape.log, frames, progress }
    }

    /// Each frame: its row, and its record.
    fn each(&self) -> impl Iterator<Item = (&Row, Arc<Record>)> {
        let frame = |(at, seq): (usize, &Seq)| {
            (self.progress)(at as u64);
            Some((self.world.row(*seq)?, self.log.get(*seq)?))
        };
        self.frames.iter().enumerate().filter_map(frame)
    }

    /// The wall time of `at`, microseconds since the Unix epoch.
    fn wall(&self, at: Stamp) -> u64 {
        self.header.anchor.saturating_add(at.nanos() / 1000)
    }

    /// The same as ISO 8601.
    fn iso(&self, at: Stamp) -> String {
        clock::iso(self.wall(at))
    }

    /// How a frame stands, in the words of the query language.
    fn state(&self, row: &Row) -> Vec<String> {
        let mut words = Vec::new();
        if let FrameState::Ended(outcome) = row.state {
            words.push(outcome.as_str().to_owned());
        }
        self.world.statuses(row, &mut |word| {
            if !words.iter().any(|known| known == word) {
                words.push(word.to_owned());
            }
        });
        words
    }

    /// A frame as an object that explains itself, on one line. Its message keeps every token as it
    /// was spelled.
    fn object(&self, row: &Row, frame: &Frame) -> String {
        let mut members = Map::new();
        let mut put = |key: &str, value: Value| {
            if !value.is_null() {
                members.insert(key.to_owned(), value);
            }
        };
        put("seq", row.seq.into());
        put("time", self.iso(row.at).into());
        put("mono_ns", row.at.nanos().into());
        put("session", row.session.0.into());
        put("direction", row.direction.as_str().into());
        put("kind", row.kind.as_str().into());
        put("operation", row.op().map(|op| op.0).into());
        put("method", self.world.text(row.method).into());
        put("target", self.world.text(row.target).into());
        put("origin", row.origin().as_str().into());
        put("of", row.origin().of().into());
        put("state", self.state(row).into());
        put("error", row.is_error.into());
        put("duration_ms", row.duration().map(|duration| duration.as_secs_f64() * 1e3).into());
        put("size", row.size.into());
        if let Some(http) = &frame.http {
            let headers: Vec<Value> =
                http.headers.iter().map(|(name, value)| json!([**name, **value])).collect();
            let facts = json!({ "exchange": http.exchange.0, "method": *http.method, "path": *http.path });
            let mut facts = facts;
            if let Value::Object(facts) = &mut facts {
                facts.extend(http.status.map(|status| ("status".to_owned(), status.into())));
                facts.insert("headers".into(), headers.into());
            }
            put("http", facts);
        }
        if !frame.redacted.is_empty() {
            put("redacted", frame.redacted.iter().map(|kind| Value::from(&**kind)).collect());
        }
        let head = Value::Object(members).to_string();
        let said = match said(frame) {
            (text, true) => text,
            (text, false) => quote(&text),
        };
        format!("{},\"message\":{said}}}", head.strip_suffix('}').unwrap_or(&head))
    }
}

/// What a frame says on one line, and whether that is JSON.
fn said(frame: &Frame) -> (String, bool) {
    match frame.message.is_rpc() {
        true => (layout::one_line(&String::from_utf8_lossy(frame.message.body())), true),
        false => {
            let text = String::from_utf8_lossy(frame.message.raw());
            (text.trim_end_matches(['\n', '\r']).to_owned(), false)
        }
    }
}
