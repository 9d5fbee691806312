//! Comparing two recordings: what a server offers, how it behaves, how long it takes, what it costs.

mod behaviour;
mod contract;
mod timing;

use serde::Serialize;
use serde_json::Value;

use super::script::Script;
use super::similarity::{Difference, Ignored, brief};
use crate::log::record::Seq;
use crate::log::world::World;
use crate::log::{Log, SessionId};
use crate::mcp::Era;

pub use behaviour::{CallChange, Kind as CallKind, OF_ONE_ERA};
pub use contract::{Change, Offer, OfferChange};
pub use timing::{Cost, Quantiles, Timing};

/// One of the recordings.
pub struct Side<'a> {
    pub world: &'a World,
    pub log: &'a Log,
    /// One session of it only.
    pub only: Option<SessionId>,
}

/// In what two recordings differ.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Report {
    pub contract: Vec<OfferChange>,
    pub behaviour: Vec<CallChange>,
    pub timing: Vec<Timing>,
    pub cost: Cost,
    /// Where results differ every time, and why.
    pub volatile: Vec<(String, String, String)>,
    pub eras: (Option<&'static str>, Option<&'static str>),
    /// Calls that were made in both.
    pub compared: usize,
}

/// A difference as a report spells it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Changed {
    pub path: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub was: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub is: Option<Value>,
}

impl From<Difference> for Changed {
    fn from(difference: Difference) -> Self {
        let Difference { path, was, is, .. } = difference;
        Self { path, was, is }
    }
}

impl Changed {
    /// In one line.
    pub fn summary(&self) -> String {
        format!("{}: {} → {}", self.path, brief(self.was.as_ref()), brief(self.is.as_ref()))
    }
}

/// Compares `b` with `a`; what `ignored` reaches in a result is not looked at.
pub fn compare(a: &Side<'_>, b: &Side<'_>, ignored: &Ignored) -> Report {
    let scripts = (Script::read(a.world, a.log, a.only), Script::read(b.world, b.log, b.only));
    let (behaviour, volatile, compared) = behaviour::compare(&scripts.0, &scripts.1, ignored);
    let era = |script: &Script| script.era.map(Era::as_str);
    Report {
        contract: contract::compare(&scripts.0, &scripts.1, ignored),
        behaviour,
        timing: timing::compare(&scripts.0, &scripts.1),
        cost: timing::cost(&scripts.0, &scripts.1),
        volatile,
        eras: (era(&scripts.0), era(&scripts.1)),
        compared,
    }
}

impl Report {
    /// Whether what is offered or answered is other than it was. How long it takes is no drift.
    pub fn has_drift(&self) -> bool {
        !self.contract.is_empty() || !self.behaviour.is_empty()
    }

    /// Counts calls that got no answer as changes of behaviour.
    pub fn add_silent(&mut self, silent: &[Seq], script: &Script) {
        for turn in script.turns.iter().filter(|turn| silent.contains(&turn.seq)) {
            if !self.behaviour.iter().any(|change| change.a == Some(turn.seq)) {
                self.behaviour.push(CallChange::silent(turn));
            }
        }
    }
}
