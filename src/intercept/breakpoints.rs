//! Breakpoints: queries that stop what they match until a person decides.

use std::collections::HashSet;
use std::sync::Arc;

use parking_lot::RwLock;
use tokio::sync::watch;

use super::chain::{Arriving, Interceptor};
use super::verdict::Ruling;
use crate::log::breakpoint::{Breakpoint, Snapshot};
use crate::log::query::{Query, Subject};
use crate::log::record::{Channel, OpId, Origin, Role};
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
    /// Operations whose reply is to be held, whatever the breakpoints say.
    replies: HashSet<OpId>,
    /// Those who can decide. With nobody there nothing is held.
    deciders: u32,
}

impl Breakpoints {
    pub fn new() -> Arc<Self> {
        let breakpoints = Self::default();
        breakpoints.change(|_| ());
        Arc::new(breakpoints)
    }

    /// Somebody can decide from now on.
    pub fn attend(&self) {
        self.change(|inner| inner.deciders += 1);
    }

    /// One who could decide is gone. Returns whether nobody is left.
    pub fn leave(&self) -> bool {
        self.change(|inner| {
            inner.deciders = inner.deciders.saturating_sub(1);
            inner.deciders == 0
        })
    }

    /// Adds a breakpoint, armed at once, and returns its number.
    pub fn add(&self, query: Query) -> u32 {
        self.change(|inner| {
            inner.made += 1;
            inner.disarmed = false;
            inner.points.push(Breakpoint { id: inner.made, query, enabled: true, hits: 0 });
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
    fn snapshot(&self) -> Snapshot {
        Snapshot { points: self.points.clone(), armed: !self.disarmed, everything: self.everything }
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
            if idle || inner.deciders == 0 || matches!(frame.origin, Origin::Answered(_)) {
                return None;
            }
        }
        let mut inner = self.inner.write();
        let is_reply = matches!(frame.link.role, Role::Response | Role::InputRequired);
        if is_reply && frame.link.op.is_some_and(|op| inner.replies.remove(&op)) {
            return Some(Ruling::hold("the reply of a call that was let through"));
        }
        let vital = arriving.method().filter(|method| Method::is_vital(method)).map(str::to_owned);
        let stderr = frame.channel == Channel::Stderr;
        if inner.everything && vital.is_none() && !stderr {
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
        let hit = inner.points.iter_mut().filter(|point| point.enabled).find(|point| {
            let named = vital.as_ref().is_none_or(|method| point.query.names_method(method));
            let matches = |subject: &dyn Subject| point.query.matches(subject);
            named && (matches(arriving) || elements.iter().any(|element| matches(element)))
        })?;
        hit.hits += 1;
        let why = match hit.query.is_empty() {
            true => "matches everything".to_owned(),
            false => hit.query.text().to_owned(),
        };
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
