//! Bridge between a client that speaks lines and an HTTP server: messages of the client are posted, and
//! those of the server are written to the client, one message a line. The bridge is only the client's
//! transport: ids, envelopes and eras are the client's own.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE, HOST, USER_AGENT};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::BodyExt;
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use super::context::OfClient;
use super::fit;
use super::service::ProxyService;
use crate::client::Client;
use crate::mcp::compose::meta;
use crate::mcp::line::{LinePart as LinePiece, LineSplitter};
use crate::mcp::sse::{Event, EventPart, EventSplitter};
use crate::mcp::{Id, Kind, Message, compose, json, layout};
use crate::transport::http::{HttpBody, full, headers};
use crate::transport::memory::{PipeReader, PipeWriter};

/// A bridge between a client that speaks lines and an HTTP server.
pub struct Bridge {
    service: Arc<ProxyService>,
    to_client: PipeWriter,
    /// Headers that are added to every request, such as credentials from the command line.
    given: HeaderMap,
    client: Mutex<Option<Arc<Client>>>,
    state: Mutex<State>,
    /// Notified when `initialize` is answered.
    greeted: Notify,
}

#[derive(Default)]
struct State {
    /// Session id that the server assigned (2025-03-26 to 2025-11-25, basic/transports).
    session: Option<HeaderValue>,
    /// Revision that was negotiated with `initialize`.
    version: Option<HeaderValue>,
    /// Tasks that exchange the requests under way; a cancellation aborts them.
    under_way: HashMap<Id, JoinHandle<()>>,
    /// Task that reads the stream of messages that answer no request.
    listening: Option<JoinHandle<()>>,
}

/// Position at which an event stream ended.
#[derive(Default)]
struct StreamPosition {
    last: Option<String>,
    retry: Option<u64>,
    /// Set once the answer to the request of the stream has come.
    answered: bool,
}

/// Wait before a stream is resumed, if the server gives no `retry` time.
const RETRY_DELAY: Duration = Duration::from_secs(1);
/// Maximum wait before a failed stream is opened again.
const MAX_RETRY_DELAY: Duration = Duration::from_secs(30);
/// Maximum number of attempts to resume the stream of a request.
const MAX_RESUMES: usize = 5;

const SESSION_ID: HeaderName = HeaderName::from_static("mcp-session-id");
const VERSION: HeaderName = HeaderName::from_static("mcp-protocol-version");

impl Bridge {
    /// Creates a bridge through `service` that writes to `to_client` and adds the headers `given` to every
    /// request.
    pub fn new(service: Arc<ProxyService>, to_client: PipeWriter, given: HeaderMap) -> Arc<Self> {
        Arc::new(Self {
            service,
            to_client,
            given,
            client: Mutex::default(),
            state: Mutex::default(),
            greeted: Notify::new(),
        })
    }

    /// Marks later requests as those of the built-in client.
    pub fn speaks_for(&self, client: Arc<Client>) {
        *self.client.lock() = Some(client);
    }

    /// Carries the client's messages until its stream ends, waits for the open answers, then ends the
    /// session. `limit` is the maximum length of a line in bytes; a longer one is answered with an error.
    pub async fn run(self: Arc<Self>, mut from_client: PipeReader, limit: usize) {
        let mut splitter = LineSplitter::new(limit);
        while let Some(chunk) = from_client.recv().await {
            splitter.feed(&chunk);
            while let Some(piece) = splitter.next_piece() {
                self.piece(piece).await;
            }
        }
        if let Some(piece) = splitter.finish() {
            self.piece(piece).await;
        }
        // Requests from before the end are still answered, as long as the client reads.
        tokio::select! {
            () = self.answer_all() => {}
            () = self.to_client.closed() => {}
        }
        self.leave().await;
    }

    async fn piece(self: &Arc<Self>, piece: LinePiece) {
        match piece {
            LinePiece::Line(line) if line.trim_ascii().is_empty() => {}
            LinePiece::Line(line) => self.line(Message::parse(line.trim_ascii().to_vec().into())).await,
            LinePiece::Start(_) => {
                let line = compose::failure(None, 413, "shadowcat: the line is longer than --inspect-limit");
                self.say(&line).await;
            }
            LinePiece::More(_) | LinePiece::End(_) => {}
        }
    }

