//! The running engine: it opens sessions and carries out commands.

mod commands;
pub mod launch;
mod unattended;

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use std::time::Duration;

use nix::sys::signal::Signal;
use parking_lot::Mutex;
use tokio::runtime::Handle;

use crate::client::Client;
use crate::clock::Stamp;
use crate::engine::{Engine, Refusal};
use crate::intercept::{Breakpoints, Chain, Controllers, SharedChain};
use crate::log::Log;
use crate::log::operation::Correlation;
use crate::log::record::{Body, Channel, Exit, Level, Note, Opened, SessionId};
use crate::mcp::{Direction, Era};
use crate::session::SessionError;
use crate::session::{Hooks, Lane, LaneForm, Scope, Session};
use crate::stdio::drive::{self, LineLimits, Threads};
use crate::stdio::lifecycle::ClientWatch;
use crate::stdio::link::{LinkEnd, StartedServer};
use crate::stdio::multiplex::Multiplexer;
use crate::stdio::multiplex::attribution::ClientId;
use crate::stdio::restart::{RestartError, RestartableServer};
use crate::transport::WriterQueue;
use crate::transport::child::{Process, ProcessExit, Spec};
use crate::transport::http::Cleaner;
use tokio::sync::mpsc;
use tracing::Instrument;

/// Settings of a host.
#[derive(Clone)]
pub struct Settings {
    /// Maximum length in bytes of a line that is inspected; longer lines stream through.
    pub inspect_limit: usize,
    /// Time after which the bytes of an unfinished line go on; `None` keeps them until the line ends.
    pub line_pause: Option<Duration>,
    /// Breakpoints that commands set. They hold frames only if they are also an interceptor of the chain.
    pub breakpoints: Arc<Breakpoints>,
}

impl Settings {
    /// Default of [`Settings::inspect_limit`], in bytes.
    pub const INSPECT_LIMIT: usize = 16 << 20;
    /// Default of [`Settings::line_pause`]: longer than the gaps inside of a message, and shorter than a person
    /// notices.
    pub const LINE_PAUSE: Duration = Duration::from_millis(100);
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            inspect_limit: Self::INSPECT_LIMIT,
            line_pause: Some(Self::LINE_PAUSE),
            breakpoints: Breakpoints::new(),
        }
    }
}

/// Prefix of the ids of our own requests: `sc-<random>-<number>`.
const OWN_ID: &str = "sc";

/// The running engine behind an [`Engine`] handle.
pub struct Host {
    log: Arc<Log>,
    settings: Settings,
    chain: Arc<SharedChain>,
    sessions: Mutex<BTreeMap<SessionId, SessionEntry>>,
    opened: AtomicU32,
    operations: Arc<AtomicU32>,
    injected: AtomicU32,
    /// Random part of our request ids, so that they differ from those of other runs.
    random: String,
    hooks: Hooks,
    runtime: Handle,
    cleaner: Cleaner,
    /// Time at which the last controller detached.
    unattended_since: Mutex<Stamp>,
    /// Set when the engine ends: no server is started any more.
    ending: AtomicBool,
}

/// A session and its backend.
#[derive(Clone)]
struct SessionEntry {
    session: Arc<Session>,
    backend: Backend,
}

/// Peers of a session, as far as commands need them. All fields are `None` for an HTTP session of
/// another program's client.
#[derive(Clone, Default)]
pub struct Backend {
    /// Newest process of a stdio server.
    pub process: Option<Process>,
    /// Built-in client, if it is the client of the session.
    pub client: Option<Arc<Client>>,
    /// Restarts the server, if it can be restarted.
    pub restart: Option<RestartServer>,
    /// Server that other clients can share, once its handshake is done.
    pub shared: Option<SharedServer>,
}

impl Backend {
    /// Drops the parts that only an open session needs.
    pub fn close(&mut self) {
        self.client = None;
        self.shared = None;
    }
}

/// Function that restarts a server, or returns the reason why the server cannot be restarted.
pub type RestartServer = Arc<dyn Fn() -> Result<(), RestartError> + Send + Sync>;

/// A server that other clients can share.
#[derive(Clone)]
pub struct SharedServer {
    /// Multiplexer between the server and its clients.
    pub multiplexer: Arc<Multiplexer>,
    /// Process of the server.
    pub process: Process,
    /// Era that the server speaks.
    pub era: Era,
}

// === impl Host ===

