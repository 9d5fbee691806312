//! The state of an engine's log, folded on demand.

use std::sync::Arc;

use bytes::Bytes;
use serde_json::Value;

use super::api::{FrameFacts, HeldFrame, HeldLine, SessionFacts};
use super::wire::{self, ErrorObject};
use crate::clock;
use crate::engine::Engine;
use crate::log::query::Query;
use crate::log::record::Frame;
use crate::log::subject::RowSubject;
use crate::log::world::{FrameState, Row, SessionOverview, World};
use crate::log::{Log, Seq, Tail};
use crate::mcp::tree::Node;
use crate::tape::format::write_record;

/// A fold of a log that is brought up to date before it is read.
pub struct Reading {
    log: Arc<Log>,
    tail: Tail,
    world: World,
}

/// Number of frames to return if the request gives none.
const FRAMES: usize = 100;
/// Maximum number of frames or records in an answer.
const MAX_FRAMES: usize = 10_000;
/// Approximate maximum size of an answer in bytes: an answer is one line of limited length.
const MOST_BYTES: u64 = 16 << 20;

impl Reading {
    /// Creates a fold of `log` that has read no records yet.
    pub fn new(log: &Arc<Log>) -> Self {
        Self { log: Arc::clone(log), tail: log.tail(1), world: World::default() }
    }

    /// Wraps `world`, which is a fold of all records in `log`.
    pub fn of(log: &Arc<Log>, world: World) -> Self {
        Self { log: Arc::clone(log), tail: log.tail(log.last() + 1), world }
    }

    /// Folds in the records that exist now.
    pub fn catch_up(&mut self) {
        const BATCH: usize = 4096;
        let last = self.log.last();
        while self.tail.position() <= last {
            let records = self.tail.read(BATCH);
            if records.is_empty() {
                return;
            }
            records.iter().for_each(|record| self.world.apply(record));
            // No lists of matches are kept here, so the list of changed frames is not needed.
            self.world.touched.clear();
        }
    }

    /// Returns the sessions of the log, in order of number.
    pub fn sessions(&self) -> Vec<SessionFacts> {
        let world = &self.world;
        let name =
            |facts: &Option<crate::log::record::Facts>| facts.as_ref().and_then(|facts| facts.name.clone());
        let session = |session: &SessionOverview| SessionFacts {
            session: session.id,
            name: session.opened.name.clone(),
            client: name(&session.client),
            server: name(&session.server),
            era: session.era().map(|era| era.as_str().to_owned()),
            open: session.closed.is_none(),
            process: session.opened.pid,
            down: session.is_down,
            frames: session.frames,
            errors: session.errors,
            held: world
                .held
                .iter()
                .filter(|seq| world.row(**seq).is_some_and(|row| row.session == session.id))
                .count() as u64,
            since: self.log.clock().wall(session.since),
        };
        world.sessions.values().map(session).collect()
    }

    /// Returns the frames between two positions that match the query `filter`, in order of time:
    /// the oldest or the newest, at most `limit` (100 if not given, 10,000 at most) and about 16
    /// MiB.
    ///
    /// # Errors
    /// If `filter` is not a query.
    pub fn frames(
        &self,
        filter: &str,
        (from, to): (Option<Seq>, Option<Seq>),
        limit: Option<usize>,
        newest: bool,
    ) -> Result<Vec<FrameFacts>, ErrorObject> {
        let query = Query::parse(filter)
            .map_err(|error| ErrorObject::new(wire::INVALID_PARAMS, format!("filter: {error}")))?;
        let within = from.unwrap_or(0)..=to.unwrap_or(Seq::MAX);
        let fits = |row: &&Row| {
            within.contains(&row.seq) && query.matches(&RowSubject::new(&self.world, row, &self.log))
        };
        let limit = limit.unwrap_or(FRAMES).min(MAX_FRAMES);
        let mut bytes = 0;
        let frame = |row: &Row| {
            // The first frame is included whatever its size.
            (bytes < MOST_BYTES).then(|| {
                bytes += row.size;
                self.frame(row)
            })
        };
        let rows = self.world.rows.iter();
        Ok(match newest {
            true => {
                let mut frames: Vec<_> = rows.rev().filter(fits).take(limit).map_while(frame).collect();
                frames.reverse();
                frames
            }
            false => rows.filter(fits).take(limit).map_while(frame).collect(),
        })
    }

