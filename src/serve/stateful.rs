//! The stateful era: every session has a process of its own, which lives as long as the session.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderValue, Response, StatusCode};
use parking_lot::Mutex;

use super::reply::{self, Awaited, Pending};
use super::stateless::status_of;
use super::{HttpAdapter, SESSION_ID, accepted, check, refused};
use crate::clock::Stamp;
use crate::http::context::RequestContext;
use crate::log::record::Level;
use crate::mcp::remap::token;
use crate::mcp::{Era, Kind, Message, Revision, json, sse};
use crate::stdio::process::{ServerProcess, Start};
use crate::stdio::reply_queue::Said;
use crate::stdio::router::{Clients, ResponseRouter};
use crate::transport::child::Ended;
use crate::transport::http::headers::text;
use crate::transport::http::{Body, Unanswered, full};

/// A session of the stateful era.
pub struct StatefulSession {
    pub process: Arc<ServerProcess>,
    version: Option<String>,
    last: Mutex<Stamp>,
}

/// How long a server may take to answer `initialize`: some install themselves first.
const GREETING_TIMEOUT: Duration = Duration::from_secs(120);
/// Messages before the answer that are passed on.
const MAX_BEFORE_ANSWER: usize = 256;
/// How long a session may be silent.
const SESSION_IDLE: Duration = Duration::from_secs(30 * 60);

impl HttpAdapter {
    pub(super) fn sweep(&self) {
        let now = self.clock().now();
        self.sessions.lock().retain(|_, session| {
            if session.process.router.is_busy() {
                *session.last.lock() = now;
            }
            let over = !session.process.router.is_busy() && now.since(*session.last.lock()) > SESSION_IDLE;
            if over {
                session.process.hang_up();
            }
            !over
        });
    }

    pub(super) async fn stateful(
        &self,
        parts: Parts,
        message: Message,
    ) -> Result<Response<Body>, Unanswered> {
        let named = parts.headers.get(SESSION_ID);
        if message.method() == Some("initialize") {
            return match named {
                Some(_) => {
                    Err(check::invalid("a session is initialized once; leave out Mcp-Session-Id for another"))
                }
                None => self.initialize(&parts, message).await,
            };
        }
        let session = self.session(&parts)?;
        let all = match message.kind() {
            Kind::Batch(_) if session.version.as_deref() != Some(Revision::V2025_03_26.as_str()) => {
                return Err(check::invalid("batches exist in revision 2025-03-26 only"));
            }
            Kind::Batch(all) => all.as_slice(),
            _ => std::slice::from_ref(&message),
        };
        let requests: Vec<&Message> =
            all.iter().filter(|each| matches!(each.kind(), Kind::Request { .. })).collect();
        // With room for it, it is taken in and said in one step: a client may leave while it waits.
        let room = session
            .process
            .room(message.body().len())
            .await
            .map_err(|why| self.unheard(&session.process, why))?;
        let (asking, replies) = session.process.router.ask(&requests).map_err(refused)?;
        let own = requests.iter().filter_map(|request| request.id().cloned());
        let ids = asking.into_iter().map(|asking| asking.id).zip(own).collect();
        let pending = Pending { process: Arc::clone(&session.process), ids, tells: false };
        room.say(message.body());
        if message.method() == Some("notifications/cancelled")
            && let Some(id) = message.param(&["requestId"]).map(token)
        {
            // Whoever took a request back gets no answer to it.
            session.process.router.leave(&id);
        }
        if pending.ids.is_empty() {
            return Ok(accepted());
        }
        let streams = matches!(message.kind(), Kind::Batch(_));
        Awaited { replies, pending, streams }.respond(|_| StatusCode::OK).await
    }

