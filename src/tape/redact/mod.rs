//! Keeping secrets out of a tape: each is replaced by what it was, and the frame says so.
//!
//! What is replaced is told by its form ([`crate::mcp::secret`]), by the name that it has
//! ([`crate::mcp::sensitive`]), by what a person names, and by being a secret elsewhere: what was
//! found under a name is looked for in every other text as well.

mod known;
mod text;

use std::borrow::Cow;
use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use parking_lot::Mutex;
use regex::Regex;
use serde_json_path::JsonPath;

use self::known::Known;
use self::text::{DEPTH, Hits, is_clean, is_clean_header};
use super::format::Header;
use crate::log::http::Http;
use crate::log::record::{Body, Channel, Frame, Note, Record, SessionId};
use crate::mcp::sensitive::{self, Sensitivity};
use crate::mcp::sse::Event;
use crate::mcp::{Direction, Kind, Message, json};

/// What is to be replaced.
#[derive(Debug, Default)]
pub struct Redactor {
    /// Members of these names, however they are spelled, beside those that tell by themselves.
    keys: Vec<String>,
    /// Finds those names in free text.
    named: Option<Regex>,
    paths: Vec<(String, JsonPath)>,
    patterns: Vec<Regex>,
    found: Mutex<Found>,
    known: Mutex<Known>,
    /// Streams of lines that are inside of a private key.
    inside: Mutex<HashSet<(SessionId, Channel, Direction)>>,
    learning: AtomicBool,
}

/// What was replaced: how often, by what it was and where.
pub type Found = BTreeMap<(String, String), u64>;

/// Something that cannot be looked for.
#[derive(Debug, thiserror::Error)]
pub enum RedactError {
    #[error("{text:?} is no JSONPath (RFC 9535): {source}")]
    Path { text: String, source: serde_json_path::ParseError },
    #[error("{text:?} is no regular expression: {source}")]
    Pattern { text: String, source: regex::Error },
}

impl Redactor {
    /// Replaces what the built-in detectors find, and what is named here.
    ///
    /// # Errors
    /// When a path or a pattern is none.
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

    /// Only finds what are secrets, so that each is one in the records before it as well, until
    /// [`Redactor::begin`].
    pub fn learn(&self) {
        self.learning.store(true, Ordering::Relaxed);
    }

    /// Forgets what was replaced, and keeps what is known to be a secret.
    pub fn begin(&self) {
        self.learning.store(false, Ordering::Relaxed);
        self.found.lock().clear();
        self.inside.lock().clear();
    }

    fn is_learning(&self) -> bool {
        self.learning.load(Ordering::Relaxed)
    }

    /// What was replaced so far.
    pub fn found(&self) -> Found {
        self.found.lock().clone()
    }

    /// The record without secrets.
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
        }
        record
    }

    /// The header without secrets.
    pub fn header(&self, header: &Header) -> Header {
        let name = self.words(&header.name, "name");
        Header { name, target: self.command(&header.target), ..header.clone() }
    }

    /// The note without secrets.
    pub fn note(&self, note: &Note) -> Note {
        Note { by: self.words(&note.by, "by").into(), text: self.words(&note.text, "note"), ..note.clone() }
    }

    /// Words that are no frame's, without secrets.
    pub fn words(&self, text: &str, place: &str) -> String {
        self.text(text, place, &mut Hits::new())
    }

    /// Words of a command line: the value behind an option that sensitivity is a secret as well.
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

    /// Whether a place can be shown.
    fn is_plain_place(&self, place: &str) -> bool {
        crate::mcp::secret::find(place).is_empty()
            && sensitive::find(place).is_empty()
            && self.known.lock().find(place).is_empty()
    }

    /// Counts a replacement and gives what stands for it.
    fn replaced(&self, kind: &str, place: &str, secret: &str) -> String {
        // The names on the way to it may be secrets themselves.
        let place = match self.is_plain_place(place) {
            true => place.to_owned(),
            false => "(where its name is a secret)".to_owned(),
        };
        *self.found.lock().entry((kind.to_owned(), place)).or_default() += 1;
        self.known.lock().placeholder(kind, secret)
    }

    /// The frame without secrets; none when it has none.
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

    /// A line of a private key that is printed line by line, in which no line sensitivity by itself.
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
        // It is no secret by itself that could be looked for elsewhere.
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

    /// What a peer said, JSON or not, without secrets. What cannot be taken apart so that nothing
    /// is left is withheld.
    fn body(&self, text: &str, hits: &mut Hits) -> String {
        let (mark, said) = match text.strip_prefix('\u{feff}') {
            Some(said) => ("\u{feff}", said),
            None => ("", text),
        };
        let clean = match json::document(said.as_bytes()) {
            Ok(_) => self.by_path(said, hits).map(|reached| self.json(&reached, DEPTH, hits).into_owned()),
            Err(_) => Ok(self.text(said, "text", hits)),
        };
        // In UTF-16 a text is one with a zero in every other place.
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
            // What the transport cleaned out already is marked as such.
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

    /// An event carries the bytes that its message came in.
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
            // Its data is clean; the lines around it are not.
            Some(_) => raw.split_inclusive('\n').map(|line| self.event_line(line, hits)).collect(),
            None => Cow::Owned(self.text(&raw, "event", hits)),
        };
        Event::parse(clean.into_owned().into())
    }

    fn event_line(&self, line: &str, hits: &mut Hits) -> String {
        if line.starts_with("data") { line.to_owned() } else { self.text(line, "event", hits) }
    }

    /// Whether the line of a tape still shows what has the form of a secret, or one that is known:
    /// what redaction promised and did not do.
    pub fn left(&self, line: &str) -> bool {
        self.is_left(line)
    }
}
