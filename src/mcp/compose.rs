//! Messages of our own, written as one line without a terminator.

use bytes::Bytes;
use serde_json::{Value, json};

use super::id::Id;
use super::revision::Revision;

/// JSON-RPC 2.0 section 5.1: not a valid request.
pub const INVALID_REQUEST: i64 = -32600;
/// JSON-RPC 2.0 section 5.1: the method is not available.
pub const METHOD_NOT_FOUND: i64 = -32601;
/// JSON-RPC 2.0 section 5.1: invalid parameters.
pub const INVALID_PARAMS: i64 = -32602;
/// JSON-RPC 2.0 section 5.1: internal error; what a dropped request is answered with.
pub const INTERNAL_ERROR: i64 = -32603;

/// The `_meta` keys that a stateless request carries (2026-07-28, basic/index).
pub mod meta {
    pub const PROTOCOL_VERSION: &str = "io.modelcontextprotocol/protocolVersion";
    pub const CLIENT_INFO: &str = "io.modelcontextprotocol/clientInfo";
    pub const CLIENT_CAPABILITIES: &str = "io.modelcontextprotocol/clientCapabilities";
    pub const SERVER_INFO: &str = "io.modelcontextprotocol/serverInfo";
    pub const SUBSCRIPTION_ID: &str = "io.modelcontextprotocol/subscriptionId";
}

pub fn request(id: &Id, method: &str, params: Option<&Value>) -> Bytes {
    let method = Value::from(method);
    match params {
        Some(params) => {
            format!(r#"{{"jsonrpc":"2.0","id":{},"method":{method},"params":{params}}}"#, id.token())
        }
        None => format!(r#"{{"jsonrpc":"2.0","id":{},"method":{method}}}"#, id.token()),
    }
    .into()
}

pub fn notification(method: &str, params: Option<&Value>) -> Bytes {
    let method = Value::from(method);
    match params {
        Some(params) => format!(r#"{{"jsonrpc":"2.0","method":{method},"params":{params}}}"#),
        None => format!(r#"{{"jsonrpc":"2.0","method":{method}}}"#),
    }
    .into()
}

pub fn response(id: &Id, result: &Value) -> Bytes {
    format!(r#"{{"jsonrpc":"2.0","id":{},"result":{result}}}"#, id.token()).into()
}

pub fn failure(id: Option<&Id>, code: i64, message: &str) -> Bytes {
    failure_with(id, code, message, None)
}

/// A failure with `data` that programs can read.
pub fn failure_with(id: Option<&Id>, code: i64, message: &str, data: Option<&Value>) -> Bytes {
    let id = id.map_or("null", Id::token);
    let error = match data {
        Some(data) => json!({ "code": code, "message": message, "data": data }),
        None => json!({ "code": code, "message": message }),
    };
    format!(r#"{{"jsonrpc":"2.0","id":{id},"error":{error}}}"#).into()
}

/// Takes a request back (every revision, utilities/cancellation).
pub fn cancelled(id: &Id, reason: &str) -> Bytes {
    let reason = Value::from(reason);
    let params = format!(r#"{{"requestId":{},"reason":{reason}}}"#, id.token());
    format!(r#"{{"jsonrpc":"2.0","method":"notifications/cancelled","params":{params}}}"#).into()
}

/// A tool result that says the tool failed (`isError`), as a model would see it.
pub fn tool_error(id: &Id, text: &str) -> Bytes {
    response(id, &json!({ "content": [{ "type": "text", "text": text }], "isError": true }))
}

/// Puts the stateless envelope into `params`: version, client and its capabilities.
pub fn enveloped(params: Option<Value>, info: &Value, capabilities: &Value) -> Value {
    let mut params = match params {
        Some(Value::Object(map)) => map,
        _ => serde_json::Map::new(),
    };
    let meta = params.entry("_meta").or_insert_with(|| json!({}));
    if let Value::Object(meta) = meta {
        meta.entry(meta::PROTOCOL_VERSION).or_insert_with(|| Revision::LATEST.as_str().into());
        meta.entry(meta::CLIENT_INFO).or_insert_with(|| info.clone());
        meta.entry(meta::CLIENT_CAPABILITIES).or_insert_with(|| capabilities.clone());
    }
    Value::Object(params)
}
