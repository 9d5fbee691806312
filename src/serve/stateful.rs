//! The stateful era: every session has a process of its own, which lives as long as the session.

use std::sync::Arc;
use std::time::Duration;

use http::request::Parts;
use http::{HeaderValue, StatusCode};
use parking_lot::Mutex;

use super::reply::{self, Awaited, OpenRequests};
use super::stateless::status_of;
use super::{HttpAdapter, SESSION_ID, accepted, check, refused};
use crate::clock::Stamp;
use crate::http::body::Outbound;
use crate::http::{Answer, RequestContext, StreamItem};
use crate::log::record::Level;
use crate::mcp::remap::token;
use crate::mcp::{Era, Kind, Message, Revision, json};
use crate::stdio::process::{ProcessOptions, ServerProcess};
use crate::stdio::reply_queue::{QueuedReply, ReplyReceiver};
use crate::stdio::router::{Clients, ResponseRouter};
use crate::stdio::supervisor::Stop;
use crate::transport::child::ProcessExit;
use crate::transport::http::Unanswered;
use crate::transport::http::headers::text;

/// A session of the stateful era.
pub struct StatefulSession {
    process: Arc<ServerProcess>,
    version: Option<String>,
    last_used: Mutex<Stamp>,
}

/// Time for a server to answer `initialize`: some install themselves first.
const INITIALIZE_TIMEOUT: Duration = Duration::from_secs(120);
/// Maximum number of messages before the answer to `initialize` that are passed on.
const MAX_BEFORE_ANSWER: usize = 256;
/// Time after which a silent session is ended.
const SESSION_IDLE: Duration = Duration::from_secs(30 * 60);

impl HttpAdapter {
    /// Ends sessions that were silent for too long.
    pub(super) fn sweep(&self) {
        let now = self.clock().now();
        self.sessions.lock().retain(|_, session| {
            let busy = session.process.router.is_busy();
            if busy {
                *session.last_used.lock() = now;
            }
            let expired = !busy && now.since(*session.last_used.lock()) > SESSION_IDLE;
            if expired {
                session.process.stop();
            }
            !expired
        });
    }

    /// Answers a POST of this era.
    pub(super) async fn stateful(
        &self,
        head: &Parts,
        context: RequestContext,
        message: Message,
        body: Outbound,
    ) -> Result<Answer, Unanswered> {
        let named = head.headers.get(SESSION_ID);
        if message.method() == Some("initialize") && matches!(message.kind(), Kind::Request { .. }) {
            return match named {
                // A request with the id of a session that has ended gets 404, whatever its method.
                Some(_) => self.session(head).and_then(|_| {
                    let why = "a session is initialized once; omit Mcp-Session-Id for another session";
                    Err(check::invalid(why))
                }),
                None => self.initialize(context, message, body).await,
            };
        }
        let session = self.session(head)?;
        if matches!(message.kind(), Kind::Batch(_))
            && session.version.as_deref() != Some(Revision::V2025_03_26.as_str())
        {
            return Err(check::invalid("batches exist in revision 2025-03-26 only"));
        }
        let is_request = |message: &&Message| matches!(message.kind(), Kind::Request { .. });
        check::ids(&message)?;
        let requests: Vec<&Message> = message.elements().iter().filter(is_request).collect();
        // Reserve first, then ask and write in one step: the client may leave while it waits.
        let permit = session
            .process
            .reserve(message.body().len())
            .await
            .map_err(|why| self.unwritable(&session.process, why))?;
        let (mapped, replies) = session.process.router.ask(&requests).map_err(refused)?;
        let own = requests.iter().filter_map(|request| request.id().cloned());
        let ids = mapped.into_iter().map(|mapped| mapped.id).zip(own).collect();
        let pending = OpenRequests { process: Arc::clone(&session.process), ids, cancels: false };
        permit.write(message.body());
        body.accept();
        if message.method() == Some("notifications/cancelled")
            && let Some(id) = message.param(&["requestId"]).map(token)
        {
            // A client that cancels a request gets no answer to it.
            session.process.router.leave(&id);
        }
        if pending.ids.is_empty() {
            return Ok(accepted());
        }
        let streams = matches!(message.kind(), Kind::Batch(_));
        Awaited { replies, pending, streams }.respond(|_| StatusCode::OK).await
    }

