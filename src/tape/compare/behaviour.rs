//! Comparison of behaviour: the answers of a server to the same calls.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use serde_json::Value;

use super::ReportedDifference;
use crate::log::record::Seq;
use crate::tape::script::{Script, Turn, outcome};
use crate::tape::similarity::{Difference, Ignored, differences};

/// A call that is answered differently.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CallChange {
    /// Method and target of the call.
    pub title: String,
    /// Kind of change.
    pub kind: CallChangeKind,
    /// Request in the first recording; `None` if the call is new.
    pub a: Option<Seq>,
    /// Request in the second recording; `None` if the call is missing.
    pub b: Option<Seq>,
    /// Differences between the answers.
    pub differences: Vec<ReportedDifference>,
}

/// Kind of change of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum CallChangeKind {
    /// The answers differ.
    Changed,
    /// The call succeeded, and fails now.
    Fails,
    /// The call failed, and succeeds now.
    Works,
    /// The call was made in the first recording only.
    Missing,
    /// The call was made in the second recording only.
    New,
    /// The call was answered, and is not now.
    Silent,
}

impl CallChangeKind {
    /// Returns the name of the change for people.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Changed => "changed",
            Self::Fails => "fails now",
            Self::Works => "works now",
            Self::Missing => "missing",
            Self::New => "new",
            Self::Silent => "not answered",
        }
    }
}

/// Methods that are compared as offers.
const OFFERS: [&str; 7] = [
    "initialize",
    "server/discover",
    "tools/list",
    "resources/list",
    "resources/templates/list",
    "prompts/list",
    "ping",
];

/// Changes of behaviour, places where answers differ every time (call, JSONPath, reason), and the
/// number of calls compared.
pub type Behaviour = (Vec<CallChange>, Vec<(String, String, String)>, usize);

/// Compares the answers to the same calls. Calls are the same if their method, target and arguments
/// are, in any order; of repeated ones, the first is compared with the first.
pub fn compare(a: &Script, b: &Script, ignored: &Ignored) -> Behaviour {
    let mut changes = Vec::new();
    let mut volatile = BTreeSet::new();
    let mut compared = 0;
    let eras = Eras { differ: a.era.is_some() && b.era.is_some() && a.era != b.era };
    let varying = varying(a, eras, ignored);
    changes.extend(offers_that_fail(a, b));
    let (asked, now) = (eras.calls(a), eras.calls(b));
    let mut left: Vec<&Turn> = now.iter().collect();
    for was in &asked {
        let Some(at) = same(was, &left) else {
            changes.push(CallChange {
                title: was.title(),
                kind: CallChangeKind::Missing,
                a: Some(was.seq),
                b: None,
                differences: Vec::new(),
            });
            continue;
        };
        let is = left.remove(at);
        // A call that was never answered has no answer to compare with.
        if was.answer().is_none() {
            continue;
        }
        compared += 1;
        let title = was.title();
        let (values, found) = found(was, is, eras, ignored);
        let mut differences = Vec::new();
        for difference in found {
            let varies = || {
                let paths = varying.get(&was.title());
                paths.into_iter().flatten().any(|path| *path == difference.path).then_some("varies")
            };
            match difference.volatile.or_else(varies) {
                Some(why) => {
                    volatile.insert((title.clone(), difference.path, why.to_owned()));
                }
                None => differences.push(ReportedDifference::from(difference)),
            }
        }
        if differences.is_empty() {
            continue;
        }
        let kind = match (is.answer(), failed(&values.0), failed(&values.1)) {
            (None, ..) => CallChangeKind::Silent,
            (_, false, true) => CallChangeKind::Fails,
            (_, true, false) => CallChangeKind::Works,
            _ => CallChangeKind::Changed,
        };
        changes.push(CallChange { title, kind, a: Some(was.seq), b: Some(is.seq), differences });
    }
    changes.extend(left.into_iter().map(|new| CallChange {
        title: new.title(),
        kind: CallChangeKind::New,
        a: None,
        b: Some(new.seq),
        differences: Vec::new(),
    }));
    (changes, volatile.into_iter().collect(), compared)
}

impl CallChange {
    /// Returns the change of a call that got no answer.
    pub fn silent(turn: &Turn) -> Self {
        Self {
            title: turn.title(),
            kind: CallChangeKind::Silent,
            a: Some(turn.seq),
            b: None,
            differences: Vec::new(),
        }
    }
}

/// Eras of the two recordings. If they differ, only what both eras have counts.
#[derive(Debug, Clone, Copy)]
struct Eras {
    differ: bool,
}

/// Members of results that only one of the eras has (2026-07-28, basic).
pub const OF_ONE_ERA: [&str; 3] = ["resultType", "ttlMs", "cacheScope"];

