//! Tape format v1: one JSON object a line.
//!
//! A header line (what is known at the start), one line a record, a mark line at each flush
//! (offset and SHA-256 of the block before it, so that damage is found on unsealed tapes too) and
//! a seal at a clean end. The message stands in its line as the exact bytes of the wire where
//! they are JSON without a line break; else as text, else as base64. White space around it and
//! the terminator are kept beside it; a terminator of `\n` is not written.

use std::io::Write;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::{Bytes, BytesMut};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::http::{self, HttpLine};
use crate::clock::Stamp;
use crate::log::record::{
    Body, Cause, Channel, Closed, Ended, Exit, Facts, Flags, Frame, Gap, Held, LaneId, Level, Link, Note,
    OpId, Opened, Origin, Outcome, Record, Role, Ruled, Sent, Seq, SessionId, VerdictKind,
};
use crate::mcp::{Direction, Era, Message, Opaque, json};

/// What the header's `format` says.
pub const FORMAT: &str = "shadowcat-tape";
/// The version this program writes, and the newest it reads.
pub const VERSION: u32 = 1;

/// The first line of a tape (or of one part of it).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    pub format: String,
    pub version: u32,
    /// The program that recorded it.
    pub by: String,
    /// The tape's own id, the same in all its parts.
    pub tape: String,
    /// Counted from 1.
    pub part: u32,
    /// Wall time of monotonic zero, microseconds since the Unix epoch.
    pub anchor: u64,
    /// What people call it.
    pub name: String,
    /// The command or URL that was recorded.
    pub target: Vec<String>,
    /// The id of the tape that it was made from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<String>,
}

impl Header {
    /// The header of a new tape, whose monotonic zero is at the wall time `anchor`.
    pub fn new(anchor: u64) -> Self {
        Self {
            format: FORMAT.to_owned(),
            version: VERSION,
            by: concat!("shadowcat ", env!("CARGO_PKG_VERSION")).to_owned(),
            tape: uuid::Uuid::now_v7().to_string(),
            part: 1,
            anchor,
            name: String::new(),
            target: Vec::new(),
            parent: None,
        }
    }
}

/// The end of a block.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// Where this line begins in the file.
    pub offset: u64,
    /// SHA-256 of everything from the line after the last mark (or the beginning) to here.
    pub hash: String,
    /// The last record before it.
    pub last: Seq,
}

/// The last line of a part that was ended cleanly.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Seal {
    pub records: u64,
    pub frames: u64,
    pub errors: u64,
    pub last: Seq,
    /// Monotonic nanoseconds of the last record.
    pub mono: u64,
    /// SHA-256 of the hashes of all marks, in their order, as written.
    pub hash: String,
    /// Whether another part follows.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub continued: bool,
    /// The newest `facts` records, so that a list need not read the tape.
    pub facts: Vec<Box<RawValue>>,
}

/// One line of a tape.
#[derive(Debug, Clone)]
pub enum Line {
    Header(Header),
    Record(Record),
    Mark(Mark),
    Seal(Seal),
    /// What is known and running at the beginning of a later part; readers that begin at the
    /// first part need none of it.
    Checkpoint,
}

/// Why a line could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LineError {
    #[error("not a record: {0}")]
    Malformed(String),
    #[error(
        "written in format version {0}; this program reads up to {VERSION}. Install a newer shadowcat to open it"
    )]
    Newer(u32),
    #[error("not a shadowcat tape (its first line says format {0:?})")]
    Foreign(String),
}

// === write ===

/// Appends the line of `value` with `"r":kind` as its first member.
pub fn write_tagged(line: &mut Vec<u8>, kind: &str, value: &impl Serialize) {
    #[derive(Serialize)]
    struct Tagged<'a, T> {
        r: &'a str,
        #[serde(flatten)]
        value: &'a T,
    }
    // Writing plain data into memory cannot fail.
    let _ = serde_json::to_writer(&mut *line, &Tagged { r: kind, value });
    line.push(b'\n');
}

