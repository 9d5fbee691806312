//! What is wrong with a server, and why: ordered checks with evidence and the fix, told from what
//! was said. A running session, a recording and a server that was started for it are looked at alike.

mod conduct;
mod contract;
mod report;
mod start;

use std::collections::BTreeSet;
use std::time::Duration;

use serde::Serialize;

use crate::log::Log;
use crate::log::record::{FrameKind, Origin, SessionId};
use crate::log::world::{Row, Session, World};
use crate::mcp::Direction;

pub use report::{escape, junit, markdown};

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Check {
    /// The word for scripts.
    pub id: &'static str,
    /// What is asked, in a few words.
    pub title: &'static str,
    pub verdict: CheckResult,
    /// What was seen, the most important first.
    pub evidence: Vec<String>,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fix: Option<String>,
}

/// How a check came out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum CheckResult {
    /// There was nothing to look at.
    Skipped,
    Passed,
    /// It works, and somebody will trip over it.
    Warned,
    Failed,
}

/// What is looked at: one session of a log, or all of them.
pub struct Target<'a> {
    pub world: &'a World,
    pub log: &'a Log,
    pub only: Option<SessionId>,
}

/// Lines of evidence that are kept of one check.
const LINES: usize = 12;

impl CheckResult {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Skipped => "skipped",
            Self::Passed => "passed",
            Self::Warned => "warned",
            Self::Failed => "failed",
        }
    }
}

impl Check {
    fn new(id: &'static str, title: &'static str, verdict: CheckResult, evidence: Vec<String>) -> Self {
        Self { id, title, verdict, evidence, fix: None }
    }

    pub fn passed(id: &'static str, title: &'static str, evidence: impl Into<String>) -> Self {
        Self::new(id, title, CheckResult::Passed, vec![evidence.into()])
    }

    pub fn skipped(id: &'static str, title: &'static str, why: impl Into<String>) -> Self {
        Self::new(id, title, CheckResult::Skipped, vec![why.into()])
    }

    /// Something is wrong, or may be.
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

    /// What was found, or that nothing was.
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

/// Evidence on one line, of a length that can be read.
fn line(text: String) -> String {
    const MAX_CHARS: usize = 300;
    let line: String = text.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(MAX_CHARS) {
        Some((at, _)) => format!("{}…", &line[..at]),
        None => line,
    }
}

impl<'a> Target<'a> {
    /// The sessions that are looked at.
    fn sessions(&self) -> impl Iterator<Item = &'a Session> {
        let only = self.only;
        self.world.sessions.values().filter(move |session| only.is_none_or(|only| only == session.id))
    }

    fn rows(&self) -> impl Iterator<Item = &'a Row> {
        let only = self.only;
        self.world.rows.iter().filter(move |row| only.is_none_or(|only| only == row.session))
    }

    /// What servers sent on their own stream. What we made says nothing of them.
    fn said(&self) -> impl Iterator<Item = &'a Row> {
        self.rows().filter(|row| {
            row.direction == Direction::ToClient
                && row.kind != FrameKind::Stderr
                && row.origin() == Origin::Wire
        })
    }

    /// Whether a session is over HTTP.
    fn is_http(&self, session: SessionId) -> bool {
        let opened = self.world.sessions.get(&session).map(|session| &session.opened);
        opened.is_some_and(|opened| opened.target.first().is_some_and(|target| target.contains("://")))
    }

    /// The time that the server itself took for an answer: what was held was held by us.
    fn took(&self, row: &Row) -> Option<Duration> {
        let root = row.op().and_then(|op| self.world.operation(op)).and_then(|op| self.world.first(op));
        let held = |seq| self.world.handling(seq).held.unwrap_or_default();
        let ours = root.map_or(Duration::ZERO, |root| held(root.seq));
        Some(row.duration()?.saturating_sub(ours))
    }

    fn text(&self, row: &Row) -> String {
        const MAX_CHARS: usize = 120;
        let record = self.log.get(row.seq);
        let text = record.as_ref().and_then(|record| record.frame()).map(|frame| {
            let body = frame.message.body();
            String::from_utf8_lossy(&body[..body.len().min(MAX_CHARS)]).into_owned()
        });
        text.unwrap_or_else(|| "(no longer at hand)".to_owned())
    }
}

/// Looks at everything, in the order in which things go wrong.
pub fn examine(target: &Target<'_>) -> Vec<Check> {
    let mut checks = start::checks(target);
    checks.extend(contract::checks(target));
    checks.extend(conduct::checks(target));
    checks
}

/// The worst of them.
pub fn worst(checks: &[Check]) -> CheckResult {
    checks.iter().map(|check| check.verdict).max().unwrap_or(CheckResult::Skipped)
}
