//! The stateful era: every session has a process of its own, which lives as long as the session.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderValue, Response, StatusCode};
use parking_lot::Mutex;

use super::child::Worker;
use super::desk::{Clients, Desk, Said};
use super::reply::{self, Awaited, Pending};
use super::stateless::status_of;
use super::{Face, SESSION_ID, accepted, check, not_started, refused};
use crate::clock::Stamp;
use crate::log::record::Level;
use crate::mcp::{Kind, Message, Revision, json, sse};
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
/// How long a session may be silent.
const IDLE: Duration = Duration::from_secs(30 * 60);

impl Face {
    pub(super) fn sweep(&self) {
        let now = self.now();
        self.sessions.lock().retain(|_, member| {
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
        let ended = move |how: Ended| {
            if let Some(face) = me.upgrade() {
                face.sessions.lock().remove(&own);
            }
            ending.end("the server ended", Some(how.into()));
        };
        let desk = Desk::new(Clients::One, Arc::clone(&spoken.session));
        let limit = self.host.settings().inspect_limit;
        let started = Worker::start(&self.spec, desk, Arc::clone(&spoken.session), limit, &self.count, ended);
        let (worker, pid) = started.await.map_err(not_started)?;
        spoken.session.note(
            Some(spoken.frame),
            Level::Info,
            format!("started process {pid} for this session"),
        );
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
        let version =
            answer.outcome(&["protocolVersion"]).and_then(json::unescape).map(|text| text.into_owned());
        let member = Member { worker, version, last: Mutex::new(self.now()) };
        if let Ok(mut value) = HeaderValue::from_str(&key) {
            value.set_sensitive(true);
            response.headers_mut().insert(SESSION_ID, value);
        }
        self.sessions.lock().insert(key, Arc::new(member));
        Ok(response)
    }

    pub(super) fn get(&self, parts: &Parts) -> Result<Response<Body>, Unanswered> {
        check::get(&parts.headers)?;
        let member = self.member(parts)?;
        Ok(reply::stream(member.worker.desk.listen(), None, None))
    }

    pub(super) fn delete(&self, parts: &Parts) -> Result<Response<Body>, Unanswered> {
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
}
