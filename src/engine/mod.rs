//! All that a front end may know of a running proxy: its log, and the commands it takes.
//!
//! A record is the only fact, a command the only intent. A screen in the same process, a script
//! and a control socket use the same handle.

mod command;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};

use crate::log::Log;
use crate::log::breakpoint::Snapshot;
use crate::log::record::{BY_PERSON, Seq};

pub use command::{Command, Given, Reply, Tell};

/// A handle on a running engine.
#[derive(Clone)]
pub struct Engine {
    log: Arc<Log>,
    commands: mpsc::Sender<Request>,
    breakpoints: watch::Receiver<Snapshot>,
    numbers: Option<Arc<dyn Numbers>>,
    who: Who,
}

/// What frames are called where they were recorded, for those who look at several engines at once.
pub trait Numbers: Send + Sync {
    /// The number of a frame where it was recorded, and where that is if it has to be said.
    fn there(&self, seq: Seq) -> Option<(Option<String>, Seq)>;

    /// The frame here that has a number there; `place` is the name or process id of an engine.
    fn here(&self, place: Option<&str>, seq: Seq) -> Option<Seq>;
}

/// Who wants something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Who {
    /// What the log calls it.
    pub name: Arc<str>,
    /// The seat it has among those who can decide. Scripts have none, and may do as they are told.
    pub seat: Option<u32>,
}

/// An engine that runs, as those are told who look at several at once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunningEngine {
    pub name: String,
    /// The command that it is of, e.g. `forward stdio`.
    pub mode: String,
    pub target: Vec<String>,
    pub pid: u32,
    /// Whether it has had a session yet: clients of HTTP come when they come.
    pub is_idle: bool,
    /// How far what is told of it is behind it.
    pub behind: Duration,
}

/// A command on its way, and where its answer goes.
pub struct Request {
    pub command: Command,
    pub who: Who,
    pub reply: oneshot::Sender<Result<Reply, Refusal>>,
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
        (Self { log, commands, breakpoints, numbers: None, who: Who::person() }, requests)
    }

    /// A handle on the same engine, whose frames have other numbers where they were recorded.
    #[must_use]
    pub fn numbered(self, numbers: Arc<dyn Numbers>) -> Self {
        Self { numbers: Some(numbers), ..self }
    }

    /// What its frames are called where they were recorded; none where that is here.
    pub fn numbers(&self) -> Option<&Arc<dyn Numbers>> {
        self.numbers.as_ref()
    }

    /// A handle on the same engine for somebody else.
    #[must_use]
    pub fn of(&self, who: Who) -> Self {
        Self { who, ..self.clone() }
    }

    pub fn who(&self) -> &Who {
        &self.who
    }

    pub fn log(&self) -> &Arc<Log> {
        &self.log
    }

    /// The breakpoints as they are now, and who can decide.
    pub fn breakpoints(&self) -> Snapshot {
        self.breakpoints.borrow().clone()
    }

    /// Follows the breakpoints.
    pub fn watch(&self) -> watch::Receiver<Snapshot> {
        self.breakpoints.clone()
    }

    /// Asks the engine for something.
    ///
    /// # Errors
    /// Why it could not be done.
    pub async fn send(&self, command: Command) -> Result<Reply, Refusal> {
        let gone = || Refusal("the engine has ended".to_owned());
        let (reply, answer) = oneshot::channel();
        let request = Request { command, who: self.who.clone(), reply };
        self.commands.send(request).await.map_err(|_| gone())?;
        answer.await.map_err(|_| gone())?
    }
}

impl Who {
    /// A person at a screen, without a seat.
    pub fn person() -> Self {
        Self { name: BY_PERSON.into(), seat: None }
    }
}
