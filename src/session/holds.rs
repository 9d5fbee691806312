//! Frames that wait, and the order that holds keep.
//!
//! A hold stops every later frame of its operation in the same direction. A held notification,
//! stray line or handshake freezes its whole lane, since nothing tells which frames may overtake it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::in_flight::InFlight;
use crate::log::record::{LaneId, OpId, Role, Seq};
use crate::mcp::Direction;

/// A frame that waits.
#[derive(Clone)]
pub struct WaitingFrame {
    /// The frame.
    pub in_flight: InFlight,
    /// The reason why it waits.
    pub reason: HoldReason,
}

/// The reason why a frame waits. `resume` is the stage of the chain at which it goes on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HoldReason {
    /// A controller decides.
    Decision {
        /// The next stage.
        resume: usize,
        /// Time that the frame waits while no controller is attached.
        patience: Duration,
        /// The text that goes on in its place once it is accepted.
        amended: Option<Bytes>,
    },
    /// An interceptor computes the verdict.
    Pending {
        /// The next stage.
        resume: usize,
        /// The name of the interceptor.
        by: Arc<str>,
    },
    /// An earlier frame is held.
    Order {
        /// The next stage.
        resume: usize,
    },
}

/// The position of a frame in its lane: that of the frame that arrived, then its own, since several
/// frames can go on in the place of one.
type LanePosition = (Seq, Seq);

/// Frames of a session that wait.
#[derive(Default)]
pub struct Holds {
    lanes: BTreeMap<LaneId, BTreeMap<LanePosition, WaitingFrame>>,
}

/// Maximum number of frames that wait on a lane before it is read no further.
pub const MAX_WAITING: usize = 500;
/// Maximum number of message bytes that wait on a lane before it is read no further.
pub const MAX_WAITING_BYTES: usize = 64 << 20;

impl HoldReason {
    /// Returns the stage at which the chain goes on.
    pub fn resume(&self) -> usize {
        match self {
            Self::Decision { resume, .. } | Self::Pending { resume, .. } | Self::Order { resume } => *resume,
        }
    }
}

impl Holds {
    /// Returns `true` if nothing waits.
    pub fn is_empty(&self) -> bool {
        self.lanes.is_empty()
    }

    /// Returns `true` if nothing waits on `lane`.
    pub fn is_clear(&self, lane: LaneId) -> bool {
        !self.lanes.contains_key(&lane)
    }

    /// Returns `true` if more frames may wait on `lane`.
    pub fn has_room(&self, lane: LaneId) -> bool {
        self.lanes.get(&lane).is_none_or(|waiting| {
            let bytes = |waiting: &WaitingFrame| waiting.in_flight.frame().message.raw().len();
            waiting.len() < MAX_WAITING && waiting.values().map(bytes).sum::<usize>() < MAX_WAITING_BYTES
        })
    }

    /// Returns `true` if `in_flight` must wait for an earlier frame.
    pub fn blocks(&self, in_flight: &InFlight) -> bool {
        let direction = in_flight.frame().direction;
        self.lanes.iter().any(|(lane, waiting)| {
            waiting.range(..position(in_flight)).any(|(_, earlier)| {
                let earlier = &earlier.in_flight;
                (*lane == in_flight.lane && earlier.freezes_lane())
                    || (earlier.frame().direction == direction && earlier.shares_operation(in_flight))
            })
        })
    }

    /// Adds a frame.
    pub fn insert(&mut self, waiting: WaitingFrame) {
        let (lane, position) = (waiting.in_flight.lane, position(&waiting.in_flight));
        self.lanes.entry(lane).or_default().insert(position, waiting);
    }

    /// Takes out frame `seq` if it waits for a verdict, of a controller or of an interceptor.
    pub fn take_undecided(&mut self, seq: Seq) -> Option<WaitingFrame> {
        self.take_first(|waiting| {
            waiting.in_flight.seq() == seq && !matches!(waiting.reason, HoldReason::Order { .. })
        })
    }

