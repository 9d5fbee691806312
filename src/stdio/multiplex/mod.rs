//! Multiplexing of a server process between several clients, which attach to a server that a screen
//! launched.
//!
//! The multiplexer stands between the process and the sessions of its clients. While the first client is
//! alone, bytes pass unchanged. Requests of other clients go on under ids of ours
//! ([`attribution::Attribution`]); their sessions show the ids that they know, with a remark.

pub mod attribution;
mod streams;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use bytes::Bytes;
use parking_lot::{Condvar, Mutex};

use self::attribution::{Attribution, ClientId, Receivers};
use self::streams::{FirstSink, OtherSink, SharedOutput};
use crate::log::record::Level;
use crate::mcp::{Direction, Message};
use crate::session::{Receipt, Session};
use crate::stdio::link::LinkEnd;
use crate::transport::{QueuedWrite, Sink, memory};

/// Capacity of the pipe to a client's session, in lines.
const PIPE_LINES: usize = 64;
/// Time after which a client that does not read is disconnected, so that the others need not wait.
const SLOW_CLIENT_TIMEOUT: Duration = Duration::from_secs(2);
/// Number of bytes read from the server at once.
const READ_BYTES: usize = 64 << 10;

/// The multiplexer between a server process and its clients.
pub struct Multiplexer {
    clients: Mutex<Attribution>,
    others: Mutex<HashMap<ClientId, Other>>,
    /// The session of the first client.
    first: OnceLock<Weak<Session>>,
    input: ServerInput,
    /// Lines over this many bytes are not carried to or from clients other than the first.
    limit: usize,
    /// Time after which a client that does not read is disconnected.
    timeout: Duration,
}

/// A client that joined later than the first.
struct Other {
    inbox: memory::PipeWriter,
    session: Weak<Session>,
}

/// The stdin of the server, on which nothing comes between the pieces of a long line.
struct ServerInput {
    state: Mutex<Open>,
    free: Condvar,
}

struct Open {
    stdin: Option<Box<dyn Sink<Receipt>>>,
    /// Set while a long line of the first client is under way.
    streaming: bool,
}

// === impl Multiplexer ===

impl Multiplexer {
    /// Puts a multiplexer between a server and its first client, whose end is returned.
    pub fn before(server: LinkEnd, limit: usize) -> (Arc<Self>, LinkEnd) {
        Self::with_timeout(server, limit, SLOW_CLIENT_TIMEOUT)
    }

    fn with_timeout(server: LinkEnd, limit: usize, timeout: Duration) -> (Arc<Self>, LinkEnd) {
        let state = Mutex::new(Open { stdin: Some(server.sink), streaming: false });
        let multiplexer = Arc::new(Self {
            clients: Mutex::new(Attribution::new()),
            others: Mutex::default(),
            first: OnceLock::new(),
            input: ServerInput { state, free: Condvar::new() },
            limit,
            timeout,
        });
        let source = SharedOutput::new(&multiplexer, server.source);
        let sink = FirstSink(Arc::clone(&multiplexer));
        (multiplexer, LinkEnd { source: Box::new(source), sink: Box::new(sink) })
    }

    /// Sets the session of the first client.
    pub fn bind(&self, session: &Arc<Session>) {
        // The first client never changes, so a second call has no effect.
        let _ = self.first.set(Arc::downgrade(session));
    }

    /// Adds a client. Returns the server's end for its `session`.
    pub fn join(self: &Arc<Self>, session: &Arc<Session>) -> (ClientId, LinkEnd) {
        self.add(Arc::downgrade(session))
    }

    fn add(self: &Arc<Self>, session: Weak<Session>) -> (ClientId, LinkEnd) {
        let (inbox, source) = memory::pipe(PIPE_LINES);
        let first = self.first.get().and_then(Weak::upgrade);
        let under_way = first.map(|session| session.unanswered_ids(Direction::ToServer)).unwrap_or_default();
        let client = self.clients.lock().join(under_way);
        self.others.lock().insert(client, Other { inbox, session: Weak::clone(&session) });
        let sink = OtherSink { multiplexer: Arc::clone(self), client, session, long: None };
        (client, LinkEnd { source: Box::new(source), sink: Box::new(sink) })
    }

    /// Removes a client. Its requests are cancelled at the server.
    pub fn leave(self: &Arc<Self>, client: ClientId) {
        let lines = {
            let mut clients = self.clients.lock();
            match clients.is_member(client) {
                true => clients.leave(client),
                false => return,
            }
        };
        self.others.lock().remove(&client);
        if lines.is_empty() {
            return;
        }
        // The server may not be reading: do not block the caller, which may be the reader of its output.
        let multiplexer = Arc::clone(self);
        std::thread::spawn(move || {
            for line in lines {
                // A server that has ended works on nothing; ignore the error.
                let _ = multiplexer.input.write(line);
            }
        });
    }

    /// Delivers a message of the server to other clients. Returns `true` if it is also, or only, for the
    /// first client.
    fn route(self: &Arc<Self>, message: &Message) -> bool {
        let Receivers { others, first } = self.clients.lock().receivers(message);
        others.into_iter().for_each(|(client, line)| self.deliver(client, line));
        first
    }

    /// Delivers a line to a client. A client that does not read for a while is disconnected.
    fn deliver(self: &Arc<Self>, client: ClientId, line: Bytes) {
        const POLL_INTERVAL: Duration = Duration::from_millis(5);
        let (inbox, session) = match self.others.lock().get(&client) {
            Some(other) => (other.inbox.clone(), other.session.clone()),
            None => return,
        };
        let mut waited = Duration::ZERO;
        while waited < self.timeout {
            match inbox.try_send(line.clone()) {
                Ok(true) => return,
                Ok(false) => std::thread::sleep(POLL_INTERVAL),
                Err(_) => break,
            }
            waited += POLL_INTERVAL;
        }
        if let (Some(session), true) = (session.upgrade(), waited >= self.timeout) {
            let why = format!(
                "this client has not read for {:?} and is disconnected, since others share its server",
                self.timeout
            );
            session.note(None, Level::Warning, why);
        }
        self.leave(client);
    }

    /// Disconnects every client: the server's output has ended.
    fn close(&self) {
        self.others.lock().clear();
    }
}

// === impl ServerInput ===

impl ServerInput {
    /// Writes whole lines, once the long line that is under way has ended.
    fn write(&self, line: Bytes) -> io::Result<()> {
        let mut open = self.state.lock();
        while open.streaming {
            self.free.wait(&mut open);
        }
        open.write_batch(&[QueuedWrite::plain(line)])
    }

    /// Writes lines of the first client, unchanged.
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
