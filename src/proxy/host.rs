//! The running engine: its sessions, and what it does when it is told.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::sync::mpsc;

use super::client::Client;
use super::drive;
use super::refused::Refused;
use super::session::{BY_PERSON, Form, Lane, Port, Scope, Session};
use crate::engine::{Command, Engine, Refusal, Reply, Request, Tell};
use crate::intercept::{Breakpoints, Chain, Interceptor, Outgoing, Verdict};
use crate::log::operation::Course;
use crate::log::query::Query;
use crate::log::record::{Body, Channel, Exit, Level, Note, Opened, Role, SessionId};
use crate::log::{Log, Seq};
use crate::mcp::{Direction, Id, Kind, Message, compose, json};
use crate::transport::child::{Child, Ended, Process, Spec};
use crate::transport::http::Cleaner;

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
    sessions: Mutex<BTreeMap<SessionId, Running>>,
    opened: AtomicU32,
    operations: Arc<AtomicU32>,
    injected: AtomicU32,
    /// Makes ids of ours unlike those of any other run.
    chance: String,
    runtime: Handle,
    cleaner: Cleaner,
    /// Nothing is started any more.
    ending: AtomicBool,
}

/// A session and what it stands on.
#[derive(Clone)]
struct Running {
    session: Arc<Session>,
    process: Option<Process>,
    client: Option<Arc<Client>>,
    /// How to start the server again.
    again: Option<Arc<dyn Fn() + Send + Sync>>,
}

/// One end of a two-lane link: what we read from a peer and write to it.
pub struct End {
    pub source: Box<dyn Read + Send>,
    pub sink: Box<dyn Write + Send>,
}

