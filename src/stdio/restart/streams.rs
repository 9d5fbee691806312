//! The streams of a restartable server, which continue with those of each new process.

use std::io::{self, Read};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};

use super::parts::ProcessOutput;
use super::{MAX_GREETING_BYTES, MIN_REMEMBERED, Phase, Reading, RestartableServer};
use crate::log::record::{Record, VerdictKind};
use crate::mcp::line::{LinePart, LineSplitter};
use crate::mcp::{Direction, Id, Kind, Message};
use crate::session::Receipt;
use crate::transport::stdio::Woken;
use crate::transport::{QueuedWrite, Sink, Source};

// === impl Stdin ===

/// Standard input of the server, to which the session writes.
pub struct Stdin {
    server: Arc<RestartableServer>,
    /// Line of the client that is written piece by piece, as far as it was written.
    line: BytesMut,
    /// Process that got the beginning of the line.
    generation: u32,
}

/// Maximum length in bytes of a line in pieces that a new process can be given from its beginning.
const MAX_LINE_BYTES: usize = 16 << 20;

impl Stdin {
    /// Creates the input, which follows the processes of `server`.
    pub fn new(server: Arc<RestartableServer>) -> Self {
        Self { server, line: BytesMut::new(), generation: 0 }
    }

    /// Returns the beginning of the line under way if a process before that of `generation` got it.
    fn missing(&mut self, generation: u32) -> Option<Bytes> {
        let is_new = std::mem::replace(&mut self.generation, generation) != generation;
        (is_new && !self.line.is_empty()).then(|| Bytes::copy_from_slice(&self.line))
    }

    /// Returns the line that a write ends.
    fn line(&mut self, write: &QueuedWrite<Receipt>) -> Option<Bytes> {
        let Some(piece) = write.piece else { return Some(write.bytes.clone()) };
        if self.line.len() + write.bytes.len() <= MAX_LINE_BYTES {
            self.line.extend_from_slice(&write.bytes);
        }
        piece.last.then(|| self.line.split().freeze())
    }
}

impl Sink<Receipt> for Stdin {
    fn write_batch(&mut self, writes: &[QueuedWrite<Receipt>]) -> io::Result<()> {
        let server = Arc::clone(&self.server);
        let mut state = server.writable();
        if let Phase::Down(why) = &state.phase {
            let why = why.clone();
            drop(state);
            if let Some(session) = server.session() {
                for receipt in writes.iter().filter_map(|write| write.receipt.as_ref()) {
                    session.fail(receipt.frame, &why);
                }
            }
            return Ok(());
        }
        let missing = self.missing(state.generation);
        for write in writes {
            if let Some(line) = self.line(write) {
                state.handshake.learn(line, write.receipt.as_ref());
            }
        }
        let frames = writes.iter().filter_map(|write| Some(write.receipt.as_ref()?.frame));
        state.written.extend(frames);
        if state.written.len() > state.remembers
            && let Some(session) = server.session()
        {
            let unanswered = session.unanswered(Direction::ToServer, &state.written);
            state.written = unanswered.into_iter().collect();
            // Double the bound before the next check, since the server may never answer the rest.
            state.remembers = (2 * state.written.len()).max(MIN_REMEMBERED);
        }
        let (input, generation, since) = (Arc::clone(&state.input), state.generation, state.since);
        drop(state);
        let begun = missing.map_or(Ok(()), |missing| input.write_batch(&[QueuedWrite::plain(missing)]));
        let written = begun.and_then(|()| match since {
            0 => input.write_batch(writes),
            since => input.write_batch(&self.current(writes, since)),
        });
        match written {
            // The process has ended: ignore the error if another process replaces it or may still do so.
            Err(_) if server.stays || server.is_replaced(generation) => Ok(()),
            written => written,
        }
    }
}

impl Stdin {
    /// Returns the writes without answers to requests of a process that has ended, since the new process
    /// may send requests with the same ids.
    fn current(&self, writes: &[QueuedWrite<Receipt>], since: u64) -> Vec<QueuedWrite<Receipt>> {
        let session = self.server.session();
        let is_stale = |write: &QueuedWrite<Receipt>| {
            // The process has the beginning of the line already.
            if write.piece.is_some() {
                return false;
            }
            let (Some(session), Some(receipt)) = (&session, &write.receipt) else { return false };
            let record = session.record_of(receipt.frame);
            let Some(frame) = record.as_deref().and_then(Record::frame) else { return false };
            let answers = matches!(frame.message.kind(), Kind::Response { .. } | Kind::Failure { .. });
            let stale = answers && frame.link.to.is_none_or(|request| request <= since);
            if stale {
                session.remark(
                    receipt.frame,
                    "restart",
                    VerdictKind::Drop,
                    "it answers a process that has ended",
                );
            }
            stale
        };
        let current = writes.iter().filter(|write| !is_stale(write));
        let copy = |write: &QueuedWrite<Receipt>| QueuedWrite {
            bytes: write.bytes.clone(),
            receipt: None,
            piece: write.piece,
            pace: write.pace,
        };
        current.map(copy).collect()
    }
}

impl Drop for Stdin {
    fn drop(&mut self) {
        let input = Arc::clone(&self.server.state.lock().input);
        input.close();
    }
}

// === impl Source ===

