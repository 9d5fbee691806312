//! What later parts and the seal repeat, so that they can be read without what came before.

use std::collections::BTreeMap;

use serde_json::value::RawValue;

use crate::log::record::{Body, Record, SessionId};
use crate::mcp::Direction;

/// What a later reader wants to know without reading everything before it.
#[derive(Default)]
pub struct Checkpoint {
    /// The lines that open sessions began with and that say what is known of their sides, for the
    /// checkpoint of the next part.
    open: BTreeMap<(SessionId, Side), Vec<u8>>,
    /// What was learnt of the sides of the latest sessions, for the seal.
    facts: BTreeMap<(SessionId, Side), Vec<u8>>,
}

/// Which line of a session: its beginning, or the facts of one side.
type Side = u8;

/// A change of what stands, once its block is written.
pub enum CheckpointChange {
    Line(SessionId, Side, Vec<u8>),
    Closed(SessionId),
}

/// Bytes of facts that the seal repeats, and so the sides that are remembered for it: it has to be
/// found by reading the end of the file.
const SEALED_FACTS: usize = 32 << 10;

impl CheckpointChange {
    /// What `record`, written as `line`, changes.
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
    /// The lines of what is open.
    pub fn open(&self) -> impl Iterator<Item = &Vec<u8>> {
        self.open.values()
    }

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

    /// The newest facts, oldest first.
    pub fn facts(&self) -> Vec<Box<RawValue>> {
        // They were written by us as JSON.
        let value = |line: &Vec<u8>| serde_json::from_slice(line).ok();
        self.facts.values().filter_map(value).collect()
    }
}