/// Appends the line of a record; `wall` is its wall time in microseconds.
pub fn write_record(line: &mut Vec<u8>, record: &Record, wall: u64) {
    let Record { seq, at, session, body } = record;
    let kind = kind(body);
    let _ =
        write!(line, r#"{{"r":"{kind}","seq":{seq},"at":{wall},"mono":{},"sess":{}"#, at.nanos(), session.0);
    match body {
        Body::Frame(frame) => write_frame(line, frame),
        Body::Held(Held { frame, by }) => {
            let _ = write!(line, r#","frame":{frame},"by":{}"#, json::quote(by));
        }
        Body::Ruled(Ruled { frame, by, verdict, why }) => {
            let _ = write!(line, r#","frame":{frame},"by":{},"verdict":"{verdict}""#, json::quote(by));
            write_text(line, "why", why.as_deref());
        }
        Body::Sent(sent) => write_sent(line, sent),
        Body::Opened(opened) => {
            write_text(line, "name", Some(&opened.name));
            write_value(line, "target", &opened.target);
            write_text(line, "directory", opened.directory.as_deref());
            if let Some(pid) = opened.pid {
                let _ = write!(line, r#","pid":{pid}"#);
            }
            let _ = write!(line, r#","own_client":{}"#, opened.own_client);
        }
        Body::Facts(facts) => write_facts(line, facts),
        Body::Note(Note { frame, mark, level, by, text }) => {
            if let Some(frame) = frame {
                let _ = write!(line, r#","frame":{frame}"#);
            }
            write_text(line, "mark", mark.map(String::from).as_deref());
            let _ = write!(line, r#","level":"{level}""#);
            write_text(line, "by", Some(by));
            write_text(line, "text", Some(text));
        }
        Body::Gap(Gap { first, last }) => {
            let _ = write!(line, r#","first":{first},"last":{last},"lost":{}"#, last - first + 1);
        }
        Body::Ended(Ended { lane, why }) => {
            let _ = write!(line, r#","lane":{}"#, lane.0);
            write_text(line, "why", why.as_deref());
        }
        Body::Closed(Closed { reason, exit }) => {
            write_text(line, "reason", Some(reason));
            let _ = match exit {
                Some(Exit::Code(code)) => write!(line, r#","code":{code}"#),
                Some(Exit::Signal(signal)) => write!(line, r#","signal":{signal}"#),
                None => Ok(()),
            };
        }
    }
    line.extend_from_slice(b"}\n");
}

fn kind(body: &Body) -> &'static str {
    match body {
        Body::Opened(_) => "opened",
        Body::Frame(_) => "frame",
        Body::Held(_) => "held",
        Body::Ruled(_) => "ruled",
        Body::Sent(_) => "sent",
        Body::Facts(_) => "facts",
        Body::Note(_) => "note",
        Body::Gap(_) => "gap",
        Body::Ended(_) => "ended",
        Body::Closed(_) => "closed",
    }
}

fn write_text(line: &mut Vec<u8>, key: &str, text: Option<&str>) {
    if let Some(text) = text {
        let _ = write!(line, r#","{key}":{}"#, json::quote(text));
    }
}

fn write_value(line: &mut Vec<u8>, key: &str, value: &impl Serialize) {
    let _ = write!(line, r#","{key}":"#);
    let _ = serde_json::to_writer(line, value);
}

fn write_sent(line: &mut Vec<u8>, sent: &Sent) {
    let _ = write!(line, r#","frame":{},"outcome":"{}""#, sent.frame, sent.outcome);
    if let Some(held) = sent.held {
        let _ = write!(line, r#","held":{}"#, held.as_nanos());
    }
    if let Some(length) = sent.length {
        let _ = write!(line, r#","length":{length}"#);
    }
    write_text(line, "why", sent.why.as_deref());
}

fn write_facts(line: &mut Vec<u8>, facts: &Facts) {
    let _ = write!(line, r#","side":"{}""#, side_word(facts.side));
    write_text(line, "era", facts.era.map(Era::as_str));
    write_text(line, "version", facts.version.as_deref());
    write_text(line, "name", facts.name.as_deref());
    write_text(line, "release", facts.release.as_deref());
    if let Some(capabilities) = &facts.capabilities {
        // They were cut out of a message, so they are JSON; a line break in them is white space.
        let _ = write!(line, r#","capabilities":{}"#, crate::mcp::layout::one_line(capabilities));
    }
}

/// A side of a session, named by the way it sends.
fn side_word(side: Direction) -> &'static str {
    match side {
        Direction::ToServer => "client",
        Direction::ToClient => "server",
    }
}

fn write_link(line: &mut Vec<u8>, link: &Link) {
    if let Some(op) = link.op {
        let _ = write!(line, r#","op":{}"#, op.0);
    }
    if link.role != Role::None {
        let _ = write!(line, r#","role":"{}""#, link.role);
    }
    if let Some(to) = link.to {
        let _ = write!(line, r#","to":{to}"#);
    }
    if let Some(cause) = link.cause {
        let _ = write!(line, r#","cause":{}"#, cause.op.0);
        if cause.presumed {
            line.extend_from_slice(br#","presumed":true"#);
        }
    }
    if !link.flags.is_empty() {
        write_value(line, "flags", &link.flags.words().collect::<Vec<_>>());
    }
}

fn write_frame(line: &mut Vec<u8>, frame: &Frame) {
    let _ = write!(
        line,
        r#","lane":{},"dir":"{}","kind":"{}","origin":"{}""#,
        frame.lane.0,
        frame.direction.as_str(),
        frame.kind(),
        frame.origin.as_str()
    );
    if let Some(of) = frame.origin.of() {
        let _ = write!(line, r#","of":{of}"#);
    }
    write_link(line, &frame.link);
    if !frame.elements.is_empty() {
        line.extend_from_slice(br#","elements":["#);
        for (index, element) in frame.elements.iter().enumerate() {
            let mut object = Vec::new();
            write_link(&mut object, element);
            line.extend_from_slice(if index == 0 { b"{" } else { b",{" });
            line.extend_from_slice(object.strip_prefix(b",").unwrap_or(&object));
            line.push(b'}');
        }
        line.push(b']');
    }
    if matches!(frame.message.kind(), crate::mcp::Kind::Opaque(Opaque::Truncated)) {
        line.extend_from_slice(br#","cut":true"#);
    }
    if !frame.redacted.is_empty() {
        write_value(line, "redacted", &frame.redacted);
    }
    if let Some(http) = &frame.http {
        http::write(line, http, frame.message.raw());
    }
    write_message(line, &frame.message);
}

/// Whether a message stands in its line as the bytes that it had on the wire.
pub fn is_verbatim(message: &Message) -> bool {
    let raw = message.raw();
    let is_json = message.is_rpc() || json::document(raw).is_ok();
    is_json
        && !raw.starts_with(b"\xef\xbb\xbf")
        && !raw.trim_ascii().iter().any(|byte| matches!(byte, b'\n' | b'\r'))
}

fn write_message(line: &mut Vec<u8>, message: &Message) {
    let raw = message.raw();
    let body = raw.trim_ascii();
    if is_verbatim(message) {
        let start = raw.len() - raw.trim_ascii_start().len();
        let around = |line: &mut Vec<u8>, key: &str, space: &[u8]| {
            write_text(line, key, Some(&String::from_utf8_lossy(space)));
        };
        if start > 0 {
            around(line, "pre", &raw[..start]);
        }
        let end = &raw[start + body.len()..];
        if end != b"\n" {
            around(line, "post", end);
        }
        line.extend_from_slice(br#","msg":"#);
        line.extend_from_slice(body);
    } else if let Ok(text) = std::str::from_utf8(raw) {
        write_text(line, "text", Some(text));
    } else {
        write_text(line, "base64", Some(&BASE64_STANDARD.encode(raw)));
    }
}

/// Appends a checkpoint: the lines of what is open, which stand in earlier parts, as an array.
pub fn write_checkpoint<'a>(line: &mut Vec<u8>, lines: impl Iterator<Item = &'a Vec<u8>>) {
    line.extend_from_slice(br#"{"r":"checkpoint","records":["#);
    for (index, record) in lines.enumerate() {
        line.extend_from_slice(if index == 0 { b"" } else { b"," });
        line.extend_from_slice(record.trim_ascii_end());
    }
    line.extend_from_slice(b"]}\n");
}

// === read ===

#[derive(Deserialize)]
struct Tag<'a> {
    #[serde(borrow)]
    r: std::borrow::Cow<'a, str>,
}

/// Every member that any record line may have.
#[derive(Deserialize)]
struct Wide<'a> {
    seq: Seq,
    mono: u64,
    sess: u32,
    frame: Option<Seq>,
    by: Option<String>,
    verdict: Option<String>,
    why: Option<String>,
    outcome: Option<String>,
    held: Option<u64>,
    length: Option<u64>,
    name: Option<String>,
    target: Option<Vec<String>>,
    directory: Option<String>,
    pid: Option<u32>,
    #[serde(default)]
    own_client: bool,
    side: Option<String>,
    era: Option<String>,
    version: Option<String>,
    release: Option<String>,
    #[serde(borrow)]
    capabilities: Option<&'a RawValue>,
    mark: Option<char>,
    level: Option<String>,
    text: Option<String>,
    first: Option<Seq>,
    last: Option<Seq>,
    reason: Option<String>,
    code: Option<i32>,
    signal: Option<i32>,
    lane: Option<u32>,
    dir: Option<String>,
    kind: Option<String>,
    origin: Option<String>,
    of: Option<Seq>,
    #[serde(flatten)]
    link: LinkLine,
    elements: Option<Vec<LinkLine>>,
    #[serde(default)]
    cut: bool,
    pre: Option<String>,
    post: Option<String>,
    #[serde(skip)]
    msg: Option<&'a [u8]>,
    base64: Option<String>,
    #[serde(default)]
    redacted: Vec<std::sync::Arc<str>>,
    http: Option<HttpLine>,
}

#[derive(Deserialize)]
struct LinkLine {
    op: Option<u32>,
    role: Option<String>,
    to: Option<Seq>,
    cause: Option<u32>,
    #[serde(default)]
    presumed: bool,
    #[serde(default)]
    flags: Vec<String>,
}

/// Reads one line, with or without its terminator.
///
/// # Errors
/// When it is no line of a tape, or one of a newer format.
pub fn read_line(line: &[u8]) -> Result<Line, LineError> {
    let span = json::document(line).map_err(|flaw| LineError::Malformed(flaw.to_string()))?;
    let line = &line[span.clone()];
    let malformed = |error: serde_json::Error| LineError::Malformed(error.to_string());
    let tag: Tag<'_> = serde_json::from_slice(line).map_err(malformed)?;
    match &*tag.r {
        "header" => {
            let header: Header = serde_json::from_slice(line).map_err(malformed)?;
            match header {
                Header { format, .. } if format != FORMAT => Err(LineError::Foreign(format)),
                Header { version, .. } if version > VERSION => Err(LineError::Newer(version)),
                header => Ok(Line::Header(header)),
            }
        }
        "mark" => serde_json::from_slice(line).map(Line::Mark).map_err(malformed),
        "seal" => serde_json::from_slice(line).map(Line::Seal).map_err(malformed),
        "checkpoint" => Ok(Line::Checkpoint),
        kind => {
            // The message is cut out first: it may hold numbers and keys that no type holds.
            let msg = json::member(line, 0..line.len(), "msg");
            let trimmed;
            let (text, msg) = match msg {
                Some(span) => {
                    let bytes = &line[span.clone()];
                    trimmed = [&line[..span.start], b"null", &line[span.end..]].concat();
                    (&trimmed[..], Some(bytes))
                }
                None => (line, None),
            };
            let mut wide: Wide<'_> = serde_json::from_slice(text).map_err(malformed)?;
            wide.msg = msg;
            let (seq, at, session) = (wide.seq, Stamp::from_nanos(wide.mono), SessionId(wide.sess));
            let body = wide
                .body(kind)
                .ok_or_else(|| LineError::Malformed(format!("a {kind:?} record lacks a member")))?;
            Ok(Line::Record(Record { seq, at, session, body }))
        }
    }
}

impl Wide<'_> {
    fn body(self, kind: &str) -> Option<Body> {
        Some(match kind {
            "frame" => Body::Frame(Box::new(self.frame()?)),
            "held" => Body::Held(Held { frame: self.frame?, by: self.by?.into() }),
            "ruled" => Body::Ruled(Ruled {
                frame: self.frame?,
                by: self.by?.into(),
                verdict: VerdictKind::parse(&self.verdict?)?,
                why: self.why,
            }),
            "sent" => Body::Sent(Sent {
                frame: self.frame?,
                outcome: Outcome::parse(&self.outcome?)?,
                held: self.held.map(Duration::from_nanos),
                length: self.length,
                why: self.why,
            }),
            "opened" => Body::Opened(Opened {
                name: self.name?,
                target: self.target?,
                directory: self.directory,
                pid: self.pid,
                own_client: self.own_client,
            }),
            "facts" => Body::Facts(Box::new(Facts {
                side: match self.side?.as_str() {
                    "client" => Direction::ToServer,
                    "server" => Direction::ToClient,
                    _ => return None,
                },
                era: self.era.map(|era| if era == "2026" { Era::Stateless } else { Era::Stateful }),
                version: self.version,
                name: self.name,
                release: self.release,
                capabilities: self.capabilities.map(|raw| raw.get().to_owned()),
            })),
            "note" => Body::Note(Note {
                frame: self.frame,
                mark: self.mark,
                level: Level::parse(&self.level?)?,
                by: self.by?.into(),
                text: self.text?,
            }),
            "gap" => Body::Gap(Gap {
                first: self.first?,
                last: self.last.filter(|last| Some(*last) >= self.first)?,
            }),
            "ended" => Body::Ended(Ended { lane: LaneId(self.lane?), why: self.why }),
            "closed" => Body::Closed(Closed {
                reason: self.reason?,
                exit: self.code.map(Exit::Code).or(self.signal.map(Exit::Signal)),
            }),
            _ => return None,
        })
    }

    fn frame(self) -> Option<Frame> {
        let channel = match self.kind.as_deref() {
            Some("stderr") => Channel::Stderr,
            Some("http") => Channel::Http,
            _ => Channel::Main,
        };
        let raw = self.raw()?;
        let http = match self.http {
            Some(http) => Some(Box::new(http.http(&raw)?)),
            None => None,
        };
        let message = match (channel, self.cut) {
            (_, true) => Message::opaque(raw, Opaque::Truncated),
            (Channel::Stderr | Channel::Http, false) => Message::opaque(raw, Opaque::Text),
            (Channel::Main, false) => Message::parse(raw),
        };
        Some(Frame {
            lane: LaneId(self.lane?),
            direction: match self.dir?.as_str() {
                "c2s" => Direction::ToServer,
                "s2c" => Direction::ToClient,
                _ => return None,
            },
            channel,
            origin: Origin::parse(&self.origin?, self.of)?,
            message,
            link: self.link.link()?,
            elements: self.elements.unwrap_or_default().iter().map(LinkLine::link).collect::<Option<_>>()?,
            http,
            redacted: self.redacted.into(),
        })
    }

    fn raw(&self) -> Option<Bytes> {
        if let Some(msg) = self.msg {
            let mut raw = BytesMut::new();
            raw.extend_from_slice(self.pre.as_deref().unwrap_or_default().as_bytes());
            raw.extend_from_slice(msg);
            raw.extend_from_slice(self.post.as_deref().unwrap_or("\n").as_bytes());
            return Some(raw.freeze());
        }
        match (&self.text, &self.base64) {
            (Some(text), _) => Some(Bytes::copy_from_slice(text.as_bytes())),
            (None, Some(encoded)) => BASE64_STANDARD.decode(encoded).ok().map(Bytes::from),
            (None, None) => None,
        }
    }
}

impl LinkLine {
    fn link(&self) -> Option<Link> {
        Some(Link {
            op: self.op.map(OpId),
            role: match &self.role {
                Some(word) => Role::parse(word)?,
                None => Role::None,
            },
            to: self.to,
            cause: self.cause.map(|op| Cause { op: OpId(op), presumed: self.presumed }),
            flags: self
                .flags
                .iter()
                .filter_map(|word| Flags::parse(word))
                .fold(Flags::default(), Flags::with),
        })
    }
}
