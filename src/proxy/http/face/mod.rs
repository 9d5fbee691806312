//! The HTTP face of a stdio server: clients of both eras find a server of Streamable HTTP, with the
//! statuses of the specification, and behind it are child processes.
//!
//! In the stateful era every session has a child of its own, which lives as long as the session.
//! In the stateless era all requests go to one child, told apart by ids of ours.

mod check;
mod child;
mod desk;
mod probe;
mod reply;

use std::collections::HashMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderName, HeaderValue, Method, Request, Response, StatusCode};
use parking_lot::Mutex;

use super::body::{self, Gathered};
use super::spoken::Spoken;
use crate::clock::Stamp;
use crate::log::record::{Level, Opened};
use crate::mcp::compose::meta;
use crate::mcp::{Era, Kind, Message, Opaque, Quirks, Revision, compose, json, sse};
use crate::proxy::host::Host;
use crate::transport::child::{SpawnError, Spec};
use crate::transport::http::headers::text;
use crate::transport::http::{Body, Connect, Place, Sending, Unanswered, full};

use child::{Headcount, Worker};
use desk::{Clients, Desk, Refused, Said};
use reply::{Awaited, Pending};

/// A stdio server as an HTTP one.
pub struct Face {
    me: Weak<Self>,
    host: Arc<Host>,
    name: String,
    spec: Spec,
    place: Place,
    most: usize,
    count: Arc<Headcount>,
    sessions: Mutex<HashMap<String, Arc<Member>>>,
    shared: tokio::sync::Mutex<Shared>,
    /// Whether the server speaks the stateless era, and when that was found.
    probed: tokio::sync::Mutex<Option<(Stamp, bool)>>,
}

/// A session of the stateful era.
struct Member {
    worker: Arc<Worker>,
    version: Option<String>,
    last: Mutex<Stamp>,
}

/// The child of the stateless era.
#[derive(Default)]
struct Shared {
    worker: Option<Arc<Worker>>,
    started: Option<Stamp>,
}

/// The path at which clients find it.
pub const ENDPOINT: &str = "/mcp";
/// How long a session may be silent.
const IDLE: Duration = Duration::from_secs(30 * 60);
/// How often silent sessions are looked for.
const SWEEP: Duration = Duration::from_secs(30);
/// How long a server may take to answer `initialize`: some install themselves first.
const GREETING: Duration = Duration::from_secs(120);
/// A server that ended is not started again sooner than this after its last start.
const AGAIN: Duration = Duration::from_secs(1);
/// How long it is believed that a server speaks the stateful era only: it may only have been slow.
const BELIEVED: Duration = Duration::from_secs(10 * 60);
/// How long a new server may take to list its tools before others are let in.
const LISTING: Duration = Duration::from_secs(5);

const SESSION_ID: HeaderName = HeaderName::from_static("mcp-session-id");

// === impl Face ===

