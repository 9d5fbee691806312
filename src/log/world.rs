//! The world as of a position of the log: a fold of its records.
//!
//! It keeps one small row a frame and nothing of the messages, which stay in the log (and, when
//! evicted, on the tape). Screens, tables and queries read it.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use super::record::{
    Body, Cause, Channel, Closed, Ended, Exit, Facts, Flags, Frame, Gap, LaneId, Level, Note, OpId, Opened,
    Origin, Outcome, Record, Role, Seq, SessionId,
};
use crate::clock::Stamp;
use crate::mcp::{Direction, Era, Kind, Method, Quirks, Revision};

/// A name kept once, however many rows have it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Name(u32);

/// One frame, as a list shows it.
#[derive(Debug, Clone)]
pub struct Row {
    pub seq: Seq,
    pub at: Stamp,
    pub session: SessionId,
    pub lane: LaneId,
    pub direction: Direction,
    pub channel: Channel,
    pub origin: Origin,
    pub kind: &'static str,
    pub op: Option<OpId>,
    pub role: Role,
    pub flags: Flags,
    pub quirks: Quirks,
    /// The method, of a response that of its request.
    pub method: Option<Name>,
    pub target: Option<Name>,
    /// Bytes on the wire.
    pub size: u64,
    /// The HTTP status, of a response.
    pub status: Option<u16>,
    /// Whether it came on a stream of events.
    pub stream: bool,
    pub is_error: bool,
    pub way: Way,
    pub held: Option<Duration>,
    /// From the request to this response.
    pub duration: Option<Duration>,
    /// Who held or ruled on it last.
    pub by: Option<Name>,
    /// The breakpoint's query or the rule's reason, where it was held or ruled on.
    pub why: Option<Name>,
    /// Whether it went on changed, or stands for what was changed.
    pub edited: bool,
    /// Whether it asks for a later page of a list.
    pub pages_on: bool,
}

/// Where a frame is on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// Arrived, and not yet written or decided.
    Moving,
    /// Stopped since then.
    Held(Stamp),
    Ended(Outcome),
}

/// An operation as a list shows it.
#[derive(Debug, Clone)]
pub struct Operation {
    pub id: OpId,
    pub session: SessionId,
    pub direction: Direction,
    pub started: Stamp,
    pub ended: Option<Stamp>,
    pub state: State,
    /// The operation in whose course it was asked for.
    pub cause: Option<Cause>,
    /// Its frames, in order.
    pub frames: Vec<Seq>,
    /// The operations that the other side began in its course.
    pub caused: Vec<OpId>,
}

/// How an operation stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    Pending,
    /// Its newest result asks the client for input.
    InputRequired,
    Ok,
    Error,
    Cancelled,
    /// The exchange that was to bring its answer has ended without one.
    Lost,
}

/// A session as the header and the capability card show it.
#[derive(Debug, Clone)]
pub struct Session {
    pub id: SessionId,
    pub opened: Opened,
    pub since: Stamp,
    pub client: Option<Facts>,
    pub server: Option<Facts>,
    pub closed: Option<Closed>,
    pub frames: u64,
    pub errors: u64,
    /// The newest pages of each list that the server has given, by method.
    pub lists: HashMap<&'static str, Vec<Seq>>,
}

/// A stream of server-sent events.
#[derive(Debug, Clone)]
pub struct Stream {
    /// The lane of the request that opened it.
    pub exchange: LaneId,
    /// Its first frame.
    pub first: Seq,
    pub since: Stamp,
    pub events: u64,
    /// When it ended, and why where its server did not mean to.
    pub ended: Option<(Seq, Stamp, Option<String>)>,
    /// Its place beside the other streams that were open when it began, counted from 0.
    pub slot: usize,
}

