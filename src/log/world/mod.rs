//! The world: the state at a position of the log, as a fold of its records.
//!
//! The world keeps a small row for each frame and none of the messages, which stay in the log (and,
//! when evicted, on the tape). Screens, tables and queries read the world.

mod moment;
mod operations;
mod row;
mod session;
mod status;
mod streams;

use std::collections::BTreeSet;
use std::collections::{BTreeMap, HashMap};

use super::digest;
use super::record::{
    Amended, Body, Closed, Exit, FrameKind, Gap, HELD_BY_ORDER, Held, LaneId, Level, Note, OpId, Opened,
    Record, Role, Ruled, Sent, Seq, SessionId, VerdictKind,
};
use crate::clock::Stamp;
use crate::mcp::Direction;

pub use moment::{Moment, SessionState};
pub use operations::{OperationSummary, OperationTable, State};
pub use row::{FrameState, Handling, Name, Names, Row};
pub use session::{Page, SessionOverview};
pub use streams::Stream;

/// The digest of a frame, with its texts interned by this world.
pub type FrameDigest = digest::Digest<Name>;

/// The fold of all records read so far.
#[derive(Default)]
pub struct World {
    /// The sessions.
    pub sessions: BTreeMap<SessionId, SessionOverview>,
    /// The rows of all frames, in order.
    pub rows: Vec<Row>,
    /// The operations of all sessions.
    pub operations: OperationTable,
    /// The streams of server-sent events.
    pub streams: BTreeMap<(SessionId, LaneId), Stream>,
    /// The columns that open streams take beside each other; `true` for each that is taken.
    slots: Vec<bool>,
    /// `true` if any frame came over HTTP.
    pub speaks_http: bool,
    /// The operation that each running HTTP exchange carries.
    exchanges: HashMap<(SessionId, LaneId), OpId>,
    /// Frames that wait for a verdict, in the order in which they were held.
    pub held: Vec<Seq>,
    /// Open questions of servers to clients: requests such as `elicitation/create`, and results that
    /// require input.
    pub asked: Vec<Seq>,
    /// The notes in order, each with its position, time and session.
    pub notes: Vec<(Seq, Stamp, SessionId, Note)>,
    /// The ranges of records that are lost.
    pub gaps: Vec<Gap>,
    /// Beginnings and ends of sessions as sentences, each with its position, time and session.
    pub events: Vec<(Seq, Stamp, SessionId, String, Level)>,
    /// Number of pending operations.
    pending: usize,
    /// The operations of each session that have not ended.
    open: HashMap<SessionId, BTreeSet<OpId>>,
    names: Names,
    /// The methods and targets of operations that began in a batch.
    batched: HashMap<OpId, (Option<Name>, Option<Name>)>,
    /// The handling of the few frames that were held or ruled on.
    handlings: HashMap<Seq, Handling>,
    /// Frames whose state changed after their arrival, for readers that keep lists of matches.
    pub touched: Vec<Seq>,
    /// The position of the newest record folded in.
    pub last: Seq,
    /// The time of that record.
    pub now: Stamp,
    /// Number of records of kinds that this version does not know.
    pub unknown: u64,
}

impl World {
    /// Folds in the next record.
    pub fn apply(&mut self, record: &Record) {
        let Record { seq, at, session, body } = record;
        let (seq, at, session) = (*seq, *at, *session);
        match body {
            Body::Frame(frame) => {
                let texts = digest::Digest::of(frame);
                let method = texts.method.as_deref().map(|text| self.names.intern(text));
                let target = texts.target.as_deref().map(|text| self.names.intern(text));
                let digest = texts.named(method, target);
                self.apply_frame(seq, at, session, &digest);
                self.follow_elements(seq, at, session, frame);
                return;
            }
            Body::Sent(sent) => {
                self.apply_sent(seq, at, sent);
                return;
            }
            _ => (self.last, self.now) = (seq, at),
        }
        match body {
            Body::Frame(_) | Body::Sent(_) => {}
            Body::Opened(opened) => self.opened(seq, at, session, opened),
            Body::Held(held) => self.stopped(at, held),
            Body::Ruled(ruled) => self.ruled(ruled),
            Body::Facts(facts) => self.learn(seq, session, facts),
            Body::Note(note) => self.notes.push((seq, at, session, note.clone())),
            Body::Gap(gap) => self.gaps.push(*gap),
            Body::Ended(ended) => self.lane_ended(seq, at, session, ended),
            Body::Closed(closed) => self.closed(seq, at, session, closed),
            Body::Amended(amended) => self.amended(seq, amended),
            Body::Unknown(_) => self.unknown += 1,
        }
    }