impl Eras {
    /// Returns the calls of a script. If the eras differ, the rounds of a call that asks for input
    /// count as the single call that they are in the other era: the last one, with the arguments of
    /// the first.
    fn calls(self, script: &Script) -> Vec<Turn> {
        let calls = script.requests().filter(is_call).cloned();
        if !self.differ {
            return calls.collect();
        }
        let asks_back = |turn: &Turn| {
            turn.answer()
                .is_some_and(|line| outcome(&line.message)["result"]["resultType"] == "input_required")
        };
        let as_one = |mut turn: Turn| {
            if let Some(params) = turn.params.as_object_mut() {
                params.retain(|name, _| !matches!(name.as_str(), "inputResponses" | "requestState"));
            }
            turn
        };
        calls.filter(|turn| !asks_back(turn)).map(as_one).collect()
    }
}

fn is_call(turn: &&Turn) -> bool {
    !OFFERS.contains(&turn.method.as_str()) && !turn.cancelled
}

/// Returns the first call that asks for the same, or else one that differs only in volatile values.
fn same(turn: &Turn, among: &[&Turn]) -> Option<usize> {
    // The server chooses the ids of tasks: the target of a task is not compared.
    let is_task = turn.method.starts_with("tasks/");
    let alike = |other: &&&Turn| other.method == turn.method && (is_task || other.target == turn.target);
    let exact = among.iter().position(|other| alike(&other) && other.params == turn.params);
    exact.or_else(|| {
        among.iter().position(|other| {
            let found = || differences(&turn.params, &other.params);
            alike(&other) && found().iter().all(|each| each.volatile.is_some() || is_token(&each.path))
        })
    })
}

/// Returns `true` for tokens that a server issues to be sent back: they differ every time.
fn is_token(path: &str) -> bool {
    matches!(path, "$.requestState" | "$.cursor" | "$.taskId")
}

fn answer(turn: &Turn, eras: Eras, ignored: &Ignored) -> Value {
    let mut outcome = turn.answer().map_or(Value::Null, |line| outcome(&line.message));
    if let Some(result) = outcome.get_mut("result").and_then(Value::as_object_mut) {
        // The server information in `_meta` is compared as an offer.
        result.remove("_meta");
        if eras.differ {
            result.retain(|name, _| !OF_ONE_ERA.contains(&name.as_str()));
        }
        for token in ["requestState", "nextCursor", "taskId"] {
            if let Some(token) = result.get_mut(token) {
                *token = Value::Bool(true);
            }
        }
        if let Some(token) = result.get_mut("task").and_then(|task| task.get_mut("taskId")) {
            *token = Value::Bool(true);
        }
    }
    ignored.blank(&mut outcome);
    outcome
}

fn found(was: &Turn, is: &Turn, eras: Eras, ignored: &Ignored) -> ((Value, Value), Vec<Difference>) {
    let values = (answer(was, eras, ignored), answer(is, eras, ignored));
    let found = differences(&values.0, &values.1);
    (values, found)
}

fn failed(outcome: &Value) -> bool {
    outcome.get("error").is_some() || outcome["result"]["isError"] == Value::Bool(true)
}

/// Returns a key that is the same for calls that ask for the same.
fn key(turn: &Turn) -> (String, String) {
    (turn.title(), turn.params.to_string())
}

/// Returns the places where the answers to a call differ that was made twice in a row in the first
/// recording: they differ every time. Success or failure is never such a place.
fn varying(script: &Script, eras: Eras, ignored: &Ignored) -> BTreeMap<String, BTreeSet<String>> {
    let mut varying: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let calls = eras.calls(script);
    for pair in calls.windows(2) {
        let [one, two] = pair else { continue };
        if key(one) == key(two) && one.answer().is_some() && two.answer().is_some() {
            let paths = found(one, two, eras, ignored).1.into_iter().map(|difference| difference.path);
            let small =
                |path: &String| !matches!(path.as_str(), "$" | "$.result" | "$.error" | "$.result.isError");
            varying.entry(one.title()).or_default().extend(paths.filter(small));
        }
    }
    varying
}

/// Returns the offers that were answered and are now refused or not answered, or that were refused
/// and are now answered. `contract` compares their content.
fn offers_that_fail(a: &Script, b: &Script) -> Vec<CallChange> {
    let offers = |script: &'_ Script| -> Vec<Turn> {
        let is_offer = |turn: &&Turn| OFFERS.contains(&turn.method.as_str()) && !turn.cancelled;
        script.requests().filter(is_offer).cloned().collect()
    };
    let mut left = offers(b);
    let mut changes = Vec::new();
    for was in offers(a) {
        let at = left.iter().position(|is| is.method == was.method);
        let is = at.map(|at| left.remove(at));
        let fails = |turn: &Turn| turn.answer().is_some_and(|line| line.message.is_error());
        let answers = |turn: &Turn| turn.answer().is_some();
        let kind = match &is {
            Some(is) if answers(&was) && !answers(is) => CallChangeKind::Silent,
            Some(is) if !fails(&was) && fails(is) => CallChangeKind::Fails,
            Some(is) if fails(&was) && answers(is) && !fails(is) => CallChangeKind::Works,
            _ => continue,
        };
        changes.push(CallChange {
            title: was.title(),
            kind,
            a: Some(was.seq),
            b: is.map(|is| is.seq),
            differences: Vec::new(),
        });
    }
    changes
}
