//! The stateful era: every session has a process of its own, which lives as long as the session.

use std::sync::Arc;
use std::time::Duration;

use http::header::{AUTHORIZATION, COOKIE, USER_AGENT};
use http::request::Parts;
use http::{HeaderValue, StatusCode};
use parking_lot::Mutex;
use tokio::sync::OwnedSemaphorePermit;

use super::opening::{Claim, Opening, Outcome};
use super::reply::{self, Awaited, OpenRequests};
use super::{HttpAdapter, SESSION_ID, accepted, check, refused};
use crate::clock::Stamp;
use crate::http::body::Outbound;
use crate::http::{Answer, PeerAddress, RequestContext};
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
    /// The request that opened it.
    context: RequestContext,
}

impl StatefulSession {
    /// Returns the time since the last message of either side.
    fn silence(&self, now: Stamp) -> Duration {
        match self.process.router.is_busy() {
            true => Duration::ZERO,
            false => now.since((*self.last_used.lock()).max(self.process.router.last())),
        }
    }

    /// Ends the session, for this reason.
    fn end(&self, why: &'static str) {
        self.context.end_session(why, None);
        self.process.stop();
    }
}

/// Time for a server to answer `initialize`: some install themselves first.
const INITIALIZE_TIMEOUT: Duration = Duration::from_secs(120);
/// Maximum number of messages before the answer to `initialize` that are passed on.
const MAX_BEFORE_ANSWER: usize = 256;
/// Time without a message after which a session gives way to a new one when as many are open as may be.
const GIVES_WAY_AFTER: Duration = Duration::from_secs(10);
/// Time for a process to end whose session gave way.
const ROOM_TIMEOUT: Duration = Duration::from_secs(5);

impl HttpAdapter {
    /// Ends sessions that were silent for too long, and those whose client has not come back for the answer.
    pub(super) fn sweep(&self) {
        let now = self.clock().now();
        let idle = self.idle;
        self.sessions.lock().retain(|_, session| {
            if session.process.router.is_busy() {
                *session.last_used.lock() = now;
            }
            let is_expired = !idle.is_zero() && session.silence(now) > idle;
            if is_expired {
                session.end("idle for too long");
            }
            !is_expired
        });
        let mut forgotten = Vec::new();
        self.openings.lock().retain(|opening| {
            let is_forgotten = opening.is_forgotten(now);
            if is_forgotten {
                forgotten.push(Arc::clone(opening));
            }
            !is_forgotten
        });
        for opening in forgotten {
            self.sessions.lock().remove(&opening.key);
            opening.process.stop();
        }
    }

    /// Makes room for a session: the one that has been silent for longest gives way to it.
    ///
    /// # Errors
    /// If as many sessions are open as may be, and none has been silent for a while.
    async fn room(&self) -> Result<OwnedSemaphorePermit, Unanswered> {
        let full = || check::busy("as many sessions are open as may be (--max-sessions)", 5);
        if let Some(permit) = self.supervisor.reserve() {
            return Ok(permit);
        }
        if !self.give_way() && !self.supervisor.is_any_ending() {
            return Err(full());
        }
        tokio::time::timeout(ROOM_TIMEOUT, self.supervisor.reserved()).await.ok().flatten().ok_or_else(full)
    }

