//! A recording as a play: what the client asked, and everything that the server said to it.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use crate::clock::Stamp;
use crate::log::Log;
use crate::log::record::{Facts, FrameKind, OpId, Origin, Outcome, Record, Role, Seq, SessionId};
use crate::log::world::{FrameState, Row, World};
use crate::mcp::remap::token;
use crate::mcp::{Direction, Era, Id, Kind, Message};

/// What was said in a recording.
#[derive(Debug, Clone, Default)]
pub struct Script {
    /// What the client said, in its order.
    pub turns: Vec<Turn>,
    /// What the server said before the client said anything.
    pub prologue: Vec<Line>,
    pub era: Option<Era>,
    /// What the server said of itself.
    pub server: Option<Facts>,
    /// What went on in the place of what the client said, and what that was.
    instead: HashMap<Seq, Seq>,
}

/// Something that the client said, and what the server said from then on because of it.
#[derive(Debug, Clone)]
pub struct Turn {
    pub seq: Seq,
    pub session: SessionId,
    pub at: Stamp,
    pub message: Message,
    pub kind: TurnKind,
    pub method: String,
    pub target: Option<String>,
    /// The request's `params`, without what is of one connection only.
    pub params: Value,
    /// What the server said, in order.
    pub lines: Vec<Line>,
    /// Whether the client took it back.
    pub cancelled: bool,
}

/// What a client says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TurnKind {
    Request,
    Notification,
    /// The answer to a request of the server, that stands in the lines of some turn as this frame.
    Reply(Seq),
}

/// Something that the server said.
#[derive(Debug, Clone)]
pub struct Line {
    pub seq: Seq,
    /// Since its turn.
    pub after: Duration,
    pub message: Message,
    pub kind: LineKind,
}

/// What a server says in a turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LineKind {
    /// The answer to the turn's request.
    Answer,
    /// A notification that names the request: progress, an event of a subscription.
    Bound,
    /// A notification that names nothing.
    Loose,
    /// A request of the server; what follows waits for its reply.
    Ask,
}

/// What of `_meta` and the rest is of one connection only.
const OF_ONE_CONNECTION: &str = "_meta";

impl Script {
    /// Reads the recording of `world`; of one session only, if one is named.
    pub fn read(world: &World, log: &Log, only: Option<SessionId>) -> Self {
        let mut script = Self::default();
        let sessions = world.sessions.values().filter(|session| only.is_none_or(|only| only == session.id));
        script.server = sessions.clone().filter_map(|session| session.server.clone()).next_back();
        script.era = sessions.clone().filter_map(|session| session.era()).next_back();
        let mine = |row: &&Row| {
            only.is_none_or(|only| row.session == only)
                && was_seen(row)
                && matches!(
                    row.kind,
                    FrameKind::Request | FrameKind::Response | FrameKind::Notification | FrameKind::Batch
                )
        };
        for row in world.rows.iter().filter(mine) {
            if let (Direction::ToServer, Some(of)) = (row.direction, row.origin().of()) {
                script.instead.insert(row.seq, of);
                continue;
            }
            if let Some(record) = log.get(row.seq) {
                script.add(world, row, &record);
            }
        }
        script
    }

    /// The requests of the client.
    pub fn requests(&self) -> impl Iterator<Item = &Turn> {
        self.turns.iter().filter(|turn| turn.kind == TurnKind::Request)
    }

    fn add(&mut self, world: &World, row: &Row, record: &Arc<Record>) {
        let Some(frame) = record.frame() else { return };
        match frame.message.kind() {
            // The elements of a batch are turns and lines of their own (2025-03-26 only).
            Kind::Batch(all) => {
                for (message, link) in all.iter().zip(frame.links()) {
                    self.message(world, row, message, link.op, link.role, link.to);
                }
            }
            _ => self.message(world, row, &frame.message, row.op(), frame.link.role, frame.link.to),
        }
    }

    fn message(
        &mut self,
        world: &World,
        row: &Row,
        message: &Message,
        op: Option<OpId>,
        role: Role,
        to: Option<Seq>,
    ) {
        match row.direction {
            Direction::ToServer => self.turn(row, message, role, to),
            Direction::ToClient => self.line(world, row, message, op, role, to),
        }
    }