/// The fold of all records read so far.
#[derive(Default)]
pub struct World {
    pub sessions: BTreeMap<SessionId, Session>,
    pub rows: Vec<Row>,
    pub operations: HashMap<OpId, Operation>,
    pub streams: BTreeMap<(SessionId, LaneId), Stream>,
    /// Which places beside each other open streams have taken.
    slots: Vec<bool>,
    /// Whether any frame came over HTTP.
    pub speaks_http: bool,
    /// What each exchange that is under way was asked.
    exchanges: HashMap<(SessionId, LaneId), OpId>,
    /// Frames that wait for a verdict, in the order in which they were stopped.
    pub held: Vec<Seq>,
    /// What servers ask and nobody has answered yet: requests to the client, and results that
    /// require input.
    pub asked: Vec<Seq>,
    pub notes: Vec<(Seq, Stamp, SessionId, Note)>,
    pub gaps: Vec<Gap>,
    /// Sessions that began and ended, as sentences.
    pub events: Vec<(Seq, Stamp, SessionId, String, Level)>,
    /// How many operations are pending.
    pending: usize,
    names: Vec<Arc<str>>,
    known: HashMap<Arc<str>, Name>,
    /// Frames whose state changed after their arrival, for readers that keep lists of matches.
    pub touched: Vec<Seq>,
    /// The position of the newest record folded in.
    pub last: Seq,
    pub now: Stamp,
}

// === impl World ===

impl World {
    /// Folds in the next record.
    pub fn apply(&mut self, record: &Record) {
        self.last = record.seq;
        self.now = record.at;
        match &record.body {
            Body::Opened(opened) => {
                let session = Session {
                    id: record.session,
                    opened: opened.clone(),
                    since: record.at,
                    client: None,
                    server: None,
                    closed: None,
                    frames: 0,
                    errors: 0,
                    lists: HashMap::new(),
                };
                let text = format!("session {} began: {}", record.session.0, opened.target.join(" "));
                self.events.push((record.seq, record.at, record.session, text, Level::Info));
                self.sessions.insert(record.session, session);
            }
            Body::Frame(frame) => self.frame(record, frame),
            Body::Held(held) => {
                self.touched.push(held.frame);
                let by = self.name(&held.by);
                let since = record.at;
                if let Some(row) = self.row_mut(held.frame) {
                    row.way = Way::Held(since);
                    row.by = Some(by);
                }
                if &*held.by != super::record::HELD_BY_ORDER && !self.held.contains(&held.frame) {
                    self.held.push(held.frame);
                }
            }
            Body::Ruled(ruled) => {
                self.touched.push(ruled.frame);
                let by = self.name(&ruled.by);
                let why = ruled.why.as_deref().map(|why| self.name(why));
                let replaced = ruled.verdict == super::record::Ruling::Replace;
                if let Some(row) = self.row_mut(ruled.frame) {
                    row.by = Some(by);
                    row.why = why.or(row.why);
                    row.edited |= replaced;
                }
            }
            Body::Sent(sent) => {
                self.touched.push(sent.frame);
                self.held.retain(|held| *held != sent.frame);
                if let Some(row) = self.row_mut(sent.frame) {
                    row.way = Way::Ended(sent.outcome);
                    row.held = sent.held;
                    row.size = sent.length.unwrap_or(row.size);
                }
            }
            Body::Facts(facts) => {
                if let Some(session) = self.sessions.get_mut(&record.session) {
                    match facts.side {
                        Direction::ToServer => session.client = Some((**facts).clone()),
                        Direction::ToClient => session.server = Some((**facts).clone()),
                    }
                }
            }
            Body::Note(note) => self.notes.push((record.seq, record.at, record.session, note.clone())),
            Body::Gap(gap) => self.gaps.push(*gap),
            Body::Ended(ended) => self.lane_ended(record, ended),
            Body::Closed(closed) => {
                let how = closed.exit.map_or_else(String::new, |exit| format!(", {exit}"));
                let text = format!("session {} ended: {}{how}", record.session.0, closed.reason);
                let fine = matches!(closed.exit, None | Some(Exit::Code(0)));
                let level = if fine { Level::Info } else { Level::Error };
                self.events.push((record.seq, record.at, record.session, text, level));
                if let Some(session) = self.sessions.get_mut(&record.session) {
                    session.closed = Some(closed.clone());
                }
                let rows = &self.rows;
                self.asked.retain(|seq| {
                    let at = rows.binary_search_by_key(seq, |row| row.seq);
                    at.is_ok_and(|at| rows[at].session != record.session)
                });
            }
        }
    }

