//! The running engine: its sessions, and what it does when it is told.

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
use crate::intercept::{Breakpoints, Chain, Interceptor, Verdict};
use crate::log::Log;
use crate::log::operation::Correlation;
use crate::log::record::{Body, Channel, Exit, Level, Note, Opened, SessionId};
use crate::mcp::{Direction, Era};
use crate::session::SessionError;
use crate::session::{Form, Lane, Scope, Session};
use crate::stdio::drive::{self, Threads};
use crate::stdio::lifecycle::ClientWatch;
use crate::stdio::link::{End, Server};
use crate::stdio::multiplex::Multiplexer;
use crate::stdio::multiplex::id_map::ClientId;
use crate::stdio::restart::RestartableServer;
use crate::transport::WriterQueue;
use crate::transport::child::{Ended, Process, Spec};
use crate::transport::http::Cleaner;
use tokio::sync::mpsc;

/// How a host treats what passes.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// Lines over this many bytes are not inspected.
    pub inspect_limit: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self { inspect_limit: 16 << 20 }
    }
}

/// The priority of breakpoints: below rules, so that a person sees what rules made of a frame.
const BREAKPOINTS: i32 = -100;
/// The directory name of our own ids: `sc-<chance>-<n>`.
const OWN_ID: &str = "sc";

/// Everything that runs behind an [`Engine`] handle.
pub struct Host {
    log: Arc<Log>,
    settings: Settings,
    breakpoints: Arc<Breakpoints>,
    chain: Chain,
    sessions: Mutex<BTreeMap<SessionId, SessionEntry>>,
    opened: AtomicU32,
    operations: Arc<AtomicU32>,
    injected: AtomicU32,
    /// Makes ids of ours unlike those of any other run.
    chance: String,
    runtime: Handle,
    cleaner: Cleaner,
    /// Since when nobody is there who could decide.
    alone: Mutex<Stamp>,
    /// Nothing is started any more.
    ending: AtomicBool,
}

/// A session and what is behind it.
#[derive(Clone)]
struct SessionEntry {
    session: Arc<Session>,
    backend: Backend,
}

/// What a session is connected to, as far as commands need it. All fields are empty for an HTTP
/// session of a foreign client.
#[derive(Clone, Default)]
pub struct Backend {
    /// The newest process of a stdio server.
    pub process: Option<Process>,
    /// The built-in client, where it is the session's client.
    pub client: Option<Arc<Client>>,
    /// Restarts the server.
    pub restart: Option<RestartServer>,
    /// What other clients can share the server through, once its handshake is done.
    pub shared: Option<SharedServer>,
}

impl Backend {
    /// Drops what only a running session needs.
    pub fn close(&mut self) {
        self.client = None;
        self.shared = None;
    }
}

/// Restarts a server, or says why it cannot be restarted.
pub type RestartServer = Arc<dyn Fn() -> Result<(), String> + Send + Sync>;

/// A server that other clients can share.
#[derive(Clone)]
pub struct SharedServer {
    pub multiplexer: Arc<Multiplexer>,
    pub process: Process,
    /// The era that it speaks.
    pub era: Era,
}

// === impl Host ===

impl Host {
    /// An engine without sessions, and the handle on it. Commands are served until every handle
    /// is gone.
    pub fn start(log: Arc<Log>, settings: Settings) -> (Arc<Self>, Engine) {
        let breakpoints = Breakpoints::new();
        let chain = Chain::default().with(BREAKPOINTS, Arc::clone(&breakpoints) as Arc<dyn Interceptor>);
        let (engine, requests) = Engine::new(Arc::clone(&log), breakpoints.watch());
        let chance = uuid::Uuid::now_v7().simple().to_string();
        let host = Arc::new(Self {
            log,
            settings,
            breakpoints,
            chain,
            sessions: Mutex::default(),
            opened: AtomicU32::new(0),
            operations: Arc::default(),
            injected: AtomicU32::new(0),
            chance: chance[26..].to_owned(),
            runtime: Handle::current(),
            cleaner: Cleaner::new(),
            alone: Mutex::default(),
            ending: AtomicBool::new(false),
        });
        tokio::spawn(Arc::clone(&host).serve(requests));
        tokio::spawn(unattended::mind(Arc::downgrade(&host)));
        (host, engine)
    }

    pub fn log(&self) -> &Arc<Log> {
        &self.log
    }

    /// Keeps secrets out of the log.
    pub fn cleaner(&self) -> &Cleaner {
        &self.cleaner
    }

    pub fn breakpoints(&self) -> &Arc<Breakpoints> {
        &self.breakpoints
    }

    /// Opens a session without any lanes.
    pub fn open(&self, opened: Opened) -> Arc<Session> {
        let id = SessionId(self.opened.fetch_add(1, Ordering::Relaxed) + 1);
        let sessions: Arc<std::sync::OnceLock<std::sync::Weak<Session>>> = Arc::default();
        let (runtime, own) = (self.runtime.clone(), Arc::clone(&sessions));
        let later = Box::new(move |seq, verdict: std::pin::Pin<Box<dyn Future<Output = Verdict> + Send>>| {
            let session = own.get().and_then(std::sync::Weak::upgrade);
            runtime.spawn(async move {
                let verdict = verdict.await;
                if let Some(session) = session {
                    // It may have been decided by someone else or withdrawn meanwhile.
                    let _ = session.decide(seq, "later", verdict);
                }
            });
        });
        let (log, chain) = (Arc::clone(&self.log), self.chain.clone());
        let session = Session::open(id, opened, log, chain, Arc::clone(&self.operations), later);
        let _ = sessions.set(Arc::downgrade(&session));
        let entry = SessionEntry { session: Arc::clone(&session), backend: Backend::default() };
        self.sessions.lock().insert(id, entry);
        session
    }

