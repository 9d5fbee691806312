//! The way of a frame: record, rule, then deliver, answer, drop or hold.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::holds::{HoldReason, WaitingFrame};
use super::in_flight::{Delivery, InFlight, terminated, terminator};
use super::lane::{Lane, LaneForm, LaneItem, OpenLane, Receipt};
use super::{Session, State};
use crate::clock::time_of_day;
use crate::intercept::{Decision, Inspected, Outgoing, PendingVerdict, ResponseHead, Ruling, Verdict};
use crate::log::http::Http;
use crate::log::linker::Seen;
use crate::log::operation::Correlation;
use crate::log::record::{
    Body, Frame, HELD_BY_ORDER, Held, LaneId, Origin, Outcome, Role, Ruled, Sent, Seq, VerdictKind,
};
use crate::mcp::sse::Event;
use crate::mcp::{Direction, Message};
use crate::transport::{QueuedWrite, WriterQueue};

impl Session {
    // --- record

    pub(super) fn record(
        &self,
        state: &mut State,
        lane: LaneId,
        origin: Origin,
        item: LaneItem,
        injected: bool,
    ) -> InFlight {
        let LaneItem { message, channel, http, wire } = item;
        let (direction, exchange, correlation) = match state.lanes.get(&lane) {
            Some(open) => (open.lane.direction, open.lane.exchange(lane), open.lane.correlation),
            None => (Direction::ToServer, None, Correlation::None),
        };
        // Our answer to a frame goes out against the direction of the frame's lane.
        let direction = if matches!(origin, Origin::Answered(_)) { direction.reverse() } else { direction };
        let seen = Seen { direction, channel, exchange, correlation, injected };
        let linker = &mut state.linker;
        self.activity.fetch_add(1, Ordering::Relaxed);
        let mut operations = Vec::new();
        let record = self.log.append_with(self.id, |seq| {
            let linked = linker.link(seq, seen, &message);
            operations = linked.operations;
            Body::Frame(Box::new(Frame {
                lane,
                direction,
                channel,
                origin,
                message,
                link: linked.link,
                elements: linked.elements,
                http,
                redacted: Box::default(),
            }))
        });
        let in_flight = InFlight {
            order: record.seq,
            lane,
            record,
            operations,
            chain: self.chain.load(),
            held_since: None,
            wire,
            delivery: Delivery::default(),
        };
        self.learn(state, &in_flight);
        in_flight
    }

    fn learn(&self, state: &mut State, in_flight: &InFlight) {
        let frame = in_flight.frame();
        // Messages of our own say nothing about the peers.
        if frame.origin == Origin::Wire
            && let Some(facts) = state.linker.learn(frame.direction, &frame.message, &in_flight.operations)
        {
            self.log.append(self.id, Body::Facts(Box::new(facts)));
        }
    }

    // --- rule

