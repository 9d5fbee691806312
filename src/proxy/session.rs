//! One session: the way of every message from the lane it arrives on to the outlet it leaves by.
//!
//! Receive → **record** (before anyone rules, so that a crash leaves evidence) → **rule** (the
//! chain, highest priority first) → **deliver**, answer, drop or hold → **confirm** that the
//! bytes were written. The session does no I/O and knows no thread: whoever reads a lane calls
//! [`Session::receive`] and then flushes the lane's outlet.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use bytes::Bytes;
use parking_lot::{Condvar, Mutex};

use super::facts::Known;
use super::holds::{Holds, Passage, Reason, Waiting};
use super::refused::Refused;
use super::splice::{answers_ours, is_request, terminated, terminator, without_ours};
use crate::clock::{Stamp, time_of_day};
use crate::intercept::{Arriving, Chain, Decision, Verdict};
use crate::log::Log;
use crate::log::operation::{Observed, Operations};
use crate::log::record::{
    Body, Channel, Closed, Exit, Frame, HELD_BY_ORDER, Held, LaneId, Level, Link, Note, Opened, Origin,
    Outcome, Role, Ruled, Ruling, Sent, Seq, SessionId,
};
use crate::mcp::{Direction, Eras, Kind, Message, Opaque};
use crate::transport::{Outlet, Parcel, PieceOf};

/// What comes back when a frame's bytes were written.
#[derive(Debug)]
pub struct Ticket {
    frame: Seq,
    held_since: Option<Stamp>,
    /// The true length of a frame that was recorded truncated.
    length: Option<u64>,
}

/// The outlet of a lane.
pub type Port = Outlet<Ticket>;

/// A lane to be opened.
pub struct Lane {
    pub direction: Direction,
    pub channel: Channel,
    /// Where its frames go.
    pub forward: Arc<Port>,
    /// Where answers of ours to its frames go.
    pub back: Option<Arc<Port>>,
    /// The exchange that its ids are unique in; none where they are unique in the session.
    pub exchange: Option<LaneId>,
}

/// Runs the verdicts that come later.
pub type Later = Box<dyn Fn(Seq, std::pin::Pin<Box<dyn Future<Output = Verdict> + Send>>) + Send + Sync>;

/// A running session.
pub struct Session {
    id: SessionId,
    name: String,
    log: Arc<Log>,
    chain: Chain,
    later: Later,
    state: Mutex<State>,
    /// Signalled whenever something stops waiting.
    moved: Condvar,
    activity: AtomicU64,
}

struct State {
    lanes: BTreeMap<LaneId, OpenLane>,
    holds: Holds,
    operations: Operations,
    eras: Eras,
    known: Known,
    /// The lane whose reader is in here now and will flush its outlet itself.
    inline: Option<LaneId>,
    /// The lane on which a line over the inspect limit is under way, its frame and length.
    long: BTreeMap<LaneId, (Seq, u64)>,
    closed: bool,
}

struct OpenLane {
    lane: Lane,
    ended: bool,
}

/// How much of a line over the inspect limit is kept for the record.
const KEPT_OF_LONG: usize = 64 << 10;

