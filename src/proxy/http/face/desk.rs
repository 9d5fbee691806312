//! Who waits for what a stdio server says: every line of it finds its exchange here.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use http::HeaderMap;
use parking_lot::Mutex;
use tokio::sync::mpsc;

use crate::log::record::{LaneId, Level};
use crate::mcp::compose::{self, meta};
use crate::mcp::mirror::{self, Annotations};
use crate::mcp::{Direction, Id, Kind, Message, json};
use crate::proxy::session::{Form, Item, Lane, Port, Scope, Session};

/// One message of the server, for one exchange.
#[derive(Debug)]
pub struct Said {
    /// The message without a terminator.
    pub line: Bytes,
    /// The answer that it is to a request of the exchange.
    pub answer: Option<Answer>,
}

/// An answer to a request.
#[derive(Debug)]
pub struct Answer {
    /// The client's id of the request.
    pub id: Id,
    /// The code of the error that it reports.
    pub code: Option<i64>,
}

/// What an exchange is told.
pub type Mail = mpsc::Receiver<Said>;

/// Whose requests a server is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Clients {
    /// One client's: its ids are the server's, and what concerns no request is for its own stream.
    One,
    /// Many clients', whose ids are mapped so that they cannot meet (decided per connection to the
    /// server): what can be attributed to no request goes to nobody.
    Many,
}

/// The desk of one server process.
pub struct Desk {
    clients: Clients,
    /// Where what nobody gets is recorded.
    session: Arc<Session>,
    nowhere: LaneId,
    state: Mutex<State>,
    annotations: Mutex<Annotations>,
}

struct State {
    waiting: HashMap<Id, Waiting>,
    /// Progress tokens as the server knows them.
    tokens: HashMap<Id, Id>,
    /// The stream on which the server speaks by itself (2025 era), and what waits for one.
    stream: Option<mpsc::Sender<Said>>,
    kept: VecDeque<Bytes>,
    kept_bytes: usize,
    /// Requests so far; ids of ours are counted from a start that nobody can guess.
    asked: u64,
    start: u64,
    /// Why nothing more will be said.
    over: Option<String>,
}

struct Waiting {
    mail: mpsc::Sender<Said>,
    order: u64,
    /// The client's own id and progress token.
    id: Id,
    token: Option<(Id, Id)>,
    /// It asked for a subscription, which may be open for ever.
    listens: bool,
}

/// A request as the server is to be asked it.
pub struct Asking {
    /// The line for the server, without a terminator.
    pub line: Bytes,
    /// The id that the server knows it by.
    pub id: Id,
    /// What became of its id and progress token, in words; none where they are what they were.
    pub remapped: Option<String>,
}

/// Why a request cannot be asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    #[error("a request with id {0} is under way already")]
    Duplicate(String),
    #[error("{0}")]
    Over(String),
}

/// Messages that may wait for one exchange.
const MAIL: usize = 256;
/// What may wait for a stream of the client's, messages and bytes.
const KEPT: usize = MAIL;
const KEPT_BYTES: usize = 1 << 20;

// === impl Desk ===

impl Desk {
    /// The desk of a server whose unclaimed words are recorded in `session`.
    pub fn new(clients: Clients, session: Arc<Session>) -> Arc<Self> {
        let port = Arc::new(Port::queue());
        port.abandon();
        let nowhere = session.open_lane(Lane {
            back: None,
            scope: Scope::Session,
            form: Form::Line,
            open_to_us: false,
            ..Lane::of_lines(Direction::ToClient, &port, &port)
        });
        let chance = uuid::Uuid::new_v4().as_u64_pair().0;
        let state = State {
            waiting: HashMap::new(),
            tokens: HashMap::new(),
            stream: None,
            kept: VecDeque::new(),
            kept_bytes: 0,
            asked: 0,
            // Any JSON parser can hold it with room to count.
            start: chance >> 24,
            over: None,
        };
        Arc::new(Self { clients, session, nowhere, state: Mutex::new(state), annotations: Mutex::default() })
    }

    /// Compares what headers repeat of a request with its body.
    ///
    /// # Errors
    /// What does not fit, in words.
    pub fn check(&self, request: &Message, headers: &HeaderMap) -> Result<(), String> {
        let mirrored = self.annotations.lock().headers(request);
        mirror::compare(&mirrored, |name| {
            let text = |value: &http::HeaderValue| value.to_str().ok().map(str::to_owned);
            headers.get_all(name).iter().map(text).collect()
        })
    }

