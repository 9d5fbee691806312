//! The attribution of messages on a server that several clients share: messages of the first client pass
//! unchanged, and the ids of the others are mapped so that they cannot meet.
//!
//! Only the spans of `id`, `progressToken`, `subscriptionId` and the `requestId` of a cancellation
//! change, and keep their JSON type. A message of the server that can be attributed to no other client
//! goes to the first.

use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};

use bytes::Bytes;

use crate::log::record::VerdictKind;
use crate::mcp::compose::{self, meta};
use crate::mcp::id_map::{IdMap, PendingRequest};
use crate::mcp::remap::{is_ambiguous, replace, token};
use crate::mcp::{Id, Kind, Message, layout};

/// A client of a shared server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClientId(u32);

/// The clients of a shared server, and the requests that each waits for.
pub struct Attribution {
    /// The clients that joined later than the first.
    clients: BTreeSet<ClientId>,
    /// Number of clients that have joined so far.
    joined: u32,
    /// Requests of these clients under way.
    pending: IdMap<Asked>,
    /// The requests under way that were cancelled, the oldest first: a server need not answer them.
    cancelled: VecDeque<Id>,
    /// Requests whose client left or that were forgotten, the oldest first: a late answer goes to nobody.
    abandoned: VecDeque<Id>,
    /// Requests of the first client under way, since there were others.
    first: HashSet<Id>,
    /// Requests of the server by the client that got each (2025-11-25, client features).
    questions: HashMap<Id, ClientId>,
    handshake: Handshake,
}

/// A request of a client that joined later.
struct Asked {
    by: ClientId,
    /// Set once its client does not wait any more.
    is_cancelled: bool,
}

/// Maximum number of cancelled requests that are kept because an answer may still come.
const MAX_CANCELLED: usize = 256;

/// The handshake with the server, which has only one (2025-11-25, basic/lifecycle): other clients get the
/// answer that the first client got.
enum Handshake {
    /// Not begun.
    Open,
    /// Begun with this request, whose answer other clients wait for.
    Asked(Id, Vec<(ClientId, Id)>),
    /// Ended with this answer.
    Answered(Bytes),
    /// The server speaks an era without a handshake.
    Needless,
}

/// The messages that result from a message of a client.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct ToServer {
    /// The line for the server.
    pub to_server: Option<Bytes>,
    /// The line for the client in the place of the server's answer.
    pub answer: Option<Bytes>,
    /// The change that was made, and a sentence that explains it.
    pub how: Option<(VerdictKind, String)>,
}

/// The receivers of a message of the server.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Receivers {
    /// The lines for clients that joined later.
    pub others: Vec<(ClientId, Bytes)>,
    /// `true` if the first client gets the message unchanged.
    pub first: bool,
}

// === impl Attribution ===

impl Attribution {
    /// Creates the attribution of a server with one client.
    pub fn new() -> Self {
        Self::with_ids(IdMap::new())
    }

    fn with_ids(pending: IdMap<Asked>) -> Self {
        Self {
            clients: BTreeSet::new(),
            joined: 0,
            pending,
            cancelled: VecDeque::new(),
            abandoned: VecDeque::new(),
            first: HashSet::new(),
            questions: HashMap::new(),
            handshake: Handshake::Open,
        }
    }

    /// Adds a client. The first client waits for `under_way` meanwhile.
    pub fn join(&mut self, under_way: impl IntoIterator<Item = Id>) -> ClientId {
        self.first.extend(under_way);
        self.joined += 1;
        let client = ClientId(self.joined);
        self.clients.insert(client);
        client
    }

    /// Returns `true` if every message is the first client's and need not be parsed.
    pub fn is_plain(&self) -> bool {
        self.clients.is_empty() && matches!(self.handshake, Handshake::Answered(_) | Handshake::Needless)
    }

    /// Returns `true` if the client has not left.
    pub fn is_member(&self, client: ClientId) -> bool {
        self.clients.contains(&client)
    }

    /// Returns `true` if the server knows a request of a client other than the first by this id.
    pub fn is_others(&self, id: &Id) -> bool {
        self.pending.get(id).is_some()
    }