    /// Returns frame `seq` if it waits for a verdict, of a controller or of an interceptor.
    pub fn undecided(&self, seq: Seq) -> Option<&WaitingFrame> {
        let found = |waiting: &&WaitingFrame| {
            waiting.in_flight.seq() == seq && !matches!(waiting.reason, HoldReason::Order { .. })
        };
        self.all().find(found)
    }

    /// Sets the text that goes on in the place of frame `seq`. Returns `false` if it is not held.
    pub fn amend(&mut self, seq: Seq, text: Bytes) -> bool {
        let mut all = self.lanes.values_mut().flat_map(BTreeMap::values_mut);
        match all.find(|waiting| waiting.in_flight.seq() == seq).map(|waiting| &mut waiting.reason) {
            Some(HoldReason::Decision { amended, .. }) => {
                *amended = Some(text);
                true
            }
            _ => false,
        }
    }

    /// Takes out the held request of `op`, which its sender cancels.
    pub fn withdraw(&mut self, direction: Direction, op: OpId) -> Option<WaitingFrame> {
        self.take_first(|waiting| {
            let frame = waiting.in_flight.frame();
            let is_request = matches!(frame.link.role, Role::Request | Role::Retry);
            is_request && frame.direction == direction && frame.link.op == Some(op)
        })
    }

    /// Takes out the first frame that waited for an earlier one and is free to go on.
    pub fn next_free(&mut self) -> Option<WaitingFrame> {
        let free = self.all().find_map(|waiting| {
            let is_free =
                matches!(waiting.reason, HoldReason::Order { .. }) && !self.blocks(&waiting.in_flight);
            is_free.then(|| (waiting.in_flight.lane, position(&waiting.in_flight)))
        });
        let (lane, position) = free?;
        self.remove(lane, position)
    }

    /// Returns `true` if any frame towards `direction` waits.
    pub fn any_towards(&self, direction: Direction) -> bool {
        self.all().any(|waiting| waiting.in_flight.frame().direction == direction)
    }

    /// Takes out all frames towards `direction`.
    pub fn drain_towards(&mut self, direction: Direction) -> Vec<WaitingFrame> {
        let found = |waiting: &&WaitingFrame| waiting.in_flight.frame().direction == direction;
        let positions: Vec<_> = self
            .all()
            .filter(found)
            .map(|waiting| (waiting.in_flight.lane, position(&waiting.in_flight)))
            .collect();
        positions.into_iter().filter_map(|(lane, at)| self.remove(lane, at)).collect()
    }

    /// Takes out all frames that wait on `lane`.
    pub fn drain_lane(&mut self, lane: LaneId) -> Vec<WaitingFrame> {
        self.lanes.remove(&lane).into_iter().flatten().map(|(_, waiting)| waiting).collect()
    }

    /// Returns the frames on which a controller decides, in the order of their arrival on each lane.
    pub fn held(&self) -> impl Iterator<Item = &WaitingFrame> {
        self.all().filter(|waiting| matches!(waiting.reason, HoldReason::Decision { .. }))
    }

    /// Returns `true` if any frame waits for a verdict, of a controller or of an interceptor.
    pub fn any_undecided(&self) -> bool {
        self.all().any(|waiting| !matches!(waiting.reason, HoldReason::Order { .. }))
    }

    fn all(&self) -> impl Iterator<Item = &WaitingFrame> {
        self.lanes.values().flat_map(BTreeMap::values)
    }

    fn take_first(&mut self, wanted: impl Fn(&WaitingFrame) -> bool) -> Option<WaitingFrame> {
        let found = self.all().find(|waiting| wanted(waiting));
        let (lane, at) = found.map(|waiting| (waiting.in_flight.lane, position(&waiting.in_flight)))?;
        self.remove(lane, at)
    }

    fn remove(&mut self, lane: LaneId, position: LanePosition) -> Option<WaitingFrame> {
        let waiting = self.lanes.get_mut(&lane)?;
        let taken = waiting.remove(&position);
        if waiting.is_empty() {
            self.lanes.remove(&lane);
        }
        taken
    }
}

fn position(in_flight: &InFlight) -> LanePosition {
    (in_flight.order, in_flight.seq())
}
