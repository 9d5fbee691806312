//! Breakpoints: queries that hold the frames that they match until a person decides.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::RwLock;
use tokio::sync::watch;

use super::chain::Interceptor;
use super::controllers::Controllers;
use super::inspected::Inspected;
use super::verdict::Ruling;
use crate::log::breakpoint::{Breakpoint, Snapshot};
use crate::log::query::{Query, Truth};
use crate::log::record::{Channel, OpId, Origin, Role, Seq};
use crate::mcp::{Kind, Method};

/// The breakpoints of an engine, shared by the chain and by those who set them.
pub struct Breakpoints {
    controllers: Arc<Controllers>,
    state: RwLock<State>,
    shown: Arc<watch::Sender<Snapshot>>,
}

#[derive(Default)]
struct State {
    points: Vec<Breakpoint>,
    last_id: u32,
    disarmed: bool,
    everything: bool,
    /// Operations whose reply is held whatever the breakpoints say.
    replies: HashSet<OpId>,
    default_patience: Duration,
}

impl Breakpoints {
    /// Creates an empty list of breakpoints, and an empty list of controllers.
    pub fn new() -> Arc<Self> {
        let shown = Arc::new(watch::Sender::default());
        let controllers = Controllers::new(Arc::clone(&shown));
        let breakpoints = Self { controllers, state: RwLock::default(), shown };
        breakpoints.change(|_| ());
        Arc::new(breakpoints)
    }

    /// Returns the controllers that decide on held frames.
    pub fn controllers(&self) -> &Arc<Controllers> {
        &self.controllers
    }

    /// Sets the patience of breakpoints that name none themselves.
    pub fn set_default_patience(&self, patience: Duration) {
        self.change(|state| state.default_patience = patience);
    }

    /// Adds a breakpoint, arms all of them and returns its number. See
    /// [`Decision::Hold`](super::Decision::Hold) for `patience`.
    pub fn add(&self, query: Query, patience: Option<Duration>) -> u32 {
        self.change(|state| {
            state.last_id += 1;
            let patience = patience.unwrap_or(state.default_patience);
            state.disarmed = false;
            state.points.push(Breakpoint { id: state.last_id, query, enabled: true, hits: 0, patience });
            state.last_id
        })
    }

    /// Removes a breakpoint. Returns `false` if there is none of that number.
    pub fn remove(&self, id: u32) -> bool {
        self.change(|state| {
            let before = state.points.len();
            state.points.retain(|point| point.id != id);
            state.points.len() < before
        })
    }

    /// Enables or disables a breakpoint, or toggles it if `enabled` is `None`. Returns `false` if
    /// there is none of that number.
    pub fn set_enabled(&self, id: u32, enabled: Option<bool>) -> bool {
        self.change(|state| {
            let point = state.points.iter_mut().find(|point| point.id == id);
            point.map(|point| point.enabled = enabled.unwrap_or(!point.enabled)).is_some()
        })
    }

    /// Arms or disarms all breakpoints.
    pub fn arm(&self, armed: bool) {
        self.change(|state| state.disarmed = !armed);
    }

    /// Starts or stops holding every frame.
    pub fn hold_everything(&self, on: bool) {
        self.change(|state| state.everything = on);
    }

    /// Holds the reply of operation `op`.
    pub fn hold_reply(&self, op: OpId) {
        self.change(|state| state.replies.insert(op));
    }

    /// Publishes the text that goes on in the place of a held frame; `None` once it waits no longer.
    pub fn show_amended(&self, frame: Seq, text: Option<Bytes>) {
        self.shown.send_modify(|shown| {
            match text {
                Some(text) => shown.amended.insert(frame, text),
                None => shown.amended.remove(&frame),
            };
        });
    }

    /// Follows breakpoints and controllers.
    pub fn watch(&self) -> watch::Receiver<Snapshot> {
        self.shown.subscribe()
    }

    fn change<R>(&self, change: impl FnOnce(&mut State) -> R) -> R {
        let mut state = self.state.write();
        let result = change(&mut state);
        self.publish(&state);
        result
    }

    fn publish(&self, state: &State) {
        self.shown.send_modify(|shown| {
            shown.points.clone_from(&state.points);
            (shown.armed, shown.everything) = (!state.disarmed, state.everything);
        });
    }
}

impl State {
    fn is_idle(&self) -> bool {
        self.points.is_empty() && self.replies.is_empty() && !self.everything
    }
}

impl Interceptor for Breakpoints {
    fn name(&self) -> &str {
        "breakpoint"
    }

    fn is_idle(&self) -> bool {
        let is_attended = self.controllers.is_attended();
        let state = self.state.read();
        let holds = |point: &Breakpoint| point.enabled && (is_attended || !point.patience.is_zero());
        let is_armed = !state.disarmed && state.points.iter().any(holds);
        !is_armed && !(is_attended && (state.everything || !state.replies.is_empty()))
    }

    fn rule(&self, frame: &Inspected<'_>) -> Option<Ruling> {
        // Answers that we made ourselves were decided already.
        if self.state.read().is_idle() || matches!(frame.origin, Origin::Answered(_)) {
            return None;
        }
        let is_attended = self.controllers.is_attended();
        let mut state = self.state.write();
        let is_reply = |role| matches!(role, Role::Response | Role::InputRequired);
        let mut replies = frame.links.iter().filter(|link| is_reply(link.role)).filter_map(|link| link.op);
        if is_attended && replies.any(|op| state.replies.remove(&op)) {
            return Some(Ruling::hold("reply of an accepted call", Duration::ZERO));
        }
        let whole = frame.whole();
        let is_batch = matches!(frame.message.kind(), Kind::Batch(_));
        let vital = whole.method().filter(|method| Method::is_vital(method));
        let stderr = frame.channel == Channel::Stderr;
        if is_attended && state.everything && vital.is_none() && !stderr {
            return Some(Ruling::hold("hold everything", Duration::ZERO));
        }
        if state.disarmed || stderr {
            return None;
        }
        let holds = |point: &&mut Breakpoint| point.enabled && (is_attended || !point.patience.is_zero());
        let (hit, unknown) = state.points.iter_mut().filter(holds).find_map(|point| {
            vital.is_none_or(|method| point.query.names_method(method)).then_some(())?;
            // A batch is held whole if any of its messages matches.
            let elements =
                || frame.messages().filter(|_| is_batch).map(|message| point.query.judge(&message));
            let mut unknown = None;
            for truth in std::iter::once(point.query.judge(&whole)).chain(elements()) {
                match truth {
                    Truth::True => return Some((point, None)),
                    Truth::Unknown(why) => unknown = Some(why),
                    Truth::False => {}
                }
            }
            // A message that cannot be judged must not slip by.
            unknown.map(|why| (point, Some(why)))
        })?;
        hit.hits += 1;
        let why = match (hit.query.is_empty(), unknown) {
            (true, _) => "matches everything".to_owned(),
            (false, None) => hit.query.text().to_owned(),
            (false, Some(why)) => format!("{} could not be judged: {why}", hit.query.text()),
        };
        let ruling = Ruling::hold(why, hit.patience);
        self.publish(&state);
        Some(ruling)
    }
}
