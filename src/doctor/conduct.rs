//! Checks of the conduct of both sides: lists that change, the client's part, the form of messages, secrets, and
//! what could not be read.

use std::time::Duration;

use super::Target;
use super::causes::{ASK_UNANSWERED, Cause, LIST_LOOP, LOST, NO_INITIALIZE, OVER_LIMIT, SECRET, STALE_LIST};
use super::check::{Check, Evidence};
use super::lint::lints;
use crate::log::record::{FrameKind, Gap, Role, Seq};
use crate::log::world::{Row, SessionOverview};
use crate::mcp::{Direction, secret};

/// Number of lists in a row that are followed by an announcement that they changed, from which on it is a loop.
const LOOP: usize = 3;
/// Time within which an announcement is taken for the effect of a list.
const ECHO: Duration = Duration::from_secs(1);
/// Time that a client has for a changed list before the session ends.
const REFRESH: Duration = Duration::from_secs(1);
/// Time that a client has for an answer to a server.
const ANSWER: Duration = Duration::from_secs(60);
const LISTS: [&str; 3] = ["tools/list", "resources/list", "prompts/list"];

type Found = Vec<(&'static Cause, Evidence)>;

/// Checks that announcements of changes come to an end.
pub(super) fn list_changes(target: &Target<'_>) -> Check {
    const ID: &str = "list-changed";
    let (mut found, mut seen) = (Found::new(), 0);
    for session in target.sessions() {
        for list in LISTS {
            let changes: Vec<&Row> = changes(target, session, list).collect();
            seen += changes.len();
            let answers: Vec<&Row> = target.answers(session, list).collect();
            let calls: Vec<Seq> = target.asked_in(session, "tools/call").map(|(_, row)| row.seq).collect();
            let followed = answers.iter().enumerate().filter(|(at, answer)| {
                let next = answers.get(at + 1).map_or(u64::MAX, |next| next.seq);
                // The announcement may precede the answer that it stands beside. A call in between may have changed
                // the list.
                let follows = |change: &&Row| {
                    change.seq + 1 >= answer.seq && change.seq < next && change.at.since(answer.at) < ECHO
                };
                changes.iter().copied().any(|change| follows(&change))
                    && !calls.iter().any(|call| {
                        *call < next
                            && answers.get(at.wrapping_sub(1)).is_none_or(|before| *call > before.seq)
                    })
            });
            let followed = followed.count();
            if followed >= LOOP {
                let text =
                    format!("a loop: each of {followed} answers to {list} is followed by {}", changed(list));
                found.extend(changes.last().map(|row| (&LIST_LOOP, target.evidence(row, &text))));
            }
        }
    }
    match seen {
        0 => Check::inapplicable(ID, "no list has changed"),
        _ => Check::of(ID, found, format!("announcements: {seen}")),
    }
}

fn changed(list: &str) -> String {
    format!("notifications/{list}_changed")
}

fn changes<'a>(target: &Target<'a>, session: &SessionOverview, list: &str) -> impl Iterator<Item = &'a Row> {
    let (changed, world) = (changed(list), target.world);
    target.said_in(session).filter(move |row| world.text(row.method) == Some(&*changed))
}

/// Checks that clients other than ours go on after a probe, refresh lists, and answer.
pub(super) fn client(target: &Target<'_>) -> Check {
    const ID: &str = "client";
    let (mut found, mut looked) = (Found::new(), 0);
    for session in target.sessions().filter(|session| !session.opened.own_client) {
        looked += 1;
        found.extend(never_initialized(target, session));
        found.extend(LISTS.iter().filter_map(|list| stale(target, session, list)));
        found.extend(ignored(target, session));
    }
    match looked {
        0 => Check::inapplicable(ID, "the client is shadowcat's own"),
        _ => Check::of(ID, found, "nothing was left undone"),
    }
}

