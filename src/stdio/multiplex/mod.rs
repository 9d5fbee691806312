//! One server process for several clients: the clients that attach to a server that a screen launched.
//!
//! The multiplexer stands between the process and the sessions of its clients. While the first client is
//! alone, bytes pass it as they are. Others say what they have to say under ids of ours
//! ([`id_map::IdMap`]); their sessions show the ids that they know, with a remark.

pub mod id_map;
mod streams;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use bytes::Bytes;
use parking_lot::{Condvar, Mutex};

use self::id_map::{ClientId, Heard, IdMap};
use self::streams::{FirstSink, OtherSink, Source};
use crate::log::record::Level;
use crate::mcp::{Direction, Message};
use crate::session::{Receipt, Session};
use crate::stdio::link::End;
use crate::transport::{QueuedWrite, Sink, memory};

/// Lines in flight to a client's session.
const PIPE_LINES: usize = 64;
/// How long a client may not read.
const SLOW_CLIENT_TIMEOUT: Duration = Duration::from_secs(2);
/// Bytes read from the server at once.
const READ_BYTES: usize = 64 << 10;

/// Between a server process and its clients.
pub struct Multiplexer {
    ids: Mutex<IdMap>,
    others: Mutex<HashMap<ClientId, Other>>,
    /// The session of the first client.
    first: OnceLock<Weak<Session>>,
    input: ServerInput,
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

/// The input to the server, on which nothing comes between the pieces of a long line.
struct ServerInput {
    state: Mutex<Open>,
    free: Condvar,
}

struct Open {
    stdin: Option<Box<dyn Sink<Receipt>>>,
    /// A long line of the first client is under way.
    streaming: bool,
}

// === impl Multiplexer ===

impl Multiplexer {
    /// Puts a multiplexer between a server and its first client, which gets the end that is returned.
    pub fn before(server: End, limit: usize) -> (Arc<Self>, End) {
        Self::patient(server, limit, SLOW_CLIENT_TIMEOUT)
    }

    fn patient(server: End, limit: usize, patience: Duration) -> (Arc<Self>, End) {
        let state = Mutex::new(Open { stdin: Some(server.sink), streaming: false });
        let multiplexer = Arc::new(Self {
            ids: Mutex::new(IdMap::new()),
            others: Mutex::default(),
            first: OnceLock::new(),
            input: ServerInput { state, free: Condvar::new() },
            limit,
            patience,
        });
        let source = Source::new(&multiplexer, server.source);
        let sink = FirstSink(Arc::clone(&multiplexer));
        (multiplexer, End { source: Box::new(source), sink: Box::new(sink) })
    }

    /// Makes `session` that of the first client.
    pub fn bind(&self, session: &Arc<Session>) {
        // There is only one.
        let _ = self.first.set(Arc::downgrade(session));
    }

    /// Another client of the server, and the server's end for its `session`.
    pub fn join(self: &Arc<Self>, session: &Arc<Session>) -> (ClientId, End) {
        self.enter(Arc::downgrade(session))
    }

    fn enter(self: &Arc<Self>, session: Weak<Session>) -> (ClientId, End) {
        let (inbox, source) = memory::pipe(PIPE_LINES);
        let first = self.first.get().and_then(Weak::upgrade);
        let under_way = first.map(|session| session.asking(Direction::ToServer)).unwrap_or_default();
        let client = self.ids.lock().join(under_way);
        self.others.lock().insert(client, Other { inbox, session: Weak::clone(&session) });
        let sink = OtherSink { multiplexer: Arc::clone(self), client, session, long: None };
        (client, End { source: Box::new(source), sink: Box::new(sink) })
    }

    /// A client has left: the server is told that nobody waits for what it asked.
    pub fn leave(self: &Arc<Self>, client: ClientId) {
        let lines = {
            let mut ids = self.ids.lock();
            match ids.is_member(client) {
                true => ids.leave(client),
                false => return,
            }
        };
        self.others.lock().remove(&client);
        if lines.is_empty() {
            return;
        }
        // A server may not read: nobody waits for that, least of all whoever reads what it says.
        let multiplexer = Arc::clone(self);
        std::thread::spawn(move || {
            for line in lines {
                // A server that is gone is busy with nothing.
                let _ = multiplexer.input.write(line);
            }
        });
    }

    /// Takes what the server says to whom it is for. Returns whether that is the first client.
    fn hear(self: &Arc<Self>, message: &Message) -> bool {
        let Heard { others, first } = self.ids.lock().hears(message);
        others.into_iter().for_each(|(client, line)| self.deliver(client, line));
        first
    }

    /// Brings a line to a client. One that does not read for a while is let go.
    fn deliver(self: &Arc<Self>, client: ClientId, line: Bytes) {
        const POLL_INTERVAL: Duration = Duration::from_millis(5);
        let (inbox, session) = match self.others.lock().get(&client) {
            Some(other) => (other.inbox.clone(), other.session.clone()),
            None => return,
        };
        let mut waited = Duration::ZERO;
        while waited < self.patience {
            match inbox.try_send(line.clone()) {
                Ok(true) => return,
                Ok(false) => std::thread::sleep(POLL_INTERVAL),
                Err(_) => break,
            }
            waited += POLL_INTERVAL;
        }
        if let (Some(session), true) = (session.upgrade(), waited >= self.patience) {
            let why = format!(
                "this client has not read for {:?} and is let go: others share its server",
                self.patience
            );
            session.note(None, Level::Warning, why);
        }
        self.leave(client);
    }

    /// The server says nothing any more.
    fn close(&self) {
        self.others.lock().clear();
    }
}

// === impl ServerInput ===

impl ServerInput {
    /// Writes whole lines, once the long line that is under way is over.
    fn write(&self, line: Bytes) -> io::Result<()> {
        let mut open = self.state.lock();
        while open.streaming {
            self.free.wait(&mut open);
        }
        open.write_batch(&[QueuedWrite { bytes: line, receipt: None, piece: None }])
    }

    /// Writes what the first client says.
    fn pass(&self, writes: &[QueuedWrite<Receipt>]) -> io::Result<()> {
        let mut open = self.state.lock();
        let written = open.write_batch(writes);
        let last = writes.last().and_then(|write| write.piece);
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
    fn write_batch(&mut self, writes: &[QueuedWrite<Receipt>]) -> io::Result<()> {
        self.stdin.as_mut().ok_or(io::ErrorKind::BrokenPipe)?.write_batch(writes)
    }
}
