//! Who waits for what a stdio server says: every line of it finds its exchange here.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use parking_lot::Mutex;

use super::reply_queue::{Answer, ReplyQueue, ReplyReceiver, Said};
use crate::clock::{Clock, Stamp};
use crate::log::record::{LaneId, Level};
use crate::mcp::compose::{self, meta};
use crate::mcp::mirror::{self, Annotations};
use crate::mcp::remap::{self, Renamed, replace, token};
use crate::mcp::{Direction, Id, Kind, Message};
use crate::session::{Form, Item, Lane, Scope, Session};
use crate::transport::WriterQueue;

/// Whose requests a server is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Clients {
    /// One client's: its ids are the server's, and what concerns no request is for its own stream.
    One,
    /// Many clients', whose ids are mapped so that they cannot meet (decided per connection to the
    /// server): what can be attributed to no request goes to nobody.
    Many,
}

/// The router of one server process.
pub struct ResponseRouter {
    clients: Clients,
    clock: Clock,
    /// Where what nobody gets is recorded.
    session: Arc<Session>,
    nowhere: LaneId,
    state: Mutex<State>,
    annotations: Mutex<Annotations>,
    /// What concerns no request, for the stream on which the server speaks by itself (2025 era).
    standing: ReplyQueue,
}

#[derive(Default)]
struct State {
    waiting: HashMap<Id, Waiting>,
    /// Progress tokens as the server knows them.
    tokens: HashMap<Id, Id>,
    /// Requests that nobody waits for any more, which the server may still be busy with.
    left: HashMap<Id, Stamp>,
    /// Requests so far; ids of ours are counted from a start that nobody can guess.
    asked: u64,
    start: u64,
    /// What the server said last on stderr.
    last_words: Option<String>,
    /// Why nothing more will be said.
    over: Option<String>,
}

struct Waiting {
    queue: ReplyQueue,
    order: u64,
    /// The client's own id.
    id: Id,
    /// Its progress token, as the server knows it and as the client does.
    token: Option<(Id, Id)>,
    /// It asked for a subscription, which may be open for ever.
    listens: bool,
}

/// A request as the server is to be asked it.
#[derive(Debug)]
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
pub enum AskError {
    #[error("a request with id {0} is under way already")]
    Duplicate(String),
    #[error("{0}")]
    Over(String),
}

/// What a line of the server could not reach: an exchange whose client does not read.
enum Unread {
    /// Its client may be given time.
    Full(ReplyQueue, Said),
    Nobody,
}

/// Bytes that are kept for a stream that is not open.
const STANDING_BYTES: usize = 1 << 20;
/// How long a client that shares its server may not read before it is let go.
const SLOW_CLIENT_TIMEOUT: Duration = Duration::from_millis(200);
/// How long a server may still speak of a request that nobody waits for any more.
const LATE_REPLY_WINDOW: Duration = Duration::from_secs(60);

// === impl ResponseRouter ===