    /// Ends the session that has been silent for longest. Returns `false` if none has been for a while.
    fn give_way(&self) -> bool {
        let now = self.clock().now();
        let least = match self.idle.is_zero() {
            true => GIVES_WAY_AFTER,
            false => GIVES_WAY_AFTER.min(self.idle),
        };
        let unwanted = {
            let mut openings = self.openings.lock();
            let at = openings.iter().position(|opening| opening.is_unwanted());
            at.map(|at| openings.remove(at))
        };
        let mut sessions = self.sessions.lock();
        if let Some(opening) = unwanted {
            sessions.remove(&opening.key);
            opening.process.stop();
            return true;
        }
        let silent = sessions.iter().filter(|(_, session)| !session.process.router.is_busy());
        let silent = silent.map(|(key, session)| (session.silence(now), key.clone())).max();
        let Some((_, key)) = silent.filter(|(silence, _)| *silence >= least) else { return false };
        if let Some(session) = sessions.remove(&key) {
            session.end("gave way to another session");
        }
        true
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
                None => self.initialize(head, context, message, body).await,
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

    /// Answers `initialize`: with the answer of a process that is started for it, or that was started for an earlier
    /// try of the same client.
    async fn initialize(
        &self,
        head: &Parts,
        context: RequestContext,
        message: Message,
        body: Outbound,
    ) -> Result<Answer, Unanswered> {
        let (Some(me), Some(id)) = (self.me.upgrade(), message.id().cloned()) else {
            return Err(check::stopping());
        };
        if self.supervisor.is_closed() {
            return Err(check::stopping());
        }
        let params = message.params().map(|span| message.raw().slice(span)).unwrap_or_default();
        let client = client_of(head);
        let known = self.openings.lock().iter().find_map(|opening| {
            let is_same = opening.client == client && opening.params == params;
            is_same
                .then(|| Claim::new(Arc::clone(&me), opening, id.clone()))
                .flatten()
                .map(|claim| (claim, opening.process.id()))
        });
        if let Some((claim, process)) = known {
            let text =
                format!("answered by process {process}, which an earlier initialize of this client started");
            context.session.note(Some(context.frame), Level::Info, text);
            body.accept();
            return claim.respond().await;
        }
        let permit = self.room().await?;
        let key = uuid::Uuid::new_v4().to_string();
        let (process, context) = self.start_for(context, &key, permit).await?;
        let writing =
            process.reserve(message.body().len()).await.map_err(|why| self.unwritable(&process, why))?;
        let (_, replies) = process.router.ask(&[&message]).map_err(refused)?;
        writing.write(message.body());
        body.accept();
        let opening = Opening::new(key, params, client, Arc::clone(&context.session), process);
        self.openings.lock().push(Arc::clone(&opening));
        let claim = Claim::new(Arc::clone(&me), &opening, id).ok_or_else(check::stopping)?;
        tokio::spawn(async move { me.open(opening, replies, context).await });
        claim.respond().await
    }

    /// Waits for the answer of a process to `initialize`, whether or not its client does, and opens the session.
    async fn open(&self, opening: Arc<Opening>, mut replies: ReplyReceiver, context: RequestContext) {
        let outcome = match self.until_initialized(&opening.process, &mut replies).await {
            Ok((before, reply)) => Outcome::Answered {
                before: before.into_iter().map(|reply| reply.message).collect(),
                code: reply.answers.as_ref().and_then(|answered| answered.code),
                answer: reply.message,
            },
            Err(why) => Outcome::Failed(why),
        };
        if let Outcome::Answered { answer, code: None, .. } = &outcome {
            let version = answer.outcome(&["protocolVersion"]).and_then(json::unescape);
            let session = StatefulSession {
                process: Arc::clone(&opening.process),
                version: version.map(|text| text.into_owned()),
                last_used: Mutex::new(self.clock().now()),
                context,
            };
            let is_wanted = self.openings.lock().iter().any(|known| Arc::ptr_eq(known, &opening));
            let mut sessions = self.sessions.lock();
            // A process that has ended already will not remove its session; one whose session was deleted ends.
            if is_wanted && opening.process.router.over().is_none() {
                sessions.insert(opening.key.clone(), Arc::new(session));
            }
        }
        let is_open = matches!(outcome, Outcome::Answered { code: None, .. });
        opening.settle(outcome, self.clock().now());
        if !is_open {
            // A client that tries again gets another process.
            self.forget(&opening);
        }
    }

    /// Forgets an opening whose outcome was given to its client.
    pub(super) fn forget(&self, opening: &Arc<Opening>) {
        self.openings.lock().retain(|known| !Arc::ptr_eq(known, opening));
    }

    /// Starts the process of the session that a request opens, under the name `key`.
    async fn start_for(
        &self,
        context: RequestContext,
        key: &str,
        permit: OwnedSemaphorePermit,
    ) -> Result<(Arc<ServerProcess>, RequestContext), Unanswered> {
        let (session, frame) = (Arc::clone(&context.session), context.frame);
        let (me, own, ending) = (self.me.clone(), key.to_owned(), context.clone());
        let ended = move |exit: ProcessExit| {
            let adapter = me.upgrade();
            let was_open = adapter.as_ref().is_some_and(|it| it.sessions.lock().remove(&own).is_some());
            // The client of a try that it gave up may have another under way.
            let is_other =
                |opening: &Arc<Opening>| Arc::ptr_eq(&opening.session, &ending.session) && opening.key != own;
            let has_other = adapter.as_ref().is_some_and(|it| it.openings.lock().iter().any(is_other));
            if was_open || !has_other {
                ending.end_session("the server ended", Some(exit.into()));
            }
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
        Ok((process, context))
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
        let key = text(&head.headers, SESSION_ID.as_str()).unwrap_or_default();
        let opening = self.openings.lock().iter().find(|opening| opening.key == key).cloned();
        if let Some(opening) = opening {
            self.forget(&opening);
            self.sessions.lock().remove(key);
            opening.settle(Outcome::Failed(check::session_unknown()), self.clock().now());
            opening.process.stop();
            return Ok(Answer::empty(StatusCode::OK));
        }
        let session = self.session(head)?;
        self.sessions.lock().remove(key);
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

/// Returns what tells a client from others while it has no session.
fn client_of(head: &Parts) -> Vec<u8> {
    let peer = head.extensions.get::<PeerAddress>().map(|peer| peer.0.to_string()).unwrap_or_default();
    let header =
        |name| head.headers.get(name).map(|value: &HeaderValue| value.as_bytes()).unwrap_or_default();
    [peer.as_bytes(), header(USER_AGENT), header(AUTHORIZATION), header(COOKIE)].join(&0)
}

/// Returns `true` if a client of the stateless era uses a method that its era does not have.
fn claims_stateless(head: &Parts) -> bool {
    let version = text(&head.headers, "mcp-protocol-version").and_then(Revision::parse);
    head.headers.get(SESSION_ID).is_none() && version.is_some_and(|version| version.era() == Era::Stateless)
}
