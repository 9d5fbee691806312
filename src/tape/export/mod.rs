//! Export of recordings to other formats. Each format is one module, and one row of [`ExportFormat::ALL`].

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
use super::opened::OpenedTape;
use crate::clock::{self, Stamp};
use crate::log::record::{Frame, Record};
use crate::log::world::{FrameState, Row, World};
use crate::log::{Log, Seq};
use crate::mcp::layout;
use crate::mcp::token::quote;

/// A tape, or a selection of its frames, that is exported.
pub struct ExportSource<'a> {
    /// Header of the tape.
    pub header: &'a Header,
    /// State folded from all records of the tape.
    pub world: &'a World,
    /// Log that the records are read from.
    pub log: &'a Log,
    /// Frames to export, in order.
    pub frames: Vec<Seq>,
    /// Called with the number of frames written so far.
    pub progress: Box<dyn Fn(u64) + 'a>,
}

/// An export format.
#[derive(Clone, Copy)]
pub struct ExportFormat {
    /// Name of the format on the command line.
    pub name: &'static str,
    /// Description of the format for the help text.
    pub help: &'static str,
    write: fn(&ExportSource<'_>, &mut dyn Write) -> io::Result<()>,
}

impl ExportFormat {
    /// Export formats, in the order of the help text.
    pub const ALL: [Self; 9] = [
        Self { name: "json", help: "one document", write: json::document },
        Self { name: "jsonl", help: "one frame per line", write: json::lines },
        Self { name: "har", help: "HTTP Archive 1.2, for browsers' network panels", write: har::write },
        Self { name: "markdown", help: "a report to paste into an issue", write: markdown::write },
        Self { name: "text", help: "one frame per line, for people", write: text::write },
        Self { name: "curl", help: "a shell script that repeats the requests", write: curl::write },
        Self { name: "otlp", help: "OpenTelemetry traces as OTLP/JSON", write: otlp::write },
        Self { name: "csv", help: "one frame per row, for spreadsheets", write: csv::write },
        Self { name: "html", help: "a self-contained page to browse and play", write: html::write },
    ];

    /// Returns the format called `name`.
    pub fn find(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|form| form.name == name)
    }

    /// Writes `source` in this format.
    ///
    /// # Errors
    /// Returns an error if `out` cannot be written.
    pub fn write(self, source: &ExportSource<'_>, out: &mut dyn Write) -> io::Result<()> {
        (self.write)(source, out)
    }
}

impl<'a> ExportSource<'a> {
    /// Selects the frames of `tape` that `asked` accepts.
    pub fn new(tape: &'a OpenedTape, mut asked: impl FnMut(&Row) -> bool) -> Self {
        let frames = tape.world.rows.iter().filter(|row| asked(row)).map(|row| row.seq).collect();
        let progress = Box::new(|_| ());
        Self { header: &tape.header, world: &tape.world, log: &tape.log, frames, progress }
    }

    /// Returns the row and the record of every frame, in order.
    fn each(&self) -> impl Iterator<Item = (&Row, Arc<Record>)> {
        let frame = |(at, seq): (usize, &Seq)| {
            (self.progress)(at as u64);
            Some((self.world.row(*seq)?, self.log.get(*seq)?))
        };
        self.frames.iter().enumerate().filter_map(frame)
    }

    /// Returns the wall time of `at` in microseconds since the Unix epoch.
    fn wall(&self, at: Stamp) -> u64 {
        self.header.anchor.saturating_add(at.nanos() / 1000)
    }

    /// Returns the wall time of `at` as ISO 8601.
    fn iso(&self, at: Stamp) -> String {
        clock::iso(self.wall(at))
    }

    /// Returns the state of a frame, in the words of the query language.
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

    /// Returns a frame as a self-explanatory JSON object on one line. Its message keeps the
    /// spelling of every token.
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

/// Returns the content of a frame on one line, and `true` if it is JSON.
fn said(frame: &Frame) -> (String, bool) {
    match frame.message.is_rpc() {
        true => (layout::one_line(&String::from_utf8_lossy(frame.message.body())), true),
        false => {
            let text = String::from_utf8_lossy(frame.message.raw());
            (text.trim_end_matches(['\n', '\r']).to_owned(), false)
        }
    }
}
