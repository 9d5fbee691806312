//! A server process that another can take the place of, while its client stays: the streams that a
//! session has of it go on with those of the new one.
//!
//! A new process of 2025 is greeted as its client greeted the first one, and its answer goes to nobody,
//! since the client has one (2025-11-25, basic/lifecycle). What the old one owed is answered with an
//! error, and what it asked is taken back.
//!
//! Nothing is read or written while the state is locked: a server that does not read its input must not
//! keep anybody from ending it.

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

use self::parts::{Greeting, Input, Output};
use self::streams::{Source, Stderr, Stdin};
use super::lifecycle::TERM_GRACE;
use crate::log::record::{Level, Seq};
use crate::mcp::{Direction, Id, Message, compose};
use crate::session::{Receipt, Session};
use crate::stdio::link::{self, Server};
use crate::transport::QueuedWrite;
use crate::transport::child::{Child, Process, SpawnError, Spec};

/// Where a server process is mounted.
pub struct RestartableServer {
    spec: Spec,
    /// It stays when the server ends by itself.
    stays: bool,
    session: OnceLock<Weak<Session>>,
    state: Mutex<State>,
    changed: Condvar,
    /// A [`Reading`].
    reading: AtomicU8,
}

struct State {
    phase: Phase,
    process: Process,
    /// Counts the processes.
    generation: u32,
    input: Arc<Input>,
    /// The streams of a new process, until they are read.
    output: Option<Output>,
    errors: Option<Output>,
    /// Whoever reads the streams of the process looks up when this is dropped.
    waker: Option<PipeWriter>,
    greeting: Greeting,
    /// What was written to the process, by frame.
    written: BTreeSet<Seq>,
    /// How many of them are remembered before they are compared with what is unanswered.
    remembers: usize,
    /// What was said before the process was there is no business of its.
    since: Seq,
}

/// What becomes of what a process says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reading {
    /// It is passed on.
    Busy,
    /// Nothing is there.
    Idle,
    /// Nothing more comes.
    Drained,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Phase {
    Up,
    /// The process is ended, and another started.
    Restarting,
    /// The answer to this is awaited, and goes to nobody.
    Greeting(Id),
    /// There is no process, for this reason.
    Down(String),
    Over,
}

/// Why a server is not started again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RestartError {
    #[error("it is being started again already")]
    Already,
    #[error("its session is over")]
    Over,
}

/// Frames that are remembered to have been written, at least.
const MIN_REMEMBERED: usize = 4096;
/// How often it is looked whether something has happened.
const POLL_INTERVAL: Duration = Duration::from_millis(10);
/// A greeting is short; a longer line is none.
const MAX_GREETING_BYTES: usize = 1 << 20;
/// How long a new process may take to answer its greeting before it is spoken to all the same.
const GREETING_TIMEOUT: Duration = Duration::from_secs(30);

// === impl RestartableServer ===

