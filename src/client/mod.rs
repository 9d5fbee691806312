//! The built-in MCP client: a real peer on a link in memory, whose messages are wire traffic like those
//! of any other client.

mod answers;
mod handshake;

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::sync::oneshot;
use tokio::time::Instant;

pub use handshake::Probed;
use handshake::{capabilities, info, refused};

use crate::mcp::line::{LinePart, LineSplitter};
use crate::mcp::tree::exact_value;
use crate::mcp::{Era, Id, Kind, Message, Revision, compose};
use crate::transport::memory::{PipeReader, PipeWriter};

/// Time limit for the answer to [`Client::probe`]: a server that is silent for this long speaks the
/// stateful era (2026-07-28, basic/transports/stdio, backward compatibility).
pub const PROBE_PATIENCE: Duration = Duration::from_secs(5);

/// An MCP client whose messages pass through a session.
pub struct Client {
    writer: PipeWriter,
    counter: AtomicU64,
    pending: Mutex<HashMap<Id, oneshot::Sender<Message>>>,
    /// Method and parameters of calls that may have to be repeated with input (2026-07-28,
    /// basic/patterns/mrtr).
    calls: Mutex<HashMap<Id, (String, Option<Value>)>>,
    era: Mutex<Option<Era>>,
    /// The only root that the client declares.
    root: PathBuf,
    attendance: Attendance,
    /// Capabilities that the server has declared.
    offered: Mutex<Option<Value>>,
    /// Lists that the server has announced to have changed.
    refreshes: Mutex<HashMap<&'static str, Refresh>>,
}

/// The refresh of a list that changes.
struct Refresh {
    /// `true` while the list will be requested soon.
    is_due: bool,
    /// The pause before the next request: longer each time that an answer is followed by another announcement at
    /// once, since some servers announce a change with every list.
    pause: Duration,
    /// The end of the last refresh.
    ended: Option<Instant>,
}

/// Source of the answers to the server's requests.
#[derive(Debug, Clone, PartialEq)]
pub enum Attendance {
    /// A person at the screen.
    Person,
    /// No person: elicitation is declined, sampling refused.
    Nobody,
    /// A script: every elicitation gets this result after 1.5 seconds, sampling is refused.
    Script(Value),
}

/// Time for which announcements of a changed list are gathered, at least and at most.
const LIST_DEBOUNCE: Duration = Duration::from_millis(50);
const MAX_DEBOUNCE: Duration = Duration::from_secs(30);
/// Time after a refresh within which another announcement is taken for its effect.
const LIST_ECHO: Duration = Duration::from_secs(1);
/// Delay of scripted answers, as if a person had to think.
const SCRIPT_DELAY: Duration = Duration::from_millis(1500);

/// Errors of the built-in client.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ClientError {
    /// The link to the server is closed.
    #[error("the connection to the server is closed")]
    Gone,
    /// The request of this method got no answer within this time.
    #[error("the server did not answer {0} within {1:?}")]
    Silent(String, Duration),
    /// The request of this method was answered with this error message.
    #[error("the server refused {0}: {1}")]
    Refused(String, String),
    /// The message, called by this name, is no request for input, or was answered already.
    #[error("{0} does not request input, or was answered already")]
    NoQuestion(String),
}

impl Client {
    /// Starts a client that writes to and reads from a link in memory, with `root` as its only root. Lines
    /// over `limit` bytes are ignored.
    ///
    /// # Panics
    /// Panics outside a Tokio runtime.
    pub fn start(
        writer: PipeWriter,
        reader: PipeReader,
        root: PathBuf,
        attendance: Attendance,
        limit: usize,
    ) -> Arc<Self> {
        let client = Arc::new(Self {
            writer,
            counter: AtomicU64::new(0),
            pending: Mutex::default(),
            calls: Mutex::default(),
            era: Mutex::default(),
            root,
            attendance,
            offered: Mutex::default(),
            refreshes: Mutex::default(),
        });
        tokio::spawn(Arc::clone(&client).listen(reader, limit));
        client
    }

    /// Returns the era that the client speaks, once it is known or tried.
    pub fn era(&self) -> Option<Era> {
        *self.era.lock()
    }

    /// Asks with `server/discover` which era the server speaks, and waits up to `patience` for the answer.
    ///
    /// # Errors
    /// [`ClientError::Silent`], which says nothing about `initialize`, and [`ClientError::Gone`].
    pub async fn probe(&self, patience: Duration) -> Result<Probed, ClientError> {
        *self.era.lock() = Some(Era::Stateless);
        let answer = self.ask("server/discover", None, patience).await;
        let probed = answer.as_ref().map_or(Probed::Stateful, Probed::of);
        *self.era.lock() = (probed == Probed::Stateless).then_some(Era::Stateless);
        let answer = answer?;
        if probed == Probed::Stateless {
            self.note_offers(&answer);
        }
        Ok(probed)
    }

