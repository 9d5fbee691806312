//! Tape format: one JSON object per line.
//!
//! A tape consists of a header line (what is known at the start), one line per record, a mark line
//! at each flush (offset and SHA-256 of the block before it, so that damage is found on unsealed
//! tapes too) and a seal line at a clean end. The line of a message contains the exact bytes of the
//! wire if they are JSON without a line break; else a text, else base64. White space around the
//! message and its terminator are kept beside it; a terminator of `\n` is not written.

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
    Amended, Body, Cause, Channel, Closed, Ended, Exit, Facts, Flags, Frame, Gap, Held, LaneId, Level, Link,
    Note, OpId, Opened, Origin, Outcome, Record, Role, Ruled, Sent, Seq, SessionId, Unknown, VerdictKind,
};
use crate::mcp::{Direction, Era, Message, Opaque, json};

/// Value of the header's `format`.
pub const FORMAT: &str = "shadowcat-tape";
/// Format version that this program writes, and the newest that it reads. Version 2 adds `amended`
/// records.
pub const VERSION: u32 = 2;

/// First line of a tape (or of one part of it).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// Name of the format: [`FORMAT`].
    pub format: String,
    /// Version of the format, at most [`VERSION`].
    pub version: u32,
    /// Name and version of the program that recorded it.
    pub by: String,
    /// Id of the tape (a UUID), the same in all its parts.
    pub tape: String,
    /// Number of the part, counted from 1.
    pub part: u32,
    /// Wall time of monotonic zero, in microseconds since the Unix epoch.
    pub anchor: u64,
    /// Name of the recording for people.
    pub name: String,
    /// Command line or URL that was recorded.
    pub target: Vec<String>,
    /// Id of the tape that it was made from, if any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<String>,
}

impl Header {
    /// Creates the header of a new tape whose monotonic zero is at the wall time `anchor`, in
    /// microseconds since the Unix epoch.
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

/// Mark line at the end of a block.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// Offset of this line in the file.
    pub offset: u64,
    /// SHA-256, in hexadecimal, of all bytes from the line behind the last mark (or from the
    /// beginning) to this line.
    pub hash: String,
    /// Last record before this line.
    pub last: Seq,
}

/// Seal line, the last one of a part that was ended cleanly. Counts include the earlier parts.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Seal {
    /// Number of records.
    pub records: u64,
    /// Number of frames.
    pub frames: u64,
    /// Number of frames whose message reports an error.
    pub errors: u64,
    /// Last record.
    pub last: Seq,
    /// Monotonic time of the last record, in nanoseconds.
    pub mono: u64,
    /// SHA-256, in hexadecimal, of the hashes of all marks of this part, in order, as written.
    pub hash: String,
    /// `true` if another part follows.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub continued: bool,
    /// Newest `facts` records, so that a listing need not read the whole tape.
    pub facts: Vec<Box<RawValue>>,
}

/// A line of a tape.
#[derive(Debug, Clone)]
pub enum TapeLine {
    /// The header of a part.
    Header(Header),
    /// A record.
    Record(Record),
    /// A mark behind a block.
    Mark(Mark),
    /// The seal of a part.
    Seal(Seal),
    /// A repetition of what is open and known at the beginning of a later part; a reader that
    /// begins at the first part does not need it.
    Checkpoint,
}

/// Error of [`read_line`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LineError {
    /// The line is not a line of a tape.
    #[error("not a valid line: {0}")]
    Malformed(String),
    /// The header is of a newer version of the format.
    #[error(
        "written in format version {0}; this program reads up to {VERSION}. Install a newer shadowcat to open it"
    )]
    Newer(u32),
    /// The header is of another format.
    #[error("not a shadowcat tape (format {0:?} in its header)")]
    Foreign(String),
}

// === write ===

/// Appends the line of `value`, with `"r":kind` as its first member.
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

