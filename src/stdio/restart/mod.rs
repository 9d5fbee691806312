//! Restart of a stdio server while its client stays connected: the streams of the session continue with
//! those of the new process.
//!
//! In the stateful era the client's handshake is repeated with the new process, whose answer is
//! discarded, since the client has one already (2025-11-25, basic/lifecycle). Requests that the old
//! process left unanswered are answered with an error, and its own requests are cancelled.
//!
//! No stream is read or written while the state is locked: a server that does not read its input must
//! not block its own termination.

mod life;
mod parts;
mod streams;

use std::collections::BTreeSet;
use std::io::{self, PipeReader, PipeWriter};
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use bytes::Bytes;
use parking_lot::{Condvar, Mutex, MutexGuard};
use tokio::runtime::Handle;

use self::parts::{ProcessInput, ProcessOutput, SavedHandshake};
use self::streams::{RestartingOutput, Stderr, Stdin};
use crate::log::record::{Level, Seq};
use crate::mcp::handshake::changed_lists;
use crate::mcp::{Direction, Id, Message};
use crate::session::{Receipt, Session};
use crate::stdio::link::{self, StartedServer};
use crate::transport::QueuedWrite;
use crate::transport::child::{Child, Process, SpawnError, Spec};

/// A server whose process can be replaced while its session goes on.
pub struct RestartableServer {
    spec: Spec,
    /// `true` if the session stays open when the server ends by itself.
    stays: bool,
    session: OnceLock<Weak<Session>>,
    state: Mutex<State>,
    changed: Condvar,
    /// State of the reader of the server's output, a [`Reading`].
    reading: AtomicU8,
}

struct State {
    phase: Phase,
    process: Process,
    /// Number of processes that were started after the first.
    generation: u32,
    input: Arc<ProcessInput>,
    /// Standard output of a new process, until its reader takes it.
    output: Option<ProcessOutput>,
    /// Standard error of a new process, until its reader takes it.
    errors: Option<ProcessOutput>,
    /// Pipe end whose drop interrupts the readers of the process's streams.
    waker: Option<PipeWriter>,
    /// Handshake of the client, for its repetition.
    handshake: SavedHandshake,
    /// Frames that were written to the process and may be unanswered.
    written: BTreeSet<Seq>,
    /// Number of frames in `written` above which answered ones are removed.
    remembers: usize,
    /// Last record before the process was started; 0 for the first process. Replies to requests up to this
    /// record are not for the process.
    since: Seq,
}

/// State of the reader of a process's output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reading {
    /// Output is being passed on.
    Busy,
    /// The reader waits for output.
    Idle,
    /// The output has ended.
    Drained,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Phase {
    Up,
    /// The old process is being ended, and a new one started.
    Restarting,
    /// The answer to the repeated `initialize` with this id is awaited, and will be discarded.
    Greeting(Id),
    /// No process runs, for this reason; a restart starts one.
    Down(String),
    Over,
}

/// Reasons why a server cannot be restarted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RestartError {
    /// A restart is under way.
    #[error("it is being restarted already")]
    Already,
    /// The session of the server has ended.
    #[error("the session has ended")]
    Over,
}

/// Minimum number of written frames that are remembered.
const MIN_REMEMBERED: usize = 4096;
/// Interval of the checks for a change of state.
const POLL_INTERVAL: Duration = Duration::from_millis(10);
/// Maximum length in bytes of a line of the handshake.
const MAX_GREETING_BYTES: usize = 1 << 20;
/// Time limit for a new process's answer to the handshake; messages are written to it after that anyway.
const GREETING_TIMEOUT: Duration = Duration::from_secs(30);

// === impl RestartableServer ===

impl RestartableServer {
    /// Starts a server. With `stays` its session stays open when the server ends by itself.
    ///
    /// # Errors
    /// Fails if the process or a pipe cannot be created.
    pub fn start(spec: &Spec, stays: bool) -> Result<(Arc<Self>, StartedServer), SpawnError> {
        let Child { process, stdin, stdout, stderr } = spec.spawn()?;
        let failed = |source| SpawnError::Failed {
            command: spec.command.first().cloned().unwrap_or_default(),
            source,
        };
        let (wake, waker) = io::pipe().map_err(failed)?;
        let wake = Arc::new(wake);
        let server = Arc::new(Self {
            spec: spec.clone(),
            stays,
            session: OnceLock::new(),
            state: Mutex::new(State {
                phase: Phase::Up,
                process: process.clone(),
                generation: 0,
                input: ProcessInput::new(stdin),
                output: Some(ProcessOutput { stream: stdout, wake: Arc::clone(&wake) }),
                errors: Some(ProcessOutput { stream: stderr, wake }),
                waker: Some(waker),
                handshake: SavedHandshake::default(),
                written: BTreeSet::new(),
                remembers: MIN_REMEMBERED,
                since: 0,
            }),
            changed: Condvar::new(),
            reading: AtomicU8::new(Reading::Idle as u8),
        });
        let source = RestartingOutput::new(&server);
        let stderr = Stderr::new(&server);
        let end = link::LinkEnd { source: Box::new(source), sink: Box::new(Stdin::new(Arc::clone(&server))) };
        Ok((server, StartedServer { process, end, stderr: Box::new(stderr) }))
    }

