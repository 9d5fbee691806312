//! Checks of the contract of a server: its capabilities, and the names, schemas and cost of its
//! tools.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{Check, CheckResult, Target};
use crate::log::record::{FrameKind, Seq};
use crate::log::world::SessionOverview;
use crate::mcp::listing::{Listed, listed};
use crate::mcp::tree::exact_value;

/// Maximum length of a tool's name that most clients take; longer names are refused or changed.
const LONGEST_NAME: usize = 64;
/// Number of tokens of tool definitions above which a check warns: every conversation pays for them.
const COSTLY: u64 = 10_000;
/// Number of pages after which our client asks for no more.
const MAX_PAGES: usize = 1000;
/// Bytes per token, roughly.
const TOKEN: u64 = 4;

/// The tools of the servers, and what of their lists could not be read.
#[derive(Default)]
struct Tools {
    /// Tools, each with the name of the server that offers it.
    read: Vec<(String, Value)>,
    /// Reasons why lists or items of them could not be read.
    flaws: Vec<String>,
}

pub(super) fn checks(target: &Target<'_>) -> Vec<Check> {
    let mut tools = Tools::default();
    for session in target.sessions() {
        tools.add(target, session);
    }
    vec![capabilities(target), pages(target), names(&tools), schemas(&tools), cost(&tools)]
}

impl Tools {
    fn add(&mut self, target: &Target<'_>, session: &SessionOverview) {
        let name = &session.opened.name;
        for seq in session.list("tools/list", u64::MAX) {
            let record = target.log.get(seq);
            let Some(frame) = record.as_ref().and_then(|record| record.frame()) else {
                self.flaws.push(format!("#{seq}: the list is no longer in the log"));
                continue;
            };
            let Listed { items, flaws } = listed(&frame.message, "tools");
            self.read.extend(items.into_iter().map(|tool| (name.clone(), tool)));
            self.flaws.extend(flaws.into_iter().map(|flaw| format!("#{seq}: {flaw}")));
        }
    }

    /// Returns the check for servers whose tools cannot be examined: none were listed, or none can be read.
    fn missing(&self, id: &'static str, title: &'static str) -> Option<Check> {
        match (self.read.is_empty(), self.flaws.is_empty()) {
            (false, _) => None,
            (true, true) => Some(Check::skipped(id, title, "no tools were listed")),
            (true, false) => Some(Check::unjudged(id, title, self.flaws.clone())),
        }
    }

    /// Adds what could not be read to a check of the tools that could.
    fn limit(&self, check: Check) -> Check {
        match self.flaws.is_empty() || check.verdict == CheckResult::Failed {
            true => check,
            false => Check::unjudged(check.id, check.title, [self.flaws.clone(), check.evidence].concat()),
        }
    }
}

/// One listing, from its first page on.
#[derive(Default)]
struct Listing {
    pages: usize,
    /// Cursors that were used or returned, with the answers that did it.
    seen: BTreeMap<String, Seq>,
}

