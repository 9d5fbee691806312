//! One server process for several clients: the clients that attach to a server that a screen launched.
//!
//! The switch stands between the process and the sessions of its clients. While the first client is
//! alone, bytes pass it as they are. Others say what they have to say under ids of ours
//! ([`board::Board`]); their sessions show the ids that they know, with a remark.

pub mod board;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::io::{self, Read};
use std::sync::{Arc, Weak};
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use parking_lot::{Condvar, Mutex};

use self::board::{Board, Heard, Member, Said};
use super::link::End;
use super::session::{Session, Ticket};
use crate::log::record::{Level, Ruling};
use crate::mcp::line::{Piece, Splitter};
use crate::mcp::remap::Long;
use crate::mcp::{Message, compose, layout};
use crate::transport::{Parcel, Sink, memory};

/// Who does what is done to messages here, in records.
const REMAP: &str = "remap";
/// Lines in flight to a client's session.
const PIPE: usize = 64;
/// How long a client may not read.
const PATIENCE: Duration = Duration::from_secs(2);
/// Bytes read from the server at once.
const CHUNK: usize = 64 << 10;

/// Between a server process and its clients.
pub struct Switch {
    board: Mutex<Board>,
    others: Mutex<HashMap<Member, Other>>,
    way: Way,
    /// Lines over this many bytes are not taken to or from clients other than the first.
    limit: usize,
    /// How long a client may not read before it is let go, so that the others need not wait for it.
    patience: Duration,
}

/// A client that came later.
struct Other {
    inbox: memory::Writer,
    session: Weak<Session>,
}

/// The way to the server, on which nothing comes between the pieces of a long line.
struct Way {
    state: Mutex<Open>,
    free: Condvar,
}

struct Open {
    stdin: Option<Box<dyn Sink<Ticket>>>,
    /// A long line of the first client is under way.
    streaming: bool,
}

// === impl Switch ===

impl Switch {
    /// Puts a switch between a server and its first client, which gets the end that is returned.
    pub fn before(server: End, limit: usize) -> (Arc<Self>, End) {
        Self::patient(server, limit, PATIENCE)
    }

    fn patient(server: End, limit: usize, patience: Duration) -> (Arc<Self>, End) {
        let state = Mutex::new(Open { stdin: Some(server.sink), streaming: false });
        let switch = Arc::new(Self {
            board: Mutex::new(Board::new()),
            others: Mutex::default(),
            way: Way { state, free: Condvar::new() },
            limit,
            patience,
        });
        let source = Source {
            stdout: server.source,
            switch: Arc::clone(&switch),
            splitter: Splitter::new(limit),
            ready: BytesMut::new(),
            chunk: vec![0; CHUNK],
            is_plain: true,
            mid_line: false,
            long: None,
            over: false,
        };
        let sink = FirstSink { switch: Arc::clone(&switch) };
        (switch, End { source: Box::new(source), sink: Box::new(sink) })
    }

    /// Another client of the server, and the server's end for its `session`.
    pub fn join(self: &Arc<Self>, session: &Arc<Session>) -> (Member, End) {
        self.enter(Arc::downgrade(session))
    }

    fn enter(self: &Arc<Self>, session: Weak<Session>) -> (Member, End) {
        let (inbox, source) = memory::pipe(PIPE);
        let member = self.board.lock().join();
        self.others.lock().insert(member, Other { inbox, session: Weak::clone(&session) });
        let sink = OtherSink { switch: Arc::clone(self), member, session, long: None };
        (member, End { source: Box::new(source), sink: Box::new(sink) })
    }

    /// A client has left: the server is told that nobody waits for what it asked.
    pub fn leave(&self, member: Member) {
        let lines = {
            let mut board = self.board.lock();
            match board.is_member(member) {
                true => board.leave(member),
                false => return,
            }
        };
        self.others.lock().remove(&member);
        for line in lines {
            // A server that is gone is busy with nothing.
            let _ = self.way.write(line);
        }
    }

    /// Takes what the server says to whom it is for. Returns whether that is the first client.
    fn hear(self: &Arc<Self>, message: &Message) -> bool {
        let Heard { others, first } = self.board.lock().hears(message);
        others.into_iter().for_each(|(member, line)| self.deliver(member, line));
        first
    }

