//! One message of the client and everything that the server says to it.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::response::Parts;
use http::{Method, StatusCode};
use http_body_util::BodyExt;

use super::error::ExchangeError;
use super::refusal::{self, Refusal};
use super::request::Accepts;
use super::requests::{Correlation, Settled};
use super::session::Session;
use super::{Bridge, MAX_MESSAGE_BYTES, Step, Turn};
use crate::mcp::sse::{Event, EventPart, EventSplitter};
use crate::mcp::{Id, Kind, Message, compose, json, remap};
use crate::transport::http::upstream::chain;
use crate::transport::http::{HttpBody, headers};

/// Position at which an event stream ended.
#[derive(Default)]
pub(super) struct Position {
    pub last: Option<String>,
    pub retry: Option<u64>,
    /// Number of connections in a row that brought nothing new.
    pub vain: u32,
    /// Set by an event of this connection that is new: its id, or its message.
    moved: bool,
    /// Ids of earlier events.
    seen: HashSet<String>,
    /// The first response on the stream that names no request. It answers the request of the exchange if the
    /// stream brings no better answer.
    unmatched: Option<Message>,
}

/// Wait before a stream is resumed, if the server gives no `retry` time. It doubles with each try in vain.
const RETRY_DELAY: Duration = Duration::from_secs(1);
/// Minimum wait before a stream is resumed: a server may ask for none.
const MIN_RETRY_DELAY: Duration = Duration::from_millis(100);
/// Maximum of the wait that doubles.
const MAX_RETRY_DELAY: Duration = Duration::from_secs(30);
/// Maximum number of event ids that are remembered for a stream.
const MAX_SEEN: usize = 4096;
/// Maximum number of tries in a row that bring nothing.
const MAX_VAIN: u32 = 5;
/// Time for an answer to come on the stream of another request.
const OTHER_STREAM: Duration = Duration::from_millis(200);
/// Bytes that are read of a body with an error.
const REFUSAL_BYTES: usize = 64 << 10;
/// Time for which a body with an error is read.
const REFUSAL_TIMEOUT: Duration = Duration::from_secs(10);

impl Bridge {
    /// Sends a message, passes on what the server says to it, and answers each request in it that the server
    /// leaves unanswered.
    pub(super) async fn exchange(self: Arc<Self>, number: u64, message: Message, mut turn: Turn) {
        let outcome = self.post(number, &message, &mut turn).await;
        let left = self.requests.lock().end(number);
        let why = outcome.err().unwrap_or(ExchangeError::Unanswered);
        for id in &left {
            self.say(&compose::failure(Some(id), compose::INTERNAL_ERROR, &format!("shadowcat: {why}")))
                .await;
        }
        self.settled.notify_waiters();
    }

    async fn post(
        self: &Arc<Self>,
        number: u64,
        message: &Message,
        turn: &mut Turn,
    ) -> Result<(), ExchangeError> {
        /// Number of sessions in which a message is tried.
        const SESSIONS: usize = 2;
        let opens = message.method() == Some("initialize");
        let mut session = if opens { Session::default() } else { self.session() };
        // An answer belongs to the session in which the server asked, also when it is sent again.
        let asked_in = self.requests.lock().take_asked(message);
        for tried in 1.. {
            if asked_in.is_some_and(|asked_in| asked_in != session.number) {
                self.note("an answer to a request of a lost session was not sent");
                return Ok(());
            }
            let sent = self.send(Method::POST, Some(message), &session, Accepts::Both, None).await?;
            turn.reached(Step::Accepted);
            let (head, body) = sent.into_parts();
            if head.status.is_success() {
                if opens {
                    self.opened(&head);
                }
                return self.receive(number, &head, body, turn).await;
            }
            let body = read(body, REFUSAL_BYTES, REFUSAL_TIMEOUT).await;
            let loss = match tried < SESSIONS {
                true => self.loss(message, &session, head.status, &body).await,
                // It is refused in a new session too: the session is not the reason.
                false => None,
            };
            match loss {
                Some(why) => session = self.replace(&session, &why).await?,
                None => return self.refused(number, message, &head, &body).await,
            }
        }
        Ok(())
    }

    async fn receive(
        self: &Arc<Self>,
        number: u64,
        head: &Parts,
        body: HttpBody,
        turn: &mut Turn,
    ) -> Result<(), ExchangeError> {
        if headers::is_type(&head.headers, "text/event-stream") {
            return self.follow(number, body, turn).await;
        }
        let body = whole(body).await?;
        let answer = Message::parse(body.clone());
        let answers = matches!(answer.kind(), Kind::Response { .. } | Kind::Failure { .. } | Kind::Batch(_));
        if answers {
            self.on_message(number, &answer, Correlation::Exchange, turn).await;
            return Ok(());
        }
        // A notification or an answer is accepted with whatever body.
        if self.requests.lock().is_settled(number) {
            return Ok(());
        }
        Err(ExchangeError::Refused(self.refusal(head, &body).text()))
    }

