//! Session: the path of every message from the lane on which it arrives to the queue from which it is
//! written.
//!
//! Receive → **record** (before any verdict, so that a crash leaves evidence) → **rule** (the chain of
//! interceptors, highest priority first) → **deliver**, answer, drop or hold → **confirm** the write.
//! The session does no I/O and knows no thread: the reader of a lane calls [`Session::receive`] and
//! then flushes the lane's queue.

mod decisions;
mod error;
mod holds;
mod in_flight;
mod lane;
mod long_line;
mod own;
mod pipeline;
mod unfinished;

use std::collections::{BTreeMap, BTreeSet};
use std::pin::Pin;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use bytes::Bytes;
use parking_lot::{Condvar, Mutex};
use tokio::sync::Notify;

use crate::intercept::SharedChain;
use crate::log::Log;
use crate::log::linker::Linker;
use crate::log::operation::Correlation;
use crate::log::record::{
    Body, Channel, Closed, Ended, Exit, LaneId, Level, Note, OpId, Opened, Origin, Outcome, Sent, Seq,
    SessionId,
};
use crate::mcp::{Direction, Eras, Message, Opaque};
use crate::transport::QueuedWrite;

pub use decisions::HeldFrame;
pub use error::SessionError;
pub use holds::{MAX_WAITING, MAX_WAITING_BYTES};
pub use in_flight::InFlight;
pub use lane::{Arrived, Lane, LaneForm, LaneItem, Receipt, Scope};

use holds::Holds;
use lane::OpenLane;

/// Work that runs beside a session.
pub type Task = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Services of the engine that its sessions use.
#[derive(Clone)]
pub struct Hooks {
    /// Runs a task that ends with a verdict.
    pub spawn: Arc<dyn Fn(Task) + Send + Sync>,
    /// Notified whenever a frame is held for a decision.
    pub held: Arc<Notify>,
    /// Called with the text that goes on in the place of a held frame, and with `None` once the frame waits
    /// no longer.
    pub amended: Arc<dyn Fn(Seq, Option<Bytes>) + Send + Sync>,
}

/// A running session.
pub struct Session {
    this: Weak<Self>,
    id: SessionId,
    name: String,
    about: Opened,
    log: Arc<Log>,
    chain: Arc<SharedChain>,
    hooks: Hooks,
    state: Mutex<State>,
    /// Wakes threads whenever a frame stops waiting.
    moved: Condvar,
    /// Wakes tasks whenever a frame stops waiting.
    stirred: Notify,
    activity: AtomicU64,
    /// The span of the program's own log: the number and the name of the session.
    span: tracing::Span,
}

struct State {
    lanes: BTreeMap<LaneId, OpenLane>,
    /// Number of lanes opened so far.
    opened: u32,
    /// Lanes that have ended and on which frames still wait.
    ending: BTreeSet<LaneId>,
    holds: Holds,
    linker: Linker,
    /// The lane whose reader is inside this session now, and will flush the lane's queue itself.
    inline: Option<LaneId>,
    /// Lanes on which a line over the inspect limit is under way: its frame and length so far.
    long: BTreeMap<LaneId, (Seq, u64)>,
    /// Set once the end of the client's lane is recorded.
    hung_up: bool,
    closed: bool,
}

// === impl Session ===

impl Session {
    /// Opens a session and records it. `operations` counts the operations of all sessions of a log.
    pub fn open(
        id: SessionId,
        opened: Opened,
        log: Arc<Log>,
        chain: Arc<SharedChain>,
        operations: Arc<AtomicU32>,
        hooks: Hooks,
    ) -> Arc<Self> {
        let span = tracing::info_span!("session", id = id.0, name = %opened.name);
        span.in_scope(|| tracing::info!(target = ?opened.target, pid = opened.pid, "opened"));
        log.append(id, Body::Opened(opened.clone()));
        let state = State {
            lanes: BTreeMap::new(),
            opened: 0,
            ending: BTreeSet::new(),
            holds: Holds::default(),
            linker: Linker::new(operations),
            inline: None,
            long: BTreeMap::new(),
            hung_up: false,
            closed: false,
        };
        Arc::new_cyclic(|this| Self {
            this: this.clone(),
            id,
            name: opened.name.clone(),
            about: opened,
            log,
            chain,
            hooks,
            state: Mutex::new(state),
            moved: Condvar::new(),
            stirred: Notify::new(),
            activity: AtomicU64::new(0),
            span,
        })
    }

    /// Returns the span of the session in the program's own log.
    pub fn span(&self) -> &tracing::Span {
        &self.span
    }

