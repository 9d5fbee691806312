//! Operations, each of which is a request with the messages that belong to it.
//!
//! One tracker per session links every message as it arrives. A wrong link is worse than none, so
//! ambiguous messages stay unlinked, and messages out of place are flagged.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use super::record::{Cause, Flags, LaneId, Link, OpId, Role, Seq};
use crate::mcp::compose::meta;
use crate::mcp::{Direction, Id, Kind, Message, json};

/// The knowledge of a transport about the call in whose course a server sends a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Correlation {
    /// The call whose response stream carries the request (2025-11-25, Streamable HTTP: requests on the
    /// stream of a POST relate to its request).
    Of(OpId),
    /// Unknown: a call can be presumed if it is the only one in flight.
    Presumed,
    /// The request belongs to no call.
    None,
}

/// A running operation.
#[derive(Debug, Clone)]
pub struct Operation {
    /// The number of the operation.
    pub id: OpId,
    /// The direction of its request.
    pub direction: Direction,
    /// The method of its request.
    pub method: Arc<str>,
    /// The target, such as the name of a tool.
    pub target: Option<Arc<str>>,
    /// The request, or the newest retry.
    pub request: Seq,
    /// `true` if shadowcat sent the request: the response is for shadowcat and not for the peer.
    pub injected: bool,
}

/// The link of a message, and the operation that it belongs to, as it was before the message.
#[derive(Debug, Clone, Default)]
pub struct Observed {
    /// The place of the message in its operation.
    pub link: Link,
    /// The operation, if the message belongs to one.
    pub operation: Option<Arc<Operation>>,
}

/// A tracker, which links the messages of one session.
#[derive(Default)]
pub struct OperationTracker {
    /// The last number used. Shared by all sessions of a log, so that numbers are unique in it.
    counter: Arc<AtomicU32>,
    /// Requests without a response; those that share an id are in the order of their arrival.
    open: HashMap<Key, Vec<Open>>,
    tokens: HashMap<Key, Arc<Operation>>,
    /// Requests that were answered lately, to distinguish a second response from one without a request.
    ended: HashMap<Key, Arc<Operation>>,
    ended_order: VecDeque<Key>,
    /// Requests that may never be answered, oldest first.
    settled: VecDeque<OpId>,
    /// Operations that wait for a retry with input from the client.
    legs: VecDeque<Leg>,
}

/// The key of a request. Ids are unique per sender and, over HTTP, per exchange.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Key {
    direction: Direction,
    lane: Option<LaneId>,
    id: Id,
}

struct Open {
    operation: Arc<Operation>,
    spelled: Id,
    token: Option<Id>,
    cancelled: bool,
    /// Set if the request never reached its peer or its sender has given up: a response may come late.
    settled: bool,
}

/// A leg: a result that asks for input, with the properties of the retry that continues it.
struct Leg {
    operation: Arc<Operation>,
    /// `requestState` as its exact JSON token, which is never decoded.
    state: Option<Box<[u8]>>,
    keys: Vec<String>,
}

/// Maximum number of ended requests, and of waiting legs, that are remembered.
const MEMORY: usize = 4096;

// === impl Operations ===

impl OperationTracker {
    /// Creates a tracker that takes the numbers of its operations from `counter`.
    pub fn new(counter: Arc<AtomicU32>) -> Self {
        Self { counter, ..Self::default() }
    }

