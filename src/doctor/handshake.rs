//! Checks of the handshake, and of the eras that both sides speak.

use super::causes::{
    BAD_CAPABILITIES, Cause, DISCOVER_ONLY_OLD, ERAS_DIFFER, INITIALIZE_REFUSED, NO_ANSWER,
    NO_COMMON_VERSION, NO_TIME, NO_VERSION, UNKNOWN_VERSION,
};
use super::check::{Check, Evidence};
use super::stderr::telling;
use super::{Target, waits};
use crate::log::record::Facts;
use crate::log::world::{Row, SessionOverview};
use crate::mcp::tree::{Node, exact_value};
use crate::mcp::{Direction, Era, Kind, Message, Revision, json};

/// Code of the error for a version that the server does not speak (2026-07-28, basic/versioning).
const UNSUPPORTED_VERSION: &[u8] = b"-32022";

pub(super) fn handshake(target: &Target<'_>) -> Check {
    const ID: &str = "handshake";
    let (mut fine, mut found, mut unasked) = (Vec::new(), Vec::new(), Vec::new());
    for session in target.sessions() {
        if target.rows_of(session).all(|row| row.direction == Direction::ToClient) {
            unasked.push(format!("{}: the client has said nothing", session.opened.name));
            continue;
        }
        let name = &session.opened.name;
        found.extend(odd_answers(target, session));
        match session.server.as_ref().filter(|_| target.has_greeted(session)) {
            Some(server) => {
                let said = server.name.as_deref().unwrap_or(name);
                let version = server.version.as_deref().or(server.era.map(|era| era.as_str()));
                fine.push(format!("{said} speaks {}", version.unwrap_or("a revision that it does not name")));
            }
            None if asks(target, session, "initialize").is_some() || discovers_only(target, session) => {
                match under_way(target, session) {
                    true => unasked.push(format!("{name}: the handshake is under way")),
                    false => found.extend(failure(target, session)),
                }
            }
            None => unasked.push(format!("{name}: the client has sent neither initialize nor a request")),
        }
    }
    match (found.is_empty(), fine.is_empty(), unasked.is_empty()) {
        (true, true, true) => Check::inapplicable(ID, "no handshake was requested"),
        (true, true, false) => Check::unread(ID, unasked),
        _ => Check::of(ID, found, fine.join(", ")),
    }
}

fn asks<'a>(target: &Target<'a>, session: &SessionOverview, method: &str) -> Option<&'a Row> {
    target
        .rows_of(session)
        .find(|row| row.direction == Direction::ToServer && target.world.text(row.method) == Some(method))
}

/// Returns `true` if the server was asked with `server/discover`, gave no error, and nothing else was sent: a
/// client of the stateless era needs no `initialize`.
fn discovers_only(target: &Target<'_>, session: &SessionOverview) -> bool {
    let refused =
        target.answers(session, "server/discover").any(|row| row.is_error && !names_versions(target, row));
    asks(target, session, "server/discover").is_some() && !refused
}

fn names_versions(target: &Target<'_>, row: &Row) -> bool {
    target.message(row).is_some_and(|message| message.outcome(&["data", "supported"]).is_some())
}

/// Returns what is wrong in answers to `initialize` and `server/discover`.
fn odd_answers(target: &Target<'_>, session: &SessionOverview) -> Vec<(&'static Cause, Evidence)> {
    let mut found = Vec::new();
    for method in ["initialize", "server/discover"] {
        for row in target.answers(session, method).filter(|row| !row.is_error) {
            let Some(message) = target.message(row).filter(|m| matches!(m.kind(), Kind::Response { .. }))
            else {
                continue;
            };
            if method == "initialize" {
                found.extend(odd_version(&message).map(|(cause, why)| (cause, target.evidence(row, &why))));
            }
            let Some(declared) = message.outcome(&["capabilities"]) else { continue };
            let odd = match exact_value(declared) {
                Ok(declared) if declared.is_object() => None,
                Ok(_) => Node::parse(declared)
                    .ok()
                    .map(|node| format!("capabilities is {}, not an object", node.kind())),
                Err(error) => Some(format!("capabilities cannot be read: {error}")),
            };
            found.extend(odd.map(|why| (&BAD_CAPABILITIES, target.evidence(row, &why))));
        }
    }
    found
}

