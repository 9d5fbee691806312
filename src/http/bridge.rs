//! A client of lines in front of an HTTP server: what it writes is posted, what comes back is
//! written to it, one message a line. It is the client's transport and nothing more: ids,
//! envelopes and eras are the client's own.

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

use super::{fit, service::ProxyService};
use crate::client::Client;
use crate::mcp::compose::meta;
use crate::mcp::line::{Piece as LinePiece, Splitter as LineSplitter};
use crate::mcp::sse::{Event, Piece, Splitter};
use crate::mcp::{Id, Kind, Message, compose, json, layout};
use crate::transport::http::{Body, full, headers};
use crate::transport::memory::{Reader, Writer};

/// Marks the requests of the built-in client, so that their session is known as its own.
#[derive(Clone)]
pub struct OfClient(pub Arc<Client>);

/// A bridge at work.
pub struct Bridge {
    service: Arc<ProxyService>,
    to_client: Writer,
    /// What every request carries: credentials that a person gave, for one.
    given: HeaderMap,
    client: Mutex<Option<Arc<Client>>>,
    state: Mutex<State>,
    /// Told when `initialize` is answered.
    greeted: Notify,
}

#[derive(Default)]
struct State {
    /// What the server named the session (up to 2025-11-25).
    session: Option<HeaderValue>,
    /// The revision that `initialize` agreed on.
    version: Option<HeaderValue>,
    /// Requests whose answer is under way, to be broken off when they are cancelled.
    under_way: HashMap<Id, JoinHandle<()>>,
    /// The stream on which the server speaks by itself.
    listening: Option<JoinHandle<()>>,
}

/// How a stream of events ended.
#[derive(Default)]
struct StreamPosition {
    last: Option<String>,
    retry: Option<u64>,
    /// The answer that it was opened for has come.
    answered: bool,
}

/// How long to wait before a stream is resumed, where the server does not say.
const RETRY_DELAY: Duration = Duration::from_secs(1);
/// The longest wait before a stream that failed is tried again.
const MAX_RETRY_DELAY: Duration = Duration::from_secs(30);
/// How often a stream that answers a request is resumed in vain.
const MAX_RESUMES: usize = 5;

const SESSION_ID: HeaderName = HeaderName::from_static("mcp-session-id");
const VERSION: HeaderName = HeaderName::from_static("mcp-protocol-version");

impl Bridge {
    /// A bridge through `service` that writes to `to_client` and adds `given` to every request.
    pub fn new(service: Arc<ProxyService>, to_client: Writer, given: HeaderMap) -> Arc<Self> {
        Arc::new(Self {
            service,
            to_client,
            given,
            client: Mutex::default(),
            state: Mutex::default(),
            greeted: Notify::new(),
        })
    }

    /// Names the built-in client as the one that speaks.
    pub fn speaks_for(&self, client: Arc<Client>) {
        *self.client.lock() = Some(client);
    }