impl Face {
    /// The face of the server that `spec` starts, for up to `most` sessions at a time.
    pub fn new(host: Arc<Host>, name: String, spec: Spec, most: usize) -> Arc<Self> {
        let place = Place {
            origin: "http://localhost".into(),
            authority: "localhost".into(),
            path: ENDPOINT.into(),
            target: spec.command.clone(),
        };
        let face = Arc::new_cyclic(|me| Self {
            me: me.clone(),
            host,
            name,
            spec,
            place,
            most,
            count: Arc::default(),
            sessions: Mutex::default(),
            shared: tokio::sync::Mutex::default(),
            probed: tokio::sync::Mutex::default(),
        });
        let sweeping = Arc::downgrade(&face);
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(SWEEP).await;
                let Some(face) = sweeping.upgrade() else { return };
                face.sweep();
            }
        });
        face
    }

    /// Finds out ahead of the first request which era the server speaks.
    pub async fn look_ahead(&self) {
        // Whoever asks first is told why it cannot be known.
        let _ = self.is_stateless().await;
    }

    /// Server processes that run, and all that were started.
    pub fn processes(&self) -> (usize, usize) {
        self.count.counts()
    }

    /// Ends every server process, and waits until they are gone.
    pub async fn close(&self) {
        let sessions = std::mem::take(&mut *self.sessions.lock());
        sessions.values().for_each(|member| member.worker.hang_up());
        if let Some(worker) = self.shared.lock().await.worker.take() {
            worker.hang_up();
        }
        self.count.none().await;
    }

    fn now(&self) -> Stamp {
        self.host.log().clock().now()
    }

    fn sweep(&self) {
        let now = self.now();
        self.sessions.lock().retain(|_, member| {
            let over = !member.worker.desk.is_busy() && now.since(*member.last.lock()) > IDLE;
            if over {
                member.worker.hang_up();
            }
            !over
        });
    }

    async fn pass(&self, request: Request<Body>) -> Result<Response<Body>, Unanswered> {
        let (parts, body) = request.into_parts();
        match parts.method {
            Method::POST => self.post(parts, body).await,
            Method::GET => self.get(&parts),
            Method::DELETE => self.delete(&parts),
            _ => Err(check::no_such_method("POST, GET, DELETE")),
        }
    }

    async fn post(&self, parts: Parts, body: Body) -> Result<Response<Body>, Unanswered> {
        check::post(&parts.headers)?;
        let limit = self.host.settings().inspect_limit;
        let message = match body::gather_reply(body, limit).await {
            Gathered::Whole(body) => Message::parse(body),
            Gathered::Long(..) => return Err(check::too_long(limit)),
            Gathered::Slow | Gathered::Broken => return Err(check::invalid("the body broke off")),
        };
        match message.kind() {
            Kind::Opaque(Opaque::NotJson(flaw)) => Err(check::not_json(flaw)),
            Kind::Opaque(why) => Err(check::invalid(why.to_string())),
            _ if is_stateless(&parts, &message) => self.stateless(parts, message).await,
            _ => self.stateful(parts, message).await,
        }
    }

    // --- 2025

    async fn stateful(&self, parts: Parts, message: Message) -> Result<Response<Body>, Unanswered> {
        let named = parts.headers.get(SESSION_ID);
        if message.method() == Some("initialize") {
            return match named {
                Some(_) => Err(check::invalid("a session is initialized once; leave out Mcp-Session-Id for another")),
                None => self.initialize(&parts, message).await,
            };
        }
        let member = self.member(&parts)?;
        let all = match message.kind() {
            Kind::Batch(_) if member.version.as_deref() != Some(Revision::V2025_03_26.as_str()) => {
                return Err(check::invalid("batches exist in revision 2025-03-26 only"));
            }
            Kind::Batch(all) => all.as_slice(),
            _ => std::slice::from_ref(&message),
        };
        let (mail, awaited) = Desk::mail();
        let mut ids = Vec::new();
        for each in all.iter().filter(|each| matches!(each.kind(), Kind::Request { .. })) {
            let asking = member.worker.desk.ask(each, mail.clone()).map_err(refused)?;
            ids.extend(each.id().map(|id| (asking.id, id.clone())));
        }
        drop(mail);
        let pending = Pending { worker: Arc::clone(&member.worker), ids, tells: false };
        member.worker.say(message.body()).await.map_err(|_| self.gone(&member.worker))?;
        if pending.ids.is_empty() {
            return Ok(accepted());
        }
        let streams = matches!(message.kind(), Kind::Batch(_));
        Awaited { mail: awaited, pending, streams }.respond(|_| StatusCode::OK).await
    }

    /// Starts the server of a new session.
    async fn initialize(&self, parts: &Parts, message: Message) -> Result<Response<Body>, Unanswered> {
        let spoken = parts.extensions.get::<Spoken>().cloned();
        let spoken = spoken.ok_or_else(|| Unanswered::bad_gateway("this request belongs to no session"))?;
        if self.sessions.lock().len() >= self.most {
            return Err(check::busy(format!("{} sessions are open, as many as may be", self.most), 5));
        }
        let key = uuid::Uuid::new_v4().to_string();
        let (me, own) = (self.me.clone(), key.clone());
        let ending = spoken.clone();
        let ended = move |how: crate::transport::child::Ended| {
            if let Some(face) = me.upgrade() {
                face.sessions.lock().remove(&own);
            }
            ending.end("the server ended", Some(how.into()));
        };
        let desk = Desk::new(Clients::One, Arc::clone(&spoken.session));
        let limit = self.host.settings().inspect_limit;
        let started = Worker::start(&self.spec, desk, Arc::clone(&spoken.session), limit, &self.count, ended);
        let (worker, pid) = started.await.map_err(not_started)?;
        spoken.session.note(Some(spoken.frame), Level::Info, format!("started process {pid} for this session"));
        let (mail, mut awaited) = Desk::mail();
        let asking = worker.desk.ask(&message, mail).map_err(refused)?;
        worker.say(&asking.line).await.map_err(|_| self.gone(&worker))?;
        let mut before: Vec<Said> = Vec::new();
        let greeted = tokio::time::timeout(GREETING, async {
            while let Some(said) = awaited.recv().await {
                if said.answer.is_some() {
                    return Some(said);
                }
                before.push(said);
            }
            None
        });
        let said = greeted.await.map_err(|_| check::silent(GREETING.as_secs()))?;
        let said = said.ok_or_else(|| self.gone(&worker))?;
        let code = said.answer.as_ref().and_then(|answer| answer.code);
        let answer = Message::parse(said.line.clone());
        let mut response = match before.is_empty() {
            true => reply::one(said.line),
            false => {
                let events = before.into_iter().chain([said]).flat_map(|said| sse::compose(&said.line));
                let mut response = Response::new(full(events.collect::<Vec<u8>>().into()));
                let events = HeaderValue::from_static("text/event-stream");
                response.headers_mut().insert(http::header::CONTENT_TYPE, events);
                response
            }
        };
        if let Some(code) = code {
            // There is no session, and its process ends with this.
            *response.status_mut() = status_of(code, true);
            return Ok(response);
        }
        let version = answer.outcome(&["protocolVersion"]).and_then(json::unescape).map(|text| text.into_owned());
        let member = Member { worker, version, last: Mutex::new(self.now()) };
        if let Ok(mut value) = HeaderValue::from_str(&key) {
            value.set_sensitive(true);
            response.headers_mut().insert(SESSION_ID, value);
        }
        self.sessions.lock().insert(key, Arc::new(member));
        Ok(response)
    }

    fn get(&self, parts: &Parts) -> Result<Response<Body>, Unanswered> {
        check::get(&parts.headers)?;
        let member = self.member(parts)?;
        Ok(reply::stream(member.worker.desk.listen(), None, None))
    }

    fn delete(&self, parts: &Parts) -> Result<Response<Body>, Unanswered> {
        let member = self.member(parts)?;
        if let Some(key) = text(&parts.headers, SESSION_ID.as_str()) {
            self.sessions.lock().remove(key);
        }
        member.worker.hang_up();
        Ok(Response::new(full(Bytes::new())))
    }

    /// The session that a request names.
    fn member(&self, parts: &Parts) -> Result<Arc<Member>, Unanswered> {
        let key = text(&parts.headers, SESSION_ID.as_str()).ok_or_else(check::no_session_named)?;
        let member = self.sessions.lock().get(key).cloned().ok_or_else(check::session_unknown)?;
        check::version(&parts.headers)?;
        *member.last.lock() = self.now();
        Ok(member)
    }

    // --- 2026

    async fn stateless(&self, parts: Parts, message: Message) -> Result<Response<Body>, Unanswered> {
        match message.kind() {
            Kind::Request { id, .. } if !id.is_legal() => {
                return Err(check::invalid("an id must be a string or an integer"));
            }
            // What a parser reads in two ways could be one client's request and another's answer.
            Kind::Request { .. } if message.quirks().has(Quirks::DUPLICATE_KEY) => {
                return Err(check::invalid("a key is there twice"));
            }
            Kind::Request { .. } => {}
            // There is none that a client would send over HTTP, and none may touch what is another's.
            Kind::Notification { .. } => return Ok(accepted()),
            _ => return Err(check::invalid("a request or a notification is expected")),
        }
        if !self.is_stateless().await? {
            return Err(check::stateful_only());
        }
        let enveloped = message.param(&["_meta", meta::PROTOCOL_VERSION]).is_some();
        if !enveloped {
            return Err(check::no_envelope());
        }
        let complete = message.param(&["_meta", meta::CLIENT_CAPABILITIES]).is_some();
        let worker = self.shared().await?;
        worker.desk.check(&message, &parts.headers).map_err(check::mismatch)?;
        let (mail, awaited) = Desk::mail();
        let asking = worker.desk.ask(&message, mail).map_err(refused)?;
        if let (Some(spoken), Some(how)) = (parts.extensions.get::<Spoken>(), &asking.remapped) {
            spoken.remapped(how);
        }
        let own = message.id().map(|id| (asking.id.clone(), id.clone()));
        let pending = Pending { worker: Arc::clone(&worker), ids: own.into_iter().collect(), tells: true };
        worker.say(&asking.line).await.map_err(|_| self.gone(&worker))?;
        Awaited { mail: awaited, pending, streams: false }.respond(|code| status_of(code, complete)).await
    }

    /// The one child of this era, started if it does not run.
    async fn shared(&self) -> Result<Arc<Worker>, Unanswered> {
        let mut shared = self.shared.lock().await;
        if let Some(worker) = shared.worker.as_ref().filter(|worker| worker.desk.over().is_none()) {
            return Ok(Arc::clone(worker));
        }
        let now = self.now();
        if shared.started.is_some_and(|started| now.since(started) < AGAIN) {
            return Err(check::busy("the server ended as soon as it was started; it is started again shortly", 1));
        }
        shared.started = Some(now);
        let session = self.host.open(Opened {
            name: format!("{} (shared)", self.name),
            target: self.spec.command.clone(),
            directory: self.spec.directory.as_ref().map(|directory| directory.display().to_string()),
            pid: None,
            own_client: false,
        });
        let (host, own) = (Arc::clone(&self.host), Arc::clone(&session));
        let ended = move |how: crate::transport::child::Ended| {
            own.close("the server ended", Some(how.into()));
            host.release(own.id());
        };
        let desk = Desk::new(Clients::Many, Arc::clone(&session));
        let limit = self.host.settings().inspect_limit;
        let started = Worker::start(&self.spec, desk, Arc::clone(&session), limit, &self.count, ended).await;
        let (worker, pid) = match started {
            Ok(started) => started,
            Err(error) => {
                session.close("the server could not be started", None);
                self.host.release(session.id());
                return Err(not_started(error));
            }
        };
        let text = format!("process {pid} serves all requests of 2026-07-28; its stderr and what belongs to no request is here");
        session.note(None, Level::Info, text);
        // Which arguments are repeated in headers is known from the list of tools alone.
        let list = probe::request("tools/list");
        let (mail, mut listed) = Desk::mail();
        if let Ok(asking) = worker.desk.ask(&list, mail)
            && worker.say(&asking.line).await.is_ok()
        {
            let _ = tokio::time::timeout(LISTING, listed.recv()).await;
        }
        shared.worker = Some(Arc::clone(&worker));
        Ok(worker)
    }

    // --- both

    /// Whether the server speaks the stateless era, found out on a process that is thrown away.
    async fn is_stateless(&self) -> Result<bool, Unanswered> {
        let mut probed = self.probed.lock().await;
        if let Some((at, stateless)) = *probed
            && (stateless || self.now().since(at) < BELIEVED)
        {
            return Ok(stateless);
        }
        let stateless = probe::probe(&self.host, &self.name, &self.spec, &self.count).await;
        let stateless = stateless.map_err(not_started)?;
        *probed = Some((self.now(), stateless));
        Ok(stateless)
    }

    fn gone(&self, worker: &Worker) -> Unanswered {
        let why = worker.desk.over().unwrap_or_else(|| "it takes nothing any more".into());
        Unanswered::bad_gateway(format!("the server {} is gone: {why}", self.name))
    }
}

