//! The journey of each tool: listed, all pages fetched, schema accepted, name legal in the clients, called in time,
//! answered as declared. The first link that does not hold is named.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;

use super::causes::{
    CALL_REFUSED, CALL_SILENT, Cause, NO_TIME, OUTPUT_SCHEMA, RESULT_SHAPE, SLOW_CALL, UNANSWERED,
    UNLISTED_TOOL, UNREAD,
};
use super::check::{Check, CheckResult, Evidence, line};
use super::contract::{Tool, Tools};
use super::{Target, waits};
use crate::log::record::{FrameKind, Role};
use crate::log::world::{OperationSummary, Row};
use crate::mcp::tree::{Node, exact_value};
use crate::mcp::{Kind, Message, json, schema};

/// The journey of a tool.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Journey {
    /// Name of the server.
    pub server: String,
    /// Name of the tool.
    pub tool: String,
    /// Number of calls that were seen.
    pub calls: usize,
    /// The first link that does not hold; `None` if all hold that were tried.
    pub broken: Option<Link>,
}

/// A link of a journey that does not hold.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Link {
    /// The link.
    pub step: JourneyStep,
    /// How bad it is.
    pub verdict: CheckResult,
    /// The cause.
    #[serde(serialize_with = "by_id")]
    pub cause: &'static Cause,
    /// What was seen.
    pub evidence: Evidence,
}

/// The links of a journey, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum JourneyStep {
    /// A list names the tool.
    Listed,
    /// Its schemas are accepted.
    SchemaAccepted,
    /// Its name is legal in the clients.
    NameLegal,
    /// Its calls are answered, in time.
    CalledInTime,
    /// Its answers are as it declares.
    AnsweredAsDeclared,
}

fn by_id<S: serde::Serializer>(cause: &&'static Cause, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(cause.id)
}

impl JourneyStep {
    /// Returns the link in words.
    pub const fn words(self) -> &'static str {
        match self {
            Self::Listed => "listed",
            Self::SchemaAccepted => "schema accepted",
            Self::NameLegal => "name legal in the clients",
            Self::CalledInTime => "called in time",
            Self::AnsweredAsDeclared => "answered as declared",
        }
    }
}

/// Time after which many clients stop waiting for an answer.
const CLIENT_TIMEOUT: Duration = Duration::from_secs(60);
/// Code of the error for arguments that do not fit (JSON-RPC 2.0).
const INVALID_PARAMS: &[u8] = b"-32602";
/// Maximum number of calls of a tool that are judged, the newest.
const JUDGED: usize = 200;

