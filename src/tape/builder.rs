//! A tape made of messages that were seen elsewhere: they are linked and told apart as if they had
//! just come in.

use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::time::Duration;

use bytes::Bytes;

use crate::clock::Clock;
use crate::log::facts::Known;
use crate::log::http::Http;
use crate::log::operation::{Correlation, Operations};
use crate::log::record::{
    Body, Channel, Closed, Frame, LaneId, Level, Link, Note, Opened, Origin, Outcome, Sent, SessionId,
};
use crate::log::{Log, Seq};
use crate::mcp::{Direction, Eras, Message, Opaque};
use crate::tape::TapeWriter;
use crate::tape::source::Source;
use crate::tape::writer::Subject;

/// A recording under way in memory.
pub struct TapeBuilder {
    log: Arc<Log>,
    subject: Subject,
    /// The wall time of the newest record, microseconds since the Unix epoch.
    now: u64,
    counter: Arc<AtomicU32>,
    /// The one that is told now.
    session: Session,
    /// The others.
    apart: Vec<Session>,
}

/// What must be remembered of a session to tell what its next message belongs to.
struct Session {
    id: SessionId,
    operations: Operations,
    eras: Eras,
    known: Known,
}

/// The lanes of a builder that is not of HTTP.
fn lane(direction: Direction) -> LaneId {
    match direction {
        Direction::ToServer => LaneId(1),
        Direction::ToClient => LaneId(2),
    }
}

impl Session {
    fn new(id: SessionId, counter: &Arc<AtomicU32>) -> Self {
        let operations = Operations::new(Arc::clone(counter));
        Self { id, operations, eras: Eras::default(), known: Known::default() }
    }
}

impl TapeBuilder {
    /// A builder of `target` that begins at `wall`, microseconds since the Unix epoch.
    pub fn new(name: &str, target: Vec<String>, wall: u64) -> Self {
        let log = Log::new(Clock::manual(wall), usize::MAX);
        let subject = Subject { name: name.to_owned(), target, parent: None };
        Self { now: wall, ..Self::on(log, subject) }
    }

    /// A builder that is told as it happens, into `log`.
    pub fn on(log: Arc<Log>, subject: Subject) -> Self {
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

    /// Begins the next session.
    pub fn session(&mut self) -> SessionId {
        let last = self.apart.iter().map(|session| session.id.0).max().unwrap_or(0).max(self.session.id.0);
        let next = Session::new(SessionId(last + 1), &self.counter);
        self.apart.push(std::mem::replace(&mut self.session, next));
        self.open();
        self.session.id
    }

    /// Goes on with a session that was begun before.
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

    /// Moves time to `wall`; it never runs backwards.
    pub fn at(&mut self, wall: u64) {
        let by = wall.saturating_sub(self.now);
        self.log.clock().advance(Duration::from_micros(by));
        self.now += by;
    }

    /// Adds a message that was seen at `wall`.
    pub fn message_at(&mut self, wall: u64, direction: Direction, line: Vec<u8>) -> Seq {
        self.at(wall);
        let mut line = line;
        line.push(b'\n');
        self.frame(direction, Channel::Main, Message::parse(line.into()), None, Origin::Wire)
    }

    /// Adds a message that is seen now.
    pub fn say(&mut self, direction: Direction, message: Message, origin: Origin) -> Seq {
        self.frame(direction, Channel::Main, message, None, origin)
    }

    /// Adds what the server wrote to its stderr at `wall`.
    pub fn stderr_at(&mut self, wall: u64, text: &str) -> Seq {
        self.at(wall);
        let message = Message::opaque(Bytes::from(format!("{text}\n")), Opaque::Text);
        self.frame(Direction::ToClient, Channel::Stderr, message, None, Origin::Wire)
    }

    /// Adds what somebody remarked at `wall`.
    pub fn note_at(&mut self, wall: u64, level: Level, by: &str, text: &str) {
        self.at(wall);
        let note = Note { frame: None, mark: None, level, by: by.into(), text: text.to_owned() };
        self.log.append(self.session.id, Body::Note(note));
    }

    /// Adds a frame that was part of an HTTP exchange.
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
        let Session { operations, eras, known, .. } = &mut self.session;
        let exchange = http.as_ref().map(|http| http.exchange);
        let correlation = if exchange.is_some() { Correlation::None } else { Correlation::Presumed };
        let mut method = None;
        let record = self.log.append_with(id, |seq| {
            let mut link = |message: &Message| {
                let observed = operations.observe(seq, direction, exchange, correlation, message, false);
                method = observed.operation.map(|operation| Arc::clone(&operation.method));
                observed.link
            };
            let (link, elements) = match message.kind() {
                _ if channel != Channel::Main => (Link::default(), Vec::new()),
                crate::mcp::Kind::Batch(all) => (Link::default(), all.iter().map(link).collect()),
                _ => (link(&message), Vec::new()),
            };
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
                link,
                elements,
                http: http.map(Box::new),
                redacted: Box::default(),
            };
            Body::Frame(Box::new(frame))
        });
        if let Some(frame) = record.frame().filter(|frame| frame.channel == Channel::Main) {
            let news = eras.observe(direction, &frame.message, method.as_deref());
            let learnt = known.observe(direction, &frame.message, method.as_deref());
            if news || learnt {
                let facts = known.facts(direction, eras);
                self.log.append(id, Body::Facts(Box::new(facts)));
            }
        }
        let sent =
            Sent { frame: record.seq, outcome: Outcome::Forwarded, held: None, length: None, why: None };
        self.log.append(id, Body::Sent(sent));
        record.seq
    }

    /// Ends the builder.
    pub fn end(&self) {
        let mut ids: Vec<SessionId> = self.apart.iter().map(|session| session.id).collect();
        ids.push(self.session.id);
        ids.sort();
        for id in ids {
            let closed = Closed { reason: "the recording ends here".into(), exit: None };
            self.log.append(id, Body::Closed(closed));
        }
    }

    /// Ends the builder and writes it as a tape to a file without a name.
    ///
    /// # Errors
    /// When the disk does not take it.
    pub fn tape(self) -> io::Result<Source> {
        let file = tempfile::tempfile()?;
        self.write(file.try_clone()?)?;
        Ok(Source::Plain(file))
    }

    /// Ends the builder and writes it as a tape into `file`.
    ///
    /// # Errors
    /// When the disk does not take it.
    pub fn write(self, file: File) -> io::Result<()> {
        self.end();
        TapeWriter::on(Box::new(file), Path::new(""), self.subject, &self.log)?.seal()
    }
}