    /// Returns `true` if a client other than the first waits for an answer.
    pub fn others_wait(&self) -> bool {
        !self.pending.is_empty()
    }

    /// Removes a client. Returns the lines for the server: cancellations of the client's requests, and
    /// errors for the server's own.
    pub fn leave(&mut self, client: ClientId) -> Vec<Bytes> {
        const WHY: &str = "the client has left";
        self.clients.remove(&client);
        if self.clients.is_empty() {
            self.first.clear();
        }
        let of = |pending: &PendingRequest<Asked>| pending.value.by == client;
        let mut left: Vec<Id> =
            self.pending.iter().filter(|(_, pending)| of(pending)).map(|(id, _)| id.clone()).collect();
        left.sort_by(|one, other| one.token().cmp(other.token()));
        let mut lines = Vec::new();
        for id in left {
            self.abandon(&id);
            lines.push(layout::as_line(&compose::cancelled(&id, WHY)));
        }
        let unanswered: Vec<Id> =
            self.questions.extract_if(|_, asked| *asked == client).map(|(id, _)| id).collect();
        for id in unanswered {
            lines.push(layout::as_line(&compose::failure(Some(&id), compose::INTERNAL_ERROR, WHY)));
        }
        lines
    }

    /// Notes a message of the first client, which goes on unchanged.
    pub fn observe_first(&mut self, message: &Message) {
        match message.kind() {
            Kind::Request { id, method, .. } => {
                match (&self.handshake, &**method) {
                    (Handshake::Open, "initialize") => {
                        self.handshake = Handshake::Asked(id.clone(), Vec::new())
                    }
                    (_, "server/discover" | "ping" | "initialize") => {}
                    (Handshake::Open, _) => self.handshake = Handshake::Needless,
                    _ => {}
                }
                if !self.clients.is_empty() {
                    self.first.insert(id.clone());
                }
            }
            Kind::Notification { method, .. } if &**method == "notifications/cancelled" => {
                if let Some(id) = message.param(&["requestId"]).map(token) {
                    self.first.remove(&id);
                }
            }
            Kind::Response { id, .. } | Kind::Failure { id: Some(id), .. } => {
                self.questions.remove(id);
            }
            Kind::Batch(all) => all.iter().for_each(|each| self.observe_first(each)),
            _ => {}
        }
    }

    /// Takes a message of another client.
    pub fn outgoing(&mut self, client: ClientId, message: &Message) -> ToServer {
        match message.kind() {
            Kind::Request { id, .. } if !id.is_legal() => {
                refused(id, "an id must be a string or an integer where several clients share a server")
            }
            Kind::Request { id, .. } if is_ambiguous(message) => {
                refused(id, "a key occurs twice, and servers disagree on which one counts")
            }
            Kind::Request { id, method, .. } => match (&mut self.handshake, &**method) {
                (Handshake::Answered(answer), "initialize") => ToServer {
                    answer: Some(handshake_answer(answer, id)),
                    how: Some((
                        VerdictKind::Answer,
                        "the server was initialized before; this is its answer from then".into(),
                    )),
                    ..ToServer::default()
                },
                (Handshake::Asked(_, waiting), "initialize") => {
                    waiting.push((client, id.clone()));
                    ignored("the server is being initialized; its answer is this client's too")
                }
                _ => self.ask(client, id, message),
            },
            Kind::Notification { method, .. } => match &**method {
                "notifications/initialized" if matches!(self.handshake, Handshake::Answered(_)) => {
                    ignored("the server has this notification already")
                }
                "notifications/cancelled" => self.cancel(client, message),
                _ => passed(message.body()),
            },
            Kind::Response { id, .. } | Kind::Failure { id: Some(id), .. } => {
                match self.questions.get(id) == Some(&client) {
                    true => {
                        self.questions.remove(id);
                        passed(message.body())
                    }
                    false => ignored("the server sent this client no request with that id"),
                }
            }
            Kind::Batch(all) => {
                const WHY: &str = "a batch is not sent to a server that several clients share";
                let answers: Vec<Bytes> = all
                    .iter()
                    .filter(|each| matches!(each.kind(), Kind::Request { .. }))
                    .filter_map(|each| refused(each.id()?, WHY).answer)
                    .collect();
                let answers: Vec<&[u8]> = answers.iter().map(|answer| answer.trim_ascii_end()).collect();
                let answer = [b"[", answers.join(&b","[..]).as_slice(), b"]\n"].concat();
                ToServer {
                    answer: (!answers.is_empty()).then(|| answer.into()),
                    how: Some((VerdictKind::Answer, WHY.into())),
                    ..ToServer::default()
                }
            }
            Kind::Failure { id: None, .. } | Kind::Opaque(_) => {
                ignored("a line that is not a message is not sent to a server that several clients share")
            }
        }
    }

