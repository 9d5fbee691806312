//! Comparison of what a server offers: its own description, tools, resources and prompts.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use serde_json::{Map, Value};

use super::ReportedDifference;
use crate::log::record::SessionId;
use crate::mcp::compose::meta;
use crate::tape::script::{Script, outcome};
use crate::tape::similarity::{Ignored, differences};

/// Kind of an offer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum OfferType {
    /// Information, capabilities and instructions of the server.
    Server,
    /// A tool.
    Tool,
    /// A resource.
    Resource,
    /// A resource template.
    Template,
    /// A prompt.
    Prompt,
}

/// Kind of change of an offer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ChangeKind {
    /// The offer exists in the second recording only.
    Added,
    /// The offer exists in the first recording only.
    Removed,
    /// The definition changed.
    Changed,
    /// The annotations changed, which tell how dangerous a tool is.
    Flipped,
}

/// A change of what a server offers.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct OfferChange {
    /// Kind of the offer.
    pub offer: OfferType,
    /// Name or URI of the offer; empty for the server.
    pub name: String,
    /// Kind of change.
    pub change: ChangeKind,
    /// Differences between the definitions.
    pub differences: Vec<ReportedDifference>,
}

impl OfferType {
    /// Returns the name of the kind for people.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Server => "server",
            Self::Tool => "tool",
            Self::Resource => "resource",
            Self::Template => "template",
            Self::Prompt => "prompt",
        }
    }
}

impl ChangeKind {
    /// Returns the name of the change for people.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Added => "added",
            Self::Removed => "removed",
            Self::Changed => "changed",
            Self::Flipped => "flipped",
        }
    }
}

/// List methods, with the member of the result, the key that names an item, and the kind of offer.
const LISTS: [(&str, &str, &str, OfferType); 4] = [
    ("tools/list", "tools", "name", OfferType::Tool),
    ("resources/list", "resources", "uri", OfferType::Resource),
    ("resources/templates/list", "resourceTemplates", "uriTemplate", OfferType::Template),
    ("prompts/list", "prompts", "name", OfferType::Prompt),
];

/// Offers that a server was seen to make.
type Offers = BTreeMap<(OfferType, String), Value>;

/// Returns the changes of offers from `a` to `b`. A kind of offer that was requested in only one of
/// them is not compared.
pub fn compare(a: &Script, b: &Script, ignored: &Ignored) -> Vec<OfferChange> {
    let mut changes: Vec<OfferChange> = Vec::new();
    // Sessions are compared one by one: every session has a server of its own, which may offer
    // something else.
    for (a, b) in offers(a, ignored).into_iter().zip(offers(b, ignored)) {
        let found = compare_session(&a, &b);
        let new: Vec<_> = found.into_iter().filter(|change| !changes.contains(change)).collect();
        changes.extend(new);
    }
    changes
}

/// Returns the kinds of offers that were seen in one only, of all sessions: nothing is known of their changes.
pub fn seen_in_one(a: &Script, b: &Script, ignored: &Ignored) -> Vec<OfferType> {
    let kinds = |offers: &Offers| -> BTreeSet<OfferType> { offers.keys().map(|(offer, _)| *offer).collect() };
    let pairs = offers(a, ignored).into_iter().zip(offers(b, ignored));
    let one: BTreeSet<OfferType> = pairs.flat_map(|(a, b)| &kinds(&a) ^ &kinds(&b)).collect();
    one.into_iter().collect()
}

fn compare_session(a: &Offers, b: &Offers) -> Vec<OfferChange> {
    let kinds = |offers: &Offers| -> Vec<OfferType> { offers.keys().map(|(offer, _)| *offer).collect() };
    let (asked_a, asked_b) = (kinds(a), kinds(b));
    let mut changes = Vec::new();
    for ((offer, name), was) in a {
        let change =
            |change, differences| OfferChange { offer: *offer, name: name.clone(), change, differences };
        match b.get(&(*offer, name.clone())) {
            Some(is) => {
                let found = differences(was, is);
                let found: Vec<ReportedDifference> = found
                    .into_iter()
                    .filter(|each| each.volatile.is_none())
                    .map(ReportedDifference::from)
                    .collect();
                let flipped = found.iter().any(|each| each.path.starts_with("$.annotations"));
                match found.is_empty() {
                    true => {}
                    false if flipped => changes.push(change(ChangeKind::Flipped, found)),
                    false => changes.push(change(ChangeKind::Changed, found)),
                }
            }
            None if asked_b.contains(offer) => changes.push(change(ChangeKind::Removed, Vec::new())),
            None => {}
        }
    }
    for (offer, name) in b.keys().filter(|key| !a.contains_key(*key) && asked_a.contains(&key.0)) {
        changes.push(OfferChange {
            offer: *offer,
            name: name.clone(),
            change: ChangeKind::Added,
            differences: Vec::new(),
        });
    }
    changes
}

/// Returns the last offers of the server of each session, in the order of the sessions.
fn offers(script: &Script, ignored: &Ignored) -> Vec<Offers> {
    let mut sessions: BTreeMap<SessionId, Offers> = BTreeMap::new();
    for turn in script.requests() {
        let offers = sessions.entry(turn.session).or_default();
        let Some(answer) = turn.answer() else { continue };
        let mut outcome = outcome(&answer.message);
        ignored.blank(&mut outcome);
        let result = &outcome["result"];
        if matches!(turn.method.as_str(), "initialize" | "server/discover") && result.is_object() {
            let info = result.get("serverInfo").or_else(|| result["_meta"].get(meta::SERVER_INFO));
            let named = ["capabilities", "protocolVersion", "supportedVersions", "instructions"];
            let mut server: Map<String, Value> = named
                .into_iter()
                .filter_map(|key| Some((key.to_owned(), result.get(key)?.clone())))
                .collect();
            server.extend(info.map(|info| ("serverInfo".to_owned(), info.clone())));
            offers.insert((OfferType::Server, String::new()), server.into());
        }
        let Some((_, member, key, offer)) = LISTS.into_iter().find(|(method, ..)| *method == turn.method)
        else {
            continue;
        };
        // A list from its beginning replaces the earlier list.
        let is_first = turn.params.get("cursor").is_none_or(Value::is_null);
        if is_first && result.is_object() {
            offers.retain(|(kind, _), _| *kind != offer);
            // An entry without a name shows that the list was requested, even if it is empty.
            // A list of another shape is compared as a whole.
            let odd = Some(&result[member]).filter(|list| !list.is_array());
            offers.insert((offer, String::new()), odd.cloned().unwrap_or_default());
        }
        for (at, item) in result[member].as_array().into_iter().flatten().enumerate() {
            let name = item[key].as_str().map_or_else(|| format!("#{at}"), str::to_owned);
            // Names that stand twice are told apart, so that the loss of one is seen.
            let twice = (2..).map(|number| format!("{name} ({number})"));
            let free = std::iter::once(name.clone())
                .chain(twice)
                .find(|name| !offers.contains_key(&(offer, name.clone())));
            offers.insert((offer, free.unwrap_or(name)), item.clone());
        }
    }
    let mut all: Vec<Offers> = sessions.into_values().collect();
    // Paths in a report are relative to the offer, so ignored paths may be as well.
    all.iter_mut().flat_map(BTreeMap::values_mut).for_each(|offer| ignored.blank(offer));
    all
}
