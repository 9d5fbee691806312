//! Breakpoints: queries that stop what they match until a person decides.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::RwLock;
use tokio::sync::watch;

use super::chain::{Arriving, Interceptor};
use super::verdict::Ruling;
use crate::log::breakpoint::{Breakpoint, Controller, Snapshot};
use crate::log::query::{Query, Subject};
use crate::log::record::{Channel, OpId, Origin, Role, Seq};
use crate::mcp::{Kind, Method};

/// The breakpoints of an engine, shared by the chain and by those who set them.
#[derive(Default)]
pub struct Breakpoints {
    inner: RwLock<Inner>,
    shown: watch::Sender<Snapshot>,
}

#[derive(Default)]
struct Inner {
    points: Vec<Breakpoint>,
    made: u32,
    disarmed: bool,
    everything: bool,
    /// Held frames that were changed and are still held.
    amended: BTreeMap<Seq, Bytes>,
    /// Frames that patient breakpoints hold.
    patient: HashMap<Seq, Duration>,
    /// Operations whose reply is to be held, whatever the breakpoints say.
    replies: HashSet<OpId>,
    /// Those who can decide. With nobody there only patient breakpoints hold.
    controllers: Vec<Controller>,
    seated: u32,
    usual_patience: Duration,
}

impl Breakpoints {
    pub fn new() -> Arc<Self> {
        let breakpoints = Self::default();
        breakpoints.change(|_| ());
        Arc::new(breakpoints)
    }

    /// Somebody can decide from now on; the first one does. Returns the seat.
    pub fn attend(&self, name: &str) -> u32 {
        self.change(|inner| {
            inner.seated += 1;
            let decides = inner.controllers.is_empty();
            inner.controllers.push(Controller { seat: inner.seated, name: name.to_owned(), decides });
            inner.seated
        })
    }

    /// The one in this seat decides. Returns whether there is one.
    pub fn take_over(&self, seat: u32) -> bool {
        self.change(|inner| {
            let is_there = inner.controllers.iter().any(|controller| controller.seat == seat);
            if is_there {
                inner
                    .controllers
                    .iter_mut()
                    .for_each(|controller| controller.decides = controller.seat == seat);
            }
            is_there
        })
    }

    /// One who could decide is gone; if it did, the one who came next does. Returns who it was, and
    /// whether nobody is left.
    pub fn leave(&self, seat: u32) -> Option<(Controller, bool)> {
        self.change(|inner| {
            let at = inner.controllers.iter().position(|controller| controller.seat == seat)?;
            let gone = inner.controllers.remove(at);
            if let Some(next) = inner.controllers.first_mut().filter(|_| gone.decides) {
                next.decides = true;
            }
            Some((gone, inner.controllers.is_empty()))
        })
    }

    /// How long a frame that is held waits while nobody is there.
    pub fn patience(&self, frame: Seq) -> Duration {
        self.inner.read().patient.get(&frame).copied().unwrap_or_default()
    }

    /// The frames that patient breakpoints have stopped.
    pub fn patient(&self) -> Vec<Seq> {
        self.inner.read().patient.keys().copied().collect()
    }

    /// A frame is held no more.
    pub fn forget(&self, frame: Seq) {
        let is_amended = self.inner.read().amended.contains_key(&frame);
        match is_amended {
            true => self.change(|inner| inner.forget(frame)),
            false => self.inner.write().forget(frame),
        }
    }

    /// Goes on instead of a held frame, once it may. What is no longer held is forgotten.
    pub fn amend(&self, frame: Seq, line: Bytes, is_held: impl Fn(Seq) -> bool) {
        self.change(|inner| {
            inner.amended.retain(|seq, _| is_held(*seq));
            inner.amended.insert(frame, line);
        });
    }

    /// What goes on instead of a held frame.
    pub fn amended(&self, frame: Seq) -> Option<Bytes> {
        self.inner.read().amended.get(&frame).cloned()
    }

    /// Wakes those who follow.
    pub fn stir(&self) {
        self.change(|_| ());
    }

    /// Who decides.
    pub fn decider(&self) -> Option<Controller> {
        self.inner.read().controllers.iter().find(|controller| controller.decides).cloned()
    }

    /// How long what breakpoints hold waits while nobody is there, where they do not say it themselves.
    pub fn set_patience(&self, patience: Duration) {
        self.change(|inner| inner.usual_patience = patience);
    }

    /// Adds a breakpoint, armed at once, and returns its number. What it holds waits for `patience`
    /// while nobody is there who could decide.
    pub fn add(&self, query: Query, patience: Option<Duration>) -> u32 {
        self.change(|inner| {
            inner.made += 1;
            let patience = patience.unwrap_or(inner.usual_patience);
            inner.disarmed = false;
            inner.points.push(Breakpoint { id: inner.made, query, enabled: true, hits: 0, patience });
            inner.made
        })
    }

    /// Removes a breakpoint. Returns whether it existed.
    pub fn remove(&self, id: u32) -> bool {
        self.change(|inner| {
            let before = inner.points.len();
            inner.points.retain(|point| point.id != id);
            inner.points.len() < before
        })
    }