    /// Opens a stateful session: sends `initialize`, waits up to `patience` for the answer, and sends
    /// `notifications/initialized`.
    ///
    /// # Errors
    /// Fails if the server is gone, does not answer in time, or answers with an error.
    pub async fn initialize(&self, patience: Duration) -> Result<(), ClientError> {
        *self.era.lock() = Some(Era::Stateful);
        let params = json!({
            "protocolVersion": Revision::LATEST_STATEFUL.as_str(),
            "capabilities": capabilities(),
            "clientInfo": info(),
        });
        let answer = self.ask("initialize", Some(params), patience).await?;
        if let Kind::Failure { .. } = answer.kind() {
            return Err(refused("initialize", &answer));
        }
        self.note_offers(&answer);
        self.say(compose::notification("notifications/initialized", None)).await
    }

    /// Sets the era to stateless without asking the server.
    pub fn assume_stateless(&self) {
        *self.era.lock() = Some(Era::Stateless);
    }

    /// Requests all pages of the lists of tools, resources and prompts that the server offers.
    pub async fn list_all(&self) {
        let offered = self.offered.lock().clone();
        for (capability, method) in
            [("tools", "tools/list"), ("resources", "resources/list"), ("prompts", "prompts/list")]
        {
            // Until the capabilities of the server are known, every list is requested.
            if offered.as_ref().is_none_or(|offered| offered.get(capability).is_some()) {
                self.list(method).await;
            }
        }
    }

    fn note_offers(&self, answer: &Message) {
        let capabilities = answer.outcome(&["capabilities"]);
        let offered = capabilities.and_then(|json| exact_value(json).ok());
        // Capabilities of another shape say nothing about what the server has.
        *self.offered.lock() = offered.filter(Value::is_object);
    }

