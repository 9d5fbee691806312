//! Checks and their findings.

use serde::Serialize;
use serde::ser::{SerializeStruct, Serializer};

use super::causes::{Cause, MOOT, UNREAD};
use crate::log::record::{Seq, SessionId};
use crate::mcp::layout;

/// A question about a server, which a check answers.
#[derive(Debug, PartialEq, Eq)]
pub struct Question {
    /// Id of the check, for scripts.
    pub id: &'static str,
    /// Expectation that is checked, in a few words.
    pub title: &'static str,
    /// The question, for the guide.
    pub text: &'static str,
}

/// The questions, in the order in which servers fail.
pub static CHECKS: &[Question] = &[
    question(
        "config",
        "the configuration files of clients are valid",
        "can the files of the known clients be read?",
    ),
    question(
        "binary",
        "clients find the program",
        "do clients find it, with the short `PATH` of clients with a window?",
    ),
    question(
        "spawn",
        "the server starts and keeps running",
        "does the process start, and stay until its client leaves?",
    ),
    question(
        "probe",
        "the server survives a first request that it does not know",
        "does it answer `server/discover` and stay?",
    ),
    question("reach", "the server responds over HTTP", "is there an MCP endpoint at the URL?"),
    question("authorization", "the server accepts our requests", "does the HTTP server let us in?"),
    question("first-byte", "the server answers quickly", "does the first answer come within 5 s?"),
    question(
        "stdout",
        "standard output carries only messages",
        "is every line on standard output a message?",
    ),
    question(
        "handshake",
        "initialize or server/discover succeeds",
        "does the handshake succeed, with a known revision?",
    ),
    question("era", "both sides speak the same era", "do both sides speak the same era?"),
    question(
        "capabilities",
        "declared capabilities match the server",
        "do the declared capabilities match what it does?",
    ),
    question("pages", "lists can be read to their end", "are all lists answered, page by page, to an end?"),
    question(
        "names",
        "clients can call the tools by their names",
        "are names unique, legal and short enough?",
    ),
    question(
        "schemas",
        "the schemas of the tools are valid",
        "are schemas valid, and of a kind that clients accept?",
    ),
    question(
        "context-cost",
        "tool definitions are small",
        "how many tokens do the definitions cost (bytes / 4)?",
    ),
    question("tools", "tools can be called", "does each tool's journey hold, from the list to its answer?"),
    question(
        "ids",
        "answers have the ids of their requests",
        "does each answer name the request that it answers?",
    ),
    question("timeouts", "calls are answered before clients give up", "is each request answered in time?"),
    question(
        "list-changed",
        "lists change only when the server says so",
        "do announcements of changes come to an end?",
    ),
    question(
        "client",
        "the client does its part",
        "does the client go on after the probe, refresh lists, and answer?",
    ),
    question(
        "protocol",
        "every message is as the protocol defines it",
        "is each message well-formed and in its place?",
    ),
    question("secrets", "the traffic contains no secrets", "is there a secret in what was said?"),
    question(
        "evidence",
        "everything that was said could be read",
        "was anything lost, or too long to be inspected?",
    ),
    question(
        "shutdown",
        "the server exits when its client closes stdin",
        "does the process end with its standard input?",
    ),
];

const fn question(id: &'static str, title: &'static str, text: &'static str) -> Question {
    Question { id, title, text }
}

/// Result of a check, ordered from best to worst.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum CheckResult {
    /// The check does not concern this server.
    NotApplicable,
    /// The expectation is met.
    Passed,
    /// The server works, but users will have trouble.
    Warned,
    /// Too little is known to judge.
    Unjudged,
    /// The expectation is not met.
    Failed,
}

impl CheckResult {
    /// Returns the name of the result, in lower case.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NotApplicable => "not-applicable",
            Self::Passed => "passed",
            Self::Warned => "warned",
            Self::Unjudged => "unjudged",
            Self::Failed => "failed",
        }
    }
}

/// An observation that a finding rests on.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Evidence {
    /// What was seen, with the place and the times in words.
    pub text: String,
    /// Session of the frame.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session: Option<SessionNumber>,
    /// Frame of the log.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub frame: Option<Seq>,
    /// JSON-RPC id, as it was spelled.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// HTTP status.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// Seconds from the beginning of the session to the request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub asked: Option<f64>,
    /// Seconds from the beginning of the session to the answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub answered: Option<f64>,
    /// Seconds from the beginning of the session until the client closed its end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hung_up: Option<f64>,
}

/// Number of a session, in reports.
pub type SessionNumber = u32;

impl From<String> for Evidence {
    fn from(text: String) -> Self {
        Self { text, ..Self::default() }
    }
}

impl From<&str> for Evidence {
    fn from(text: &str) -> Self {
        Self::from(text.to_owned())
    }
}

impl Evidence {
    /// Sets the session that was observed.
    #[must_use]
    pub(super) fn of(mut self, session: SessionId) -> Self {
        self.session = Some(session.0);
        self
    }
}

/// A cause that was found, with what it rests on.
#[derive(Debug, Clone, PartialEq)]
pub struct Finding {
    /// The cause.
    pub cause: &'static Cause,
    /// Observations, the most important first.
    pub evidence: Vec<Evidence>,
}

/// Result of one check.
#[derive(Debug, Clone, PartialEq)]
pub struct Check {
    /// The question.
    pub question: &'static Question,
    /// Result of the check.
    pub verdict: CheckResult,
    /// What was seen, if nothing is wrong.
    pub summary: String,
    /// What is wrong, the worst first.
    pub findings: Vec<Finding>,
    /// Advice that is more exact than that of the cause.
    pub advice: Option<String>,
}

