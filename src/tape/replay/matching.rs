//! Matching of requests with recorded requests.

use serde_json::Value;

use crate::tape::script::{Script, Turn, TurnKind};
use crate::tape::similarity::{Difference, Ignored, differences, score};

/// A recorded request that answers another one.
#[derive(Debug, Clone, PartialEq)]
pub struct MatchedRequest {
    /// Index of its turn in the script.
    pub turn: usize,
    /// Quality of the match.
    pub how: How,
}

/// Quality of the match with a recorded request.
#[derive(Debug, Clone, PartialEq)]
pub enum How {
    /// The arguments are the same.
    Exact,
    /// The arguments differ only in volatile or ignored values.
    Alike,
    /// The most similar request of the same method.
    Nearest {
        /// Similarity, from 0 to 1.
        score: f64,
        /// Differences between the arguments.
        differences: Vec<Difference>,
        /// `true` if the tool, resource or prompt is the same.
        same: bool,
    },
}

/// Handshake requests: their arguments tell who asks, not for what.
const GREETINGS: [&str; 2] = ["initialize", "server/discover"];
/// Factor of the similarity to a request for another target.
const OTHER_TARGET: f64 = 0.25;

/// Finds recorded requests; the same request, recorded more than once, is used in its order.
#[derive(Debug, Default)]
pub struct Matching {
    ignored: Ignored,
    /// Number of answers that each turn has given.
    used: Vec<u32>,
}

impl Matching {
    /// Creates a matching that leaves out the values in `params` that `ignored` selects.
    pub fn new(ignored: Ignored) -> Self {
        Self { ignored, used: Vec::new() }
    }

    /// Returns the recorded request that matches best, and counts it as used unless it is only the
    /// nearest.
    pub fn find(
        &mut self,
        script: &Script,
        method: &str,
        target: Option<&str>,
        params: &Value,
    ) -> Option<MatchedRequest> {
        let found = self.look(script, method, target, params)?;
        if !matches!(found.how, How::Nearest { .. }) {
            self.mark_used(script, found.turn);
        }
        Some(found)
    }

    /// Counts a turn as used.
    ///
    /// # Panics
    /// Panics if `turn` is not the index of a turn of `script`.
    pub fn mark_used(&mut self, script: &Script, turn: usize) {
        self.used.resize(script.turns.len(), 0);
        self.used[turn] += 1;
    }

    fn look(
        &self,
        script: &Script,
        method: &str,
        target: Option<&str>,
        params: &Value,
    ) -> Option<MatchedRequest> {
        let wanted = self.without_ignored(params);
        let greets = GREETINGS.contains(&method);
        let same = |turn: &Turn| turn.method == method && turn.target.as_deref() == target;
        let exact = |turn: &Turn| same(turn) && (greets || self.without_ignored(&turn.params) == wanted);
        if let Some(turn) = self.unused(script, &exact) {
            return Some(MatchedRequest { turn, how: How::Exact });
        }
        let alike = |turn: &Turn| {
            let recorded = self.without_ignored(&turn.params);
            let varies = |each: &Difference| each.volatile.is_some() && self.varies(script, turn, &each.path);
            same(turn) && differences(&recorded, &wanted).iter().all(varies)
        };
        if let Some(turn) = self.unused(script, &alike) {
            return Some(MatchedRequest { turn, how: How::Alike });
        }
        let scored = candidates(script).filter(|(_, turn)| turn.method == method).map(|(at, turn)| {
            let score = score(&self.without_ignored(&turn.params), &wanted);
            (at, if same(turn) { score } else { score * OTHER_TARGET })
        });
        let is_unused = |at: usize| self.used.get(at).is_none_or(|used| *used == 0);
        let better = |a: &(usize, f64), b: &(usize, f64)| {
            a.1.total_cmp(&b.1).then(is_unused(a.0).cmp(&is_unused(b.0))).then(b.0.cmp(&a.0))
        };
        let (turn, score) = scored.max_by(better)?;
        let recorded = self.without_ignored(&script.turns[turn].params);
        let same = same(&script.turns[turn]);
        Some(MatchedRequest {
            turn,
            how: How::Nearest { score, differences: differences(&recorded, &wanted), same },
        })
    }

    /// Returns the first matching turn that has not answered yet; if all have, the last one that
    /// has an answer.
    fn unused(&self, script: &Script, fits: &dyn Fn(&Turn) -> bool) -> Option<usize> {
        let fitting = || candidates(script).filter(|(_, turn)| fits(turn)).map(|(at, _)| at);
        let unused = |at: &usize| self.used.get(*at).is_none_or(|used| *used == 0);
        let answered = |at: &usize| script.turns[*at].answer().is_some();
        fitting().find(unused).or_else(|| fitting().filter(answered).last()).or_else(|| fitting().last())
    }

    /// Returns `true` if the recording shows that this argument differs in every request.
    fn varies(&self, script: &Script, turn: &Turn, path: &str) -> bool {
        let others = candidates(script).filter(|(_, other)| {
            other.seq != turn.seq && other.method == turn.method && other.target == turn.target
        });
        others.flat_map(|(_, other)| differences(&turn.params, &other.params)).any(|each| each.path == path)
    }

    fn without_ignored(&self, params: &Value) -> Value {
        let mut params = params.clone();
        if !self.ignored.is_empty() {
            self.ignored.blank(&mut params);
        }
        params
    }
}

fn candidates(script: &Script) -> impl Iterator<Item = (usize, &Turn)> {
    script.turns.iter().enumerate().filter(|(_, turn)| turn.kind == TurnKind::Request)
}
