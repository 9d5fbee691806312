//! Builder of a tape from messages that were seen elsewhere: they are correlated and classified as
//! if they had just been received.

use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::time::Duration;

use bytes::Bytes;

use crate::clock::Clock;
use crate::log::http::Http;
use crate::log::linker::{Linker, Seen};
use crate::log::operation::Correlation;
use crate::log::record::{
    Body, Channel, Closed, Frame, LaneId, Level, Note, Opened, Origin, Outcome, Sent, SessionId,
};
use crate::log::{Log, Seq};
use crate::mcp::{Direction, Message, Opaque};
use crate::tape::TapeWriter;
use crate::tape::source::PartBytes;
use crate::tape::writer::RecordingInfo;

/// A recording that is built in memory.
pub struct TapeBuilder {
    log: Arc<Log>,
    subject: RecordingInfo,
    /// Wall time of the newest record, in microseconds since the Unix epoch.
    now: u64,
    counter: Arc<AtomicU32>,
    /// Session to which messages are added.
    session: Session,
    /// Other sessions.
    apart: Vec<Session>,
}

/// A session, with the linker of its messages.
struct Session {
    id: SessionId,
    linker: Linker,
}

/// Returns the lane of a message without an HTTP exchange.
fn lane(direction: Direction) -> LaneId {
    match direction {
        Direction::ToServer => LaneId(1),
        Direction::ToClient => LaneId(2),
    }
}

impl Session {
    fn new(id: SessionId, counter: &Arc<AtomicU32>) -> Self {
        Self { id, linker: Linker::new(Arc::clone(counter)) }
    }
}

impl TapeBuilder {
    /// Creates a builder for a recording of `target` that begins at `wall`, in microseconds since
    /// the Unix epoch.
    pub fn new(name: &str, target: Vec<String>, wall: u64) -> Self {
        let log = Log::new(Clock::manual(wall), usize::MAX);
        let subject = RecordingInfo { name: name.to_owned(), target, parent: None };
        Self { now: wall, ..Self::on(log, subject) }
    }

    /// Creates a builder that appends messages to `log` as they happen.
    pub fn on(log: Arc<Log>, subject: RecordingInfo) -> Self {
        let counter = Arc::new(AtomicU32::new(0));
        let mut builder = Self {
            log,
            subject,
            now: u64::MAX,
            session: Session::new(SessionId(1), &counter),
            counter,
            apart: Vec::new(),
        };
        builder.open();
        builder
    }

    /// Begins another session, to which messages are added from now on.
    pub fn session(&mut self) -> SessionId {
        let last = self.apart.iter().map(|session| session.id.0).max().unwrap_or(0).max(self.session.id.0);
        let next = Session::new(SessionId(last + 1), &self.counter);
        self.apart.push(std::mem::replace(&mut self.session, next));
        self.open();
        self.session.id
    }

    /// Adds messages to an earlier session from now on; an unknown id is ignored.
    pub fn resume(&mut self, id: SessionId) {
        if let Some(there) = self.apart.iter_mut().find(|session| session.id == id) {
            std::mem::swap(there, &mut self.session);
        }
    }

    fn open(&mut self) {
        let opened = Opened {
            name: self.subject.name.clone(),
            target: self.subject.target.clone(),
            directory: None,
            pid: None,
            own_client: false,
        };
        self.log.append(self.session.id, Body::Opened(opened));
    }

    /// Advances the time to `wall`, in microseconds since the Unix epoch; it never runs backwards.
    pub fn at(&mut self, wall: u64) {
        let by = wall.saturating_sub(self.now);
        self.log.clock().advance(Duration::from_micros(by));
        self.now += by;
    }

    /// Adds a message without its terminator that was seen at `wall`, and returns its frame.
    pub fn message_at(&mut self, wall: u64, direction: Direction, line: Vec<u8>) -> Seq {
        self.at(wall);
        let mut line = line;
        line.push(b'\n');
        self.frame(direction, Channel::Main, Message::parse(line.into()), None, Origin::Wire)
    }