    fn frame(&mut self, record: &Record, frame: &Frame) {
        let link = frame.links().first().copied().unwrap_or_default();
        let op = frame.link.op;
        let failed = frame.channel == Channel::Http
            && frame.http.as_ref().is_some_and(|http| http.status.is_some_and(|status| status >= 400));
        let is_error = frame.message.is_error() || failed;
        self.follow(record, frame);
        self.exchange(record, frame);
        let (method, target) =
            match op.and_then(|op| self.operations.get(&op)).and_then(|op| op.frames.first()) {
                Some(first) if *first != record.seq => {
                    let root = self.row(*first).map(|row| (row.method, row.target));
                    root.unwrap_or_default()
                }
                _ => (None, None),
            };
        let spoken =
            frame.http.as_ref().filter(|_| frame.channel == Channel::Http).map(|http| http.summary());
        let method = spoken.as_deref().or(frame.message.method()).map(|method| self.name(method)).or(method);
        let target = frame.message.target().map(|target| self.name(&target)).or(target);
        let duration = matches!(link.role, Role::Response | Role::InputRequired)
            .then(|| link.to.and_then(|request| self.row(request)))
            .flatten()
            .map(|request| record.at.since(request.at));
        self.rows.push(Row {
            seq: record.seq,
            at: record.at,
            session: record.session,
            lane: frame.lane,
            direction: frame.direction,
            channel: frame.channel,
            origin: frame.origin,
            kind: frame.kind(),
            op,
            role: frame.link.role,
            flags: frame.links().iter().fold(Flags::default(), |all, link| all.with(link.flags)),
            quirks: frame.message.quirks(),
            method,
            target,
            size: frame.message.raw().len() as u64,
            status: frame.http.as_ref().and_then(|http| http.status),
            stream: frame.http.as_ref().is_some_and(|http| http.stream),
            is_error,
            way: Way::Moving,
            held: None,
            duration,
            by: None,
            why: None,
            edited: matches!(frame.origin, Origin::Replaced(_)),
            pages_on: frame.message.param(&["cursor"]).is_some(),
        });
        self.ask(record, frame);
        let continues = link.to.and_then(|request| self.row(request)).is_some_and(|request| request.pages_on);
        if let Some(session) = self.sessions.get_mut(&record.session) {
            session.frames += 1;
            session.errors += u64::from(is_error);
            if let (Kind::Response { .. }, Some(method)) = (frame.message.kind(), method) {
                let list = ["tools/list", "resources/list", "prompts/list"]
                    .into_iter()
                    .find(|list| **list == *self.names[method.0 as usize]);
                if let Some(list) = list {
                    let pages = session.lists.entry(list).or_default();
                    if !continues {
                        pages.clear();
                    }
                    pages.push(record.seq);
                }
            }
        }
    }

    /// Files a frame under its operation.
    fn follow(&mut self, record: &Record, frame: &Frame) {
        let Some(op) = frame.link.op else { return };
        let operation = self.operations.entry(op).or_insert_with(|| Operation {
            id: op,
            session: record.session,
            direction: frame.direction,
            started: record.at,
            ended: None,
            state: State::Pending,
            cause: frame.link.cause,
            frames: Vec::new(),
            caused: Vec::new(),
        });
        operation.frames.push(record.seq);
        if frame.link.role != Role::Progress
            && let Some(root) = operation.frames.first()
        {
            self.touched.push(*root);
        }
        let was_pending = operation.state == State::Pending && operation.frames.len() > 1;
        match frame.link.role {
            Role::Response => {
                if operation.state == State::Lost {
                    operation.ended = None;
                }
                operation.ended.get_or_insert(record.at);
                if operation.state != State::Cancelled {
                    operation.state = if frame.message.is_error() { State::Error } else { State::Ok };
                }
            }
            Role::InputRequired => operation.state = State::InputRequired,
            Role::Retry => operation.state = State::Pending,
            Role::Cancel if operation.ended.is_none() => {
                operation.ended = Some(record.at);
                operation.state = State::Cancelled;
            }
            _ => {}
        }
        let is_pending = operation.state == State::Pending;
        let cause = operation.cause.filter(|_| operation.frames.len() == 1);
        if let Some(cause) = cause.and_then(|cause| self.operations.get_mut(&cause.op)) {
            cause.caused.push(op);
        }
        self.pending = (self.pending + usize::from(is_pending)).saturating_sub(usize::from(was_pending));
    }

