//! Calls of the demo's client, chosen so that every kind of trouble is on the screen within seconds.

use std::time::Duration;

use serde_json::{Value, json};

use crate::mcp::Era;

/// Call of the script.
#[derive(Debug, Clone)]
pub struct Step {
    /// Pause before the call.
    pub after: Duration,
    /// Method of the request.
    pub method: &'static str,
    /// Parameters of the request.
    pub params: Value,
}

/// Returns the calls of the session in `era`.
pub fn steps(era: Era) -> Vec<Step> {
    let call = |after: u64, tool: &str, arguments: Value| Step {
        after: Duration::from_millis(after),
        method: "tools/call",
        params: json!({ "name": tool, "arguments": arguments }),
    };
    match era {
        Era::Stateful => vec![
            call(300, "add", json!({ "a": 2, "b": 3 })),
            // `limit` should be a number: the server refuses the call, as servers do.
            call(600, "search", json!({ "query": "is:open label:bug", "limit": "50" })),
            Step {
                after: Duration::from_millis(500),
                method: "tools/call",
                params: json!({
                    "name": "index",
                    "arguments": { "steps": 4 },
                    "_meta": { "progressToken": "index-1" },
                }),
            },
            call(900, "learn", json!({})),
            Step {
                after: Duration::from_millis(700),
                method: "resources/read",
                params: json!({ "uri": "demo://readme" }),
            },
            call(600, "hang", json!({})),
        ],
        Era::Stateless => vec![call(300, "add", json!({ "a": 40, "b": 2 })), call(600, "greet", json!({}))],
    }
}

/// Returns the calls that are repeated in `era` after the script, so that there is something to hold and to answer for
/// as long as a user looks around.
pub fn repeated(era: Era) -> Vec<Step> {
    let call = |after: u64, tool: &str, arguments: Value| Step {
        after: Duration::from_secs(after),
        method: "tools/call",
        params: json!({ "name": tool, "arguments": arguments }),
    };
    match era {
        Era::Stateful => vec![
            call(6, "add", json!({ "a": 1, "b": 1 })),
            call(6, "search", json!({ "query": "is:open label:bug", "limit": 50 })),
        ],
        Era::Stateless => vec![call(9, "greet", json!({}))],
    }
}

/// Returns the answer of the scripted user when the server asks for a name.
pub fn answer() -> Value {
    json!({ "action": "accept", "content": { "name": "Ada" } })
}
