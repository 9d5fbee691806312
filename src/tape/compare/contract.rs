//! What a server offers: itself, its tools, resources and prompts.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Map, Value};

use super::Changed;
use crate::log::record::SessionId;
use crate::mcp::compose::meta;
use crate::tape::script::{Script, outcome};
use crate::tape::similarity::{Ignored, differences};

/// What is offered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Offer {
    Server,
    Tool,
    Resource,
    Template,
    Prompt,
}

/// What happened to an offer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Change {
    Added,
    Removed,
    Changed,
    /// What it says about its danger is another thing now.
    Flipped,
}

/// A change of what a server offers.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct OfferChange {
    pub offer: Offer,
    pub name: String,
    pub change: Change,
    pub differences: Vec<Changed>,
}

impl Offer {
    /// The word for people.
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

impl Change {
    /// The word for people.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Added => "added",
            Self::Removed => "removed",
            Self::Changed => "changed",
            Self::Flipped => "flipped",
        }
    }
}

/// The methods of lists, the member they fill, what names an item.
const LISTS: [(&str, &str, &str, Offer); 4] = [
    ("tools/list", "tools", "name", Offer::Tool),
    ("resources/list", "resources", "uri", Offer::Resource),
    ("resources/templates/list", "resourceTemplates", "uriTemplate", Offer::Template),
    ("prompts/list", "prompts", "name", Offer::Prompt),
];

/// Everything that a server was heard to offer.
type Offers = BTreeMap<(Offer, String), Value>;

/// What is offered otherwise in `b` than in `a`. A kind of offer that only one of them was asked
/// for is not compared.
pub fn compare(a: &Script, b: &Script, ignored: &Ignored) -> Vec<OfferChange> {
    let mut changes: Vec<OfferChange> = Vec::new();
    // Each session has a server of its own, which may offer something else.
    for (a, b) in offers(a, ignored).into_iter().zip(offers(b, ignored)) {
        let found = compare_session(&a, &b);
        let new: Vec<_> = found.into_iter().filter(|change| !changes.contains(change)).collect();
        changes.extend(new);
    }
    changes
}

fn compare_session(a: &Offers, b: &Offers) -> Vec<OfferChange> {
    let kinds = |offers: &Offers| -> Vec<Offer> { offers.keys().map(|(offer, _)| *offer).collect() };
    let (asked_a, asked_b) = (kinds(a), kinds(b));
    let mut changes = Vec::new();
    for ((offer, name), was) in a {
        let change =
            |change, differences| OfferChange { offer: *offer, name: name.clone(), change, differences };
        match b.get(&(*offer, name.clone())) {
            Some(is) => {
                let found = differences(was, is);
                let found: Vec<Changed> =
                    found.into_iter().filter(|each| each.volatile.is_none()).map(Changed::from).collect();
                let flipped = found.iter().any(|each| each.path.starts_with("$.annotations"));
                match found.is_empty() {
                    true => {}
                    false if flipped => changes.push(change(Change::Flipped, found)),
                    false => changes.push(change(Change::Changed, found)),
                }
            }
            None if asked_b.contains(offer) => changes.push(change(Change::Removed, Vec::new())),
            None => {}
        }
    }
    for (offer, name) in b.keys().filter(|key| !a.contains_key(*key) && asked_a.contains(&key.0)) {
        changes.push(OfferChange {
            offer: *offer,
            name: name.clone(),
            change: Change::Added,
            differences: Vec::new(),
        });
    }
    changes
}

/// What the server of each session offered last, in the order of the sessions.
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
            offers.insert((Offer::Server, String::new()), server.into());
        }
        let Some((_, member, key, offer)) = LISTS.into_iter().find(|(method, ..)| *method == turn.method)
        else {
            continue;
        };
        // A list from its beginning is the whole list anew.
        if turn.params.get("cursor").is_none() && result.is_object() {
            offers.retain(|(kind, _), _| *kind != offer);
            // Even an empty list was asked for.
            offers.insert((offer, String::new()), Value::Null);
        }
        for item in result[member].as_array().into_iter().flatten() {
            if let Some(name) = item[key].as_str() {
                offers.insert((offer, name.to_owned()), item.clone());
            }
        }
    }
    let mut all: Vec<Offers> = sessions.into_values().collect();
    // What a report names is a path into what is offered.
    all.iter_mut().flat_map(BTreeMap::values_mut).for_each(|offer| ignored.blank(offer));
    all
}