    /// Brings a line to a client. One that does not read for a while is let go.
    fn deliver(self: &Arc<Self>, member: Member, line: Bytes) {
        const STEP: Duration = Duration::from_millis(5);
        let (inbox, session) = match self.others.lock().get(&member) {
            Some(other) => (other.inbox.clone(), other.session.clone()),
            None => return,
        };
        let mut waited = Duration::ZERO;
        while waited < self.patience {
            match inbox.try_send(line.clone()) {
                Ok(true) => return,
                Ok(false) => std::thread::sleep(STEP),
                Err(_) => break,
            }
            waited += STEP;
        }
        if let (Some(session), true) = (session.upgrade(), waited >= self.patience) {
            let why = format!(
                "this client has not read for {:?} and is let go: others share its server",
                self.patience
            );
            session.note(None, Level::Warning, why);
        }
        // Whoever reads the server must not write to it: both could wait for each other.
        let switch = Arc::clone(self);
        std::thread::spawn(move || switch.leave(member));
    }

    /// The server says nothing any more.
    fn close(&self) {
        self.others.lock().clear();
    }
}

// === impl Way ===

impl Way {
    /// Writes whole lines, once the long line that is under way is over.
    fn write(&self, line: Bytes) -> io::Result<()> {
        let mut open = self.state.lock();
        while open.streaming {
            self.free.wait(&mut open);
        }
        open.take(&[Parcel { bytes: line, ticket: None, piece: None }])
    }

    /// Writes what the first client says.
    fn pass(&self, parcels: &[Parcel<Ticket>]) -> io::Result<()> {
        let mut open = self.state.lock();
        let written = open.take(parcels);
        let last = parcels.last().and_then(|parcel| parcel.piece);
        open.streaming = written.is_ok() && last.is_some_and(|piece| !piece.last);
        self.free.notify_all();
        written
    }

    fn close(&self) {
        let mut open = self.state.lock();
        *open = Open { stdin: None, streaming: false };
        self.free.notify_all();
    }
}

impl Open {
    fn take(&mut self, parcels: &[Parcel<Ticket>]) -> io::Result<()> {
        self.stdin.as_mut().ok_or(io::ErrorKind::BrokenPipe)?.take(parcels)
    }
}

// === impl FirstSink ===

/// What the first client's session writes to.
struct FirstSink {
    switch: Arc<Switch>,
}

impl Sink<Ticket> for FirstSink {
    fn take(&mut self, parcels: &[Parcel<Ticket>]) -> io::Result<()> {
        let plain = self.switch.board.lock().is_plain();
        // What a line is known of goes first: its answer may come at once.
        for parcel in parcels.iter().filter(|parcel| !plain && parcel.piece.is_none()) {
            self.switch.board.lock().first_says(&Message::parse(parcel.bytes.clone()));
        }
        self.switch.way.pass(parcels)
    }
}

impl Drop for FirstSink {
    /// Whoever launched the server ends it.
    fn drop(&mut self) {
        self.switch.way.close();
    }
}

// === impl OtherSink ===

/// What the session of another client writes to.
struct OtherSink {
    switch: Arc<Switch>,
    member: Member,
    session: Weak<Session>,
    /// A line over the limit, which goes nowhere.
    long: Option<Long>,
}

impl Sink<Ticket> for OtherSink {
    fn take(&mut self, parcels: &[Parcel<Ticket>]) -> io::Result<()> {
        for parcel in parcels {
            let said = match parcel.piece {
                None if parcel.bytes.trim_ascii().is_empty() => continue,
                None => {
                    let message = Message::parse(parcel.bytes.clone());
                    let mut board = self.switch.board.lock();
                    match board.is_member(self.member) {
                        true => board.says(self.member, &message),
                        false => return Err(io::ErrorKind::BrokenPipe.into()),
                    }
                }
                Some(piece) => {
                    match &mut self.long {
                        Some(long) => long.push(&parcel.bytes),
                        None => self.long = Some(Long::begin(&parcel.bytes)),
                    }
                    match piece.last {
                        true => too_long(&self.long.take().unwrap_or_default(), self.switch.limit),
                        false => continue,
                    }
                }
            };
            if let (Some((ruling, how)), Some(ticket)) = (&said.how, &parcel.ticket)
                && let Some(session) = self.session.upgrade()
            {
                session.remark(ticket.frame, REMAP, *ruling, how);
            }
            if let Some(line) = said.to_server {
                self.switch.way.write(line)?;
            }
            if let Some(answer) = said.answer {
                self.switch.deliver(self.member, answer);
            }
        }
        Ok(())
    }
}

