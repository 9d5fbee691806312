//! The way of a message: record → rule → deliver, answer, drop or hold.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::lane::{Form, Item, Lane, OpenLane, Receipt};
use super::{Session, State};
use crate::clock::time_of_day;
use crate::intercept::{Arriving, Decision, Outgoing, Verdict};
use crate::log::operation::{Correlation, Observed};
use crate::log::record::{
    Body, Channel, Frame, HELD_BY_ORDER, Held, LaneId, Link, Origin, Outcome, Role, Ruled, Sent, Seq,
    VerdictKind,
};
use crate::mcp::sse::Event;
use crate::mcp::{Direction, Kind, Message};
use crate::session::holds::{InFlight, Reason, Waiting};
use crate::session::splice::{answers_ours, is_request, terminated, terminator, without_ours};
use crate::transport::QueuedWrite;
use crate::transport::WriterQueue;

impl Session {
    // --- record

    pub(super) fn record(
        &self,
        state: &mut State,
        lane: LaneId,
        origin: Origin,
        item: Item,
        injected: bool,
    ) -> InFlight {
        let Item { message, channel, http, wire } = item;
        let (direction, exchange, correlation) = match state.lanes.get(&lane) {
            Some(open) => (open.lane.direction, open.lane.exchange(lane), open.lane.correlation),
            None => (Direction::ToServer, None, Correlation::None),
        };
        // An answer of ours goes out against the lane of its request.
        let direction = if matches!(origin, Origin::Answered(_)) { direction.reverse() } else { direction };
        let operations = &mut state.operations;
        self.activity.fetch_add(1, Ordering::Relaxed);
        let mut operation = None;
        let mut ours = Vec::new();
        let record = self.log.append_with(self.id, |seq| {
            let mut observe = |message: &Message| match channel {
                Channel::Main => operations.observe(seq, direction, exchange, correlation, message, injected),
                Channel::Stderr | Channel::Http => Observed::default(),
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
            Body::Frame(Box::new(Frame {
                lane,
                direction,
                channel,
                origin,
                message,
                link,
                elements,
                http,
                redacted: Box::default(),
            }))
        });
        let in_flight = InFlight {
            order: record.seq,
            lane,
            record,
            operation,
            ours,
            held_since: None,
            keeps_headers: false,
            wire,
        };
        self.learn(state, &in_flight);
        in_flight
    }

    fn learn(&self, state: &mut State, in_flight: &InFlight) {
        let frame = in_flight.frame();
        // What we made ourselves says nothing of the peers.
        if frame.origin != Origin::Wire {
            return;
        }
        let method = in_flight.operation.as_ref().map(|operation| &*operation.method);
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
    pub(super) fn dispatch(&self, state: &mut State, mut in_flight: InFlight) {
        let frame = in_flight.frame();
        if state.closed {
            self.gone(&in_flight, Outcome::Dropped, Some("the session ended"));
            return;
        }
        if frame.origin == Origin::Wire && in_flight.ours.contains(&true) {
            match without_ours(&in_flight) {
                None => self.gone(&in_flight, Outcome::Dropped, Some("it answers our own request")),
                Some(rest) => self.apply(state, in_flight, Verdict::replace(rest), 0),
            }
            return;
        }
        if state.holds.is_empty() {
            self.rule(state, in_flight, 0);
            return;
        }
        if frame.link.role == Role::Cancel
            && let Some(op) = frame.link.op
            && let Some(request) = state.holds.withdraw(frame.direction, op)
        {
            state.operations.withdraw(op);
            self.log.unpin(request.seq());
            self.gone(&request, Outcome::Withdrawn, Some("its sender cancelled it"));
            // Nobody waits for it any more, so its exchange ends.
            if let Some(OpenLane { lane: Lane { form: Form::Body, back: Some(back), .. }, .. }) =
                state.lanes.get(&request.lane)
            {
                back.cut();
            }
            self.gone(&in_flight, Outcome::Withdrawn, Some("what it cancels was held and is withdrawn"));
            self.advance(state);
            return;
        }
        if state.holds.blocks(&in_flight) {
            in_flight.held_since = Some(self.log.clock().now());
            let held = Held { frame: in_flight.seq(), by: HELD_BY_ORDER.into() };
            self.log.append(self.id, Body::Held(held));
            self.log.pin(&in_flight.record);
            state.holds.insert(Waiting { in_flight, reason: Reason::Order { resume: 0 } });
            return;
        }
        self.rule(state, in_flight, 0);
    }

    /// Asks the stages from `from` on, and does what they say.
    fn rule(&self, state: &mut State, mut in_flight: InFlight, from: usize) {
        let (resume, ruling) = {
            let frame = in_flight.frame();
            let arriving = Arriving {
                seq: in_flight.seq(),
                session: self.id,
                name: &self.name,
                frame,
                operation: in_flight.operation.as_deref(),
                eras: &state.eras,
                time_of_day: match self.chain.is_empty() {
                    true => 0,
                    false => time_of_day(self.log.clock().wall(in_flight.record.at)),
                },
            };
            match self.chain.rule(from, &arriving) {
                None => {
                    self.forward(state, &in_flight);
                    return;
                }
                Some((resume, by, ruling)) => {
                    let by: Arc<str> = by.into();
                    match &ruling.decision {
                        Decision::Now(verdict) => {
                            self.ruled(in_flight.seq(), &by, verdict.kind(), ruling.why.clone());
                        }
                        Decision::Hold | Decision::Later(_) => {
                            self.ruled(in_flight.seq(), &by, VerdictKind::Hold, ruling.why.clone());
                            self.log.append(self.id, Body::Held(Held { frame: in_flight.seq(), by }));
                        }
                    }
                    (resume, ruling)
                }
            }
        };
        match ruling.decision {
            Decision::Now(verdict) => self.apply(state, in_flight, verdict, resume),
            Decision::Hold | Decision::Later(_) => {
                let seq = in_flight.seq();
                in_flight.held_since = in_flight.held_since.or_else(|| Some(self.log.clock().now()));
                self.log.pin(&in_flight.record);
                state.holds.insert(Waiting { in_flight, reason: Reason::Verdict { resume } });
                if let Decision::Later(verdict) = ruling.decision {
                    (self.later)(seq, verdict);
                }
            }
        }
    }

    pub(super) fn apply(&self, state: &mut State, in_flight: InFlight, verdict: Verdict, resume: usize) {
        match verdict {
            Verdict::Pass => self.rule(state, in_flight, resume),
            Verdict::Deliver(lines) => {
                let seq = in_flight.seq();
                let form = state.lanes.get(&in_flight.lane).map_or(Form::Line, |open| open.lane.form);
                let terminator = match form {
                    Form::Line => terminator(in_flight.frame().message.raw()),
                    Form::Body | Form::Event => form.terminator(),
                };
                self.gone(&in_flight, Outcome::Dropped, Some("replaced"));
                for Outgoing { line, keeps_headers } in lines {
                    let message = Message::parse(terminated(&line, terminator));
                    let mut replacement = self.replace(state, &in_flight, Origin::Replaced(seq), message);
                    replacement.order = in_flight.order;
                    replacement.held_since = in_flight.held_since;
                    replacement.keeps_headers = keeps_headers;
                    // One of several may wait for the one before it.
                    if state.holds.blocks(&replacement) {
                        self.log.pin(&replacement.record);
                        state
                            .holds
                            .insert(Waiting { in_flight: replacement, reason: Reason::Order { resume } });
                    } else {
                        self.rule(state, replacement, resume);
                    }
                }
            }
            Verdict::Answer(line) => {
                let form = state.lanes.get(&in_flight.lane).map_or(Form::Line, |open| open.lane.form);
                let message = Message::parse(terminated(&line, form.terminator()));
                let origin = Origin::Answered(in_flight.seq());
                let answer = self.record(state, in_flight.lane, origin, Item::message(message), false);
                self.gone(&in_flight, Outcome::Answered, None);
                if answer.ours.contains(&true) {
                    self.gone(&answer, Outcome::Dropped, Some("it answers our own request"));
                } else {
                    self.send_back(state, &answer);
                }
            }
            Verdict::Drop => {
                self.gone(&in_flight, Outcome::Dropped, None);
                if let (true, Some(op)) = (is_request(&in_flight), in_flight.frame().link.op) {
                    state.operations.settle(op);
                }
            }
            Verdict::Close => {
                self.gone(&in_flight, Outcome::Dropped, Some("its connection was closed"));
                if let Some(open) = state.lanes.get(&in_flight.lane) {
                    open.lane.forward.cut();
                    if let Some(back) = &open.lane.back {
                        back.cut();
                    }
                }
            }
        }
    }

    /// Records what goes in the place of a frame. It stays in the operation of the original,
    /// which the tracker has seen already, unless it is another request altogether.
    fn replace(&self, state: &mut State, original: &InFlight, origin: Origin, message: Message) -> InFlight {
        let frame = original.frame();
        let http = frame.http.clone().map(|mut http| {
            http.event = http.event.map(|event| Event::parse(event.with_data(message.raw())));
            http
        });
        let same = message.id() == frame.message.id() && message.method() == frame.message.method();
        let anew = |message| Item { message, channel: frame.channel, http: http.clone(), wire: None };
        if !same && let Some(op) = frame.link.op.filter(|_| is_request(original)) {
            state.operations.withdraw(op);
            let injected = original.operation.as_ref().is_some_and(|operation| operation.injected);
            return self.record(state, original.lane, origin, anew(message), injected);
        }
        let foreign = || original.ours.iter().filter(|ours| !**ours).count();
        let count = |message: &Message| match message.kind() {
            Kind::Batch(messages) => messages.len(),
            _ => 1,
        };
        // A batch that was edited is linked anew; one that only lost what is ours keeps its links.
        if !frame.elements.is_empty() && count(&message) != foreign() {
            return self.record(state, original.lane, origin, anew(message), false);
        }
        let kept = frame.elements.iter().zip(&original.ours).filter(|(_, ours)| !**ours);
        let elements = kept.map(|(element, _)| *element).collect();
        let replacement = Frame { origin, message, http, elements, ..frame.clone() };
        let record = self.log.append_with(self.id, |_| Body::Frame(Box::new(replacement)));
        InFlight { record, wire: None, ..original.clone() }
    }

    /// Records what goes in the place of something that HTTP says without a message.
    pub(super) fn remap(&self, original: &InFlight, by: &str, instead: Item) -> InFlight {
        let seq = original.seq();
        self.ruled(seq, by, VerdictKind::Replace, None);
        self.gone(original, Outcome::Dropped, Some("replaced"));
        let Item { message, http, wire, .. } = instead;
        let remapped = Frame { origin: Origin::Remapped(seq), message, http, ..original.frame().clone() };
        let record = self.log.append_with(self.id, |_| Body::Frame(Box::new(remapped)));
        InFlight { record, wire, ..original.clone() }
    }

    /// Lets go on what waited for its turn, as far as nothing keeps it back any more.
    pub(super) fn advance(&self, state: &mut State) {
        while let Some((in_flight, resume)) = state.holds.next_free() {
            self.log.unpin(in_flight.seq());
            self.rule(state, in_flight, resume);
        }
        self.close_ended(state);
        self.stir();
    }

    // --- deliver

    pub(super) fn forward(&self, state: &State, in_flight: &InFlight) {
        let Some(open) = state.lanes.get(&in_flight.lane) else {
            self.gone(in_flight, Outcome::Dropped, Some("its exchange ended"));
            return;
        };
        self.push(&open.lane.forward, open.lane.form, in_flight);
        if state.inline != Some(in_flight.lane) {
            open.lane.forward.kick();
        }
    }

    pub(super) fn send_back(&self, state: &State, in_flight: &InFlight) {
        match state.lanes.get(&in_flight.lane).and_then(|open| open.lane.back.as_ref()) {
            Some(back) => {
                // An answer that is an event of its own would have to be on a stream.
                self.push(back, Form::Body, in_flight);
                back.kick();
            }
            None => self.gone(in_flight, Outcome::Dropped, Some("its lane has no way back")),
        }
    }

    fn push(&self, queue: &WriterQueue<Receipt>, form: Form, in_flight: &InFlight) {
        if queue.is_closed() {
            self.gone(in_flight, Outcome::Dropped, Some("the peer is gone"));
            return;
        }
        let frame = in_flight.frame();
        let receipt = Receipt {
            frame: in_flight.seq(),
            held_since: in_flight.held_since,
            length: None,
            as_it_came: frame.origin == Origin::Wire,
            keeps_headers: in_flight.keeps_headers,
        };
        let bytes = in_flight.wire.clone().unwrap_or_else(|| form.dress(frame));
        queue.push(QueuedWrite { bytes, receipt: Some(receipt), piece: None });
    }

    pub(super) fn close_ended(&self, state: &mut State) {
        let State { lanes, holds, ending, .. } = state;
        ending.retain(|id| {
            if !holds.is_clear(*id) {
                return true;
            }
            if let Some(open) = lanes.get(id)
                && !open.lane.forward.is_closed()
            {
                open.lane.forward.end();
            }
            false
        });
    }

    // --- log

    pub(super) fn gone(&self, in_flight: &InFlight, outcome: Outcome, why: Option<&str>) {
        let held = in_flight.held_for(self.log.clock().now());
        let sent = Sent { frame: in_flight.seq(), outcome, held, length: None, why: why.map(str::to_owned) };
        self.log.append(self.id, Body::Sent(sent));
    }

    pub(super) fn ruled(&self, frame: Seq, by: &str, verdict: VerdictKind, why: Option<String>) {
        self.log.append(self.id, Body::Ruled(Ruled { frame, by: by.into(), verdict, why }));
    }
}
