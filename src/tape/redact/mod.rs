//! Redaction: each secret is kept out of a tape by a placeholder that names its kind, and the frame
//! lists the kinds.
//!
//! A secret is recognized by its form ([`crate::mcp::secret`]), by its name
//! ([`crate::mcp::sensitive`]), by the keys, paths and patterns that a person gives, and by being
//! known: a value that was found under a name is looked for in every other text as well.

mod known;
mod text;

use std::borrow::Cow;
use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use parking_lot::Mutex;
use regex::Regex;

use self::known::KnownSecrets;
use self::text::{DEPTH, Hits, is_clean, is_clean_header};
use super::format::Header;
use crate::log::http::Http;
use crate::log::record::{Body, Channel, Frame, Level, Note, Record, SessionId, Unknown};
use crate::mcp::json_path::{JsonPath, JsonPathError};
use crate::mcp::sensitive::{self, Sensitivity};
use crate::mcp::sse::Event;
use crate::mcp::{Direction, Kind, Message, json};

/// Finds the secrets in records and replaces them.
#[derive(Debug, Default)]
pub struct Redactor {
    /// Names of members whose values are secrets, however they are spelled, in addition to the
    /// built-in names.
    keys: Vec<String>,
    /// Finds the names of `keys` in free text.
    named: Option<Regex>,
    paths: Vec<(String, JsonPath)>,
    patterns: Vec<Regex>,
    found: Mutex<Redactions>,
    known: Mutex<KnownSecrets>,
    /// Streams that are inside of a private key printed line by line.
    inside: Mutex<HashSet<(SessionId, Channel, Direction)>>,
    learning: AtomicBool,
}

/// Number of replacements, by the kind of the secret and its place.
pub type Redactions = BTreeMap<(String, String), u64>;

/// Error of a path or pattern for [`Redactor::new`].
#[derive(Debug, thiserror::Error)]
pub enum RedactError {
    /// The text is not a JSONPath (RFC 9535).
    #[error("{text:?} is not a JSONPath (RFC 9535): {source}")]
    Path {
        /// Text that was given.
        text: String,
        /// Error of the JSONPath parser.
        source: JsonPathError,
    },
    /// The text is not a regular expression.
    #[error("{text:?} is not a regular expression: {source}")]
    Pattern {
        /// Text that was given.
        text: String,
        /// Error of the regular expression parser.
        source: regex::Error,
    },
}

impl Redactor {
    /// Creates a redactor with the built-in detectors and the given member names (`keys`),
    /// JSONPaths and regular expressions.
    ///
    /// # Errors
    /// Returns an error if a path or a pattern cannot be parsed.
    pub fn new(keys: &[String], paths: &[String], patterns: &[String]) -> Result<Self, RedactError> {
        let path = |text: &String| match JsonPath::parse(text) {
            Ok(path) => Ok((text.clone(), path)),
            Err(source) => Err(RedactError::Path { text: text.clone(), source }),
        };
        let pattern = |text: &String| {
            Regex::new(text).map_err(|source| RedactError::Pattern { text: text.clone(), source })
        };
        let spelled = |key: &String| regex::escape(key).replace("\\-", "_").replace('_', "[_-]?");
        let alternatives: Vec<String> = keys.iter().map(spelled).collect();
        Ok(Self {
            named: if keys.is_empty() { None } else { sensitive::regex(&alternatives.join("|")) },
            keys: keys.iter().map(|key| sensitive::plain(key)).collect(),
            paths: paths.iter().map(path).collect::<Result<_, _>>()?,
            patterns: patterns.iter().map(pattern).collect::<Result<_, _>>()?,
            ..Self::default()
        })
    }

    /// Begins a pass that only collects secrets, so that the second pass also finds them in records
    /// before the one that reveals them. [`Redactor::begin`] ends it.
    pub fn learn(&self) {
        self.learning.store(true, Ordering::Relaxed);
    }

    /// Begins the pass that replaces: forgets the replacements made, and keeps the known secrets.
    pub fn begin(&self) {
        self.learning.store(false, Ordering::Relaxed);
        self.found.lock().clear();
        self.inside.lock().clear();
    }

    fn is_learning(&self) -> bool {
        self.learning.load(Ordering::Relaxed)
    }

    /// Returns the replacements made so far.
    pub fn found(&self) -> Redactions {
        self.found.lock().clone()
    }

