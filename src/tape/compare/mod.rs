//! Comparison of two recordings: what the server offers, how it behaves, how long it takes, and
//! what it costs.

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

pub use behaviour::{CallChange, CallChangeKind as CallKind, OF_ONE_ERA};
pub use contract::{ChangeKind, OfferChange, OfferType};
pub use timing::{Quantiles, Timing, TokenCost};

/// Side of a comparison: a recording, or a session of it.
pub struct Side<'a> {
    /// State folded from the recording.
    pub world: &'a World,
    /// Log that the records are read from.
    pub log: &'a Log,
    /// Session to compare; `None` for the whole recording.
    pub only: Option<SessionId>,
}

/// Differences between two recordings.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Report {
    /// Changes of what the server offers.
    pub contract: Vec<OfferChange>,
    /// Changes of answers to the same calls.
    pub behaviour: Vec<CallChange>,
    /// Durations of the calls that were made in both.
    pub timing: Vec<Timing>,
    /// Estimated tokens of both.
    pub cost: TokenCost,
    /// Places where results differ every time: call, JSONPath and reason.
    pub volatile: Vec<(String, String, String)>,
    /// Protocol eras of both, as far as they are known.
    pub eras: (Option<&'static str>, Option<&'static str>),
    /// Number of calls that were made in both.
    pub compared: usize,
    /// Kinds of offers that were seen in one only, so that nothing is known of their changes.
    pub not_compared: Vec<OfferType>,
}

/// A difference, as a report shows it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ReportedDifference {
    /// JSONPath of the difference.
    pub path: String,
    /// Value in the first recording; `None` if there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub was: Option<Value>,
    /// Value in the second recording; `None` if there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub is: Option<Value>,
}

impl From<Difference> for ReportedDifference {
    fn from(difference: Difference) -> Self {
        let Difference { path, was, is, .. } = difference;
        Self { path, was, is }
    }
}

impl ReportedDifference {
    /// Returns the difference on one line.
    pub fn summary(&self) -> String {
        format!("{}: {} → {}", self.path, brief(self.was.as_ref()), brief(self.is.as_ref()))
    }
}

/// Compares `b` with `a`; values in results that `ignored` selects are not compared.
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
        not_compared: contract::seen_in_one(&scripts.0, &scripts.1, ignored),
    }
}

impl Report {
    /// Returns `true` if an offer or an answer changed. A change of timing is not drift.
    pub fn has_drift(&self) -> bool {
        !self.contract.is_empty() || !self.behaviour.is_empty()
    }

    /// Adds the calls in `silent`, which got no answer, as changes of behaviour.
    pub fn add_silent(&mut self, silent: &[Seq], script: &Script) {
        for turn in script.turns.iter().filter(|turn| silent.contains(&turn.seq)) {
            if !self.behaviour.iter().any(|change| change.a == Some(turn.seq)) {
                self.behaviour.push(CallChange::silent(turn));
            }
        }
    }
}
