//! The response router of a stdio server: finds the exchange that each line of the server is for.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::{Mutex, MutexGuard};

use super::reply_queue::{Answered, QueuedReply, ReplyQueue, ReplyReceiver};
use crate::clock::{Clock, Stamp};
use crate::log::record::{LaneId, Level};
use crate::mcp::compose::{self, meta};
use crate::mcp::id_map::{IdMap, Mapped, PendingRequest};
use crate::mcp::mirror::Annotations;
use crate::mcp::remap::token;
use crate::mcp::{Direction, Id, Kind, Message};
use crate::session::{Lane, LaneForm, LaneItem, Scope, Session};
use crate::transport::WriterQueue;

/// The clients of a server process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Clients {
    /// One client: its ids are the server's, and messages that concern no request are for its own
    /// stream.
    One,
    /// Several clients: ids are mapped so that they cannot meet, and a message that can be attributed to
    /// no request goes to nobody.
    Many,
}

/// The router of one server process.
pub struct ResponseRouter {
    clients: Clients,
    clock: Clock,
    /// The time of the server's last message.
    last: Mutex<Stamp>,
    /// Records the messages that go to nobody.
    session: Arc<Session>,
    nowhere: LaneId,
    state: Mutex<State>,
    annotations: Mutex<Annotations>,
    /// Messages that concern no request, for the stream on which the server sends unasked (2025 era).
    standing: ReplyQueue,
}

struct State {
    pending: IdMap<Waiting>,
    /// Requests that no client waits for any more and that the server may still work on.
    left: HashMap<Id, Stamp>,
    /// The newest line of the server's stderr.
    last_words: Option<String>,
    /// The reason why no more messages will come.
    over: Option<String>,
}

/// An exchange that waits for the answer to a request.
struct Waiting {
    queue: ReplyQueue,
    order: u64,
    /// `true` if it asked for a subscription, which may be open for ever.
    listens: bool,
}

/// The reason why a request cannot be asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AskError {
    /// The client uses the id of a request that is under way.
    #[error("a request with id {0} is under way already")]
    Duplicate(String),
    /// The server has ended, for this reason.
    #[error("{0}")]
    Over(String),
}

/// A message that could not be delivered.
enum Undelivered {
    /// The client may be given time to read.
    Full(ReplyQueue, QueuedReply),
    Nobody,
}

/// Maximum number of bytes that are kept for a stream that is not open.
const STANDING_BYTES: usize = 1 << 20;
/// Time after which a client that does not read is disconnected, if others share its server.
const SLOW_CLIENT_TIMEOUT: Duration = Duration::from_millis(200);
/// Time for which a server may still send about a request that no client waits for any more.
const LATE_REPLY_WINDOW: Duration = Duration::from_secs(60);

// === impl ResponseRouter ===

impl ResponseRouter {
    /// Creates the router of a server whose unclaimed messages are recorded in `session`.
    pub fn new(clients: Clients, session: Arc<Session>, clock: Clock) -> Arc<Self> {
        let queue = Arc::new(WriterQueue::queue());
        queue.abandon();
        let nowhere = session.open_lane(Lane {
            back: None,
            scope: Scope::Session,
            form: LaneForm::Line,
            open_to_us: false,
            ..Lane::of_lines(Direction::ToClient, &queue, &queue)
        });
        let state =
            Mutex::new(State { pending: IdMap::new(), left: HashMap::new(), last_words: None, over: None });
        let (annotations, standing) = (Mutex::default(), ReplyQueue::default());
        let last = Mutex::new(clock.now());
        Arc::new(Self { clients, clock, last, session, nowhere, state, annotations, standing })
    }