    async fn line(self: &Arc<Self>, message: Message) {
        if message.method() == Some("notifications/cancelled") && self.is_stateless() {
            // In the stateless era a request is cancelled by closing its stream (2026-07-28,
            // basic/patterns/cancellation).
            let id = message.param(&["requestId"]).map(|id| Id::new(&String::from_utf8_lossy(id)));
            if let Some(task) = id.and_then(|id| self.state.lock().under_way.remove(&id)) {
                task.abort();
            }
            return;
        }
        let (bridge, id) = (Arc::clone(self), message.id().cloned());
        // Keep the order: a notification or reply, and the handshake, must arrive before the client's next
        // message.
        let waits = !matches!(message.kind(), Kind::Request { .. }) || message.method() == Some("initialize");
        let task = tokio::spawn(async move {
            bridge.post(&message).await;
            if let Some(id) = message.id() {
                bridge.state.lock().under_way.remove(id);
            }
        });
        if waits {
            tokio::select! {
                // The result can be ignored: the task does not panic and is not aborted.
                _ = task => {}
                // Do not wait for the end of the stream, which may stay open after the answer.
                () = self.greeted.notified() => {}
            }
        } else if let Some(id) = id {
            self.state.lock().under_way.insert(id, task);
        }
    }

    /// Returns `true` if the client speaks the stateless era: no revision was negotiated with `initialize`.
    fn is_stateless(&self) -> bool {
        self.state.lock().version.is_none()
    }

    async fn post(self: &Arc<Self>, message: &Message) {
        let mut request = self.request(Method::POST, message.raw().clone());
        let sent = request.headers_mut();
        sent.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        sent.insert(ACCEPT, HeaderValue::from_static("application/json, text/event-stream"));
        if message.param(&["_meta", meta::PROTOCOL_VERSION]).is_some() {
            fit::repeat(sent, &self.service.exchanges().sessions.context.annotations.lock().headers(message));
        }
        let response = match self.send(request).await {
            Some(response) => response,
            None => return self.fail(message, "the connection was closed").await,
        };
        if let Some(id) = response.headers().get(SESSION_ID).filter(|_| response.status().is_success()) {
            self.state.lock().session = Some(id.clone());
        }
        self.receive(message, response).await;
        if message.method() == Some("notifications/initialized") {
            self.listen();
        }
    }

    /// Passes the response to `asked` to the client, and resumes its stream if that breaks.
    async fn receive(self: &Arc<Self>, asked: &Message, response: Response<HttpBody>) {
        let status = response.status();
        if headers::is_type(response.headers(), "text/event-stream") {
            let mut position = self.stream(asked, response.into_body(), StreamPosition::default()).await;
            for _ in 0..MAX_RESUMES {
                let Some(last) = position.last.clone().filter(|_| !position.answered && asked.id().is_some())
                else {
                    break;
                };
                tokio::time::sleep(position.retry.map_or(RETRY_DELAY, Duration::from_millis)).await;
                position = self.resume(asked, &last, position).await;
            }
            if !position.answered && matches!(asked.kind(), Kind::Request { .. }) {
                self.fail(asked, "the stream ended without an answer").await;
            }
            return;
        }
        let body = response.into_body().collect().await.map(|body| body.to_bytes()).unwrap_or_default();
        let answer = Message::parse(body.clone());
        let is_for_them = answer.id().is_some() || matches!(answer.kind(), Kind::Batch(_));
        if answer.is_rpc() && is_for_them {
            self.on_message(&answer).await;
        } else if !status.is_success() || matches!(asked.kind(), Kind::Request { .. }) {
            let said = answer.outcome(&["message"]).and_then(json::unescape);
            let said = said.map_or_else(String::new, |said| format!(": {said}"));
            self.fail(asked, &format!("the server answered {status}{said}")).await;
        }
    }

    /// Requests the events of a stream after event `last` (2025-11-25, basic/transports, resumability).
    async fn resume(
        self: &Arc<Self>,
        asked: &Message,
        last: &str,
        position: StreamPosition,
    ) -> StreamPosition {
        let mut request = self.request(Method::GET, Bytes::new());
        request.headers_mut().insert(ACCEPT, HeaderValue::from_static("text/event-stream"));
        if let Ok(last) = HeaderValue::from_str(last) {
            request.headers_mut().insert("last-event-id", last);
        }
        match self.send(request).await {
            Some(response) if headers::is_type(response.headers(), "text/event-stream") => {
                self.stream(asked, response.into_body(), position).await
            }
            _ => position,
        }
    }

    async fn stream(
        &self,
        asked: &Message,
        mut body: HttpBody,
        mut position: StreamPosition,
    ) -> StreamPosition {
        let mut splitter =
            EventSplitter::new(self.service.exchanges().sessions.context.host.settings().inspect_limit);
        while let Some(Ok(frame)) = body.frame().await {
            let Ok(data) = frame.into_data() else { continue };
            splitter.feed(&data);
            while let Some(piece) = splitter.next_piece() {
                if let EventPart::Event(event) = piece {
                    self.event(asked, event, &mut position).await;
                }
            }
        }
        position
    }

