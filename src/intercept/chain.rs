//! The ordered list of interceptors that every frame passes.

use std::sync::Arc;

use arc_swap::ArcSwap;

use super::breakpoints::Breakpoints;
use super::inspected::Inspected;
use super::verdict::Ruling;

/// Priorities of the usual stages: higher ones rule first.
pub mod priority {
    /// Access policies.
    pub const POLICIES: i32 = 1000;
    /// Rules from files.
    pub const RULES: i32 = 0;
    /// Breakpoints, below rules: a person sees what rules made of a frame.
    pub const BREAKPOINTS: i32 = -100;
}

/// A stage of the pipeline.
pub trait Interceptor: Send + Sync {
    /// Returns the name that the log gives as the author of its verdicts.
    fn name(&self) -> &str;

    /// Returns `true` if no frame would be ruled on at the moment, so that bytes of a line that has not ended
    /// may go on. A stage that does not tell is asked about whole lines only.
    fn is_idle(&self) -> bool {
        false
    }

    /// Rules on a frame, or returns `None` to leave it to the next stage.
    ///
    /// The session is locked meanwhile, so this must not block; slow work belongs into
    /// [`Ruling::later`].
    fn rule(&self, frame: &Inspected<'_>) -> Option<Ruling>;
}

/// Interceptors in the order in which they rule: highest priority first, equal priorities in the
/// order in which they were added.
#[derive(Default, Clone)]
pub struct Chain {
    stages: Vec<(i32, Arc<dyn Interceptor>)>,
}

impl Chain {
    /// Creates a chain without stages, which forwards everything.
    pub fn new() -> Self {
        Self::default()
    }

    /// Creates the chain of an engine without rules: breakpoints only.
    pub fn of_breakpoints(breakpoints: &Arc<Breakpoints>) -> Self {
        Self::new().with(priority::BREAKPOINTS, Arc::clone(breakpoints) as Arc<dyn Interceptor>)
    }

    /// Adds an interceptor.
    #[must_use]
    pub fn with(mut self, priority: i32, interceptor: Arc<dyn Interceptor>) -> Self {
        let at = self.stages.partition_point(|(other, _)| *other >= priority);
        self.stages.insert(at, (priority, interceptor));
        self
    }

    /// Removes every interceptor of this name.
    #[must_use]
    pub fn without(mut self, name: &str) -> Self {
        self.stages.retain(|(_, stage)| stage.name() != name);
        self
    }

    /// Asks the stages from index `from` on. Returns the index after the first stage that rules, its
    /// name and its ruling.
    pub fn rule(&self, from: usize, frame: &Inspected<'_>) -> Option<(usize, &str, Ruling)> {
        self.stages
            .iter()
            .enumerate()
            .skip(from)
            .find_map(|(index, (_, stage))| Some((index + 1, stage.name(), stage.rule(frame)?)))
    }

    /// Returns `true` if no stage would rule on any frame at the moment.
    pub fn is_idle(&self) -> bool {
        self.stages.iter().all(|(_, stage)| stage.is_idle())
    }

    /// Returns `true` if there are no stages.
    pub fn is_empty(&self) -> bool {
        self.stages.is_empty()
    }
}

/// The chain in force, shared by all sessions of an engine.
///
/// A frame keeps the chain that was in force when it arrived, so that a frame that waits goes on
/// where it stopped; frames that arrive after [`SharedChain::replace`] see the new chain, in
/// sessions that run already too.
pub struct SharedChain(ArcSwap<Chain>);

impl SharedChain {
    /// Puts `chain` in force.
    pub fn new(chain: Chain) -> Arc<Self> {
        Arc::new(Self(ArcSwap::from_pointee(chain)))
    }

    /// Returns the chain in force.
    pub fn load(&self) -> Arc<Chain> {
        self.0.load_full()
    }

    /// Puts another chain in force.
    pub fn replace(&self, chain: Chain) {
        self.0.store(Arc::new(chain));
    }
}