/// Returns the probe of a client that was refused and went no further.
fn never_initialized(target: &Target<'_>, session: &SessionOverview) -> Option<(&'static Cause, Evidence)> {
    let mut asked = target.rows_of(session).filter(|row| row.direction == Direction::ToServer);
    let probe = asked.next().filter(|row| target.method(row) == "server/discover")?;
    let refused = target.answers(session, "server/discover").any(|row| row.is_error);
    let text = "the client's probe was refused, and it sent nothing more";
    (refused && asked.next().is_none()).then(|| (&NO_INITIALIZE, target.evidence(probe, text)))
}

/// Returns the newest announcement of a change that no list followed.
fn stale(target: &Target<'_>, session: &SessionOverview, list: &str) -> Option<(&'static Cause, Evidence)> {
    let newest = changes(target, session, list).last()?;
    let end = session.hung_up.or(session.closed_at).map_or(target.world.now, |(_, at)| at);
    let asked = target.rows_of(session).any(|row| {
        row.seq > newest.seq
            && row.direction == Direction::ToServer
            && target.world.text(row.method) == Some(list)
    });
    let text = format!("{list} was not requested after this list_changed");
    (!asked && end.since(newest.at) >= REFRESH).then(|| (&STALE_LIST, target.evidence(newest, &text)))
}

/// Returns the requests of the server that the client never answered.
fn ignored(target: &Target<'_>, session: &SessionOverview) -> Found {
    let world = target.world;
    let asked = target
        .rows_of(session)
        .filter(|row| row.direction == Direction::ToClient && row.role == Role::Request);
    let mut found = Found::new();
    for row in asked {
        let Some(operation) = row.op().and_then(|op| world.operation(op)) else { continue };
        let answered = world
            .frames(operation)
            .any(|row| row.kind == FrameKind::Response && row.direction == Direction::ToServer);
        let is_over = session.hung_up.is_some() || session.closed_at.is_some();
        let was_cancelled = operation.state == crate::log::world::State::Cancelled;
        if !answered && !was_cancelled && (is_over || world.now.since(row.at) > ANSWER) {
            found.push((&ASK_UNANSWERED, target.evidence(row, "the client never answered")));
        }
    }
    found
}

/// Checks the form of each message, and its place.
pub(super) fn protocol(target: &Target<'_>) -> Check {
    const ID: &str = "protocol";
    let found = lints(target);
    match target.rows().next() {
        None => Check::inapplicable(ID, "nothing was said"),
        Some(_) => Check::of(ID, found, "no odd, late, duplicate or unrequested message"),
    }
}

/// Checks that nothing looks like a secret.
pub(super) fn secrets(target: &Target<'_>) -> Check {
    const ID: &str = "secrets";
    let mut found = Found::new();
    let mut newest: Vec<&Row> = target.read_rows().chain(target.read_stderr()).collect();
    newest.sort_by_key(|row| row.seq);
    for row in &newest {
        let Some(message) = target.message(row) else { continue };
        let text = String::from_utf8_lossy(message.raw());
        for (_, kind) in secret::find(&text) {
            found.push((&SECRET, format!("#{}: looks like {kind}", row.seq).into()));
        }
    }
    Check::of(ID, found, format!("no secrets found in {} frames", newest.len()))
}

/// Checks that everything that was said is known.
pub(super) fn evidence(target: &Target<'_>) -> Check {
    const ID: &str = "evidence";
    let mut found = Found::new();
    for row in target.cut_rows() {
        let text = format!("{} bytes, over the inspect limit", row.size);
        found.push((&OVER_LIMIT, target.evidence(row, &text)));
    }
    let lost = target.world.gaps.iter();
    found.extend(
        lost.map(|Gap { first, last }| (&LOST, format!("records #{first} to #{last} are lost").into())),
    );
    // What is lost are the oldest records.
    if target.rows().next().is_some_and(|row| target.record(row).is_none()) {
        found.push((&LOST, "the first messages are no longer in memory".into()));
    }
    Check::of(ID, found, format!("{} frames", target.rows().count()))
}