    /// Returns the number of the session.
    pub fn id(&self) -> SessionId {
        self.id
    }

    /// Returns the name of its server.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the eras that both sides have shown so far.
    pub fn eras(&self) -> Eras {
        self.state.lock().linker.eras.clone()
    }

    // --- lanes

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

    /// Returns `true` if as much waits on `lane` as may.
    pub fn is_full(&self, lane: LaneId) -> bool {
        !self.state.lock().holds.has_room(lane)
    }

    /// Returns `true` if nothing that arrives on `lane` can be written any more.
    pub fn is_cut_off(&self, lane: LaneId) -> bool {
        self.state.lock().lanes.get(&lane).is_none_or(|open| open.lane.forward.is_closed())
    }

    /// Removes a lane. Frames that still wait on it go nowhere: requests are withdrawn, since their
    /// sender has left, and others are dropped. `why` explains an end that the peers did not mean.
    pub fn close_lane(&self, lane: LaneId, why: Option<&str>) {
        let mut state = self.state.lock();
        let Some(open) = state.lanes.remove(&lane) else { return };
        state.ending.remove(&lane);
        self.forget_long(&mut state, lane, why.unwrap_or("its exchange ended"));
        for waiting in state.holds.drain_lane(lane) {
            let in_flight = self.resume(waiting);
            let outcome = if in_flight.is_request() { Outcome::Withdrawn } else { Outcome::Dropped };
            self.gone(&in_flight, outcome, Some(why.unwrap_or("its exchange ended")));
        }
        if let Some(exchange) = open.lane.exchange(lane).filter(|exchange| *exchange == lane) {
            state.linker.operations.leave(exchange);
        }
        if why.is_some() || open.lane.form == LaneForm::Event {
            let why = why.map(str::to_owned);
            self.log.append(self.id, Body::Ended(Ended { lane, why }));
        }
        self.advance(&mut state);
    }

    /// Changes the scope of a lane's ids after it was opened.
    pub fn rescope(&self, lane: LaneId, scope: Scope, correlation: Correlation) {
        if let Some(open) = self.state.lock().lanes.get_mut(&lane) {
            open.lane.scope = scope;
            open.lane.correlation = correlation;
        }
    }

    /// Forgets the request of `op`, which will get no answer: its id may be used again.
    pub fn give_up(&self, op: OpId) {
        self.state.lock().linker.operations.withdraw(op);
    }

    /// Waits until more frames may wait on `lane`.
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

    // --- receive

    /// Receives a whole line with its terminator.
    pub fn receive(&self, lane: LaneId, raw: Bytes) {
        let Some(channel) = self.state.lock().lanes.get(&lane).map(|open| open.lane.channel) else { return };
        let message = match channel {
            Channel::Main | Channel::Http => Message::parse(raw),
            Channel::Stderr => Message::opaque(raw, Opaque::Text),
        };
        self.receive_item(lane, LaneItem { channel, ..LaneItem::message(message) });
    }

