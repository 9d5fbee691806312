//! Requests of the client under way, each of which gets exactly one answer, and requests of the server.

use std::collections::{HashMap, VecDeque};

use tokio::task::AbortHandle;

use crate::mcp::remap::token;
use crate::mcp::{Id, Kind, Message};

/// Requests under way.
#[derive(Default)]
pub(super) struct Requests {
    newest: u64,
    open: HashMap<u64, Open>,
    /// Requests that were answered or given up lately, the newest first: a response with such an id answers no
    /// other request.
    closed: VecDeque<Closed>,
    /// Requests of the server that the client was given lately, with the numbers of their sessions.
    asked: VecDeque<(Id, u32)>,
}

/// An exchange under way.
struct Open {
    /// Requests in its message without an answer, as the client spelled their ids.
    unanswered: Vec<Id>,
    method: Option<String>,
    task: AbortHandle,
}

/// A request that is no longer under way.
struct Closed {
    id: Id,
    /// `true` if its client gave it up, and so may still get its answer.
    is_given_up: bool,
}

/// What ties a response to its request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Correlation {
    /// The exchange: the body of a response that is no stream, or the end of a stream without a better answer.
    Exchange,
    /// The id, for the responses on an event stream, which may carry those to other requests.
    Id,
}

/// What a response of the server is to the client.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Settled {
    /// It answers the request with this id, as the client spelled it.
    Request(Id),
    /// It answers a request that the client has given up.
    GivenUp,
    /// It answers a request that was answered before.
    Again,
    /// It names no request of the client.
    Unknown,
}

/// Maximum number of closed requests, and of the server's requests, that are remembered.
const MEMORY: usize = 1024;

impl Open {
    fn owes(&self) -> bool {
        !self.unanswered.is_empty() && self.method.as_deref() != Some("subscriptions/listen")
    }
}

impl Requests {
    pub(super) fn next(&mut self) -> u64 {
        self.newest += 1;
        self.newest
    }

    pub(super) fn insert(&mut self, number: u64, message: &Message, task: AbortHandle) {
        let ids = message.elements().iter().filter_map(|element| match element.kind() {
            Kind::Request { id, .. } => Some(id.clone()),
            _ => None,
        });
        let open = Open { unanswered: ids.collect(), method: message.method().map(str::to_owned), task };
        self.open.insert(number, open);
    }

    /// Returns `true` if a request waits for an answer that comes without the client's doing. A subscription
    /// is answered only when it ends (2026-07-28, basic/patterns/subscriptions).
    pub(super) fn owes(&self) -> bool {
        self.open.values().any(Open::owes)
    }

    /// Finds the request that a response in exchange `number` answers, and settles it. An id that names no
    /// request at all stands for the only request of the exchange if the two are spelled alike, or if the
    /// exchange is what ties them.
    pub(super) fn settle(&mut self, number: u64, id: Option<&Id>, by: Correlation) -> Settled {
        let named = |open: &Open| open.unanswered.iter().position(|known| Some(known) == id);
        let only = |open: &Open| open.unanswered.len() == 1;
        let own = self.open.get(&number);
        let place = match (own, own.and_then(named)) {
            (_, Some(at)) => Some((number, at)),
            (Some(own), None) if by == Correlation::Exchange && only(own) => Some((number, 0)),
            _ => self.open.iter().find_map(|(other, open)| named(open).map(|at| (*other, at))),
        };
        let closed = || self.closed.iter().find(|closed| Some(&closed.id) == id);
        let place = match (place, closed()) {
            (Some(place), _) => place,
            (None, Some(closed)) if closed.is_given_up => return Settled::GivenUp,
            (None, Some(_)) => return Settled::Again,
            (None, None) => match own {
                Some(own) if only(own) && id.is_none_or(|id| is_alike(id, &own.unanswered[0])) => (number, 0),
                _ => return Settled::Unknown,
            },
        };
        let Some(open) = self.open.get_mut(&place.0) else { return Settled::Unknown };
        let id = open.unanswered.remove(place.1);
        self.remember(id.clone(), false);
        Settled::Request(id)
    }