    /// Sets the session of the server, in which restarts are recorded.
    pub fn bind(&self, session: &Arc<Session>) {
        // A server has only one session; a second call changes nothing.
        let _ = self.session.set(Arc::downgrade(session));
    }

    fn session(&self) -> Option<Arc<Session>> {
        self.session.get().and_then(Weak::upgrade)
    }

    fn note(&self, level: Level, text: String) {
        if let Some(session) = self.session() {
            session.note(None, level, text);
        }
    }

    /// Enters a phase, unless the server is over.
    fn turn(&self, phase: Phase) {
        let mut state = self.state.lock();
        if state.phase != Phase::Over {
            state.phase = phase;
        }
        self.changed.notify_all();
    }

    /// Begins to end the process, if it runs, and to start another in its place, in a task on `runtime`.
    ///
    /// # Errors
    /// [`RestartError::Already`] if a restart is under way, [`RestartError::Over`] if the session has ended.
    pub fn restart(self: &Arc<Self>, runtime: &Handle) -> Result<(), RestartError> {
        let old = {
            let mut state = self.state.lock();
            match state.phase {
                Phase::Up | Phase::Greeting(_) | Phase::Down(_) => state.phase = Phase::Restarting,
                Phase::Restarting => return Err(RestartError::Already),
                Phase::Over => return Err(RestartError::Over),
            }
            let input = std::mem::replace(&mut state.input, ProcessInput::none());
            (state.process.clone(), input)
        };
        runtime.spawn(Arc::clone(self).replace(old));
        Ok(())
    }

    async fn replace(self: Arc<Self>, (old, input): (Process, Arc<ProcessInput>)) {
        // End the process as at a regular shutdown: close its input, wait, then terminate it.
        input.close();
        old.shut_down().await;
        self.drained().await;
        let owes_greeting = self.settle("the server was restarted before it answered", true);
        let spec = self.spec.clone();
        let spawned =
            tokio::task::spawn_blocking(move || Ok::<_, SpawnError>((spec.spawn()?, pipe()?))).await;
        match spawned {
            Ok(Ok((child, pipe))) => self.server(child, pipe, owes_greeting).await,
            Ok(Err(error)) => self.failed(&error),
            Err(error) => self.failed(&error),
        }
    }

    fn failed(&self, error: &dyn std::fmt::Display) {
        let text = format!("the server could not be restarted: {error}");
        self.note(Level::Error, text.clone());
        self.turn(if self.stays { Phase::Down(text) } else { Phase::Over });
    }

    /// Installs a new process in the place of the old one. `client_waits` is `true` if the old process left the
    /// client's `initialize` unanswered, so that the client gets the new answer.
    async fn server(
        self: &Arc<Self>,
        child: Child,
        (wake, waker): (PipeReader, PipeWriter),
        client_waits: bool,
    ) {
        let Child { process, stdin, stdout, stderr } = child;
        let (number, wake) = (process.id(), Arc::new(wake));
        let (input, line, generation) = {
            let mut state = self.state.lock();
            if state.phase == Phase::Over {
                return;
            }
            state.process = process;
            state.generation += 1;
            state.input = ProcessInput::new(stdin);
            state.output = Some(ProcessOutput { stream: stdout, wake: Arc::clone(&wake) });
            state.errors = Some(ProcessOutput { stream: stderr, wake });
            // Dropping the old waker interrupts the readers of the old process's streams.
            state.waker = Some(waker);
            self.reading.store(Reading::Idle as u8, Ordering::Relaxed);
            state.since = self.session().map_or(0, |session| session.last());
            let line = state.handshake.messages.initialize().map(|message| message.raw().clone());
            let id = line.as_ref().and_then(|line| Message::parse(line.clone()).id().cloned());
            state.phase = match id {
                Some(id) if !client_waits => Phase::Greeting(id),
                _ => Phase::Up,
            };
            (Arc::clone(&state.input), line, state.generation)
        };
        let greets = line.is_some();
        if let Some(line) = line {
            // Write in a separate thread, since the process may not read. The wait for its answer has a time
            // limit.
            tokio::task::spawn_blocking(move || drop(input.write_batch(&[write(line)])));
        }
        self.changed.notify_all();
        if let Some(session) = self.session() {
            session.reopen(Some(number));
        }
        let greeted = if greets { ", and the handshake was repeated" } else { "" };
        self.note(Level::Info, format!("the server was restarted as process {number}{greeted}"));
        let (server, this) = (Arc::downgrade(self), generation);
        tokio::spawn(async move {
            tokio::time::sleep(GREETING_TIMEOUT).await;
            if let Some(server) = server.upgrade() {
                server.give_up_greeting(this);
            }
        });
    }

