//! Whose is what on a server that several clients share: what the first of them says passes as it is,
//! and the ids of the others are mapped so that they cannot meet.
//!
//! Only the spans of `id`, `progressToken`, `subscriptionId` and the `requestId` of a cancellation
//! change, and keep their JSON type. What can be attributed to no other client is the first one's.

use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};

use bytes::Bytes;

use crate::log::record::VerdictKind;
use crate::mcp::compose::{self, meta};
use crate::mcp::remap::{self, Renamed, is_ambiguous, replace, token};
use crate::mcp::{Id, Kind, Message, layout};

/// A client of a shared server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClientId(u32);

/// The first client, which was there when the server was started.
pub const FIRST: ClientId = ClientId(0);

/// Who is there, and who waits for what.
pub struct IdMap {
    clients: BTreeSet<ClientId>,
    joined: u32,
    /// What is under way, by the ids that the server knows.
    asked: HashMap<Id, Asked>,
    /// Those of them that were cancelled, the oldest first: a server need not answer them.
    cancelled: VecDeque<Id>,
    /// Requests by their progress tokens, as the server knows both.
    tokens: HashMap<Id, Id>,
    /// What the first client waits for, since there were others.
    first: HashSet<Id>,
    /// Who was asked what by the server (2025-11-25, client features).
    questions: HashMap<Id, ClientId>,
    greeting: Greeting,
    /// Requests so far; ids of ours are counted from a start that nobody can guess.
    next: u64,
}

struct Asked {
    by: ClientId,
    /// The client's own id.
    own: Id,
    /// Its progress token, as the server knows it and as the client does.
    token: Option<(Id, Id)>,
    /// Its client does not wait any more.
    is_cancelled: bool,
}

/// Cancelled requests whose answer may still come.
const CANCELLED: usize = 256;

/// How the server was greeted. It is greeted once (2025-11-25, basic/lifecycle); others are told what
/// the first client was.
enum Greeting {
    /// Not yet.
    Open,
    /// With this request, whose answer others wait for.
    Asked(Id, Vec<(ClientId, Id)>),
    Answered(Bytes),
    /// It speaks an era without one.
    Needless,
}

/// What becomes of something that a client says.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Said {
    /// The line that the server gets.
    pub to_server: Option<Bytes>,
    /// The line that the client gets instead of the server's answer.
    pub answer: Option<Bytes>,
    /// What was done, in words, where anything was.
    pub how: Option<(VerdictKind, String)>,
}

/// EngineSelector something goes to that the server says.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Heard {
    pub others: Vec<(ClientId, Bytes)>,
    /// The first client gets it as it came.
    pub first: bool,
}

// === impl IdMap ===

impl IdMap {
    pub fn new() -> Self {
        // Any JSON parser can hold it with room to count.
        let start = uuid::Uuid::new_v4().as_u64_pair().0 >> 24;
        Self {
            clients: BTreeSet::new(),
            joined: 0,
            asked: HashMap::new(),
            cancelled: VecDeque::new(),
            tokens: HashMap::new(),
            first: HashSet::new(),
            questions: HashMap::new(),
            greeting: Greeting::Open,
            next: start,
        }
    }

    /// Another client. The first one waits for `under_way` meanwhile.
    pub fn join(&mut self, under_way: impl IntoIterator<Item = Id>) -> ClientId {
        self.first.extend(under_way);
        self.joined += 1;
        let client = ClientId(self.joined);
        self.clients.insert(client);
        client
    }

    /// Whether everything is the first client's, and nothing has to be known of it.
    pub fn is_plain(&self) -> bool {
        self.clients.is_empty() && matches!(self.greeting, Greeting::Answered(_) | Greeting::Needless)
    }

    pub fn is_member(&self, client: ClientId) -> bool {
        self.clients.contains(&client)
    }

    /// Whether it is not the first client's request that the server knows by this id.
    pub fn is_others(&self, id: &Id) -> bool {
        self.asked.contains_key(id)
    }

    /// Whether another client than the first waits for anything.
    pub fn others_wait(&self) -> bool {
        !self.asked.is_empty()
    }

    /// A client has left. Returns what the server is told: that nobody waits any more, and that nobody
    /// will answer.
    pub fn leave(&mut self, client: ClientId) -> Vec<Bytes> {
        const WHY: &str = "the client has left";
        self.clients.remove(&client);
        if self.clients.is_empty() {
            self.first.clear();
        }
        let of = |asked: &Asked| asked.by == client;
        let mut left: Vec<Id> =
            self.asked.iter().filter(|(_, asked)| of(asked)).map(|(id, _)| id.clone()).collect();
        left.sort_by(|one, other| one.token().cmp(other.token()));
        let mut lines = Vec::new();
        for id in left {
            self.settle(&id);
            lines.push(layout::as_line(&compose::cancelled(&id, WHY)));
        }
        let unanswered: Vec<Id> =
            self.questions.extract_if(|_, asked| *asked == client).map(|(id, _)| id).collect();
        for id in unanswered {
            lines.push(layout::as_line(&compose::failure(Some(&id), compose::INTERNAL_ERROR, WHY)));
        }
        lines
    }

