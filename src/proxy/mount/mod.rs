//! A server process that another can take the place of, while its client stays: the streams that a
//! session has of it go on with those of the new one.
//!
//! A new process of 2025 is greeted as its client greeted the first one, and its answer goes to nobody,
//! since the client has one (2025-11-25, basic/lifecycle). What the old one owed is answered with an
//! error.

mod streams;

use std::collections::BTreeSet;
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use bytes::Bytes;
use nix::sys::signal::Signal;
use parking_lot::{Condvar, Mutex, MutexGuard};
use tokio::runtime::Handle;
use tokio::sync::mpsc;

use self::streams::{Source, Stderr, Stdin};
use super::host::{Host, Threads};
use super::link::{self, Server};
use super::session::{Session, Ticket};
use super::supervise::{self, ClientWatch, End, PATIENCE};
use crate::log::record::{Exit, Level, Seq};
use crate::mcp::{Direction, Id, Message, compose};
use crate::transport::child::{Ended, Process, SpawnError, Spec};
use crate::transport::stdio::Blocking;
use crate::transport::{Parcel, Sink};

/// Where a server process is mounted.
pub struct Mount {
    spec: Spec,
    /// It stays when the server ends by itself.
    stays: bool,
    session: OnceLock<Weak<Session>>,
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    phase: Phase,
    process: Process,
    stdin: Option<Box<dyn Sink<Ticket>>>,
    /// The streams of a new process, until they are read.
    stdout: Option<Blocking>,
    stderr: Option<Blocking>,
    /// Everything that the process said was read.
    is_drained: bool,
    /// How the client greeted the server: `initialize`, and `notifications/initialized`.
    greeting: Vec<Bytes>,
    /// Whether more of the greeting may come.
    is_greeted: bool,
    /// What was written to the process, by frame.
    written: BTreeSet<Seq>,
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

/// How often it is looked whether something has happened.
const LOOK: Duration = Duration::from_millis(10);
/// A greeting is short; a longer line is none.
const LONGEST: usize = 1 << 20;

// === impl Mount ===

impl Mount {
    /// Starts a server. With `stays` its place is kept when it ends by itself.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(spec: &Spec, stays: bool) -> Result<(Arc<Self>, Server), SpawnError> {
        let child = spec.spawn()?;
        let process = child.process.clone();
        let mount = Arc::new(Self {
            spec: spec.clone(),
            stays,
            session: OnceLock::new(),
            state: Mutex::new(State {
                phase: Phase::Up,
                process: process.clone(),
                stdin: Some(Box::new(child.stdin)),
                stdout: None,
                stderr: None,
                is_drained: false,
                greeting: Vec::new(),
                is_greeted: false,
                written: BTreeSet::new(),
            }),
            changed: Condvar::new(),
        });
        let source = Source::new(&mount, child.stdout);
        let stderr = Stderr::new(&mount, child.stderr);
        let end = link::End { source: Box::new(source), sink: Box::new(Stdin(Arc::clone(&mount))) };
        Ok((mount, Server { process, end, stderr: Box::new(stderr) }))
    }

    /// Makes `session` the one that what happens here is recorded in.
    pub fn bind(&self, session: &Arc<Session>) {
        // There is only one.
        let _ = self.session.set(Arc::downgrade(session));
    }

    /// The process that runs, or ran last.
    pub fn process(&self) -> Process {
        self.state.lock().process.clone()
    }

    fn session(&self) -> Option<Arc<Session>> {
        self.session.get().and_then(Weak::upgrade)
    }

    fn note(&self, level: Level, text: String) {
        if let Some(session) = self.session() {
            session.note(None, level, text);
        }
    }

    fn turn(&self, phase: Phase) {
        self.state.lock().phase = phase;
        self.changed.notify_all();
    }

    /// Ends the process, if it runs, and starts another in its place.
    pub async fn restart(self: Arc<Self>) {
        let old = {
            let mut state = self.state.lock();
            if !matches!(state.phase, Phase::Up | Phase::Down(_)) {
                return;
            }
            state.phase = Phase::Restarting;
            // As it would end with its client: its input ends first.
            state.stdin = None;
            state.process.clone()
        };
        if tokio::time::timeout(PATIENCE, old.wait()).await.is_err() {
            old.terminate(PATIENCE).await;
        }
        self.drained().await;
        self.fail_unanswered("the server was started again before it answered");
        match self.spec.spawn() {
            Ok(child) => {
                let number = child.process.id();
                let mut state = self.state.lock();
                if state.phase == Phase::Over {
                    return;
                }
                state.process = child.process;
                state.stdin = Some(Box::new(child.stdin));
                (state.stdout, state.stderr) = (Some(child.stdout), Some(child.stderr));
                state.is_drained = false;
                state.phase = state.greet();
                let greeted = if state.phase == Phase::Up { "" } else { ", and greeted as its client had" };
                drop(state);
                self.changed.notify_all();
                self.note(Level::Info, format!("the server was started again as process {number}{greeted}"));
            }
            Err(error) => {
                let text = format!("the server could not be started again: {error}");
                self.note(Level::Error, text.clone());
                self.turn(if self.stays { Phase::Down(text) } else { Phase::Over });
            }
        }
    }