/// Appends the line of a record; `wall` is its wall time in microseconds since the Unix epoch.
pub fn write_record(line: &mut Vec<u8>, record: &Record, wall: u64) {
    let Record { seq, at, session, body } = record;
    if let Body::Unknown(unknown) = body {
        line.extend_from_slice(&unknown.line);
        line.push(b'\n');
        return;
    }
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
        Body::Amended(amended) => {
            let Amended { frame, by, message } = &**amended;
            let _ = write!(line, r#","frame":{frame},"by":{}"#, json::quote(by));
            write_message(line, message);
        }
        // An unknown record has been written above as its own line.
        Body::Unknown(_) => {}
    }
    line.extend_from_slice(b"}\n");
}

fn kind(body: &Body) -> &str {
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
        Body::Amended(_) => "amended",
        Body::Unknown(unknown) => &unknown.kind,
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
        // Capabilities were cut out of a message, so they are JSON; a line break in them is white
        // space.
        let _ = write!(line, r#","capabilities":{}"#, crate::mcp::layout::one_line(capabilities));
    }
}

/// Returns the name of a side of a session, which is given by the direction in which it sends.
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

/// Returns `true` if the line of a message contains it as the bytes that it had on the wire.
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

/// Appends a checkpoint: an array of the lines of open sessions, which are in earlier parts.
pub fn write_checkpoint<'a>(line: &mut Vec<u8>, lines: impl Iterator<Item = &'a Vec<u8>>) {
    line.extend_from_slice(br#"{"r":"checkpoint","records":["#);
    for (index, record) in lines.enumerate() {
        line.extend_from_slice(if index == 0 { b"" } else { b"," });
        line.extend_from_slice(record.trim_ascii_end());
    }
    line.extend_from_slice(b"]}\n");
}

/// Record kinds that this version knows.
const KINDS: [&str; 11] =
    ["opened", "frame", "held", "ruled", "sent", "facts", "note", "gap", "ended", "closed", "amended"];

// === read ===

#[derive(Deserialize)]
struct Tag<'a> {
    #[serde(borrow)]
    r: std::borrow::Cow<'a, str>,
}

/// Members of every record.
#[derive(Deserialize)]
struct Common {
    seq: Seq,
    mono: u64,
    sess: u32,
}

/// Union of the members of all record lines.
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

/// Parses one line, with or without its terminator.
///
/// # Errors
/// Returns [`LineError::Malformed`] if it is not a line of a tape, [`LineError::Newer`] for the
/// header of a newer version, and [`LineError::Foreign`] for that of another format.
pub fn read_line(line: &[u8]) -> Result<TapeLine, LineError> {
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
                header => Ok(TapeLine::Header(header)),
            }
        }
        "mark" => serde_json::from_slice(line).map(TapeLine::Mark).map_err(malformed),
        "seal" => serde_json::from_slice(line).map(TapeLine::Seal).map_err(malformed),
        "checkpoint" => Ok(TapeLine::Checkpoint),
        // A kind of a later version of the program: its members may mean anything, except the three that
        // every record has.
        kind if !KINDS.contains(&kind) => {
            let Common { seq, mono, sess } = serde_json::from_slice(line).map_err(malformed)?;
            let body = Body::Unknown(Unknown { kind: kind.into(), line: Bytes::copy_from_slice(line) });
            Ok(TapeLine::Record(Record { seq, at: Stamp::from_nanos(mono), session: SessionId(sess), body }))
        }
        kind => {
            // The message is cut out first: it may contain numbers and keys that no Rust type can
            // represent.
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
            let body = wide.body(kind).ok_or_else(|| {
                LineError::Malformed(format!("a {kind:?} record has a missing or invalid member"))
            })?;
            Ok(TapeLine::Record(Record { seq, at, session, body }))
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
            "amended" => {
                let message = Message::parse(self.raw()?);
                Body::Amended(Box::new(Amended { frame: self.frame?, by: self.by?.into(), message }))
            }
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