    /// Enables or disables a breakpoint. Returns whether it exists.
    pub fn toggle(&self, id: u32) -> bool {
        self.change(|inner| {
            let point = inner.points.iter_mut().find(|point| point.id == id);
            point.map(|point| point.enabled = !point.enabled).is_some()
        })
    }

    /// Arms or disarms them all.
    pub fn arm(&self, armed: bool) {
        self.change(|inner| inner.disarmed = !armed);
    }

    /// Starts or stops holding everything.
    pub fn hold_everything(&self, on: bool) {
        self.change(|inner| inner.everything = on);
    }

    /// Holds the reply of `op` when it comes.
    pub fn hold_reply(&self, op: OpId) {
        self.change(|inner| inner.replies.insert(op));
    }

    /// Follows the breakpoints.
    pub fn watch(&self) -> watch::Receiver<Snapshot> {
        self.shown.subscribe()
    }

    fn change<R>(&self, change: impl FnOnce(&mut Inner) -> R) -> R {
        let mut inner = self.inner.write();
        let result = change(&mut inner);
        self.shown.send_replace(inner.snapshot());
        result
    }
}

impl Inner {
    /// Whether there is somebody to decide, or a breakpoint that waits for one.
    fn can_hold(&self) -> bool {
        !self.controllers.is_empty() || self.points.iter().any(|point| !point.patience.is_zero())
    }

    fn forget(&mut self, frame: Seq) {
        self.patient.remove(&frame);
        self.amended.remove(&frame);
    }

    fn snapshot(&self) -> Snapshot {
        Snapshot {
            points: self.points.clone(),
            armed: !self.disarmed,
            everything: self.everything,
            controllers: self.controllers.clone(),
            amended: self.amended.clone(),
        }
    }
}

impl Interceptor for Breakpoints {
    fn name(&self) -> &str {
        "breakpoint"
    }

    fn rule(&self, arriving: &Arriving<'_>) -> Option<Ruling> {
        let frame = arriving.frame;
        {
            let inner = self.inner.read();
            let idle = inner.points.is_empty() && inner.replies.is_empty() && !inner.everything;
            // Answers that we made ourselves were decided already.
            if idle || !inner.can_hold() || matches!(frame.origin, Origin::Answered(_)) {
                return None;
            }
        }
        let mut inner = self.inner.write();
        let is_attended = !inner.controllers.is_empty();
        let is_reply = matches!(frame.link.role, Role::Response | Role::InputRequired);
        if is_attended && is_reply && frame.link.op.is_some_and(|op| inner.replies.remove(&op)) {
            return Some(Ruling::hold("the reply of a call that was let through"));
        }
        let vital = arriving.method().filter(|method| Method::is_vital(method)).map(str::to_owned);
        let stderr = frame.channel == Channel::Stderr;
        if is_attended && inner.everything && vital.is_none() && !stderr {
            return Some(Ruling::hold("hold everything"));
        }
        if inner.disarmed || stderr {
            return None;
        }
        let elements: Vec<BatchElement<'_>> = match frame.message.kind() {
            Kind::Batch(messages) => {
                messages.iter().map(|message| BatchElement { whole: arriving, message }).collect()
            }
            _ => Vec::new(),
        };
        let holds = |point: &&mut Breakpoint| point.enabled && (is_attended || !point.patience.is_zero());
        let hit = inner.points.iter_mut().filter(holds).find(|point| {
            let named = vital.as_ref().is_none_or(|method| point.query.names_method(method));
            let matches = |subject: &dyn Subject| point.query.matches(subject);
            named && (matches(arriving) || elements.iter().any(|element| matches(element)))
        })?;
        hit.hits += 1;
        let patience = hit.patience;
        let why = match hit.query.is_empty() {
            true => "matches everything".to_owned(),
            false => hit.query.text().to_owned(),
        };
        if !patience.is_zero() {
            inner.patient.insert(arriving.seq, patience);
        }
        self.shown.send_replace(inner.snapshot());
        Some(Ruling::hold(why))
    }
}

/// One message of a batch: a batch is held whole when any element matches.
struct BatchElement<'a> {
    whole: &'a Arriving<'a>,
    message: &'a crate::mcp::Message,
}

impl Subject for BatchElement<'_> {
    fn seq(&self) -> u64 {
        self.whole.seq
    }
    fn direction(&self) -> crate::mcp::Direction {
        self.whole.frame.direction
    }
    fn kind(&self) -> &str {
        self.message.kind().as_str()
    }
    fn method(&self) -> Option<&str> {
        self.message.method()
    }
    fn target(&self) -> Option<&str> {
        None
    }
    fn size(&self) -> u64 {
        self.message.raw().len() as u64
    }
    fn message(&self) -> Option<crate::mcp::Message> {
        Some(self.message.clone())
    }
    fn origin(&self) -> &str {
        self.whole.frame.origin.as_str()
    }
    fn statuses(&self, yes: &mut dyn FnMut(&str)) {
        if self.message.is_error() {
            yes("error");
        }
    }
    fn session(&self) -> (u32, &str) {
        (self.whole.session.0, self.whole.name)
    }
    fn time_of_day(&self) -> u32 {
        self.whole.time_of_day
    }
}
