//! Controllers: the screens that can decide on held frames, and which of them decides.

use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::watch;

use crate::log::breakpoint::{Controller, Snapshot};

/// The controllers of an engine, in the order in which they attached. The first one decides, until
/// another takes over.
pub struct Controllers {
    state: Mutex<State>,
    shown: Arc<watch::Sender<Snapshot>>,
}

#[derive(Default)]
struct State {
    list: Vec<Controller>,
    last_id: u32,
}

impl Controllers {
    /// Creates an empty list that is published in `shown`.
    pub(super) fn new(shown: Arc<watch::Sender<Snapshot>>) -> Arc<Self> {
        Arc::new(Self { state: Mutex::default(), shown })
    }

    /// Adds a controller and returns its id. The first one decides.
    pub fn attach(&self, name: &str) -> u32 {
        self.change(|state| {
            state.last_id += 1;
            let decides = state.list.is_empty();
            state.list.push(Controller { id: state.last_id, name: name.to_owned(), decides });
            state.last_id
        })
    }

    /// Makes controller `id` the one that decides. Returns `false` if there is none of that id.
    pub fn take_over(&self, id: u32) -> bool {
        self.change(|state| {
            let exists = state.list.iter().any(|controller| controller.id == id);
            if exists {
                state.list.iter_mut().for_each(|controller| controller.decides = controller.id == id);
            }
            exists
        })
    }

    /// Removes controller `id`; if it decided, the next one does. Returns it, and whether none is
    /// left.
    pub fn detach(&self, id: u32) -> Option<(Controller, bool)> {
        self.change(|state| {
            let at = state.list.iter().position(|controller| controller.id == id)?;
            let gone = state.list.remove(at);
            if let Some(next) = state.list.first_mut().filter(|_| gone.decides) {
                next.decides = true;
            }
            Some((gone, state.list.is_empty()))
        })
    }

    /// Returns the controller that decides.
    pub fn decider(&self) -> Option<Controller> {
        self.state.lock().list.iter().find(|controller| controller.decides).cloned()
    }

    /// Returns `true` if a controller is attached.
    pub fn is_attended(&self) -> bool {
        !self.state.lock().list.is_empty()
    }

    fn change<R>(&self, change: impl FnOnce(&mut State) -> R) -> R {
        let mut state = self.state.lock();
        let result = change(&mut state);
        self.shown.send_modify(|shown| shown.controllers.clone_from(&state.list));
        result
    }
}
