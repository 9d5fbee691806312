//! The streams of a mounted server: they go on with those of the process that takes its place.

use std::io::{self, Read};
use std::sync::Arc;

use bytes::{Buf, BytesMut};

use super::{LONGEST, Mount, Phase};
use crate::mcp::line::{Piece, Splitter};
use crate::mcp::{Direction, Id, Kind, Message};
use crate::proxy::session::Ticket;
use crate::transport::stdio::Blocking;
use crate::transport::{Parcel, Sink};

/// Frames that are remembered to have been written; more are compared with what is unanswered.
const REMEMBERED: usize = 4096;

// === impl Stdin ===

/// What the session writes to.
pub struct Stdin(pub Arc<Mount>);

impl Sink<Ticket> for Stdin {
    fn take(&mut self, parcels: &[Parcel<Ticket>]) -> io::Result<()> {
        let mut state = self.0.writable();
        if let Phase::Down(why) = &state.phase {
            let why = why.clone();
            drop(state);
            if let Some(session) = self.0.session() {
                for ticket in parcels.iter().filter_map(|parcel| parcel.ticket.as_ref()) {
                    session.fail(ticket.frame, &why);
                }
            }
            return Ok(());
        }
        parcels.iter().for_each(|parcel| state.learn(parcel));
        let frames = parcels.iter().filter_map(|parcel| Some(parcel.ticket.as_ref()?.frame));
        state.written.extend(frames);
        if state.written.len() > REMEMBERED
            && let Some(session) = self.0.session()
        {
            let unanswered = session.unanswered(Direction::ToServer, &state.written);
            state.written = unanswered.into_iter().collect();
        }
        let taken = state.stdin.as_mut().ok_or(io::ErrorKind::BrokenPipe)?.take(parcels);
        match taken {
            // It has ended; whether another takes its place is not known yet.
            Err(_) if self.0.stays => Ok(()),
            taken => taken,
        }
    }
}

impl Drop for Stdin {
    fn drop(&mut self) {
        self.0.state.lock().stdin = None;
    }
}

// === impl Source ===

/// What the session reads the server from.
pub struct Source {
    mount: Arc<Mount>,
    stream: Option<Blocking>,
    /// While the answer to a greeting is awaited.
    greeted: Option<(Id, Splitter)>,
    ready: BytesMut,
}

impl Read for Source {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            if !self.ready.is_empty() {
                let length = buffer.len().min(self.ready.len());
                buffer[..length].copy_from_slice(&self.ready[..length]);
                self.ready.advance(length);
                return Ok(length);
            }
            let Some(stream) = &mut self.stream else {
                match self
                    .mount
                    .following(|state| state.stdout.take().map(|stream| (stream, state.phase.clone())))
                {
                    Some((stream, phase)) => {
                        self.stream = Some(stream);
                        if let Phase::Greeting(id) = phase {
                            self.greeted = Some((id, Splitter::new(LONGEST)));
                        }
                        continue;
                    }
                    None => return Ok(0),
                }
            };
            let length = stream.read(buffer)?;
            if length == 0 {
                self.stream = None;
                self.mount.state.lock().is_drained = true;
                continue;
            }
            match self.greeted.take() {
                Some((id, splitter)) => self.await_answer(id, splitter, &buffer[..length]),
                None => return Ok(length),
            }
        }
    }
}

impl Source {
    pub fn new(mount: &Arc<Mount>, stdout: Blocking) -> Self {
        Self { mount: Arc::clone(mount), stream: Some(stdout), greeted: None, ready: BytesMut::new() }
    }

    /// Passes on what comes before the answer to the greeting, and what comes after it.
    fn await_answer(&mut self, id: Id, mut splitter: Splitter, bytes: &[u8]) {
        splitter.feed(bytes);
        while let Some(piece) = splitter.next_piece() {
            let (Piece::Line(line) | Piece::Start(line) | Piece::More(line) | Piece::End(line)) = piece;
            let message = Message::parse(line.clone());
            match message.kind() {
                Kind::Response { id: answered, .. } | Kind::Failure { id: Some(answered), .. }
                    if *answered == id =>
                {
                    self.mount.greeted(&message);
                    if let Some(Piece::Line(rest) | Piece::End(rest)) = splitter.finish() {
                        self.ready.extend_from_slice(&rest);
                    }
                    return;
                }
                _ => self.ready.extend_from_slice(&line),
            }
        }
        self.greeted = Some((id, splitter));
    }
}

impl Drop for Source {
    fn drop(&mut self) {
        self.mount.state.lock().is_drained = true;
    }
}

// === impl Stderr ===

pub struct Stderr {
    mount: Arc<Mount>,
    stream: Option<Blocking>,
}

impl Stderr {
    pub fn new(mount: &Arc<Mount>, stderr: Blocking) -> Self {
        Self { mount: Arc::clone(mount), stream: Some(stderr) }
    }
}

impl Read for Stderr {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let Some(stream) = &mut self.stream else {
                match self.mount.following(|state| state.stderr.take()) {
                    Some(stream) => self.stream = Some(stream),
                    None => return Ok(0),
                }
                continue;
            };
            match stream.read(buffer)? {
                0 => self.stream = None,
                length => return Ok(length),
            }
        }
    }
}
