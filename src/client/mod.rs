//! The built-in client: a real peer on a link in memory. What it says is wire traffic like any
//! other client's.

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::sync::oneshot;

use crate::log::record::Frame;
use crate::mcp::line::{Piece, Splitter};
use crate::mcp::{Era, Id, Kind, Message, Revision, compose};
use crate::transport::memory::{Reader, Writer};

/// How long the probe for the stateless era waits: a server that is silent for this long speaks
/// the stateful one (2026-07-28, basic/transports/stdio, backward compatibility).
pub const PROBE_PATIENCE: Duration = Duration::from_secs(5);

/// A client that speaks through a session.
pub struct Client {
    writer: Writer,
    counter: AtomicU64,
    pending: Mutex<HashMap<Id, oneshot::Sender<Message>>>,
    /// Calls that may have to be made again with input (2026-07-28, patterns/mrtr).
    calls: Mutex<HashMap<Id, (String, Option<Value>)>>,
    era: Mutex<Option<Era>>,
    /// What it declares as its root.
    root: PathBuf,
    attendance: Attendance,
    /// The capabilities that the server has named.
    offered: Mutex<Option<Value>>,
    /// Lists that were announced to have changed and will be asked for.
    stale: Mutex<HashSet<&'static str>>,
}

/// Who answers what the server asks.
#[derive(Debug, Clone, PartialEq)]
pub enum Attendance {
    /// A person, at the screen.
    Person,
    /// Nobody: elicitation is declined, sampling refused.
    Nobody,
    /// This answer to every elicitation, after a moment.
    Script(Value),
}

/// How long changes of a list are gathered.
const LIST_DEBOUNCE: Duration = Duration::from_millis(50);
/// How long a scripted person thinks.
const SCRIPT_DELAY: Duration = Duration::from_millis(1500);

/// Why the client could not do something.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ClientError {
    #[error("the server is gone")]
    Gone,
    #[error("the server did not answer {0} within {1:?}")]
    Silent(String, Duration),
    #[error("the server refused {0}: {1}")]
    Refused(String, String),
    #[error("{0} asks for nothing, or was answered already")]
    NoQuestion(String),
}