    async fn event(&self, asked: &Message, event: Event, position: &mut StreamPosition) {
        if event.id.is_some() {
            position.last.clone_from(&event.id);
        }
        position.retry = event.retry.or(position.retry);
        if !event.is_message() {
            return;
        }
        let message = Message::parse(event.data.unwrap_or_default());
        let is_answer = matches!(message.kind(), Kind::Response { .. } | Kind::Failure { .. });
        position.answered |= is_answer && message.id() == asked.id();
        self.on_message(&message).await;
    }

    /// Opens the stream of messages that answer no request, and keeps it open. Servers without such a
    /// stream refuse it.
    fn listen(self: &Arc<Self>) {
        let bridge = Arc::clone(self);
        let nothing = Message::parse(Bytes::new());
        let task = tokio::spawn(async move {
            let mut position = StreamPosition::default();
            let mut wait = RETRY_DELAY;
            loop {
                let mut request = bridge.request(Method::GET, Bytes::new());
                request.headers_mut().insert(ACCEPT, HeaderValue::from_static("text/event-stream"));
                if let Some(Ok(last)) = position.last.as_deref().map(HeaderValue::from_str) {
                    request.headers_mut().insert("last-event-id", last);
                }
                match bridge.send(request).await {
                    Some(response) if response.status() == StatusCode::OK => {
                        wait = RETRY_DELAY;
                        position = bridge.stream(&nothing, response.into_body(), position).await;
                    }
                    // The server has no such stream, or does not know the session.
                    Some(response) if response.status().is_client_error() => return,
                    _ => wait = (wait * 2).min(MAX_RETRY_DELAY),
                }
                tokio::time::sleep(position.retry.map_or(wait, Duration::from_millis)).await;
            }
        });
        if let Some(before) = self.state.lock().listening.replace(task) {
            before.abort();
        }
    }

    /// Waits for the answers that are under way.
    async fn answer_all(&self) {
        let tasks = std::mem::take(&mut self.state.lock().under_way);
        for (_, task) in tasks {
            // An error means that the request was cancelled; ignore it.
            let _ = task.await;
        }
    }

    /// Deletes the session at the server, if there is one, and waits up to 2 seconds for the response.
    pub async fn leave(&self) {
        const DELETE_TIMEOUT: Duration = Duration::from_secs(2);
        if let Some(listening) = self.state.lock().listening.take() {
            listening.abort();
        }
        let request = self.request(Method::DELETE, Bytes::new());
        if self.state.lock().session.take().is_none() {
            return;
        }
        let deleted = async {
            if let Some(response) = self.send(request).await {
                let _ = response.into_body().collect().await;
            }
        };
        // Ignore a failure: the server forgets the session by itself.
        let _ = tokio::time::timeout(DELETE_TIMEOUT, deleted).await;
    }

    fn request(&self, method: Method, body: Bytes) -> Request<HttpBody> {
        let mut request = Request::new(full(body));
        *request.method_mut() = method;
        if let Ok(uri) = self.service.exchanges().upstream.address().path.parse() {
            *request.uri_mut() = uri;
        }
        let sent = request.headers_mut();
        sent.extend(self.given.clone());
        if let Ok(host) = HeaderValue::from_str(&self.service.exchanges().upstream.address().authority) {
            sent.insert(HOST, host);
        }
        let agent = HeaderValue::from_static(concat!("shadowcat/", env!("CARGO_PKG_VERSION")));
        sent.entry(USER_AGENT).or_insert(agent);
        let state = self.state.lock();
        if let Some(session) = &state.session {
            sent.insert(SESSION_ID, session.clone());
        }
        if let Some(version) = &state.version {
            sent.insert(VERSION, version.clone());
        }
        if let Some(client) = &*self.client.lock() {
            request.extensions_mut().insert(OfClient(Arc::clone(client)));
        }
        request
    }

    async fn send(&self, request: Request<HttpBody>) -> Option<Response<HttpBody>> {
        let here = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);
        Arc::clone(&self.service).exchange(request, here).await.ok()
    }

    /// Writes a message of the server to the client.
    async fn on_message(&self, message: &Message) {
        let version = message.outcome(&["protocolVersion"]).and_then(json::unescape);
        if let Some(version) = &version {
            self.state.lock().version = HeaderValue::from_str(version).ok();
        }
        self.say(message.body()).await;
        if version.is_some() {
            self.greeted.notify_one();
        }
    }

    /// Answers every request in `asked` with a JSON-RPC error.
    async fn fail(&self, asked: &Message, why: &str) {
        for line in compose::failures(asked, compose::INTERNAL_ERROR, why) {
            self.say(&line).await;
        }
    }

    async fn say(&self, body: &[u8]) {
        // A client that is gone needs no message; ignore the error.
        let _ = self.to_client.send(layout::as_line(body)).await;
    }
}