    fn frame(&self, row: &Row) -> FrameFacts {
        let world = &self.world;
        let mut state: Vec<String> = Vec::new();
        if let FrameState::Ended(outcome) = row.state {
            state.push(outcome.as_str().to_owned());
        }
        world.statuses(row, &mut |word| {
            if !state.iter().any(|known| known == word) {
                state.push(word.to_owned());
            }
        });
        let text = |name| world.text(name).map(str::to_owned);
        FrameFacts {
            seq: row.seq,
            time: clock::iso(self.log.clock().wall(row.at)),
            session: row.session,
            direction: row.direction.as_str().to_owned(),
            kind: row.kind.as_str().to_owned(),
            operation: row.op().map(|op| op.0),
            method: text(row.method),
            target: text(row.target),
            origin: row.origin().as_str().to_owned(),
            state,
            error: row.is_error,
            duration: row.duration().map(|duration| duration.as_secs_f64() * 1e3),
            size: row.size,
            message: self.log.get(row.seq).and_then(|record| record.frame().map(message)).unwrap_or_default(),
        }
    }

    /// Returns the frames that wait for a verdict, in the order in which they were stopped.
    pub fn held(&self, engine: &Engine) -> Vec<HeldFrame> {
        let amended = engine.breakpoints().amended;
        self.world.held.iter().filter_map(|seq| self.held_frame(*seq, amended.get(seq))).collect()
    }

    /// Returns a frame that waits for a verdict, with the line that is sent if it is accepted now.
    pub fn held_line(&self, engine: &Engine, seq: Seq) -> Option<HeldLine> {
        self.world.held.contains(&seq).then_some(())?;
        let held = self.held_frame(seq, engine.breakpoints().amended.get(&seq))?;
        let record = self.log.get(seq)?;
        let received = || String::from_utf8_lossy(record.frame()?.message.body()).into_owned().into();
        let line = held.amended.clone().or_else(received)?;
        Some(HeldLine { held, line })
    }

    fn held_frame(&self, seq: Seq, amended: Option<&Bytes>) -> Option<HeldFrame> {
        let row = self.world.row(seq)?;
        let record = self.log.get(seq)?;
        let handling = self.world.handling(seq);
        let text = |name| self.world.text(name).map(str::to_owned);
        let age = self.log.clock().now().since(handling.since.unwrap_or(row.at));
        Some(HeldFrame {
            id: seq,
            session: row.session,
            name: self.world.session_name(row.session).to_owned(),
            direction: row.direction.as_str().to_owned(),
            method: text(row.method),
            target: text(row.target),
            by: text(handling.why).or(text(handling.by)),
            age: u64::try_from(age.as_millis()).unwrap_or(u64::MAX),
            message: message(record.frame()?),
            amended: amended.map(|line| String::from_utf8_lossy(line).into_owned()),
        })
    }
}

/// Maximum number of levels of a message in a list: readers of JSON refuse 128 levels.
const MAX_LISTED_DEPTH: usize = 100;

/// Returns records of a log from position `from` on, as a JSON array of lines in tape format.
pub fn records(log: &Log, from: Seq, limit: Option<usize>) -> Vec<u8> {
    let mut array = b"[".to_vec();
    for record in log.window(from, limit.unwrap_or(1).min(MAX_FRAMES)) {
        if array.len() > 1 {
            array.push(b',');
        }
        write_record(&mut array, &record, log.clock().wall(record.at));
        array.pop();
        if array.len() as u64 >= MOST_BYTES {
            break;
        }
    }
    array.push(b']');
    array
}

/// Returns a message as JSON, or as a string if it is no JSON-RPC message, or is nested so deeply that a
/// peer could not read the list that it stands in.
fn message(frame: &Frame) -> Value {
    let text = || Value::from(String::from_utf8_lossy(frame.message.raw()).trim_end_matches(['\n', '\r']));
    match frame.message.is_rpc() {
        true => match Node::parse(frame.message.body()) {
            Ok(node) if node.size().1 <= MAX_LISTED_DEPTH => node.to_exact_value(),
            _ => text(),
        },
        false => text(),
    }
}
