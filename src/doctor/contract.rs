//! Checks of the contract of a server: its capabilities, and the names, schemas and cost of its tools.

use std::collections::BTreeMap;

use serde_json::Value;

use super::Target;
use super::causes::{
    COSTLY, Cause, NAME_ILLEGAL, NAME_LONG, NAME_TWICE, OVER_DECLARED, SCHEMA_INVALID, SCHEMA_ODD,
    SCHEMA_ROOT, UNDECLARED_LIST, UNDECLARED_NOTICE, UNREAD,
};
use super::check::{Check, Evidence};
use crate::log::record::FrameKind;
use crate::log::world::SessionOverview;
use crate::mcp::compose;
use crate::mcp::listing::{Listed, listed};
use crate::mcp::tree::exact_value;

/// Maximum length of a tool's name that most clients take; longer names are refused or changed.
const LONGEST_NAME: usize = 64;
/// Length of server and tool together from which on Cursor drops a tool.
const LONGEST_PAIR: usize = 60;
/// Number of tokens of tool definitions above which a check warns: every conversation pays for them.
const MANY_TOKENS: u64 = 10_000;
/// Bytes per token, roughly.
const TOKEN: u64 = 4;

type Found = Vec<(&'static Cause, Evidence)>;

/// A tool that a server lists.
pub(super) struct Tool {
    /// The name of its server.
    pub server: String,
    /// The definition.
    pub definition: Value,
}

/// The tools of the servers, and what of their lists could not be read.
#[derive(Default)]
pub(super) struct Tools {
    /// The tools.
    pub read: Vec<Tool>,
    /// Reasons why lists or items of them could not be read.
    pub flaws: Vec<String>,
}

impl Tool {
    /// Returns the name of the tool.
    pub(super) fn name(&self) -> &str {
        self.definition["name"].as_str().unwrap_or("(a tool without a name)")
    }

    /// Returns what clients do not accept about the name.
    pub(super) fn odd_name(&self) -> Option<(&'static Cause, String)> {
        let name = self.name();
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
        if name.is_empty() || name.len() > LONGEST_NAME || !name.chars().all(plain) {
            return Some((
                &NAME_ILLEGAL,
                format!("{name:?} is not 1 to {LONGEST_NAME} letters, digits, _ and -"),
            ));
        }
        let prefixed = format!("mcp__{}__{name}", self.server);
        if prefixed.len() > LONGEST_NAME {
            return Some((&NAME_LONG, format!("{prefixed} has {} characters", prefixed.len())));
        }
        let pair = self.server.len() + name.len();
        (pair >= LONGEST_PAIR).then(|| {
            (
                &NAME_LONG,
                format!("mcp__{}__{name}: server and tool have {pair} characters together", self.server),
            )
        })
    }

    /// Returns what clients do not accept about the schemas.
    pub(super) fn odd_schemas(&self) -> Vec<(&'static Cause, String)> {
        let (name, tool) = (self.name(), &self.definition);
        let mut odd = Vec::new();
        let schema = &tool["inputSchema"];
        if schema["type"] != "object" {
            let kind = &schema["type"];
            odd.push((
                &SCHEMA_ROOT,
                format!("{name}: the root of inputSchema has type {kind}, not \"object\""),
            ));
        }
        for (member, schema) in [("inputSchema", schema), ("outputSchema", &tool["outputSchema"])] {
            if schema.is_null() {
                continue;
            }
            if let Err(error) = crate::mcp::schema::check(schema) {
                let cause = if error.is_unsupported { &UNREAD } else { &SCHEMA_INVALID };
                odd.push((cause, format!("{name}: {member}: {error}")));
            }
            for keyword in ["anyOf", "oneOf", "allOf"] {
                if schema.get(keyword).is_some() {
                    odd.push((&SCHEMA_ODD, format!("{name}: {keyword} at the root of {member}")));
                }
            }
            // A reference to the schema's own name is none to another document.
            if schema.get("$id").is_none() && schema.to_string().contains("\"$ref\":\"http") {
                odd.push((&SCHEMA_ODD, format!("{name}: a $ref of {member} is remote")));
            }
        }
        if tool["description"].as_str().is_none_or(str::is_empty) {
            let text = format!("{name}: no description: a model cannot know when to call it");
            odd.push((&SCHEMA_ODD, text));
        }
        odd
    }
}

impl Tools {
    /// Reads the newest lists of all sessions. Sessions of one server that list the same count once.
    pub(super) fn of(target: &Target<'_>) -> Self {
        let mut lists: Vec<(&str, Vec<Value>)> = Vec::new();
        let mut all = Vec::new();
        for session in target.sessions() {
            let (items, flaws) = read(target, session);
            all.extend(flaws);
            let list = (session.opened.name.as_str(), items);
            if !lists.contains(&list) {
                lists.push(list);
            }
        }
        let tools = lists.into_iter().flat_map(|(server, items)| {
            items.into_iter().map(move |definition| Tool { server: server.to_owned(), definition })
        });
        Self { read: tools.collect(), flaws: all }
    }

    /// Returns the check for servers whose tools cannot be examined: none were listed, or none can be read.
    fn missing(&self, id: &'static str) -> Option<Check> {
        match (self.read.is_empty(), self.flaws.is_empty()) {
            (false, _) => None,
            (true, true) => Some(Check::inapplicable(id, "no tools were listed")),
            (true, false) => Some(Check::unread(id, self.flaws.clone())),
        }
    }

    /// Creates a check of the tools that could be read, and of what could not.
    fn check(&self, id: &'static str, mut found: Found, fine: String) -> Check {
        found.extend(self.flaws.iter().map(|flaw| (&UNREAD, Evidence::from(flaw.as_str()))));
        Check::of(id, found, fine)
    }
}

/// Reads the newest list of a session.
fn read(target: &Target<'_>, session: &SessionOverview) -> (Vec<Value>, Vec<String>) {
    let (mut all, mut why) = (Vec::new(), Vec::new());
    for seq in session.list("tools/list", u64::MAX) {
        let record = target.log.get(seq);
        let Some(frame) = record.as_ref().and_then(|record| record.frame()) else {
            why.push(format!("#{seq}: the list is no longer in the log"));
            continue;
        };
        let Listed { items, flaws } = listed(&frame.message, "tools");
        all.extend(items);
        why.extend(flaws.into_iter().map(|flaw| format!("#{seq}: {flaw}")));
    }
    (all, why)
}

pub(super) fn capabilities(target: &Target<'_>) -> Check {
    const ID: &str = "capabilities";
    let (mut found, mut looked) = (Found::new(), false);
    for session in target.sessions() {
        let declared = session.server.as_ref().and_then(|server| server.capabilities.as_ref());
        // Another shape is the handshake's fault.
        let Some(declared) =
            declared.and_then(|text| exact_value(text.as_bytes()).ok()).filter(Value::is_object)
        else {
            continue;
        };
        looked = true;
        for (capability, list) in
            [("tools", "tools/list"), ("resources", "resources/list"), ("prompts", "prompts/list")]
        {
            let has = declared.get(capability).is_some();
            for row in target.answers(session, list) {
                let message = target.message(row);
                let code = message.as_ref().and_then(|message| message.outcome(&["code"]));
                let is_unknown = code == Some(compose::METHOD_NOT_FOUND.to_string().as_bytes());
                if has && row.is_error && is_unknown {
                    let text = format!("declares {capability}, and {list} fails");
                    found.push((&OVER_DECLARED, target.evidence(row, &text)));
                }
                if !has && !row.is_error {
                    let text = format!("answers {list}, and does not declare {capability}");
                    found.push((&UNDECLARED_LIST, target.evidence(row, &text)));
                }
            }
        }
        found.extend(undeclared(target, session, &declared));
    }
    match looked {
        true => Check::of(ID, found, "lists and capabilities agree"),
        false => Check::inapplicable(ID, "no server has declared anything"),
    }
}

/// Returns the notifications of capabilities that a server does not declare.
fn undeclared(target: &Target<'_>, session: &SessionOverview, declared: &Value) -> Found {
    let mut found = Found::new();
    for row in target.said_in(session).filter(|row| row.kind == FrameKind::Notification) {
        let method = target.method(row);
        let (is_declared, what) = match method {
            "notifications/message" => (declared.get("logging").is_some(), "logging"),
            "notifications/tools/list_changed" => (declared["tools"]["listChanged"] == true, "listChanged"),
            "notifications/prompts/list_changed" => {
                (declared["prompts"]["listChanged"] == true, "listChanged")
            }
            "notifications/resources/list_changed" => {
                (declared["resources"]["listChanged"] == true, "listChanged")
            }
            "notifications/resources/updated" => (declared["resources"]["subscribe"] == true, "subscribe"),
            _ => continue,
        };
        if !is_declared {
            let text = format!("sends {method}, and does not declare {what}");
            found.push((&UNDECLARED_NOTICE, target.evidence(row, &text)));
        }
    }
    found
}

pub(super) fn names(tools: &Tools) -> Check {
    const ID: &str = "names";
    if let Some(missing) = tools.missing(ID) {
        return missing;
    }
    let mut seen: BTreeMap<(&str, &str), u32> = BTreeMap::new();
    let mut found = Found::new();
    for tool in &tools.read {
        *seen.entry((&tool.server, tool.name())).or_default() += 1;
        found.extend(tool.odd_name().map(|(cause, why)| (cause, why.into())));
    }
    for ((server, name), count) in seen.into_iter().filter(|(_, count)| *count > 1) {
        found.push((&NAME_TWICE, format!("{server}: {name} is listed {count} times").into()));
    }
    tools.check(ID, found, format!("{} tools", tools.read.len()))
}

pub(super) fn schemas(tools: &Tools) -> Check {
    const ID: &str = "schemas";
    if let Some(missing) = tools.missing(ID) {
        return missing;
    }
    let odd = tools.read.iter().flat_map(Tool::odd_schemas).map(|(cause, why)| (cause, why.into()));
    tools.check(ID, odd.collect(), format!("{} schemas", tools.read.len()))
}

pub(super) fn cost(tools: &Tools) -> Check {
    const ID: &str = "context-cost";
    if let Some(missing) = tools.missing(ID) {
        return missing;
    }
    let size = |tool: &Tool| tool.definition.to_string().len() as u64 / TOKEN;
    let mut sizes: Vec<(u64, &Tool)> = tools.read.iter().map(|tool| (size(tool), tool)).collect();
    sizes.sort_unstable_by_key(|(size, _)| std::cmp::Reverse(*size));
    let total: u64 = sizes.iter().map(|(size, _)| size).sum();
    let sum = format!("about {total} tokens for {} tools (bytes / 4)", tools.read.len());
    let mut found = Found::new();
    if total >= MANY_TOKENS {
        found.push((&COSTLY, sum.clone().into()));
        let heaviest = sizes.iter().take(5);
        found.extend(heaviest.map(|(size, tool)| (&COSTLY, format!("{}: about {size}", tool.name()).into())));
    }
    tools.check(ID, found, sum)
}