/// Maximum number of observations of one finding; the others are counted.
const LINES: usize = 12;

impl Check {
    fn new(id: &str, verdict: CheckResult, summary: String) -> Self {
        let question = CHECKS.iter().find(|check| check.id == id).unwrap_or(&CHECKS[0]);
        Self { question, verdict, summary, findings: Vec::new(), advice: None }
    }

    /// Creates a check whose expectation is met.
    pub fn passed(id: &str, summary: impl Into<String>) -> Self {
        Self::new(id, CheckResult::Passed, line(&summary.into()))
    }

    /// Creates a check that does not concern this server.
    pub fn inapplicable(id: &str, why: impl Into<String>) -> Self {
        Self::new(id, CheckResult::NotApplicable, line(&why.into()))
    }

    /// Creates a check of which nothing is known, since the check `because` failed.
    pub fn moot(id: &str, because: &'static Question) -> Self {
        let why = format!("not judged, because of the check before: {}", because.title);
        Self::of(id, vec![(&MOOT, why.into())], "")
    }

    /// Creates a check that could not be judged, for these reasons.
    pub fn unread(id: &str, why: impl IntoIterator<Item = String>) -> Self {
        Self::of(id, why.into_iter().map(|why| (&UNREAD, why.into())).collect(), "")
    }

    /// Creates a check with the causes that were found, or a passed one if there is none. Equal observations are
    /// counted.
    pub fn of(id: &str, found: Vec<(&'static Cause, Evidence)>, fine: impl Into<String>) -> Self {
        let mut findings: Vec<Finding> = Vec::new();
        for (cause, evidence) in found {
            match findings.iter_mut().find(|finding| finding.cause == cause) {
                Some(finding) => finding.evidence.push(evidence),
                None => findings.push(Finding { cause, evidence: vec![evidence] }),
            }
        }
        findings.sort_by_key(|finding| std::cmp::Reverse(finding.cause.verdict));
        findings
            .iter_mut()
            .for_each(|finding| finding.evidence = counted(std::mem::take(&mut finding.evidence)));
        let Some(worst) = findings.first() else { return Self::passed(id, fine) };
        Self { findings: findings.clone(), ..Self::new(id, worst.cause.verdict, String::new()) }
    }

    /// Sets advice that is more exact than that of the cause.
    #[must_use]
    pub fn with_advice(mut self, advice: impl Into<String>) -> Self {
        self.advice = Some(line(&advice.into()));
        self
    }

    /// Returns `true` if a check before this one failed, so that nothing is known.
    pub fn is_moot(&self) -> bool {
        self.findings.iter().any(|finding| finding.cause == &MOOT)
    }

    /// Returns the advice for all causes.
    pub fn fixes(&self) -> Vec<&str> {
        match &self.advice {
            Some(advice) => vec![advice],
            None => self.findings.iter().map(|finding| finding.cause.fix).collect(),
        }
    }
}

/// Drops equal observations, and those over the limit, and says how many there were.
fn counted(evidence: Vec<Evidence>) -> Vec<Evidence> {
    let mut once: Vec<(Evidence, usize)> = Vec::new();
    let mut more = 0;
    for mut evidence in evidence {
        evidence.text = line(&evidence.text);
        match once.iter().position(|(known, _)| known.text == evidence.text) {
            Some(at) => once[at].1 += 1,
            None if once.len() < LINES => once.push((evidence, 1)),
            None => more += 1,
        }
    }
    let mut lines: Vec<Evidence> = once
        .into_iter()
        .map(|(mut evidence, count)| {
            if count > 1 {
                evidence.text.push_str(&format!(" ({count} times)"));
            }
            evidence
        })
        .collect();
    if more > 0 {
        lines.push(format!("and {more} more").into());
    }
    lines
}

/// Cuts text to one line of a readable length, without the characters that a terminal or a file of another format
/// takes for more than text.
pub(super) fn line(text: &str) -> String {
    const MAX_CHARS: usize = 400;
    let line: String = text.lines().map(str::trim_end).collect::<Vec<_>>().join(" ");
    let is_odd = |c: char| layout::is_harmful(c) || matches!(c, '\u{fffe}' | '\u{ffff}');
    let mut safe: String = line
        .chars()
        .take(MAX_CHARS)
        .map(|c| if is_odd(c) { char::REPLACEMENT_CHARACTER } else { c })
        .collect();
    if line.chars().nth(MAX_CHARS).is_some() {
        safe.push('…');
    }
    safe
}

impl Serialize for Check {
    /// `evidence` has the observations of all findings; a passed check has its summary there.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut check = serializer.serialize_struct("Check", 6)?;
        check.serialize_field("id", self.question.id)?;
        check.serialize_field("title", self.question.title)?;
        check.serialize_field("verdict", &self.verdict)?;
        let causes: Vec<_> = self.findings.iter().map(|finding| finding.cause.id).collect();
        check.serialize_field("causes", &causes)?;
        let mut evidence: Vec<Evidence> =
            self.findings.iter().flat_map(|finding| finding.evidence.iter().cloned()).collect();
        if !self.summary.is_empty() {
            evidence.push(self.summary.clone().into());
        }
        check.serialize_field("evidence", &evidence)?;
        match self.fixes() {
            fixes if fixes.is_empty() => check.skip_field("fix")?,
            fixes => check.serialize_field("fix", &fixes.join("; "))?,
        }
        check.end()
    }
}