    /// Starts the server of a new session.
    async fn initialize(
        &self,
        context: RequestContext,
        message: Message,
        body: Outbound,
    ) -> Result<Answer, Unanswered> {
        if self.supervisor.is_closed() {
            return Err(check::stopping());
        }
        let permit = self.supervisor.reserve();
        let permit =
            permit.ok_or_else(|| check::busy("as many sessions are open as may be (--max-sessions)", 5))?;
        let key = uuid::Uuid::new_v4().to_string();
        let process = self.start_for(context, &key, permit).await?;
        let writing =
            process.reserve(message.body().len()).await.map_err(|why| self.unwritable(&process, why))?;
        let (_, mut replies) = process.router.ask(&[&message]).map_err(refused)?;
        writing.write(message.body());
        body.accept();
        let (before, reply) = self.until_initialized(&process, &mut replies).await?;
        let code = reply.answers.as_ref().and_then(|answered| answered.code);
        let version = reply.message.outcome(&["protocolVersion"]).and_then(json::unescape);
        let version = version.map(|text| text.into_owned());
        let mut answer = match before.is_empty() {
            true => Answer::message(StatusCode::OK, reply.message),
            false => {
                let messages = before.into_iter().chain([reply]).map(|reply| reply.message);
                Answer::stream(futures_util::stream::iter(messages.map(StreamItem::Message)))
            }
        };
        if let Some(code) = code {
            // The session was refused: its process ends here.
            answer.head.status = status_of(code, true);
            return Ok(answer);
        }
        let session = StatefulSession { process, version, last_used: Mutex::new(self.clock().now()) };
        if let Ok(mut value) = HeaderValue::from_str(&key) {
            value.set_sensitive(true);
            answer.head.headers.insert(SESSION_ID, value);
        }
        let mut sessions = self.sessions.lock();
        // A process that has ended already will not remove its session.
        if session.process.router.over().is_none() {
            sessions.insert(key, Arc::new(session));
        }
        Ok(answer)
    }

    /// Starts the process of the session that a request opens, under the name `key`.
    async fn start_for(
        &self,
        context: RequestContext,
        key: &str,
        permit: tokio::sync::OwnedSemaphorePermit,
    ) -> Result<Arc<ServerProcess>, Unanswered> {
        let (session, frame) = (Arc::clone(&context.session), context.frame);
        let (me, own) = (self.me.clone(), key.to_owned());
        let ended = move |exit: ProcessExit| {
            if let Some(adapter) = me.upgrade() {
                adapter.sessions.lock().remove(&own);
            }
            context.end_session("the server ended", Some(exit.into()));
        };
        let options = ProcessOptions {
            spec: &self.spec,
            router: ResponseRouter::new(Clients::One, Arc::clone(&session), self.clock()),
            session: Arc::clone(&session),
            limit: self.limit(),
            supervisor: &self.supervisor,
            permit: Some(permit),
        };
        let process = self.started(ServerProcess::start(options, ended).await)?;
        let text = format!("started process {} for this session", process.id());
        session.note(Some(frame), Level::Info, text);
        Ok(process)
    }

    /// Waits for the answer to `initialize`. Returns the messages before it, and the answer.
    async fn until_initialized(
        &self,
        process: &ServerProcess,
        replies: &mut ReplyReceiver,
    ) -> Result<(Vec<QueuedReply>, QueuedReply), Unanswered> {
        let mut before = Vec::new();
        let initialized = tokio::time::timeout(INITIALIZE_TIMEOUT, async {
            while let Some(reply) = replies.recv().await {
                if reply.answers.is_some() {
                    return Some(reply);
                }
                match before.len() < MAX_BEFORE_ANSWER {
                    true => before.push(reply),
                    false => process.router.to_nobody(reply.message),
                }
            }
            None
        });
        let reply = initialized.await.map_err(|_| check::silent(INITIALIZE_TIMEOUT.as_secs()))?;
        let reply = reply.ok_or_else(|| self.ended(process))?;
        Ok((before, reply))
    }

    /// Answers a GET: the stream on which the server sends unasked.
    pub(super) fn get(&self, head: &Parts) -> Result<Answer, Unanswered> {
        if claims_stateless(head) {
            return Err(check::method_not_allowed("POST"));
        }
        check::get(&head.headers)?;
        let session = self.session(head)?;
        Ok(reply::stream(session.process.router.listen(), None, None))
    }

    /// Answers a DELETE, which ends a session.
    pub(super) fn delete(&self, head: &Parts) -> Result<Answer, Unanswered> {
        if claims_stateless(head) {
            return Err(check::method_not_allowed("POST"));
        }
        let session = self.session(head)?;
        if let Some(key) = text(&head.headers, SESSION_ID.as_str()) {
            self.sessions.lock().remove(key);
        }
        session.process.stop();
        Ok(Answer::empty(StatusCode::OK))
    }

    /// Returns the session that a request names.
    fn session(&self, head: &Parts) -> Result<Arc<StatefulSession>, Unanswered> {
        let key = text(&head.headers, SESSION_ID.as_str()).ok_or_else(check::no_session_named)?;
        let session = self.sessions.lock().get(key).cloned().ok_or_else(check::session_unknown)?;
        check::version(&head.headers)?;
        *session.last_used.lock() = self.clock().now();
        Ok(session)
    }
}

/// Returns `true` if a client of the stateless era uses a method that its era does not have.
fn claims_stateless(head: &Parts) -> bool {
    let version = text(&head.headers, "mcp-protocol-version").and_then(Revision::parse);
    head.headers.get(SESSION_ID).is_none() && version.is_some_and(|version| version.era() == Era::Stateless)
}