/// The threads of a stdio session, for those who wait for its end.
pub struct Threads {
    pub from_client: JoinHandle<()>,
    pub from_server: JoinHandle<()>,
    pub from_stderr: Option<JoinHandle<()>>,
    pub pumps: Vec<JoinHandle<()>>,
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
            ending: AtomicBool::new(false),
        });
        tokio::spawn(Arc::clone(&host).serve(requests));
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
        let running = Running { session: Arc::clone(&session), process: None, client: None, again: None };
        self.sessions.lock().insert(id, running);
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
        child: Child,
        client: End,
        stderr: Box<dyn Write + Send>,
        own_client: bool,
    ) -> io::Result<(Arc<Session>, Threads)> {
        let directory = spec.directory.clone().or_else(|| std::env::current_dir().ok());
        let session = self.open(Opened {
            name: name.to_owned(),
            target: self.cleaner.command(&spec.command),
            directory: directory.map(|directory| directory.display().to_string()),
            pid: Some(child.process.id()),
            own_client,
        });
        let server = End { source: Box::new(child.stdout), sink: Box::new(child.stdin) };
        let mut threads = self.join(&session, client, server)?;
        let lane = Lane {
            direction: Direction::ToClient,
            channel: Channel::Stderr,
            forward: Arc::new(Port::new(stderr)),
            back: None,
            scope: Scope::Session,
            form: Form::Line,
            course: Course::None,
            open_to_us: false,
        };
        let lane = session.open_lane(lane);
        let limit = self.settings.inspect_limit;
        threads.from_stderr = Some(drive::read_lane(Arc::clone(&session), lane, child.stderr, limit)?);
        if let Some(running) = self.sessions.lock().get_mut(&session.id()) {
            running.process = Some(child.process);
        }
        Ok((session, threads))
    }

    /// Connects two ends with a lane each way.
    ///
    /// # Errors
    /// When no threads can be started.
    pub fn join(&self, session: &Arc<Session>, client: End, server: End) -> io::Result<Threads> {
        let to_server = Arc::new(Port::new(server.sink));
        let to_client = Arc::new(Port::new(client.sink));
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

    /// Makes `client` the built-in client of a session, and `again` the way to restart it.
    pub fn adopt(&self, session: SessionId, client: Arc<Client>, again: Option<Arc<dyn Fn() + Send + Sync>>) {
        if let Some(running) = self.sessions.lock().get_mut(&session) {
            running.client = Some(client);
            running.again = again;
        }
    }

    /// Adds a remark of the engine to the log.
    pub fn note(&self, session: SessionId, level: Level, text: impl Into<String>) {
        let note = Note { frame: None, level, by: "shadowcat".into(), text: text.into() };
        self.log.append(session, Body::Note(note));
    }

    /// Lets everything that is held go on, in the order of arrival.
    pub fn release_all(&self, by: &str) {
        self.breakpoints.hold_everything(false);
        let sessions: Vec<_> =
            self.sessions.lock().values().map(|running| Arc::clone(&running.session)).collect();
        for session in sessions {
            session.release_all(by);
        }
    }

    /// Closes the way to every server: the first step of the shutdown that every revision names.
    /// Nothing is started after that.
    pub fn hang_up(&self) {
        self.ending.store(true, Ordering::Release);
        for running in self.sessions.lock().values_mut() {
            running.session.hang_up();
            running.client = None;
        }
    }

    pub fn is_ending(&self) -> bool {
        self.ending.load(Ordering::Acquire)
    }

    /// Lets go what only a running session needs.
    pub fn forget(&self, session: SessionId) {
        if let Some(running) = self.sessions.lock().get_mut(&session) {
            running.client = None;
        }
    }

    /// Forgets a session that is over.
    pub fn release(&self, session: SessionId) {
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

    /// Every server process that was started and may still run.
    pub fn processes(&self) -> Vec<Process> {
        self.sessions.lock().values().filter_map(|running| running.process.clone()).collect()
    }

    async fn serve(self: Arc<Self>, mut requests: mpsc::Receiver<Request>) {
        while let Some((command, reply)) = requests.recv().await {
            let host = Arc::clone(&self);
            // A command may wait for a peer; others must not wait for it.
            tokio::spawn(async move {
                let outcome = host.carry_out(command).await;
                // Whoever asked may not care for the answer any more.
                let _ = reply.send(outcome);
            });
        }
    }

    async fn carry_out(&self, command: Command) -> Result<Reply, Refusal> {
        match command {
            Command::Accept { frame } => self.decide(frame, Verdict::Pass),
            Command::AcceptAndHoldReply { frame } => {
                let passage = self.holder(frame)?.held_frame(frame).ok_or_else(|| not_held(frame))?;
                if let Some(op) = passage.frame().link.op {
                    self.breakpoints.hold_reply(op);
                }
                self.decide(frame, Verdict::Pass)
            }
            Command::AcceptAll => {
                self.release_all(BY_PERSON);
                Ok(Reply::Done)
            }
            Command::Edit { frame, line, keeps_headers } => {
                self.decide(frame, Verdict::Deliver(vec![Outgoing { line, keeps_headers }]))
            }
            Command::Drop { frame, tell } => self.drop_frame(frame, &tell),
            Command::Answer { frame, line } => self.decide(frame, Verdict::Answer(line)),
            Command::Delay { frame, by } => {
                self.holder(frame)?;
                tokio::time::sleep(by).await;
                self.decide(frame, Verdict::Pass)
            }
            Command::HoldEverything(on) => {
                match on {
                    true => self.breakpoints.hold_everything(true),
                    false => self.release_all(BY_PERSON),
                }
                Ok(Reply::Done)
            }
            Command::Arm(armed) => {
                self.breakpoints.arm(armed);
                Ok(Reply::Done)
            }
            Command::Break(text) => {
                let query = Query::parse(&text).map_err(|error| Refusal(error.to_string()))?;
                Ok(Reply::Breakpoint(self.breakpoints.add(query)))
            }
            Command::RemoveBreakpoint(id) => known(self.breakpoints.remove(id), id),
            Command::ToggleBreakpoint(id) => known(self.breakpoints.toggle(id), id),
            Command::Inject { session, to, line } => self.inject(session, to, &line),
            Command::Call { session, method, params } => {
                let client = self.client(session)?;
                let id = client.call(&method, params).await.map_err(|error| Refusal(error.to_string()))?;
                Ok(Reply::Called(id.token().to_owned()))
            }
            Command::Respond { session, frame, result } => {
                let client = self.client(session)?;
                let record = self.log.get(frame).ok_or_else(|| Refusal(format!("#{frame} is gone")))?;
                let asked = record.frame().ok_or_else(|| Refusal(format!("#{frame} is no frame")))?;
                client.respond(asked, result).await.map_err(|error| Refusal(error.to_string()))?;
                Ok(Reply::Done)
            }
            Command::Restart { session } => {
                let again = self.running(session)?.again;
                let again = again
                    .ok_or_else(|| Refusal("its client started this server; it must restart it".into()))?;
                again();
                Ok(Reply::Done)
            }
            Command::Note { session, frame, text } => {
                let note = Note { frame, level: Level::Info, by: BY_PERSON.into(), text };
                Ok(Reply::Frame(self.log.append(session, Body::Note(note))))
            }
        }
    }

    fn running(&self, session: SessionId) -> Result<Running, Refusal> {
        let running = self.sessions.lock().get(&session).cloned();
        running.ok_or_else(|| Refusal(format!("there is no session {}", session.0)))
    }

    fn client(&self, session: SessionId) -> Result<Arc<Client>, Refusal> {
        let running = self.running(session)?;
        let why = match running.session.is_closed() {
            true => "the server of this session has ended; Space s r starts it again",
            false => "this session has a client of its own; inject into it instead",
        };
        running.client.ok_or_else(|| Refusal(why.to_owned()))
    }

    /// The session that holds a frame.
    fn holder(&self, frame: Seq) -> Result<Arc<Session>, Refusal> {
        let sessions = self.sessions.lock();
        let holds = |session: &&Arc<Session>| session.held_frame(frame).is_some();
        sessions.values().map(|running| &running.session).find(holds).cloned().ok_or_else(|| not_held(frame))
    }

    fn decide(&self, frame: Seq, verdict: Verdict) -> Result<Reply, Refusal> {
        self.holder(frame)?.decide(frame, BY_PERSON, verdict)?;
        Ok(Reply::Done)
    }

    /// Drops a held frame. What is told goes to whoever waits for an answer: the sender of a
    /// request, the receiver of a reply.
    fn drop_frame(&self, frame: Seq, tell: &Tell) -> Result<Reply, Refusal> {
        let passage = self.holder(frame)?.held_frame(frame).ok_or_else(|| not_held(frame))?;
        let held = passage.frame();
        let id = held.message.id();
        let line = match (tell, id) {
            (Tell::Silence, _) => return self.decide(frame, Verdict::Drop),
            (Tell::Close, _) => return self.decide(frame, Verdict::Close),
            (Tell::Error { code, message }, Some(id)) => compose::failure(Some(id), *code, message),
            (Tell::ToolError { text }, Some(id)) => compose::tool_error(id, text),
            (_, None) => return Err(Refusal("nobody waits for an answer to this; drop it silently".into())),
        };
        let is_reply = matches!(held.link.role, Role::Response | Role::InputRequired);
        self.decide(frame, if is_reply { Verdict::replace(line) } else { Verdict::Answer(line) })
    }

    fn inject(&self, session: SessionId, to: Direction, line: &[u8]) -> Result<Reply, Refusal> {
        let running = self.running(session)?;
        let message = Message::parse(bytes::Bytes::copy_from_slice(line));
        let line = match message.kind() {
            // Its answer must be ours alone, so it gets an id of ours.
            Kind::Request { .. } => {
                let number = self.injected.fetch_add(1, Ordering::Relaxed) + 1;
                let id = Id::text(&format!("{OWN_ID}-{}-{number}", self.chance));
                let start = line.len() - line.trim_ascii_start().len();
                let whole = start..line.len();
                // Its progress must be ours alone as well.
                let token = json::lookup(line, whole.clone(), &["params", "_meta", "progressToken"]);
                let mut spans: Vec<_> = json::member(line, whole, "id").into_iter().chain(token).collect();
                spans.sort_by_key(|span| std::cmp::Reverse(span.start));
                let mut line = line.to_vec();
                for span in spans {
                    line.splice(span, id.token().bytes());
                }
                line
            }
            Kind::Batch(messages)
                if messages.iter().any(|each| matches!(each.kind(), Kind::Request { .. })) =>
            {
                return Err(Refusal(
                    "send the requests of a batch one by one: their ids would not be ours".into(),
                ));
            }
            _ => line.to_vec(),
        };
        Ok(Reply::Frame(running.session.inject(to, &line)?))
    }
}

fn known(found: bool, id: u32) -> Result<Reply, Refusal> {
    if found { Ok(Reply::Done) } else { Err(Refusal(format!("there is no breakpoint {id}"))) }
}

fn not_held(frame: Seq) -> Refusal {
    Refused::NotHeld(frame).into()
}

impl From<Refused> for Refusal {
    fn from(refused: Refused) -> Self {
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
