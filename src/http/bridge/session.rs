//! The session at the server: how it is opened, replaced once it is lost, listened to and deleted.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use http::response::Parts;
use http::{HeaderValue, Method, StatusCode};
use http_body_util::BodyExt;
use tokio::task::AbortHandle;

use super::error::ExchangeError;
use super::exchange::{Position, may_be_loss, read};
use super::request::{Accepts, SESSION_ID};
use super::{Bridge, MAX_MESSAGE_BYTES, ORDER_PATIENCE, Step, Turn};
use crate::log::record::{Level, SessionId};
use crate::mcp::handshake::{Handshake, changed_lists};
use crate::mcp::sse::{EventPart, EventSplitter};
use crate::mcp::{Id, Kind, Message, compose, json};
use crate::transport::http::{HttpBody, headers};

/// The session at the server, and what is needed to open another.
pub(super) struct Upstream {
    pub session: Session,
    /// The client's handshake, for its repetition.
    pub handshake: Handshake,
    /// The path that requests go to: that of the URL, or where the server has redirected to.
    pub path: String,
    /// The task that reads the stream of messages that answer no request.
    listening: Option<AbortHandle>,
    /// Set once the client has ended its handshake: from then on the stream is wanted in every session.
    wants_stream: bool,
}

/// The last attempt to replace a lost session, for the exchanges that waited for it.
#[derive(Default)]
pub(super) struct Replacement {
    /// Number of attempts.
    attempts: AtomicU64,
    /// The failure of the last one. Held while a session is replaced: one exchange does it, the others wait.
    failure: tokio::sync::Mutex<Option<ExchangeError>>,
}

/// A session as it was when a request was sent.
#[derive(Debug, Clone, Default)]
pub(super) struct Session {
    /// Number of the session, counted from 1; 0 before the first.
    pub number: u32,
    /// The id that the server assigned (2025-03-26 to 2025-11-25, basic/transports).
    pub id: Option<HeaderValue>,
    /// The revision that was negotiated with `initialize`.
    pub version: Option<HeaderValue>,
}

/// Time limit for the answer to the repeated handshake.
const GREETING_TIMEOUT: Duration = Duration::from_secs(30);

impl Upstream {
    pub(super) fn at(path: String) -> Self {
        Self {
            session: Session::default(),
            handshake: Handshake::default(),
            path,
            listening: None,
            wants_stream: false,
        }
    }

    /// Returns `true` if the client speaks the stateless era: it has sent no `initialize`.
    pub(super) fn is_stateless(&self) -> bool {
        self.handshake.initialize().is_none()
    }
}

impl Bridge {
    pub(super) fn session(&self) -> Session {
        self.upstream.lock().session.clone()
    }

    pub(super) fn note(&self, text: &str) {
        let host = &self.service.exchanges().sessions.context.host;
        host.note(SessionId(0), Level::Warning, text.to_owned());
    }

    /// Enters the session that a response to `initialize` opens, as soon as its head has come: the server may ask
    /// the client before it answers. A session that was open before is deleted.
    pub(super) fn opened(self: &Arc<Self>, head: &Parts) -> Session {
        let mut upstream = self.upstream.lock();
        let before = std::mem::take(&mut upstream.session);
        upstream.session =
            Session { number: before.number + 1, id: head.headers.get(SESSION_ID).cloned(), version: None };
        let session = upstream.session.clone();
        drop(upstream);
        if before.id.is_some() && before.id != session.id {
            let bridge = Arc::clone(self);
            self.spawn(async move {
                // The server forgets the session by itself if this fails.
                let _ = bridge.send(Method::DELETE, None, &before, Accepts::Both, None).await;
            });
        }
        session
    }

    /// Enters the revision that the answer to `initialize` names.
    pub(super) fn negotiated(&self, answer: &Message) -> Session {
        let version = answer.outcome(&["protocolVersion"]).and_then(json::unescape);
        let mut upstream = self.upstream.lock();
        upstream.session.version = version.and_then(|version| HeaderValue::from_str(&version).ok());
        upstream.session.clone()
    }