    /// Returns the record without secrets.
    pub fn record(&self, record: &Record) -> Record {
        let mut record = record.clone();
        let text = |text: &mut String| *text = self.words(text, "text");
        match &mut record.body {
            Body::Frame(frame) => {
                if let Some(clean) = self.frame(record.session, frame) {
                    **frame = clean;
                }
            }
            Body::Opened(opened) => {
                text(&mut opened.name);
                opened.target = self.command(&opened.target);
                opened.directory.iter_mut().for_each(text);
            }
            Body::Facts(facts) => {
                [&mut facts.name, &mut facts.release].into_iter().flatten().for_each(text);
                if let Some(capabilities) = &mut facts.capabilities {
                    *capabilities = self.json(capabilities, DEPTH, &mut Hits::new()).into_owned();
                }
            }
            Body::Held(held) => held.by = self.words(&held.by, "by").into(),
            Body::Ruled(ruled) => ruled.why.iter_mut().for_each(text),
            Body::Sent(sent) => sent.why.iter_mut().for_each(text),
            Body::Note(note) => *note = self.note(note),
            Body::Ended(ended) => ended.why.iter_mut().for_each(text),
            Body::Closed(closed) => text(&mut closed.reason),
            Body::Gap(_) => {}
            Body::Amended(amended) => amended.message = self.message(&amended.message, &mut Hits::new()),
            Body::Unknown(unknown) => record.body = self.unknown(unknown),
        }
        record
    }

    /// Returns the header without secrets.
    pub fn header(&self, header: &Header) -> Header {
        let name = self.words(&header.name, "name");
        Header { name, target: self.command(&header.target), ..header.clone() }
    }

    /// Returns the note without secrets.
    pub fn note(&self, note: &Note) -> Note {
        Note { by: self.words(&note.by, "by").into(), text: self.words(&note.text, "note"), ..note.clone() }
    }

    /// Returns text that is not part of a frame without secrets; [`Redactor::found`] counts them
    /// under `place`.
    pub fn words(&self, text: &str, place: &str) -> String {
        self.text(text, place, &mut Hits::new())
    }

    /// Redacts a command line: the value of an option with a sensitive name is a secret as well.
    fn command(&self, words: &[String]) -> Vec<String> {
        let mut is_value = false;
        let word = |word: &String| {
            if std::mem::take(&mut is_value) && !word.starts_with('-') && !is_clean(word) {
                return self.option(word);
            }
            let sensitivity = |name: &str| self.sensitivity(name.trim_start_matches('-')).is_some();
            is_value = word.starts_with('-') && !word.contains('=') && sensitivity(word);
            match word.split_once('=') {
                Some((name, value)) if sensitivity(name) && !value.is_empty() && !is_clean(value) => {
                    format!("{name}={}", self.option(value))
                }
                _ => self.words(word, "target"),
            }
        };
        words.iter().map(word).collect()
    }

    fn option(&self, secret: &str) -> String {
        self.known.lock().look_for("option", secret);
        self.replaced("option", "target", secret)
    }

    fn sensitivity(&self, name: &str) -> Option<Sensitivity> {
        if !self.keys.is_empty() && self.keys.contains(&sensitive::plain(name)) {
            return Some(Sensitivity::One);
        }
        sensitive::sensitivity(name)
    }

    /// Returns `true` if a place contains no secret itself and can be shown.
    fn is_plain_place(&self, place: &str) -> bool {
        crate::mcp::secret::find(place).is_empty()
            && sensitive::find(place).is_empty()
            && self.known.lock().find(place).is_empty()
    }

    /// Counts a replacement and returns the placeholder.
    fn replaced(&self, kind: &str, place: &str, secret: &str) -> String {
        // Keys on the path may be secrets themselves.
        let place = match self.is_plain_place(place) {
            true => place.to_owned(),
            false => "(path withheld: it contains a secret)".to_owned(),
        };
        *self.found.lock().entry((kind.to_owned(), place)).or_default() += 1;
        self.known.lock().placeholder(kind, secret)
    }

    /// Returns a record of an unknown kind without secrets. A line that is no JSON object any more
    /// cannot stand on a tape: a note takes its place.
    fn unknown(&self, unknown: &Unknown) -> Body {
        let line = self.body(&String::from_utf8_lossy(&unknown.line), &mut Hits::new());
        match line.starts_with('{') {
            true => Body::Unknown(Unknown { line: line.into(), ..unknown.clone() }),
            false => Body::Note(Note {
                frame: None,
                mark: None,
                level: Level::Warning,
                by: "shadowcat".into(),
                text: format!("a record of kind {:?} was withheld: it could not be redacted", unknown.kind),
            }),
        }
    }

    /// Returns the frame without secrets; `None` if it contains no secret.
    fn frame(&self, session: SessionId, frame: &Frame) -> Option<Frame> {
        let mut hits = Hits::new();
        let stream = (session, frame.channel, frame.direction);
        let message = match self.key_line(stream, &frame.message, &mut hits) {
            Some(message) => message,
            None => self.message(&frame.message, &mut hits),
        };
        let http =
            frame.http.as_ref().map(|http| Box::new(self.http(http, &frame.message, &message, &mut hits)));
        if hits.is_empty() {
            return None;
        }
        hits.sort();
        hits.dedup();
        let before = frame.redacted.iter().cloned();
        let redacted = before.chain(hits.into_iter().map(Arc::from)).collect();
        Some(Frame { message, http, redacted, ..frame.clone() })
    }