    /// Adds a message that is seen now, and returns its frame.
    pub fn say(&mut self, direction: Direction, message: Message, origin: Origin) -> Seq {
        self.frame(direction, Channel::Main, message, None, origin)
    }

    /// Adds text that the server wrote to its stderr at `wall`, and returns its frame.
    pub fn stderr_at(&mut self, wall: u64, text: &str) -> Seq {
        self.at(wall);
        let message = Message::opaque(Bytes::from(format!("{text}\n")), Opaque::Text);
        self.frame(Direction::ToClient, Channel::Stderr, message, None, Origin::Wire)
    }

    /// Adds a note that `by` wrote at `wall`.
    pub fn note_at(&mut self, wall: u64, level: Level, by: &str, text: &str) {
        self.at(wall);
        let note = Note { frame: None, mark: None, level, by: by.into(), text: text.to_owned() };
        self.log.append(self.session.id, Body::Note(note));
    }

    /// Adds a frame of an HTTP exchange and returns it; an empty message makes a frame without one.
    pub fn http(&mut self, direction: Direction, message: Message, http: Http) -> Seq {
        let channel = match message.raw().is_empty() {
            true => Channel::Http,
            false => Channel::Main,
        };
        self.frame(direction, channel, message, Some(http), Origin::Wire)
    }

    fn frame(
        &mut self,
        direction: Direction,
        channel: Channel,
        message: Message,
        http: Option<Http>,
        origin: Origin,
    ) -> Seq {
        let id = self.session.id;
        let linker = &mut self.session.linker;
        let exchange = http.as_ref().map(|http| http.exchange);
        let correlation = if exchange.is_some() { Correlation::None } else { Correlation::Presumed };
        let seen = Seen { direction, channel, exchange, correlation, injected: false };
        let mut operations = Vec::new();
        let record = self.log.append_with(id, |seq| {
            let linked = linker.link(seq, seen, &message);
            operations = linked.operations;
            let lane = match (exchange, direction) {
                (Some(exchange), Direction::ToServer) => exchange,
                (Some(exchange), Direction::ToClient) => LaneId(exchange.0 + 1),
                (None, direction) => lane(direction),
            };
            let frame = Frame {
                lane,
                direction,
                channel,
                origin,
                message,
                link: linked.link,
                elements: linked.elements,
                http: http.map(Box::new),
                redacted: Box::default(),
            };
            Body::Frame(Box::new(frame))
        });
        if let Some(frame) = record.frame().filter(|frame| frame.channel == Channel::Main)
            && let Some(facts) = linker.learn(direction, &frame.message, &operations)
        {
            self.log.append(id, Body::Facts(Box::new(facts)));
        }
        let sent =
            Sent { frame: record.seq, outcome: Outcome::Forwarded, held: None, length: None, why: None };
        self.log.append(id, Body::Sent(sent));
        record.seq
    }

    /// Closes all sessions.
    pub fn end(&self) {
        let mut ids: Vec<SessionId> = self.apart.iter().map(|session| session.id).collect();
        ids.push(self.session.id);
        ids.sort();
        for id in ids {
            let closed = Closed { reason: "end of recording".into(), exit: None };
            self.log.append(id, Body::Closed(closed));
        }
    }

    /// Closes all sessions and writes the tape to an unnamed temporary file.
    ///
    /// # Errors
    /// Returns an error if the file cannot be written.
    pub fn tape(self) -> io::Result<PartBytes> {
        let file = tempfile::tempfile()?;
        self.write(file.try_clone()?)?;
        Ok(PartBytes::Plain(file))
    }

    /// Closes all sessions and writes the tape to `file`.
    ///
    /// # Errors
    /// Returns an error if the file cannot be written.
    pub fn write(self, file: File) -> io::Result<()> {
        self.end();
        TapeWriter::on(Box::new(file), Path::new(""), self.subject, &self.log)?.seal()
    }
}
