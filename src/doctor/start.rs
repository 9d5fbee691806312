//! Checks of the start of a server: its process, its first answer, its standard output, and the
//! handshake.

use std::collections::BTreeMap;

use super::{Check, CheckResult, Target};
use crate::log::record::{Channel, Exit, FrameKind, Role};
use crate::log::world::{Row, SessionOverview};
use crate::mcp::Direction;
use crate::mcp::{Revision, json};

/// Time in milliseconds above which a first answer is reported as slow.
const SLOW_MS: u128 = 5_000;

pub(super) fn checks(target: &Target<'_>) -> Vec<Check> {
    vec![ended(target), first_word(target), pure(target), greeted(target)]
}

fn ended(target: &Target<'_>) -> Check {
    let (id, title) = ("spawn", "the server starts and keeps running");
    let mut evidence = Vec::new();
    let mut verdict = CheckResult::Passed;
    for session in target.sessions() {
        if session.is_down {
            evidence.push(format!("{} has ended while its client is still connected", session.opened.name));
            evidence.extend(last_words(target, session));
            verdict = CheckResult::Failed;
        }
        let Some(closed) = &session.closed else { continue };
        // A server that was asked to end may need a signal; another check reports that.
        let asked = [Exit::Signal(15), Exit::Signal(9)];
        let silent_exit = |exit| exit == Exit::Code(0) && !target.said().any(|row| row.session == session.id);
        let failed = matches!(
            closed.exit,
            Some(exit) if (exit != Exit::Code(0) || silent_exit(exit)) && !asked.contains(&exit)
        );
        let silent = !target.said().any(|row| row.session == session.id);
        if failed && (silent || !was_asked(closed.reason.as_str())) {
            let after = session.closed_at.map(|(_, at)| at.since(session.since)).unwrap_or_default();
            let exit = closed.exit.map(|exit| exit.to_string()).unwrap_or_default();
            evidence.push(format!("{} {exit} after {after:.0?}", session.opened.name));
            evidence.extend(last_words(target, session));
            verdict = if silent { CheckResult::Failed } else { CheckResult::Warned };
        }
    }
    match evidence.is_empty() {
        true if target.sessions().next().is_none() => Check::skipped(id, title, "no server was started"),
        true => Check::passed(id, title, "no server ended by itself"),
        false => Check::found(
            id,
            title,
            verdict,
            evidence,
            "run the command by hand; what it wrote to stderr is above",
        ),
    }
}

/// Returns `true` if shadowcat ended the session, not its server.
fn was_asked(reason: &str) -> bool {
    !reason.contains("server ended")
}

/// Returns the last lines of stderr.
fn last_words(target: &Target<'_>, session: &SessionOverview) -> Vec<String> {
    const LAST: usize = 3;
    /// Maximum number of lines that look like the cause.
    const CAUSES: usize = 4;
    let all: Vec<String> = target
        .rows()
        .filter(|row| row.session == session.id && row.channel() == Channel::Stderr)
        .map(|row| target.text(row).trim_end().to_owned())
        .collect();
    let last = all.len().saturating_sub(LAST);
    // The cause stands before the stack of calls that most runtimes print last.
    let causes = all[..last].iter().filter(|line| is_cause(line)).take(CAUSES);
    let mut lines: Vec<String> = causes.chain(&all[last..]).map(|line| format!("stderr: {line}")).collect();
    if lines.is_empty() {
        lines.push("it wrote nothing to stderr".to_owned());
    }
    lines
}

/// Returns `true` for a line of stderr that names a cause, in the words of common runtimes.
fn is_cause(line: &str) -> bool {
    const WORDS: [&str; 10] = [
        "error",
        "cannot find",
        "no module",
        "not found",
        "exception",
        "denied",
        "in use",
        "refused",
        "panicked",
        "missing",
    ];
    let line = line.to_ascii_lowercase();
    WORDS.iter().any(|word| line.contains(word))
}

fn first_word(target: &Target<'_>) -> Check {
    let (id, title) = ("first-byte", "the server answers quickly");
    let mut slow = Vec::new();
    let mut lines = Vec::new();
    for session in target.sessions() {
        let asked =
            target.rows().find(|row| row.session == session.id && row.direction == Direction::ToServer);
        let answered = target.said().find(|row| row.session == session.id && row.role == Role::Response);
        let (Some(asked), Some(answered)) = (asked, answered) else { continue };
        let took = target.took(answered).unwrap_or_else(|| answered.at.since(asked.at));
        let line = format!("{}: {took:.0?} to the first answer", session.opened.name);
        if took.as_millis() > SLOW_MS { slow.push(line) } else { lines.push(line) }
    }
    match (slow.is_empty(), lines.first()) {
        (true, Some(line)) => Check::passed(id, title, line.clone()),
        (true, None) => Check::skipped(id, title, "no server answered anything"),
        (false, _) => Check::found(
            id,
            title,
            CheckResult::Warned,
            slow,
            "clients have time-outs: do slow work after the handshake, and install beforehand instead of with `npx -y` at every start",
        ),
    }
}