type Wrong = (JourneyStep, &'static Cause, Evidence);

/// Returns the journeys of all tools that are listed or called.
pub(super) fn journeys(target: &Target<'_>, tools: &Tools) -> Vec<Journey> {
    let mut calls: BTreeMap<(&str, &str), Vec<(&OperationSummary, &Row)>> = BTreeMap::new();
    for (operation, row) in target.asked().filter(|(_, row)| target.method(row) == "tools/call") {
        let name = target.world.text(row.target).unwrap_or_default();
        calls.entry((target.name(row), name)).or_default().push((operation, row));
    }
    let mut journeys = Vec::new();
    for tool in &tools.read {
        let calls = calls.remove(&(tool.server.as_str(), tool.name())).unwrap_or_default();
        let is_known = journeys
            .iter()
            .any(|journey: &Journey| journey.server == tool.server && journey.tool == tool.name());
        if is_known {
            continue;
        }
        let mut wrong: Vec<Wrong> = Vec::new();
        let schemas = tool.odd_schemas().into_iter();
        wrong.extend(schemas.map(|(cause, why)| (JourneyStep::SchemaAccepted, cause, why.into())));
        wrong.extend(tool.odd_name().map(|(cause, why)| (JourneyStep::NameLegal, cause, why.into())));
        let newest = calls.len().saturating_sub(JUDGED);
        for (operation, row) in &calls[newest..] {
            wrong.extend(called(target, Some(tool), operation, row));
        }
        journeys.push(Journey::of(&tool.server, tool.name(), calls.len(), wrong));
    }
    let is_listed = |server: &str| tools.read.iter().any(|tool| tool.server == server);
    for ((server, name), calls) in calls {
        let mut wrong: Vec<Wrong> = Vec::new();
        if let Some((_, row)) = calls.first().filter(|_| is_listed(server)) {
            let text = format!("{name} is called, and no list names it");
            wrong.push((JourneyStep::Listed, &UNLISTED_TOOL, target.evidence(row, &text)));
        }
        let newest = calls.len().saturating_sub(JUDGED);
        wrong.extend(
            calls[newest..].iter().filter_map(|(operation, row)| called(target, None, operation, row)),
        );
        journeys.push(Journey::of(server, name, calls.len(), wrong));
    }
    journeys
}

/// Checks that the journey of each tool holds.
pub(super) fn tools(journeys: &[Journey]) -> Check {
    const ID: &str = "tools";
    if journeys.is_empty() {
        return Check::inapplicable(ID, "no tools were listed or called");
    }
    let mut found = Vec::new();
    for journey in journeys {
        let Some(link) = &journey.broken else { continue };
        // Names and schemas have checks of their own.
        if matches!(link.step, JourneyStep::SchemaAccepted | JourneyStep::NameLegal) {
            continue;
        }
        let text = format!("{}: {}: {}", journey.tool, link.step.words(), link.evidence.text);
        found.push((link.cause, Evidence { text, ..link.evidence.clone() }));
    }
    let called = journeys.iter().filter(|journey| journey.calls > 0).count();
    let called = match called {
        0 => "none was called".to_owned(),
        called => format!("{called} called"),
    };
    Check::of(ID, found, format!("no broken link in {} tools ({called})", journeys.len()))
}

impl Journey {
    fn of(server: &str, tool: &str, calls: usize, wrong: Vec<Wrong>) -> Self {
        // A failure counts before a weak link, and an early link before a late one.
        let broken =
            wrong.into_iter().min_by_key(|(step, cause, _)| (std::cmp::Reverse(cause.verdict), *step));
        let broken =
            broken.map(|(step, cause, evidence)| Link { step, verdict: cause.verdict, cause, evidence });
        Self { server: line(server), tool: line(tool), calls, broken }
    }
}

/// Judges a call of a tool.
fn called(
    target: &Target<'_>,
    tool: Option<&Tool>,
    operation: &OperationSummary,
    row: &Row,
) -> Option<Wrong> {
    let Some(answer) = target.answer(operation) else {
        if !waits::is_silent(operation.state) {
            return refused(target, operation);
        }
        let cause = waits::unanswered(target, operation, row)?;
        // A call that reports progress works.
        let works = target.world.frames(operation).any(|row| row.role == Role::Progress);
        let cause = if cause == &UNANSWERED && !works { &CALL_SILENT } else { &NO_TIME };
        return Some((JourneyStep::CalledInTime, cause, target.evidence(row, "no answer")));
    };
    let took = target.took(answer).unwrap_or_default();
    if took > CLIENT_TIMEOUT && !waits::is_kept_alive(target, operation) {
        let text = format!("answered after {took:.0?}");
        return Some((JourneyStep::CalledInTime, &SLOW_CALL, target.evidence(answer, &text)));
    }
    let (cause, text) = odd_answer(&target.message(answer)?, tool)?;
    Some((JourneyStep::AnsweredAsDeclared, cause, target.evidence(answer, &text)))
}

/// Returns a call that ended with an HTTP status and without a message.
fn refused(target: &Target<'_>, operation: &OperationSummary) -> Option<Wrong> {
    let mut frames = target.world.frames(operation);
    let first = frames.next()?;
    let http = target.rows().find(|row| {
        row.session == operation.session
            && row.seq > first.seq
            && row.kind == FrameKind::Http
            && row.status().is_some()
    })?;
    let text = format!("{}: {}", http.status().unwrap_or_default(), target.text(http));
    Some((JourneyStep::AnsweredAsDeclared, &CALL_REFUSED, target.evidence(first, &text)))
}

/// Returns what is wrong with the answer to a call (2025-11-25, server/tools).
fn odd_answer(message: &Message, tool: Option<&Tool>) -> Option<(&'static Cause, String)> {
    let result = match message.kind() {
        Kind::Response { result, .. } => message.slice(result.clone()),
        // Arguments that were made up may be refused.
        Kind::Failure { .. } if message.outcome(&["code"]) == Some(INVALID_PARAMS) => return None,
        Kind::Failure { error, .. } => {
            let error = String::from_utf8_lossy(message.slice(error.clone())).into_owned();
            return Some((&CALL_REFUSED, error));
        }
        _ => return None,
    };
    let kind = Node::parse(result).map_or("no value that can be read", |node| node.kind());
    if !result.starts_with(b"{") {
        return Some((&RESULT_SHAPE, format!("result is {kind}")));
    }
    // A call that needs input, or goes on as a task, has no content yet.
    let is_whole = message.outcome(&["resultType"]).is_none_or(|kind| kind == b"\"complete\"");
    if !is_whole || message.outcome(&["task"]).is_some() {
        return None;
    }
    let structured = message.outcome(&["structuredContent"]);
    match message.outcome(&["content"]) {
        Some(content) if content.starts_with(b"[") => {
            let items = json::elements(content, 0..content.len()).map(|span| &content[span]);
            let is_item = |item: &[u8]| {
                json::member(item, 0..item.len(), "type").is_some_and(|kind| item[kind].starts_with(b"\""))
            };
            if let Some(odd) = items.into_iter().find(|item| !is_item(item)) {
                let text = String::from_utf8_lossy(odd).into_owned();
                return Some((&RESULT_SHAPE, format!("content has an item without a type: {text}")));
            }
        }
        None if structured.is_some() => {}
        None => return Some((&RESULT_SHAPE, "the result has no content".to_owned())),
        Some(content) => {
            let kind = Node::parse(content).map_or("odd", |node| node.kind());
            return Some((&RESULT_SHAPE, format!("content is {kind}, not an array")));
        }
    }
    let schema = tool.map(|tool| &tool.definition["outputSchema"]).filter(|schema| !schema.is_null())?;
    if message.outcome(&["isError"]) == Some(b"true") {
        return None;
    }
    let Some(structured) = structured else {
        let text = "structuredContent is missing, and the tool declares an outputSchema";
        return Some((&OUTPUT_SCHEMA, text.to_owned()));
    };
    let (validator, value) = match (schema::validator(schema), exact_value(structured)) {
        (Ok(validator), Ok(value)) => (validator, value),
        // An invalid schema is another link's.
        (Err(error), _) if !error.is_unsupported => return None,
        (Err(error), _) => return Some((&UNREAD, format!("outputSchema cannot be used here: {error}"))),
        (_, Err(error)) => return Some((&UNREAD, format!("structuredContent cannot be read: {error}"))),
    };
    let error = validator.iter_errors(&value).next()?;
    Some((&OUTPUT_SCHEMA, format!("structuredContent does not fit outputSchema: {error}")))
}