    fn ask(&mut self, by: ClientId, id: &Id, message: &Message) -> ToServer {
        let mapped = self.pending.rename(message, id, Asked { by, is_cancelled: false });
        ToServer {
            to_server: Some(layout::as_line(&mapped.line)),
            how: mapped.words.map(|words| (VerdictKind::Forward, words)),
            ..ToServer::default()
        }
    }

    fn cancel(&mut self, client: ClientId, message: &Message) -> ToServer {
        let own = message.param(&["requestId"]).map(token);
        let is_it = |pending: &PendingRequest<Asked>| {
            pending.value.by == client && Some(&pending.own_id) == own.as_ref()
        };
        let known = self.pending.iter().find(|(_, pending)| is_it(pending)).map(|(known, _)| known.clone());
        let (Some(known), Some(own)) = (known, &own) else {
            return ignored("no request with that id is under way");
        };
        if let Some(pending) = self.pending.get_mut(&known) {
            pending.value.is_cancelled = true;
        }
        self.cancelled.push_back(known.clone());
        if self.cancelled.len() > MAX_CANCELLED
            && let Some(oldest) = self.cancelled.pop_front()
        {
            self.abandon(&oldest);
        }
        let line = replace(message.body(), &[(&["params", "requestId"], Some(&known))]);
        let words = format!("requestId {} was changed to {}", own.token(), known.token());
        ToServer {
            to_server: Some(layout::as_line(&line)),
            how: Some((VerdictKind::Forward, words)),
            ..ToServer::default()
        }
    }

    /// Takes a message of the server, and finds its receivers.
    pub fn receivers(&mut self, message: &Message) -> Receivers {
        match message.kind() {
            Kind::Response { id, .. } | Kind::Failure { id: Some(id), .. } => self.answered(id, message),
            Kind::Notification { method, .. } => self.notified(method, message),
            Kind::Request { id, .. } => match self.only() {
                Some(client) => {
                    self.questions.insert(id.clone(), client);
                    Receivers::of(client, layout::as_line(message.body()))
                }
                None => Receivers::first(),
            },
            Kind::Batch(all) => {
                let mut receivers = Receivers::default();
                for each in all {
                    let one = self.receivers(each);
                    receivers.others.extend(one.others);
                    receivers.first |= one.first;
                }
                receivers
            }
            Kind::Failure { id: None, .. } | Kind::Opaque(_) => Receivers::first(),
        }
    }

    fn answered(&mut self, id: &Id, message: &Message) -> Receivers {
        self.first.remove(id);
        if let Handshake::Asked(asked, waiting) = &mut self.handshake
            && asked == id
        {
            let body = Bytes::copy_from_slice(message.body());
            let others =
                waiting.drain(..).map(|(client, own)| (client, handshake_answer(&body, &own))).collect();
            self.handshake = match message.kind() {
                Kind::Response { .. } => Handshake::Answered(body),
                // After an error the handshake may be repeated.
                _ => Handshake::Open,
            };
            return Receivers { others, first: true };
        }
        if let Some(at) = self.abandoned.iter().position(|abandoned| abandoned == id) {
            self.abandoned.remove(at);
            return Receivers::default();
        }
        let Some(pending) = self.settle(id) else { return Receivers::first() };
        Receivers::of(pending.value.by, layout::as_line(&pending.answer(message)))
    }