    /// Waits until what the old process said was read. Something that left its group can keep its
    /// output open for ever.
    async fn drained(&self) {
        const STEPS: u32 = 100;
        for _ in 0..STEPS {
            if self.state.lock().is_drained {
                return;
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Waits until the server has ended for good: those that are started in its place come and go.
    pub async fn until_end(
        self: &Arc<Self>,
        host: &Host,
        session: &Arc<Session>,
        threads: &Threads,
        client: Option<&ClientWatch>,
        signals: &mut mpsc::Receiver<Signal>,
    ) -> Ended {
        let again = (Arc::clone(self), Handle::current());
        host.restarts(session.id(), move || {
            let (mount, runtime) = &again;
            runtime.spawn(Arc::clone(mount).restart());
        });
        let mut process = self.process();
        loop {
            let End { ended, was_due } =
                supervise::until_end(session, &process, threads, client, signals).await;
            let next = match was_due {
                true => None,
                false => {
                    let left = supervise::until_unneeded(session, threads, client, signals);
                    self.next(&process, &Exit::from(ended).to_string(), left).await
                }
            };
            let Some(next) = next else {
                self.turn(Phase::Over);
                return ended;
            };
            host.replaced(session.id(), next.clone());
            process = next;
        }
    }

    /// A process has ended. Returns the one that takes its place, once that is there; none when the
    /// session is over. `left` is ready when nobody needs one any more.
    async fn next(&self, ended: &Process, how: &str, left: impl Future<Output = ()>) -> Option<Process> {
        let text = format!("the server {how}");
        if self.stays && self.falls(ended, &text) {
            self.drained().await;
            self.fail_unanswered(&text);
            self.note(
                Level::Warning,
                format!("{text}; its client stays, and Space s r or `shadowcat ctl restart` starts it again"),
            );
        }
        tokio::pin!(left);
        loop {
            {
                let state = self.state.lock();
                match state.phase {
                    Phase::Up | Phase::Greeting(_) if state.process.id() != ended.id() => {
                        return Some(state.process.clone());
                    }
                    Phase::Restarting | Phase::Down(_) => {}
                    Phase::Up | Phase::Greeting(_) | Phase::Over => break,
                }
            }
            tokio::select! {
                () = &mut left => break,
                () = tokio::time::sleep(LOOK) => {}
            }
        }
        None
    }

    /// There is no process any more, unless another has taken the place of this one, or is about to.
    fn falls(&self, process: &Process, why: &str) -> bool {
        let mut state = self.state.lock();
        let falls =
            matches!(state.phase, Phase::Up | Phase::Greeting(_)) && state.process.id() == process.id();
        if falls {
            state.phase = Phase::Down(why.to_owned());
            self.changed.notify_all();
        }
        falls
    }

    /// Answers in the place of the server what it was asked and will not answer.
    fn fail_unanswered(&self, why: &str) {
        let Some(session) = self.session() else { return };
        let written = std::mem::take(&mut self.state.lock().written);
        for request in session.unanswered(Direction::ToServer, &written) {
            session.fail(request, why);
        }
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
        let mut state = self.state.lock();
        let initialized = state.greeting.get(1).cloned();
        if let (Some(line), Some(stdin)) = (initialized, &mut state.stdin) {
            // One that is gone again is noticed by whoever reads it.
            let _ = stdin.take(&[parcel(line)]);
        }
        state.phase = Phase::Up;
        drop(state);
        self.changed.notify_all();
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

impl State {
    /// Greets a new process as the first one was, and says what is awaited then.
    fn greet(&mut self) -> Phase {
        let initialize = self.greeting.first().cloned();
        let id = initialize.as_ref().and_then(|line| Message::parse(line.clone()).id().cloned());
        let (Some(line), Some(id), Some(stdin)) = (initialize, id, &mut self.stdin) else { return Phase::Up };
        match stdin.take(&[parcel(line)]) {
            Ok(()) => Phase::Greeting(id),
            // It has ended already, which is noticed where it is waited for.
            Err(_) => Phase::Up,
        }
    }

    /// Keeps what a client greets its server with.
    fn learn(&mut self, parcel: &Parcel<Ticket>) {
        if self.is_greeted || parcel.piece.is_some() || parcel.bytes.len() > LONGEST {
            return;
        }
        let message = Message::parse(parcel.bytes.clone());
        match (message.method(), self.greeting.len()) {
            (Some("initialize"), 0) => self.greeting.push(parcel.bytes.clone()),
            (Some("notifications/initialized"), 1) => {
                self.greeting.push(parcel.bytes.clone());
                self.is_greeted = true;
            }
            // These may come before.
            (Some("ping" | "server/discover"), _) | (None, _) => {}
            (Some(_), 0) => self.is_greeted = true,
            (Some(_), _) => {}
        }
    }
}

fn parcel(bytes: Bytes) -> Parcel<Ticket> {
    Parcel { bytes, ticket: None, piece: None }
}
