//! Frames that wait, and which of them wait for which.
//!
//! A hold stops every later frame of its operation in the same direction. A held notification,
//! stray line or handshake freezes its whole lane, since nothing tells what may overtake it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::clock::Stamp;
use crate::log::operation::Operation;
use crate::log::record::{Frame, LaneId, OpId, Record, Role, Seq};
use crate::mcp::{Direction, Kind, Method};

/// A frame on its way through the pipeline.
#[derive(Debug, Clone)]
pub struct Passage {
    /// The place in its lane: the position of the frame that arrived, whatever replaced it since.
    pub order: Seq,
    pub lane: LaneId,
    pub record: Arc<Record>,
    pub operation: Option<Arc<Operation>>,
    /// Which of its messages answer requests of ours: one entry a message.
    pub ours: Vec<bool>,
    /// When it was stopped first.
    pub held_since: Option<Stamp>,
    /// HTTP headers that repeat the body stay as they came.
    pub keeps_headers: bool,
    /// The bytes to pass on, where they are not those of the message.
    pub wire: Option<Bytes>,
}

/// A frame that waits.
#[derive(Debug, Clone)]
pub struct Waiting {
    pub passage: Passage,
    pub reason: Reason,
}

/// The place of a frame in its lane: that of the frame that arrived, then its own, since several
/// can go in the place of one.
type Place = (Seq, Seq);

/// What a frame waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// A verdict; the chain goes on at this stage when it is a pass.
    Verdict { resume: usize },
    /// An earlier frame that is held; the chain goes on at this stage.
    Order { resume: usize },
}

/// Everything that waits in a session.
#[derive(Debug, Default)]
pub struct Holds {
    lanes: BTreeMap<LaneId, BTreeMap<Place, Waiting>>,
}

/// A lane with more waiting than this is not read any further.
pub const MOST_WAITING: usize = 500;
/// A lane with more waiting bytes than this is not read any further.
pub const MOST_WAITING_BYTES: usize = 64 << 20;

// === impl Passage ===

impl Passage {
    /// The position of the frame as it is now.
    pub fn seq(&self) -> Seq {
        self.record.seq
    }

    /// The frame as it is now.
    ///
    /// # Panics
    /// Never: a passage is only made from the record of a frame.
    pub fn frame(&self) -> &Frame {
        match self.record.frame() {
            Some(frame) => frame,
            None => unreachable!("a passage is made from the record of a frame"),
        }
    }

    fn place(&self) -> Place {
        (self.order, self.seq())
    }

    /// How long it has been held at `now`.
    pub fn held_for(&self, now: Stamp) -> Option<Duration> {
        self.held_since.map(|since| now.since(since))
    }

    fn ops(&self) -> impl Iterator<Item = OpId> + '_ {
        self.frame().links().iter().filter_map(|link| link.op)
    }

    fn shares_operation(&self, other: &Self) -> bool {
        self.ops().any(|op| other.ops().any(|its| its == op))
    }

    /// Whether nothing on its lane may overtake it while it is held.
    fn freezes(&self) -> bool {
        let frame = self.frame();
        // A client that lost its stream asks for what came behind the last id that it saw.
        if frame.http.as_ref().is_some_and(|http| http.event.as_ref().is_some_and(|event| event.id.is_some()))
        {
            return true;
        }
        match frame.message.kind() {
            Kind::Opaque(_) | Kind::Batch(_) => true,
            Kind::Notification { method, .. } => frame.link.op.is_none() && !Method::is_vital(method),
            Kind::Request { .. } | Kind::Response { .. } | Kind::Failure { .. } => {
                let method = self.operation.as_ref().map(|operation| &*operation.method);
                matches!(method, Some("initialize" | "server/discover"))
            }
        }
    }
}

// === impl Holds ===

impl Holds {
    pub fn is_empty(&self) -> bool {
        self.lanes.is_empty()
    }

    /// Whether a lane has nothing waiting.
    pub fn is_clear(&self, lane: LaneId) -> bool {
        !self.lanes.contains_key(&lane)
    }

