//! The form of each message, and its place: what the protocol forbids, or does not define.

use std::collections::HashMap;

use serde_json::Value;

use super::Target;
use super::causes::{
    ARRAY_PARAMS, Cause, ERROR_SHAPE, LOG_LEVEL, NO_JSONRPC, NO_RESULT_TYPE, ODD_ORDER, PROGRESS_BACK,
    UNDECLARED_ASK,
};
use super::check::Evidence;
use crate::log::record::{Flags, FrameKind, OpId, Origin, Role};
use crate::log::world::Row;
use crate::mcp::tree::{Node, exact_value};
use crate::mcp::{Direction, Era, Kind, Message, Quirks};

type Found = Vec<(&'static Cause, Evidence)>;

/// Levels of log messages (2025-11-25, server/utilities/logging).
const LEVELS: [&str; 8] = ["debug", "info", "notice", "warning", "error", "critical", "alert", "emergency"];

/// Returns what is odd about messages, in order.
pub(super) fn lints(target: &Target<'_>) -> Found {
    let mut found = Found::new();
    let mut progress: HashMap<OpId, f64> = HashMap::new();
    let own = |row: &&Row| row.origin() == Origin::Wire && row.kind != FrameKind::Stderr;
    found.extend(target.rows().filter(own).filter_map(|row| place(target, row)));
    let mut newest: Vec<&Row> = target.read_rows().filter(own).collect();
    newest.reverse();
    for row in newest {
        let Some(message) = target.message(row) else { continue };
        for element in message.elements() {
            found.extend(form(target, row, element));
            found.extend(level(target, row, element));
            found.extend(undeclared(target, row, element));
            found.extend(backwards(target, row, element, &mut progress));
        }
    }
    found
}

/// Returns what is odd about the place of a message among the others.
fn place(target: &Target<'_>, row: &Row) -> Option<(&'static Cause, Evidence)> {
    // What nothing is known of besides is the near miss of an id, or a line that is no message.
    // Servers of the other era answer a probe as they can.
    if row.is_error && target.method(row) == "server/discover" {
        return None;
    }
    // Without a session the answer to a server's request comes in an exchange of its own, and cannot be linked.
    if row.direction == Direction::ToServer && row.flags.has(Flags::ORPHAN) && target.is_http(row.session) {
        return None;
    }
    let illegal = target.world.illegal(row);
    let flags: Vec<String> = row.flags.words().map(str::to_owned).chain(illegal).collect();
    (!flags.is_empty()).then(|| (&ODD_ORDER, target.evidence(row, &flags.join(", "))))
}

/// Returns what is odd about the form of a message.
fn form(target: &Target<'_>, row: &Row, message: &Message) -> Found {
    let mut found = Found::new();
    let mut add = |cause, text: &str| found.push((cause, target.evidence(row, text)));
    let quirks = message.quirks();
    // An error of HTTP, such as {"error":"unauthorized"}, is no message of the protocol.
    let is_http_error = row.status().is_some_and(|status| status >= 400) && message.id().is_none();
    if quirks.has(Quirks::NO_VERSION) && !is_http_error {
        add(&NO_JSONRPC, "the message lacks \"jsonrpc\":\"2.0\"");
    }
    // A byte order mark on a stream of lines is another check's.
    let others =
        quirks.describe().filter(|quirk| !quirk.contains("jsonrpc") && !quirk.contains("byte order"));
    others.for_each(|quirk| add(&ODD_ORDER, &format!("the message {quirk}")));
    match message.kind() {
        Kind::Failure { error, .. } if !is_http_error => {
            let has_code = message
                .outcome(&["code"])
                .is_some_and(|code| std::str::from_utf8(code).is_ok_and(|code| code.parse::<i64>().is_ok()));
            let has_text = message.outcome(&["message"]).is_some_and(|text| text.starts_with(b"\""));
            let error = message.slice(error.clone());
            if !(error.starts_with(b"{") && has_code && has_text) {
                let kind = Node::parse(error).map_or("odd", |node| node.kind());
                let text = String::from_utf8_lossy(error).into_owned();
                add(&ERROR_SHAPE, &format!("error is {kind}: {text}"));
            }
        }
        Kind::Response { result, .. } if is_stateless(target, row) => {
            let result = message.slice(result.clone());
            if result.starts_with(b"{") && message.outcome(&["resultType"]).is_none() {
                add(&NO_RESULT_TYPE, "the result has no resultType");
            }
        }
        Kind::Request { params: Some(params), .. } | Kind::Notification { params: Some(params), .. }
            if message.slice(params.clone()).starts_with(b"[") =>
        {
            add(&ARRAY_PARAMS, "params is an array");
        }
        _ => {}
    }
    found
}

fn is_stateless(target: &Target<'_>, row: &Row) -> bool {
    let session = target.world.sessions.get(&row.session);
    let server = session.and_then(|session| session.server.as_ref());
    row.direction == Direction::ToClient && server.and_then(|server| server.era) == Some(Era::Stateless)
}

/// Returns a log level that the protocol does not have.
fn level(target: &Target<'_>, row: &Row, message: &Message) -> Option<(&'static Cause, Evidence)> {
    if !matches!(message.method()?, "notifications/message" | "logging/setLevel") {
        return None;
    }
    let level = message.param(&["level"]).map(|level| String::from_utf8_lossy(level).into_owned());
    let level = level.unwrap_or_else(|| "missing".to_owned());
    let is_known = LEVELS.iter().any(|known| level == format!("\"{known}\""));
    (!is_known).then(|| (&LOG_LEVEL, target.evidence(row, &format!("level is {level}"))))
}

/// Returns a request of the server that needs a capability which its client did not declare.
fn undeclared(target: &Target<'_>, row: &Row, message: &Message) -> Option<(&'static Cause, Evidence)> {
    let Kind::Request { method, .. } = message.kind() else { return None };
    let needed = match (row.direction, &**method) {
        (Direction::ToClient, "sampling/createMessage") => "sampling",
        (Direction::ToClient, "roots/list") => "roots",
        (Direction::ToClient, "elicitation/create") => "elicitation",
        _ => return None,
    };
    let session = target.world.sessions.get(&row.session)?;
    let declared = session.facts(Direction::ToServer, row.seq)?.capabilities.as_deref()?;
    let declared: Value = exact_value(declared.as_bytes()).ok()?;
    let text = format!("{method} is asked for, and the client did not declare {needed}");
    declared.get(needed).is_none().then(|| (&UNDECLARED_ASK, target.evidence(row, &text)))
}

/// Returns a report of progress that is not more than the one before (2025-11-25, basic/utilities/progress).
fn backwards(
    target: &Target<'_>,
    row: &Row,
    message: &Message,
    last: &mut HashMap<OpId, f64>,
) -> Option<(&'static Cause, Evidence)> {
    let op = row.op().filter(|_| row.role == Role::Progress)?;
    let now: f64 = std::str::from_utf8(message.param(&["progress"])?).ok()?.parse().ok()?;
    let before = last.insert(op, now)?;
    let words = format!("progress is {now} after {before}");
    (now <= before).then(|| (&PROGRESS_BACK, target.evidence(row, &words)))
}