    /// A way for messages to one exchange.
    pub fn mail() -> (mpsc::Sender<Said>, Mail) {
        mpsc::channel(MAIL)
    }

    /// Takes in a request, whose answer and progress go to `mail`.
    ///
    /// # Errors
    /// [`Refused`].
    pub fn ask(&self, request: &Message, mail: mpsc::Sender<Said>) -> Result<Asking, Refused> {
        let Kind::Request { id, method, .. } = request.kind() else {
            return Err(Refused::Over("this is no request".into()));
        };
        let token = request.param(&["_meta", "progressToken"]).map(token);
        let mut state = self.state.lock();
        if let Some(why) = &state.over {
            return Err(Refused::Over(why.clone()));
        }
        state.asked += 1;
        let order = state.asked;
        let (theirs, their_token) = match self.clients {
            Clients::One if state.waiting.contains_key(id) => {
                return Err(Refused::Duplicate(id.token().to_owned()));
            }
            Clients::One => (id.clone(), token.clone()),
            Clients::Many => {
                let number = state.start + order;
                (alike(id, number), token.as_ref().map(|token| alike(token, number)))
            }
        };
        let waiting = Waiting {
            mail,
            order,
            id: id.clone(),
            token: their_token.clone().zip(token.clone()),
            listens: &**method == "subscriptions/listen",
        };
        if let Some(token) = &their_token {
            state.tokens.insert(token.clone(), theirs.clone());
        }
        state.waiting.insert(theirs.clone(), waiting);
        drop(state);
        let body = request.body();
        let line = match self.clients {
            Clients::One => Bytes::copy_from_slice(body),
            Clients::Many => {
                let meta: &[&str] = &["params", "_meta", "progressToken"];
                let edits = [(&["id"][..], Some(&theirs)), (meta, their_token.as_ref())];
                replace(body, &edits)
            }
        };
        let remapped = (self.clients == Clients::Many).then(|| {
            let mut words = format!("id {} goes on as {}", id.token(), theirs.token());
            if let (Some(token), Some(theirs)) = (token, their_token) {
                words.push_str(&format!(", progressToken {} as {}", token.token(), theirs.token()));
            }
            words
        });
        Ok(Asking { line, id: theirs, remapped })
    }

    /// Nobody waits for the answer to a request any more. Returns whether it is still to come.
    pub fn leave(&self, id: &Id) -> bool {
        let mut state = self.state.lock();
        match self.clients {
            // An answer that comes later must still be known as one.
            Clients::One => state.waiting.contains_key(id),
            Clients::Many => state.forget(id).is_some(),
        }
    }

    /// Opens the stream on which the server speaks by itself; one that is open ends.
    pub fn listen(&self) -> Mail {
        let (mail, stream) = Self::mail();
        let mut state = self.state.lock();
        state.kept_bytes = 0;
        for line in std::mem::take(&mut state.kept) {
            // There is room for as much as is kept.
            let _ = mail.try_send(Said { line, answer: None });
        }
        if state.over.is_none() {
            state.stream = Some(mail);
        }
        stream
    }

    /// Whether an exchange or a stream is open.
    pub fn is_busy(&self) -> bool {
        let state = self.state.lock();
        let open = |waiting: &Waiting| !waiting.mail.is_closed();
        state.waiting.values().any(open) || state.stream.as_ref().is_some_and(|stream| !stream.is_closed())
    }

    /// Why nothing more will be said.
    pub fn over(&self) -> Option<String> {
        self.state.lock().over.clone()
    }

    /// Nothing more will be said: whoever waits is let go.
    pub fn close(&self, why: String) {
        let mut state = self.state.lock();
        state.over = Some(why);
        state.waiting.clear();
        state.tokens.clear();
        state.stream = None;
        let kept = std::mem::take(&mut state.kept);
        drop(state);
        kept.into_iter().for_each(|line| self.to_nobody(line));
    }