    async fn list(&self, method: &str) {
        const MAX_PAGES: usize = 1000;
        const LIST_TIMEOUT: Duration = Duration::from_secs(30);
        let mut cursor: Option<String> = None;
        let mut seen = HashSet::new();
        for _ in 0..MAX_PAGES {
            let envelope = self.enveloped(None).map(|params| params.to_string());
            let params = match (cursor.take(), envelope) {
                (None, envelope) => envelope,
                (Some(cursor), None) => Some(format!(r#"{{"cursor":{cursor}}}"#)),
                (Some(cursor), Some(mut envelope)) => {
                    envelope.insert_str(1, &format!(r#""cursor":{cursor},"#));
                    Some(envelope)
                }
            };
            let Ok(page) = self.ask_text(method, params, LIST_TIMEOUT).await else { return };
            // The cursor is sent back as it was spelled, since it means something to the server only.
            match page.outcome(&["nextCursor"]) {
                None | Some(b"null") => return,
                Some(next) => {
                    let next = String::from_utf8_lossy(next).into_owned();
                    // The same page again would have no end.
                    if !seen.insert(next.clone()) {
                        return;
                    }
                    cursor = Some(next);
                }
            }
        }
    }

    /// Sends a request and returns its id at once; the answer appears in the log.
    ///
    /// # Errors
    /// Fails if the server is gone.
    pub async fn call(&self, method: &str, params: Option<Value>) -> Result<Id, ClientError> {
        let id = self.next_id();
        self.calls.lock().insert(id.clone(), (method.to_owned(), params.clone()));
        self.send_request(&id, method, params).await?;
        Ok(id)
    }

    fn next_id(&self) -> Id {
        Id::new(&(self.counter.fetch_add(1, Ordering::Relaxed) + 1).to_string())
    }

    /// Sends a request and waits for its answer, at most for `patience`.
    ///
    /// # Errors
    /// [`ClientError::Gone`] and [`ClientError::Silent`]; an error response is an answer.
    pub async fn ask(
        &self,
        method: &str,
        params: Option<Value>,
        patience: Duration,
    ) -> Result<Message, ClientError> {
        let params = self.enveloped(params).map(|params| params.to_string());
        self.ask_text(method, params, patience).await
    }

    /// Sends a request with these params, which are JSON, and waits for its answer.
    async fn ask_text(
        &self,
        method: &str,
        params: Option<String>,
        patience: Duration,
    ) -> Result<Message, ClientError> {
        let id = self.next_id();
        let (sender, answer) = oneshot::channel();
        self.pending.lock().insert(id.clone(), sender);
        self.say(compose::request_text(&id, method, params.as_deref())).await?;
        match tokio::time::timeout(patience, answer).await {
            Ok(answer) => answer.map_err(|_| ClientError::Gone),
            Err(_) => {
                self.pending.lock().remove(&id);
                Err(ClientError::Silent(method.to_owned(), patience))
            }
        }
    }

    async fn send_request(&self, id: &Id, method: &str, params: Option<Value>) -> Result<(), ClientError> {
        self.say(compose::request(id, method, self.enveloped(params).as_ref())).await
    }

    /// Adds the envelope of the stateless era to params, if that era is spoken.
    fn enveloped(&self, params: Option<Value>) -> Option<Value> {
        match self.era() {
            Some(Era::Stateless) => Some(compose::enveloped(params, &info(), &capabilities())),
            _ => params,
        }
    }

    async fn say(&self, line: Bytes) -> Result<(), ClientError> {
        let mut bytes = BytesMut::with_capacity(line.len() + 1);
        bytes.put_slice(&line);
        bytes.put_u8(b'\n');
        self.writer.send(bytes.freeze()).await.map_err(|_| ClientError::Gone)
    }

    async fn listen(self: Arc<Self>, mut reader: PipeReader, limit: usize) {
        let mut splitter = LineSplitter::new(limit);
        while let Some(chunk) = reader.recv().await {
            splitter.feed(&chunk);
            while let Some(piece) = splitter.next_piece() {
                // Lines over the limit come in pieces, which cannot be parsed: skip them.
                if let LinePart::Line(line) = piece {
                    self.on_message(Message::parse(line));
                }
            }
        }
        // Drop the senders, so that every caller that waits for an answer gets `Gone`.
        self.pending.lock().clear();
    }

    fn on_message(self: &Arc<Self>, message: Message) {
        match message.kind() {
            Kind::Response { id, .. } | Kind::Failure { id: Some(id), .. } => {
                let waiting = self.pending.lock().remove(id);
                let asks = message.outcome(&["resultType"]) == Some(b"\"input_required\"");
                if asks {
                    let (client, message) = (Arc::clone(self), message.clone());
                    tokio::spawn(async move { client.give_input(&message).await });
                } else {
                    self.calls.lock().remove(id);
                }
                if let Some(waiting) = waiting {
                    // The caller may have given up; ignore the error.
                    let _ = waiting.send(message);
                }
            }
            Kind::Request { id, method, .. } => {
                if let Some(line) = self.answer(id, method) {
                    let client = Arc::clone(self);
                    let scripted =
                        method == "elicitation/create" && matches!(self.attendance, Attendance::Script(_));
                    tokio::spawn(async move {
                        if scripted {
                            tokio::time::sleep(SCRIPT_DELAY).await;
                        }
                        // A server that is gone by now needs no answer; ignore the error.
                        let _ = client.say(line).await;
                    });
                }
            }
            Kind::Notification { method, .. } => {
                let changed = match method.as_ref() {
                    "notifications/tools/list_changed" => "tools/list",
                    "notifications/resources/list_changed" => "resources/list",
                    "notifications/prompts/list_changed" => "prompts/list",
                    _ => return,
                };
                // Servers may announce a change several times in a row: request the list once.
                let Some(pause) = self.refresh(changed) else { return };
                let client = Arc::clone(self);
                tokio::spawn(async move {
                    tokio::time::sleep(pause).await;
                    if let Some(refresh) = client.refreshes.lock().get_mut(changed) {
                        refresh.is_due = false;
                    }
                    client.list(changed).await;
                    if let Some(refresh) = client.refreshes.lock().get_mut(changed) {
                        refresh.ended = Some(Instant::now());
                    }
                });
            }
            _ => {}
        }
    }

    /// Notes that a list has changed. Returns the pause before it is to be requested, unless it will be anyway.
    fn refresh(&self, list: &'static str) -> Option<Duration> {
        let mut refreshes = self.refreshes.lock();
        let refresh =
            refreshes.entry(list).or_insert(Refresh { is_due: false, pause: LIST_DEBOUNCE, ended: None });
        if std::mem::replace(&mut refresh.is_due, true) {
            return None;
        }
        let is_echo = refresh.ended.is_some_and(|ended| ended.elapsed() < LIST_ECHO.max(refresh.pause));
        refresh.pause = if is_echo { (refresh.pause * 2).min(MAX_DEBOUNCE) } else { LIST_DEBOUNCE };
        Some(refresh.pause)
    }

    /// Returns `true` if a list that has changed will be requested soon.
    pub fn is_refreshing(&self) -> bool {
        self.refreshes.lock().values().any(|refresh| refresh.is_due)
    }
}
