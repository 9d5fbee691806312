//! Composition of messages by shadowcat itself, each as one line without a terminator.

use bytes::Bytes;
use serde_json::{Value, json};

use super::id::Id;
use super::message::{Kind, Message};
use super::revision::Revision;

/// JSON-RPC 2.0, section 5.1: the message is not a valid request.
pub const INVALID_REQUEST: i64 = -32600;
/// JSON-RPC 2.0, section 5.1: the method does not exist or is not available.
pub const METHOD_NOT_FOUND: i64 = -32601;
/// JSON-RPC 2.0, section 5.1: the parameters are invalid.
pub const INVALID_PARAMS: i64 = -32602;
/// JSON-RPC 2.0, section 5.1: internal error. Also the answer to a request that was dropped.
pub const INTERNAL_ERROR: i64 = -32603;

/// Keys of `_meta` that requests and results of the stateless era carry (2026-07-28, basic/index).
pub mod meta {
    /// The protocol version of a request.
    pub const PROTOCOL_VERSION: &str = "io.modelcontextprotocol/protocolVersion";
    /// Name and version of the client.
    pub const CLIENT_INFO: &str = "io.modelcontextprotocol/clientInfo";
    /// The capabilities of the client.
    pub const CLIENT_CAPABILITIES: &str = "io.modelcontextprotocol/clientCapabilities";
    /// Name and version of the server, in a result.
    pub const SERVER_INFO: &str = "io.modelcontextprotocol/serverInfo";
    /// The subscription that a notification or result belongs to.
    pub const SUBSCRIPTION_ID: &str = "io.modelcontextprotocol/subscriptionId";
}

/// Composes a request.
pub fn request(id: &Id, method: &str, params: Option<&Value>) -> Bytes {
    request_text(id, method, params.map(Value::to_string).as_deref())
}

/// Returns the `file` URI of an absolute path (RFC 8089, RFC 3986 section 2): every byte that is not
/// unreserved is percent-encoded.
pub fn file_uri(path: &[u8]) -> String {
    let mut uri = "file://".to_owned();
    for byte in path {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' => {
                uri.push(char::from(*byte));
            }
            other => uri.push_str(&format!("%{other:02X}")),
        }
    }
    uri
}

/// Composes a request with params that are JSON already.
pub fn request_text(id: &Id, method: &str, params: Option<&str>) -> Bytes {
    let method = Value::from(method);
    match params {
        Some(params) => {
            format!(r#"{{"jsonrpc":"2.0","id":{},"method":{method},"params":{params}}}"#, id.token())
        }
        None => format!(r#"{{"jsonrpc":"2.0","id":{},"method":{method}}}"#, id.token()),
    }
    .into()
}

/// Composes a notification.
pub fn notification(method: &str, params: Option<&Value>) -> Bytes {
    let method = Value::from(method);
    match params {
        Some(params) => format!(r#"{{"jsonrpc":"2.0","method":{method},"params":{params}}}"#),
        None => format!(r#"{{"jsonrpc":"2.0","method":{method}}}"#),
    }
    .into()
}

/// Composes a successful response.
pub fn response(id: &Id, result: &Value) -> Bytes {
    format!(r#"{{"jsonrpc":"2.0","id":{},"result":{result}}}"#, id.token()).into()
}

/// Composes an error response; a missing id becomes `null`.
pub fn failure(id: Option<&Id>, code: i64, message: &str) -> Bytes {
    failure_with(id, code, message, None)
}

/// Composes an error response with `data` for programs; a missing id becomes `null`.
pub fn failure_with(id: Option<&Id>, code: i64, message: &str, data: Option<&Value>) -> Bytes {
    let id = id.map_or("null", Id::token);
    let error = match data {
        Some(data) => json!({ "code": code, "message": message, "data": data }),
        None => json!({ "code": code, "message": message }),
    };
    format!(r#"{{"jsonrpc":"2.0","id":{id},"error":{error}}}"#).into()
}

/// Returns an error response for every request in `message`, which may be a batch. `why` is named as
/// shadowcat's.
pub fn failures<'a>(message: &'a Message, code: i64, why: &str) -> impl Iterator<Item = Bytes> + use<'a> {
    let why = format!("shadowcat: {why}");
    message.elements().iter().filter_map(move |element| match element.kind() {
        Kind::Request { id, .. } => Some(failure(Some(id), code, &why)),
        _ => None,
    })
}

/// Composes the notification that cancels a request (all revisions, basic/utilities/cancellation).
pub fn cancelled(id: &Id, reason: &str) -> Bytes {
    let reason = Value::from(reason);
    let params = format!(r#"{{"requestId":{},"reason":{reason}}}"#, id.token());
    format!(r#"{{"jsonrpc":"2.0","method":"notifications/cancelled","params":{params}}}"#).into()
}

/// Composes the result of a tool that failed (`isError`), with `text` as the model sees it.
pub fn tool_error(id: &Id, text: &str) -> Bytes {
    response(id, &json!({ "content": [{ "type": "text", "text": text }], "isError": true }))
}

/// Adds the envelope of the stateless era to `params`: version, client information and capabilities.
/// Members that `_meta` already has stay.
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