    /// Takes a line of the server to whoever it is for. Waits for a lone client that does not read;
    /// of many clients one that does not is let go, so that the others need not wait for it.
    pub async fn hear(&self, line: Bytes) {
        let message = Message::parse(line);
        if self.clients == Clients::Many {
            self.annotations.lock().learn(&message);
        }
        let all = match message.kind() {
            Kind::Batch(all) => all.as_slice(),
            _ => std::slice::from_ref(&message),
        };
        for message in all {
            let Some((mail, said)) = self.find(message) else { continue };
            let undelivered = match self.clients {
                Clients::One => mail.send(said).await.map_err(|unsent| unsent.0.line).err(),
                Clients::Many => mail.try_send(said).map_err(|unsent| unsent.into_inner().line).err(),
            };
            if undelivered.is_some() {
                if self.clients == Clients::Many {
                    let mut state = self.state.lock();
                    let slow = state.waiting.iter().find(|(_, waiting)| waiting.mail.same_channel(&mail));
                    if let Some(id) = slow.map(|(id, _)| id.clone()) {
                        state.forget(&id);
                    }
                }
                self.to_nobody(message.raw().clone());
            }
        }
    }

    /// Who a message is for, and the message as it is for them.
    fn find(&self, message: &Message) -> Option<(mpsc::Sender<Said>, Said)> {
        let mut state = self.state.lock();
        let plain = |line: &[u8]| Said { line: Bytes::copy_from_slice(line), answer: None };
        let body = message.body();
        let found = match message.kind() {
            Kind::Response { id, .. } | Kind::Failure { id: Some(id), .. } => {
                state.forget(id).map(|waiting| {
                    let code = matches!(message.kind(), Kind::Failure { .. })
                        .then(|| message.outcome(&["code"]).and_then(number).unwrap_or_default());
                    let subscription: &[&str] = &["result", "_meta", meta::SUBSCRIPTION_ID];
                    let line = match self.clients {
                        Clients::One => Bytes::copy_from_slice(body),
                        Clients::Many => {
                            replace(body, &[(&["id"], Some(&waiting.id)), (subscription, Some(&waiting.id))])
                        }
                    };
                    (waiting.mail, Said { line, answer: Some(Answer { id: waiting.id, code }) })
                })
            }
            Kind::Notification { method, .. } => self.notified(&state, message, method),
            Kind::Request { .. } if self.clients == Clients::One => {
                state.listener(true).map(|mail| (mail, plain(body)))
            }
            _ => None,
        };
        let found = found.filter(|(mail, _)| !mail.is_closed());
        let keeps = self.clients == Clients::One
            && state.over.is_none()
            && matches!(message.kind(), Kind::Request { .. } | Kind::Notification { .. });
        match found {
            Some(found) => Some(found),
            None if keeps => {
                let dropped = state.keep(Bytes::copy_from_slice(body));
                drop(state);
                dropped.into_iter().for_each(|line| self.to_nobody(line));
                None
            }
            None => {
                drop(state);
                self.to_nobody(message.raw().clone());
                None
            }
        }
    }

    fn notified(&self, state: &State, message: &Message, method: &str) -> Option<(mpsc::Sender<Said>, Said)> {
        let body = message.body();
        let to = |waiting: &Waiting, edits: &[(&[&str], Option<&Id>)]| {
            let line = match self.clients {
                Clients::One => Bytes::copy_from_slice(body),
                Clients::Many => replace(body, edits),
            };
            (waiting.mail.clone(), Said { line, answer: None })
        };
        let subscription: &[&str] = &["params", "_meta", meta::SUBSCRIPTION_ID];
        if let Some(id) = message.param(&["_meta", meta::SUBSCRIPTION_ID]).map(token) {
            let waiting = state.waiting.get(&id)?;
            let request: &[&str] = &["params", "requestId"];
            return Some(to(waiting, &[(subscription, Some(&waiting.id)), (request, Some(&waiting.id))]));
        }
        match method {
            "notifications/progress" => {
                let asked = state.tokens.get(&message.param(&["progressToken"]).map(token)?)?;
                let waiting = state.waiting.get(asked)?;
                let theirs = waiting.token.as_ref().map(|(_, own)| own);
                Some(to(waiting, &[(&["params", "progressToken"], theirs)]))
            }
            "notifications/cancelled" if self.clients == Clients::Many => {
                let waiting = state.waiting.get(&message.param(&["requestId"]).map(token)?)?;
                Some(to(waiting, &[(&["params", "requestId"], Some(&waiting.id))]))
            }
            // Between requests a server of this era says nothing, so it must be about the only one.
            _ if self.clients == Clients::Many => {
                let mut calls = state.waiting.values().filter(|waiting| !waiting.listens);
                let only = calls.next().filter(|_| calls.next().is_none())?;
                Some(to(only, &[]))
            }
            _ => {
                let mail = state.listener(method == "notifications/message")?;
                Some((mail, Said { line: Bytes::copy_from_slice(body), answer: None }))
            }
        }
    }