    /// Links a message that was seen as frame `seq`. `lane` is given if ids are unique only within an
    /// exchange (HTTP); `injected` marks a request by shadowcat.
    pub fn observe(
        &mut self,
        seq: Seq,
        direction: Direction,
        lane: Option<LaneId>,
        correlation: Correlation,
        message: &Message,
        injected: bool,
    ) -> Observed {
        match message.kind() {
            Kind::Request { id, method, .. } => {
                let key = Key { direction, lane, id: id.clone() };
                self.request(seq, key, correlation, method, message, injected)
            }
            Kind::Response { id, .. } | Kind::Failure { id: Some(id), .. } => {
                let key = Key { direction: direction.reverse(), lane, id: id.clone() };
                match correlation {
                    // Over HTTP an exchange is a correlation of its own, whatever the id says.
                    Correlation::Of(op)
                        if !self.open.contains_key(&key) && !self.ended.contains_key(&key) =>
                    {
                        self.mismatched(op, key, message)
                    }
                    _ => self.response(key, message),
                }
            }
            // Over HTTP, an error without an id answers the request of its exchange.
            Kind::Failure { id: None, .. } => match correlation {
                Correlation::Of(op) => self.failure(op, message),
                Correlation::Presumed | Correlation::None => flagged(Role::Response, Flags::ORPHAN),
            },
            Kind::Notification { method, .. } => match method.as_ref() {
                "notifications/progress" => self.progress(direction, lane, message),
                "notifications/cancelled" => self.cancel(direction, lane, message),
                _ => self.event(direction, lane, message),
            },
            Kind::Batch(_) | Kind::Opaque(_) => Observed::default(),
        }
    }

    /// Returns the operations with a request in `direction` that is still waited for.
    pub fn in_flight(&self, direction: Direction) -> impl Iterator<Item = &Arc<Operation>> {
        let mine = move |(key, _): &(&Key, &Vec<Open>)| key.direction == direction;
        self.open
            .iter()
            .filter(mine)
            .flat_map(|(_, open)| open)
            .filter(|open| !open.settled)
            .map(|open| &open.operation)
    }

    /// Marks a request whose response is not waited for any more.
    pub fn settle(&mut self, op: OpId) {
        for open in self.open.values_mut().flatten().filter(|open| open.operation.id == op) {
            open.settled = true;
            self.settled.push_back(op);
        }
        if self.settled.len() > MEMORY
            && let Some(oldest) = self.settled.pop_front()
        {
            self.withdraw(oldest);
        }
    }

    /// Forgets the unanswered requests of an exchange that has ended: its ids are not seen again.
    pub fn leave(&mut self, exchange: LaneId) {
        self.open.retain(|key, _| key.lane != Some(exchange));
        self.tokens.retain(|key, _| key.lane != Some(exchange));
    }

    /// Forgets a request that never reached its peer.
    pub fn withdraw(&mut self, op: OpId) {
        self.open.retain(|_, open| {
            open.retain(|open| open.operation.id != op);
            !open.is_empty()
        });
        self.tokens.retain(|_, operation| operation.id != op);
    }

    fn request(
        &mut self,
        seq: Seq,
        key: Key,
        correlation: Correlation,
        method: &str,
        message: &Message,
        injected: bool,
    ) -> Observed {
        let leg = self.leg(method, message);
        let (id, role, to) = match &leg {
            Some(leg) => (leg.operation.id, Role::Retry, Some(leg.operation.request)),
            None => (OpId(self.counter.fetch_add(1, Ordering::Relaxed) + 1), Role::Request, None),
        };
        let operation = Arc::new(Operation {
            id,
            direction: key.direction,
            method: method.into(),
            target: message.target().map(Into::into),
            request: seq,
            injected,
        });
        let cause = if injected { None } else { self.cause(key.direction, correlation, method) };
        let token = message.param(&["_meta", "progressToken"]).map(token_id);
        if let Some(token) = &token {
            let owner = Key { id: token.clone(), ..key.clone() };
            // A request by shadowcat never takes over the progress of a peer's request.
            if !injected || !self.tokens.contains_key(&owner) {
                self.tokens.insert(owner, Arc::clone(&operation));
            }
        }
        let spelled = key.id.clone();
        let open = self.open.entry(key).or_default();
        let flags = if open.iter().all(|open| open.settled) { Flags::default() } else { Flags::DUPLICATE };
        open.push(Open {
            operation: Arc::clone(&operation),
            spelled,
            token,
            cancelled: false,
            settled: false,
        });
        let link = Link { op: Some(id), role, to, cause, flags };
        Observed { link, operation: Some(operation) }
    }