fn pure(target: &Target<'_>) -> Check {
    let (id, title) = ("stdout", "standard output carries only messages");
    let stray: Vec<String> = target
        .said()
        .filter(|row| row.kind == FrameKind::Invalid && !target.is_http(row.session))
        .map(|row| format!("#{}: {}", row.seq, target.text(row)))
        .collect();
    if !target.said().any(|row| !target.is_http(row.session)) {
        return Check::skipped(id, title, "no output on standard output");
    }
    Check::of(
        id,
        title,
        CheckResult::Failed,
        stray,
        "write logs to stderr: one stray line breaks strict clients (print, console.log, a library's banner)",
        "every line is a message",
    )
}

fn greeted(target: &Target<'_>) -> Check {
    let (id, title) = ("handshake", "initialize or server/discover succeeds");
    let mut fine: BTreeMap<&str, String> = BTreeMap::new();
    let mut failed: BTreeMap<&str, String> = BTreeMap::new();
    let mut odd = Vec::new();
    for session in target.sessions() {
        let name = session.opened.name.as_str();
        if let Some(row) = initialized(target, session) {
            odd.extend(odd_version(target, row).map(|why| format!("{name}: #{}: {why}", row.seq)));
        }
        match &session.server {
            Some(server) => {
                let said = server.name.as_deref().unwrap_or(name);
                let version = server.version.as_deref().or(server.era.map(|era| era.as_str()));
                let version = version.unwrap_or("a revision that it does not name");
                fine.insert(name, format!("{said} speaks {version}"));
            }
            None if target.rows().any(|row| row.session == session.id) => {
                // If the server did not answer, the answer that shadowcat made in its place has the reason.
                // A declined probe says only that the server speaks the other era.
                let errors = || {
                    target.rows().filter(|row| {
                        row.session == session.id && row.is_error && row.direction == Direction::ToClient
                    })
                };
                let of_initialize = |row: &&Row| target.world.text(row.method) == Some("initialize");
                let answer = errors().find(of_initialize).or_else(|| errors().next());
                let said = answer.map_or_else(|| "no answer".to_owned(), |row| target.text(row));
                failed.insert(name, format!("{name}: {said}"));
            }
            None => {}
        }
    }
    if !odd.is_empty() {
        let fix = "answer initialize with the protocolVersion of a published revision, such as 2025-11-25";
        return Check::found(id, title, CheckResult::Failed, odd, fix);
    }
    // A probe that fails at a server of the other era is how its era is found.
    failed.retain(|name, _| !fine.contains_key(name));
    if !failed.is_empty() {
        return Check::found(
            id,
            title,
            CheckResult::Failed,
            failed.into_values().collect(),
            "answer `initialize` (up to 2025-11-25) or `server/discover` (2026-07-28) with a result",
        );
    }
    match fine.is_empty() {
        true => Check::skipped(id, title, "no handshake was requested"),
        false => Check::passed(id, title, fine.into_values().collect::<Vec<_>>().join(", ")),
    }
}

/// Returns the successful answer to `initialize` in a session.
fn initialized<'a>(target: &Target<'a>, session: &SessionOverview) -> Option<&'a Row> {
    target.said().find(|row| {
        row.session == session.id
            && row.role == Role::Response
            && !row.is_error
            && target.world.text(row.method) == Some("initialize")
    })
}

/// Returns what is wrong with the version in an answer to `initialize`.
fn odd_version(target: &Target<'_>, row: &Row) -> Option<String> {
    let record = target.log.get(row.seq)?;
    let message = &record.frame()?.message;
    match message.outcome(&["protocolVersion"]).map(|token| (json::unescape(token), token)) {
        None => Some("initialize is answered without protocolVersion".to_owned()),
        Some((None, token)) => {
            Some(format!("protocolVersion is {} and no string", String::from_utf8_lossy(token)))
        }
        Some((Some(version), _)) => Revision::parse(&version)
            .is_none()
            .then(|| format!("protocolVersion {version:?} is no published revision")),
    }
}