    /// Returns the reason for which the server refused a message, if it has lost the session. The message was
    /// not carried out then, so it may be sent again.
    pub(super) async fn loss(
        self: &Arc<Self>,
        asked: &Message,
        session: &Session,
        status: StatusCode,
        body: &[u8],
    ) -> Option<String> {
        session.id.as_ref()?;
        if !may_be_loss(status) || asked.method() == Some("initialize") {
            return None;
        }
        let error = Message::parse(body.to_vec().into());
        // The error of a handler names the request; a method that is not found is no session that is lost.
        let is_handlers = error.id().is_some() && error.id() == asked.id();
        let unknown = error.outcome(&["code"]) == Some(compose::METHOD_NOT_FOUND.to_string().as_bytes());
        let is_lost = match status {
            StatusCode::NOT_FOUND => !unknown,
            _ => !is_handlers && self.is_dead(session).await,
        };
        is_lost.then(|| format!("the server has lost the session ({status})"))
    }

    /// Asks with a ping whether the server still knows a session.
    async fn is_dead(&self, session: &Session) -> bool {
        let ping = Message::parse(compose::request(&Id::text("sc-bridge-ping"), "ping", None));
        match self.send(Method::POST, Some(&ping), session, Accepts::Both, None).await {
            Ok(response) => may_be_loss(response.status()),
            Err(_) => false,
        }
    }

    /// Opens a session in the place of a lost one with the handshake of the client. Of several exchanges that
    /// notice the loss one does it, and the others share its outcome.
    ///
    /// # Errors
    /// The reason for which there is no new session.
    pub(super) async fn replace(
        self: &Arc<Self>,
        lost: &Session,
        why: &str,
    ) -> Result<Session, ExchangeError> {
        let attempts = self.replacement.attempts.load(Ordering::Relaxed);
        let mut failure = self.replacement.failure.lock().await;
        let current = self.session();
        if current.number != lost.number {
            return Ok(current);
        }
        if self.replacement.attempts.load(Ordering::Relaxed) != attempts
            && let Some(failure) = &*failure
        {
            return Err(failure.clone());
        }
        let replaced = self.try_replace(lost, why).await;
        self.replacement.attempts.fetch_add(1, Ordering::Relaxed);
        *failure = replaced.as_ref().err().cloned();
        replaced
    }

    async fn try_replace(self: &Arc<Self>, lost: &Session, why: &str) -> Result<Session, ExchangeError> {
        let handshake = self.upstream.lock().handshake.clone();
        let Some(initialize) = handshake.initialize() else {
            return Err(ExchangeError::Lost(why.to_owned()));
        };
        let listening = self.upstream.lock().listening.take();
        listening.inspect(AbortHandle::abort);
        let greeted = tokio::time::timeout(GREETING_TIMEOUT, self.greet(initialize)).await;
        let (session, answer) = match greeted {
            Ok(Ok(greeted)) => greeted,
            failed => {
                // The session is as lost as before, whatever its successor got as far as.
                self.upstream.lock().session = lost.clone();
                let lost = why.to_owned();
                return Err(match failed {
                    Ok(Err(refused)) => ExchangeError::NotReplaced { lost, why: Box::new(refused) },
                    _ => ExchangeError::HandshakeUnanswered { lost, limit: GREETING_TIMEOUT },
                });
            }
        };
        if let Some(initialized) = handshake.initialized() {
            let sent = self.send(Method::POST, Some(initialized), &session, Accepts::Both, None);
            // Later messages go on even if the server leaves this one without a response.
            let _ = tokio::time::timeout(ORDER_PATIENCE, sent).await;
        }
        if self.upstream.lock().wants_stream {
            self.listen();
        }
        self.note(&format!("{why}: the handshake was repeated in a new session"));
        let asked = self.requests.lock().asked_in(lost.number);
        for id in asked {
            self.say(&compose::cancelled(&id, "the session was lost")).await;
        }
        let own = self.client.lock().clone();
        match own {
            // The screen shows the offers of the new session, whether or not the server announces changes.
            Some(client) => drop(tokio::spawn(async move { client.list_all().await })),
            None => {
                for line in changed_lists(&answer) {
                    self.say(&line).await;
                }
            }
        }
        Ok(session)
    }