    fn remember(&mut self, id: Id, is_given_up: bool) {
        self.closed.truncate(MEMORY - 1);
        self.closed.push_front(Closed { id, is_given_up });
    }

    pub(super) fn is_settled(&self, number: u64) -> bool {
        self.open.get(&number).is_none_or(|open| open.unanswered.is_empty())
    }

    /// Returns `true` if there are exchanges under way besides this one.
    pub(super) fn has_others(&self, number: u64) -> bool {
        self.open.keys().any(|other| *other != number)
    }

    /// Ends an exchange, and returns the requests that it leaves without an answer. The caller answers them.
    pub(super) fn end(&mut self, number: u64) -> Vec<Id> {
        let left = self.open.remove(&number).map(|open| open.unanswered).unwrap_or_default();
        left.iter().for_each(|id| self.remember(id.clone(), false));
        left
    }

    /// Ends the exchanges that owe an answer, and returns their requests. The caller answers them.
    pub(super) fn end_owed(&mut self) -> Vec<Id> {
        let owed = self.open.iter().filter(|(_, open)| open.owes());
        let numbers: Vec<u64> = owed.map(|(number, _)| *number).collect();
        numbers.into_iter().flat_map(|number| self.end(number)).collect()
    }

    /// Gives up the request `id`, which its client has cancelled. Returns the task of its exchange; with
    /// `aborts` the caller aborts it, so that its entry is removed here.
    pub(super) fn give_up(&mut self, id: &Id, aborts: bool) -> Option<AbortHandle> {
        let of =
            self.open.iter().find(|(_, open)| open.unanswered.contains(id)).map(|(number, _)| *number)?;
        self.remember(id.clone(), true);
        if aborts {
            return self.open.remove(&of).map(|open| open.task);
        }
        let open = self.open.get_mut(&of)?;
        open.unanswered.retain(|known| known != id);
        Some(open.task.clone())
    }

    /// Gives up every request of this method. Returns the tasks of their exchanges, which the caller aborts.
    pub(super) fn give_up_all(&mut self, method: &str) -> Vec<AbortHandle> {
        let taken: Vec<Open> = self
            .open
            .extract_if(|_, open| open.method.as_deref() == Some(method))
            .map(|(_, open)| open)
            .collect();
        taken.iter().flat_map(|open| &open.unanswered).for_each(|id| self.remember(id.clone(), true));
        taken.into_iter().map(|open| open.task).collect()
    }

    // --- requests of the server

    /// Remembers a request of the server that the client is given.
    pub(super) fn ask(&mut self, id: &Id, session: u32) {
        self.asked.truncate(MEMORY - 1);
        self.asked.push_front((id.clone(), session));
    }

    /// Forgets the request of the server that a message of the client answers. Returns the number of the session
    /// in which the server sent it.
    pub(super) fn take_asked(&mut self, message: &Message) -> Option<u32> {
        let answers = matches!(message.kind(), Kind::Response { .. } | Kind::Failure { .. });
        let id = message.id().filter(|_| answers)?;
        let at = self.asked.iter().position(|(asked, _)| asked == id)?;
        self.asked.remove(at).map(|(_, session)| session)
    }

    /// Returns the requests that the server sent in a session. They stay known, so that an answer to one is never
    /// sent in another session.
    pub(super) fn asked_in(&self, session: u32) -> Vec<Id> {
        self.asked.iter().filter(|(_, of)| *of == session).map(|(id, _)| id.clone()).collect()
    }

    /// Forgets a request that the server has cancelled.
    pub(super) fn forget_asked(&mut self, cancelled: &Message) {
        if let Some(id) = cancelled.param(&["requestId"]).map(token) {
            self.asked.retain(|(asked, _)| *asked != id);
        }
    }
}

/// Returns `true` for ids that differ in their type only, such as `"1"` for `1`, and for `null`, which names no
/// request (JSON-RPC 2.0, section 5).
fn is_alike(id: &Id, asked: &Id) -> bool {
    id.token() == "null" || id.token().trim_matches('"') == asked.token().trim_matches('"')
}