    /// Passes on a refusal with an error of JSON-RPC as the answer to the only request; any other becomes an
    /// error of ours.
    async fn refused(
        self: &Arc<Self>,
        number: u64,
        asked: &Message,
        head: &Parts,
        body: &Bytes,
    ) -> Result<(), ExchangeError> {
        let error = Message::parse(body.clone());
        let refusal = self.refusal(head, body);
        if error.id().is_some() && error.id() == asked.id() && matches!(error.kind(), Kind::Failure { .. }) {
            // The error of a handler, not of its transport: unchanged.
            let settled = self.requests.lock().settle(number, error.id(), Correlation::Exchange);
            if let Settled::Request(_) = settled {
                self.say(error.body()).await;
            }
            return Ok(());
        }
        let is_error = matches!(error.kind(), Kind::Failure { .. });
        let settled = is_error.then(|| self.requests.lock().settle(number, None, Correlation::Exchange));
        if let Some(Settled::Request(id)) = settled {
            self.say(&refusal.with_code_of(&error, &id)).await;
            return Ok(());
        }
        if self.requests.lock().is_settled(number) {
            self.note(&refusal.text());
        }
        Err(ExchangeError::Refused(refusal.text()))
    }

    pub(super) fn refusal<'a>(&'a self, head: &'a Parts, body: &'a [u8]) -> Refusal<'a> {
        let exchanges = self.service.exchanges();
        refusal::Refusal {
            head,
            body,
            address: exchanges.upstream.address(),
            cleaner: &exchanges.sessions.context.cleaner,
        }
    }

    // --- event streams

    /// Passes on the events of a response, and resumes its stream until the request is answered (2025-11-25,
    /// basic/transports, resumability; SEP-1699).
    async fn follow(
        self: &Arc<Self>,
        number: u64,
        body: HttpBody,
        turn: &mut Turn,
    ) -> Result<(), ExchangeError> {
        let session = self.session();
        let mut position = Position::default();
        self.stream(number, body, &mut position, turn).await;
        loop {
            if self.requests.lock().is_settled(number) {
                return Ok(());
            }
            let Some(last) = position.last.clone() else {
                // Some servers answer on the stream of another request, and end this one first.
                if self.requests.lock().has_others(number) {
                    tokio::time::sleep(OTHER_STREAM).await;
                    if self.requests.lock().is_settled(number) {
                        return Ok(());
                    }
                }
                let Some(answer) = position.unmatched else { return Err(ExchangeError::StreamEnded) };
                self.on_message(number, &answer, Correlation::Exchange, turn).await;
                return Ok(());
            };
            if position.vain == MAX_VAIN {
                return Err(ExchangeError::ResumedInVain(position.vain));
            }
            tokio::time::sleep(position.wait()).await;
            let resumed = self.send(Method::GET, None, &session, Accepts::Events, Some(&last)).await;
            match resumed.map(http::Response::into_parts) {
                Ok((head, body))
                    if head.status.is_success() && headers::is_type(&head.headers, "text/event-stream") =>
                {
                    self.stream(number, body, &mut position, turn).await;
                }
                Ok((head, body)) if head.status.is_client_error() => {
                    let body = read(body, REFUSAL_BYTES, REFUSAL_TIMEOUT).await;
                    let why = self.refusal(&head, &body).text();
                    return Err(ExchangeError::NotResumed(why));
                }
                // The server cannot be reached now.
                Ok(_) | Err(_) => position.vain += 1,
            }
        }
    }

    /// Passes on the events of a stream up to its end.
    pub(super) async fn stream(
        self: &Arc<Self>,
        number: u64,
        mut body: HttpBody,
        position: &mut Position,
        turn: &mut Turn,
    ) {
        position.moved = false;
        let mut splitter = EventSplitter::new(MAX_MESSAGE_BYTES);
        while let Some(Ok(frame)) = body.frame().await {
            let Ok(data) = frame.into_data() else { continue };
            splitter.feed(&data);
            while let Some(piece) = splitter.next_piece() {
                if let EventPart::Event(event) = piece {
                    self.event(number, event, position, turn).await;
                }
            }
        }
        position.vain = if position.moved { 0 } else { position.vain + 1 };
    }

    async fn event(self: &Arc<Self>, number: u64, event: Event, position: &mut Position, turn: &mut Turn) {
        position.retry = event.retry.or(position.retry);
        if let Some(id) = &event.id {
            if !position.moved && position.seen.contains(id) {
                // The server sends again what came before the stream was resumed.
                return;
            }
            position.moved = true;
            if position.seen.len() == MAX_SEEN {
                position.seen.clear();
            }
            position.seen.insert(id.clone());
            // An empty id resets the position (WHATWG HTML, 9.2.6).
            position.last = Some(id.clone()).filter(|id| !id.is_empty());
        }
        if event.is_message() {
            position.moved = true;
            let message = Message::parse(event.data.unwrap_or_default());
            let settled = self.on_message(number, &message, Correlation::Id, turn).await;
            if settled == Some(Settled::Unknown) && position.unmatched.is_none() {
                position.unmatched = Some(message);
            }
        }
    }

    // --- messages of the server

    /// Writes a message of the server to the client. A response gets the id of the request that it answers. Returns
    /// what a single response is to the client.
    async fn on_message(
        self: &Arc<Self>,
        number: u64,
        message: &Message,
        by: Correlation,
        turn: &mut Turn,
    ) -> Option<Settled> {
        match message.kind() {
            Kind::Batch(elements) => {
                for element in elements {
                    Box::pin(self.on_message(number, element, by, turn)).await;
                }
            }
            Kind::Request { id, .. } => {
                let session = self.session().number;
                self.requests.lock().ask(id, session);
                self.say(message.body()).await;
            }
            Kind::Response { .. } | Kind::Failure { .. } => {
                let settled = self.requests.lock().settle(number, message.id(), by);
                let is_first = matches!(settled, Settled::Request(_));
                if turn.wanted == Step::Answered && is_first && !message.is_error() {
                    self.negotiated(message);
                }
                match &settled {
                    Settled::Request(id) if message.id().is_some_and(|given| given.same_spelling(id)) => {
                        self.say(message.body()).await
                    }
                    Settled::Request(id) => self.say(&respelled(message, id)).await,
                    // The client may still want it.
                    Settled::GivenUp => self.say(message.body()).await,
                    Settled::Again => {
                        self.note("the server answered a request twice; the second answer stops here")
                    }
                    Settled::Unknown if by == Correlation::Exchange => self
                        .note("an answer of the server names no request that waits for one; it stops here"),
                    Settled::Unknown => {}
                }
                self.settled.notify_waiters();
                turn.reached(Step::Answered);
                return Some(settled);
            }
            Kind::Notification { method, .. } => {
                if method == "notifications/cancelled" {
                    self.requests.lock().forget_asked(message);
                }
                self.say(message.body()).await;
            }
            Kind::Opaque(_) => self.say(message.body()).await,
        }
        None
    }
}