impl Connect for Face {
    fn send(&self, request: Request<Body>) -> Sending<'_> {
        Box::pin(self.pass(request))
    }

    fn place(&self) -> &Place {
        &self.place
    }
}

/// Whether a request speaks the stateless era: by its envelope, or by headers that only that era has
/// where the envelope is missing. The handshake is of the other era whatever stands around it.
fn is_stateless(parts: &Parts, message: &Message) -> bool {
    let version = text(&parts.headers, "mcp-protocol-version");
    let claims = version.and_then(Revision::parse).is_some_and(|revision| revision.era() == Era::Stateless);
    message.param(&["_meta", meta::PROTOCOL_VERSION]).is_some()
        || (message.method() != Some("initialize")
            && parts.headers.get(SESSION_ID).is_none()
            && (claims || parts.headers.contains_key("mcp-method")))
}

/// The status that goes with the code of an error (2026-07-28, basic/transports, status codes);
/// `complete` where the request had all that it must have.
fn status_of(code: i64, complete: bool) -> StatusCode {
    match code {
        compose::METHOD_NOT_FOUND => StatusCode::NOT_FOUND,
        -32022..=-32020 => StatusCode::BAD_REQUEST,
        compose::INVALID_PARAMS if !complete => StatusCode::BAD_REQUEST,
        _ => StatusCode::OK,
    }
}

fn accepted() -> Response<Body> {
    let mut response = Response::new(full(Bytes::new()));
    *response.status_mut() = StatusCode::ACCEPTED;
    response
}

fn not_started(error: SpawnError) -> Unanswered {
    Unanswered::bad_gateway(format!("the server cannot be started: {error}"))
}

fn refused(refused: Refused) -> Unanswered {
    match refused {
        Refused::Duplicate(_) => check::invalid(refused.to_string()),
        Refused::Over(why) => Unanswered::bad_gateway(why),
    }
}
