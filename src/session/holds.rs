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
pub struct InFlight {
    /// The position in its lane: the position of the frame that arrived, whatever replaced it since.
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
    pub in_flight: InFlight,
    pub reason: Reason,
}

/// The position of a frame in its lane: that of the frame that arrived, then its own, since several
/// can go in the position of one.
type LanePosition = (Seq, Seq);

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
    lanes: BTreeMap<LaneId, BTreeMap<LanePosition, Waiting>>,
}

/// A lane with more waiting than this is not read any further.
pub const MOST_WAITING: usize = 500;
/// A lane with more waiting bytes than this is not read any further.
pub const MOST_WAITING_BYTES: usize = 64 << 20;

// === impl InFlight ===

impl InFlight {
    /// The position of the frame as it is now.
    pub fn seq(&self) -> Seq {
        self.record.seq
    }

    /// The frame as it is now.
    ///
    /// # Panics
    /// Never: a in_flight is only made from the record of a frame.
    pub fn frame(&self) -> &Frame {
        match self.record.frame() {
            Some(frame) => frame,
            None => unreachable!("a in_flight is made from the record of a frame"),
        }
    }

    fn position(&self) -> LanePosition {
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
            let bytes = |waiting: &Waiting| waiting.in_flight.frame().message.raw().len();
            waiting.len() < MOST_WAITING && waiting.values().map(bytes).sum::<usize>() < MOST_WAITING_BYTES
        })
    }

    /// Whether an earlier frame keeps `in_flight` back.
    pub fn blocks(&self, in_flight: &InFlight) -> bool {
        let direction = in_flight.frame().direction;
        self.lanes.iter().any(|(lane, waiting)| {
            waiting.range(..in_flight.position()).any(|(_, earlier)| {
                let earlier = &earlier.in_flight;
                (*lane == in_flight.lane && earlier.freezes())
                    || (earlier.frame().direction == direction && earlier.shares_operation(in_flight))
            })
        })
    }

    pub fn insert(&mut self, waiting: Waiting) {
        let (lane, position) = (waiting.in_flight.lane, waiting.in_flight.position());
        self.lanes.entry(lane).or_default().insert(position, waiting);
    }

    /// Takes out the frame `seq` if it waits for a verdict.
    pub fn decide(&mut self, seq: Seq) -> Option<(InFlight, usize)> {
        let found = self.all().find_map(|waiting| match waiting.reason {
            Reason::Verdict { resume } if waiting.in_flight.seq() == seq => {
                Some((waiting.in_flight.lane, waiting.in_flight.position(), resume))
            }
            _ => None,
        });
        let (lane, position, resume) = found?;
        Some((self.remove(lane, position)?.in_flight, resume))
    }

    /// Takes out the held request of `op`, which its sender takes back.
    pub fn withdraw(&mut self, direction: Direction, op: OpId) -> Option<InFlight> {
        let (lane, position) = self.all().find_map(|waiting| {
            let frame = waiting.in_flight.frame();
            let is_request = matches!(frame.link.role, Role::Request | Role::Retry);
            (is_request && frame.direction == direction && frame.link.op == Some(op))
                .then_some((waiting.in_flight.lane, waiting.in_flight.position()))
        })?;
        Some(self.remove(lane, position)?.in_flight)
    }

    /// Takes out the first frame that waited for its turn and may go on now, and says at which
    /// stage.
    pub fn next_free(&mut self) -> Option<(InFlight, usize)> {
        let free = self.all().find_map(|waiting| match waiting.reason {
            Reason::Order { resume } if !self.blocks(&waiting.in_flight) => {
                Some((waiting.in_flight.lane, waiting.in_flight.position(), resume))
            }
            _ => None,
        });
        let (lane, position, resume) = free?;
        Some((self.remove(lane, position)?.in_flight, resume))
    }

    /// Whether anything that goes in `direction` waits.
    pub fn any_towards(&self, direction: Direction) -> bool {
        self.all().any(|waiting| waiting.in_flight.frame().direction == direction)
    }

    /// Takes out everything that goes in `direction`.
    pub fn drain_towards(&mut self, direction: Direction) -> Vec<InFlight> {
        let found = |waiting: &&Waiting| waiting.in_flight.frame().direction == direction;
        let positions: Vec<_> = self
            .all()
            .filter(found)
            .map(|waiting| (waiting.in_flight.lane, waiting.in_flight.position()))
            .collect();
        positions
            .into_iter()
            .filter_map(|(lane, position)| Some(self.remove(lane, position)?.in_flight))
            .collect()
    }

    /// Takes out everything that waits on a lane.
    pub fn drain_lane(&mut self, lane: LaneId) -> Vec<InFlight> {
        self.lanes.remove(&lane).into_iter().flatten().map(|(_, waiting)| waiting.in_flight).collect()
    }

    /// The frames that wait for a verdict, in the order of their arrival on each lane.
    pub fn undecided(&self) -> impl Iterator<Item = &InFlight> {
        let undecided = |waiting: &&Waiting| matches!(waiting.reason, Reason::Verdict { .. });
        self.all().filter(undecided).map(|waiting| &waiting.in_flight)
    }

    fn all(&self) -> impl Iterator<Item = &Waiting> {
        self.lanes.values().flat_map(BTreeMap::values)
    }

    fn remove(&mut self, lane: LaneId, position: LanePosition) -> Option<Waiting> {
        let waiting = self.lanes.get_mut(&lane)?;
        let taken = waiting.remove(&position);
        if waiting.is_empty() {
            self.lanes.remove(&lane);
        }
        taken
    }
}