impl Host {
    /// Starts an engine without sessions, whose frames will pass through `chain`, and returns it with its
    /// handle. Commands are served until every handle is dropped.
    ///
    /// # Panics
    /// Panics outside a Tokio runtime.
    pub fn start(log: Arc<Log>, settings: Settings, chain: Chain) -> (Arc<Self>, Engine) {
        let (engine, requests) = Engine::new(Arc::clone(&log), settings.breakpoints.watch());
        let random = uuid::Uuid::now_v7().simple().to_string();
        let runtime = Handle::current();
        let (spawner, shown) = (runtime.clone(), Arc::clone(&settings.breakpoints));
        let hooks = Hooks {
            spawn: Arc::new(move |task| drop(spawner.spawn(task))),
            held: Arc::new(tokio::sync::Notify::new()),
            amended: Arc::new(move |frame, text| shown.show_amended(frame, text)),
        };
        let host = Arc::new(Self {
            log,
            settings,
            chain: SharedChain::new(chain),
            sessions: Mutex::default(),
            opened: AtomicU32::new(0),
            operations: Arc::default(),
            injected: AtomicU32::new(0),
            random: random[26..].to_owned(),
            hooks,
            runtime,
            cleaner: Cleaner::new(),
            unattended_since: Mutex::default(),
            ending: AtomicBool::new(false),
        });
        let span = tracing::info_span!("engine", pid = std::process::id());
        tokio::spawn(Arc::clone(&host).serve(requests).instrument(span.clone()));
        tokio::spawn(unattended::release_overdue_frames(Arc::downgrade(&host)).instrument(span));
        (host, engine)
    }

    /// Returns the log of the engine.
    pub fn log(&self) -> &Arc<Log> {
        &self.log
    }

    /// Returns the cleaner that keeps secrets out of the log.
    pub fn cleaner(&self) -> &Cleaner {
        &self.cleaner
    }

    /// Returns the breakpoints.
    pub fn breakpoints(&self) -> &Arc<Breakpoints> {
        &self.settings.breakpoints
    }

    /// Returns the controllers.
    pub fn controllers(&self) -> &Arc<Controllers> {
        self.settings.breakpoints.controllers()
    }

    /// Returns the chain in force, which can be replaced while sessions run.
    pub fn chain(&self) -> &Arc<SharedChain> {
        &self.chain
    }

    /// Opens a session without any lanes.
    pub fn open(&self, opened: Opened) -> Arc<Session> {
        let id = SessionId(self.opened.fetch_add(1, Ordering::Relaxed) + 1);
        let session = Session::open(
            id,
            opened,
            Arc::clone(&self.log),
            Arc::clone(&self.chain),
            Arc::clone(&self.operations),
            self.hooks.clone(),
        );
        let entry = SessionEntry { session: Arc::clone(&session), backend: Backend::default() };
        self.sessions.lock().insert(id, entry);
        session
    }

    /// Opens a session between `client` and a stdio server, whose stderr is forwarded to `stderr`.
    /// `own_client` records that the client is the built-in one.
    ///
    /// # Errors
    /// Fails if a thread cannot be started.
    pub fn open_stdio(
        &self,
        name: &str,
        spec: &Spec,
        server: impl Into<StartedServer>,
        client: LinkEnd,
        stderr: Box<dyn Write + Send>,
        own_client: bool,
    ) -> io::Result<(Arc<Session>, Threads)> {
        let server: StartedServer = server.into();
        let session = self.open(self.opened(name, spec, &server.process, own_client));
        let mut threads = self.join(&session, client, server.end)?;
        let lane = Lane {
            direction: Direction::ToClient,
            channel: Channel::Stderr,
            forward: Arc::new(WriterQueue::new(stderr)),
            back: None,
            scope: Scope::Session,
            form: LaneForm::Line,
            correlation: Correlation::None,
            open_to_us: false,
        };
        let lane = session.open_lane(lane);
        // What a server says on stderr goes on at once: nobody holds or changes it.
        let limits = LineLimits { pause: Some(Duration::ZERO), ..self.line_limits() };
        threads.from_stderr = Some(drive::read_lane(Arc::clone(&session), lane, server.stderr, limits)?);
        self.update_backend(session.id(), |backend| backend.process = Some(server.process));
        Ok((session, threads))
    }

    /// Opens a session between a further `client` and a server that runs already. Returns the client's id
    /// at the multiplexer.
    ///
    /// # Errors
    /// Fails if a thread cannot be started.
    pub fn open_shared(
        &self,
        name: &str,
        spec: &Spec,
        shared: &SharedServer,
        client: LinkEnd,
    ) -> io::Result<(ClientId, Arc<Session>, Threads)> {
        let session = self.open(self.opened(name, spec, &shared.process, false));
        let (member, server) = shared.multiplexer.join(&session);
        let threads = self.join(&session, client, server)?;
        let owns = |entry: &&SessionEntry| {
            let other = entry.backend.shared.as_ref();
            other.is_some_and(|other| Arc::ptr_eq(&other.multiplexer, &shared.multiplexer))
        };
        let owner = self.sessions.lock().values().find(owns).cloned();
        self.update_backend(session.id(), |backend| {
            backend.restart = owner.and_then(|owner| owner.backend.restart);
        });
        Ok((member, session, threads))
    }

    fn opened(&self, name: &str, spec: &Spec, process: &Process, own_client: bool) -> Opened {
        let directory = spec.directory.clone().or_else(|| std::env::current_dir().ok());
        Opened {
            name: name.to_owned(),
            target: self.cleaner.command(&spec.command),
            directory: directory.map(|directory| directory.display().to_string()),
            pid: Some(process.id()),
            own_client,
        }
    }