fn too_long(line: &Long, limit: usize) -> Said {
    let why = format!(
        "a line of more than {limit} bytes is not taken to a server that several clients share; --inspect-limit raises the bound"
    );
    let answer = line.request().map(|id| {
        let text = format!("shadowcat: {why}");
        layout::as_line(&compose::failure(Some(&id), compose::INVALID_REQUEST, &text))
    });
    Said { answer, how: Some((Ruling::Drop, why)), ..Said::default() }
}

// === impl Source ===

/// What the first client's session reads, which reads what the server says to all of them.
struct Source {
    stdout: Box<dyn Read + Send>,
    switch: Arc<Switch>,
    splitter: Splitter,
    /// What the first client gets.
    ready: BytesMut,
    chunk: Vec<u8>,
    /// Bytes pass as they are.
    is_plain: bool,
    /// The last byte that passed was not the end of a line.
    mid_line: bool,
    /// A line over the limit that is not the first client's.
    long: Option<Long>,
    over: bool,
}

impl Read for Source {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.ready.is_empty() && !self.over {
            let length = self.stdout.read(&mut self.chunk)?;
            let chunk = std::mem::take(&mut self.chunk);
            self.feed(&chunk[..length]);
            self.chunk = chunk;
        }
        let length = buffer.len().min(self.ready.len());
        buffer[..length].copy_from_slice(&self.ready[..length]);
        self.ready.advance(length);
        Ok(length)
    }
}

impl Source {
    fn feed(&mut self, mut chunk: &[u8]) {
        if chunk.is_empty() {
            self.over = true;
            if let Some(piece) = self.splitter.finish() {
                self.route(piece);
            }
            return;
        }
        let plain = self.long.is_none() && self.switch.board.lock().is_plain();
        if plain
            && !self.is_plain
            && let Some(Piece::Line(rest) | Piece::Start(rest) | Piece::More(rest) | Piece::End(rest)) =
                self.splitter.finish()
        {
            // The others are gone; what was begun of a line goes on as it comes.
            self.ready.extend_from_slice(&rest);
            self.mid_line = true;
        }
        self.is_plain = plain;
        if self.mid_line || plain {
            let end = match plain {
                true => chunk.len(),
                false => memchr::memchr(b'\n', chunk).map_or(chunk.len(), |at| at + 1),
            };
            let (passes, rest) = chunk.split_at(end);
            self.ready.extend_from_slice(passes);
            self.mid_line = passes.last() != Some(&b'\n');
            chunk = rest;
        }
        self.splitter.feed(chunk);
        while let Some(piece) = self.splitter.next_piece() {
            self.route(piece);
        }
    }

    fn route(&mut self, piece: Piece) {
        match piece {
            Piece::Line(line) if line.trim_ascii().is_empty() => self.ready.extend_from_slice(&line),
            Piece::Line(line) => {
                if self.switch.hear(&Message::parse(line.clone())) {
                    self.ready.extend_from_slice(&line);
                }
            }
            Piece::Start(bytes) => {
                let long = Long::begin(&bytes);
                let is_other =
                    long.answered().is_some_and(|id| self.switch.board.lock().asker(&id).is_some());
                match is_other {
                    true => self.long = Some(long),
                    false => self.ready.extend_from_slice(&bytes),
                }
            }
            Piece::More(bytes) => match &mut self.long {
                Some(long) => long.push(&bytes),
                None => self.ready.extend_from_slice(&bytes),
            },
            Piece::End(bytes) => match self.long.take() {
                Some(long) => self.refuse(&long),
                None => self.ready.extend_from_slice(&bytes),
            },
        }
    }

    /// Answers in the place of a line that is too long to be brought to whom it is for.
    fn refuse(&self, long: &Long) {
        let Some(id) = long.answered() else { return };
        let text = format!(
            "shadowcat: the server's answer has more than {} bytes, which is not taken to a client that shares it; --inspect-limit raises the bound",
            self.switch.limit
        );
        self.switch.hear(&Message::parse(compose::failure(Some(&id), compose::INTERNAL_ERROR, &text)));
    }
}

impl Drop for Source {
    fn drop(&mut self) {
        self.switch.close();
    }
}
