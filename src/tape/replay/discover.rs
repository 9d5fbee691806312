//! Answer to `server/discover` if the recording has none: some clients find out the era of a server
//! on a process of its own.

use bytes::Bytes;
use serde_json::{Map, Value, json};

use crate::log::record::Facts;
use crate::mcp::compose::{self, meta};
use crate::mcp::{Id, Revision};
use crate::tape::script::Script;

/// Prefixes of methods, and the capabilities that requests of such methods imply.
const SHOWN_BY: [(&str, &str); 7] = [
    ("tools/", "tools"),
    ("resources/", "resources"),
    ("prompts/", "prompts"),
    ("completion/", "completions"),
    ("logging/", "logging"),
    ("tasks/", "tasks"),
    ("subscriptions/", "subscriptions"),
];

/// Composes the answer that the recorded server would have given, as far as the recording shows.
pub fn answer(id: &Id, script: &Script) -> Bytes {
    let known = script.server.clone();
    let of = |field: fn(&Facts) -> Option<&String>| known.as_ref().and_then(field).cloned();
    let version = of(|facts| facts.version.as_ref()).unwrap_or_else(|| Revision::LATEST.as_str().to_owned());
    let named: Option<Value> =
        of(|facts| facts.capabilities.as_ref()).and_then(|json| serde_json::from_str(&json).ok());
    let shown = || {
        let asked = |prefix: &str| script.requests().any(|turn| turn.method.starts_with(prefix));
        let shown = SHOWN_BY.iter().filter(|(prefix, _)| asked(prefix));
        Value::from(shown.map(|(_, what)| ((*what).to_owned(), json!({}))).collect::<Map<_, _>>())
    };
    let info = json!({
        "name": of(|facts| facts.name.as_ref()).unwrap_or_else(|| "recorded".into()),
        "version": of(|facts| facts.release.as_ref()).unwrap_or_default(),
    });
    compose::response(
        id,
        &json!({
            "resultType": "complete",
            "supportedVersions": [version],
            "capabilities": named.unwrap_or_else(shown),
            "ttlMs": 0,
            "cacheScope": "private",
            "_meta": { meta::SERVER_INFO: info },
        }),
    )
}
