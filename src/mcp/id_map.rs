//! The id map of a server that several clients share: requests under way, by the ids that the server
//! knows, with the ids that their clients know.

use std::collections::HashMap;

use bytes::Bytes;

use super::remap::{self, Renamed, token};
use super::{Id, Message};

/// Requests under way on one connection to a server. `T` is what is remembered of each.
pub struct IdMap<T> {
    /// The number in the ids of the newest request.
    next: u64,
    pending: HashMap<Id, PendingRequest<T>>,
    /// Ids of requests by their progress tokens, as the server knows both.
    tokens: HashMap<Id, Id>,
}

/// A request under way.
#[derive(Debug)]
pub struct PendingRequest<T> {
    /// The id that the client knows.
    pub own_id: Id,
    /// The progress token, as the server and as the client know it.
    pub token: Option<(Id, Id)>,
    /// The rest of what is remembered of it.
    pub value: T,
}

/// A request as the server gets it.
#[derive(Debug)]
pub struct Mapped {
    /// The id that the server knows.
    pub id: Id,
    /// The message, without a terminator.
    pub line: Bytes,
    /// A sentence that names the ids before and after; `None` if they are the same.
    pub words: Option<String>,
}

impl<T> IdMap<T> {
    /// Creates an empty map. Its ids are counted from a random start, so that no client can guess those of
    /// another; the number leaves room to count in the 53 bits that every JSON parser holds.
    pub fn new() -> Self {
        Self::counting_from(uuid::Uuid::new_v4().as_u64_pair().0 >> 24)
    }

    /// Creates an empty map whose ids are counted from `start`.
    pub fn counting_from(start: u64) -> Self {
        Self { next: start, pending: HashMap::new(), tokens: HashMap::new() }
    }

    /// Adds a request, whose id is `id`, under ids of ours.
    pub fn rename(&mut self, request: &Message, id: &Id, value: T) -> Mapped {
        self.next += 1;
        let Renamed { id: known, token, line, words } = remap::rename(request, id, self.next);
        self.insert(known.clone(), PendingRequest { own_id: id.clone(), token, value });
        Mapped { id: known, line, words: Some(words) }
    }

    /// Adds a request, whose id is `id`, under its own ids.
    pub fn keep(&mut self, request: &Message, id: &Id, value: T) -> Mapped {
        self.next += 1;
        let own = request.param(&["_meta", "progressToken"]).map(token);
        let token = own.map(|own| (own.clone(), own));
        self.insert(id.clone(), PendingRequest { own_id: id.clone(), token, value });
        Mapped { id: id.clone(), line: Bytes::copy_from_slice(request.body()), words: None }
    }

    fn insert(&mut self, id: Id, pending: PendingRequest<T>) {
        if let Some((known, _)) = &pending.token {
            self.tokens.insert(known.clone(), id.clone());
        }
        self.pending.insert(id, pending);
    }

    /// Returns the number of the newest request.
    pub fn newest(&self) -> u64 {
        self.next
    }

    /// Takes out a request.
    pub fn remove(&mut self, id: &Id) -> Option<PendingRequest<T>> {
        let pending = self.pending.remove(id)?;
        // A client can use one token for two requests; it stays with the newer.
        if let Some((known, _)) = &pending.token
            && self.tokens.get(known) == Some(id)
        {
            self.tokens.remove(known);
        }
        Some(pending)
    }

    /// Takes out all requests.
    pub fn take_all(&mut self) -> Vec<PendingRequest<T>> {
        self.tokens.clear();
        std::mem::take(&mut self.pending).into_values().collect()
    }

    /// Returns the request that the server knows by `id`.
    pub fn get(&self, id: &Id) -> Option<&PendingRequest<T>> {
        self.pending.get(id)
    }

    /// Returns the request that the server knows by `id`.
    pub fn get_mut(&mut self, id: &Id) -> Option<&mut PendingRequest<T>> {
        self.pending.get_mut(id)
    }

    /// Returns the request that a progress notification of the server is about.
    pub fn of_progress(&self, notification: &Message) -> Option<&PendingRequest<T>> {
        let id = self.tokens.get(&notification.param(&["progressToken"]).map(token)?)?;
        self.pending.get(id)
    }

    /// Returns all requests, with the ids that the server knows.
    pub fn iter(&self) -> impl Iterator<Item = (&Id, &PendingRequest<T>)> {
        self.pending.iter()
    }

    /// Returns `true` if no request is under way.
    pub fn is_empty(&self) -> bool {
        self.pending.is_empty()
    }
}

impl<T> Default for IdMap<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> PendingRequest<T> {
    /// Returns a progress notification with the token that the client knows.
    pub fn progress(&self, notification: &Message) -> Bytes {
        let own = self.token.as_ref().map(|(_, own)| own);
        remap::replace(notification.body(), &[(&["params", "progressToken"], own)])
    }

    /// Returns a cancellation with the id that the client knows.
    pub fn cancellation(&self, notification: &Message) -> Bytes {
        remap::replace(notification.body(), &[(&["params", "requestId"], Some(&self.own_id))])
    }

    /// Returns a notification of a subscription with the id that the client knows.
    pub fn subscription(&self, notification: &Message) -> Bytes {
        remap::replace(notification.body(), &remap::subscription(&self.own_id))
    }

    /// Returns an answer with the id that the client knows.
    pub fn answer(&self, answer: &Message) -> Bytes {
        remap::answer(answer.body(), &self.own_id)
    }
}
