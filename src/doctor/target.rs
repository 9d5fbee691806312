//! The traffic that is examined.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use super::check::{Evidence, line};
use crate::clock::Stamp;
use crate::log::Log;
use crate::log::record::{FrameKind, Origin, Record, Role, Seq, SessionId};
use crate::log::world::{OperationSummary, Row, SessionOverview, World};
use crate::mcp::{Direction, Era, Kind, Message, Opaque, Revision};

/// Traffic to examine: one session of a log, or all of them.
pub struct Target<'a> {
    /// State folded from the log.
    pub(super) world: &'a World,
    /// Log with the records.
    pub(super) log: &'a Log,
    only: Option<SessionId>,
    /// Indices of the rows of each session: a gateway has thousands of sessions.
    rows_by_session: HashMap<SessionId, Vec<usize>>,
    /// Places of messages over the inspect limit.
    cut: Vec<(SessionId, Seq)>,
}

/// Maximum number of frames whose text is examined, the newest: texts may have to be read from a tape.
pub(super) const READ_FRAMES: usize = 5_000;

impl<'a> Target<'a> {
    /// Creates a target from the state of a log, with one session or all.
    pub fn new(world: &'a World, log: &'a Log, only: Option<SessionId>) -> Self {
        let is_own = |session| only.is_none_or(|only| only == session);
        let mut target = Self { world, log, only, rows_by_session: HashMap::new(), cut: Vec::new() };
        for (at, row) in world.rows.iter().enumerate().filter(|(_, row)| is_own(row.session)) {
            target.rows_by_session.entry(row.session).or_default().push(at);
        }
        let odd = target.rows().filter(|row| matches!(row.kind, FrameKind::Invalid | FrameKind::Http));
        let cut = odd.filter(|row| target.message(row).is_some_and(|message| is_cut(&message)));
        target.cut = cut.map(|row| (row.session, row.seq)).collect();
        target
    }

