//! Check that each list is answered, page by page, to an end (2025-11-25, server/utilities/pagination).

use std::collections::BTreeMap;

use super::causes::{
    CURSOR_EMPTY, CURSOR_ENDLESS, CURSOR_NULL, CURSOR_REFUSED, CURSOR_REPEATS, Cause, LIST_REFUSED,
    LIST_SHAPE, LIST_SILENT, UNANSWERED,
};
use super::check::{Check, Evidence};
use super::stderr::telling;
use super::{Target, waits};
use crate::log::record::Seq;
use crate::log::world::{Row, SessionOverview};
use crate::mcp::listing::listed;
use crate::mcp::tree::exact_value;
use crate::mcp::{Kind, Message, compose};

/// Number of pages after which our client asks for no more.
const MAX_PAGES: usize = 1000;
/// The lists, with the capability that declares each and the member that holds it.
const LISTS: [(&str, &str, &str); 4] = [
    ("tools/list", "tools", "tools"),
    ("resources/list", "resources", "resources"),
    ("resources/templates/list", "resources", "resourceTemplates"),
    ("prompts/list", "prompts", "prompts"),
];

/// One listing, from its first page on.
#[derive(Default)]
struct Listing {
    pages: usize,
    /// Cursors that were used or returned, with the answers that did it.
    seen: BTreeMap<String, Seq>,
}

type Found = Vec<(&'static Cause, Evidence)>;

pub(super) fn pages(target: &Target<'_>) -> Check {
    const ID: &str = "pages";
    let (mut found, mut looked) = (Vec::new(), 0);
    for session in target.sessions() {
        for list in LISTS {
            looked += answered(target, session, list, &mut found);
            found.extend(silent(target, session, list.0));
        }
    }
    match looked + found.len() {
        0 => Check::inapplicable(ID, "nothing was listed"),
        _ => Check::of(ID, found, format!("{looked} pages")),
    }
}

/// Judges the answers to a list in a session, and returns their number.
fn answered(
    target: &Target<'_>,
    session: &SessionOverview,
    (method, capability, member): (&str, &str, &str),
    found: &mut Found,
) -> usize {
    // Listings under way, by the cursor that continues each.
    let mut listings: BTreeMap<String, Listing> = BTreeMap::new();
    let mut looked = 0;
    for row in target.answers(session, method) {
        looked += 1;
        let Some(message) = target.message(row) else { continue };
        let cursor = cursor(target, row);
        // A request without a cursor begins a listing; others may be under way.
        let mut listing = match &cursor {
            Some(cursor) => listings.remove(cursor).unwrap_or_default(),
            None => Listing::default(),
        };
        listing.pages += 1;
        if let Kind::Failure { .. } = message.kind() {
            found.extend(refused(
                target,
                session,
                row,
                &message,
                capability,
                cursor.as_deref(),
                listing.pages,
            ));
            continue;
        }
        let list = listed(&message, member);
        for flaw in list.flaws.iter().filter(|flaw| !flaw.contains('[')) {
            found.push((&LIST_SHAPE, target.evidence(row, flaw)));
        }
        for (at, item) in list.items.iter().enumerate().filter(|(_, item)| !item["name"].is_string()) {
            let text = format!("{member}[{at}] is no object with a name: {item}");
            found.push((&LIST_SHAPE, target.evidence(row, &text)));
        }
        if let Some(cursor) = cursor {
            listing.seen.entry(cursor).or_insert(row.seq);
        }
        let Some(next) = message.outcome(&["nextCursor"]) else { continue };
        let next = String::from_utf8_lossy(next).into_owned();
        if !next.starts_with('"') {
            found.push((&CURSOR_NULL, target.evidence(row, &format!("nextCursor is {next}"))));
            if next == "null" {
                continue;
            }
        }
        if next == "\"\"" {
            found.push((&CURSOR_EMPTY, target.evidence(row, "nextCursor is empty")));
        }
        if let Some(before) = listing.seen.get(&next) {
            let text = format!("nextCursor {next} again, as in #{before}");
            found.push((&CURSOR_REPEATS, target.evidence(row, &text)));
        } else if listing.pages == MAX_PAGES {
            let text = format!("after {MAX_PAGES} pages there is another nextCursor");
            found.push((&CURSOR_ENDLESS, target.evidence(row, &text)));
        }
        listing.seen.insert(next.clone(), row.seq);
        listings.insert(next, listing);
    }
    looked
}

/// Returns the cursor in the request of an answer, as it was spelled.
fn cursor(target: &Target<'_>, row: &Row) -> Option<String> {
    let record = target.record(row)?;
    let request = target.log.get(record.frame()?.link.to?)?;
    let cursor = request.frame()?.message.param(&["cursor"])?;
    Some(String::from_utf8_lossy(cursor).into_owned())
}

/// Judges an error in the place of a page. An unknown method, where the capability is declared, is another
/// check's.
fn refused(
    target: &Target<'_>,
    session: &SessionOverview,
    row: &Row,
    message: &Message,
    capability: &str,
    cursor: Option<&str>,
    page: usize,
) -> Option<(&'static Cause, Evidence)> {
    if let Some(cursor) = cursor {
        let text = format!("page {page} with cursor {cursor} is refused: {}", target.text(row));
        return Some((&CURSOR_REFUSED, target.evidence(row, &text)));
    }
    let declared = session.server.as_ref().and_then(|server| server.capabilities.as_ref());
    let declared = declared.and_then(|text| exact_value(text.as_bytes()).ok());
    let is_declared = declared.is_some_and(|declared| declared.get(capability).is_some());
    let is_unknown = message.outcome(&["code"]) == Some(compose::METHOD_NOT_FOUND.to_string().as_bytes());
    (is_declared && !is_unknown).then(|| {
        let text = format!("declares {capability}, and the list fails: {}", target.text(row));
        (&LIST_REFUSED, target.evidence(row, &text))
    })
}

/// Returns the requests of a list that were never answered.
fn silent(target: &Target<'_>, session: &SessionOverview, method: &str) -> Found {
    let asked = target.asked_in(session, method);
    let mut found = Found::new();
    for (operation, row) in
        asked.filter(|(op, row)| target.answer(op).is_none() && !target.may_be_too_long(row))
    {
        // A response without a message is another check's.
        let was_refused =
            operation.ended_by().is_some_and(|seq| session.closed_at.is_none_or(|(closed, _)| seq < closed));
        if target.is_http(session.id) && was_refused {
            continue;
        }
        let cause = match waits::unanswered(target, operation, row) {
            Some(cause) if cause == &UNANSWERED => &LIST_SILENT,
            Some(cause) => cause,
            None => continue,
        };
        found.push((cause, target.evidence(row, "no answer")));
    }
    if !found.is_empty() && !target.is_http(session.id) {
        found.extend(telling(target, session).lines.into_iter().map(|line| (&LIST_SILENT, line)));
    }
    found
}