    /// Dispatches a recorded frame: withdraws the held request that it cancels, lets it wait behind
    /// frames that are held, or sends it through the chain.
    pub(super) fn dispatch(&self, state: &mut State, mut in_flight: InFlight) {
        let frame = in_flight.frame();
        if state.closed {
            self.gone(&in_flight, Outcome::Dropped, Some("the session ended"));
            return;
        }
        if frame.origin == Origin::Wire && in_flight.answers_ours().any(|ours| ours) {
            match in_flight.without_ours() {
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
            state.linker.operations.withdraw(op);
            let request = self.resume(request);
            self.gone(&request, Outcome::Withdrawn, Some("its sender cancelled it"));
            // The sender of a cancelled HTTP request gets no response, so its exchange ends.
            if let Some(OpenLane { lane: Lane { form: LaneForm::Body, back: Some(back), .. }, .. }) =
                state.lanes.get(&request.lane)
            {
                back.cut();
            }
            self.gone(
                &in_flight,
                Outcome::Withdrawn,
                Some("the request that it cancels was held and is withdrawn"),
            );
            self.advance(state);
            return;
        }
        if state.holds.blocks(&in_flight) {
            in_flight.held_since = Some(self.log.clock().now());
            let held = Held { frame: in_flight.seq(), by: HELD_BY_ORDER.into() };
            self.log.append(self.id, Body::Held(held));
            self.hold(state, in_flight, HoldReason::Order { resume: 0 });
            return;
        }
        self.rule(state, in_flight, 0);
    }

    fn hold(&self, state: &mut State, in_flight: InFlight, reason: HoldReason) {
        self.log.pin(&in_flight.record);
        state.holds.insert(WaitingFrame { in_flight, reason });
    }

    /// Asks the interceptors of the chain from index `from` on, and does as the first says that rules.
    fn rule(&self, state: &mut State, mut in_flight: InFlight, from: usize) {
        let Some((resume, by, Ruling { decision, why })) = self.ask_chain(state, &in_flight, from) else {
            self.forward(state, &in_flight);
            return;
        };
        let seq = in_flight.seq();
        match decision {
            Decision::Now(verdict) => {
                self.ruled(seq, &by, verdict.kind(), why);
                self.apply(state, in_flight, verdict, resume);
            }
            Decision::Hold { patience } => {
                self.ruled(seq, &by, VerdictKind::Hold, why);
                self.log.append(self.id, Body::Held(Held { frame: seq, by }));
                in_flight.held_since = in_flight.held_since.or_else(|| Some(self.log.clock().now()));
                self.hold(state, in_flight, HoldReason::Decision { resume, patience, amended: None });
                self.hooks.held.notify_one();
            }
            Decision::Later(verdict) => {
                self.ruled(seq, &by, VerdictKind::Delay, why);
                in_flight.held_since = in_flight.held_since.or_else(|| Some(self.log.clock().now()));
                self.hold(state, in_flight, HoldReason::Pending { resume, by });
                self.resolve_later(seq, verdict);
            }
        }
    }

    fn ask_chain(
        &self,
        state: &State,
        in_flight: &InFlight,
        from: usize,
    ) -> Option<(usize, Arc<str>, Ruling)> {
        if in_flight.chain.is_empty() {
            return None;
        }
        let frame = in_flight.frame();
        let inspected = Inspected {
            seq: in_flight.seq(),
            session: self.id,
            session_name: &self.name,
            direction: frame.direction,
            channel: frame.channel,
            origin: frame.origin,
            message: &frame.message,
            http: frame.http.as_deref(),
            links: frame.links(),
            operations: &in_flight.operations,
            eras: &state.linker.eras,
            time_of_day: time_of_day(self.log.clock().wall(in_flight.record.at)),
        };
        let (resume, by, ruling) = in_flight.chain.rule(from, &inspected)?;
        Some((resume, by.into(), ruling))
    }

    /// Runs the computation of a verdict and gives the verdict then, if the session still exists.
    fn resolve_later(&self, seq: Seq, verdict: PendingVerdict) {
        let session = self.this.clone();
        (self.hooks.spawn)(Box::pin(async move {
            let verdict = verdict.await;
            if let Some(session) = session.upgrade() {
                session.resolve(seq, verdict);
            }
        }));
    }

    pub(super) fn apply(&self, state: &mut State, in_flight: InFlight, verdict: Verdict, resume: usize) {
        match verdict {
            Verdict::Pass => self.rule(state, in_flight, resume),
            Verdict::Deliver(all) => self.deliver(state, &in_flight, all, resume),
            Verdict::Answer(all) => self.answer_with(state, &in_flight, all),
            Verdict::Drop => {
                self.gone(&in_flight, Outcome::Dropped, None);
                for op in in_flight.requested() {
                    state.linker.operations.settle(op);
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

    /// Sends messages in the place of a frame.
    fn deliver(&self, state: &mut State, in_flight: &InFlight, all: Vec<Outgoing>, resume: usize) {
        let seq = in_flight.seq();
        let form = self.form(state, in_flight.lane);
        let usual = match form {
            LaneForm::Line => terminator(in_flight.frame().message.raw()),
            LaneForm::Body | LaneForm::Event => form.terminator(),
        };
        self.gone(in_flight, Outcome::Dropped, Some("replaced"));
        let last = all.len().saturating_sub(1);
        for (at, outgoing) in all.into_iter().enumerate() {
            let (message, delivery) = parts(outgoing, usual, form == LaneForm::Body && at < last);
            let head = delivery.head.as_deref();
            let mut replacement = self.replace(state, in_flight, Origin::Replaced(seq), message, head);
            replacement.order = in_flight.order;
            replacement.held_since = in_flight.held_since;
            replacement.chain = Arc::clone(&in_flight.chain);
            replacement.delivery = delivery;
            // A held replacement keeps those behind it waiting.
            if state.holds.blocks(&replacement) {
                self.hold(state, replacement, HoldReason::Order { resume });
            } else {
                self.rule(state, replacement, resume);
            }
        }
    }

    /// Answers a request in the place of its receiver.
    fn answer_with(&self, state: &mut State, request: &InFlight, all: Vec<Outgoing>) {
        let form = self.form(state, request.lane);
        self.gone(request, Outcome::Answered, None);
        let last = all.len().saturating_sub(1);
        for (at, outgoing) in all.into_iter().enumerate() {
            let (message, delivery) = parts(outgoing, form.terminator(), form == LaneForm::Body && at < last);
            let http = match form {
                LaneForm::Body => response_facts(request.frame(), delivery.head.as_deref()),
                LaneForm::Line | LaneForm::Event => None,
            };
            let item = LaneItem { http, ..LaneItem::message(message) };
            let mut answer = self.record(state, request.lane, Origin::Answered(request.seq()), item, false);
            answer.delivery = delivery;
            self.send_answer(state, &answer);
        }
    }

    /// Sends our answer to a request back to its sender. The answer to a request of our own goes no
    /// further.
    pub(super) fn send_answer(&self, state: &State, answer: &InFlight) {
        match answer.answers_ours().any(|ours| ours) {
            true => self.gone(answer, Outcome::Dropped, Some("it answers our own request")),
            false => self.send_back(state, answer),
        }
    }

    pub(super) fn form(&self, state: &State, lane: LaneId) -> LaneForm {
        state.lanes.get(&lane).map_or(LaneForm::Line, |open| open.lane.form)
    }

    /// Records the replacement of a frame. It stays in the operation of the original, which the
    /// linker has seen already, unless it is another request altogether.
    fn replace(
        &self,
        state: &mut State,
        original: &InFlight,
        origin: Origin,
        message: Message,
        head: Option<&ResponseHead>,
    ) -> InFlight {
        let frame = original.frame();
        let http = frame.http.clone().map(|mut http| {
            http.event = http.event.map(|event| Event::parse(event.with_data(message.raw())));
            if let Some(head) = head {
                *http = with_head(&http, head);
            }
            http
        });
        let same = message.id() == frame.message.id() && message.method() == frame.message.method();
        let anew = |message| LaneItem { message, channel: frame.channel, http: http.clone(), wire: None };
        if !same && let Some(op) = frame.link.op.filter(|_| original.is_request()) {
            state.linker.operations.withdraw(op);
            let injected = original.operation().is_some_and(|operation| operation.injected);
            return self.record(state, original.lane, origin, anew(message), injected);
        }
        let elements = frame.message.elements().iter().zip(original.answers_ours());
        let foreign: Vec<&Message> = elements.filter(|(_, ours)| !ours).map(|(element, _)| element).collect();
        let is_same =
            |(one, other): (&Message, &&Message)| one.id() == other.id() && one.method() == other.method();
        // A batch that was edited is linked anew; one that only lost answers to us keeps its links.
        let keeps_links =
            message.elements().len() == foreign.len() && message.elements().iter().zip(&foreign).all(is_same);
        if !frame.elements.is_empty() && !keeps_links {
            for op in original.requested() {
                state.linker.operations.withdraw(op);
            }
            return self.record(state, original.lane, origin, anew(message), false);
        }
        let is_kept: Vec<bool> = original.answers_ours().map(|ours| !ours).collect();
        let mut kept = is_kept.iter();
        let operations = original.operations.iter().filter(|_| kept.next() == Some(&true)).cloned().collect();
        let elements = frame.elements.iter().zip(&is_kept).filter(|(_, kept)| **kept);
        let elements = elements.map(|(element, _)| *element).collect();
        let replacement = Frame { origin, message, http, elements, ..frame.clone() };
        let record = self.log.append_with(self.id, |_| Body::Frame(Box::new(replacement)));
        InFlight { record, operations, wire: None, ..original.clone() }
    }

    /// Records the replacement of a frame that shadowcat itself rewrites, on the orders of `by`.
    pub(super) fn remap(&self, original: &InFlight, by: &str, instead: LaneItem) -> InFlight {
        let seq = original.seq();
        self.ruled(seq, by, VerdictKind::Replace, None);
        self.gone(original, Outcome::Dropped, Some("replaced"));
        let LaneItem { message, http, wire, .. } = instead;
        let remapped = Frame { origin: Origin::Remapped(seq), message, http, ..original.frame().clone() };
        let record = self.log.append_with(self.id, |_| Body::Frame(Box::new(remapped)));
        InFlight { record, wire, ..original.clone() }
    }

    /// Sends on the frames that waited for others and are free now.
    pub(super) fn advance(&self, state: &mut State) {
        while let Some(waiting) = state.holds.next_free() {
            let stage = waiting.reason.resume();
            let in_flight = self.resume(waiting);
            self.rule(state, in_flight, stage);
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
                // An answer is sent as a body, since no event stream is open for it.
                self.push(back, LaneForm::Body, in_flight);
                back.kick();
            }
            None => self.gone(in_flight, Outcome::Dropped, Some("the lane has no return queue")),
        }
    }

    fn push(&self, queue: &WriterQueue<Receipt>, form: LaneForm, in_flight: &InFlight) {
        if queue.is_closed() {
            self.gone(in_flight, Outcome::Dropped, Some("the peer has disconnected"));
            return;
        }
        let frame = in_flight.frame();
        let Delivery { pace, head, more, keeps_headers } = in_flight.delivery.clone();
        let receipt = Receipt {
            frame: in_flight.seq(),
            held_since: in_flight.held_since,
            length: None,
            as_it_came: frame.origin == Origin::Wire,
            keeps_headers,
            head,
            more,
        };
        let bytes = in_flight.wire.clone().unwrap_or_else(|| form.encode(frame));
        queue.push(QueuedWrite { bytes, receipt: Some(receipt), piece: None, pace });
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

/// Splits an outgoing message into the message with its terminator and the way in which it is sent.
fn parts(outgoing: Outgoing, usual_terminator: &[u8], more: bool) -> (Message, Delivery) {
    let Outgoing { line, terminator, pace, head, keeps_headers } = outgoing;
    let terminator = terminator.as_deref().unwrap_or(usual_terminator);
    let message = Message::parse(terminated(&line, terminator));
    (message, Delivery { pace, head, more, keeps_headers })
}

/// Returns the HTTP facts of our answer to a request.
fn response_facts(request: &Frame, head: Option<&ResponseHead>) -> Option<Box<Http>> {
    // A frame that has a status is itself a response: its answer travels in a request of ours.
    let request = request.http.as_ref().filter(|http| http.status.is_none())?;
    let json = (Arc::from("content-type"), Arc::from("application/json"));
    let plain = Http { status: Some(200), headers: Arc::from([json]), ..(**request).clone() };
    Some(Box::new(match head {
        Some(head) => with_head(&plain, head),
        None => plain,
    }))
}

/// Returns the HTTP facts of a response with the status and headers of `head`.
fn with_head(http: &Http, head: &ResponseHead) -> Http {
    let replaced = |name: &str| head.headers.iter().any(|(other, _)| other.eq_ignore_ascii_case(name));
    let kept = http.headers.iter().filter(|(name, _)| !replaced(name));
    let headers = kept.chain(&head.headers).cloned().collect();
    Http { status: Some(head.status), headers, ..http.clone() }
}