    /// Returns the sessions to examine, without those that only found out the era.
    pub(super) fn sessions(&self) -> impl Iterator<Item = &'a SessionOverview> {
        self.all().filter(|session| !self.is_probe(session))
    }

    /// Returns the sessions that only found out the era, with a probe that the server declined, did not answer, or
    /// ended on; another session of the server follows.
    pub(super) fn probes(&self) -> impl Iterator<Item = &'a SessionOverview> {
        self.all().filter(|session| self.is_probe(session))
    }

    fn all(&self) -> impl Iterator<Item = &'a SessionOverview> {
        let only = self.only;
        self.world.sessions.values().filter(move |session| only.is_none_or(|only| only == session.id))
    }

    fn is_probe(&self, session: &SessionOverview) -> bool {
        let mut asked = self
            .rows_of(session)
            .filter(|row| row.direction == Direction::ToServer)
            .map(|row| self.world.text(row.method));
        let asks_era_only = asked.next() == Some(Some("server/discover")) && asked.next().is_none();
        let is_again =
            |other: &SessionOverview| other.seq > session.seq && other.opened.name == session.opened.name;
        asks_era_only && session.server.is_none() && self.world.sessions.values().any(is_again)
    }

    /// Returns the frames of the sessions to examine.
    pub(super) fn rows(&self) -> impl Iterator<Item = &'a Row> {
        let only = self.only;
        self.world.rows.iter().filter(move |row| only.is_none_or(|only| only == row.session))
    }

    /// Returns the newest frames of the protocol, whose texts are examined, the newest first.
    pub(super) fn read_rows(&self) -> impl Iterator<Item = &'a Row> {
        self.rows_backwards().filter(|row| row.kind != FrameKind::Stderr).take(READ_FRAMES)
    }

    /// Returns the newest lines of stderr, whose texts are examined, the newest first.
    pub(super) fn read_stderr(&self) -> impl Iterator<Item = &'a Row> {
        self.rows_backwards().filter(|row| row.kind == FrameKind::Stderr).take(READ_FRAMES)
    }

    fn rows_backwards(&self) -> impl Iterator<Item = &'a Row> {
        let only = self.only;
        self.world.rows.iter().rev().filter(move |row| only.is_none_or(|only| only == row.session))
    }

    /// Returns the frames of a session.
    pub(super) fn rows_of(
        &self,
        session: &SessionOverview,
    ) -> impl DoubleEndedIterator<Item = &'a Row> + use<'a, '_> {
        let rows = &self.world.rows;
        let own = self.rows_by_session.get(&session.id).map_or(&[][..], Vec::as_slice);
        own.iter().filter_map(move |at| rows.get(*at))
    }

    /// Returns the frames that the server of a session sent itself: neither frames that shadowcat made, nor lines of
    /// stderr.
    pub(super) fn said_in(
        &self,
        session: &SessionOverview,
    ) -> impl DoubleEndedIterator<Item = &'a Row> + use<'a, '_> {
        self.rows_of(session).filter(|row| is_servers(row))
    }

    /// Returns the server's answers to a method in a session.
    pub(super) fn answers<'s>(
        &'s self,
        session: &SessionOverview,
        method: &'s str,
    ) -> impl Iterator<Item = &'a Row> + use<'a, 's> {
        let world = self.world;
        let is_answer =
            move |row: &&'a Row| row.kind == FrameKind::Response && world.text(row.method) == Some(method);
        self.said_in(session).filter(is_answer)
    }

    /// Returns the operations that the client of a session began with a method, with their first frames.
    pub(super) fn asked_in<'s>(
        &'s self,
        session: &SessionOverview,
        method: &'s str,
    ) -> impl Iterator<Item = (&'a OperationSummary, &'a Row)> + use<'a, 's> {
        let world = self.world;
        let is_asked = move |row: &&'a Row| {
            row.direction == Direction::ToServer
                && row.role == Role::Request
                && world.text(row.method) == Some(method)
        };
        self.rows_of(session).filter(is_asked).filter_map(move |row| Some((world.operation(row.op()?)?, row)))
    }

    /// Returns the operations that clients began, with their first frames.
    pub(super) fn asked(&self) -> impl Iterator<Item = (&'a OperationSummary, &'a Row)> {
        let (only, world) = (self.only, self.world);
        let of_client = move |operation: &&OperationSummary| {
            operation.direction == Direction::ToServer && only.is_none_or(|only| only == operation.session)
        };
        world.operations.iter().filter(of_client).filter_map(move |op| Some((op, world.first(op)?)))
    }

    /// Returns the server's own answer that ended an operation.
    pub(super) fn answer(&self, operation: &OperationSummary) -> Option<&'a Row> {
        let answers =
            |row: &&Row| matches!(row.role, Role::Response | Role::InputRequired) && is_servers(row);
        self.world.frames(operation).filter(answers).last()
    }

    /// Returns `true` if the session's server is reached over HTTP.
    pub(super) fn is_http(&self, session: SessionId) -> bool {
        let opened = self.world.sessions.get(&session).map(|session| &session.opened);
        opened.is_some_and(|opened| opened.target.first().is_some_and(|target| target.contains("://")))
    }

    /// Returns `true` if a handshake succeeded.
    pub(super) fn is_greeted(&self) -> bool {
        self.sessions().any(|session| self.has_greeted(session))
    }

    /// Returns `true` if the server of a session has told of itself, and speaks a revision that its client speaks
    /// too.
    pub(super) fn has_greeted(&self, session: &SessionOverview) -> bool {
        let names_stateless = |row: &Row| {
            let message = self.message(row);
            let named = message.as_ref().and_then(|message| message.outcome(&["supportedVersions"]));
            let named = named.map(String::from_utf8_lossy).unwrap_or_default();
            Revision::ALL.iter().any(|known| known.era() == Era::Stateless && named.contains(known.as_str()))
        };
        let is_success = |row: &Row| row.kind == FrameKind::Response && !row.is_error;
        session.server.is_some()
            && self.said_in(session).filter(|row| is_success(row)).any(|row| match self.method(row) {
                "server/discover" => names_stateless(row),
                _ => true,
            })
    }

    /// Returns the frames over the inspect limit.
    pub(super) fn cut_rows(&self) -> impl Iterator<Item = &'a Row> {
        self.cut.iter().filter_map(|(_, seq)| self.world.row(*seq))
    }

    /// Returns `true` if a message over the inspect limit came after a request, which may be its answer.
    pub(super) fn may_be_too_long(&self, asked: &Row) -> bool {
        self.cut.iter().any(|(session, seq)| *session == asked.session && *seq > asked.seq)
    }

    /// Returns the name of a frame's session.
    pub(super) fn name(&self, row: &Row) -> &'a str {
        self.world.session_name(row.session)
    }

    /// Returns the method of a frame, or its kind if it has none.
    pub(super) fn method(&self, row: &Row) -> &'a str {
        self.world.text(row.method).unwrap_or(match row.kind {
            FrameKind::Batch => "batch",
            FrameKind::Invalid => "line",
            FrameKind::Http => "response",
            _ => "message",
        })
    }

    /// Returns the time that the server took for an answer, without the time for which the request was held.
    pub(super) fn took(&self, row: &Row) -> Option<Duration> {
        let root = row.op().and_then(|op| self.world.operation(op)).and_then(|op| self.world.first(op));
        let held = |seq| self.world.handling(seq).held.unwrap_or_default();
        let ours = root.map_or(Duration::ZERO, |root| held(root.seq));
        Some(row.duration()?.saturating_sub(ours))
    }

    /// Returns the record of a frame, if it is still in the log or on the tape.
    pub(super) fn record(&self, row: &Row) -> Option<Arc<Record>> {
        self.log.get(row.seq)
    }

    /// Returns the message of a frame, if it is still in the log or on the tape.
    pub(super) fn message(&self, row: &Row) -> Option<Message> {
        Some(self.record(row)?.frame()?.message.clone())
    }

    /// Returns the beginning of a frame's text.
    pub(super) fn text(&self, row: &Row) -> String {
        const MAX_BYTES: usize = 1200;
        match self.message(row) {
            Some(message) => {
                let body = message.body();
                String::from_utf8_lossy(&body[..body.len().min(MAX_BYTES)]).into_owned()
            }
            None => "(no longer in memory)".to_owned(),
        }
    }

    /// Creates an observation of a frame: its place, id and times, and then `text`.
    pub(super) fn evidence(&self, row: &Row, text: &str) -> Evidence {
        let session = self.world.sessions.get(&row.session);
        let since = session.map_or(row.at, |session| session.since);
        let seconds = |at: Stamp| at.since(since).as_secs_f64();
        let operation = row.op().and_then(|op| self.world.operation(op));
        let asked = operation.and_then(|op| self.world.first(op)).unwrap_or(row);
        let is_call = matches!(asked.kind, FrameKind::Request | FrameKind::Batch);
        let answered = operation.and_then(|op| self.answer(op));
        let is_answered = |row: &Row| row.role == Role::Response || row.role == Role::Request;
        let evidence = Evidence {
            text: String::new(),
            session: Some(row.session.0),
            frame: Some(row.seq),
            id: self.message(row).and_then(|message| message.id().map(|id| id.token().to_owned())),
            status: row.status(),
            asked: is_call.then(|| seconds(asked.at)),
            answered: answered.filter(|_| is_answered(row)).map(|row| seconds(row.at)),
            hung_up: session.and_then(|session| session.hung_up).map(|(_, at)| seconds(at)),
        };
        let mut words = format!("#{} {}", row.seq, self.method(row));
        if let Some(id) = &evidence.id {
            words.push_str(&format!(" (id {id})"));
        }
        let times = [("asked", evidence.asked), ("answered", evidence.answered)];
        for (what, time) in times.into_iter().filter_map(|(what, time)| Some((what, time?))) {
            words.push_str(&format!(", {what} +{time:.3} s"));
        }
        if let (None, Some(time), true) = (evidence.answered, evidence.hung_up, is_call) {
            words.push_str(&format!(", hung up +{time:.3} s"));
        }
        Evidence { text: format!("{words}: {}", line(text)), ..evidence }
    }
}

/// Returns `true` for a frame that the server sent itself on its protocol stream.
pub(super) fn is_servers(row: &Row) -> bool {
    row.direction == Direction::ToClient && row.kind != FrameKind::Stderr && row.origin() == Origin::Wire
}

/// Returns `true` for a message over the inspect limit.
pub(super) fn is_cut(message: &Message) -> bool {
    matches!(message.kind(), Kind::Opaque(Opaque::Truncated))
}
