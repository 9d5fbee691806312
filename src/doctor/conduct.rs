//! Checks of the conduct of both sides: eras, lists, authorization, time-outs, order of messages, and
//! secrets.

use std::time::Duration;

use super::{Check, CheckResult, Target};
use crate::log::record::{FrameKind, Outcome, Role};
use crate::log::world::{FrameState, State};
use crate::mcp::{Direction, Era, secret};

/// Time after which many clients stop waiting for an answer.
const CLIENT_TIMEOUT: Duration = Duration::from_secs(60);
/// Time before the end of a session in which a request cannot be answered any more.
const JUST: Duration = Duration::from_secs(2);
/// Maximum number of frames that are searched for secrets, the newest.
const LOOKED_THROUGH: usize = 5_000;

pub(super) fn checks(target: &Target<'_>) -> Vec<Check> {
    vec![eras(target), lists(target), access(target), timeouts(target), order(target), secrets(target)]
}

fn eras(target: &Target<'_>) -> Check {
    let (id, title) = ("era", "both sides speak the same era");
    let mut differ = Vec::new();
    let mut agreed = None;
    for session in target.sessions() {
        let era = |facts: &Option<crate::log::record::Facts>| facts.as_ref().and_then(|facts| facts.era);
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
                differ.push(format!("{}: client {client}, server {server}: {who}", session.opened.name));
            }
            (_, Some(server)) => agreed = Some(server),
            _ => {}
        }
    }
    match (differ.is_empty(), agreed) {
        (true, Some(era)) => Check::passed(id, title, format!("{era}")),
        (true, None) => Check::skipped(id, title, "no server has declared its era"),
        (false, _) => Check::found(
            id,
            title,
            CheckResult::Failed,
            differ,
            "update the side that is behind, or put a gateway that speaks both in between (shadowcat reverse)",
        ),
    }
}

fn lists(target: &Target<'_>) -> Check {
    let (id, title) = ("list-changed", "clients refresh changed lists");
    let mut forgotten = Vec::new();
    let mut seen = 0;
    for session in target.sessions() {
        for list in ["tools/list", "resources/list", "prompts/list"] {
            let changed = format!("notifications/{}_changed", list);
            let newest = target
                .said()
                .filter(|row| row.session == session.id && target.world.text(row.method) == Some(&*changed))
                .last();
            let Some(newest) = newest else { continue };
            seen += 1;
            let asked = target.rows().any(|row| {
                row.session == session.id
                    && row.seq > newest.seq
                    && row.direction == Direction::ToServer
                    && target.world.text(row.method) == Some(list)
            });
            if !asked {
                forgotten
                    .push(format!("{}: {list} was not requested after #{}", session.opened.name, newest.seq));
            }
        }
    }
    if seen == 0 {
        return Check::skipped(id, title, "no list has changed");
    }
    let fix = "restart the client, or report it to its developers: it uses an outdated list";
    Check::of(id, title, CheckResult::Warned, forgotten, fix, format!("{seen} changes, each asked for"))
}

fn access(target: &Target<'_>) -> Check {
    let (id, title) = ("authorization", "the server accepts our requests");
    if !target.said().any(|row| row.status().is_some()) {
        return Check::skipped(id, title, "no HTTP response was recorded");
    }
    let refused: Vec<String> = target
        .said()
        .filter(|row| matches!(row.status(), Some(401 | 403)))
        .map(|row| {
            let record = target.log.get(row.seq);
            let http = record.as_ref().and_then(|record| record.frame()?.http.as_deref());
            let challenge =
                http.and_then(|http| http.header("www-authenticate")).unwrap_or("(no WWW-Authenticate)");
            format!("#{} {}: {challenge}", row.seq, row.status().unwrap_or_default())
        })
        .collect();
    let let_in = target.said().any(|row| row.status() == Some(200));
    match (refused.is_empty(), let_in) {
        (true, _) => Check::passed(id, title, "no 401 and no 403"),
        (false, true) => Check::passed(id, title, format!("{} refusals, then an answer", refused.len())),
        (false, false) => Check::found(
            id,
            title,
            CheckResult::Failed,
            refused,
            "log in with --login, or give a token with --header 'Authorization: Bearer …'; a 401 without resource_metadata (RFC 9728) does not tell clients where to log in",
        ),
    }
}