    /// Sends `initialize` again, and reads its answer, which the client does not get.
    async fn greet(self: &Arc<Self>, initialize: &Message) -> Result<(Session, Message), ExchangeError> {
        let response =
            self.send(Method::POST, Some(initialize), &Session::default(), Accepts::Both, None).await?;
        let (head, body) = response.into_parts();
        if head.status.is_success() {
            self.upstream.lock().session.id = None; // it is dead: do not delete it
            self.opened(&head);
        }
        let answer = match headers::is_type(&head.headers, "text/event-stream") {
            true => self.first_response(body).await,
            false => Some(Message::parse(read(body, 1 << 20, GREETING_TIMEOUT).await)),
        };
        match answer {
            Some(answer) if head.status.is_success() && matches!(answer.kind(), Kind::Response { .. }) => {
                Ok((self.negotiated(&answer), answer))
            }
            answer => {
                let body = answer.map(|answer| answer.raw().clone()).unwrap_or_default();
                Err(ExchangeError::Refused(self.refusal(&head, &body).text()))
            }
        }
    }

    /// Reads an event stream up to its first response. What comes before is the client's.
    async fn first_response(&self, mut body: HttpBody) -> Option<Message> {
        let mut splitter = EventSplitter::new(MAX_MESSAGE_BYTES);
        while let Some(Ok(frame)) = body.frame().await {
            splitter.feed(&frame.into_data().unwrap_or_default());
            while let Some(part) = splitter.next_piece() {
                let EventPart::Event(event) = part else { continue };
                if !event.is_message() {
                    continue;
                }
                let message = Message::parse(event.data.unwrap_or_default());
                match message.kind() {
                    Kind::Response { .. } | Kind::Failure { .. } => return Some(message),
                    Kind::Request { id, .. } => {
                        let session = self.session().number;
                        self.requests.lock().ask(id, session);
                        self.say(message.body()).await;
                    }
                    Kind::Notification { .. } => self.say(message.body()).await,
                    _ => {}
                }
            }
        }
        None
    }

    /// Opens the stream of messages that answer no request, and keeps it open. Servers without such a stream
    /// refuse it. A server that no longer knows the session is greeted anew.
    pub(super) fn listen(self: &Arc<Self>) {
        let bridge = Arc::clone(self);
        let task = self.spawn(async move {
            let (mut position, mut session) = (Position::default(), bridge.session());
            let mut was_open = false;
            let (mut turn, _) = Turn::new(Step::Begun);
            loop {
                let last = position.last.clone();
                let opened = bridge.send(Method::GET, None, &session, Accepts::Events, last.as_deref()).await;
                match opened.map(http::Response::into_parts) {
                    Ok((head, body)) if head.status == StatusCode::OK => {
                        was_open = true;
                        bridge.stream(0, body, &mut position, &mut turn).await;
                    }
                    // A stream that was open before: the session is lost. `replace` aborts this task.
                    Ok((head, _)) if head.status == StatusCode::NOT_FOUND && was_open => {
                        let lost = session.clone();
                        let replacing = Arc::clone(&bridge);
                        bridge.spawn(async move {
                            // The next message of the client tries again.
                            let _ = replacing
                                .replace(&lost, "the server has lost the session (404 Not Found)")
                                .await;
                        });
                        return;
                    }
                    // The server has no such stream.
                    Ok((head, _)) if head.status.is_client_error() => return,
                    Ok(_) | Err(_) => position.vain += 1,
                }
                tokio::time::sleep(position.wait()).await;
                session = bridge.session();
            }
        });
        let before = {
            let mut upstream = self.upstream.lock();
            upstream.wants_stream = true;
            upstream.listening.replace(task)
        };
        before.inspect(AbortHandle::abort);
    }

    /// Deletes the session at the server, if there is one.
    pub(super) async fn delete_session(&self, patience: Duration) {
        let session = std::mem::take(&mut self.upstream.lock().session);
        if session.id.is_none() {
            return;
        }
        let deleted = async {
            if let Ok(response) = self.send(Method::DELETE, None, &session, Accepts::Both, None).await {
                let _ = response.into_body().collect().await;
            }
        };
        // The server forgets the session by itself if this fails.
        let _ = tokio::time::timeout(patience, deleted).await;
    }
}