    /// Folds in a frame of which only the digest is available, its texts interned with
    /// [`World::intern`].
    pub fn apply_frame(&mut self, seq: Seq, at: Stamp, session: SessionId, digest: &FrameDigest) {
        (self.last, self.now) = (seq, at);
        let mut digest = *digest;
        self.follow(seq, at, session, &digest);
        self.exchange(seq, at, session, &digest);
        let own_method = digest.method;
        if let Some(root) = digest.link.op.and_then(|op| self.operations.get(op)).filter(|op| op.count() > 1)
            && let Some(root) = self.first(root)
        {
            let (method, target) = digest
                .link
                .op
                .and_then(|op| self.batched.get(&op))
                .copied()
                .unwrap_or((root.method, root.target));
            digest.method = digest.method.or(method);
            digest.target = digest.target.or(target);
        }
        let request = digest.reply_to.and_then(|request| self.row(request));
        let continues = request.is_some_and(|request| request.pages_on);
        let duration = request.map(|request| at.since(request.at));
        self.rows.push(Row::new(seq, at, session, &digest, duration));
        self.ask(seq, own_method, &digest);
        let answered = digest.method.filter(|_| digest.kind == FrameKind::Response && !digest.is_error);
        let list = answered.and_then(|method| {
            let method = self.names.text(method)?;
            ["tools/list", "resources/list", "prompts/list"].into_iter().find(|list| *list == method)
        });
        if let Some(session) = self.sessions.get_mut(&session) {
            session.frames += 1;
            if digest.http.is_none() && digest.direction == Direction::ToServer {
                session.input = session.input.or(Some(digest.lane));
            }
            session.errors += u64::from(digest.is_error);
            session.pages.extend(list.map(|method| Page { seq, method, continues }));
        }
    }

    /// Folds in the end of a frame's way through the engine.
    pub fn apply_sent(&mut self, seq: Seq, at: Stamp, sent: &Sent) {
        (self.last, self.now) = (seq, at);
        self.touched.push(sent.frame);
        self.held.retain(|held| *held != sent.frame);
        if let Some(held) = sent.held {
            let handling = self.handlings.entry(sent.frame).or_default();
            (handling.held, handling.since) = (Some(held), None);
        }
        if let Some(row) = self.row_mut(sent.frame) {
            row.state = FrameState::Ended(sent.outcome);
            row.size = sent.length.unwrap_or(row.size);
        }
    }

    /// Interns a text of a digest.
    pub fn intern(&mut self, text: &str) -> Name {
        self.names.intern(text)
    }

    fn opened(&mut self, seq: Seq, at: Stamp, id: SessionId, opened: &Opened) {
        if let Some(session) = self.sessions.get_mut(&id).filter(|session| session.closed.is_none()) {
            // The session continues with another process, or with none for a while.
            let (text, level) = match opened.pid {
                Some(pid) => (format!("session {}: the server now runs as process {pid}", id.0), Level::Info),
                None => (
                    format!("session {}: the server has ended; the client is still connected", id.0),
                    Level::Warning,
                ),
            };
            (session.opened, session.is_down) = (opened.clone(), opened.pid.is_none());
            self.events.push((seq, at, id, text, level));
            return;
        }
        let text = format!("session {} began: {}", id.0, opened.target.join(" "));
        self.events.push((seq, at, id, text, Level::Info));
        let session = SessionOverview {
            id,
            opened: opened.clone(),
            seq,
            since: at,
            client: None,
            server: None,
            learnt: Vec::new(),
            input: None,
            hung_up: None,
            is_down: false,
            closed: None,
            closed_at: None,
            frames: 0,
            errors: 0,
            pages: Vec::new(),
        };
        self.sessions.insert(id, session);
    }

    fn stopped(&mut self, at: Stamp, held: &Held) {
        self.touched.push(held.frame);
        let by = self.names.intern(&held.by);
        let handling = self.handlings.entry(held.frame).or_default();
        (handling.since, handling.by) = (Some(at), Some(by));
        if let Some(row) = self.row_mut(held.frame) {
            row.state = FrameState::Held;
        }
        if &*held.by != HELD_BY_ORDER && !self.held.contains(&held.frame) {
            self.held.push(held.frame);
        }
    }

    fn amended(&mut self, seq: Seq, amended: &Amended) {
        self.touched.push(amended.frame);
        let by = self.names.intern(&amended.by);
        let handling = self.handlings.entry(amended.frame).or_default();
        (handling.by, handling.amended) = (Some(by), Some(seq));
    }