    /// Keeps the streams, and what each exchange was asked.
    fn exchange(&mut self, record: &Record, frame: &Frame) {
        let Some(http) = &frame.http else { return };
        self.speaks_http = true;
        if http.stream {
            let slots = &mut self.slots;
            let stream = self.streams.entry((record.session, frame.lane)).or_insert_with(|| {
                let slot = slots.iter().position(|taken| !taken).unwrap_or(slots.len());
                slots.resize(slots.len().max(slot + 1), false);
                slots[slot] = true;
                Stream {
                    exchange: http.exchange,
                    first: record.seq,
                    since: record.at,
                    events: 0,
                    ended: None,
                    slot,
                }
            });
            stream.events += u64::from(http.event.is_some());
        }
        let place = (record.session, http.exchange);
        // A status without a message is an answer too, and there will be no other, unless it says
        // that there will be.
        const ACCEPTED: u16 = 202;
        if let (Channel::Http, Some(status), false) = (frame.channel, http.status, http.stream)
            && status != ACCEPTED
        {
            let state = if status >= 400 { State::Error } else { State::Lost };
            self.give_up(record, place, state);
        }
        match (frame.link.role, frame.link.op) {
            (Role::Request | Role::Retry, Some(op)) if frame.direction == Direction::ToServer => {
                self.exchanges.insert(place, op);
            }
            (Role::Response | Role::InputRequired, op) if op == self.exchanges.get(&place).copied() => {
                self.exchanges.remove(&place);
            }
            _ => {}
        }
    }

    fn lane_ended(&mut self, record: &Record, ended: &Ended) {
        let place = (record.session, ended.lane);
        let exchange = match self.streams.get_mut(&place) {
            Some(stream) => {
                if stream.ended.is_none() {
                    self.slots[stream.slot] = false;
                }
                stream.ended = Some((record.seq, record.at, ended.why.clone()));
                (record.session, stream.exchange)
            }
            None => place,
        };
        self.give_up(record, exchange, State::Lost);
    }

    /// Ends what an exchange was asked, since no answer will come of it.
    fn give_up(&mut self, record: &Record, exchange: (SessionId, LaneId), state: State) {
        let Some(op) = self.exchanges.remove(&exchange) else { return };
        let Some(operation) = self.operations.get_mut(&op) else { return };
        if operation.state == State::Pending {
            operation.state = state;
            operation.ended = Some(record.at);
            self.pending = self.pending.saturating_sub(1);
            self.touched.extend(operation.frames.first());
        }
    }

    /// Keeps the list of open questions to the client.
    fn ask(&mut self, record: &Record, frame: &Frame) {
        let asks = frame.direction == Direction::ToClient
            && (frame.link.role == Role::InputRequired
                || matches!(frame.message.method(), Some("elicitation/create" | "sampling/createMessage")));
        if asks && matches!(frame.message.kind(), Kind::Request { .. } | Kind::Response { .. }) {
            self.asked.push(record.seq);
        } else if matches!(frame.link.role, Role::Retry | Role::Response | Role::Cancel) {
            let op = frame.link.op;
            let rows = &self.rows;
            self.asked.retain(|seq| {
                let at = rows.binary_search_by_key(seq, |row| row.seq);
                at.is_ok_and(|at| rows[at].op != op)
            });
        }
    }

    /// The operation of a row, or the one in whose course that was asked for.
    pub fn root(&self, row: &Row) -> Option<&Operation> {
        let operation = self.operations.get(&row.op?)?;
        let cause = operation.cause.and_then(|cause| self.operations.get(&cause.op));
        Some(cause.unwrap_or(operation))
    }

    /// The frames of an operation and of those that it caused, in order.
    pub fn family(&self, operation: &Operation) -> Vec<Seq> {
        let caused = operation.caused.iter().filter_map(|op| self.operations.get(op));
        let mut frames: Vec<Seq> =
            caused.chain([operation]).flat_map(|operation| operation.frames.iter().copied()).collect();
        frames.sort_unstable();
        frames
    }

