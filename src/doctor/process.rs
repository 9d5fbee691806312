//! Checks of a stdio server's process: its start, its end, and the time to its first answer.

use super::causes::{Cause, DIED_IN_CALL, EXITED, EXITED_SILENTLY, EXITS_ON_PROBE, SLOW_START};
use super::check::{Check, Evidence};
use super::stderr::telling;
use super::{Target, target};
use crate::log::record::{Exit, Role};
use crate::log::world::{SessionOverview, State};
use crate::mcp::Direction;

/// Time in milliseconds above which a first answer is reported as slow.
const SLOW_MS: u128 = 5_000;

/// Checks whether servers stay until their clients leave.
pub(super) fn spawn(target: &Target<'_>) -> Check {
    const ID: &str = "spawn";
    let mut found: Vec<(&'static Cause, Evidence)> = Vec::new();
    let mut processes = 0;
    for session in target.sessions().filter(|session| !target.is_http(session.id)) {
        processes += 1;
        let name = &session.opened.name;
        let how = match session.is_down {
            true => Some("has ended while its client is still connected".to_owned()),
            false => ended(target, session),
        };
        let Some(how) = how else { continue };
        let told = telling(target, session);
        let died = died_in(target, session);
        // What a server that worked has logged before is not why it ended.
        let cause = match told.cause.filter(|_| is_silent(target, session)) {
            Some(cause) => cause,
            None if is_silent(target, session) && how.contains("code 0") => &EXITED_SILENTLY,
            None if !died.is_empty() && !is_silent(target, session) => &DIED_IN_CALL,
            None => &EXITED,
        };
        found.push((cause, Evidence::from(format!("{name} {how}")).of(session.id)));
        found.extend(died.into_iter().map(|call| (cause, call)));
        found.extend(told.lines.into_iter().map(|line| (cause, line)));
    }
    match processes {
        0 => Check::inapplicable(ID, "no process was started"),
        _ => Check::of(ID, found, "no server ended by itself"),
    }
}

/// Returns how the server of a session ended, if it ended by itself: before its client left, or with an error
/// and without the answers that its client waited for.
fn ended(target: &Target<'_>, session: &SessionOverview) -> Option<String> {
    let (closed, (seq, at)) = (session.closed.as_ref()?, session.closed_at?);
    let exit = closed.exit?;
    // Processes of a gateway end for its own reasons, which their session tells.
    if closed.reason != "the server ended" {
        return None;
    }
    let was_left = session.hung_up.is_some_and(|(hung_up, _)| hung_up < seq);
    // A server that was asked to end may need a signal; another check reports that.
    let was_stopped = was_left && matches!(exit, Exit::Signal(9 | 15));
    let is_late = was_left && (exit == Exit::Code(0) || !died_or_silent(target, session));
    // Tapes of versions before 0.2 do not say when the client left: a server with code 0 may have been left.
    let is_unknown = session.hung_up.is_none() && exit == Exit::Code(0) && !is_silent(target, session);
    if was_stopped || is_late || is_unknown {
        return None;
    }
    let exit = match exit {
        Exit::Code(code) => format!("exited with code {code}"),
        signal @ Exit::Signal(_) => format!("was {signal}"),
    };
    Some(format!("{exit} {:.3} s after its start", at.since(session.since).as_secs_f64()))
}

fn died_or_silent(target: &Target<'_>, session: &SessionOverview) -> bool {
    is_silent(target, session) || !died_in(target, session).is_empty()
}

fn is_silent(target: &Target<'_>, session: &SessionOverview) -> bool {
    target.said_in(session).next().is_none()
}

/// Returns the requests that were under way when the server ended.
fn died_in(target: &Target<'_>, session: &SessionOverview) -> Vec<Evidence> {
    target
        .asked()
        .filter(|(op, _)| op.session == session.id && matches!(op.state, State::Lost | State::Pending))
        .map(|(_, row)| target.evidence(row, "the server ended before it answered"))
        .collect()
}

/// Checks whether servers stay alive when they are asked for their era.
pub(super) fn probe(target: &Target<'_>) -> Check {
    const ID: &str = "probe";
    let probed = target.rows().any(|row| target.world.text(row.method) == Some("server/discover"));
    let mut found = Vec::new();
    for session in target.probes() {
        let Some(how) = session.closed.as_ref().and_then(|closed| closed.exit) else { continue };
        let text = format!(
            "{} {how} on server/discover, before initialize; it was started again",
            session.opened.name
        );
        found.push((&EXITS_ON_PROBE, Evidence::from(text).of(session.id)));
        let told = telling(target, session);
        found.extend(told.lines.into_iter().map(|line| (&EXITS_ON_PROBE, line)));
    }
    match probed {
        true => Check::of(ID, found, "server/discover was answered, or ignored"),
        false => Check::inapplicable(ID, "no server was asked for its era"),
    }
}

/// Checks the time to the first answer.
pub(super) fn first_answer(target: &Target<'_>) -> Check {
    const ID: &str = "first-byte";
    let (mut slow, mut lines) = (Vec::new(), Vec::new());
    for session in target.sessions() {
        let asked = target.rows_of(session).find(|row| row.direction == Direction::ToServer);
        let answered =
            target.rows_of(session).find(|row| target::is_servers(row) && row.role == Role::Response);
        let (Some(asked), Some(answered)) = (asked, answered) else { continue };
        let took = target.took(answered).unwrap_or_else(|| answered.at.since(asked.at));
        let line = format!("{}: {took:.0?} to the first answer", session.opened.name);
        match took.as_millis() > SLOW_MS {
            true => slow.push((&SLOW_START, target.evidence(answered, &line))),
            false => lines.push(line),
        }
    }
    match (slow.is_empty(), lines.first()) {
        (true, None) => Check::inapplicable(ID, "no server answered anything"),
        (_, line) => Check::of(ID, slow, line.cloned().unwrap_or_default()),
    }
}
