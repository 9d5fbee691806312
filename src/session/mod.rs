//! One session: the way of every message from the lane it arrives on to the queue it leaves by.
//!
//! Receive → **record** (before anyone rules, so that a crash leaves evidence) → **rule** (the
//! chain, highest priority first) → **deliver**, answer, drop or hold → **confirm** that the
//! bytes were written. The session does no I/O and knows no thread: whoever reads a lane calls
//! [`Session::receive`] and then flushes the lane's queue.

mod error;
pub mod holds;
mod lane;
mod long_line;
mod own;
mod pipeline;
mod splice;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use bytes::Bytes;
use parking_lot::{Condvar, Mutex};

use tokio::sync::Notify;

use self::holds::{Holds, InFlight, Reason, Waiting};
use self::splice::is_request;
use crate::intercept::{Chain, Verdict};
use crate::log::Log;
use crate::log::facts::Known;
use crate::log::operation::{Correlation, Operations};
use crate::log::record::{
    Body, Channel, Closed, Ended, Exit, LaneId, Level, Note, OpId, Opened, Origin, Outcome, Sent, Seq,
    SessionId,
};
use crate::mcp::{Direction, Eras, Message, Opaque};
use crate::transport::QueuedWrite;

pub use error::SessionError;
use lane::OpenLane;
pub use lane::{Arrived, Form, Item, Lane, Receipt, Scope};

/// Runs the verdicts that come later.
pub type Later = Box<dyn Fn(Seq, std::pin::Pin<Box<dyn Future<Output = Verdict> + Send>>) + Send + Sync>;

/// A running session.
pub struct Session {
    id: SessionId,
    name: String,
    about: Opened,
    log: Arc<Log>,
    chain: Chain,
    later: Later,
    state: Mutex<State>,
    /// Signalled whenever something stops waiting: to threads, and to tasks.
    moved: Condvar,
    stirred: Notify,
    activity: AtomicU64,
}

struct State {
    lanes: BTreeMap<LaneId, OpenLane>,
    /// Lanes opened so far.
    opened: u32,
    /// Lanes that have ended and still have something waiting.
    ending: BTreeSet<LaneId>,
    holds: Holds,
    operations: Operations,
    eras: Eras,
    known: Known,
    /// The lane whose reader is in here now and will flush its queue itself.
    inline: Option<LaneId>,
    /// The lane on which a line over the inspect limit is under way, its frame and length.
    long: BTreeMap<LaneId, (Seq, u64)>,
    closed: bool,
}

// === impl Session ===

impl Session {
    /// Opens a session and records it.
    pub fn open(
        id: SessionId,
        opened: Opened,
        log: Arc<Log>,
        chain: Chain,
        operations: Arc<AtomicU32>,
        later: Later,
    ) -> Arc<Self> {
        let (name, about) = (opened.name.clone(), opened.clone());
        log.append(id, Body::Opened(opened));
        let state = State {
            lanes: BTreeMap::new(),
            opened: 0,
            ending: BTreeSet::new(),
            holds: Holds::default(),
            operations: Operations::new(operations),
            eras: Eras::default(),
            known: Known::default(),
            inline: None,
            long: BTreeMap::new(),
            closed: false,
        };
        Arc::new(Self {
            id,
            name,
            about,
            log,
            chain,
            later,
            state: Mutex::new(state),
            moved: Condvar::new(),
            stirred: Notify::new(),
            activity: AtomicU64::new(0),
        })
    }