    /// Whether a request of a running session has no answer yet.
    pub fn is_waiting(&self) -> bool {
        self.pending > 0 && self.sessions.values().any(|session| session.closed.is_none())
    }

    /// The row of frame `seq`.
    pub fn row(&self, seq: Seq) -> Option<&Row> {
        let at = self.rows.binary_search_by_key(&seq, |row| row.seq).ok()?;
        self.rows.get(at)
    }

    fn row_mut(&mut self, seq: Seq) -> Option<&mut Row> {
        let at = self.rows.binary_search_by_key(&seq, |row| row.seq).ok()?;
        self.rows.get_mut(at)
    }

    fn name(&mut self, text: &str) -> Name {
        if let Some(name) = self.known.get(text) {
            return *name;
        }
        let name = Name(u32::try_from(self.names.len()).unwrap_or(u32::MAX));
        let text: Arc<str> = text.into();
        self.names.push(Arc::clone(&text));
        self.known.insert(text, name);
        name
    }

    /// The text of a name.
    pub fn text(&self, name: Option<Name>) -> Option<&str> {
        self.names.get(name?.0 as usize).map(|text| &**text)
    }

    /// The session's name, or its number where it has none.
    pub fn session_name(&self, id: SessionId) -> &str {
        self.sessions.get(&id).map_or("", |session| &session.opened.name)
    }

    /// Why the method of a row is no message of the session's revision, if it is none.
    pub fn illegal(&self, row: &Row) -> Option<String> {
        let says_method = matches!(row.kind, "req" | "notify");
        let method = Method::find(self.text(row.method).filter(|_| says_method)?)?;
        let session = self.sessions.get(&row.session)?;
        let version = |facts: &Option<Facts>| Revision::parse(facts.as_ref()?.version.as_deref()?);
        let revision = version(&session.server).or_else(|| version(&session.client))?;
        // A client may always try whether the other era is spoken.
        let probe = matches!(method.name, "server/discover" | "initialize");
        (!probe && !method.is_allowed(revision, row.direction))
            .then(|| format!("{} is no message of {revision} in this direction", method.name))
    }

    /// Every status word that holds for a row.
    pub fn statuses(&self, row: &Row, yes: &mut dyn FnMut(&str)) {
        if let Some(status) = row.status {
            yes(&status.to_string());
        }
        match row.way {
            Way::Held(_) => yes("held"),
            Way::Ended(Outcome::Dropped) if row.edited => yes("edited"),
            Way::Ended(Outcome::Dropped) => yes("dropped"),
            Way::Ended(Outcome::Answered) => yes("answered"),
            Way::Ended(Outcome::Withdrawn) => yes("withdrawn"),
            Way::Moving | Way::Ended(Outcome::Forwarded) => {}
        }
        match row.origin {
            Origin::Replaced(_) => yes("edited"),
            Origin::Answered(_) => yes("answered"),
            Origin::Injected => yes("injected"),
            _ => {}
        }
        row.flags.words().for_each(&mut *yes);
        if row.role == Role::Cancel {
            yes("cancel");
        }
        if row.is_error {
            yes("error");
        } else if matches!(row.role, Role::Response | Role::InputRequired) {
            yes("ok");
        }
        if let (Role::Request | Role::Retry, Some(operation)) =
            (row.role, row.op.and_then(|op| self.operations.get(&op)))
        {
            match operation.state {
                State::Pending | State::InputRequired
                    if !matches!(row.way, Way::Ended(Outcome::Withdrawn)) =>
                {
                    yes("pending");
                }
                State::Cancelled => yes("cancel"),
                State::Lost => yes("lost"),
                State::Ok => yes("ok"),
                State::Error => yes("error"),
                _ => {}
            }
        }
    }
}

impl Session {
    /// The era that the header shows: the server's, else what the client claims.
    pub fn era(&self) -> Option<Era> {
        let era = |facts: &Option<Facts>| facts.as_ref().and_then(|facts| facts.era);
        era(&self.server).or_else(|| era(&self.client))
    }
}
