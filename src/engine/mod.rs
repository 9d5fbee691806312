//! The interface between a front end and a running proxy: the log, and the commands that the proxy
//! accepts.
//!
//! Records are the only facts and commands the only requests. Screens in the same process, scripts
//! and control sockets use the same handle.

mod command;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};

use crate::log::Log;
use crate::log::breakpoint::Snapshot;
use crate::log::record::{BY_PERSON, Seq};

pub use command::{Command, Given, Reply, Tell};

/// A handle to a running engine.
#[derive(Clone)]
pub struct Engine {
    log: Arc<Log>,
    commands: mpsc::Sender<Request>,
    breakpoints: watch::Receiver<Snapshot>,
    numbers: Option<Arc<dyn Numbers>>,
    who: Who,
}

/// Conversion between the frame numbers of a log that several engines share and those of each
/// engine.
pub trait Numbers: Send + Sync {
    /// Returns the number of frame `seq` in the engine that recorded it, with the name or process
    /// id of that engine if there are several.
    fn there(&self, seq: Seq) -> Option<(Option<String>, Seq)>;

    /// Returns the frame of this log that has the number `seq` in an engine; `place` is the name or
    /// process id of the engine, `None` means any.
    fn here(&self, place: Option<&str>, seq: Seq) -> Option<Seq>;
}

/// The author of a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Who {
    /// Name of the author in the log.
    pub name: Arc<str>,
    /// Number of the author as a controller. Scripts have none, and may decide at any time.
    pub controller: Option<u32>,
}

/// A running engine, as described to front ends that show several at once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunningEngine {
    /// Display name of the server.
    pub name: String,
    /// Running command, e.g. `forward stdio`.
    pub mode: String,
    /// Command line or URL of the server.
    pub target: Vec<String>,
    /// Process id of the engine.
    pub pid: u32,
    /// `true` until the engine has had a session; HTTP clients can come at any time.
    pub is_idle: bool,
    /// Delay between a record in the engine and its arrival in the shared log.
    pub behind: Duration,
}

/// A command in transit, with the channel for its reply.
pub struct Request {
    /// Command to carry out.
    pub command: Command,
    /// Author of the command.
    pub who: Who,
    /// Channel for the outcome.
    pub reply: oneshot::Sender<Result<Reply, Refusal>>,
}

/// Reason why a command was not carried out, as a sentence.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Refusal(pub String);

/// Maximum number of commands that wait for the engine.
const BACKLOG: usize = 256;

impl Engine {
    /// Creates a handle, and the receiver of its commands for the engine that serves it.
    pub fn new(log: Arc<Log>, breakpoints: watch::Receiver<Snapshot>) -> (Self, mpsc::Receiver<Request>) {
        let (commands, requests) = mpsc::channel(BACKLOG);
        (Self { log, commands, breakpoints, numbers: None, who: Who::person() }, requests)
    }

    /// Returns a handle to the same engine, whose frames have other numbers where they were
    /// recorded.
    #[must_use]
    pub fn numbered(self, numbers: Arc<dyn Numbers>) -> Self {
        Self { numbers: Some(numbers), ..self }
    }

    /// Returns the conversion to the numbers of other engines; `None` if the frames were recorded
    /// here.
    pub fn numbers(&self) -> Option<&Arc<dyn Numbers>> {
        self.numbers.as_ref()
    }

    /// Returns a handle to the same engine for another author.
    #[must_use]
    pub fn of(&self, who: Who) -> Self {
        Self { who, ..self.clone() }
    }

    /// Returns the author of the commands that this handle sends.
    pub fn who(&self) -> &Who {
        &self.who
    }

    /// Returns the log of the engine.
    pub fn log(&self) -> &Arc<Log> {
        &self.log
    }

    /// Returns the current breakpoints and controllers.
    pub fn breakpoints(&self) -> Snapshot {
        self.breakpoints.borrow().clone()
    }

    /// Returns a receiver of the breakpoints and controllers.
    pub fn watch(&self) -> watch::Receiver<Snapshot> {
        self.breakpoints.clone()
    }

    /// Sends a command and waits for its outcome.
    ///
    /// # Errors
    /// If the engine refuses the command or has ended.
    pub async fn send(&self, command: Command) -> Result<Reply, Refusal> {
        let gone = || Refusal("the engine has ended".to_owned());
        let (reply, answer) = oneshot::channel();
        let request = Request { command, who: self.who.clone(), reply };
        self.commands.send(request).await.map_err(|_| gone())?;
        answer.await.map_err(|_| gone())?
    }
}

impl Who {
    /// Returns a person at a screen as author, without the number of a controller.
    pub fn person() -> Self {
        Self { name: BY_PERSON.into(), controller: None }
    }
}
