//! Which recorded request a request is.

use serde_json::Value;

use crate::tape::script::{Script, Turn, TurnKind};
use crate::tape::similarity::{Difference, Ignored, differences, score};

/// A recorded request that answers for another.
#[derive(Debug, Clone, PartialEq)]
pub struct Found {
    /// Its place among the turns.
    pub turn: usize,
    pub how: How,
}

/// How a recorded request was found.
#[derive(Debug, Clone, PartialEq)]
pub enum How {
    /// The arguments are the same.
    Exact,
    /// They differ only in what differs every time, or in what is ignored.
    Alike,
    /// It is the likest of the same method, from 0 to 1, and differs in this.
    Nearest {
        score: f64,
        differences: Vec<Difference>,
        /// Whether it is aimed at the same tool, resource or prompt.
        same: bool,
    },
}

/// Requests whose arguments say who asks, not what for.
const GREETINGS: [&str; 2] = ["initialize", "server/discover"];
/// What a request to another tool is worth less.
const OTHER_TARGET: f64 = 0.25;

/// Finds recorded requests, in their order where the same one was made more than once.
#[derive(Debug, Default)]
pub struct Matching {
    ignored: Ignored,
    /// How often each turn has answered.
    used: Vec<u32>,
}

impl Matching {
    /// Matches that leave out what `ignored` reaches in `params`.
    pub fn new(ignored: Ignored) -> Self {
        Self { ignored, used: Vec::new() }
    }

    /// The recorded request that is this one, and counts it as used.
    pub fn find(
        &mut self,
        script: &Script,
        method: &str,
        target: Option<&str>,
        params: &Value,
    ) -> Option<Found> {
        let found = self.look(script, method, target, params)?;
        if !matches!(found.how, How::Nearest { .. }) {
            self.mark_used(script, found.turn);
        }
        Some(found)
    }

    /// Counts a turn as used.
    pub fn mark_used(&mut self, script: &Script, turn: usize) {
        self.used.resize(script.turns.len(), 0);
        self.used[turn] += 1;
    }

    fn look(&self, script: &Script, method: &str, target: Option<&str>, params: &Value) -> Option<Found> {
        let wanted = self.without_ignored(params);
        let greets = GREETINGS.contains(&method);
        let same = |turn: &Turn| turn.method == method && turn.target.as_deref() == target;
        let exact = |turn: &Turn| same(turn) && (greets || self.without_ignored(&turn.params) == wanted);
        if let Some(turn) = self.unused(script, &exact) {
            return Some(Found { turn, how: How::Exact });
        }
        let alike = |turn: &Turn| {
            let recorded = self.without_ignored(&turn.params);
            let varies = |each: &Difference| each.volatile.is_some() && self.varies(script, turn, &each.path);
            same(turn) && differences(&recorded, &wanted).iter().all(varies)
        };
        if let Some(turn) = self.unused(script, &alike) {
            return Some(Found { turn, how: How::Alike });
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
        Some(Found { turn, how: How::Nearest { score, differences: differences(&recorded, &wanted), same } })
    }

    /// The first that fits and has not answered yet; where all have, the last one that
    /// has an answer answers again.
    fn unused(&self, script: &Script, fits: &dyn Fn(&Turn) -> bool) -> Option<usize> {
        let fitting = || candidates(script).filter(|(_, turn)| fits(turn)).map(|(at, _)| at);
        let unused = |at: &usize| self.used.get(*at).is_none_or(|used| *used == 0);
        let answered = |at: &usize| script.turns[*at].answer().is_some();
        fitting().find(unused).or_else(|| fitting().filter(answered).last()).or_else(|| fitting().last())
    }

    /// Whether the recording shows that this part of the arguments is another one every time.
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