    /// Receives an item. Returns `None` if the lane is closed.
    pub fn receive_item(&self, lane: LaneId, item: LaneItem) -> Option<Arrived> {
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

    /// Receives an item that shadowcat rewrites on the orders of `by`: it is recorded as it came, and
    /// `instead` is recorded beside it and goes on.
    pub fn receive_remapped(&self, lane: LaneId, item: LaneItem, by: &str, instead: LaneItem) -> Arrived {
        let mut state = self.state.lock();
        state.inline = Some(lane);
        let in_flight = self.record(&mut state, lane, Origin::Wire, item, false);
        let arrived = Arrived { seq: in_flight.seq(), op: in_flight.frame().link.op };
        let remapped = self.remap(&in_flight, by, instead);
        self.dispatch(&mut state, remapped);
        state.inline = None;
        arrived
    }

    /// Receives an item that no interceptor is asked about, such as the keep-alives of a stream, and
    /// forwards it ahead of everything that is held on the lane.
    pub fn pass_item(&self, lane: LaneId, item: LaneItem) {
        let mut state = self.state.lock();
        let in_flight = self.record(&mut state, lane, Origin::Wire, item, false);
        self.forward(&state, &in_flight);
    }

    /// Records an item of which nothing goes on, since its receiver can get none of it.
    pub fn observe(&self, lane: LaneId, item: LaneItem) {
        let mut state = self.state.lock();
        let in_flight = self.record(&mut state, lane, Origin::Wire, item, false);
        self.gone(&in_flight, Outcome::Dropped, None);
    }

    /// Forwards bytes that are recorded by other means, ahead of everything that is held on the lane.
    pub fn pass(&self, lane: LaneId, bytes: Bytes) {
        let state = self.state.lock();
        if let Some(open) = state.lanes.get(&lane) {
            open.lane.forward.push(QueuedWrite::plain(bytes));
        }
    }

    /// Receives the end of a lane. The end is an item in order: the other side sees it after the last
    /// frame that is held.
    pub fn end(&self, lane: LaneId) {
        let mut state = self.state.lock();
        self.hung_up(&mut state, lane);
        if let Some(open) = state.lanes.get_mut(&lane) {
            open.ended = true;
            state.ending.insert(lane);
        }
        self.close_ended(&mut state);
    }

    /// Records that the client of a stdio server has closed its end: what the server does from then on is no
    /// answer in time.
    fn hung_up(&self, state: &mut State, lane: LaneId) {
        let is_input = state.lanes.get(&lane).is_some_and(|open| {
            open.lane.direction == Direction::ToServer
                && open.lane.form == LaneForm::Line
                && open.lane.channel == Channel::Main
        });
        if is_input && !state.closed && !std::mem::replace(&mut state.hung_up, true) {
            self.log.append(self.id, Body::Ended(Ended { lane, why: None }));
        }
    }

    // --- write

    /// Writes what is queued for the receiver of `lane`. Blocks while the peer does not read.
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
            false => (Outcome::Dropped, Some("the peer has disconnected".to_owned())),
        };
        let sent = Sent { frame: receipt.frame, outcome, held, length: receipt.length, why };
        self.log.append(self.id, Body::Sent(sent));
    }

    // --- state

    /// Returns a number that changes whenever a message arrives or is written.
    pub fn activity(&self) -> u64 {
        self.activity.load(Ordering::Relaxed)
    }

    /// Returns the number of requests towards `direction` that have no answer yet.
    pub fn in_flight(&self, direction: Direction) -> usize {
        self.state.lock().linker.operations.in_flight(direction).count()
    }

    /// Returns `true` if the client reads no more although the server still sends.
    pub fn is_unread(&self) -> bool {
        let state = self.state.lock();
        let main = |open: &&OpenLane| {
            open.lane.direction == Direction::ToClient && open.lane.channel == Channel::Main
        };
        state.lanes.values().find(main).is_some_and(|open| !open.ended && open.lane.forward.is_closed())
    }

    /// Returns `true` if everything for the client is decided and written.
    pub fn is_delivered(&self) -> bool {
        let state = self.state.lock();
        let mut towards = state.lanes.values().filter(|open| open.lane.direction == Direction::ToClient);
        !state.holds.any_towards(Direction::ToClient) && towards.all(|open| open.lane.forward.is_idle())
    }

    /// Returns `true` if the session has ended.
    pub fn is_closed(&self) -> bool {
        self.state.lock().closed
    }

    // --- end

    /// Closes the queues towards the server, once everything queued for it is written.
    pub fn close_input(&self) {
        let mut state = self.state.lock();
        let lanes: Vec<LaneId> = state.lanes.keys().copied().collect();
        lanes.into_iter().for_each(|lane| self.hung_up(&mut state, lane));
        let towards = state.lanes.values().filter(|open| open.lane.direction == Direction::ToServer);
        towards.for_each(|open| open.lane.forward.end());
    }

    /// Drops what waits for the server, which has ended. Its own messages that are held can still be
    /// delivered.
    pub fn server_gone(&self) {
        let mut state = self.state.lock();
        self.abandon(&mut state, Direction::ToServer, "the server ended");
        let towards = state.lanes.values().filter(|open| open.lane.direction == Direction::ToServer);
        towards.for_each(|open| open.lane.forward.end());
        self.stir();
    }

    /// Ends the session: frames that still wait are recorded as dropped, every queue is closed.
    pub fn close(&self, reason: &str, exit: Option<Exit>) {
        let mut state = self.state.lock();
        if std::mem::replace(&mut state.closed, true) {
            return;
        }
        for direction in [Direction::ToServer, Direction::ToClient] {
            self.abandon(&mut state, direction, "the session ended");
        }
        let long: Vec<LaneId> = state.long.keys().copied().collect();
        long.into_iter().for_each(|lane| self.forget_long(&mut state, lane, "the session ended"));
        for open in state.lanes.values() {
            open.lane.forward.end();
        }
        self.stir();
        self.span.in_scope(|| tracing::info!(reason, ?exit, "closed"));
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