    /// Records what nobody gets.
    pub fn to_nobody(&self, line: Bytes) {
        let message = Message::parse(line);
        self.session.receive_item(self.nowhere, Item::message(message));
    }

    /// A line that is too long to be taken to anyone.
    pub fn too_long(&self, limit: usize) {
        let text = format!(
            "the server wrote a line of more than {limit} bytes, which cannot be told apart and goes to nobody; \
             --inspect-limit raises the bound"
        );
        self.session.note(None, Level::Error, text.clone());
        let mut state = self.state.lock();
        // With one request under way there is no doubt what it answered.
        let only = match state.waiting.len() {
            1 => state.waiting.keys().next().cloned(),
            _ => None,
        };
        if let Some(waiting) = only.and_then(|id| state.forget(&id)) {
            let error =
                compose::failure(Some(&waiting.id), compose::INTERNAL_ERROR, &format!("shadowcat: {text}"));
            let answer = Some(Answer { id: waiting.id, code: Some(compose::INTERNAL_ERROR) });
            // Who does not read will not miss it.
            let _ = waiting.mail.try_send(Said { line: error, answer });
        }
    }
}

// === impl State ===

impl State {
    fn forget(&mut self, id: &Id) -> Option<Waiting> {
        let waiting = self.waiting.remove(id)?;
        if let Some((token, _)) = &waiting.token {
            self.tokens.remove(token);
        }
        Some(waiting)
    }

    /// Where what concerns no request by name is to go: what belongs to a call to the latest one,
    /// anything else to the client's own stream, and either to the other where there is no better.
    fn listener(&self, of_a_call: bool) -> Option<mpsc::Sender<Said>> {
        let open = |mail: &&mpsc::Sender<Said>| !mail.is_closed();
        let latest =
            || self.waiting.values().max_by_key(|waiting| waiting.order).map(|waiting| &waiting.mail);
        let (call, stream) = (latest().filter(open), self.stream.as_ref().filter(open));
        match of_a_call {
            true => call.or(stream).cloned(),
            false => stream.or(call).cloned(),
        }
    }

    /// Keeps a message until there is a stream for it. Returns what had to make room.
    fn keep(&mut self, line: Bytes) -> Vec<Bytes> {
        self.kept_bytes += line.len();
        self.kept.push_back(line);
        let mut dropped = Vec::new();
        while self.kept.len() > KEPT || self.kept_bytes > KEPT_BYTES {
            let Some(oldest) = self.kept.pop_front() else { break };
            self.kept_bytes -= oldest.len();
            dropped.push(oldest);
        }
        dropped
    }
}

fn token(json: &[u8]) -> Id {
    Id::new(&String::from_utf8_lossy(json))
}

fn number(json: &[u8]) -> Option<i64> {
    std::str::from_utf8(json).ok()?.parse().ok()
}

/// An id of ours of the same JSON type as `id`.
fn alike(id: &Id, number: u64) -> Id {
    match id.token().starts_with('"') {
        true => Id::text(&format!("sc-{number}")),
        false => Id::new(&number.to_string()),
    }
}

/// Replaces the values at these paths, where there are any.
fn replace(body: &[u8], edits: &[(&[&str], Option<&Id>)]) -> Bytes {
    let whole = 0..body.len();
    let mut spans: Vec<_> = edits
        .iter()
        .filter_map(|(path, id)| Some((json::lookup(body, whole.clone(), path)?, (*id)?.token())))
        .collect();
    spans.sort_by_key(|(span, _)| std::cmp::Reverse(span.start));
    let mut out = body.to_vec();
    for (span, token) in spans {
        out.splice(span, token.bytes());
    }
    out.into()
}