    fn line_limits(&self) -> LineLimits {
        LineLimits {
            bytes: self.settings.inspect_limit,
            pause: self.settings.line_pause,
            told_after: Settings::LINE_PAUSE,
        }
    }

    /// Connects two ends with a lane in each direction.
    ///
    /// # Errors
    /// Fails if a thread cannot be started.
    pub fn join(&self, session: &Arc<Session>, client: LinkEnd, server: LinkEnd) -> io::Result<Threads> {
        let to_server = Arc::new(WriterQueue::into(server.sink));
        let to_client = Arc::new(WriterQueue::into(client.sink));
        let there = session.open_lane(Lane::of_lines(Direction::ToServer, &to_server, &to_client));
        let back = session.open_lane(Lane::of_lines(Direction::ToClient, &to_client, &to_server));
        let limits = self.line_limits();
        Ok(Threads {
            pumps: vec![
                drive::pump(Arc::clone(session), to_server)?,
                drive::pump(Arc::clone(session), to_client)?,
            ],
            from_client: drive::read_lane(Arc::clone(session), there, client.source, limits)?,
            from_server: drive::read_lane(Arc::clone(session), back, server.source, limits)?,
            from_stderr: None,
        })
    }

    /// Changes the backend of a session, unless the session was removed.
    pub fn update_backend(&self, session: SessionId, change: impl FnOnce(&mut Backend)) {
        if let Some(entry) = self.sessions.lock().get_mut(&session) {
            change(&mut entry.backend);
        }
    }

    /// Waits until a restartable server has ended for good, and lets commands restart it meanwhile.
    pub async fn run_restartable(
        &self,
        server: &Arc<RestartableServer>,
        session: &Arc<Session>,
        threads: &Threads,
        client: Option<&ClientWatch>,
        signals: &mut mpsc::Receiver<Signal>,
    ) -> ProcessExit {
        let (restarted, runtime) = (Arc::clone(server), self.runtime.clone());
        self.update_backend(session.id(), |backend| {
            backend.restart = Some(Arc::new(move || restarted.restart(&runtime)));
        });
        let replaced = |process| {
            self.update_backend(session.id(), |backend| backend.process = Some(process));
        };
        server.until_end(session, threads, client, signals, replaced).await
    }

    /// Returns the server that other clients can share: the newest one of an open session whose handshake is
    /// done.
    pub fn shared(&self) -> Option<SharedServer> {
        let sessions = self.sessions.lock();
        let mut running = sessions.values().rev().filter(|entry| !entry.session.is_closed());
        running.find_map(|entry| entry.backend.shared.clone())
    }

    /// Adds a note of the engine to the log.
    pub fn note(&self, session: SessionId, level: Level, text: impl Into<String>) {
        let note = Note { frame: None, mark: None, level, by: "shadowcat".into(), text: text.into() };
        self.log.append(session, Body::Note(note));
    }

    /// Closes the input of every server, the first step of the stdio shutdown in every revision
    /// (2025-11-25, basic/lifecycle). No server is started after that.
    pub fn close_inputs(&self) {
        self.ending.store(true, Ordering::Release);
        for running in self.sessions.lock().values_mut() {
            running.session.close_input();
            running.backend.client = None;
        }
    }

    /// Returns `true` once [`Host::close_inputs`] was called.
    pub fn is_ending(&self) -> bool {
        self.ending.load(Ordering::Acquire)
    }

    /// Removes a session that has ended.
    pub fn remove_session(&self, session: SessionId) {
        self.sessions.lock().remove(&session);
    }

    /// Returns the settings.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Waits until every session is closed, at most for `patience`.
    pub async fn closed(&self, patience: Duration) {
        let step = Duration::from_millis(5);
        let mut waited = Duration::ZERO;
        let open = || self.sessions.lock().values().any(|running| !running.session.is_closed());
        while waited < patience && open() {
            tokio::time::sleep(step).await;
            waited += step;
        }
    }

    fn open_sessions(&self) -> Vec<Arc<Session>> {
        self.sessions.lock().values().map(|entry| Arc::clone(&entry.session)).collect()
    }

    /// Drops every frame that waits, for the reason `why`, and stops holding every new frame.
    pub fn drop_all(&self, why: &str) {
        self.breakpoints().hold_everything(false);
        for running in self.sessions.lock().values() {
            running.session.drop_all(why);
        }
    }

    /// Returns `true` if a server process runs.
    pub fn is_running(&self) -> bool {
        self.processes().iter().any(|process| process.ended().is_none())
    }

    /// Returns the newest server process of every session. Some may have ended.
    pub fn processes(&self) -> Vec<Process> {
        self.sessions.lock().values().filter_map(|entry| entry.backend.process.clone()).collect()
    }
}

impl From<SessionError> for Refusal {
    fn from(refused: SessionError) -> Self {
        Self(refused.to_string())
    }
}

impl From<ProcessExit> for Exit {
    fn from(ended: ProcessExit) -> Self {
        match ended {
            ProcessExit::Code(code) => Self::Code(code),
            ProcessExit::Signal(signal) => Self::Signal(signal),
        }
    }
}
