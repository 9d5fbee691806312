//! All that a front end may know of a running proxy: its log, and the commands it takes.
//!
//! A record is the only fact, a command the only intent. A screen in the same process, a script
//! and (later) a socket use the same handle.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde_json::Value;
use tokio::sync::{mpsc, oneshot, watch};

use crate::log::breakpoint::Snapshot;
use crate::log::{Log, Seq, SessionId};
use crate::mcp::Direction;

/// A handle on a running engine.
#[derive(Clone)]
pub struct Engine {
    log: Arc<Log>,
    commands: mpsc::Sender<Request>,
    breakpoints: watch::Receiver<Snapshot>,
}

/// A command on its way, and where its answer goes.
pub type Request = (Command, oneshot::Sender<Result<Reply, Refusal>>);

/// What a person or a script can want from an engine.
#[derive(Debug, Clone, PartialEq)]
pub enum Command {
    /// Lets a held frame go on.
    Accept {
        frame: Seq,
    },
    /// Lets it go on and holds the reply.
    AcceptAndHoldReply {
        frame: Seq,
    },
    /// Lets everything go on, and stops holding everything.
    AcceptAll,
    /// Sends this line in the place of a held frame, whatever it is.
    Edit {
        frame: Seq,
        line: Bytes,
        /// HTTP headers that repeat the body stay as they came, whatever the body says now.
        keeps_headers: bool,
    },
    /// Keeps a held frame from its peer.
    Drop {
        frame: Seq,
        tell: Tell,
    },
    /// Answers a held request in the place of the other side.
    Answer {
        frame: Seq,
        line: Bytes,
    },
    /// Lets a held frame go on after a while.
    Delay {
        frame: Seq,
        by: Duration,
    },
    /// Holds whatever comes, or stops doing so.
    HoldEverything(bool),
    /// Arms or disarms all breakpoints.
    Arm(bool),
    /// Sets a breakpoint on a query.
    Break(String),
    RemoveBreakpoint(u32),
    ToggleBreakpoint(u32),
    /// Sends a message of ours past the peers.
    Inject {
        session: SessionId,
        to: Direction,
        line: Bytes,
    },
    /// Lets the built-in client make a request.
    Call {
        session: SessionId,
        method: String,
        params: Option<Value>,
    },
    /// Lets the built-in client answer what the server asks: a request of its own, or the input
    /// that a result requires, keyed by its `inputRequests`.
    Respond {
        session: SessionId,
        frame: Seq,
        result: Result<Value, (i64, String)>,
    },
    /// Starts the server of a session again, under a new session.
    Restart {
        session: SessionId,
    },
    /// Adds a person's note.
    Note {
        session: SessionId,
        frame: Option<Seq>,
        text: String,
    },
}

/// What the sender of a dropped frame is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Tell {
    /// Nothing: it waits.
    Silence,
    /// A JSON-RPC error.
    Error { code: i64, message: String },
    /// A tool result that says the tool failed.
    ToolError { text: String },
    /// The connection is closed.
    Close,
}

/// What a command did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    Done,
    /// The frame that was made.
    Frame(Seq),
    /// The JSON-RPC id of the request that the built-in client sent.
    Called(String),
    Breakpoint(u32),
}

/// Why a command was not carried out, as a sentence.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Refusal(pub String);

/// Commands that may wait for the engine.
const BACKLOG: usize = 256;

impl Engine {
    /// A handle on an engine that serves the other end of the channel.
    pub fn new(log: Arc<Log>, breakpoints: watch::Receiver<Snapshot>) -> (Self, mpsc::Receiver<Request>) {
        let (commands, requests) = mpsc::channel(BACKLOG);
        (Self { log, commands, breakpoints }, requests)
    }

    pub fn log(&self) -> &Arc<Log> {
        &self.log
    }

    /// The breakpoints as they are now.
    pub fn breakpoints(&self) -> Snapshot {
        self.breakpoints.borrow().clone()
    }

    /// Asks the engine for something.
    ///
    /// # Errors
    /// Why it could not be done.
    pub async fn send(&self, command: Command) -> Result<Reply, Refusal> {
        let gone = || Refusal("the engine has ended".to_owned());
        let (sender, reply) = oneshot::channel();
        self.commands.send((command, sender)).await.map_err(|_| gone())?;
        reply.await.map_err(|_| gone())?
    }
}