    fn turn(&mut self, row: &Row, message: &Message, role: Role, to: Option<Seq>) {
        let kind = match message.kind() {
            Kind::Request { .. } => TurnKind::Request,
            Kind::Notification { .. } => TurnKind::Notification,
            Kind::Response { .. } | Kind::Failure { .. } => match to {
                Some(asked) => TurnKind::Reply(asked),
                None => return,
            },
            Kind::Batch(_) | Kind::Opaque(_) => return,
        };
        if role == Role::Cancel {
            let id = message.param(&["requestId"]).map(token);
            let is_it = |turn: &&mut Turn| Some(turn.seq) == to && turn.id() == id.as_ref();
            self.turns.iter_mut().rev().filter(is_it).take(1).for_each(|turn| turn.cancelled = true);
        }
        self.turns.push(Turn {
            seq: row.seq,
            session: row.session,
            at: row.at,
            kind,
            method: message.method().unwrap_or_default().to_owned(),
            target: message.target().map(|target| target.into_owned()),
            params: params(message),
            message: message.clone(),
            lines: Vec::new(),
            cancelled: false,
        });
    }

    fn line(
        &mut self,
        world: &World,
        row: &Row,
        message: &Message,
        op: Option<OpId>,
        role: Role,
        to: Option<Seq>,
    ) {
        let kind = match (message.kind(), role) {
            (Kind::Request { .. }, _) => LineKind::Ask,
            (Kind::Response { .. } | Kind::Failure { .. }, _) => LineKind::Answer,
            (_, Role::Progress | Role::Event) => LineKind::Bound,
            _ => LineKind::Loose,
        };
        // An operation of several legs is answered leg by leg.
        let newest = || {
            let operation = op.and_then(|op| world.operation(op))?;
            world
                .frames(operation)
                .take_while(|frame| frame.seq < row.seq)
                .filter(|frame| matches!(frame.role, Role::Request | Role::Retry))
                .last()
                .map(|frame| frame.seq)
        };
        let of = match kind {
            LineKind::Answer => to,
            LineKind::Bound => newest().or(to),
            LineKind::Ask => op
                .and_then(|op| world.operations.cause(op))
                .and_then(|cause| world.first(world.operation(cause.op)?))
                .map(|first| first.seq),
            LineKind::Loose => None,
        };
        let of = of.map(|seq| self.instead.get(&seq).copied().unwrap_or(seq));
        let same_session = |turn: &&mut Turn| turn.session == row.session;
        let turn = match (of, kind) {
            // The elements of a batch are told apart by their ids.
            (Some(seq), LineKind::Answer) => {
                let is_it = |turn: &&mut Turn| turn.seq == seq && turn.id() == message.id();
                match self.turns.iter_mut().rev().find(is_it) {
                    Some(turn) => Some(turn),
                    None => return,
                }
            }
            (Some(seq), _) => match self.turns.iter_mut().rev().find(|turn| turn.seq == seq) {
                Some(turn) => Some(turn),
                None => return,
            },
            // An answer to nothing answers nothing here either.
            (None, LineKind::Answer) => return,
            (None, _) => self.turns.iter_mut().rfind(same_session),
        };
        let since = turn.as_ref().map_or(row.at, |turn| turn.at);
        let line = Line { seq: row.seq, after: row.at.since(since), message: message.clone(), kind };
        match turn {
            Some(turn) => turn.lines.push(line),
            None => self.prologue.push(line),
        }
    }
}

/// Whether the client said or was told this: not what we made towards the server, nor what we kept
/// from the client.
fn was_seen(row: &Row) -> bool {
    match row.direction {
        Direction::ToServer => row.origin() != Origin::Injected,
        Direction::ToClient => !matches!(row.state, FrameState::Ended(Outcome::Dropped | Outcome::Withdrawn)),
    }
}

impl Turn {
    /// What the server answered, if it did.
    pub fn answer(&self) -> Option<&Line> {
        self.lines.iter().find(|line| line.kind == LineKind::Answer)
    }

    /// What it asked for, in a few words.
    pub fn title(&self) -> String {
        match &self.target {
            Some(target) => format!("{} {target}", self.method),
            None => self.method.clone(),
        }
    }

    /// The id of the request.
    pub fn id(&self) -> Option<&Id> {
        self.message.id()
    }
}

/// The `params` of a request without what is of one connection only.
pub fn params(message: &Message) -> Value {
    let span = message.params();
    let mut params: Value = span.map_or(Value::Null, |span| read(message.slice(span)));
    if let Value::Object(members) = &mut params {
        members.remove(OF_ONE_CONNECTION);
        // Nothing, and an object with nothing in it, ask for the same.
        if members.is_empty() {
            return Value::Null;
        }
    }
    params
}

/// The `result` or `error` of an answer.
pub fn outcome(message: &Message) -> Value {
    let body: Value = read(message.body());
    if let Value::String(_) = body {
        return body;
    }
    let member = |key: &str| body.get(key).map(|value| serde_json::json!({ key: value }));
    member("result").or_else(|| member("error")).unwrap_or(Value::Null)
}

/// JSON as a value; what no value holds (numbers beyond all bounds, half of a character) as text.
fn read(json: &[u8]) -> Value {
    serde_json::from_slice(json).unwrap_or_else(|_| String::from_utf8_lossy(json).into_owned().into())
}
