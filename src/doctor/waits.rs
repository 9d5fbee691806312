//! Checks of the answers' times, and of their ids.

use std::time::Duration;

use super::Target;
use super::causes::{ANSWERS_AT_EOF, Cause, ID_TYPE, NO_TIME, SLOW_CALL, UNANSWERED};
use super::check::{Check, Evidence};
use super::target::is_servers;
use crate::log::record::{Flags, FrameKind};
use crate::log::world::{OperationSummary, Row, SessionOverview, State};
use crate::mcp::{Direction, Id, Kind, Opaque};

/// Time after which many clients stop waiting for an answer.
const CLIENT_TIMEOUT: Duration = Duration::from_secs(60);
/// Time before the end of a session in which a request need not be answered any more.
const JUST: Duration = Duration::from_secs(2);
/// Time that a client has waited for an answer if it hung up without one.
const PATIENCE: Duration = Duration::from_secs(1);

/// Time within which an answer after the end of input was caused by it; a slow start takes longer.
const AT_ONCE: Duration = Duration::from_millis(500);
/// Number of requests, the newest, whose ids are compared with the id of an answer that nobody asked for.
const NEAR: usize = 256;

type Found = Vec<(&'static Cause, Evidence)>;

/// Checks that requests are answered, in time. Unanswered lists, calls of tools and handshakes are the matter of
/// other checks.
pub(super) fn timeouts(target: &Target<'_>) -> Check {
    const ID: &str = "timeouts";
    const ELSEWHERE: [&str; 7] = [
        "tools/list",
        "resources/list",
        "resources/templates/list",
        "prompts/list",
        "tools/call",
        "initialize",
        "server/discover",
    ];
    let (mut found, mut answered) = (Found::new(), 0);
    for session in target.sessions() {
        found.extend(at_eof(target, session));
    }
    for (operation, row) in target.asked().filter(|(_, row)| row.kind == FrameKind::Request) {
        if let Some(answer) = target.answer(operation) {
            answered += 1;
            let took = target.took(answer).unwrap_or_default();
            if took > CLIENT_TIMEOUT && !is_kept_alive(target, operation) {
                found.push((&SLOW_CALL, target.evidence(answer, &format!("answered after {took:.0?}"))));
            }
            continue;
        }
        let method = target.method(row);
        if ELSEWHERE.contains(&method) || !is_silent(operation.state) {
            continue;
        }
        found.extend(
            unanswered(target, operation, row).map(|cause| (cause, target.evidence(row, "no answer"))),
        );
    }
    match answered + found.len() {
        0 => Check::inapplicable(ID, "no requests were answered"),
        _ => Check::of(ID, found, format!("{answered} requests answered in time")),
    }
}

/// Returns `true` for the state of an operation that brought no answer of any kind.
pub(super) fn is_silent(state: State) -> bool {
    matches!(state, State::Pending | State::Lost)
}

/// Returns what it means that a request has no answer; nothing if it may still get one.
pub(super) fn unanswered(
    target: &Target<'_>,
    operation: &OperationSummary,
    row: &Row,
) -> Option<&'static Cause> {
    let session = target.world.sessions.get(&operation.session)?;
    // Subscriptions stay open.
    if target.method(row) == "subscriptions/listen" || target.may_be_too_long(row) {
        return None;
    }
    let ended = match (session.hung_up, session.closed_at) {
        (Some((_, at)), _) | (None, Some((_, at))) => at,
        // The session runs: the answer may come.
        (None, None) if target.world.now.since(row.at) < CLIENT_TIMEOUT => return None,
        (None, None) => return Some(&UNANSWERED),
    };
    let was_closed_first = session
        .closed_at
        .is_some_and(|(closed, _)| session.hung_up.is_none_or(|(hung_up, _)| closed < hung_up));
    let is_ours = session.opened.own_client && !target.is_http(session.id);
    match ended.since(row.at) < JUST && !was_closed_first && !is_ours {
        true => Some(&NO_TIME),
        false => Some(&UNANSWERED),
    }
}

/// Returns `true` if progress was reported often enough for a client that waits anew with each report.
pub(super) fn is_kept_alive(target: &Target<'_>, operation: &OperationSummary) -> bool {
    let times: Vec<_> = target.world.frames(operation).map(|row| row.at).collect();
    times.windows(2).all(|pair| pair[1].since(pair[0]) <= CLIENT_TIMEOUT)
}

/// Returns the answers of a server that gave none before its client closed its end.
fn at_eof(target: &Target<'_>, session: &SessionOverview) -> Found {
    let Some((hung_up, at)) = session.hung_up else { return Found::new() };
    let asked = target.rows_of(session).find(|row| row.direction == Direction::ToServer);
    let waited = asked.is_some_and(|asked| at.since(asked.at) >= PATIENCE);
    let mut said = target.said_in(session);
    let is_echo = |first: &&Row| first.seq > hung_up && first.at.since(at) < AT_ONCE;
    let Some(first) = said.next().filter(|first| waited && is_echo(first)) else { return Found::new() };
    std::iter::once(first)
        .chain(said)
        .map(|row| (&ANSWERS_AT_EOF, target.evidence(row, "came only after stdin was closed")))
        .collect()
}

/// Checks that each answer has the id of its request.
pub(super) fn ids(target: &Target<'_>) -> Check {
    const ID: &str = "ids";
    let (mut found, mut answers) = (Found::new(), 0);
    for row in target.rows().filter(|row| is_servers(row)) {
        let is_answer = row.kind == FrameKind::Response;
        answers += usize::from(is_answer);
        let is_odd = row.flags.has(Flags::ORPHAN)
            || row.flags.has(Flags::MISMATCHED)
            || row.flags.has(Flags::RESPELLED);
        if !(is_answer && is_odd || row.kind == FrameKind::Invalid) {
            continue;
        }
        let Some(message) = target.message(row) else { continue };
        let near = match message.kind() {
            Kind::Opaque(Opaque::NoId) => Some("a result without an id".to_owned()),
            // HTTP tells by its status and its exchange which request failed.
            Kind::Failure { id: None, .. } if is_answer && row.status().is_none_or(|status| status < 400) => {
                Some("an error without an id, or with id null".to_owned())
            }
            Kind::Response { id, .. } | Kind::Failure { id: Some(id), .. } => near(target, row, id),
            _ => None,
        };
        found.extend(near.map(|text| (&ID_TYPE, target.evidence(row, &text))));
    }
    match answers + found.len() {
        0 => Check::inapplicable(ID, "nothing was answered"),
        _ => Check::of(ID, found, format!("{answers} answers")),
    }
}

/// Returns how the id of an answer differs from that of a request that had no answer when it came.
fn near(target: &Target<'_>, row: &Row, id: &Id) -> Option<String> {
    if id.token() == "null" {
        return Some("an answer with id null".to_owned());
    }
    let before = target.world.operations.iter().rev().filter(|op| op.session == row.session).take(NEAR);
    let open = before.filter(|op| op.direction == Direction::ToServer).filter_map(|op| {
        let asked = target.world.first(op)?;
        let was_open = asked.seq < row.seq && op.ended_by().is_none_or(|ended| ended >= row.seq);
        was_open.then_some((op, asked))
    });
    open.filter_map(|(_, asked)| target.message(asked)?.id().and_then(|asked| id.resembles(asked))).next()
}