    /// Starts the server of a new session.
    async fn initialize(&self, parts: &Parts, message: Message) -> Result<Response<Body>, Unanswered> {
        let context = parts.extensions.get::<RequestContext>().cloned();
        let context = context.ok_or_else(|| Unanswered::bad_gateway("this request belongs to no session"))?;
        if self.supervisor.is_closed() {
            return Err(check::busy("the gateway is being stopped", 1));
        }
        let place = self.supervisor.reserve();
        let place =
            place.ok_or_else(|| check::busy("as many sessions are open as may be (--max-sessions)", 5))?;
        let key = uuid::Uuid::new_v4().to_string();
        let (me, own) = (self.me.clone(), key.clone());
        let ending = context.clone();
        let ended = move |how: Ended| {
            if let Some(adapter) = me.upgrade() {
                adapter.sessions.lock().remove(&own);
            }
            ending.end("the server ended", Some(how.into()));
        };
        let router = ResponseRouter::new(Clients::One, Arc::clone(&context.session), self.clock());
        let start = Start {
            spec: &self.spec,
            router,
            session: Arc::clone(&context.session),
            limit: self.host.settings().inspect_limit,
            supervisor: &self.supervisor,
            place: Some(place),
        };
        let process = self.started(ServerProcess::start(start, ended).await)?;
        let text = format!("started process {} for this session", process.id());
        context.session.note(Some(context.frame), Level::Info, text);
        let room = process.room(message.body().len()).await.map_err(|why| self.unheard(&process, why))?;
        let (_, mut replies) = process.router.ask(&[&message]).map_err(refused)?;
        room.say(message.body());
        let mut before: Vec<Said> = Vec::new();
        let greeted = tokio::time::timeout(GREETING_TIMEOUT, async {
            while let Some(said) = replies.recv().await {
                if said.answer.is_some() {
                    return Some(said);
                }
                match before.len() < MAX_BEFORE_ANSWER {
                    true => before.push(said),
                    false => process.router.to_nobody(said.line),
                }
            }
            None
        });
        let said = greeted.await.map_err(|_| check::silent(GREETING_TIMEOUT.as_secs()))?;
        let said = said.ok_or_else(|| self.gone(&process))?;
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
        let version =
            answer.outcome(&["protocolVersion"]).and_then(json::unescape).map(|text| text.into_owned());
        let session = StatefulSession { process, version, last: Mutex::new(self.clock().now()) };
        if let Ok(mut value) = HeaderValue::from_str(&key) {
            value.set_sensitive(true);
            response.headers_mut().insert(SESSION_ID, value);
        }
        let mut sessions = self.sessions.lock();
        // It may have ended already, and then nobody else takes it out.
        if session.process.router.over().is_none() {
            sessions.insert(key, Arc::new(session));
        }
        Ok(response)
    }

    pub(super) fn get(&self, parts: &Parts) -> Result<Response<Body>, Unanswered> {
        if stateless_hop(parts) {
            return Err(check::no_such_method("POST"));
        }
        check::get(&parts.headers)?;
        let session = self.session(parts)?;
        Ok(reply::stream(session.process.router.listen(), None, None))
    }

    pub(super) fn delete(&self, parts: &Parts) -> Result<Response<Body>, Unanswered> {
        if stateless_hop(parts) {
            return Err(check::no_such_method("POST"));
        }
        let session = self.session(parts)?;
        if let Some(key) = text(&parts.headers, SESSION_ID.as_str()) {
            self.sessions.lock().remove(key);
        }
        session.process.hang_up();
        Ok(Response::new(full(Bytes::new())))
    }

    /// The session that a request names.
    fn session(&self, parts: &Parts) -> Result<Arc<StatefulSession>, Unanswered> {
        let key = text(&parts.headers, SESSION_ID.as_str()).ok_or_else(check::no_session_named)?;
        let session = self.sessions.lock().get(key).cloned().ok_or_else(check::session_unknown)?;
        check::version(&parts.headers)?;
        *session.last.lock() = self.clock().now();
        Ok(session)
    }
}

/// Whether a client of the stateless era uses what that era does not have.
fn stateless_hop(parts: &Parts) -> bool {
    let version = text(&parts.headers, "mcp-protocol-version").and_then(Revision::parse);
    parts.headers.get(SESSION_ID).is_none() && version.is_some_and(|version| version.era() == Era::Stateless)
}
