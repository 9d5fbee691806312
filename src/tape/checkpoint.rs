//! State that later parts and the seal repeat, so that they can be read without the parts before
//! them.

use std::collections::BTreeMap;

use serde_json::value::RawValue;

use crate::log::record::{Body, Record, SessionId};
use crate::mcp::Direction;

/// Lines that a reader needs if it begins at a later part, or reads the seal only.
#[derive(Default)]
pub struct Checkpoint {
    /// Lines that opened the sessions that are still open, and the facts of their sides, for the
    /// checkpoint of the next part.
    open: BTreeMap<(SessionId, Side), Vec<u8>>,
    /// Facts of the sides of the latest sessions, for the seal.
    facts: BTreeMap<(SessionId, Side), Vec<u8>>,
}

/// Kind of a session line: 0 for its beginning, 1 and 2 for the facts of the client and the server.
type Side = u8;

/// A change of the checkpoint, applied once its block is written.
pub enum CheckpointChange {
    /// A line of a session, which replaces the earlier line of that kind.
    Line(SessionId, Side, Vec<u8>),
    /// The end of a session, whose lines are no longer needed.
    Closed(SessionId),
}

/// Maximum bytes of facts in the seal, which bounds the number of remembered sides: readers look
/// for the seal in a limited piece at the end of the file.
const SEALED_FACTS: usize = 32 << 10;

impl CheckpointChange {
    /// Returns the change that `record`, written as `line`, makes.
    pub fn of(record: &Record, line: &[u8]) -> Option<Self> {
        let side = match &record.body {
            Body::Opened(_) => 0,
            Body::Facts(facts) => 1 + u8::from(facts.side == Direction::ToClient),
            Body::Closed(_) => return Some(Self::Closed(record.session)),
            _ => return None,
        };
        Some(Self::Line(record.session, side, line.to_vec()))
    }
}

impl Checkpoint {
    /// Returns the lines of the open sessions.
    pub fn open(&self) -> impl Iterator<Item = &Vec<u8>> {
        self.open.values()
    }

    /// Applies a change.
    pub fn apply(&mut self, change: CheckpointChange) {
        match change {
            CheckpointChange::Closed(closed) => self.open.retain(|(session, _), _| *session != closed),
            CheckpointChange::Line(session, side, line) => {
                if side > 0 {
                    self.facts.insert((session, side), line.clone());
                    while self.facts.values().map(Vec::len).sum::<usize>() > SEALED_FACTS {
                        self.facts.pop_first();
                    }
                }
                self.open.insert((session, side), line);
            }
        }
    }

    /// Returns the newest facts, those of older sessions first.
    pub fn facts(&self) -> Vec<Box<RawValue>> {
        // Lines were written as JSON by this program, so none of them fails to parse.
        let value = |line: &Vec<u8>| serde_json::from_slice(line).ok();
        self.facts.values().filter_map(value).collect()
    }
}