/// Who decides for a person.
pub const BY_PERSON: &str = "person";

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
        let name = opened.name.clone();
        log.append(id, Body::Opened(opened));
        let state = State {
            lanes: BTreeMap::new(),
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
            log,
            chain,
            later,
            state: Mutex::new(state),
            moved: Condvar::new(),
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
        let id = LaneId(state.lanes.last_key_value().map_or(0, |(id, _)| id.0) + 1);
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
        let mut state = self.state.lock();
        let Some(channel) = state.lanes.get(&lane).map(|open| open.lane.channel) else { return };
        let message = match channel {
            Channel::Main => Message::parse(raw),
            Channel::Stderr => Message::opaque(raw, Opaque::Text),
        };
        state.inline = Some(lane);
        let passage = self.record(&mut state, lane, Origin::Wire, message, false);
        self.place(&mut state, passage);
        state.inline = None;
    }

    /// Takes in the beginning of a line that is longer than the inspect limit; its pieces stream
    /// through untouched. Blocks while anything is held on the lane, since a line that cannot be
    /// read whole cannot be told from one that must not overtake.
    pub fn receive_start(&self, lane: LaneId, raw: Bytes) {
        let mut state = self.state.lock();
        while !state.holds.is_clear(lane) && !state.closed {
            self.moved.wait(&mut state);
        }
        let kept = Bytes::copy_from_slice(&raw[..raw.len().min(KEPT_OF_LONG)]);
        let message = Message::opaque(kept, Opaque::Truncated);
        let passage = self.record(&mut state, lane, Origin::Wire, message, false);
        state.long.insert(lane, (passage.seq(), 0));
        self.stream(&mut state, lane, raw, false);
    }

    /// Takes in more of a long line; `last` with its end.
    pub fn receive_more(&self, lane: LaneId, raw: Bytes, last: bool) {
        let mut state = self.state.lock();
        self.stream(&mut state, lane, raw, last);
    }

    fn stream(&self, state: &mut State, lane: LaneId, bytes: Bytes, last: bool) {
        let Some(open) = state.lanes.get(&lane) else { return };
        let Some((frame, length)) = state.long.get_mut(&lane) else { return };
        *length += bytes.len() as u64;
        let ticket = last.then_some(Ticket { frame: *frame, held_since: None, length: Some(*length) });
        open.lane.forward.push(Parcel { bytes, ticket, piece: Some(PieceOf { lane: lane.0, last }) });
        if last {
            state.long.remove(&lane);
        }
    }

    /// Takes in the end of a lane. It is an item in order: the other side sees it after the last
    /// frame that is held.
    pub fn end(&self, lane: LaneId) {
        let mut state = self.state.lock();
        if let Some(open) = state.lanes.get_mut(&lane) {
            open.ended = true;
        }
        self.close_ended(&mut state);
    }

    /// Writes what is queued for the outlet of `lane`. Blocks while its peer does not read.
    pub fn flush(&self, lane: LaneId) {
        let Some(port) = self.state.lock().lanes.get(&lane).map(|open| Arc::clone(&open.lane.forward)) else {
            return;
        };
        port.flush(&mut |ticket, written| self.confirm(ticket, written));
    }

    /// Records that a frame's bytes were written, or could not be.
    pub fn confirm(&self, ticket: Ticket, written: bool) {
        self.activity.fetch_add(1, Ordering::Relaxed);
        let held = ticket.held_since.map(|since| self.log.clock().now().since(since));
        let (outcome, why) = match written {
            true => (Outcome::Forwarded, None),
            false => (Outcome::Dropped, Some("the peer is gone".to_owned())),
        };
        let sent = Sent { frame: ticket.frame, outcome, held, length: ticket.length, why };
        self.log.append(self.id, Body::Sent(sent));
    }

    /// Gives the verdict on a held frame.
    ///
    /// # Errors
    /// When the frame is not held, or an answer is given to something that is no request.
    pub fn decide(&self, seq: Seq, by: &str, verdict: Verdict) -> Result<(), Refused> {
        let mut state = self.state.lock();
        let (passage, resume) = state.holds.decide(seq).ok_or(Refused::NotHeld(seq))?;
        if matches!(verdict, Verdict::Answer(_)) && !is_request(&passage) {
            state.holds.insert(Waiting { passage, reason: Reason::Verdict { resume } });
            return Err(Refused::NoRequest(seq));
        }
        self.log.unpin(seq);
        self.ruled(seq, by, verdict.word(), None);
        self.apply(&mut state, passage, verdict, resume);
        self.advance(&mut state);
        Ok(())
    }

    /// Lets everything go on that is held, in the order of arrival on each lane, until nothing is.
    pub fn release_all(&self, by: &str) {
        loop {
            let next = self.state.lock().holds.undecided().next().map(Passage::seq);
            // Another may have decided it in between; then there is a next one, or none.
            let Some(seq) = next else { return };
            let _ = self.decide(seq, by, Verdict::Pass);
        }
    }

    /// What waits for a verdict.
    pub fn held(&self) -> Vec<Seq> {
        self.state.lock().holds.undecided().map(Passage::seq).collect()
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
    pub fn held_frame(&self, seq: Seq) -> Option<Passage> {
        self.state.lock().holds.undecided().find(|passage| passage.seq() == seq).cloned()
    }

    /// Sends a message of ours towards one side. `line` has no terminator; a request in it must
    /// have an id of ours already, since its answer is kept from the peer.
    ///
    /// # Errors
    /// When that side is closed, or its era has no such message.
    pub fn inject(&self, direction: Direction, line: &[u8]) -> Result<Seq, Refused> {
        let mut state = self.state.lock();
        let lane = state
            .lanes
            .iter()
            .find(|(_, open)| open.lane.direction == direction && open.lane.channel == Channel::Main)
            .filter(|(_, open)| !open.lane.forward.is_closed())
            .map(|(id, _)| *id);
        let side = match direction {
            Direction::ToServer => "server",
            Direction::ToClient => "client",
        };
        let lane = lane.ok_or(Refused::Closed(side))?;
        let message = Message::parse(terminated(line, b"\n"));
        let stateless = state.eras.current() == Some(crate::mcp::Era::Stateless);
        if stateless && direction == Direction::ToClient && matches!(message.kind(), Kind::Request { .. }) {
            return Err(Refused::EraForbids);
        }
        let passage = self.record(&mut state, lane, Origin::Injected, message, true);
        let seq = passage.seq();
        self.place(&mut state, passage);
        Ok(seq)
    }

    /// The server has ended: nothing can be brought to it any more. What it said and is held can
    /// still be delivered.
    pub fn server_gone(&self) {
        let mut state = self.state.lock();
        self.abandon(&mut state, Direction::ToServer, "the server ended");
        let towards = state.lanes.values().filter(|open| open.lane.direction == Direction::ToServer);
        towards.for_each(|open| open.lane.forward.end());
        self.moved.notify_all();
    }

    fn abandon(&self, state: &mut State, direction: Direction, why: &str) {
        for passage in state.holds.drain_towards(direction) {
            self.log.unpin(passage.seq());
            self.gone(&passage, Outcome::Dropped, Some(why));
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

    /// Closes the outlets towards the server, once what is queued for it is written.
    pub fn hang_up(&self) {
        let state = self.state.lock();
        let towards = state.lanes.values().filter(|open| open.lane.direction == Direction::ToServer);
        towards.for_each(|open| open.lane.forward.end());
    }

    pub fn is_closed(&self) -> bool {
        self.state.lock().closed
    }

    /// Ends the session: what is still held is recorded as dropped, every outlet is closed.
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
        self.moved.notify_all();
        self.log.append(self.id, Body::Closed(Closed { reason: reason.to_owned(), exit }));
    }

    /// Adds a remark of the engine to the log.
    pub fn note(&self, frame: Option<Seq>, level: Level, text: String) {
        self.log.append(self.id, Body::Note(Note { frame, level, by: "shadowcat".into(), text }));
    }

    // --- record

    fn record(
        &self,
        state: &mut State,
        lane: LaneId,
        origin: Origin,
        message: Message,
        injected: bool,
    ) -> Passage {
        let (direction, channel, exchange) = match state.lanes.get(&lane) {
            Some(open) => (open.lane.direction, open.lane.channel, open.lane.exchange),
            None => (Direction::ToServer, Channel::Main, None),
        };
        // An answer of ours goes out against the lane of its request.
        let direction = if matches!(origin, Origin::Answered(_)) { direction.reverse() } else { direction };
        let operations = &mut state.operations;
        self.activity.fetch_add(1, Ordering::Relaxed);
        let mut operation = None;
        let mut ours = Vec::new();
        let record = self.log.append_with(self.id, |seq| {
            let mut observe = |message: &Message| match channel {
                Channel::Main => operations.observe(seq, direction, exchange, message, injected),
                Channel::Stderr => Observed::default(),
            };
            let (link, elements) = match message.kind() {
                Kind::Batch(messages) => {
                    let observed: Vec<Observed> = messages.iter().map(observe).collect();
                    ours = observed
                        .iter()
                        .map(|each| answers_ours(each.operation.as_deref(), direction))
                        .collect();
                    (Link::default(), observed.into_iter().map(|each| each.link).collect())
                }
                _ => {
                    let observed = observe(&message);
                    ours = vec![answers_ours(observed.operation.as_deref(), direction)];
                    operation = observed.operation;
                    (observed.link, Vec::new())
                }
            };
            Body::Frame(Box::new(Frame { lane, direction, channel, origin, message, link, elements }))
        });
        let passage = Passage { order: record.seq, lane, record, operation, ours, held_since: None };
        self.learn(state, &passage);
        passage
    }

    fn learn(&self, state: &mut State, passage: &Passage) {
        let frame = passage.frame();
        // What we made ourselves says nothing of the peers.
        if frame.origin != Origin::Wire {
            return;
        }
        let method = passage.operation.as_ref().map(|operation| &*operation.method);
        if state.eras.observe(frame.direction, &frame.message, method)
            | state.known.observe(frame.direction, &frame.message, method)
        {
            let facts = state.known.facts(frame.direction, &state.eras);
            self.log.append(self.id, Body::Facts(Box::new(facts)));
        }
    }

    // --- rule

    /// Puts a recorded frame in its place: withdraws what it cancels, waits behind what is held,
    /// or goes through the chain.
    fn place(&self, state: &mut State, mut passage: Passage) {
        let frame = passage.frame();
        if state.closed {
            self.gone(&passage, Outcome::Dropped, Some("the session ended"));
            return;
        }
        if frame.origin == Origin::Wire && passage.ours.contains(&true) {
            match without_ours(&passage) {
                None => self.gone(&passage, Outcome::Dropped, Some("it answers our own request")),
                Some(rest) => self.apply(state, passage, Verdict::Deliver(vec![rest]), 0),
            }
            return;
        }
        if state.holds.is_empty() {
            self.rule(state, passage, 0);
            return;
        }
        if frame.link.role == Role::Cancel
            && let Some(op) = frame.link.op
            && let Some(request) = state.holds.withdraw(frame.direction, op)
        {
            state.operations.withdraw(op);
            self.log.unpin(request.seq());
            self.gone(&request, Outcome::Withdrawn, Some("its sender cancelled it"));
            self.gone(&passage, Outcome::Withdrawn, Some("what it cancels was held and is withdrawn"));
            self.advance(state);
            return;
        }
        if state.holds.blocks(&passage) {
            passage.held_since = Some(self.log.clock().now());
            let held = Held { frame: passage.seq(), by: HELD_BY_ORDER.into() };
            self.log.append(self.id, Body::Held(held));
            self.log.pin(&passage.record);
            state.holds.insert(Waiting { passage, reason: Reason::Order { resume: 0 } });
            return;
        }
        self.rule(state, passage, 0);
    }

    /// Asks the stages from `from` on, and does what they say.
    fn rule(&self, state: &mut State, mut passage: Passage, from: usize) {
        let (resume, ruling) = {
            let frame = passage.frame();
            let arriving = Arriving {
                seq: passage.seq(),
                session: self.id,
                name: &self.name,
                frame,
                operation: passage.operation.as_deref(),
                eras: &state.eras,
                time_of_day: match self.chain.is_empty() {
                    true => 0,
                    false => time_of_day(self.log.clock().wall(passage.record.at)),
                },
            };
            match self.chain.rule(from, &arriving) {
                None => {
                    self.forward(state, &passage);
                    return;
                }
                Some((resume, by, ruling)) => {
                    let by: Arc<str> = by.into();
                    match &ruling.decision {
                        Decision::Now(verdict) => {
                            self.ruled(passage.seq(), &by, verdict.word(), ruling.why.clone());
                        }
                        Decision::Hold | Decision::Later(_) => {
                            self.ruled(passage.seq(), &by, Ruling::Hold, ruling.why.clone());
                            self.log.append(self.id, Body::Held(Held { frame: passage.seq(), by }));
                        }
                    }
                    (resume, ruling)
                }
            }
        };
        match ruling.decision {
            Decision::Now(verdict) => self.apply(state, passage, verdict, resume),
            Decision::Hold | Decision::Later(_) => {
                let seq = passage.seq();
                passage.held_since = passage.held_since.or_else(|| Some(self.log.clock().now()));
                self.log.pin(&passage.record);
                state.holds.insert(Waiting { passage, reason: Reason::Verdict { resume } });
                if let Decision::Later(verdict) = ruling.decision {
                    (self.later)(seq, verdict);
                }
            }
        }
    }

    fn apply(&self, state: &mut State, passage: Passage, verdict: Verdict, resume: usize) {
        match verdict {
            Verdict::Pass => self.rule(state, passage, resume),
            Verdict::Deliver(lines) => {
                let seq = passage.seq();
                let terminator = terminator(passage.frame().message.raw());
                self.gone(&passage, Outcome::Dropped, Some("replaced"));
                for line in lines {
                    let message = Message::parse(terminated(&line, terminator));
                    let mut replacement = self.replace(state, &passage, Origin::Replaced(seq), message);
                    replacement.order = passage.order;
                    replacement.held_since = passage.held_since;
                    // One of several may wait for the one before it.
                    if state.holds.blocks(&replacement) {
                        self.log.pin(&replacement.record);
                        state
                            .holds
                            .insert(Waiting { passage: replacement, reason: Reason::Order { resume } });
                    } else {
                        self.rule(state, replacement, resume);
                    }
                }
            }
            Verdict::Answer(line) => {
                let message = Message::parse(terminated(&line, b"\n"));
                let origin = Origin::Answered(passage.seq());
                let answer = self.record(state, passage.lane, origin, message, false);
                self.gone(&passage, Outcome::Answered, None);
                if answer.ours.contains(&true) {
                    self.gone(&answer, Outcome::Dropped, Some("it answers our own request"));
                } else {
                    self.send_back(state, &answer);
                }
            }
            Verdict::Drop => {
                self.gone(&passage, Outcome::Dropped, None);
                if let (true, Some(op)) = (is_request(&passage), passage.frame().link.op) {
                    state.operations.settle(op);
                }
            }
            Verdict::Close => {
                self.gone(&passage, Outcome::Dropped, Some("its connection was closed"));
                if let Some(open) = state.lanes.get(&passage.lane) {
                    open.lane.forward.end();
                    if let Some(back) = &open.lane.back {
                        back.end();
                    }
                }
            }
        }
    }

    /// Records what goes in the place of a frame. It stays in the operation of the original,
    /// which the tracker has seen already, unless it is another request altogether.
    fn replace(&self, state: &mut State, original: &Passage, origin: Origin, message: Message) -> Passage {
        let frame = original.frame();
        let same = message.id() == frame.message.id() && message.method() == frame.message.method();
        if !same && let Some(op) = frame.link.op.filter(|_| is_request(original)) {
            state.operations.withdraw(op);
            let injected = original.operation.as_ref().is_some_and(|operation| operation.injected);
            return self.record(state, original.lane, origin, message, injected);
        }
        let theirs = || original.ours.iter().filter(|ours| !**ours).count();
        let count = |message: &Message| match message.kind() {
            Kind::Batch(messages) => messages.len(),
            _ => 1,
        };
        // A batch that was edited is linked anew; one that only lost what is ours keeps its links.
        if !frame.elements.is_empty() && count(&message) != theirs() {
            return self.record(state, original.lane, origin, message, false);
        }
        let (lane, direction, channel) = (frame.lane, frame.direction, frame.channel);
        let kept = frame.elements.iter().zip(&original.ours).filter(|(_, ours)| !**ours);
        let (link, elements) = (frame.link, kept.map(|(element, _)| *element).collect());
        let record = self.log.append_with(self.id, |_| {
            Body::Frame(Box::new(Frame { lane, direction, channel, origin, message, link, elements }))
        });
        Passage { record, ..original.clone() }
    }

    /// Lets go on what waited for its turn, as far as nothing keeps it back any more.
    fn advance(&self, state: &mut State) {
        while let Some((passage, resume)) = state.holds.next_free() {
            self.log.unpin(passage.seq());
            self.rule(state, passage, resume);
        }
        self.close_ended(state);
        self.moved.notify_all();
    }

    // --- deliver

    fn forward(&self, state: &State, passage: &Passage) {
        let Some(open) = state.lanes.get(&passage.lane) else { return };
        self.push(&open.lane.forward, passage);
        if state.inline != Some(passage.lane) {
            open.lane.forward.kick();
        }
    }

    fn send_back(&self, state: &State, passage: &Passage) {
        match state.lanes.get(&passage.lane).and_then(|open| open.lane.back.as_ref()) {
            Some(back) => {
                self.push(back, passage);
                back.kick();
            }
            None => self.gone(passage, Outcome::Dropped, Some("its lane has no way back")),
        }
    }

    fn push(&self, port: &Port, passage: &Passage) {
        if port.is_closed() {
            self.gone(passage, Outcome::Dropped, Some("the peer is gone"));
            return;
        }
        let ticket = Ticket { frame: passage.seq(), held_since: passage.held_since, length: None };
        let bytes = passage.frame().message.raw().clone();
        port.push(Parcel { bytes, ticket: Some(ticket), piece: None });
    }

    fn close_ended(&self, state: &mut State) {
        let State { lanes, holds, .. } = state;
        for (id, open) in lanes.iter() {
            if open.ended && holds.is_clear(*id) && !open.lane.forward.is_closed() {
                open.lane.forward.end();
            }
        }
    }

    // --- log

    fn gone(&self, passage: &Passage, outcome: Outcome, why: Option<&str>) {
        let held = passage.held_for(self.log.clock().now());
        let sent = Sent { frame: passage.seq(), outcome, held, length: None, why: why.map(str::to_owned) };
        self.log.append(self.id, Body::Sent(sent));
    }

    fn ruled(&self, frame: Seq, by: &str, verdict: Ruling, why: Option<String>) {
        self.log.append(self.id, Body::Ruled(Ruled { frame, by: by.into(), verdict, why }));
    }
}
