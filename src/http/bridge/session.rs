//! The session at the server: how it is opened, replaced once it is lost, listened to and deleted.

use std::sync::Arc;
use std::time::Duration;

use http::response::Parts;
use http::{HeaderValue, Method, StatusCode};
use http_body_util::BodyExt;
use tokio::task::AbortHandle;

use super::error::ExchangeError;
use super::exchange::{Position, RETRY_DELAY, may_be_loss, read};
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

/// Maximum wait before a failed stream is opened again.
const MAX_RETRY_DELAY: Duration = Duration::from_secs(30);
/// Time limit for the answer to the repeated handshake.
const GREETING_TIMEOUT: Duration = Duration::from_secs(30);

impl Upstream {
    pub(super) fn at(path: String) -> Self {
        Self { session: Session::default(), handshake: Handshake::default(), path, listening: None }
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

    /// Enters the session that the answer to `initialize` opens. A session that was open before is deleted.
    pub(super) fn opened(self: &Arc<Self>, head: &Parts, answer: &Message) -> Session {
        let mut upstream = self.upstream.lock();
        let before = std::mem::take(&mut upstream.session);
        let version = answer.outcome(&["protocolVersion"]).and_then(json::unescape);
        upstream.session = Session {
            number: before.number + 1,
            id: head.headers.get(SESSION_ID).cloned(),
            version: version.and_then(|version| HeaderValue::from_str(&version).ok()),
        };
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
    /// notice the loss one does it.
    ///
    /// # Errors
    /// The reason for which there is no new session.
    pub(super) async fn replace(
        self: &Arc<Self>,
        lost: &Session,
        why: &str,
    ) -> Result<Session, ExchangeError> {
        let _only = self.replacing.lock().await;
        let current = self.session();
        if current.number != lost.number {
            return Ok(current);
        }
        let handshake = self.upstream.lock().handshake.clone();
        let Some(initialize) = handshake.initialize() else {
            return Err(ExchangeError::Lost(why.to_owned()));
        };
        let listened = self.upstream.lock().listening.take().inspect(AbortHandle::abort).is_some();
        let greeted = tokio::time::timeout(GREETING_TIMEOUT, self.greet(initialize)).await;
        let (session, answer) = match greeted {
            Ok(Ok(greeted)) => greeted,
            Ok(Err(refused)) => {
                return Err(ExchangeError::NotReplaced { lost: why.to_owned(), why: Box::new(refused) });
            }
            Err(_) => {
                let (lost, limit) = (why.to_owned(), GREETING_TIMEOUT);
                return Err(ExchangeError::HandshakeUnanswered { lost, limit });
            }
        };
        if let Some(initialized) = handshake.initialized() {
            let sent = self.send(Method::POST, Some(initialized), &session, Accepts::Both, None);
            // Later messages go on even if the server leaves this one without a response.
            let _ = tokio::time::timeout(ORDER_PATIENCE, sent).await;
        }
        if listened {
            self.listen();
        }
        self.note(&format!("{why}: the handshake was repeated in a new session"));
        let asked = self.requests.lock().take_asked(lost.number);
        for id in asked {
            self.say(&compose::cancelled(&id, "the session was lost")).await;
        }
        for line in changed_lists(&answer) {
            self.say(&line).await;
        }
        Ok(session)
    }

    /// Sends `initialize` again, and reads its answer, which the client does not get.
    async fn greet(self: &Arc<Self>, initialize: &Message) -> Result<(Session, Message), ExchangeError> {
        let response =
            self.send(Method::POST, Some(initialize), &Session::default(), Accepts::Both, None).await?;
        let (head, body) = response.into_parts();
        let answer = match headers::is_type(&head.headers, "text/event-stream") {
            true => self.first_response(body).await,
            false => Some(Message::parse(read(body, 1 << 20, GREETING_TIMEOUT).await)),
        };
        match answer {
            Some(answer) if head.status.is_success() && matches!(answer.kind(), Kind::Response { .. }) => {
                self.upstream.lock().session.id = None; // it is dead: do not delete it
                Ok((self.opened(&head, &answer), answer))
            }
            answer => {
                let body = answer.map(|answer| answer.raw().clone()).unwrap_or_default();
                Err(ExchangeError::Refused(self.refusal(&head, &body).text()))
            }
        }
    }

    /// Reads an event stream up to its first response. Notifications before it are the client's.
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
            let (mut wait, mut was_open) = (RETRY_DELAY, false);
            let (mut turn, _) = Turn::new(Step::Begun);
            loop {
                position.moved = false;
                let last = position.last.clone();
                let opened = bridge.send(Method::GET, None, &session, Accepts::Events, last.as_deref()).await;
                match opened.map(http::Response::into_parts) {
                    Ok((head, body)) if head.status == StatusCode::OK => {
                        was_open = true;
                        bridge.stream(0, &head, body, &mut position, &mut turn).await;
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
                    Ok(_) | Err(_) => {}
                }
                wait = if position.moved { RETRY_DELAY } else { (wait * 2).min(MAX_RETRY_DELAY) };
                tokio::time::sleep(position.retry.map_or(wait, Duration::from_millis)).await;
                session = bridge.session();
            }
        });
        if let Some(before) = self.upstream.lock().listening.replace(task) {
            before.abort();
        }
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
