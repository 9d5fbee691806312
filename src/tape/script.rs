//! A recording as a script: what the client sent, and everything that the server sent because of
//! it.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use crate::clock::Stamp;
use crate::log::Log;
use crate::log::record::{Facts, FrameKind, OpId, Origin, Outcome, Record, Role, Seq, SessionId};
use crate::log::world::{FrameState, Row, World};
use crate::mcp::remap::token;
use crate::mcp::tree::exact_value;
use crate::mcp::{Direction, Era, Id, Kind, Message, json};

/// Messages of a recording.
#[derive(Debug, Clone, Default)]
pub struct Script {
    /// Messages of the client, in order.
    pub turns: Vec<Turn>,
    /// Messages of the server before the first one of the client.
    pub prologue: Vec<ScriptedMessage>,
    /// Protocol era of the latest session in which it is known.
    pub era: Option<Era>,
    /// Facts about the server of the latest session.
    pub server: Option<Facts>,
    /// Frames that were sent to the server in the place of others, with the frames that they
    /// replaced.
    instead: HashMap<Seq, Seq>,
}

/// A message of the client, and what the server sent from then on because of it.
#[derive(Debug, Clone)]
pub struct Turn {
    /// Frame of the message.
    pub seq: Seq,
    /// Session of the message.
    pub session: SessionId,
    /// Time of the message.
    pub at: Stamp,
    /// Message as it was recorded.
    pub message: Message,
    /// Kind of the message.
    pub kind: TurnKind,
    /// Method; empty for a reply.
    pub method: String,
    /// Tool, resource or prompt that the request is for.
    pub target: Option<String>,
    /// Parameters of the request, without those of one connection only.
    pub params: Value,
    /// Messages of the server, in order.
    pub lines: Vec<ScriptedMessage>,
    /// `true` if the client cancelled the request.
    pub cancelled: bool,
}

/// Kind of a message of the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TurnKind {
    /// A request.
    Request,
    /// A notification.
    Notification,
    /// The reply to a request of the server, which is this frame in the lines of some turn.
    Reply(Seq),
}

/// A message of the server.
#[derive(Debug, Clone)]
pub struct ScriptedMessage {
    /// Frame of the message.
    pub seq: Seq,
    /// Time since its turn.
    pub after: Duration,
    /// Message as it was recorded.
    pub message: Message,
    /// Role of the message in its turn.
    pub kind: LineKind,
}

/// Role of a message of the server in a turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LineKind {
    /// Answer to the request of the turn.
    Answer,
    /// A notification that names the request: progress, or an event of a subscription.
    Bound,
    /// A notification that names no request.
    Loose,
    /// A request of the server; the lines behind it wait for its reply.
    Ask,
}

/// Member of the parameters that is of one connection only.
const OF_ONE_CONNECTION: &str = "_meta";

impl Script {
    /// Reads the recording of `world`, or the session `only` of it.
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

    /// Returns the turns that are requests.
    pub fn requests(&self) -> impl Iterator<Item = &Turn> {
        self.turns.iter().filter(|turn| turn.kind == TurnKind::Request)
    }

    fn add(&mut self, world: &World, row: &Row, record: &Arc<Record>) {
        let Some(frame) = record.frame() else { return };
        match frame.message.kind() {
            // Elements of a batch are turns and lines of their own (2025-03-26 only).
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
        // An operation may consist of several requests (legs): the newest one is meant.
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
            // Elements of a batch share a frame and are told apart by their ids. The answer to a request by itself may
            // have another id: its connection tied the two.
            (Some(seq), LineKind::Answer) => {
                let is_only = self.turns.iter().rev().filter(|turn| turn.seq == seq).nth(1).is_none();
                let is_it = |turn: &&mut Turn| turn.seq == seq && (is_only || turn.id() == message.id());
                match self.turns.iter_mut().rev().find(is_it) {
                    Some(turn) => Some(turn),
                    None => return,
                }
            }
            (Some(seq), _) => match self.turns.iter_mut().rev().find(|turn| turn.seq == seq) {
                Some(turn) => Some(turn),
                None => return,
            },
            // An answer without a request is left out.
            (None, LineKind::Answer) => return,
            (None, _) => self.turns.iter_mut().rfind(same_session),
        };
        let since = turn.as_ref().map_or(row.at, |turn| turn.at);
        let line =
            ScriptedMessage { seq: row.seq, after: row.at.since(since), message: message.clone(), kind };
        match turn {
            Some(turn) => turn.lines.push(line),
            None => self.prologue.push(line),
        }
    }
}

/// Returns `true` if the client sent or received a frame: it was neither injected towards the
/// server nor kept from the client.
fn was_seen(row: &Row) -> bool {
    match row.direction {
        Direction::ToServer => row.origin() != Origin::Injected,
        Direction::ToClient => !matches!(row.state, FrameState::Ended(Outcome::Dropped | Outcome::Withdrawn)),
    }
}

impl Turn {
    /// Returns the answer of the server, if there is one.
    pub fn answer(&self) -> Option<&ScriptedMessage> {
        self.lines.iter().find(|line| line.kind == LineKind::Answer)
    }

    /// Returns the method and the target.
    pub fn title(&self) -> String {
        match &self.target {
            Some(target) => format!("{} {target}", self.method),
            None => self.method.clone(),
        }
    }

    /// Returns the id of the request.
    pub fn id(&self) -> Option<&Id> {
        self.message.id()
    }
}

/// Returns the `params` of a request without those of one connection only; `null` if nothing is
/// left.
pub fn params(message: &Message) -> Value {
    let span = message.params();
    let mut params: Value = span.map_or(Value::Null, |span| read(message.slice(span)));
    if let Value::Object(members) = &mut params {
        members.remove(OF_ONE_CONNECTION);
        // An empty object asks for the same as no `params`.
        if members.is_empty() {
            return Value::Null;
        }
    }
    params
}

/// Returns an object with the `result` or `error` of an answer; `null` if it has neither.
pub fn outcome(message: &Message) -> Value {
    let body = message.body();
    let member = |key: &str| {
        let span = json::member(body, 0..body.len(), key)?;
        Some(serde_json::json!({ key: read(&body[span]) }))
    };
    member("result").or_else(|| member("error")).unwrap_or(Value::Null)
}

/// Reads JSON for comparisons. A text that is nested too deeply to be read is a string.
fn read(json: &[u8]) -> Value {
    exact_value(json).unwrap_or_else(|_| String::from_utf8_lossy(json).into_owned().into())
}
