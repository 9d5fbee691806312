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
    /// Ids that were answered lately: a second response with such an id answers nothing else.
    answered: VecDeque<Id>,
    /// Requests of the server that the client was given, with the numbers of their sessions.
    asked: HashMap<Id, u32>,
}

/// An exchange under way.
struct Open {
    /// Requests in its message without an answer, as the client spelled their ids.
    unanswered: Vec<Id>,
    method: Option<String>,
    task: AbortHandle,
}

/// Maximum number of answered ids, and of the server's requests, that are remembered.
const MEMORY: usize = 1024;

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
        let listens = |open: &Open| open.method.as_deref() == Some("subscriptions/listen");
        self.open.values().any(|open| !open.unanswered.is_empty() && !listens(open))
    }

    /// Finds the request that a response in exchange `number` answers, and settles it: the one with its id,
    /// else the only one of the exchange, whatever the id says. Returns its id as the client spelled it.
    pub(super) fn settle(&mut self, number: u64, id: Option<&Id>) -> Option<Id> {
        let at = |open: &Open| open.unanswered.iter().position(|known| Some(known) == id);
        let own = self.open.get(&number).is_some_and(|open| at(open).is_some());
        let of = match own {
            true => Some(number),
            false => self.open.iter().find(|(_, open)| at(open).is_some()).map(|(number, _)| *number),
        };
        let settled = match of {
            Some(of) => self.open.get_mut(&of).and_then(|open| at(open).map(|at| open.unanswered.remove(at))),
            None if id.is_some_and(|id| self.answered.contains(id)) => None,
            None => self
                .open
                .get_mut(&number)
                .filter(|open| open.unanswered.len() == 1)
                .and_then(|open| open.unanswered.pop()),
        };
        if let Some(id) = &settled {
            self.answered.truncate(MEMORY);
            self.answered.push_front(id.clone());
        }
        settled
    }

    pub(super) fn is_settled(&self, number: u64) -> bool {
        self.open.get(&number).is_none_or(|open| open.unanswered.is_empty())
    }

    /// Returns `true` if there are exchanges under way besides this one.
    pub(super) fn has_others(&self, number: u64) -> bool {
        self.open.keys().any(|other| *other != number)
    }

    /// Ends an exchange, and returns the requests that it leaves without an answer.
    pub(super) fn end(&mut self, number: u64) -> Vec<Id> {
        self.open.remove(&number).map(|open| open.unanswered).unwrap_or_default()
    }

    /// Gives up the request `id`, which its client has cancelled. Returns the task of its exchange; with
    /// `aborts` the caller aborts it, so that its entry is removed here.
    pub(super) fn cancel(&mut self, id: &Id, aborts: bool) -> Option<AbortHandle> {
        let of =
            self.open.iter().find(|(_, open)| open.unanswered.contains(id)).map(|(number, _)| *number)?;
        if aborts {
            return self.open.remove(&of).map(|open| open.task);
        }
        let open = self.open.get_mut(&of)?;
        open.unanswered.retain(|known| known != id);
        Some(open.task.clone())
    }

    /// Gives up every request of this method. Returns the tasks of their exchanges.
    pub(super) fn take(&mut self, method: &str) -> Vec<AbortHandle> {
        let taken = self.open.extract_if(|_, open| open.method.as_deref() == Some(method));
        taken.map(|(_, open)| open.task).collect()
    }

    // --- requests of the server

    pub(super) fn ask(&mut self, id: &Id, session: u32) {
        if self.asked.len() < MEMORY {
            self.asked.insert(id.clone(), session);
        }
    }

    /// Returns `true` if a message answers a request that the server sent in another session than `session`.
    pub(super) fn is_stale(&mut self, message: &Message, session: u32) -> bool {
        let answers = matches!(message.kind(), Kind::Response { .. } | Kind::Failure { .. });
        let asked = message.id().filter(|_| answers).and_then(|id| self.asked.remove(id));
        asked.is_some_and(|asked| asked != session)
    }

    /// Takes out the requests that the server sent in a session.
    pub(super) fn take_asked(&mut self, session: u32) -> Vec<Id> {
        self.asked.iter().filter(|(_, of)| **of == session).map(|(id, _)| id.clone()).collect()
        // They stay in the table, so that a late answer is known as stale.
    }

    /// Forgets a request that the server has cancelled.
    pub(super) fn forget_asked(&mut self, cancelled: &Message) {
        if let Some(id) = cancelled.param(&["requestId"]) {
            self.asked.remove(&token(id));
        }
    }
}
