//! OpenRPC 1.3 document of the control protocol, generated from the types that are on the wire.

use std::collections::HashMap;
use std::sync::LazyLock;

use schemars::{JsonSchema, SchemaGenerator, generate::SchemaSettings};
use serde_json::{Map, Value, json};

use super::api::{self, Ask, FrameFacts, HeldFrame, HeldLine, NOTICES, Points};
use crate::engine::{Command, Reply};

/// Returns the OpenRPC document of the control protocol.
pub fn document() -> Value {
    let mut generator = SchemaSettings::draft2020_12()
        .with(|settings| settings.definitions_path = "/components/schemas".into())
        .into_generator();
    let results = results(&mut generator);
    let reply = schema::<Reply>(&mut generator);
    let mut methods = Vec::new();
    for ask in variants::<Ask>(&mut generator) {
        let result = results.iter().find(|(name, _)| *name == ask.name).map(|(_, result)| result.clone());
        methods.push(ask.method(result.unwrap_or(json!({}))));
    }
    for command in variants::<Command>(&mut generator) {
        methods.push(command.method(reply.clone()));
    }
    for (name, help) in NOTICES {
        let params = json!([{ "name": "params", "required": true, "schema": {} }]);
        methods.push(json!({ "name": name, "summary": help, "params": params, "x-notification": true }));
    }
    let schemas: Map<String, Value> = generator.take_definitions(true);
    json!({
        "openrpc": "1.3.2",
        "info": {
            "title": "shadowcat control",
            "version": api::VERSION.to_string(),
            "description": "Newline-delimited JSON-RPC 2.0 over the Unix socket of an engine. \
                            The first request is hello; params are always named.",
        },
        "methods": methods,
        "components": { "schemas": schemas },
    })
}

/// The enum that defines a method.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Table {
    /// [`Ask`]: requests besides commands.
    Asks,
    /// [`Command`]: commands.
    Commands,
}

/// Returns the enum that defines `method`; `None` if there is no such method.
pub fn table(method: &str) -> Option<Table> {
    static METHODS: LazyLock<HashMap<String, Table>> = LazyLock::new(|| {
        let mut generator = SchemaGenerator::default();
        let asks = variants::<Ask>(&mut generator).into_iter().map(|ask| (ask.name, Table::Asks));
        let commands = variants::<Command>(&mut generator);
        asks.chain(commands.into_iter().map(|command| (command.name, Table::Commands))).collect()
    });
    METHODS.get(method).copied()
}

/// A method, as described by a variant of an enum.
pub(super) struct MethodSchema {
    pub(super) name: String,
    pub(super) help: String,
    pub(super) params: Value,
}

impl MethodSchema {
    fn method(self, result: Value) -> Value {
        let required: Vec<&str> =
            self.params["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        let properties = self.params["properties"].as_object().cloned().unwrap_or_default();
        let param = |(name, schema): (String, Value)| {
            let required = required.contains(&name.as_str());
            json!({ "name": name, "required": required, "schema": schema })
        };
        json!({
            "name": self.name,
            "summary": self.help,
            "paramStructure": "by-name",
            "params": properties.into_iter().map(param).collect::<Vec<_>>(),
            "result": { "name": "result", "schema": result },
        })
    }
}

/// Returns the variants of an adjacently tagged enum as methods.
pub(super) fn variants<T: JsonSchema>(generator: &mut SchemaGenerator) -> Vec<MethodSchema> {
    let whole = T::json_schema(generator).to_value();
    let all = whole["oneOf"].as_array().cloned().unwrap_or_default();
    let method = |variant: &Value| MethodSchema {
        name: variant["properties"]["method"]["const"].as_str().unwrap_or_default().to_owned(),
        help: variant["description"].as_str().unwrap_or_default().replace('\n', " "),
        params: variant["properties"]["params"].clone(),
    };
    all.iter().map(method).collect()
}

fn schema<T: JsonSchema>(generator: &mut SchemaGenerator) -> Value {
    generator.subschema_for::<T>().to_value()
}

/// Returns the schema of the result of each [`Ask`].
fn results(generator: &mut SchemaGenerator) -> Vec<(&'static str, Value)> {
    let facts = schema::<api::EngineFacts>(generator);
    vec![
        ("hello", facts.clone()),
        ("client/attach", json!({ "type": "object" })),
        ("engine/facts", facts),
        ("session/list", json!({ "type": "array", "items": schema::<api::SessionFacts>(generator) })),
        ("log/subscribe", json!({ "type": "object" })),
        ("log/unsubscribe", json!({ "type": "object" })),
        ("log/frames", json!({ "type": "array", "items": schema::<FrameFacts>(generator) })),
        ("log/read", json!({ "type": "array", "items": { "type": "object" } })),
        ("hold/list", json!({ "type": "array", "items": schema::<HeldFrame>(generator) })),
        ("hold/get", json!({ "anyOf": [schema::<HeldLine>(generator), { "type": "null" }] })),
        ("breakpoint/list", schema::<Points>(generator)),
        ("tape/list", json!({ "type": "array", "items": schema::<api::TapeFacts>(generator) })),
        ("tape/frames", json!({ "type": "array", "items": schema::<FrameFacts>(generator) })),
    ]
}