impl Position {
    /// Returns the wait before the stream is asked for again: the one that the server asked for, doubled with each
    /// try in vain.
    pub(super) fn wait(&self) -> Duration {
        let asked = self.retry.map_or(RETRY_DELAY, Duration::from_millis).max(MIN_RETRY_DELAY);
        asked.saturating_mul(1 << self.vain.min(16)).min(MAX_RETRY_DELAY.max(asked))
    }
}

/// Returns a response with the id of its request. Only the span of the id changes, if there is one.
fn respelled(message: &Message, id: &Id) -> Bytes {
    let body = message.body();
    match json::member(body, 0..body.len(), "id") {
        Some(_) => remap::answer(body, id),
        None => {
            let error = json::member(body, 0..body.len(), "error").map(|span| &body[span]).unwrap_or(b"null");
            format!(r#"{{"jsonrpc":"2.0","id":{},"error":{}}}"#, id.token(), String::from_utf8_lossy(error))
                .into()
        }
    }
}

/// Reads the whole of a body.
///
/// # Errors
/// If it breaks off, or is longer than a message may be.
async fn whole(mut body: HttpBody) -> Result<Bytes, ExchangeError> {
    let mut read = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| ExchangeError::BrokenOff(chain(error.as_ref())))?;
        read.extend_from_slice(&frame.into_data().unwrap_or_default());
        if read.len() > MAX_MESSAGE_BYTES {
            return Err(ExchangeError::TooLong);
        }
    }
    Ok(read.freeze())
}

/// Reads a body of at most `most` bytes, as far as it comes in time.
pub(super) async fn read(mut body: HttpBody, most: usize, timeout: Duration) -> Bytes {
    let mut read = Vec::new();
    let reading = async {
        while let Some(Ok(frame)) = body.frame().await {
            read.extend_from_slice(&frame.into_data().unwrap_or_default());
            if read.len() >= most {
                return;
            }
        }
    };
    // The part that came is enough for a message.
    let _ = tokio::time::timeout(timeout, reading).await;
    read.truncate(most);
    read.into()
}

/// Returns `true` for a status with which servers refuse a session that they do not know.
pub(super) fn may_be_loss(status: StatusCode) -> bool {
    // 404 is the one of the specification; 400 is that of the TypeScript SDK before `initialize` and of
    // server-everything, 422 that of older versions of rmcp.
    matches!(status, StatusCode::NOT_FOUND | StatusCode::BAD_REQUEST | StatusCode::UNPROCESSABLE_ENTITY)
}
