//! The stateful era: every session has a process of its own, which lives as long as the session.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderValue, Response, StatusCode};
use parking_lot::Mutex;

use super::child::{Start, Worker};
use super::desk::{Clients, Desk};
use super::mailbox::Said;
use super::reply::{self, Awaited, Pending};
use super::stateless::status_of;
use super::{Face, SESSION_ID, accepted, check, refused};
use crate::clock::Stamp;
use crate::log::record::Level;
use crate::mcp::remap::token;
use crate::mcp::{Era, Kind, Message, Revision, json, sse};
use crate::proxy::http::spoken::Spoken;
use crate::transport::child::Ended;
use crate::transport::http::headers::text;
use crate::transport::http::{Body, Unanswered, full};

/// A session of the stateful era.
pub struct Member {
    pub worker: Arc<Worker>,
    version: Option<String>,
    last: Mutex<Stamp>,
}

/// How long a server may take to answer `initialize`: some install themselves first.
const GREETING: Duration = Duration::from_secs(120);
/// Messages before the answer that are passed on.
const BEFORE: usize = 256;
/// How long a session may be silent.
const IDLE: Duration = Duration::from_secs(30 * 60);

impl Face {
    pub(super) fn sweep(&self) {
        let now = self.clock().now();
        self.sessions.lock().retain(|_, member| {
            if member.worker.desk.is_busy() {
                *member.last.lock() = now;
            }
            let over = !member.worker.desk.is_busy() && now.since(*member.last.lock()) > IDLE;
            if over {
                member.worker.hang_up();
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
        let member = self.member(&parts)?;
        let all = match message.kind() {
            Kind::Batch(_) if member.version.as_deref() != Some(Revision::V2025_03_26.as_str()) => {
                return Err(check::invalid("batches exist in revision 2025-03-26 only"));
            }
            Kind::Batch(all) => all.as_slice(),
            _ => std::slice::from_ref(&message),
        };
        let requests: Vec<&Message> =
            all.iter().filter(|each| matches!(each.kind(), Kind::Request { .. })).collect();
        // With room for it, it is taken in and said in one step: a client may leave while it waits.
        let room = member
            .worker
            .room(message.body().len())
            .await
            .map_err(|why| self.unheard(&member.worker, why))?;
        let (asking, mail) = member.worker.desk.ask(&requests).map_err(refused)?;
        let own = requests.iter().filter_map(|request| request.id().cloned());
        let ids = asking.into_iter().map(|asking| asking.id).zip(own).collect();
        let pending = Pending { worker: Arc::clone(&member.worker), ids, tells: false };
        room.say(message.body());
        if message.method() == Some("notifications/cancelled")
            && let Some(id) = message.param(&["requestId"]).map(token)
        {
            // Whoever took a request back gets no answer to it.
            member.worker.desk.leave(&id);
        }
        if pending.ids.is_empty() {
            return Ok(accepted());
        }
        let streams = matches!(message.kind(), Kind::Batch(_));
        Awaited { mail, pending, streams }.respond(|_| StatusCode::OK).await
    }

    /// Starts the server of a new session.
    async fn initialize(&self, parts: &Parts, message: Message) -> Result<Response<Body>, Unanswered> {
        let spoken = parts.extensions.get::<Spoken>().cloned();
        let spoken = spoken.ok_or_else(|| Unanswered::bad_gateway("this request belongs to no session"))?;
        if self.crew.is_closed() {
            return Err(check::busy("the gateway is being stopped", 1));
        }
        let place = self.crew.place();
        let place =
            place.ok_or_else(|| check::busy("as many sessions are open as may be (--max-sessions)", 5))?;
        let key = uuid::Uuid::new_v4().to_string();
        let (me, own) = (self.me.clone(), key.clone());
        let ending = spoken.clone();
        let ended = move |how: Ended| {
            if let Some(face) = me.upgrade() {
                face.sessions.lock().remove(&own);
            }
            ending.end("the server ended", Some(how.into()));
        };
        let desk = Desk::new(Clients::One, Arc::clone(&spoken.session), self.clock());
        let start = Start {
            spec: &self.spec,
            desk,
            session: Arc::clone(&spoken.session),
            limit: self.host.settings().inspect_limit,
            crew: &self.crew,
            place: Some(place),
        };
        let worker = self.started(Worker::start(start, ended).await)?;
        let text = format!("started process {} for this session", worker.id());
        spoken.session.note(Some(spoken.frame), Level::Info, text);
        let room = worker.room(message.body().len()).await.map_err(|why| self.unheard(&worker, why))?;
        let (_, mut mail) = worker.desk.ask(&[&message]).map_err(refused)?;
        room.say(message.body());
        let mut before: Vec<Said> = Vec::new();
        let greeted = tokio::time::timeout(GREETING, async {
            while let Some(said) = mail.recv().await {
                if said.answer.is_some() {
                    return Some(said);
                }
                match before.len() < BEFORE {
                    true => before.push(said),
                    false => worker.desk.to_nobody(said.line),
                }
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
        let version =
            answer.outcome(&["protocolVersion"]).and_then(json::unescape).map(|text| text.into_owned());
        let member = Member { worker, version, last: Mutex::new(self.clock().now()) };
        if let Ok(mut value) = HeaderValue::from_str(&key) {
            value.set_sensitive(true);
            response.headers_mut().insert(SESSION_ID, value);
        }
        let mut sessions = self.sessions.lock();
        // It may have ended already, and then nobody else takes it out.
        if member.worker.desk.over().is_none() {
            sessions.insert(key, Arc::new(member));
        }
        Ok(response)
    }

    pub(super) fn get(&self, parts: &Parts) -> Result<Response<Body>, Unanswered> {
        if stateless_hop(parts) {
            return Err(check::no_such_method("POST"));
        }
        check::get(&parts.headers)?;
        let member = self.member(parts)?;
        Ok(reply::stream(member.worker.desk.listen(), None, None))
    }

    pub(super) fn delete(&self, parts: &Parts) -> Result<Response<Body>, Unanswered> {
        if stateless_hop(parts) {
            return Err(check::no_such_method("POST"));
        }
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
        *member.last.lock() = self.clock().now();
        Ok(member)
    }
}

/// Whether a client of the stateless era uses what that era does not have.
fn stateless_hop(parts: &Parts) -> bool {
    let version = text(&parts.headers, "mcp-protocol-version").and_then(Revision::parse);
    parts.headers.get(SESSION_ID).is_none() && version.is_some_and(|version| version.era() == Era::Stateless)
}