    /// Returns the arguments that requests repeat in headers, as learnt from this server's tool lists.
    pub fn annotations(&self) -> MutexGuard<'_, Annotations> {
        self.annotations.lock()
    }

    /// Adds requests whose answers and progress go to one queue: all of them, or none.
    ///
    /// # Errors
    /// [`AskError`].
    pub fn ask(&self, requests: &[&Message]) -> Result<(Vec<Mapped>, ReplyReceiver), AskError> {
        let queue = ReplyQueue::default();
        let replies = queue.open();
        let mut state = self.state.lock();
        if let Some(why) = &state.over {
            return Err(AskError::Over(why.clone()));
        }
        if self.clients == Clients::One {
            let mut seen = HashSet::new();
            for id in requests.iter().filter_map(|request| request.id()) {
                if state.pending.get(id).is_some() || !seen.insert(id.clone()) {
                    return Err(AskError::Duplicate(id.token().to_owned()));
                }
            }
        }
        let mapped = requests.iter().filter_map(|request| self.add(&mut state, request, &queue)).collect();
        Ok((mapped, replies))
    }

    fn add(&self, state: &mut State, request: &Message, queue: &ReplyQueue) -> Option<Mapped> {
        let Kind::Request { id, method, .. } = request.kind() else { return None };
        let waiting = Waiting {
            queue: queue.clone(),
            order: state.pending.newest(),
            listens: &**method == "subscriptions/listen",
        };
        let mapped = match self.clients {
            Clients::One => state.pending.keep(request, id, waiting),
            Clients::Many => state.pending.rename(request, id, waiting),
        };
        state.left.remove(&mapped.id);
        Some(mapped)
    }

    /// Forgets a request that no client waits for any more. Returns `true` if its answer is still to
    /// come.
    pub fn leave(&self, id: &Id) -> bool {
        let now = self.clock.now();
        let mut state = self.state.lock();
        let pending = state.pending.remove(id);
        if let Some(pending) = &pending {
            pending.value.queue.close();
            state.left.insert(id.clone(), now);
            state.left.retain(|_, at| now.since(*at) < LATE_REPLY_WINDOW);
        }
        pending.is_some()
    }

    /// Opens the stream on which the server sends unasked; one that is open ends.
    pub fn listen(&self) -> ReplyReceiver {
        self.standing.open()
    }

    /// Returns the time of the server's last message.
    pub fn last(&self) -> Stamp {
        *self.last.lock()
    }

    /// Returns `true` if an exchange or a stream is open.
    pub fn is_busy(&self) -> bool {
        let state = self.state.lock();
        state.pending.iter().any(|(_, pending)| pending.value.queue.is_read()) || self.standing.is_read()
    }

    /// Remembers a line of the server's stderr, for the reason that is given if it ends.
    pub fn observe_stderr(&self, line: &[u8]) {
        const MAX_CHARS: usize = 300;
        let text = String::from_utf8_lossy(line.trim_ascii()).chars().take(MAX_CHARS).collect::<String>();
        if !text.is_empty() {
            self.state.lock().last_words = Some(text);
        }
    }

    /// Returns the reason why no more messages will come, once that is so.
    pub fn over(&self) -> Option<String> {
        self.state.lock().over.clone()
    }

    /// Ends everything that waits for the server, which has ended for the reason `why`.
    pub fn close(&self, why: &str) {
        let mut state = self.state.lock();
        let words =
            state.last_words.take().map_or_else(String::new, |words| format!("; its last words: {words}"));
        state.over = Some(format!("{why}{words}"));
        for pending in state.pending.take_all() {
            pending.value.queue.close();
        }
        drop(state);
        self.standing.close();
        if !self.standing.is_read() {
            self.standing.take_unread().into_iter().for_each(|reply| self.to_nobody(reply.message));
        }
    }

    /// Routes a line of the server. Waits for a lone client that does not read; of several clients one
    /// that does not read is disconnected, so that the others need not wait. Returns the request that
    /// the server may stop working on.
    pub async fn route(&self, line: Bytes) -> Option<Id> {
        let message = Message::parse(line);
        *self.last.lock() = self.clock.now();
        if self.clients == Clients::Many {
            self.annotations.lock().learn(&message);
        }
        let mut abandoned = None;
        for message in message.elements() {
            let undelivered = match self.deliver(message) {
                Some(Undelivered::Full(queue, reply)) => {
                    let undelivered = !self.wait_for(&queue, reply).await;
                    if undelivered {
                        abandoned = self.disconnect(&queue).or(abandoned);
                    }
                    undelivered
                }
                Some(Undelivered::Nobody) => true,
                None => false,
            };
            if undelivered {
                self.to_nobody(message.clone());
            }
        }
        abandoned
    }

    /// Gives a client time to read. Returns `true` if it did.
    async fn wait_for(&self, queue: &ReplyQueue, reply: QueuedReply) -> bool {
        let read = async {
            let mut reply = reply;
            while queue.is_read() {
                queue.room(reply.message.raw().len()).await;
                reply = match queue.put(reply) {
                    Ok(()) => return true,
                    Err(reply) => *reply,
                };
            }
            false
        };
        match self.clients {
            Clients::One => read.await,
            Clients::Many => tokio::time::timeout(SLOW_CLIENT_TIMEOUT, read).await.unwrap_or(false),
        }
    }

    /// Forgets the request whose client does not read. Returns its id if the answer is still to come.
    fn disconnect(&self, queue: &ReplyQueue) -> Option<Id> {
        let id = {
            let state = self.state.lock();
            let slow = state.pending.iter().find(|(_, pending)| pending.value.queue.is(queue));
            slow.map(|(id, _)| id.clone())
        };
        id.filter(|id| self.leave(id))
    }

    /// Puts a message into the queue that it is for. Returns it if it could not be delivered.
    fn deliver(&self, message: &Message) -> Option<Undelivered> {
        let mut state = self.state.lock();
        let (queue, message) = match message.kind() {
            Kind::Response { id, .. } | Kind::Failure { id: Some(id), .. } => {
                state.left.remove(id);
                let Some(pending) = state.pending.remove(id) else { return Some(Undelivered::Nobody) };
                let queue = pending.value.queue.clone();
                // The answer is the last message of its request, and may find less room than it needs.
                queue.keep(self.answer(message, pending), usize::MAX);
                return (!queue.is_read()).then_some(Undelivered::Nobody);
            }
            Kind::Notification { method, .. } => match self.receiver(&state, message, method) {
                Some(found) => found,
                None if self.clients == Clients::Many => return Some(Undelivered::Nobody),
                None => return self.stand(state, message),
            },
            Kind::Request { .. } if self.clients == Clients::One => match state.latest() {
                Some(queue) => (queue, message.clone()),
                None => return self.stand(state, message),
            },
            _ => return Some(Undelivered::Nobody),
        };
        drop(state);
        let reply = QueuedReply { message, answers: None };
        match queue.is_read() {
            true => queue.put(reply).err().map(|reply| Undelivered::Full(queue, *reply)),
            false => Some(Undelivered::Nobody),
        }
    }

    /// The answer to a request, with the id that its client knows.
    fn answer(&self, message: &Message, pending: PendingRequest<Waiting>) -> QueuedReply {
        let code = matches!(message.kind(), Kind::Failure { .. })
            .then(|| message.outcome(&["code"]).and_then(number).unwrap_or_default());
        let message = match self.clients {
            Clients::One => message.clone(),
            Clients::Many => Message::parse(pending.answer(message)),
        };
        QueuedReply { message, answers: Some(Answered { id: pending.own_id, code }) }
    }

    /// Keeps a message for the stream on which the server sends unasked. A stream that is not read must
    /// not hold up the others.
    fn stand(&self, state: MutexGuard<'_, State>, message: &Message) -> Option<Undelivered> {
        if state.over.is_some() {
            return Some(Undelivered::Nobody);
        }
        drop(state);
        let reply = QueuedReply { message: message.clone(), answers: None };
        let dropped = self.standing.keep(reply, STANDING_BYTES);
        dropped.into_iter().for_each(|reply| self.to_nobody(reply.message));
        None
    }

    /// Finds the exchange that a notification belongs to, and the notification as its client knows it.
    fn receiver(&self, state: &State, message: &Message, method: &str) -> Option<(ReplyQueue, Message)> {
        let to = |pending: &PendingRequest<Waiting>, line: &dyn Fn() -> Bytes| {
            let message = match self.clients {
                Clients::One => message.clone(),
                Clients::Many => Message::parse(line()),
            };
            (pending.value.queue.clone(), message)
        };
        if let Some(id) = message.param(&["_meta", meta::SUBSCRIPTION_ID]).map(token) {
            let pending = state.pending.get(&id)?;
            return Some(to(pending, &|| pending.subscription(message)));
        }
        match method {
            "notifications/progress" => {
                let pending = state.pending.of_progress(message)?;
                Some(to(pending, &|| pending.progress(message)))
            }
            "notifications/cancelled" if self.clients == Clients::Many => {
                let pending = state.pending.get(&message.param(&["requestId"]).map(token)?)?;
                Some(to(pending, &|| pending.cancellation(message)))
            }
            // A server of this era sends about requests only: about the only one, unless it may still work
            // on another.
            _ if self.clients == Clients::Many => {
                let now = self.clock.now();
                if state.left.values().any(|at| now.since(*at) < LATE_REPLY_WINDOW) {
                    return None;
                }
                let mut calls = state.pending.iter().filter(|(_, pending)| !pending.value.listens);
                let (_, only) = calls.next().filter(|_| calls.next().is_none())?;
                Some((only.value.queue.clone(), message.clone()))
            }
            "notifications/message" => Some((state.latest()?, message.clone())),
            _ => None,
        }
    }

    /// Records a message that goes to nobody.
    pub fn to_nobody(&self, message: Message) {
        self.session.receive_item(self.nowhere, LaneItem::message(message));
    }

    /// Answers a request in the place of a line that is too long to be routed; `id` is that of the line,
    /// if it could be found.
    pub fn too_long(&self, limit: usize, id: Option<Id>) {
        let text = format!(
            "the server wrote a line of more than {limit} bytes, which goes to nobody; --inspect-limit raises the bound"
        );
        self.session.note(None, Level::Error, text.clone());
        let pending = id.and_then(|id| self.state.lock().pending.remove(&id));
        if let Some(PendingRequest { own_id, value, .. }) = pending {
            let code = compose::INTERNAL_ERROR;
            let line = compose::failure(Some(&own_id), code, &format!("shadowcat: {text}"));
            let answers = Some(Answered { id: own_id, code: Some(code) });
            value.queue.keep(QueuedReply { message: Message::parse(line), answers }, usize::MAX);
        }
    }
}

fn number(json: &[u8]) -> Option<i64> {
    std::str::from_utf8(json).ok()?.parse().ok()
}

// === impl State ===

impl State {
    /// The queue of the latest request whose client reads: while a server works on a request, its own
    /// requests and log messages belong to that.
    fn latest(&self) -> Option<ReplyQueue> {
        let read = self.pending.iter().map(|(_, pending)| &pending.value);
        let latest = read.filter(|waiting| waiting.queue.is_read()).max_by_key(|waiting| waiting.order);
        latest.map(|waiting| waiting.queue.clone())
    }
}