    /// Replaces a line of a private key that is printed line by line: no single line has the form
    /// of a secret.
    fn key_line(
        &self,
        stream: (SessionId, Channel, Direction),
        message: &Message,
        hits: &mut Hits,
    ) -> Option<Message> {
        let Kind::Opaque(why) = message.kind() else { return None };
        let line = String::from_utf8_lossy(message.body());
        let mut inside = self.inside.lock();
        if line.contains("-----BEGIN ") && line.contains("PRIVATE KEY") && !line.contains("-----END ") {
            inside.insert(stream);
            return None;
        }
        if !inside.contains(&stream) {
            return None;
        }
        if line.contains("-----END ") {
            inside.remove(&stream);
        }
        hits.push("private-key".to_owned());
        // Only count it: a single line of a key is not a secret that could be found elsewhere.
        *self.found.lock().entry(("private-key".to_owned(), "text".to_owned())).or_default() += 1;
        Some(Message::opaque(Bytes::from_static(b"[redacted:private-key]\n"), *why))
    }

    fn message(&self, message: &Message, hits: &mut Hits) -> Message {
        let text = String::from_utf8_lossy(message.raw());
        let clean = self.body(&text, hits);
        match clean == *text {
            true => message.clone(),
            false => {
                let clean = Bytes::from(clean);
                match message.kind() {
                    Kind::Opaque(why) => Message::opaque(clean, *why),
                    _ => Message::parse(clean),
                }
            }
        }
    }

    /// Returns the body of a message, JSON or not, without secrets. A body that still shows a
    /// secret is withheld as a whole.
    fn body(&self, text: &str, hits: &mut Hits) -> String {
        let (mark, said) = match text.strip_prefix('\u{feff}') {
            Some(said) => ("\u{feff}", said),
            None => ("", text),
        };
        let clean = match json::document(said.as_bytes()) {
            Ok(_) => self.by_path(said, hits).map(|reached| self.json(&reached, DEPTH, hits).into_owned()),
            Err(_) => Ok(self.text(said, "text", hits)),
        };
        // UTF-16 puts a zero byte between the characters of a text, which hides secrets.
        let hides = |clean: &str| clean.contains('\0') && self.is_left(&clean.replace('\0', ""));
        match clean {
            Ok(clean) if self.is_learning() || !(self.is_left(&clean) || hides(&clean)) => {
                mark.to_owned() + &clean
            }
            _ => {
                let end = if text.ends_with('\n') { "\n" } else { "" };
                hits.push("withheld".to_owned());
                json::quote(&self.replaced("withheld", "message", "")) + end
            }
        }
    }

    fn http(&self, http: &Http, before: &Message, after: &Message, hits: &mut Hits) -> Http {
        let mut clean = |text: &str, place: &str| -> Arc<str> { self.text(text, place, hits).into() };
        let (method, path) = (clean(&http.method, "method"), clean(&http.path, "path"));
        let mut headers = Vec::with_capacity(http.headers.len());
        for (name, value) in &*http.headers {
            let place = format!("header {name}");
            let name: Arc<str> = self.text(name, "header", hits).into();
            // A value that the transport has redacted is marked by a placeholder already.
            let value =
                match self.sensitivity(&name).is_some() && !value.is_empty() && !is_clean_header(value) {
                    true => {
                        hits.push("header".to_owned());
                        self.known.lock().look_for("header", value);
                        self.replaced("header", &place, value)
                    }
                    false => self.text(value, &place, hits),
                };
            headers.push((name, value.into()));
        }
        let event = http.event.as_ref().map(|event| self.event(event, before, after, hits));
        Http { method, path, headers: headers.into(), event, ..http.clone() }
    }

    /// Redacts an event, which carries the bytes of its message.
    fn event(&self, event: &Event, before: &Message, after: &Message, hits: &mut Hits) -> Event {
        let raw = match &event.data {
            Some(data) if data == before.raw() => event.with_data(after.raw()),
            Some(data) => {
                let said = String::from_utf8_lossy(data);
                let clean = self.body(&said, hits);
                if clean == *said { event.raw.clone() } else { event.with_data(clean.as_bytes()) }
            }
            None => event.raw.clone(),
        };
        let raw = String::from_utf8_lossy(&raw);
        let clean: Cow<'_, str> = match &event.data {
            // The data is clean; the lines around it are not.
            Some(_) => raw.split_inclusive('\n').map(|line| self.event_line(line, hits)).collect(),
            None => Cow::Owned(self.text(&raw, "event", hits)),
        };
        Event::parse(clean.into_owned().into())
    }

    fn event_line(&self, line: &str, hits: &mut Hits) -> String {
        if line.starts_with("data") { line.to_owned() } else { self.text(line, "event", hits) }
    }

    /// Returns `true` if a line of a tape still shows the form of a secret or a known secret, which
    /// redaction should have removed.
    pub fn left(&self, line: &str) -> bool {
        self.is_left(line)
    }
}