    /// Returns the call of the client in whose course the server sends a request for `method`. Up to
    /// 2025-11-25 no message on stdio names the call; if only one is in flight, and it is of a kind that
    /// may ask, it is presumed (2026-07-28 makes this the rule, SEP-2260). With two calls, a guess would
    /// be worthless.
    fn cause(&self, direction: Direction, correlation: Correlation, method: &str) -> Option<Cause> {
        const ASKED: [&str; 3] = ["sampling/createMessage", "elicitation/create", "roots/list"];
        const MAY_ASK: [&str; 4] = ["tools/call", "prompts/get", "resources/read", "completion/complete"];
        match correlation {
            _ if direction == Direction::ToServer => return None,
            Correlation::Of(op) => return Some(Cause { op, presumed: false }),
            Correlation::None => return None,
            Correlation::Presumed if !ASKED.contains(&method) => return None,
            Correlation::Presumed => {}
        }
        let mut calls = self.in_flight(Direction::ToServer);
        let (only, another) = (calls.next()?, calls.next());
        (another.is_none() && MAY_ASK.contains(&&*only.method))
            .then_some(Cause { op: only.id, presumed: true })
    }

    /// Links an error response without an id, which answers the request of `op`.
    fn failure(&mut self, op: OpId, message: &Message) -> Observed {
        match self.key_of(op) {
            Some(key) => self.response(key, message),
            None => flagged(Role::Response, Flags::ORPHAN),
        }
    }

    /// Links a response in the exchange of `op` that names the unknown request `named`.
    fn mismatched(&mut self, op: OpId, named: Key, message: &Message) -> Observed {
        let Some(key) = self.key_of(op) else { return self.response(named, message) };
        let mut observed = self.response(key, message);
        observed.link.flags = observed.link.flags.with(Flags::MISMATCHED);
        observed
    }

    /// Returns the key of the open request of an operation.
    fn key_of(&self, op: OpId) -> Option<Key> {
        self.open.iter().find_map(|(key, open)| {
            let open = open.iter().find(|open| open.operation.id == op)?;
            Some(Key { id: open.spelled.clone(), ..key.clone() })
        })
    }

    fn response(&mut self, key: Key, message: &Message) -> Observed {
        let Some(open) = self.open.get_mut(&key) else {
            return match self.ended.get(&key) {
                Some(operation) => Observed {
                    link: Link {
                        op: Some(operation.id),
                        role: Role::Response,
                        to: Some(operation.request),
                        cause: None,
                        flags: Flags::DUPLICATE,
                    },
                    operation: Some(Arc::clone(operation)),
                },
                None => flagged(Role::Response, Flags::ORPHAN),
            };
        };
        // If an id was used again, the response belongs to the request that is still waited for.
        let at = open.iter().position(|open| !open.settled).unwrap_or(0);
        let Open { operation, spelled, token, cancelled, .. } = open.remove(at);
        if open.is_empty() {
            self.open.remove(&key);
        }
        let mut flags = Flags::default();
        if cancelled {
            flags = flags.with(Flags::LATE);
        }
        if !spelled.same_spelling(&key.id) {
            flags = flags.with(Flags::RESPELLED);
        }
        if let Some(token) = token {
            let token = Key { id: token, ..key.clone() };
            if self.tokens.get(&token).is_some_and(|owner| owner.request == operation.request) {
                self.tokens.remove(&token);
            }
        }
        let role = if message.outcome(&["resultType"]) == Some(b"\"input_required\"") {
            self.await_retry(&operation, message);
            Role::InputRequired
        } else {
            Role::Response
        };
        self.end(key, &operation);
        let link = Link { op: Some(operation.id), role, to: Some(operation.request), cause: None, flags };
        Observed { link, operation: Some(operation) }
    }

    fn end(&mut self, key: Key, operation: &Arc<Operation>) {
        if self.ended_order.len() >= MEMORY
            && let Some(oldest) = self.ended_order.pop_front()
        {
            self.ended.remove(&oldest);
        }
        if self.ended.insert(key.clone(), Arc::clone(operation)).is_none() {
            self.ended_order.push_back(key);
        }
    }

    fn progress(&self, direction: Direction, lane: Option<LaneId>, message: &Message) -> Observed {
        let token = message.param(&["progressToken"]).map(token_id);
        let direction = direction.reverse();
        let operation = token.and_then(|id| self.tokens.get(&Key { direction, lane, id }));
        belonging(Role::Progress, operation)
    }

