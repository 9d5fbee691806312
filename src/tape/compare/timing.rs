//! Comparison of how long a server takes, and what it costs.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;

use crate::tape::script::Script;

/// Quantiles of the durations of calls.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Quantiles {
    /// Number of calls.
    pub calls: usize,
    /// Median in nanoseconds.
    pub p50: u64,
    /// 95th percentile in nanoseconds.
    pub p95: u64,
    /// 99th percentile in nanoseconds.
    pub p99: u64,
}

/// Durations of the calls of one kind in both recordings.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Timing {
    /// Method and target of the calls.
    pub title: String,
    /// Durations in the first recording.
    pub a: Quantiles,
    /// Durations in the second recording.
    pub b: Quantiles,
}

/// Estimated tokens of both recordings: bytes divided by four.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct TokenCost {
    /// Tokens of the tool definitions, from the newest list.
    pub definitions: (u64, u64),
    /// Tokens of the answers to all other requests.
    pub answers: (u64, u64),
}

impl Quantiles {
    /// Computes the quantiles of durations in any order.
    pub fn of(mut durations: Vec<Duration>) -> Self {
        durations.sort_unstable();
        let at = |share: f64| {
            let last = durations.len().saturating_sub(1);
            let place = (last as f64 * share).round() as usize;
            durations.get(place).map_or(0, |duration| u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX))
        };
        Self { calls: durations.len(), p50: at(0.5), p95: at(0.95), p99: at(0.99) }
    }
}

/// Returns the timing of every kind of call that was made in both recordings.
pub fn compare(a: &Script, b: &Script) -> Vec<Timing> {
    let (a, b) = (durations(a), durations(b));
    let both = a.into_iter().filter_map(|(title, a)| {
        let b = b.get(&title)?.clone();
        Some(Timing { title, a: Quantiles::of(a), b: Quantiles::of(b) })
    });
    both.collect()
}

fn durations(script: &Script) -> BTreeMap<String, Vec<Duration>> {
    let mut all: BTreeMap<String, Vec<Duration>> = BTreeMap::new();
    for turn in script.requests() {
        if let Some(answer) = turn.answer() {
            all.entry(turn.title()).or_default().push(answer.after);
        }
    }
    all
}

/// Returns the estimated tokens of both recordings.
pub fn cost(a: &Script, b: &Script) -> TokenCost {
    let answers = |script: &Script, is_list: bool| -> u64 {
        let size = |turn: &crate::tape::script::Turn| {
            turn.answer().map_or(0, |answer| answer.message.raw().len() as u64 / 4)
        };
        let of_kind = script.requests().filter(|turn| (turn.method == "tools/list") == is_list);
        match is_list {
            true => of_kind.last().map_or(0, size),
            false => of_kind.map(size).sum(),
        }
    };
    TokenCost {
        definitions: (answers(a, true), answers(b, true)),
        answers: (answers(a, false), answers(b, false)),
    }
}