impl ResponseRouter {
    /// The router of a server whose unclaimed words are recorded in `session`.
    pub fn new(clients: Clients, session: Arc<Session>, clock: Clock) -> Arc<Self> {
        let queue = Arc::new(WriterQueue::queue());
        queue.abandon();
        let nowhere = session.open_lane(Lane {
            back: None,
            scope: Scope::Session,
            form: Form::Line,
            open_to_us: false,
            ..Lane::of_lines(Direction::ToClient, &queue, &queue)
        });
        // Any JSON parser can hold it with room to count.
        let start = uuid::Uuid::new_v4().as_u64_pair().0 >> 24;
        let state = Mutex::new(State { start, ..State::default() });
        let (annotations, standing) = (Mutex::default(), ReplyQueue::new());
        Arc::new(Self { clients, clock, session, nowhere, state, annotations, standing })
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

    /// Takes in requests, whose answers and progress go to one queue: all of them, or none.
    ///
    /// # Errors
    /// [`AskError`].
    pub fn ask(&self, requests: &[&Message]) -> Result<(Vec<Asking>, ReplyReceiver), AskError> {
        let queue = ReplyQueue::new();
        let replies = queue.open();
        let mut state = self.state.lock();
        if let Some(why) = &state.over {
            return Err(AskError::Over(why.clone()));
        }
        if self.clients == Clients::One {
            let mut seen = HashSet::new();
            let ids = requests.iter().filter_map(|request| request.id());
            for id in ids {
                if state.waiting.contains_key(id) || !seen.insert(id.clone()) {
                    return Err(AskError::Duplicate(id.token().to_owned()));
                }
            }
        }
        let asking =
            requests.iter().filter_map(|request| self.take_in(&mut state, request, &queue)).collect();
        Ok((asking, replies))
    }

    fn take_in(&self, state: &mut State, request: &Message, queue: &ReplyQueue) -> Option<Asking> {
        let Kind::Request { id, method, .. } = request.kind() else { return None };
        state.asked += 1;
        let order = state.asked;
        let (theirs, tokens, line, remapped) = match self.clients {
            Clients::One => {
                let own = request.param(&["_meta", "progressToken"]).map(token);
                let line = Bytes::copy_from_slice(request.body());
                (id.clone(), own.map(|own| (own.clone(), own)), line, None)
            }
            Clients::Many => {
                let Renamed { id, token, line, words } = remap::rename(request, id, state.start + order);
                (id, token, line, Some(words))
            }
        };
        if let Some((known, _)) = &tokens {
            state.tokens.insert(known.clone(), theirs.clone());
        }
        let waiting = Waiting {
            queue: queue.clone(),
            order,
            id: id.clone(),
            token: tokens,
            listens: &**method == "subscriptions/listen",
        };
        state.left.remove(&theirs);
        state.waiting.insert(theirs.clone(), waiting);
        Some(Asking { line, id: theirs, remapped })
    }

    /// Nobody waits for the answer to a request any more. Returns whether it is still to come.
    pub fn leave(&self, id: &Id) -> bool {
        let now = self.clock.now();
        let mut state = self.state.lock();
        let waiting = state.forget(id);
        if let Some(waiting) = &waiting {
            waiting.queue.close();
            state.left.insert(id.clone(), now);
            state.left.retain(|_, at| now.since(*at) < LATE_REPLY_WINDOW);
        }
        waiting.is_some()
    }

    /// Opens the stream on which the server speaks by itself; one that is open ends.
    pub fn listen(&self) -> ReplyReceiver {
        self.standing.open()
    }

    /// Whether an exchange or a stream is open.
    pub fn is_busy(&self) -> bool {
        let state = self.state.lock();
        state.waiting.values().any(|waiting| waiting.queue.is_read()) || self.standing.is_read()
    }

    /// The server said this on stderr.
    pub fn overhear(&self, line: &[u8]) {
        const MAX_CHARS: usize = 300;
        let text = String::from_utf8_lossy(line.trim_ascii()).chars().take(MAX_CHARS).collect::<String>();
        if !text.is_empty() {
            self.state.lock().last_words = Some(text);
        }
    }

    /// Why nothing more will be said.
    pub fn over(&self) -> Option<String> {
        self.state.lock().over.clone()
    }

    /// Nothing more will be said: whoever waits is let go.
    pub fn close(&self, why: &str) {
        let mut state = self.state.lock();
        let words =
            state.last_words.take().map_or_else(String::new, |words| format!("; its last words: {words}"));
        state.over = Some(format!("{why}{words}"));
        state.tokens.clear();
        for waiting in std::mem::take(&mut state.waiting).into_values() {
            waiting.queue.close();
        }
        drop(state);
        self.standing.close();
        if !self.standing.is_read() {
            self.standing.unread().into_iter().for_each(|said| self.to_nobody(said.line));
        }
    }

    /// Takes a line of the server to whoever it is for. Waits for a lone client that does not read;
    /// of many clients one that does not is let go, so that the others need not wait for it. Returns
    /// what the server may stop working at.
    pub async fn hear(&self, line: Bytes) -> Option<Id> {
        let message = Message::parse(line);
        if self.clients == Clients::Many {
            self.annotations.lock().learn(&message);
        }
        let all = match message.kind() {
            Kind::Batch(all) => all.as_slice(),
            _ => std::slice::from_ref(&message),
        };
        let mut let_go = None;
        for message in all {
            let unread = match self.deliver(message) {
                Some(Unread::Full(queue, said)) => {
                    let unread = !self.wait_for(&queue, said).await;
                    let_go = self.let_go(&queue, unread).or(let_go);
                    unread
                }
                unread => unread.is_some(),
            };
            if unread {
                self.to_nobody(message.raw().clone());
            }
        }
        let_go
    }

    /// Gives a client time to read. Returns whether it did.
    async fn wait_for(&self, queue: &ReplyQueue, said: Said) -> bool {
        let read = async {
            let mut said = said;
            while queue.is_read() {
                queue.room(said.line.len()).await;
                said = match queue.put(said) {
                    Ok(()) => return true,
                    Err(said) => said,
                };
            }
            false
        };
        match self.clients {
            Clients::One => read.await,
            Clients::Many => tokio::time::timeout(SLOW_CLIENT_TIMEOUT, read).await.unwrap_or(false),
        }
    }

    /// Lets a client go, if it does not read.
    fn let_go(&self, queue: &ReplyQueue, unread: bool) -> Option<Id> {
        let id = {
            let state = self.state.lock();
            let slow = state.waiting.iter().find(|(_, waiting)| waiting.queue.is(queue));
            slow.map(|(id, _)| id.clone())
        };
        id.filter(|id| unread && self.leave(id))
    }

    /// Puts a message where it belongs; what it could not reach comes back.
    fn deliver(&self, message: &Message) -> Option<Unread> {
        let mut state = self.state.lock();
        let body = message.body();
        let (queue, said) = match message.kind() {
            Kind::Response { id, .. } | Kind::Failure { id: Some(id), .. } => {
                state.left.remove(id);
                let Some(waiting) = state.forget(id) else { return Some(Unread::Nobody) };
                let code = matches!(message.kind(), Kind::Failure { .. })
                    .then(|| message.outcome(&["code"]).and_then(number).unwrap_or_default());
                let line = match self.clients {
                    Clients::One => Bytes::copy_from_slice(body),
                    Clients::Many => remap::answer(body, &waiting.id),
                };
                let answer = Some(Answer { id: waiting.id, code });
                // Nothing comes behind it; it may find less room than there should be.
                waiting.queue.keep(Said { line, answer }, usize::MAX);
                return (!waiting.queue.is_read()).then_some(Unread::Nobody);
            }
            Kind::Notification { method, .. } => match self.notified(&state, message, method) {
                Some(found) => found,
                None if self.clients == Clients::Many => return Some(Unread::Nobody),
                None => return self.stand(state, body),
            },
            Kind::Request { .. } if self.clients == Clients::One => match state.latest() {
                Some(queue) => (queue, Said { line: Bytes::copy_from_slice(body), answer: None }),
                None => return self.stand(state, body),
            },
            _ => return Some(Unread::Nobody),
        };
        drop(state);
        match queue.is_read() {
            true => queue.put(said).err().map(|said| Unread::Full(queue, said)),
            false => Some(Unread::Nobody),
        }
    }

    /// Keeps a message for the stream on which the server speaks by itself. One that is not read must
    /// not hold up what is.
    fn stand(&self, state: parking_lot::MutexGuard<'_, State>, body: &[u8]) -> Option<Unread> {
        if state.over.is_some() {
            return Some(Unread::Nobody);
        }
        drop(state);
        let said = Said { line: Bytes::copy_from_slice(body), answer: None };
        self.standing.keep(said, STANDING_BYTES).into_iter().for_each(|said| self.to_nobody(said.line));
        None
    }

    /// Which exchange a notification belongs to.
    fn notified(&self, state: &State, message: &Message, method: &str) -> Option<(ReplyQueue, Said)> {
        let body = message.body();
        let to = |waiting: &Waiting, edits: &[(&[&str], Option<&Id>)]| {
            let line = match self.clients {
                Clients::One => Bytes::copy_from_slice(body),
                Clients::Many => replace(body, edits),
            };
            (waiting.queue.clone(), Said { line, answer: None })
        };
        if let Some(id) = message.param(&["_meta", meta::SUBSCRIPTION_ID]).map(token) {
            let waiting = state.waiting.get(&id)?;
            return Some(to(waiting, &remap::subscription(&waiting.id)));
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
            // A server of this era speaks of requests alone: of the only one, if there is no other that
            // it may still be busy with.
            _ if self.clients == Clients::Many => {
                let now = self.clock.now();
                if state.left.values().any(|at| now.since(*at) < LATE_REPLY_WINDOW) {
                    return None;
                }
                let mut calls = state.waiting.values().filter(|waiting| !waiting.listens);
                let only = calls.next().filter(|_| calls.next().is_none())?;
                Some(to(only, &[]))
            }
            "notifications/message" => {
                Some((state.latest()?, Said { line: Bytes::copy_from_slice(body), answer: None }))
            }
            _ => None,
        }
    }

    /// Records what nobody gets.
    pub fn to_nobody(&self, line: Bytes) {
        self.session.receive_item(self.nowhere, Item::message(Message::parse(line)));
    }

    /// A line that is too long to be taken to anyone; `id` is the one that it has, if it could be found.
    pub fn too_long(&self, limit: usize, id: Option<Id>) {
        let text = format!(
            "the server wrote a line of more than {limit} bytes, which goes to nobody; --inspect-limit raises the bound"
        );
        self.session.note(None, Level::Error, text.clone());
        let waiting = id.and_then(|id| self.state.lock().forget(&id));
        if let Some(waiting) = waiting {
            let code = compose::INTERNAL_ERROR;
            let line = compose::failure(Some(&waiting.id), code, &format!("shadowcat: {text}"));
            let answer = Some(Answer { id: waiting.id, code: Some(code) });
            waiting.queue.keep(Said { line, answer }, usize::MAX);
        }
    }
}

fn number(json: &[u8]) -> Option<i64> {
    std::str::from_utf8(json).ok()?.parse().ok()
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

    /// The latest call whose client reads: what a server asks or logs while it works belongs to one.
    fn latest(&self) -> Option<ReplyQueue> {
        let read = self.waiting.values().filter(|waiting| waiting.queue.is_read());
        read.max_by_key(|waiting| waiting.order).map(|waiting| waiting.queue.clone())
    }
}