    fn cancel(&mut self, direction: Direction, lane: Option<LaneId>, message: &Message) -> Observed {
        let Some(id) = message.param(&["requestId"]).map(token_id) else {
            return flagged(Role::Cancel, Flags::ORPHAN);
        };
        // A server may cancel the client's `subscriptions/listen` (2026-07-28, patterns/cancellation).
        for requester in [direction, direction.reverse()] {
            let key = Key { direction: requester, lane, id: id.clone() };
            let waiting = |open: &&mut Open| !open.settled;
            let Some(open) = self.open.get_mut(&key).and_then(|open| open.iter_mut().find(waiting)) else {
                continue;
            };
            if requester != direction && &*open.operation.method != "subscriptions/listen" {
                continue;
            }
            open.cancelled = true;
            let operation = Arc::clone(&open.operation);
            self.settle(operation.id);
            return belonging(Role::Cancel, Some(&operation));
        }
        flagged(Role::Cancel, Flags::ORPHAN)
    }

    fn event(&self, direction: Direction, lane: Option<LaneId>, message: &Message) -> Observed {
        let Some(id) = message.param(&["_meta", meta::SUBSCRIPTION_ID]).map(token_id) else {
            return Observed::default();
        };
        let key = Key { direction: direction.reverse(), lane, id };
        belonging(Role::Event, self.open.get(&key).and_then(|open| open.first()).map(|open| &open.operation))
    }

    fn await_retry(&mut self, operation: &Arc<Operation>, message: &Message) {
        if self.legs.len() >= MEMORY {
            self.legs.pop_front();
        }
        self.legs.push_back(Leg {
            operation: Arc::clone(operation),
            state: message.outcome(&["requestState"]).map(Into::into),
            keys: keys(message.outcome(&["inputRequests"])),
        });
    }

    /// Finds the leg that a request continues, by method, target and `requestState`, or, without a
    /// `requestState`, by the keys of its answers. Returns `None` unless exactly one leg fits.
    fn leg(&mut self, method: &str, message: &Message) -> Option<Leg> {
        let state = message.param(&["requestState"]);
        let answers = message.param(&["inputResponses"]);
        if state.is_none() && answers.is_none() {
            return None;
        }
        let given = keys(answers);
        let target = message.target();
        let fits = |leg: &Leg| {
            *leg.operation.method == *method
                && leg.operation.target.as_deref() == target.as_deref()
                && same_text(leg.state.as_deref(), state)
                && (state.is_some() || leg.keys == given)
        };
        let mut fitting = self.legs.iter().enumerate().filter(|(_, leg)| fits(leg)).map(|(index, _)| index);
        let index = fitting.next()?;
        if fitting.next().is_some() {
            return None;
        }
        self.legs.remove(index)
    }
}

/// Returns `true` if two tokens are equal, or spell the same string: many clients write a string anew.
fn same_text(a: Option<&[u8]>, b: Option<&[u8]>) -> bool {
    let text = |token: Option<&[u8]>| json::unescape(token?).map(|text| text.into_owned());
    let half = char::REPLACEMENT_CHARACTER;
    a == b || text(a).is_some_and(|text_a| !text_a.contains(half) && Some(text_a) == text(b))
}

fn token_id(token: &[u8]) -> Id {
    Id::new(&String::from_utf8_lossy(token))
}

fn keys(object: Option<&[u8]>) -> Vec<String> {
    let Some(object) = object else { return Vec::new() };
    let mut keys: Vec<String> = json::members(object, 0..object.len())
        .filter_map(|member| json::unescape(&object[member.key]).map(|key| key.into_owned()))
        .collect();
    keys.sort();
    keys
}

fn flagged(role: Role, flags: Flags) -> Observed {
    Observed { link: Link { role, flags, ..Link::default() }, operation: None }
}

fn belonging(role: Role, operation: Option<&Arc<Operation>>) -> Observed {
    match operation {
        Some(operation) => Observed {
            link: Link { op: Some(operation.id), role, to: Some(operation.request), ..Link::default() },
            operation: Some(Arc::clone(operation)),
        },
        None => flagged(role, Flags::ORPHAN),
    }
}

#[cfg(test)]
mod tests;
