//! Calls of tools in the course of an examination: of those that are marked as read-only, and of those that the
//! user names.

use std::str::FromStr;
use std::time::Duration;

use serde_json::{Map, Value, json};
use tokio::time::Instant;

use super::{Arguments, folded};
use crate::client::Client;
use crate::log::Log;
use crate::mcp::listing::listed;

/// A tool that the user wants to be called.
#[derive(Debug, Clone, PartialEq)]
pub struct Call {
    name: String,
    arguments: Option<Value>,
}

/// Least time for an answer to a call.
const LEAST: Duration = Duration::from_secs(2);
/// Time for announcements of changed lists after the lists were answered.
const SETTLING: Duration = Duration::from_millis(800);
/// Time without an announcement after which none follows.
const QUIET: Duration = Duration::from_millis(100);
/// Maximum number of tools that are called unasked.
const MAX_CALLS: usize = 50;

/// Error of a call that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CallParseError {
    /// The arguments are no JSON.
    #[error("the arguments after = are no JSON: {0}")]
    Json(String),
    /// The arguments are another value than an object.
    #[error("the arguments after = are a JSON object, such as {{\"text\":\"hi\"}}")]
    NoObject,
    /// There is no name before the arguments.
    #[error("name the tool, as in echo={{\"text\":\"hi\"}}")]
    NoName,
}

impl FromStr for Call {
    type Err = CallParseError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (name, arguments) = match text.split_once('=') {
            Some((name, arguments)) => (name, Some(arguments)),
            None => (text, None),
        };
        if name.is_empty() {
            return Err(CallParseError::NoName);
        }
        let arguments = arguments.map(serde_json::from_str::<Value>).transpose();
        let arguments = arguments.map_err(|error| CallParseError::Json(error.to_string()))?;
        match arguments.as_ref().is_none_or(Value::is_object) {
            true => Ok(Self { name: name.to_owned(), arguments }),
            false => Err(CallParseError::NoObject),
        }
    }
}

/// Waits while the server announces changes of its lists.
pub(super) async fn settle(client: &Client, deadline: Instant) {
    let end = deadline.min(Instant::now() + SETTLING);
    let mut quiet_since = Instant::now();
    while Instant::now() < end && quiet_since.elapsed() < QUIET {
        tokio::time::sleep(Duration::from_millis(10)).await;
        if client.is_refreshing() {
            quiet_since = Instant::now();
        }
    }
}

/// Calls the tools, one after another; the checks find the answers in the log.
pub(super) async fn make(arguments: &Arguments, client: &Client, log: &Log, deadline: Instant) {
    let tools = tools(log);
    let mut calls: Vec<(String, Value)> = Vec::new();
    for call in &arguments.call {
        let schema =
            tools.iter().find(|tool| tool["name"] == call.name.as_str()).map(|tool| &tool["inputSchema"]);
        let made_up = || schema.map_or_else(|| json!({}), example);
        calls.push((call.name.clone(), call.arguments.clone().unwrap_or_else(made_up)));
    }
    let is_read_only = |tool: &&Value| tool["annotations"]["readOnlyHint"] == true && !arguments.no_calls;
    for tool in tools.iter().filter(is_read_only).take(MAX_CALLS) {
        let Some(name) = tool["name"].as_str() else { continue };
        if !arguments.call.iter().any(|call| call.name == name) {
            calls.push((name.to_owned(), example(&tool["inputSchema"])));
        }
    }
    for (at, (name, values)) in calls.iter().enumerate() {
        let left = deadline.saturating_duration_since(Instant::now());
        let share = left / u32::try_from(calls.len() - at).unwrap_or(u32::MAX);
        let patience = share.max(LEAST).min(left);
        let params = json!({ "name": name, "arguments": values, "_meta": { "progressToken": at } });
        // Whatever comes, or does not come, is in the log.
        let _ = client.ask("tools/call", Some(params), patience).await;
    }
}

/// Returns the tools that the servers have listed.
fn tools(log: &Log) -> Vec<Value> {
    let world = folded(log);
    let pages = world.sessions.values().flat_map(|session| session.list("tools/list", u64::MAX));
    let records = pages.filter_map(|page| log.get(page));
    records
        .flat_map(|record| {
            record.frame().map(|frame| listed(&frame.message, "tools").items).unwrap_or_default()
        })
        .collect()
}

/// Returns a value that fits a schema as far as it is simple: its default, or the smallest of its type.
fn example(schema: &Value) -> Value {
    const MAX_DEPTH: usize = 8;
    example_within(schema, MAX_DEPTH)
}

fn example_within(schema: &Value, depth: usize) -> Value {
    let given = [&schema["default"], &schema["const"], &schema["examples"][0], &schema["enum"][0]];
    if let Some(given) = given.into_iter().find(|value| !value.is_null()) {
        return given.clone();
    }
    let kind = schema["type"].as_str().or_else(|| schema["type"][0].as_str());
    match kind {
        Some("string") => "text".into(),
        Some("integer" | "number") => {
            schema["minimum"].as_f64().map_or(json!(1), |_| schema["minimum"].clone())
        }
        Some("boolean") => false.into(),
        Some("array") => json!([]),
        Some("null") => Value::Null,
        _ if depth == 0 => json!({}),
        _ => {
            let required = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str);
            let members = required
                .map(|name| (name.to_owned(), example_within(&schema["properties"][name], depth - 1)));
            Value::Object(members.collect::<Map<_, _>>())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_has_a_name_and_an_object() {
        let call: Call = "echo={\"a\":1}".parse().unwrap();
        assert_eq!(call, Call { name: "echo".into(), arguments: Some(json!({ "a": 1 })) });
        assert_eq!("echo".parse::<Call>().unwrap().arguments, None);
        assert_eq!("echo=[]".parse::<Call>(), Err(CallParseError::NoObject));
        assert_eq!("={}".parse::<Call>(), Err(CallParseError::NoName));
        assert!(matches!("echo={".parse::<Call>(), Err(CallParseError::Json(_))));
    }

    #[test]
    fn arguments_are_made_up_from_the_schema() {
        let schema = json!({
            "type": "object",
            "required": ["city", "days", "unit"],
            "properties": {
                "city": { "type": "string" },
                "days": { "type": "integer", "minimum": 3 },
                "unit": { "enum": ["C", "F"] },
                "more": { "type": "string" }
            }
        });
        assert_eq!(example(&schema), json!({ "city": "text", "days": 3, "unit": "C" }));
        assert_eq!(example(&json!({ "type": "object" })), json!({}));
    }
}