/// Returns what is wrong with the version in an answer to `initialize`.
fn odd_version(message: &Message) -> Option<(&'static Cause, String)> {
    let Some(token) = message.outcome(&["protocolVersion"]) else {
        return Some((&NO_VERSION, "initialize is answered without protocolVersion".to_owned()));
    };
    match json::unescape(token) {
        None => {
            let token = String::from_utf8_lossy(token).into_owned();
            Some((&NO_VERSION, format!("protocolVersion is {token} and no string")))
        }
        Some(version) if Revision::parse(&version).is_none() => {
            Some((&UNKNOWN_VERSION, format!("protocolVersion {version:?} is no published revision")))
        }
        Some(_) => None,
    }
}

/// Returns `true` if a handshake may still succeed, or was given too little time.
fn under_way(target: &Target<'_>, session: &SessionOverview) -> bool {
    let asked =
        ["initialize", "server/discover"].into_iter().flat_map(|method| target.asked_in(session, method));
    let mut open = asked.filter(|(op, _)| target.answer(op).is_none()).peekable();
    open.peek().is_some()
        && open.all(|(op, row)| waits::unanswered(target, op, row).is_none_or(|cause| cause == &NO_TIME))
}

/// Returns why a session has no handshake.
fn failure(target: &Target<'_>, session: &SessionOverview) -> Vec<(&'static Cause, Evidence)> {
    let mut found = Vec::new();
    for row in target.answers(session, "server/discover") {
        let Some(message) = target.message(row) else { continue };
        let supported =
            message.outcome(&["supportedVersions"]).or_else(|| message.outcome(&["data", "supported"]));
        let Some(supported) = supported.map(|json| String::from_utf8_lossy(json).into_owned()) else {
            continue;
        };
        let is_known = Revision::ALL.iter().any(|revision| supported.contains(revision.as_str()));
        let (cause, what) = match is_known {
            true => (&DISCOVER_ONLY_OLD, "supportedVersions is"),
            false => (&NO_COMMON_VERSION, "the server speaks"),
        };
        found.push((cause, target.evidence(row, &format!("{what} {supported}"))));
    }
    for row in target.answers(session, "initialize").filter(|row| row.is_error) {
        let code = target.message(row).and_then(|message| Some(message.outcome(&["code"])?.to_vec()));
        let cause = match code.as_deref() == Some(UNSUPPORTED_VERSION) {
            true => &NO_COMMON_VERSION,
            false => &INITIALIZE_REFUSED,
        };
        found.push((cause, target.evidence(row, &target.text(row))));
    }
    if found.is_empty() {
        let row = asks(target, session, "initialize").or_else(|| asks(target, session, "server/discover"));
        let state = match (session.is_down, session.closed_at, session.hung_up) {
            (false, Some((closed, _)), hung_up) if hung_up.is_none_or(|(hung_up, _)| closed < hung_up) => {
                "no answer"
            }
            (true, ..) => "no answer",
            _ => "no answer; the server was still running",
        };
        found.extend(row.map(|row| (&NO_ANSWER, target.evidence(row, state))));
        found.extend(telling(target, session).lines.into_iter().map(|line| (&NO_ANSWER, line)));
    }
    found
}

/// Checks that both sides of each session speak the same era.
pub(super) fn era(target: &Target<'_>) -> Check {
    const ID: &str = "era";
    let (mut differ, mut agreed) = (Vec::new(), Vec::new());
    for session in target.sessions() {
        let era = |facts: &Option<Facts>| facts.as_ref().and_then(|facts| facts.era);
        match (era(&session.client), era(&session.server)) {
            (Some(client), Some(server)) if client != server => {
                let who = match client {
                    Era::Stateful => {
                        "the client has to ask with server/discover, or the server to take initialize"
                    }
                    Era::Stateless => {
                        "the server has to answer server/discover, or the client to fall back to initialize"
                    }
                };
                let text = format!("{}: client {client}, server {server}: {who}", session.opened.name);
                differ.push((&ERAS_DIFFER, Evidence::from(text).of(session.id)));
            }
            (_, Some(server)) => agreed.push(server.to_string()),
            _ => {}
        }
    }
    agreed.dedup();
    match differ.is_empty() && agreed.is_empty() {
        true => Check::inapplicable(ID, "no server has declared its era"),
        false => Check::of(ID, differ, agreed.join(", ")),
    }
}