    /// The first client says something, which goes on as it is.
    pub fn first_says(&mut self, message: &Message) {
        match message.kind() {
            Kind::Request { id, method, .. } => {
                match (&self.greeting, &**method) {
                    (Greeting::Open, "initialize") => self.greeting = Greeting::Asked(id.clone(), Vec::new()),
                    (_, "server/discover" | "ping" | "initialize") => {}
                    (Greeting::Open, _) => self.greeting = Greeting::Needless,
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
            Kind::Batch(all) => all.iter().for_each(|each| self.first_says(each)),
            _ => {}
        }
    }

    /// Another client says something.
    pub fn says(&mut self, client: ClientId, message: &Message) -> Said {
        match message.kind() {
            Kind::Request { id, .. } if !id.is_legal() => {
                refused(id, "an id must be a string or an integer where several clients share a server")
            }
            Kind::Request { id, .. } if is_ambiguous(message) => {
                refused(id, "a key is there twice, and servers disagree on which one counts")
            }
            Kind::Request { id, method, .. } => match (&mut self.greeting, &**method) {
                (Greeting::Answered(answer), "initialize") => Said {
                    answer: Some(greeted(answer, id)),
                    how: Some((
                        VerdictKind::Answer,
                        "the server was greeted already; this is what it said".into(),
                    )),
                    ..Said::default()
                },
                (Greeting::Asked(_, waiting), "initialize") => {
                    waiting.push((client, id.clone()));
                    ignored("the server is being greeted; its answer is this client's too")
                }
                _ => self.ask(client, id, message),
            },
            Kind::Notification { method, .. } => match &**method {
                "notifications/initialized" if matches!(self.greeting, Greeting::Answered(_)) => {
                    ignored("the server was told so already")
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
                    false => ignored("the server asked this client nothing of that id"),
                }
            }
            Kind::Batch(all) => {
                const WHY: &str = "a batch is not taken to a server that several clients share";
                let answers: Vec<Bytes> =
                    all.iter().filter_map(|each| refused(each.id()?, WHY).answer).collect();
                let answers: Vec<&[u8]> = answers.iter().map(|answer| answer.trim_ascii_end()).collect();
                let answer = [b"[", answers.join(&b","[..]).as_slice(), b"]\n"].concat();
                Said {
                    answer: (!answers.is_empty()).then(|| answer.into()),
                    how: Some((VerdictKind::Answer, WHY.into())),
                    ..Said::default()
                }
            }
            Kind::Failure { id: None, .. } | Kind::Opaque(_) => {
                ignored("what is no message is not taken to a server that several clients share")
            }
        }
    }

    fn ask(&mut self, by: ClientId, id: &Id, message: &Message) -> Said {
        self.next += 1;
        let Renamed { id: theirs, token: tokens, line, words } = remap::rename(message, id, self.next);
        if let Some((known, _)) = &tokens {
            self.tokens.insert(known.clone(), theirs.clone());
        }
        self.asked.insert(theirs, Asked { by, own: id.clone(), token: tokens, is_cancelled: false });
        Said {
            to_server: Some(layout::as_line(&line)),
            how: Some((VerdictKind::Forward, words)),
            ..Said::default()
        }
    }

    fn cancel(&mut self, client: ClientId, message: &Message) -> Said {
        let own = message.param(&["requestId"]).map(token);
        let theirs =
            self.asked.iter().find(|(_, asked)| asked.by == client && Some(&asked.own) == own.as_ref());
        let (Some(theirs), Some(own)) = (theirs.map(|(theirs, _)| theirs.clone()), &own) else {
            return ignored("nothing of that id is under way");
        };
        if let Some(asked) = self.asked.get_mut(&theirs) {
            asked.is_cancelled = true;
        }
        self.cancelled.push_back(theirs.clone());
        if self.cancelled.len() > CANCELLED
            && let Some(oldest) = self.cancelled.pop_front()
        {
            self.settle(&oldest);
        }
        let line = replace(message.body(), &[(&["params", "requestId"], Some(&theirs))]);
        let words = format!("requestId {} goes on as {}", own.token(), theirs.token());
        Said {
            to_server: Some(layout::as_line(&line)),
            how: Some((VerdictKind::Forward, words)),
            ..Said::default()
        }
    }

    /// The server says something.
    pub fn hears(&mut self, message: &Message) -> Heard {
        match message.kind() {
            Kind::Response { id, .. } | Kind::Failure { id: Some(id), .. } => self.answered(id, message),
            Kind::Notification { method, .. } => self.notified(method, message),
            Kind::Request { id, .. } => match self.only() {
                Some(client) => {
                    self.questions.insert(id.clone(), client);
                    Heard::of(client, layout::as_line(message.body()))
                }
                None => Heard::first(),
            },
            Kind::Batch(all) => {
                let mut heard = Heard::default();
                for each in all {
                    let one = self.hears(each);
                    heard.others.extend(one.others);
                    heard.first |= one.first;
                }
                heard
            }
            Kind::Failure { id: None, .. } | Kind::Opaque(_) => Heard::first(),
        }
    }

    fn answered(&mut self, id: &Id, message: &Message) -> Heard {
        self.first.remove(id);
        if let Greeting::Asked(asked, waiting) = &mut self.greeting
            && asked == id
        {
            let body = Bytes::copy_from_slice(message.body());
            let others = waiting.drain(..).map(|(client, own)| (client, greeted(&body, &own))).collect();
            self.greeting = match message.kind() {
                Kind::Response { .. } => Greeting::Answered(body),
                // It may be greeted again in another input.
                _ => Greeting::Open,
            };
            return Heard { others, first: true };
        }
        let Some(asked) = self.settle(id) else { return Heard::first() };
        Heard::of(asked.by, layout::as_line(&remap::answer(message.body(), &asked.own)))
    }

    fn notified(&mut self, method: &str, message: &Message) -> Heard {
        if method == "notifications/cancelled"
            && let Some(id) = message.param(&["requestId"]).map(token)
            && let Some(client) = self.questions.remove(&id)
        {
            return Heard::of(client, layout::as_line(message.body()));
        }
        let to = |asked: &Asked, edits: &[(&[&str], Option<&Id>)]| {
            Heard::of(asked.by, layout::as_line(&replace(message.body(), edits)))
        };
        let found = |id: Option<Id>| self.asked.get(&id?);
        let request: &[&str] = &["params", "requestId"];
        if let Some(id) = message.param(&["_meta", meta::SUBSCRIPTION_ID]).map(token) {
            return found(Some(id))
                .map_or_else(Heard::first, |asked| to(asked, &remap::subscription(&asked.own)));
        }
        match method {
            "notifications/progress" => {
                let id = message.param(&["progressToken"]).map(token);
                let asked = found(id.and_then(|id| self.tokens.get(&id).cloned()));
                let own = |asked: &Asked| asked.token.as_ref().map(|(_, own)| own.clone());
                asked.map_or_else(Heard::first, |asked| {
                    to(asked, &[(&["params", "progressToken"], own(asked).as_ref())])
                })
            }
            "notifications/cancelled" => {
                let asked = found(message.param(&["requestId"]).map(token));
                asked.map_or_else(Heard::first, |asked| to(asked, &[(request, Some(&asked.own))]))
            }
            // What the server has to offer concerns everybody.
            "notifications/tools/list_changed"
            | "notifications/prompts/list_changed"
            | "notifications/resources/list_changed"
            | "notifications/resources/updated"
                if matches!(self.greeting, Greeting::Answered(_)) =>
            {
                let line = layout::as_line(message.body());
                Heard {
                    others: self.clients.iter().map(|client| (*client, line.clone())).collect(),
                    first: true,
                }
            }
            _ => match self.only() {
                Some(client) => Heard::of(client, layout::as_line(message.body())),
                None => Heard::first(),
            },
        }
    }

    /// The only client, other than the first, that the server can be working for.
    fn only(&self) -> Option<ClientId> {
        let mut askers = self.asked.values().filter(|asked| !asked.is_cancelled).map(|asked| asked.by);
        let only = askers.next().filter(|_| self.first.is_empty())?;
        askers.all(|asker| asker == only).then_some(only)
    }

    fn settle(&mut self, id: &Id) -> Option<Asked> {
        let asked = self.asked.remove(id)?;
        if let Some((known, _)) = &asked.token {
            self.tokens.remove(known);
        }
        if asked.is_cancelled {
            self.cancelled.retain(|cancelled| cancelled != id);
        }
        Some(asked)
    }
}

impl Default for IdMap {
    fn default() -> Self {
        Self::new()
    }
}

impl Heard {
    fn first() -> Self {
        Self { first: true, ..Self::default() }
    }

    fn of(client: ClientId, line: Bytes) -> Self {
        Self { others: vec![(client, line)], first: false }
    }
}

fn passed(body: &[u8]) -> Said {
    Said { to_server: Some(layout::as_line(body)), ..Said::default() }
}

fn ignored(why: &str) -> Said {
    Said { how: Some((VerdictKind::Drop, why.to_owned())), ..Said::default() }
}

fn refused(id: &Id, why: &str) -> Said {
    let answer = compose::failure(Some(id), compose::INVALID_REQUEST, &format!("shadowcat: {why}"));
    Said {
        answer: Some(layout::as_line(&answer)),
        how: Some((VerdictKind::Answer, why.to_owned())),
        ..Said::default()
    }
}

/// The server's answer to a greeting, as that to another.
fn greeted(answer: &[u8], own: &Id) -> Bytes {
    layout::as_line(&replace(answer, &[(&["id"], Some(own))]))
}

#[cfg(test)]
mod tests;