impl RestartableServer {
    /// Starts a server. With `stays` its place is kept when it ends by itself.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(spec: &Spec, stays: bool) -> Result<(Arc<Self>, Server), SpawnError> {
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
                input: Input::new(stdin),
                output: Some(Output { stream: stdout, wake: Arc::clone(&wake) }),
                errors: Some(Output { stream: stderr, wake }),
                waker: Some(waker),
                greeting: Greeting::default(),
                written: BTreeSet::new(),
                remembers: MIN_REMEMBERED,
                since: 0,
            }),
            changed: Condvar::new(),
            reading: AtomicU8::new(Reading::Idle as u8),
        });
        let source = Source::new(&server);
        let stderr = Stderr::new(&server);
        let end = link::End { source: Box::new(source), sink: Box::new(Stdin(Arc::clone(&server))) };
        Ok((server, Server { process, end, stderr: Box::new(stderr) }))
    }

    /// Makes `session` the one that what happens here is recorded in.
    pub fn bind(&self, session: &Arc<Session>) {
        // There is only one.
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

    /// Goes on to a phase, unless everything is over.
    fn turn(&self, phase: Phase) {
        let mut state = self.state.lock();
        if state.phase != Phase::Over {
            state.phase = phase;
        }
        self.changed.notify_all();
    }

    /// Begins to end the process, if it runs, and to start another in its place.
    ///
    /// # Errors
    /// [`RestartError`].
    pub fn restart(self: &Arc<Self>, runtime: &Handle) -> Result<(), RestartError> {
        let old = {
            let mut state = self.state.lock();
            match state.phase {
                Phase::Up | Phase::Greeting(_) | Phase::Down(_) => state.phase = Phase::Restarting,
                Phase::Restarting => return Err(RestartError::Already),
                Phase::Over => return Err(RestartError::Over),
            }
            let input = std::mem::replace(&mut state.input, Input::none());
            (state.process.clone(), input)
        };
        runtime.spawn(Arc::clone(self).replace(old));
        Ok(())
    }

    async fn replace(self: Arc<Self>, (old, input): (Process, Arc<Input>)) {
        // As it would end with its client: its input ends first.
        input.close();
        if tokio::time::timeout(TERM_GRACE, old.wait()).await.is_err() {
            old.terminate(TERM_GRACE).await;
        }
        self.drained().await;
        let owes_greeting = self.settle("the server was started again before it answered", true);
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
        let text = format!("the server could not be started again: {error}");
        self.note(Level::Error, text.clone());
        self.turn(if self.stays { Phase::Down(text) } else { Phase::Over });
    }

    /// Puts a new process in the place of the one that was.
    async fn server(self: &Arc<Self>, child: Child, (wake, waker): (PipeReader, PipeWriter), owes: bool) {
        let Child { process, stdin, stdout, stderr } = child;
        let (number, wake) = (process.id(), Arc::new(wake));
        let (input, line, generation) = {
            let mut state = self.state.lock();
            if state.phase == Phase::Over {
                return;
            }
            state.process = process;
            state.generation += 1;
            state.input = Input::new(stdin);
            state.output = Some(Output { stream: stdout, wake: Arc::clone(&wake) });
            state.errors = Some(Output { stream: stderr, wake });
            // Whoever still reads the old one lets it go.
            state.waker = Some(waker);
            self.reading.store(Reading::Idle as u8, Ordering::Relaxed);
            state.since = self.session().map_or(0, |session| session.last());
            let line = state.greeting.initialize.as_ref().map(|(line, _)| line.clone());
            let id = line.as_ref().and_then(|line| Message::parse(line.clone()).id().cloned());
            state.phase = match id {
                Some(id) if !owes => Phase::Greeting(id),
                _ => Phase::Up,
            };
            (Arc::clone(&state.input), line, state.generation)
        };
        let greets = line.is_some();
        if let Some(line) = line {
            // It may not read; whoever waits for its answer gives up in time.
            tokio::task::spawn_blocking(move || drop(input.write_batch(&[write(line)])));
        }
        self.changed.notify_all();
        if let Some(session) = self.session() {
            session.reopen(Some(number));
        }
        let greeted = if greets { ", and greeted as its client did" } else { "" };
        self.note(Level::Info, format!("the server was started again as process {number}{greeted}"));
        let (server, this) = (Arc::downgrade(self), generation);
        tokio::spawn(async move {
            tokio::time::sleep(GREETING_TIMEOUT).await;
            if let Some(server) = server.upgrade() {
                server.give_up_greeting(this);
            }
        });
    }

    /// A new process that does not answer its greeting is spoken to all the same.
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

    /// Waits until what the old process said was passed on, however slowly its client reads. Something
    /// that left its group can keep its output open for ever; what it says then goes nowhere.
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

    /// Answers in the place of a process what it was asked and will not answer, and takes back what it
    /// asked. Returns whether its greeting is among what it owes, where another process is to answer that.
    fn settle(&self, why: &str, is_replaced: bool) -> bool {
        let Some(session) = self.session() else { return false };
        let (written, initialize) = {
            let mut state = self.state.lock();
            let initialize = state.greeting.initialize.as_ref().map(|(_, frame)| *frame);
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
                // Its client has to greet again.
                self.state.lock().greeting = Greeting::default();
            }
            session.fail(request, why);
        }
        session.take_back(Direction::ToClient, why);
        owes_greeting
    }

    /// Whether another process has taken the place of this one, or is about to.
    fn is_replaced(&self, generation: u32) -> bool {
        let state = self.state.lock();
        state.generation != generation || state.phase == Phase::Restarting
    }

    /// Waits until there is somebody to write to.
    fn writable(&self) -> MutexGuard<'_, State> {
        let mut state = self.state.lock();
        while matches!(state.phase, Phase::Restarting | Phase::Greeting(_)) {
            self.changed.wait(&mut state);
        }
        state
    }

    /// The stream that comes after one that has ended; none when the session is over. `take` takes it
    /// out of the state.
    fn following<T>(&self, take: impl Fn(&mut State) -> Option<T>) -> Option<T> {
        let mut state = self.state.lock();
        loop {
            if let Some(next) = take(&mut state) {
                return Some(next);
            }
            match state.phase {
                Phase::Restarting | Phase::Down(_) => {}
                // It may have ended, which is not known yet.
                Phase::Up | Phase::Greeting(_) if self.stays => {}
                Phase::Up | Phase::Greeting(_) | Phase::Over => return None,
            }
            self.changed.wait(&mut state);
        }
    }

    /// The new process has answered its greeting.
    fn greeted(&self, answer: &Message) {
        let (input, initialized) = {
            let state = self.state.lock();
            (Arc::clone(&state.input), state.greeting.initialized.clone())
        };
        if let Some(line) = initialized {
            // Its input holds nothing else yet. One that is gone again is noticed by whoever reads it.
            let _ = input.write_batch(&[write(line)]);
        }
        self.turn(Phase::Up);
        if answer.is_error() {
            let text = String::from_utf8_lossy(answer.body()).into_owned();
            self.note(Level::Error, format!("the new server refused how it was greeted: {text}"));
            return;
        }
        let Some(session) = self.session() else { return };
        for (list, method) in [
            ("tools", "notifications/tools/list_changed"),
            ("prompts", "notifications/prompts/list_changed"),
            ("resources", "notifications/resources/list_changed"),
        ] {
            // What the new one has to offer may be something else.
            if answer.outcome(&["capabilities", list, "listChanged"]) == Some(b"true") {
                let line = compose::notification(method, None);
                // A client that is gone needs no news.
                let _ = session.inject(Direction::ToClient, &line);
            }
        }
    }
}

fn write(bytes: Bytes) -> QueuedWrite<Receipt> {
    QueuedWrite { bytes, receipt: None, piece: None }
}

fn pipe() -> Result<(PipeReader, PipeWriter), SpawnError> {
    io::pipe().map_err(|source| SpawnError::Failed { command: "a pipe".into(), source })
}