    pub fn id(&self) -> SessionId {
        self.id
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// What both sides have shown themselves to be.
    pub fn eras(&self) -> Eras {
        self.state.lock().eras.clone()
    }

    /// Opens a lane. Lanes are numbered from 1 in the order of their opening.
    pub fn open_lane(&self, lane: Lane) -> LaneId {
        let mut state = self.state.lock();
        state.opened += 1;
        let id = LaneId(state.opened);
        if state.closed {
            lane.forward.end();
        }
        state.lanes.insert(id, OpenLane { lane, ended: false });
        id
    }

    /// Whether `lane` has as much waiting as it may.
    pub fn is_full(&self, lane: LaneId) -> bool {
        !self.state.lock().holds.has_room(lane)
    }

    /// Whether what arrives on `lane` can no longer be written to anyone.
    pub fn is_cut_off(&self, lane: LaneId) -> bool {
        self.state.lock().lanes.get(&lane).is_none_or(|open| open.lane.forward.is_closed())
    }

    /// Forgets a lane. What still waits on it goes nowhere: a request is withdrawn, since its sender
    /// has left, and anything else is dropped. `why` tells of an end that the peers did not mean.
    pub fn close_lane(&self, lane: LaneId, why: Option<&str>) {
        let mut state = self.state.lock();
        let Some(open) = state.lanes.remove(&lane) else { return };
        state.ending.remove(&lane);
        state.long.remove(&lane);
        for in_flight in state.holds.drain_lane(lane) {
            self.log.unpin(in_flight.seq());
            let outcome = if is_request(&in_flight) { Outcome::Withdrawn } else { Outcome::Dropped };
            self.gone(&in_flight, outcome, Some(why.unwrap_or("its exchange ended")));
        }
        if let Some(exchange) = open.lane.exchange(lane).filter(|exchange| *exchange == lane) {
            state.operations.leave(exchange);
        }
        if why.is_some() || open.lane.form == Form::Event {
            let why = why.map(str::to_owned);
            self.log.append(self.id, Body::Ended(Ended { lane, why }));
        }
        self.advance(&mut state);
    }

    /// Ids on a lane turn out to be unique elsewhere than was thought when it was opened.
    pub fn rescope(&self, lane: LaneId, scope: Scope, correlation: Correlation) {
        if let Some(open) = self.state.lock().lanes.get_mut(&lane) {
            open.lane.scope = scope;
            open.lane.correlation = correlation;
        }
    }

    /// No answer will come to what `op` asked: its id may be used again.
    pub fn give_up(&self, op: OpId) {
        self.state.lock().operations.withdraw(op);
    }

    /// Waits until `lane` may take more.
    pub async fn admitted(&self, lane: LaneId) {
        self.waits(|state| state.holds.has_room(lane)).await;
    }

    /// Waits until nothing is held on `lane`.
    pub async fn cleared(&self, lane: LaneId) {
        self.waits(|state| state.holds.is_clear(lane)).await;
    }

    async fn waits(&self, done: impl Fn(&State) -> bool) {
        loop {
            let stirred = self.stirred.notified();
            {
                let state = self.state.lock();
                if state.closed || done(&state) {
                    return;
                }
            }
            stirred.await;
        }
    }

    /// Blocks while `lane` is full.
    pub fn admit(&self, lane: LaneId) {
        let mut state = self.state.lock();
        self.note(None, Level::Warning, format!("lane {} stopped reading: too much is held", lane.0));
        while !state.holds.has_room(lane) && !state.closed {
            self.moved.wait(&mut state);
        }
    }

    /// Takes in a whole line, terminator included.
    pub fn receive(&self, lane: LaneId, raw: Bytes) {
        let Some(channel) = self.state.lock().lanes.get(&lane).map(|open| open.lane.channel) else { return };
        let message = match channel {
            Channel::Main | Channel::Http => Message::parse(raw),
            Channel::Stderr => Message::opaque(raw, Opaque::Text),
        };
        self.receive_item(lane, Item { channel, ..Item::message(message) });
    }

    /// Takes in what arrived on a lane; none when the lane is closed.
    pub fn receive_item(&self, lane: LaneId, item: Item) -> Option<Arrived> {
        let mut state = self.state.lock();
        if !state.lanes.contains_key(&lane) {
            return None;
        }
        state.inline = Some(lane);
        let in_flight = self.record(&mut state, lane, Origin::Wire, item, false);
        let arrived = Arrived { seq: in_flight.seq(), op: in_flight.frame().link.op };
        self.dispatch(&mut state, in_flight);
        state.inline = None;
        Some(arrived)
    }

    /// Takes in what goes on changed by us, on the orders of `by`: what arrived is recorded as it
    /// came, and what goes in its place beside it.
    pub fn receive_remapped(&self, lane: LaneId, item: Item, by: &str, instead: Item) -> Seq {
        let mut state = self.state.lock();
        state.inline = Some(lane);
        let in_flight = self.record(&mut state, lane, Origin::Wire, item, false);
        let seq = in_flight.seq();
        let remapped = self.remap(&in_flight, by, instead);
        self.dispatch(&mut state, remapped);
        state.inline = None;
        seq
    }

    /// Takes in what nobody is asked about, such as the keep-alives of a stream, ahead of whatever
    /// is held on the lane.
    pub fn pass_item(&self, lane: LaneId, item: Item) {
        let mut state = self.state.lock();
        let in_flight = self.record(&mut state, lane, Origin::Wire, item, false);
        self.forward(&state, &in_flight);
    }

    /// Passes on bytes that no frame is made of, ahead of whatever is held on the lane.
    pub fn pass(&self, lane: LaneId, bytes: Bytes) {
        let state = self.state.lock();
        if let Some(open) = state.lanes.get(&lane) {
            open.lane.forward.push(QueuedWrite { bytes, receipt: None, piece: None });
        }
    }

    /// Takes in the end of a lane. It is an item in order: the other side sees it after the last
    /// frame that is held.
    pub fn end(&self, lane: LaneId) {
        let mut state = self.state.lock();
        if let Some(open) = state.lanes.get_mut(&lane) {
            open.ended = true;
            state.ending.insert(lane);
        }
        self.close_ended(&mut state);
    }

    /// Writes what is queued for the queue of `lane`. Blocks while its peer does not read.
    pub fn flush(&self, lane: LaneId) {
        let Some(queue) = self.state.lock().lanes.get(&lane).map(|open| Arc::clone(&open.lane.forward))
        else {
            return;
        };
        queue.flush(&mut |receipt, written| self.confirm(receipt, written));
    }

    /// Records that a frame's bytes were written, or could not be.
    pub fn confirm(&self, receipt: Receipt, written: bool) {
        self.activity.fetch_add(1, Ordering::Relaxed);
        let held = receipt.held_since.map(|since| self.log.clock().now().since(since));
        let (outcome, why) = match written {
            true => (Outcome::Forwarded, None),
            false => (Outcome::Dropped, Some("the peer is gone".to_owned())),
        };
        let sent = Sent { frame: receipt.frame, outcome, held, length: receipt.length, why };
        self.log.append(self.id, Body::Sent(sent));
    }

    /// Gives the verdict on a held frame.
    ///
    /// # Errors
    /// When the frame is not held, or an answer is given to something that is no request.
    pub fn decide(&self, seq: Seq, by: &str, verdict: Verdict) -> Result<(), SessionError> {
        let mut state = self.state.lock();
        let (in_flight, resume) = state.holds.decide(seq).ok_or(SessionError::NotHeld(seq))?;
        if matches!(verdict, Verdict::Answer(_)) && !is_request(&in_flight) {
            state.holds.insert(Waiting { in_flight, reason: Reason::Verdict { resume } });
            return Err(SessionError::NoRequest(seq));
        }
        self.log.unpin(seq);
        self.ruled(seq, by, verdict.kind(), verdict.remark().map(str::to_owned));
        self.apply(&mut state, in_flight, verdict, resume);
        self.advance(&mut state);
        Ok(())
    }

    /// Gives a verdict on everything that is held, in the order of arrival on each lane, until
    /// nothing is.
    pub fn release_all(&self, by: &str, verdict: &dyn Fn(Seq) -> Verdict) {
        loop {
            let next = self.state.lock().holds.undecided().next().map(InFlight::seq);
            // Another may have decided it in between; then there is a next one, or none.
            let Some(seq) = next else { return };
            let _ = self.decide(seq, by, verdict(seq));
        }
    }

    /// What waits for a verdict.
    pub fn held(&self) -> Vec<Seq> {
        self.state.lock().holds.undecided().map(InFlight::seq).collect()
    }

    /// Changes whenever a message arrives or was written.
    pub fn activity(&self) -> u64 {
        self.activity.load(Ordering::Relaxed)
    }

    /// Whether the client takes nothing any more, although the server still speaks to it.
    pub fn is_unheard(&self) -> bool {
        let state = self.state.lock();
        let main = |open: &&OpenLane| {
            open.lane.direction == Direction::ToClient && open.lane.channel == Channel::Main
        };
        state.lanes.values().find(main).is_some_and(|open| !open.ended && open.lane.forward.is_closed())
    }

    /// Drops everything that is held or waits.
    pub fn drop_all(&self, why: &str) {
        let mut state = self.state.lock();
        for direction in [Direction::ToServer, Direction::ToClient] {
            self.abandon(&mut state, direction, why);
        }
        self.advance(&mut state);
    }

    /// How many requests went in `direction` and have no answer yet.
    pub fn in_flight(&self, direction: Direction) -> usize {
        self.state.lock().operations.in_flight(direction).count()
    }

    /// A frame that waits for a verdict.
    pub fn held_frame(&self, seq: Seq) -> Option<InFlight> {
        self.state.lock().holds.undecided().find(|in_flight| in_flight.seq() == seq).cloned()
    }

    /// The server has ended: nothing can be brought to it any more. What it said and is held can
    /// still be delivered.
    pub fn server_gone(&self) {
        let mut state = self.state.lock();
        self.abandon(&mut state, Direction::ToServer, "the server ended");
        let towards = state.lanes.values().filter(|open| open.lane.direction == Direction::ToServer);
        towards.for_each(|open| open.lane.forward.end());
        self.stir();
    }

    fn abandon(&self, state: &mut State, direction: Direction, why: &str) {
        for in_flight in state.holds.drain_towards(direction) {
            self.log.unpin(in_flight.seq());
            self.gone(&in_flight, Outcome::Dropped, Some(why));
        }
    }

    /// Whether everything for the client is decided and written.
    pub fn is_delivered(&self) -> bool {
        let state = self.state.lock();
        !state.holds.any_towards(Direction::ToClient)
            && state
                .lanes
                .values()
                .filter(|open| open.lane.direction == Direction::ToClient)
                .all(|open| open.lane.forward.is_idle())
    }

    /// Closes the queues towards the server, once what is queued for it is written.
    pub fn hang_up(&self) {
        let state = self.state.lock();
        let towards = state.lanes.values().filter(|open| open.lane.direction == Direction::ToServer);
        towards.for_each(|open| open.lane.forward.end());
    }

    pub fn is_closed(&self) -> bool {
        self.state.lock().closed
    }

    /// Ends the session: what is still held is recorded as dropped, every queue is closed.
    pub fn close(&self, reason: &str, exit: Option<Exit>) {
        let mut state = self.state.lock();
        if std::mem::replace(&mut state.closed, true) {
            return;
        }
        for direction in [Direction::ToServer, Direction::ToClient] {
            self.abandon(&mut state, direction, "the session ended");
        }
        for open in state.lanes.values() {
            open.lane.forward.end();
        }
        self.stir();
        self.log.append(self.id, Body::Closed(Closed { reason: reason.to_owned(), exit }));
    }

    fn stir(&self) {
        self.moved.notify_all();
        self.stirred.notify_waiters();
    }

    /// Adds a remark of the engine to the log.
    pub fn note(&self, frame: Option<Seq>, level: Level, text: String) {
        self.log.append(self.id, Body::Note(Note { frame, mark: None, level, by: "shadowcat".into(), text }));
    }
}