fn timeouts(target: &Target<'_>) -> Check {
    let (id, title) = ("timeouts", "calls are answered before clients give up");
    let mut slow: Vec<String> = target
        .said()
        .filter(|row| target.took(row).is_some_and(|took| took > CLIENT_TIMEOUT))
        .map(|row| {
            let name = target.world.text(row.target).or(target.world.text(row.method)).unwrap_or("?");
            format!("#{} {name}: {:.0?}", row.seq, target.took(row).unwrap_or_default())
        })
        .collect();
    let unanswered = target.rows().filter(|row| {
        matches!(row.role, Role::Request)
            && row.direction == Direction::ToServer
            && matches!(row.state, FrameState::Moving | FrameState::Ended(Outcome::Forwarded))
            && row.op().and_then(|op| target.world.operation(op)).is_some_and(|operation| {
                // A request just before the end could not be answered any more.
                let session = target.world.sessions.get(&row.session);
                let closed = session.and_then(|session| session.closed_at);
                // Our own client waits for its answers before it ends.
                let is_ours = session.is_some_and(|session| session.opened.own_client);
                let over = closed.is_some_and(|(_, at)| is_ours || at.since(operation.started) > JUST);
                let waits = target.world.now.since(operation.started) > CLIENT_TIMEOUT;
                let is_probe = target.world.text(row.method) == Some("server/discover");
                match operation.state {
                    _ if is_probe => false,
                    State::Lost => over || closed.is_none(),
                    State::Pending => over || waits,
                    _ => false,
                }
            })
    });
    // Our own client gives every request its time: a server that leaves one without an answer does not work.
    let mut verdict = CheckResult::Warned;
    slow.extend(unanswered.map(|row| {
        let session = target.world.sessions.get(&row.session);
        if session.is_some_and(|session| session.opened.own_client) {
            verdict = CheckResult::Failed;
        }
        let name = target.world.text(row.target).or(target.world.text(row.method)).unwrap_or("?");
        format!("#{} {name}: no answer", row.seq)
    }));
    let longest = target.said().filter_map(|row| target.took(row)).max();
    let fine =
        longest.map_or_else(|| "no requests".to_owned(), |longest| format!("the slowest took {longest:.0?}"));
    let fix = "send progress while it works (it extends the time-out of many clients), or answer with a task";
    Check::of(id, title, verdict, slow, fix, fine)
}

fn order(target: &Target<'_>) -> Check {
    let (id, title) = ("protocol", "messages follow the protocol");
    let odd: Vec<String> = target
        .rows()
        .filter(|row| row.kind != FrameKind::Invalid)
        .filter(|row| !row.flags.is_empty() || !row.quirks.is_empty())
        .map(|row| {
            let flags = row.flags.words().map(str::to_owned);
            let quirks = row.quirks.describe().map(str::to_owned);
            let words: Vec<String> = flags.chain(quirks).collect();
            let name = target.world.text(row.method).unwrap_or("message");
            format!("#{} {name}: {}", row.seq, words.join(", "))
        })
        .collect();
    let fix = "`lint:*` in the list of frames finds them; the detail says what is wrong with each";
    Check::of(id, title, CheckResult::Warned, odd, fix, "no late, duplicate or unrequested message")
}

fn secrets(target: &Target<'_>) -> Check {
    let (id, title) = ("secrets", "the traffic contains no secrets");
    let mut found = Vec::new();
    let rows = &target.world.rows;
    let from = rows.len().saturating_sub(LOOKED_THROUGH);
    let own = |session| target.only.is_none_or(|only| only == session);
    for row in rows[from..].iter().filter(|row| own(row.session)) {
        let Some(record) = target.log.get(row.seq) else { continue };
        let Some(frame) = record.frame() else { continue };
        let text = String::from_utf8_lossy(frame.message.raw());
        for (_, kind) in secret::find(&text) {
            found.push(format!("#{}: looks like {kind}", row.seq));
        }
    }
    let fix = "before the tape is shared: `shadowcat tape redact`; from now on: --redact";
    Check::of(id, title, CheckResult::Warned, found, fix, "no secrets found")
}