/// Standard output of the server, from which the session reads.
pub struct RestartingOutput {
    server: Arc<RestartableServer>,
    output: Option<ProcessOutput>,
    /// Id of the repeated `initialize`, and the splitter of the output, while its answer is awaited.
    greeting: Option<(Id, LineSplitter)>,
    /// Bytes that were read already and will be returned first.
    ready: BytesMut,
    /// Set if the last byte was not the end of a line.
    mid_line: bool,
}

impl RestartingOutput {
    /// Creates the reader, and takes the first process's output.
    pub fn new(server: &Arc<RestartableServer>) -> Self {
        let output = server.state.lock().output.take();
        Self { server: Arc::clone(server), output, greeting: None, ready: BytesMut::new(), mid_line: false }
    }

    fn note(&self, reading: Reading) {
        self.server.reading.store(reading as u8, Ordering::Relaxed);
    }

    /// Continues with the next process. Returns `false` if there is none.
    fn follow(&mut self) -> bool {
        let next =
            self.server.following(|state| state.output.take().map(|output| (output, state.phase.clone())));
        let Some((output, phase)) = next else { return false };
        self.output = Some(output);
        self.greeting = match phase {
            Phase::Greeting(id) => Some((id, LineSplitter::new(MAX_GREETING_BYTES))),
            _ => None,
        };
        // End the unfinished line of the old process, so that it does not run into the new one's first line.
        if std::mem::take(&mut self.mid_line) {
            self.ready.extend_from_slice(b"\n");
        }
        true
    }

    /// Passes on the lines before and after the answer to the handshake, but not the answer.
    fn await_answer(&mut self, id: Id, mut splitter: LineSplitter, bytes: &[u8]) {
        splitter.feed(bytes);
        while let Some(piece) = splitter.next_piece() {
            let (LinePart::Line(line) | LinePart::Start(line) | LinePart::More(line) | LinePart::End(line)) =
                piece;
            let message = Message::parse(line.clone());
            match message.kind() {
                Kind::Response { id: answered, .. } | Kind::Failure { id: Some(answered), .. }
                    if *answered == id =>
                {
                    self.server.greeted(&message);
                    if let Some(LinePart::Line(rest) | LinePart::End(rest)) = splitter.finish() {
                        self.ready.extend_from_slice(&rest);
                    }
                    return;
                }
                _ => self.ready.extend_from_slice(&line),
            }
        }
        self.greeting = Some((id, splitter));
    }
}

impl Read for RestartingOutput {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.read_within(buffer, None).map(Option::unwrap_or_default)
    }
}

impl Source for RestartingOutput {
    fn read_within(&mut self, buffer: &mut [u8], patience: Option<Duration>) -> io::Result<Option<usize>> {
        loop {
            if !self.ready.is_empty() {
                let length = buffer.len().min(self.ready.len());
                buffer[..length].copy_from_slice(&self.ready[..length]);
                self.ready.advance(length);
                self.mid_line = buffer[..length].last() != Some(&b'\n');
                return Ok(Some(length));
            }
            let Some(ProcessOutput { stream, wake }) = &mut self.output else {
                match self.follow() {
                    true => continue,
                    false => return Ok(Some(0)),
                }
            };
            self.server.reading.store(Reading::Idle as u8, Ordering::Relaxed);
            let length = match stream.read_unless(&**wake, buffer, patience)? {
                Woken::Read(length) => length,
                Woken::Closed => 0,
                Woken::Late => return Ok(None),
            };
            if length == 0 {
                self.output = None;
                // The next process may come late or never; what is written to the client meanwhile is a line.
                if self.server.stays && std::mem::take(&mut self.mid_line) {
                    self.ready.extend_from_slice(b"\n");
                }
                self.note(Reading::Drained);
                continue;
            }
            self.note(Reading::Busy);
            match self.greeting.take() {
                Some((id, splitter)) => self.await_answer(id, splitter, &buffer[..length]),
                None => {
                    self.mid_line = buffer[length - 1] != b'\n';
                    return Ok(Some(length));
                }
            }
        }
    }
}

impl Drop for RestartingOutput {
    fn drop(&mut self) {
        self.note(Reading::Drained);
    }
}

// === impl Stderr ===

/// Standard error of the server, from which the session reads.
pub struct Stderr {
    server: Arc<RestartableServer>,
    output: Option<ProcessOutput>,
    mid_line: bool,
}

impl Stderr {
    /// Creates the reader, and takes the first process's standard error.
    pub fn new(server: &Arc<RestartableServer>) -> Self {
        let output = server.state.lock().errors.take();
        Self { server: Arc::clone(server), output, mid_line: false }
    }
}

impl Read for Stderr {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.read_within(buffer, None).map(Option::unwrap_or_default)
    }
}

impl Source for Stderr {
    fn read_within(&mut self, buffer: &mut [u8], patience: Option<Duration>) -> io::Result<Option<usize>> {
        loop {
            let Some(ProcessOutput { stream, wake }) = &mut self.output else {
                match self.server.following(|state| state.errors.take()) {
                    Some(output) => self.output = Some(output),
                    None => return Ok(Some(0)),
                }
                if std::mem::take(&mut self.mid_line) && !buffer.is_empty() {
                    buffer[0] = b'\n';
                    return Ok(Some(1));
                }
                continue;
            };
            match stream.read_unless(&**wake, buffer, patience)? {
                Woken::Late => return Ok(None),
                Woken::Closed | Woken::Read(0) => self.output = None,
                Woken::Read(length) => {
                    self.mid_line = buffer[length - 1] != b'\n';
                    return Ok(Some(length));
                }
            }
        }
    }
}