/// Checks that the pages of each list have an end (2025-11-25, server/utilities/pagination).
fn pages(target: &Target<'_>) -> Check {
    let (id, title) = ("pages", "lists have an end");
    const LISTS: [&str; 4] = ["tools/list", "resources/list", "resources/templates/list", "prompts/list"];
    let (mut wrong, mut odd, mut looked) = (Vec::new(), Vec::new(), 0);
    for session in target.sessions() {
        for method in LISTS {
            // Listings under way, by the cursor that continues each.
            let mut listings: BTreeMap<String, Listing> = BTreeMap::new();
            let answers = target.said().filter(|row| {
                row.session == session.id
                    && row.kind == FrameKind::Response
                    && target.world.text(row.method) == Some(method)
            });
            for row in answers {
                looked += 1;
                let record = target.log.get(row.seq);
                let Some(frame) = record.as_ref().and_then(|record| record.frame()) else { continue };
                let request = frame.link.to.and_then(|request| target.log.get(request));
                let cursor = request.as_ref().and_then(|request| request.frame()).and_then(|frame| {
                    frame
                        .message
                        .param(&["cursor"])
                        .map(|cursor| String::from_utf8_lossy(cursor).into_owned())
                });
                // A request without a cursor begins a listing; others may be under way.
                let mut listing = match &cursor {
                    Some(cursor) => listings.remove(cursor).unwrap_or_default(),
                    None => Listing::default(),
                };
                listing.pages += 1;
                listing.seen.extend(cursor.map(|cursor| (cursor, row.seq)));
                let next = frame.message.outcome(&["nextCursor"]).filter(|next| *next != b"null");
                let Some(next) = next.map(|next| String::from_utf8_lossy(next).into_owned()) else {
                    continue;
                };
                if next == "\"\"" {
                    odd.push(format!("#{} {method}: nextCursor is empty", row.seq));
                }
                if let Some(before) = listing.seen.get(&next) {
                    wrong.push(format!("#{} {method}: nextCursor {next} again, as in #{before}", row.seq));
                } else if listing.pages == MAX_PAGES {
                    let pages = listing.pages;
                    wrong.push(format!(
                        "#{} {method}: after {pages} pages there is another nextCursor",
                        row.seq
                    ));
                }
                listing.seen.insert(next.clone(), row.seq);
                listings.insert(next, listing);
            }
        }
    }
    if looked == 0 {
        return Check::skipped(id, title, "nothing was listed");
    }
    let fix = "leave out nextCursor on the last page: clients follow it as long as there is one";
    let verdict = if wrong.is_empty() { CheckResult::Warned } else { CheckResult::Failed };
    wrong.extend(odd);
    Check::of(id, title, verdict, wrong, fix, format!("{looked} pages"))
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

fn called(tool: &Value) -> &str {
    tool["name"].as_str().unwrap_or("(a tool without a name)")
}

fn capabilities(target: &Target<'_>) -> Check {
    let (id, title) = ("capabilities", "declared capabilities match the server");
    let mut wrong = Vec::new();
    let (mut looked, mut odd) = (false, Vec::new());
    for session in target.sessions() {
        let Some(text) = session.server.as_ref().and_then(|server| server.capabilities.as_ref()) else {
            continue;
        };
        let declared = match exact_value(text.as_bytes()) {
            Ok(declared) if declared.is_object() => declared,
            Ok(other) => {
                let kind = kind(&other);
                odd.push(format!("{}: `capabilities` is {kind}, not an object", session.opened.name));
                continue;
            }
            Err(error) => {
                odd.push(format!("{}: `capabilities` cannot be read: {error}", session.opened.name));
                continue;
            }
        };
        looked = true;
        for (capability, list) in
            [("tools", "tools/list"), ("resources", "resources/list"), ("prompts", "prompts/list")]
        {
            let answers = || {
                target.said().filter(|row| {
                    row.session == session.id
                        && row.kind == FrameKind::Response
                        && target.world.text(row.method) == Some(list)
                })
            };
            let has = declared.get(capability).is_some();
            if has && answers().any(|row| row.is_error) {
                wrong.push(format!("{}: declares {capability}, and {list} fails", session.opened.name));
            }
            if !has && answers().any(|row| !row.is_error) {
                wrong.push(format!(
                    "{}: answers {list}, and does not declare {capability}",
                    session.opened.name
                ));
            }
            let changed = format!("notifications/{capability}/list_changed");
            let changed = target
                .said()
                .any(|row| row.session == session.id && target.world.text(row.method) == Some(&*changed));
            if changed && declared[capability]["listChanged"] != true {
                wrong.push(format!(
                    "{}: sends {changed}, and does not declare listChanged",
                    session.opened.name
                ));
            }
        }
    }
    if !odd.is_empty() {
        let fix = "declare `capabilities` as an object: clients refuse or ignore everything else";
        return Check::found(id, title, CheckResult::Failed, odd, fix);
    }
    if !looked {
        return Check::skipped(id, title, "no server has declared anything");
    }
    Check::of(
        id,
        title,
        CheckResult::Warned,
        wrong,
        "declare in `capabilities` what the server answers, and nothing else: clients use only what is declared",
        "lists and capabilities agree",
    )
}

fn names(tools: &Tools) -> Check {
    let (id, title) = ("names", "clients can call the tools by their names");
    if let Some(missing) = tools.missing(id, title) {
        return missing;
    }
    let mut wrong = Vec::new();
    let mut seen: BTreeMap<(&str, &str), u32> = BTreeMap::new();
    for (server, tool) in &tools.read {
        let name = called(tool);
        *seen.entry((server, name)).or_default() += 1;
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
        if name.is_empty() || name.len() > LONGEST_NAME || !name.chars().all(plain) {
            wrong.push(format!("{name:?} is not 1 to {LONGEST_NAME} letters, digits, _ and -"));
        }
    }
    let twice = seen.iter().filter(|(_, count)| **count > 1);
    wrong.extend(twice.map(|((_, name), count)| format!("{name} is listed {count} times")));
    tools.limit(Check::of(
        id,
        title,
        CheckResult::Warned,
        wrong,
        "model APIs accept ^[a-zA-Z0-9_-]{1,64}$; other names are refused or changed by clients",
        format!("{} tools", tools.read.len()),
    ))
}

fn schemas(tools: &Tools) -> Check {
    let (id, title) = ("schemas", "the schemas of the tools are valid");
    if let Some(missing) = tools.missing(id, title) {
        return missing;
    }
    let (mut wrong, mut odd) = (Vec::new(), Vec::new());
    for (_, tool) in &tools.read {
        let name = called(tool);
        let schema = &tool["inputSchema"];
        if schema["type"] != "object" {
            wrong
                .push(format!("{name}: the root of inputSchema has type {}, not \"object\"", schema["type"]));
        }
        for (member, schema) in [("inputSchema", schema), ("outputSchema", &tool["outputSchema"])] {
            if schema.is_null() {
                continue;
            }
            if let Err(error) = crate::mcp::schema::validator(schema) {
                wrong.push(format!("{name}: {member}: {error}"));
            }
            for keyword in ["anyOf", "oneOf", "allOf"] {
                if schema.get(keyword).is_some() {
                    odd.push(format!("{name}: {keyword} at the root of {member}"));
                }
            }
            let text = schema.to_string();
            if text.contains("\"$ref\":\"http") {
                odd.push(format!("{name}: a $ref of {member} is remote"));
            }
        }
        if tool["description"].as_str().is_none_or(str::is_empty) {
            odd.push(format!("{name}: no description: a model cannot know when to call it"));
        }
    }
    if wrong.is_empty() {
        return tools.limit(Check::of(
            id,
            title,
            CheckResult::Warned,
            odd,
            "keep the root a plain object, and definitions inside: several clients drop or refuse the rest",
            format!("{} schemas", tools.read.len()),
        ));
    }
    wrong.extend(odd);
    let fix = "make inputSchema a JSON Schema whose root is {\"type\": \"object\"}: clients drop the tool otherwise";
    Check::found(id, title, CheckResult::Failed, wrong, fix)
}

fn cost(tools: &Tools) -> Check {
    let (id, title) = ("context-cost", "tool definitions are small");
    if let Some(missing) = tools.missing(id, title) {
        return missing;
    }
    let mut sizes: Vec<(u64, &str)> =
        tools.read.iter().map(|(_, tool)| (tool.to_string().len() as u64 / TOKEN, called(tool))).collect();
    sizes.sort_unstable_by(|a, b| b.cmp(a));
    let total: u64 = sizes.iter().map(|(size, _)| size).sum();
    if total < COSTLY {
        return Check::passed(
            id,
            title,
            format!("about {total} tokens for {} tools (bytes / 4)", tools.read.len()),
        );
    }
    let mut evidence = vec![format!("about {total} tokens for {} tools (bytes / 4)", tools.read.len())];
    evidence.extend(sizes.iter().take(5).map(|(size, name)| format!("{name}: about {size}")));
    let fix = "shorten the heaviest descriptions and schemas, or split the server: every conversation pays for all of it";
    Check::found(id, title, CheckResult::Warned, evidence, fix)
}