    fn ruled(&mut self, ruled: &Ruled) {
        self.touched.push(ruled.frame);
        let by = self.names.intern(&ruled.by);
        let why = ruled.why.as_deref().map(|why| self.names.intern(why));
        let handling = self.handlings.entry(ruled.frame).or_default();
        (handling.by, handling.why) = (Some(by), why.or(handling.why));
        let replaced = ruled.verdict == VerdictKind::Replace;
        if let Some(row) = self.row_mut(ruled.frame) {
            row.edited |= replaced;
        }
    }

    fn closed(&mut self, seq: Seq, at: Stamp, id: SessionId, closed: &Closed) {
        let how = closed.exit.map_or_else(String::new, |exit| format!(", {exit}"));
        let text = format!("session {} ended: {}{how}", id.0, closed.reason);
        let fine = matches!(closed.exit, None | Some(Exit::Code(0)));
        let level = if fine { Level::Info } else { Level::Error };
        self.events.push((seq, at, id, text, level));
        if let Some(session) = self.sessions.get_mut(&id) {
            session.closed = Some(closed.clone());
            session.closed_at = Some((seq, at));
        }
        self.lose_open_operations(id, seq, at);
        // The frames of a closed session can no longer be decided on.
        let held = std::mem::take(&mut self.held);
        self.held =
            held.into_iter().filter(|seq| self.row(*seq).is_none_or(|row| row.session != id)).collect();
        let asked = std::mem::take(&mut self.asked);
        self.asked =
            asked.into_iter().filter(|seq| self.row(*seq).is_some_and(|row| row.session != id)).collect();
    }

    /// Updates the list of open questions to the client.
    fn ask(&mut self, seq: Seq, own_method: Option<Name>, digest: &FrameDigest) {
        let method = own_method.and_then(|method| self.names.text(method));
        let asks = digest.direction == Direction::ToClient
            && (digest.link.role == Role::InputRequired
                || matches!(method, Some("elicitation/create" | "sampling/createMessage")));
        if asks && matches!(digest.kind, FrameKind::Request | FrameKind::Response) {
            self.asked.push(seq);
        } else if !self.asked.is_empty()
            && matches!(digest.link.role, Role::Retry | Role::Response | Role::Cancel)
        {
            let op = digest.link.op;
            let asked = std::mem::take(&mut self.asked);
            self.asked =
                asked.into_iter().filter(|seq| self.row(*seq).is_some_and(|row| row.op() != op)).collect();
        }
    }

    /// Returns `true` if a request of a running session has no response yet.
    pub fn is_waiting(&self) -> bool {
        self.pending > 0 && self.sessions.values().any(|session| session.closed.is_none())
    }

    /// Returns the row of frame `seq`.
    pub fn row(&self, seq: Seq) -> Option<&Row> {
        self.rows.get(self.row_index(seq)?)
    }

    fn row_mut(&mut self, seq: Seq) -> Option<&mut Row> {
        let at = self.row_index(seq)?;
        self.rows.get_mut(at)
    }

    /// Returns the index of frame `seq` among the rows. Looks near the end first, where the frames that
    /// are asked for while folding are.
    pub fn row_index(&self, seq: Seq) -> Option<usize> {
        let (mut low, mut high, mut step) = (self.rows.len().saturating_sub(4), self.rows.len(), 8);
        while low > 0 && self.rows[low].seq > seq {
            (high, low, step) = (low, low.saturating_sub(step), step * 2);
        }
        self.rows[low..high].binary_search_by_key(&seq, |row| row.seq).ok().map(|at| low + at)
    }

    /// Returns the handling of frame `seq`, which is empty if it was neither held nor ruled on.
    pub fn handling(&self, seq: Seq) -> Handling {
        self.handlings.get(&seq).copied().unwrap_or_default()
    }

    /// Returns the names of all interceptors and people that held or ruled on a frame; names may repeat.
    pub fn rulers(&self) -> impl Iterator<Item = &str> {
        self.handlings.values().filter_map(|handling| self.text(handling.by))
    }

    /// Returns every frame that was held at some time, in no particular order.
    pub fn held_ever(&self) -> impl Iterator<Item = Seq> {
        let was = |handling: &Handling| handling.held.is_some() || handling.since.is_some();
        self.handlings.iter().filter(move |(_, handling)| was(handling)).map(|(seq, _)| *seq)
    }

    /// Returns the text of a name.
    pub fn text(&self, name: Option<Name>) -> Option<&str> {
        self.names.text(name?)
    }
}