    fn notified(&mut self, method: &str, message: &Message) -> Receivers {
        if method == "notifications/cancelled"
            && let Some(id) = message.param(&["requestId"]).map(token)
            && let Some(client) = self.questions.remove(&id)
        {
            return Receivers::of(client, layout::as_line(message.body()));
        }
        let to = |pending: Option<&PendingRequest<Asked>>,
                  line: fn(&PendingRequest<Asked>, &Message) -> Bytes| {
            pending.map_or_else(Receivers::first, |pending| {
                Receivers::of(pending.value.by, layout::as_line(&line(pending, message)))
            })
        };
        if let Some(id) = message.param(&["_meta", meta::SUBSCRIPTION_ID]).map(token) {
            return to(self.pending.get(&id), PendingRequest::subscription);
        }
        match method {
            "notifications/progress" => to(self.pending.of_progress(message), PendingRequest::progress),
            "notifications/cancelled" => {
                let id = message.param(&["requestId"]).map(token);
                to(id.and_then(|id| self.pending.get(&id)), PendingRequest::cancellation)
            }
            // Changes of the server's lists concern every client.
            "notifications/tools/list_changed"
            | "notifications/prompts/list_changed"
            | "notifications/resources/list_changed"
            | "notifications/resources/updated"
                if matches!(self.handshake, Handshake::Answered(_)) =>
            {
                let line = layout::as_line(message.body());
                Receivers {
                    others: self.clients.iter().map(|client| (*client, line.clone())).collect(),
                    first: true,
                }
            }
            _ => match self.only() {
                Some(client) => Receivers::of(client, layout::as_line(message.body())),
                None => Receivers::first(),
            },
        }
    }

    /// Returns the client other than the first that the server works for, if it works for one only.
    fn only(&self) -> Option<ClientId> {
        let waiting = self.pending.iter().map(|(_, pending)| &pending.value);
        let mut askers = waiting.filter(|asked| !asked.is_cancelled).map(|asked| asked.by);
        let only = askers.next().filter(|_| self.first.is_empty())?;
        askers.all(|asker| asker == only).then_some(only)
    }

    /// Removes a request that no client waits for any more; a late answer to it goes to nobody.
    fn abandon(&mut self, id: &Id) {
        self.settle(id);
        self.abandoned.push_back(id.clone());
        if self.abandoned.len() > MAX_CANCELLED {
            self.abandoned.pop_front();
        }
    }

    /// Removes a request that no answer is awaited to any more.
    fn settle(&mut self, id: &Id) -> Option<PendingRequest<Asked>> {
        let pending = self.pending.remove(id)?;
        if pending.value.is_cancelled {
            self.cancelled.retain(|cancelled| cancelled != id);
        }
        Some(pending)
    }
}

impl Default for Attribution {
    fn default() -> Self {
        Self::new()
    }
}

impl Receivers {
    fn first() -> Self {
        Self { first: true, ..Self::default() }
    }

    fn of(client: ClientId, line: Bytes) -> Self {
        Self { others: vec![(client, line)], first: false }
    }
}

fn passed(body: &[u8]) -> ToServer {
    ToServer { to_server: Some(layout::as_line(body)), ..ToServer::default() }
}

fn ignored(why: &str) -> ToServer {
    ToServer { how: Some((VerdictKind::Drop, why.to_owned())), ..ToServer::default() }
}

fn refused(id: &Id, why: &str) -> ToServer {
    let answer = compose::failure(Some(id), compose::INVALID_REQUEST, &format!("shadowcat: {why}"));
    ToServer {
        answer: Some(layout::as_line(&answer)),
        how: Some((VerdictKind::Answer, why.to_owned())),
        ..ToServer::default()
    }
}

/// Returns the server's answer to `initialize` as the answer to another client's request.
fn handshake_answer(answer: &[u8], own: &Id) -> Bytes {
    layout::as_line(&replace(answer, &[(&["id"], Some(own))]))
}

#[cfg(test)]
mod tests;