impl Client {
    /// A client that writes to and reads from a link in memory, with `root` as its only root. It
    /// understands lines of up to `limit` bytes.
    pub fn start(
        writer: Writer,
        reader: Reader,
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
            stale: Mutex::default(),
        });
        tokio::spawn(Arc::clone(&client).listen(reader, limit));
        client
    }

    /// The era it found the server to speak.
    pub fn era(&self) -> Option<Era> {
        *self.era.lock()
    }

    /// Asks with `server/discover` whether the server speaks the stateless era. `Ok(false)` is
    /// the answer of a stateful server.
    ///
    /// # Errors
    /// [`ClientError::Gone`] or [`ClientError::Silent`]: it has to be started anew and greeted
    /// with `initialize`.
    pub async fn probe(&self, patience: Duration) -> Result<bool, ClientError> {
        *self.era.lock() = Some(Era::Stateless);
        let answer = self.ask("server/discover", None, patience).await;
        let stateless = match answer {
            Ok(answer) => {
                let stateless = is_stateless(&answer);
                if stateless {
                    self.note_offers(&answer);
                }
                stateless
            }
            Err(error) => {
                *self.era.lock() = None;
                return Err(error);
            }
        };
        *self.era.lock() = stateless.then_some(Era::Stateless);
        Ok(stateless)
    }

    /// Opens a stateful session: `initialize` and `notifications/initialized`.
    ///
    /// # Errors
    /// When the server is gone, silent, or refuses.
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

    /// Enters the stateless era without asking.
    pub fn assume_stateless(&self) {
        *self.era.lock() = Some(Era::Stateless);
    }

    /// Lists what the server offers, page by page.
    pub async fn list_all(&self) {
        let offered = self.offered.lock().clone();
        for (capability, method) in
            [("tools", "tools/list"), ("resources", "resources/list"), ("prompts", "prompts/list")]
        {
            // Before it has said what it offers it is asked for everything.
            if offered.as_ref().is_none_or(|offered| offered.get(capability).is_some()) {
                self.list(method).await;
            }
        }
    }

    fn note_offers(&self, answer: &Message) {
        let capabilities = answer.outcome(&["capabilities"]);
        *self.offered.lock() = capabilities.and_then(|json| serde_json::from_slice(json).ok());
    }

    async fn list(&self, method: &str) {
        const MAX_PAGES: usize = 100;
        const LIST_TIMEOUT: Duration = Duration::from_secs(30);
        let mut cursor = None;
        for _ in 0..MAX_PAGES {
            let params = cursor.map(|cursor: Value| json!({ "cursor": cursor }));
            let Ok(page) = self.ask(method, params, LIST_TIMEOUT).await else { return };
            let next = page.outcome(&["nextCursor"]).and_then(|next| serde_json::from_slice(next).ok());
            match next {
                None | Some(Value::Null) => return,
                next => cursor = next,
            }
        }
    }

    /// Sends a request and returns its id at once; the answer is in the log.
    ///
    /// # Errors
    /// When the server is gone.
    pub async fn call(&self, method: &str, params: Option<Value>) -> Result<Id, ClientError> {
        let id = self.next_id();
        self.calls.lock().insert(id.clone(), (method.to_owned(), params.clone()));
        self.send_request(&id, method, params).await?;
        Ok(id)
    }

    /// Answers what `asked` asks for: a request of the server, or a result that requires input.
    ///
    /// # Errors
    /// When it asks for nothing, or the server is gone.
    pub async fn respond(
        &self,
        asked: &Frame,
        result: Result<Value, (i64, String)>,
    ) -> Result<(), ClientError> {
        match asked.message.kind() {
            Kind::Request { id, .. } => {
                let line = match result {
                    Ok(result) => compose::response(id, &result),
                    Err((code, message)) => compose::failure(Some(id), code, &message),
                };
                self.say(line).await
            }
            // Declining is an answer to each question, so an error has no place here.
            Kind::Response { .. } => match result {
                Ok(responses) => self.retry(&asked.message, responses).await,
                Err(_) => Ok(()),
            },
            _ => Err(ClientError::NoQuestion("it".into())),
        }
    }

    fn next_id(&self) -> Id {
        Id::new(&(self.counter.fetch_add(1, Ordering::Relaxed) + 1).to_string())
    }

    async fn ask(
        &self,
        method: &str,
        params: Option<Value>,
        patience: Duration,
    ) -> Result<Message, ClientError> {
        let id = self.next_id();
        let (sender, answer) = oneshot::channel();
        self.pending.lock().insert(id.clone(), sender);
        self.send_request(&id, method, params).await?;
        match tokio::time::timeout(patience, answer).await {
            Ok(answer) => answer.map_err(|_| ClientError::Gone),
            Err(_) => {
                self.pending.lock().remove(&id);
                Err(ClientError::Silent(method.to_owned(), patience))
            }
        }
    }

    async fn send_request(&self, id: &Id, method: &str, params: Option<Value>) -> Result<(), ClientError> {
        let params = match self.era() {
            Some(Era::Stateless) => Some(compose::enveloped(params, &info(), &capabilities())),
            _ => params,
        };
        self.say(compose::request(id, method, params.as_ref())).await
    }

    async fn say(&self, line: Bytes) -> Result<(), ClientError> {
        let mut bytes = BytesMut::with_capacity(line.len() + 1);
        bytes.put_slice(&line);
        bytes.put_u8(b'\n');
        self.writer.send(bytes.freeze()).await.map_err(|_| ClientError::Gone)
    }

    async fn listen(self: Arc<Self>, mut reader: Reader, limit: usize) {
        let mut splitter = Splitter::new(limit);
        while let Some(chunk) = reader.recv().await {
            splitter.feed(&chunk);
            while let Some(piece) = splitter.next_piece() {
                // A line that is too long to inspect is too long to understand.
                if let Piece::Line(line) = piece {
                    self.hear(Message::parse(line));
                }
            }
        }
        // Whoever waits for an answer learns that there will be none.
        self.pending.lock().clear();
    }

    fn hear(self: &Arc<Self>, message: Message) {
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
                    // It may have stopped waiting.
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
                        // A server that is gone by now needs no answer.
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
                // Servers announce a change several times in a row; one list tells them all.
                if !self.stale.lock().insert(changed) {
                    return;
                }
                let client = Arc::clone(self);
                tokio::spawn(async move {
                    tokio::time::sleep(LIST_DEBOUNCE).await;
                    client.stale.lock().remove(changed);
                    client.list(changed).await;
                });
            }
            _ => {}
        }
    }

    /// What it answers by itself; none for questions that a person answers.
    fn answer(&self, id: &Id, method: &str) -> Option<Bytes> {
        match method {
            "ping" => Some(compose::response(id, &json!({}))),
            "roots/list" => Some(compose::response(id, &self.roots())),
            "elicitation/create" => self.elicit().map(|answer| compose::response(id, &answer)),
            "sampling/createMessage" if self.attendance == Attendance::Person => None,
            "sampling/createMessage" => {
                Some(compose::failure(Some(id), -1, "nobody is there to write the message"))
            }
            _ => Some(compose::failure(Some(id), compose::METHOD_NOT_FOUND, "method not found")),
        }
    }

    /// Makes the call again at once where its result asks for nothing that a person has to give.
    async fn give_input(&self, message: &Message) {
        let requests: serde_json::Map<String, Value> = message
            .outcome(&["inputRequests"])
            .and_then(|requests| serde_json::from_slice(requests).ok())
            .unwrap_or_default();
        let mut responses = serde_json::Map::new();
        for (key, request) in requests {
            let answer = match request["method"].as_str() {
                Some("roots/list") => self.roots(),
                Some("elicitation/create") => match self.elicit() {
                    Some(answer) => answer,
                    None => return,
                },
                _ if self.attendance == Attendance::Person => return,
                _ => continue,
            };
            responses.insert(key, answer);
        }
        if matches!(self.attendance, Attendance::Script(_)) {
            tokio::time::sleep(SCRIPT_DELAY).await;
        }
        // A server that is gone by now needs no retry.
        let _ = self.retry(message, responses.into()).await;
    }

    /// Makes the call behind `asked` again, with the input that it requires.
    async fn retry(&self, asked: &Message, responses: Value) -> Result<(), ClientError> {
        let call = asked.id().and_then(|id| self.calls.lock().remove(id));
        let (method, params) = call.ok_or_else(|| ClientError::NoQuestion("the result".into()))?;
        let Value::Object(mut params) = params.unwrap_or_else(|| json!({})) else {
            return Err(ClientError::NoQuestion("the result".into()));
        };
        params.insert("inputResponses".into(), responses);
        params.remove("requestState");
        if let Some(state) = asked.outcome(&["requestState"]) {
            params.insert("requestState".into(), serde_json::from_slice(state).unwrap_or(Value::Null));
        }
        self.call(&method, Some(params.into())).await.map(drop)
    }

    /// The answer to an elicitation that no person has to give.
    fn elicit(&self) -> Option<Value> {
        match &self.attendance {
            Attendance::Person => None,
            Attendance::Nobody => Some(json!({ "action": "decline" })),
            Attendance::Script(answer) => Some(answer.clone()),
        }
    }

    fn roots(&self) -> Value {
        let name = self.root.file_name().map(|name| name.to_string_lossy().into_owned());
        json!({ "roots": [{ "uri": format!("file://{}", self.root.display()), "name": name }] })
    }
}

fn is_stateless(answer: &Message) -> bool {
    let mut eras = crate::mcp::Eras::default();
    eras.observe(crate::mcp::Direction::ToClient, answer, Some("server/discover"));
    eras.server.era == Some(Era::Stateless)
}

fn refused(method: &str, answer: &Message) -> ClientError {
    let why = answer.outcome(&["message"]).map(|why| String::from_utf8_lossy(why).into_owned());
    ClientError::Refused(method.to_owned(), why.unwrap_or_default())
}

fn info() -> Value {
    json!({ "name": "shadowcat", "title": "Shadowcat", "version": env!("CARGO_PKG_VERSION") })
}

fn capabilities() -> Value {
    json!({ "roots": { "listChanged": false }, "sampling": {}, "elicitation": { "form": {}, "url": {} } })
}