    /// Whether a lane may take more.
    pub fn has_room(&self, lane: LaneId) -> bool {
        self.lanes.get(&lane).is_none_or(|waiting| {
            let bytes = |waiting: &Waiting| waiting.passage.frame().message.raw().len();
            waiting.len() < MOST_WAITING && waiting.values().map(bytes).sum::<usize>() < MOST_WAITING_BYTES
        })
    }

    /// Whether an earlier frame keeps `passage` back.
    pub fn blocks(&self, passage: &Passage) -> bool {
        let direction = passage.frame().direction;
        self.lanes.iter().any(|(lane, waiting)| {
            waiting.range(..passage.place()).any(|(_, earlier)| {
                let earlier = &earlier.passage;
                (*lane == passage.lane && earlier.freezes())
                    || (earlier.frame().direction == direction && earlier.shares_operation(passage))
            })
        })
    }

    pub fn insert(&mut self, waiting: Waiting) {
        let (lane, place) = (waiting.passage.lane, waiting.passage.place());
        self.lanes.entry(lane).or_default().insert(place, waiting);
    }

    /// Takes out the frame `seq` if it waits for a verdict.
    pub fn decide(&mut self, seq: Seq) -> Option<(Passage, usize)> {
        let found = self.all().find_map(|waiting| match waiting.reason {
            Reason::Verdict { resume } if waiting.passage.seq() == seq => {
                Some((waiting.passage.lane, waiting.passage.place(), resume))
            }
            _ => None,
        });
        let (lane, place, resume) = found?;
        Some((self.take(lane, place)?.passage, resume))
    }

    /// Takes out the held request of `op`, which its sender takes back.
    pub fn withdraw(&mut self, direction: Direction, op: OpId) -> Option<Passage> {
        let (lane, place) = self.all().find_map(|waiting| {
            let frame = waiting.passage.frame();
            let is_request = matches!(frame.link.role, Role::Request | Role::Retry);
            (is_request && frame.direction == direction && frame.link.op == Some(op))
                .then_some((waiting.passage.lane, waiting.passage.place()))
        })?;
        Some(self.take(lane, place)?.passage)
    }

    /// Takes out the first frame that waited for its turn and may go on now, and says at which
    /// stage.
    pub fn next_free(&mut self) -> Option<(Passage, usize)> {
        let free = self.all().find_map(|waiting| match waiting.reason {
            Reason::Order { resume } if !self.blocks(&waiting.passage) => {
                Some((waiting.passage.lane, waiting.passage.place(), resume))
            }
            _ => None,
        });
        let (lane, place, resume) = free?;
        Some((self.take(lane, place)?.passage, resume))
    }

    /// Whether anything that goes in `direction` waits.
    pub fn any_towards(&self, direction: Direction) -> bool {
        self.all().any(|waiting| waiting.passage.frame().direction == direction)
    }

    /// Takes out everything that goes in `direction`.
    pub fn drain_towards(&mut self, direction: Direction) -> Vec<Passage> {
        let found = |waiting: &&Waiting| waiting.passage.frame().direction == direction;
        let places: Vec<_> =
            self.all().filter(found).map(|waiting| (waiting.passage.lane, waiting.passage.place())).collect();
        places.into_iter().filter_map(|(lane, place)| Some(self.take(lane, place)?.passage)).collect()
    }

    /// Takes out everything that waits on a lane.
    pub fn drain_lane(&mut self, lane: LaneId) -> Vec<Passage> {
        self.lanes.remove(&lane).into_iter().flatten().map(|(_, waiting)| waiting.passage).collect()
    }

    /// The frames that wait for a verdict, in the order of their arrival on each lane.
    pub fn undecided(&self) -> impl Iterator<Item = &Passage> {
        let undecided = |waiting: &&Waiting| matches!(waiting.reason, Reason::Verdict { .. });
        self.all().filter(undecided).map(|waiting| &waiting.passage)
    }

    fn all(&self) -> impl Iterator<Item = &Waiting> {
        self.lanes.values().flat_map(BTreeMap::values)
    }

    fn take(&mut self, lane: LaneId, place: Place) -> Option<Waiting> {
        let waiting = self.lanes.get_mut(&lane)?;
        let taken = waiting.remove(&place);
        if waiting.is_empty() {
            self.lanes.remove(&lane);
        }
        taken
    }
}
