//! The streams of a shared server, as the sessions of its clients use them.

use std::io::{self, Read};
use std::sync::{Arc, Weak};

use bytes::{Buf, BytesMut};

use super::attribution::{ClientId, ToServer};
use super::{Multiplexer, READ_BYTES};
use crate::log::record::VerdictKind;
use crate::mcp::line::{LinePart, LineSplitter};
use crate::mcp::remap::Long;
use crate::mcp::{Message, compose, layout};
use crate::session::{Receipt, Session};
use crate::transport::Source;
use crate::transport::{QueuedWrite, Sink};

/// Author, in the log, of messages whose ids are mapped onto a shared server.
const REMAP: &str = "remap";

// === impl FirstSink ===

/// The sink of the first client's session.
pub struct FirstSink(pub Arc<Multiplexer>);

impl Sink<Receipt> for FirstSink {
    fn write_batch(&mut self, writes: &[QueuedWrite<Receipt>]) -> io::Result<()> {
        let plain = self.0.clients.lock().is_plain();
        // Note a request before it is written: its answer may come at once.
        for write in writes.iter().filter(|write| !plain && write.piece.is_none()) {
            self.0.clients.lock().observe_first(&Message::parse(write.bytes.clone()));
        }
        self.0.input.pass(writes)
    }
}

impl Drop for FirstSink {
    /// The server ends with the client that launched it.
    fn drop(&mut self) {
        self.0.input.close();
    }
}

// === impl OtherSink ===

/// The sink of another client's session.
pub struct OtherSink {
    /// Multiplexer of the shared server.
    pub multiplexer: Arc<Multiplexer>,
    /// Client that writes to this sink.
    pub client: ClientId,
    /// Session of the client, in which changed ids are remarked on.
    pub session: Weak<Session>,
    /// A line over the limit that is under way and will be refused.
    pub long: Option<Long>,
}

impl Sink<Receipt> for OtherSink {
    fn write_batch(&mut self, writes: &[QueuedWrite<Receipt>]) -> io::Result<()> {
        for write in writes {
            let outgoing = match write.piece {
                None if write.bytes.trim_ascii().is_empty() => continue,
                None => {
                    let message = Message::parse(write.bytes.clone());
                    let mut clients = self.multiplexer.clients.lock();
                    match clients.is_member(self.client) {
                        true => clients.outgoing(self.client, &message),
                        false => return Err(io::ErrorKind::BrokenPipe.into()),
                    }
                }
                Some(piece) => {
                    match &mut self.long {
                        Some(long) => long.push(&write.bytes),
                        None => self.long = Some(Long::begin(&write.bytes)),
                    }
                    match piece.last {
                        true => too_long(&self.long.take().unwrap_or_default(), self.multiplexer.limit),
                        false => continue,
                    }
                }
            };
            if let (Some((kind, how)), Some(receipt)) = (&outgoing.how, &write.receipt)
                && let Some(session) = self.session.upgrade()
            {
                session.remark(receipt.frame, REMAP, *kind, how);
            }
            if let Some(line) = outgoing.to_server {
                self.multiplexer.input.write(line)?;
            }
            if let Some(answer) = outgoing.answer {
                self.multiplexer.deliver(self.client, answer);
            }
        }
        Ok(())
    }
}

fn too_long(line: &Long, limit: usize) -> ToServer {
    let why = format!(
        "a line of more than {limit} bytes is not sent to a server that several clients share; --inspect-limit raises the bound"
    );
    let answer = line.request().map(|id| {
        let text = format!("shadowcat: {why}");
        layout::as_line(&compose::failure(Some(&id), compose::INVALID_REQUEST, &text))
    });
    ToServer { answer, how: Some((VerdictKind::Drop, why)), ..ToServer::default() }
}

// === impl Source ===

/// The source of the first client's session: reads the output of the server for all clients.
pub struct SharedOutput {
    stdout: Box<dyn Source>,
    multiplexer: Arc<Multiplexer>,
    splitter: LineSplitter,
    /// Bytes for the first client.
    ready: BytesMut,
    chunk: Vec<u8>,
    /// Set while bytes pass unparsed.
    is_plain: bool,
    /// Set if the last byte that passed was not the end of a line.
    mid_line: bool,
    /// A line over the limit under way that is not the first client's.
    long: Option<Long>,
    over: bool,
}

// Lines for several clients wait for their end, since their ids are mapped.
impl Source for SharedOutput {}

impl Read for SharedOutput {
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

impl SharedOutput {
    /// Creates the source over the server's output.
    pub fn new(multiplexer: &Arc<Multiplexer>, stdout: Box<dyn Source>) -> Self {
        Self {
            stdout,
            multiplexer: Arc::clone(multiplexer),
            splitter: LineSplitter::new(multiplexer.limit),
            ready: BytesMut::new(),
            chunk: vec![0; READ_BYTES],
            is_plain: true,
            mid_line: false,
            long: None,
            over: false,
        }
    }

    fn feed(&mut self, mut chunk: &[u8]) {
        if chunk.is_empty() {
            self.over = true;
            if let Some(piece) = self.splitter.finish() {
                self.route(piece);
            }
            return;
        }
        let plain = self.long.is_none() && self.multiplexer.clients.lock().is_plain();
        if plain
            && !self.is_plain
            && let Some(
                LinePart::Line(rest) | LinePart::Start(rest) | LinePart::More(rest) | LinePart::End(rest),
            ) = self.splitter.finish()
        {
            // The other clients have left: pass the beginning of a line on, and its rest as it comes.
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

    fn route(&mut self, piece: LinePart) {
        match piece {
            LinePart::Line(line) if line.trim_ascii().is_empty() => self.ready.extend_from_slice(&line),
            LinePart::Line(line) => {
                if self.multiplexer.route(&Message::parse(line.clone())) {
                    self.ready.extend_from_slice(&line);
                }
            }
            LinePart::Start(bytes) => {
                let long = Long::begin(&bytes);
                let clients = self.multiplexer.clients.lock();
                // An answer whose id comes at its end may be for any client that waits.
                let is_other = match long.answered() {
                    Some(id) => clients.is_others(&id),
                    None => !long.has_method() && clients.others_wait(),
                };
                drop(clients);
                match is_other {
                    true => self.long = Some(long),
                    false => self.ready.extend_from_slice(&bytes),
                }
            }
            LinePart::More(bytes) => match &mut self.long {
                Some(long) => long.push(&bytes),
                None => self.ready.extend_from_slice(&bytes),
            },
            LinePart::End(bytes) => match self.long.take() {
                Some(mut long) => {
                    long.push(&bytes);
                    self.refuse(&long);
                }
                None => self.ready.extend_from_slice(&bytes),
            },
        }
    }

    /// Answers in the place of a line that is too long for its client.
    fn refuse(&mut self, long: &Long) {
        let Some(id) = long.answered() else { return };
        let text = format!(
            "shadowcat: the server's answer has more than {} bytes, too many for a client that shares it; --inspect-limit raises the bound",
            self.multiplexer.limit
        );
        let line = layout::as_line(&compose::failure(Some(&id), compose::INTERNAL_ERROR, &text));
        if self.multiplexer.route(&Message::parse(line.clone())) {
            self.ready.extend_from_slice(&line);
        }
    }
}

impl Drop for SharedOutput {
    fn drop(&mut self) {
        self.multiplexer.close();
    }
}
