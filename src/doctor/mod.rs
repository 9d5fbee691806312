//! Diagnosis of a server: ordered checks of the recorded traffic, with evidence and a fix. A running
//! session, a recording and a server that was started for it are examined alike.

mod conduct;
mod contract;
mod report;
mod start;

use std::collections::BTreeSet;
use std::time::Duration;

use serde::Serialize;

use crate::log::Log;
use crate::log::record::{FrameKind, Origin, SessionId};
use crate::log::world::{Row, SessionOverview, World};
use crate::mcp::Direction;

pub use report::{escape, junit, markdown};

/// Result of one check, with its evidence.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Check {
    /// Id of the check, for scripts.
    pub id: &'static str,
    /// Expectation that is checked, in a few words.
    pub title: &'static str,
    /// Result of the check.
    pub verdict: CheckResult,
    /// Observations, the most important first.
    pub evidence: Vec<String>,
    /// Advice for the user; `None` if nothing is wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fix: Option<String>,
}

/// Result of a check, ordered from best to worst.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum CheckResult {
    /// The traffic has nothing to check.
    Skipped,
    /// The expectation is met.
    Passed,
    /// The server works, but users will have trouble.
    Warned,
    /// The traffic cannot be read, so that nothing is known.
    Unjudged,
    /// The expectation is not met.
    Failed,
}

/// Traffic to examine: one session of a log, or all of them.
pub struct Target<'a> {
    /// State folded from the log.
    pub world: &'a World,
    /// Log with the records.
    pub log: &'a Log,
    /// Session to examine; all if `None`.
    pub only: Option<SessionId>,
}

/// Maximum number of lines of evidence of one check.
const LINES: usize = 12;

impl CheckResult {
    /// Returns the name of the result, in lower case.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Skipped => "skipped",
            Self::Passed => "passed",
            Self::Warned => "warned",
            Self::Unjudged => "unjudged",
            Self::Failed => "failed",
        }
    }
}

impl Check {
    fn new(id: &'static str, title: &'static str, verdict: CheckResult, evidence: Vec<String>) -> Self {
        Self { id, title, verdict, evidence, fix: None }
    }

    /// Creates a check whose expectation is met.
    pub fn passed(id: &'static str, title: &'static str, evidence: impl Into<String>) -> Self {
        Self::new(id, title, CheckResult::Passed, vec![evidence.into()])
    }

    /// Creates a check that had nothing to check.
    pub fn skipped(id: &'static str, title: &'static str, why: impl Into<String>) -> Self {
        Self::new(id, title, CheckResult::Skipped, vec![why.into()])
    }

    /// Creates a check that could not be judged, for these reasons.
    pub fn unjudged(id: &'static str, title: &'static str, why: Vec<String>) -> Self {
        let fix = "mend what cannot be read first: nothing is known about the rest";
        Self::found(id, title, CheckResult::Unjudged, why, fix)
    }

    /// Creates a check that found something wrong. Repeated evidence is dropped, and long evidence is
    /// cut.
    pub fn found(
        id: &'static str,
        title: &'static str,
        verdict: CheckResult,
        evidence: Vec<String>,
        fix: impl Into<String>,
    ) -> Self {
        let mut once = BTreeSet::new();
        let mut evidence: Vec<String> =
            evidence.into_iter().map(line).filter(|line| once.insert(line.clone())).collect();
        let more = evidence.len().saturating_sub(LINES);
        evidence.truncate(LINES);
        if more > 0 {
            evidence.push(format!("and {more} more"));
        }
        Self { fix: Some(fix.into()), ..Self::new(id, title, verdict, evidence) }
    }

    /// Creates a check with the evidence that was found, or a passed one if there is none.
    fn of(
        id: &'static str,
        title: &'static str,
        verdict: CheckResult,
        evidence: Vec<String>,
        fix: &str,
        fine: impl Into<String>,
    ) -> Self {
        match evidence.is_empty() {
            true => Self::passed(id, title, fine),
            false => Self::found(id, title, verdict, evidence, fix),
        }
    }
}

/// Puts evidence on one line, and cuts it to a readable length.
fn line(text: String) -> String {
    const MAX_CHARS: usize = 300;
    let line: String = text.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(MAX_CHARS) {
        Some((at, _)) => format!("{}…", &line[..at]),
        None => line,
    }
}

impl<'a> Target<'a> {
    /// Returns the sessions to examine.
    fn sessions(&self) -> impl Iterator<Item = &'a SessionOverview> {
        let only = self.only;
        self.world.sessions.values().filter(move |session| only.is_none_or(|only| only == session.id))
    }

    fn rows(&self) -> impl Iterator<Item = &'a Row> {
        let only = self.only;
        self.world.rows.iter().filter(move |row| only.is_none_or(|only| only == row.session))
    }

    /// Returns the frames that servers sent themselves. Frames that shadowcat made do not
    /// count, nor do lines of stderr.
    fn said(&self) -> impl Iterator<Item = &'a Row> {
        self.rows().filter(|row| {
            row.direction == Direction::ToClient
                && row.kind != FrameKind::Stderr
                && row.origin() == Origin::Wire
        })
    }

    /// Returns `true` if a session is over HTTP.
    fn is_http(&self, session: SessionId) -> bool {
        let opened = self.world.sessions.get(&session).map(|session| &session.opened);
        opened.is_some_and(|opened| opened.target.first().is_some_and(|target| target.contains("://")))
    }

    /// Returns the time that the server took for an answer, without the time for which the request
    /// was held.
    fn took(&self, row: &Row) -> Option<Duration> {
        let root = row.op().and_then(|op| self.world.operation(op)).and_then(|op| self.world.first(op));
        let held = |seq| self.world.handling(seq).held.unwrap_or_default();
        let ours = root.map_or(Duration::ZERO, |root| held(root.seq));
        Some(row.duration()?.saturating_sub(ours))
    }

    fn text(&self, row: &Row) -> String {
        const MAX_CHARS: usize = 400;
        let record = self.log.get(row.seq);
        let text = record.as_ref().and_then(|record| record.frame()).map(|frame| {
            let body = frame.message.body();
            String::from_utf8_lossy(&body[..body.len().min(MAX_CHARS)]).into_owned()
        });
        text.unwrap_or_else(|| "(no longer in memory)".to_owned())
    }
}

/// Makes all checks, in the order in which servers fail.
pub fn examine(target: &Target<'_>) -> Vec<Check> {
    let mut checks = start::checks(target);
    checks.extend(contract::checks(target));
    checks.extend(conduct::checks(target));
    checks
}

/// Returns the worst result of the checks.
pub fn worst(checks: &[Check]) -> CheckResult {
    checks.iter().map(|check| check.verdict).max().unwrap_or(CheckResult::Skipped)
}