    /// Carries what the client writes until it ends, then ends the session.
    pub async fn run(self: Arc<Self>, mut from_client: Reader, limit: usize) {
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
        // What was asked before the end is still answered, as long as someone reads it.
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
            // There, a cancellation is a stream that is closed (patterns/cancellation).
            let id = message.param(&["requestId"]).map(|id| Id::new(&String::from_utf8_lossy(id)));
            if let Some(task) = id.and_then(|id| self.state.lock().under_way.remove(&id)) {
                task.abort();
            }
            return;
        }
        let (bridge, id) = (Arc::clone(self), message.id().cloned());
        // Notifications and answers arrive before what the client says next, and the handshake
        // is over before that.
        let waits = !matches!(message.kind(), Kind::Request { .. }) || message.method() == Some("initialize");
        let task = tokio::spawn(async move {
            bridge.post(&message).await;
            if let Some(id) = message.id() {
                bridge.state.lock().under_way.remove(id);
            }
        });
        if waits {
            tokio::select! {
                // It does not panic, and nobody aborts it.
                _ = task => {}
                // A stream may stay open behind the answer.
                () = self.greeted.notified() => {}
            }
        } else if let Some(id) = id {
            self.state.lock().under_way.insert(id, task);
        }
    }

    /// Whether the stateless era is context: nothing was agreed on with `initialize`.
    fn is_stateless(&self) -> bool {
        self.state.lock().version.is_none()
    }

    async fn post(self: &Arc<Self>, message: &Message) {
        let mut request = self.request(Method::POST, message.raw().clone());
        let sent = request.headers_mut();
        sent.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        sent.insert(ACCEPT, HeaderValue::from_static("application/json, text/event-stream"));
        if message.param(&["_meta", meta::PROTOCOL_VERSION]).is_some() {
            fit::repeat(sent, &self.service.annotations.lock().headers(message));
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

    /// Takes the response to `asked`.
    async fn receive(self: &Arc<Self>, asked: &Message, response: Response<Body>) {
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
            self.hear(&answer).await;
        } else if !status.is_success() || matches!(asked.kind(), Kind::Request { .. }) {
            let said = answer.outcome(&["message"]).and_then(json::unescape);
            let said = said.map_or_else(String::new, |said| format!(": {said}"));
            self.fail(asked, &format!("the server answered {status}{said}")).await;
        }
    }

    /// Asks for what came on a stream behind event `last` (2025-11-25, resumability).
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

    async fn stream(&self, asked: &Message, mut body: Body, mut position: StreamPosition) -> StreamPosition {
        let mut splitter = Splitter::new(self.service.host.settings().inspect_limit);
        while let Some(Ok(frame)) = body.frame().await {
            let Ok(data) = frame.into_data() else { continue };
            splitter.feed(&data);
            while let Some(piece) = splitter.next_piece() {
                if let Piece::Event(event) = piece {
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
        self.hear(&message).await;
    }

    /// Opens the stream on which the server speaks by itself, and keeps it open. Servers without
    /// one refuse it.
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
                    // It has no such stream, or knows nothing of this session.
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
            // One that was cancelled has ended as well.
            let _ = task.await;
        }
    }

    /// Ends the session; a server that does not care to answer is not waited for long.
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
        // In vain, it is the server's to forget the session.
        let _ = tokio::time::timeout(DELETE_TIMEOUT, deleted).await;
    }

    fn request(&self, method: Method, body: Bytes) -> Request<Body> {
        let mut request = Request::new(full(body));
        *request.method_mut() = method;
        if let Ok(uri) = self.service.upstream.address().path.parse() {
            *request.uri_mut() = uri;
        }
        let sent = request.headers_mut();
        sent.extend(self.given.clone());
        if let Ok(host) = HeaderValue::from_str(&self.service.upstream.address().authority) {
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

    async fn send(&self, request: Request<Body>) -> Option<Response<Body>> {
        let here = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);
        Arc::clone(&self.service).exchange(request, here).await.ok()
    }

    /// Writes a message of the server to the client.
    async fn hear(&self, message: &Message) {
        let version = message.outcome(&["protocolVersion"]).and_then(json::unescape);
        if let Some(version) = &version {
            self.state.lock().version = HeaderValue::from_str(version).ok();
        }
        self.say(message.body()).await;
        if version.is_some() {
            self.greeted.notify_one();
        }
    }

    /// Answers every request in `asked` with an error.
    async fn fail(&self, asked: &Message, why: &str) {
        let all = match asked.kind() {
            Kind::Batch(all) => all.as_slice(),
            _ => std::slice::from_ref(asked),
        };
        for message in all {
            if let Kind::Request { id, .. } = message.kind() {
                let line = compose::failure(Some(id), compose::INTERNAL_ERROR, &format!("shadowcat: {why}"));
                self.say(&line).await;
            }
        }
    }

    async fn say(&self, body: &[u8]) {
        // A client that is gone needs nothing any more.
        let _ = self.to_client.send(layout::as_line(body)).await;
    }
}
