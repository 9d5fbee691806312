//! OpenTelemetry traces as OTLP/JSON (opentelemetry-proto 1.x): one span per operation, its frames
//! as events, with the attributes of the MCP semantic conventions.

use std::io::{self, Write};

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::ExportSource;
use crate::log::world::{OperationSummary, Row, State};
use crate::mcp::Direction;
use crate::tape::writer::hex;

/// Writes one document with the spans of all operations.
///
/// # Errors
/// Returns an error if `out` cannot be written.
pub fn write(source: &ExportSource<'_>, out: &mut dyn Write) -> io::Result<()> {
    let world = source.world;
    let mut spans = Vec::new();
    for (row, _) in source.each() {
        let Some(operation) = row.op().and_then(|op| world.operation(op)) else { continue };
        if world.first(operation).is_some_and(|first| first.seq == row.seq) {
            spans.push(span(source, operation, row));
        }
    }
    let service = json!({ "key": "service.name", "value": { "stringValue": source.header.name } });
    let document = json!({
        "resourceSpans": [{
            "resource": { "attributes": [service] },
            "scopeSpans": [{
                "scope": { "name": "shadowcat", "version": env!("CARGO_PKG_VERSION") },
                "spans": spans,
            }],
        }]
    });
    writeln!(out, "{document:#}")
}

/// Derives an id from the id of the tape, so that the same tape gives the same traces.
fn id(source: &ExportSource<'_>, what: &str, length: usize) -> String {
    let hash = Sha256::new().chain_update(&source.header.tape).chain_update(what);
    hex(hash)[..length].to_owned()
}

fn span(source: &ExportSource<'_>, operation: &OperationSummary, first: &Row) -> Value {
    let world = source.world;
    let nanos = |at| (source.wall(at) * 1000).to_string();
    let text = |key: &str, value: &str| json!({ "key": key, "value": { "stringValue": value } });
    let number = |key: &str, value: u64| json!({ "key": key, "value": { "intValue": value.to_string() } });
    let method = world.text(first.method).unwrap_or("?");
    let mut attributes = vec![
        text("rpc.system", "jsonrpc"),
        text("mcp.method.name", method),
        number("shadowcat.operation", operation.id.0.into()),
        number("shadowcat.frame", first.seq),
    ];
    if let Some(target) = world.text(first.target) {
        let key = match method {
            "tools/call" => "gen_ai.tool.name",
            "prompts/get" => "gen_ai.prompt.name",
            _ => "mcp.resource.uri",
        };
        attributes.push(text(key, target));
    }
    if let Some(session) = world.sessions.get(&operation.session) {
        attributes.extend(
            session
                .server
                .as_ref()
                .and_then(|facts| facts.version.as_deref())
                .map(|version| text("mcp.protocol.version", version)),
        );
    }
    let events: Vec<Value> = world
        .frames(operation)
        .skip(1)
        .map(|row| {
            let name = world.text(row.method).unwrap_or(row.kind.as_str());
            let name = if row.kind.as_str() == "resp" { format!("{name} result") } else { name.to_owned() };
            json!({ "timeUnixNano": nanos(row.at), "name": name, "attributes": [number("shadowcat.frame", row.seq)] })
        })
        .collect();
    let (code, why) = match operation.state {
        State::Ok => (1, ""),
        State::Error => (2, "the server reported an error"),
        State::Lost => (2, "no response"),
        State::Cancelled => (2, "cancelled"),
        State::Pending | State::InputRequired => (0, ""),
    };
    let end =
        operation.ended().or_else(|| world.last_of(operation).map(|row| row.at)).unwrap_or(operation.started);
    let parent = world.operations.cause(operation.id);
    json!({
        "traceId": id(source, &format!("trace {}", parent.map_or(operation.id.0, |cause| cause.op.0)), 32),
        "spanId": id(source, &format!("span {}", operation.id.0), 16),
        "parentSpanId": parent.map_or_else(String::new, |cause| id(source, &format!("span {}", cause.op.0), 16)),
        "name": world.text(first.target).map_or_else(|| method.to_owned(), |target| format!("{method} {target}")),
        // SpanKind: CLIENT (3) for operations that the client starts, SERVER (2) for those of the
        // server.
        "kind": if operation.direction == Direction::ToServer { 3 } else { 2 },
        "startTimeUnixNano": nanos(operation.started),
        "endTimeUnixNano": nanos(end),
        "attributes": attributes,
        "events": events,
        "status": { "code": code, "message": why },
    })
}