    /// Lets messages through to a new process that has not answered the handshake in time.
    fn give_up_greeting(&self, generation: u32) {
        let mut state = self.state.lock();
        if state.generation != generation || !matches!(state.phase, Phase::Greeting(_)) {
            return;
        }
        state.phase = Phase::Up;
        drop(state);
        self.changed.notify_all();
        self.note(
            Level::Error,
            format!("the new server has not answered its greeting in {GREETING_TIMEOUT:?}"),
        );
    }

    /// Waits until the output of the old process was passed on, however slowly the client reads. A process
    /// that left its group can keep the output open for ever: output that comes later is discarded.
    async fn drained(&self) {
        const IDLE: u32 = 50;
        let mut idle = 0;
        while idle < IDLE {
            match self.reading.load(Ordering::Relaxed) {
                reading if reading == Reading::Drained as u8 => return,
                reading if reading == Reading::Idle as u8 => idle += 1,
                _ => idle = 0,
            }
            if self.state.lock().phase == Phase::Over {
                return;
            }
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    }

    /// Answers the requests that a process left unanswered with an error, and cancels its own requests.
    /// Returns `true` if it left `initialize` unanswered; with `is_replaced`, another process answers that.
    fn settle(&self, why: &str, is_replaced: bool) -> bool {
        let Some(session) = self.session() else { return false };
        let (written, initialize) = {
            let mut state = self.state.lock();
            let initialize = state.handshake.messages.initialize().map(|_| state.handshake.frame);
            (std::mem::take(&mut state.written), initialize)
        };
        let mut owes_greeting = false;
        for request in session.unanswered(Direction::ToServer, &written) {
            if Some(request) == initialize {
                owes_greeting = true;
                if is_replaced {
                    self.state.lock().written.insert(request);
                    continue;
                }
                // The client has to repeat the handshake.
                self.state.lock().handshake = SavedHandshake::default();
            }
            session.fail(request, why);
        }
        session.cancel_open(Direction::ToClient, why);
        owes_greeting
    }

    /// Returns `true` if another process has replaced that of `generation`, or is about to.
    fn is_replaced(&self, generation: u32) -> bool {
        let state = self.state.lock();
        state.generation != generation || state.phase == Phase::Restarting
    }

    /// Waits while the process is being restarted or has not answered the handshake.
    fn writable(&self) -> MutexGuard<'_, State> {
        let mut state = self.state.lock();
        while matches!(state.phase, Phase::Restarting | Phase::Greeting(_)) {
            self.changed.wait(&mut state);
        }
        state
    }

    /// Waits for the stream that follows one that has ended, which `take` removes from the state. Returns
    /// `None` if no other stream will come.
    fn following<T>(&self, take: impl Fn(&mut State) -> Option<T>) -> Option<T> {
        let mut state = self.state.lock();
        loop {
            if let Some(next) = take(&mut state) {
                return Some(next);
            }
            match state.phase {
                Phase::Restarting | Phase::Down(_) => {}
                // The process may have ended, which is not noticed yet: wait.
                Phase::Up | Phase::Greeting(_) if self.stays => {}
                Phase::Up | Phase::Greeting(_) | Phase::Over => return None,
            }
            self.changed.wait(&mut state);
        }
    }

    /// Handles the answer of the new process to the handshake, and lets messages through to it.
    fn greeted(&self, answer: &Message) {
        let (input, initialized) = {
            let state = self.state.lock();
            (
                Arc::clone(&state.input),
                state.handshake.messages.initialized().map(|message| message.raw().clone()),
            )
        };
        if let Some(line) = initialized {
            // The write does not block, since the input holds nothing else yet. The reader notices a process
            // that is gone again; ignore the error.
            let _ = input.write_batch(&[write(line)]);
        }
        self.turn(Phase::Up);
        if answer.is_error() {
            let text = String::from_utf8_lossy(answer.body()).into_owned();
            self.note(Level::Error, format!("the new process refused the handshake: {text}"));
            return;
        }
        let Some(session) = self.session() else { return };
        // The lists of the new process may differ from those of the old one.
        for line in changed_lists(answer) {
            // A client that is gone needs no notification; ignore the error.
            let _ = session.inject(Direction::ToClient, &line);
        }
    }
}

fn write(bytes: Bytes) -> QueuedWrite<Receipt> {
    QueuedWrite::plain(bytes)
}

fn pipe() -> Result<(PipeReader, PipeWriter), SpawnError> {
    io::pipe().map_err(|source| SpawnError::Failed { command: "a pipe".into(), source })
}