    /// Opens a session between `client` and a stdio server. Its stderr goes on to `stderr`.
    ///
    /// # Errors
    /// When no threads can be started.
    pub fn open_stdio(
        &self,
        name: &str,
        spec: &Spec,
        server: impl Into<Server>,
        client: End,
        stderr: Box<dyn Write + Send>,
        own_client: bool,
    ) -> io::Result<(Arc<Session>, Threads)> {
        let server: Server = server.into();
        let session = self.open(self.opened(name, spec, &server.process, own_client));
        let mut threads = self.join(&session, client, server.end)?;
        let lane = Lane {
            direction: Direction::ToClient,
            channel: Channel::Stderr,
            forward: Arc::new(WriterQueue::new(stderr)),
            back: None,
            scope: Scope::Session,
            form: Form::Line,
            correlation: Correlation::None,
            open_to_us: false,
        };
        let lane = session.open_lane(lane);
        let limit = self.settings.inspect_limit;
        threads.from_stderr = Some(drive::read_lane(Arc::clone(&session), lane, server.stderr, limit)?);
        self.update_backend(session.id(), |backend| backend.process = Some(server.process));
        Ok((session, threads))
    }

    /// Opens a session between another `client` and a server that runs already.
    ///
    /// # Errors
    /// When no threads can be started.
    pub fn open_shared(
        &self,
        name: &str,
        spec: &Spec,
        shared: &SharedServer,
        client: End,
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

    /// Connects two ends with a lane each way.
    ///
    /// # Errors
    /// When no threads can be started.
    pub fn join(&self, session: &Arc<Session>, client: End, server: End) -> io::Result<Threads> {
        let to_server = Arc::new(WriterQueue::into(server.sink));
        let to_client = Arc::new(WriterQueue::into(client.sink));
        let there = session.open_lane(Lane::of_lines(Direction::ToServer, &to_server, &to_client));
        let back = session.open_lane(Lane::of_lines(Direction::ToClient, &to_client, &to_server));
        let limit = self.settings.inspect_limit;
        Ok(Threads {
            pumps: vec![
                drive::pump(Arc::clone(session), to_server)?,
                drive::pump(Arc::clone(session), to_client)?,
            ],
            from_client: drive::read_lane(Arc::clone(session), there, client.source, limit)?,
            from_server: drive::read_lane(Arc::clone(session), back, server.source, limit)?,
            from_stderr: None,
        })
    }

    /// Changes what is behind a session; does nothing where the session is gone.
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
    ) -> Ended {
        let (restarted, runtime) = (Arc::clone(server), self.runtime.clone());
        self.update_backend(session.id(), |backend| {
            backend.restart =
                Some(Arc::new(move || restarted.restart(&runtime).map_err(|error| error.to_string())));
        });
        let replaced = |process| {
            self.update_backend(session.id(), |backend| backend.process = Some(process));
        };
        server.until_end(session, threads, client, signals, replaced).await
    }

    /// The server that other clients can share: the last that was started and greeted, and runs.
    pub fn shared(&self) -> Option<SharedServer> {
        let sessions = self.sessions.lock();
        let mut running = sessions.values().rev().filter(|entry| !entry.session.is_closed());
        running.find_map(|entry| entry.backend.shared.clone())
    }

    /// Adds a remark of the engine to the log.
    pub fn note(&self, session: SessionId, level: Level, text: impl Into<String>) {
        let note = Note { frame: None, mark: None, level, by: "shadowcat".into(), text: text.into() };
        self.log.append(session, Body::Note(note));
    }

    /// Closes the way to every server: the first step of the shutdown that every revision names.
    /// Nothing is started after that.
    pub fn hang_up(&self) {
        self.ending.store(true, Ordering::Release);
        for running in self.sessions.lock().values_mut() {
            running.session.hang_up();
            running.backend.client = None;
        }
    }

    pub fn is_ending(&self) -> bool {
        self.ending.load(Ordering::Acquire)
    }

    /// Forgets a session that is over.
    pub fn remove_session(&self, session: SessionId) {
        self.sessions.lock().remove(&session);
    }

    pub fn settings(&self) -> Settings {
        self.settings
    }

    /// Waits until every session is closed, or `patience` is over.
    pub async fn closed(&self, patience: Duration) {
        let step = Duration::from_millis(5);
        let mut waited = Duration::ZERO;
        let open = || self.sessions.lock().values().any(|running| !running.session.is_closed());
        while waited < patience && open() {
            tokio::time::sleep(step).await;
            waited += step;
        }
    }

    /// Drops everything that is held.
    pub fn drop_all(&self, why: &str) {
        self.breakpoints.hold_everything(false);
        for running in self.sessions.lock().values() {
            running.session.drop_all(why);
        }
    }

    /// Whether a server runs.
    pub fn is_running(&self) -> bool {
        self.processes().iter().any(|process| process.ended().is_none())
    }

    /// Every server process that was started and may still run.
    pub fn processes(&self) -> Vec<Process> {
        self.sessions.lock().values().filter_map(|entry| entry.backend.process.clone()).collect()
    }
}

impl From<SessionError> for Refusal {
    fn from(refused: SessionError) -> Self {
        Self(refused.to_string())
    }
}

impl From<Ended> for Exit {
    fn from(ended: Ended) -> Self {
        match ended {
            Ended::Code(code) => Self::Code(code),
            Ended::Signal(signal) => Self::Signal(signal),
        }
    }
}
