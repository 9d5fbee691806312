//! The way of a message: record → rule → deliver, answer, drop or hold.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::lane::{Form, Item, Lane, OpenLane, Port, Ticket};
use super::{Session, State};
use crate::clock::time_of_day;
use crate::intercept::{Arriving, Decision, Outgoing, Verdict};
use crate::log::operation::{Course, Observed};
use crate::log::record::{
    Body, Channel, Frame, HELD_BY_ORDER, Held, LaneId, Link, Origin, Outcome, Role, Ruled, Ruling, Sent, Seq,
};
use crate::mcp::sse::Event;
use crate::mcp::{Direction, Kind, Message};
use crate::proxy::holds::{Passage, Reason, Waiting};
use crate::proxy::splice::{answers_ours, is_request, terminated, terminator, without_ours};
use crate::transport::Parcel;

impl Session {
    // --- record

    pub(super) fn record(
        &self,
        state: &mut State,
        lane: LaneId,
        origin: Origin,
        item: Item,
        injected: bool,
    ) -> Passage {
        let Item { message, channel, http, wire } = item;
        let (direction, exchange, course) = match state.lanes.get(&lane) {
            Some(open) => (open.lane.direction, open.lane.exchange(lane), open.lane.course),
            None => (Direction::ToServer, None, Course::None),
        };
        // An answer of ours goes out against the lane of its request.
        let direction = if matches!(origin, Origin::Answered(_)) { direction.reverse() } else { direction };
        let operations = &mut state.operations;
        self.activity.fetch_add(1, Ordering::Relaxed);
        let mut operation = None;
        let mut ours = Vec::new();
        let record = self.log.append_with(self.id, |seq| {
            let mut observe = |message: &Message| match channel {
                Channel::Main => operations.observe(seq, direction, exchange, course, message, injected),
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
        let passage = Passage {
            order: record.seq,
            lane,
            record,
            operation,
            ours,
            held_since: None,
            keeps_headers: false,
            wire,
        };
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
    pub(super) fn place(&self, state: &mut State, mut passage: Passage) {
        let frame = passage.frame();
        if state.closed {
            self.gone(&passage, Outcome::Dropped, Some("the session ended"));
            return;
        }
        if frame.origin == Origin::Wire && passage.ours.contains(&true) {
            match without_ours(&passage) {
                None => self.gone(&passage, Outcome::Dropped, Some("it answers our own request")),
                Some(rest) => self.apply(state, passage, Verdict::replace(rest), 0),
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
            // Nobody waits for it any more, so its exchange ends.
            if let Some(OpenLane { lane: Lane { form: Form::Body, back: Some(back), .. }, .. }) =
                state.lanes.get(&request.lane)
            {
                back.cut();
            }
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

    pub(super) fn apply(&self, state: &mut State, passage: Passage, verdict: Verdict, resume: usize) {
        match verdict {
            Verdict::Pass => self.rule(state, passage, resume),
            Verdict::Deliver(lines) => {
                let seq = passage.seq();
                let form = state.lanes.get(&passage.lane).map_or(Form::Line, |open| open.lane.form);
                let terminator = match form {
                    Form::Line => terminator(passage.frame().message.raw()),
                    Form::Body | Form::Event => form.terminator(),
                };
                self.gone(&passage, Outcome::Dropped, Some("replaced"));
                for Outgoing { line, keeps_headers } in lines {
                    let message = Message::parse(terminated(&line, terminator));
                    let mut replacement = self.replace(state, &passage, Origin::Replaced(seq), message);
                    replacement.order = passage.order;
                    replacement.held_since = passage.held_since;
                    replacement.keeps_headers = keeps_headers;
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
                let form = state.lanes.get(&passage.lane).map_or(Form::Line, |open| open.lane.form);
                let message = Message::parse(terminated(&line, form.terminator()));
                let origin = Origin::Answered(passage.seq());
                let answer = self.record(state, passage.lane, origin, Item::message(message), false);
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
    fn replace(&self, state: &mut State, original: &Passage, origin: Origin, message: Message) -> Passage {
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
        let theirs = || original.ours.iter().filter(|ours| !**ours).count();
        let count = |message: &Message| match message.kind() {
            Kind::Batch(messages) => messages.len(),
            _ => 1,
        };
        // A batch that was edited is linked anew; one that only lost what is ours keeps its links.
        if !frame.elements.is_empty() && count(&message) != theirs() {
            return self.record(state, original.lane, origin, anew(message), false);
        }
        let kept = frame.elements.iter().zip(&original.ours).filter(|(_, ours)| !**ours);
        let elements = kept.map(|(element, _)| *element).collect();
        let replacement = Frame { origin, message, http, elements, ..frame.clone() };
        let record = self.log.append_with(self.id, |_| Body::Frame(Box::new(replacement)));
        Passage { record, wire: None, ..original.clone() }
    }

    /// Records what goes in the place of something that HTTP says without a message.
    pub(super) fn remap(&self, original: &Passage, by: &str, instead: Item) -> Passage {
        let seq = original.seq();
        self.ruled(seq, by, Ruling::Replace, None);
        self.gone(original, Outcome::Dropped, Some("replaced"));
        let Item { message, http, wire, .. } = instead;
        let remapped = Frame { origin: Origin::Remapped(seq), message, http, ..original.frame().clone() };
        let record = self.log.append_with(self.id, |_| Body::Frame(Box::new(remapped)));
        Passage { record, wire, ..original.clone() }
    }

    /// Lets go on what waited for its turn, as far as nothing keeps it back any more.
    pub(super) fn advance(&self, state: &mut State) {
        while let Some((passage, resume)) = state.holds.next_free() {
            self.log.unpin(passage.seq());
            self.rule(state, passage, resume);
        }
        self.close_ended(state);
        self.stir();
    }

    // --- deliver

    pub(super) fn forward(&self, state: &State, passage: &Passage) {
        let Some(open) = state.lanes.get(&passage.lane) else {
            self.gone(passage, Outcome::Dropped, Some("its exchange ended"));
            return;
        };
        self.push(&open.lane.forward, open.lane.form, passage);
        if state.inline != Some(passage.lane) {
            open.lane.forward.kick();
        }
    }

    pub(super) fn send_back(&self, state: &State, passage: &Passage) {
        match state.lanes.get(&passage.lane).and_then(|open| open.lane.back.as_ref()) {
            Some(back) => {
                // An answer that is an event of its own would have to be on a stream.
                self.push(back, Form::Body, passage);
                back.kick();
            }
            None => self.gone(passage, Outcome::Dropped, Some("its lane has no way back")),
        }
    }

    fn push(&self, port: &Port, form: Form, passage: &Passage) {
        if port.is_closed() {
            self.gone(passage, Outcome::Dropped, Some("the peer is gone"));
            return;
        }
        let frame = passage.frame();
        let ticket = Ticket {
            frame: passage.seq(),
            held_since: passage.held_since,
            length: None,
            as_it_came: frame.origin == Origin::Wire,
            keeps_headers: passage.keeps_headers,
        };
        let bytes = passage.wire.clone().unwrap_or_else(|| form.dress(frame));
        port.push(Parcel { bytes, ticket: Some(ticket), piece: None });
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

    pub(super) fn gone(&self, passage: &Passage, outcome: Outcome, why: Option<&str>) {
        let held = passage.held_for(self.log.clock().now());
        let sent = Sent { frame: passage.seq(), outcome, held, length: None, why: why.map(str::to_owned) };
        self.log.append(self.id, Body::Sent(sent));
    }

    pub(super) fn ruled(&self, frame: Seq, by: &str, verdict: Ruling, why: Option<String>) {
        self.log.append(self.id, Body::Ruled(Ruled { frame, by: by.into(), verdict, why }));
    }
}
