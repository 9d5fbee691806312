//! JSON-RPC 2.0 (<https://www.jsonrpc.org/specification>), one message per line.

use std::io;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;
use tokio::io::{AsyncBufRead, AsyncBufReadExt};

/// Maximum length of a line in bytes. Inspected messages can be long, and escapes make them longer.
pub const MAX_LINE: usize = 64 << 20;

/// Start of a `log/record` notification, up to its params. Records are frequent: their lines are
/// assembled and taken apart without a JSON parser.
pub const RECORD: &str = r#"{"jsonrpc":"2.0","method":"log/record","params":"#;

/// Error code: the line is not JSON (JSON-RPC 2.0, section 5.1).
pub const PARSE_ERROR: i64 = -32700;
/// Error code: the line is JSON but no valid request (JSON-RPC 2.0, section 5.1).
pub const INVALID_REQUEST: i64 = -32600;
/// Error code: the method does not exist (JSON-RPC 2.0, section 5.1).
pub const UNKNOWN_METHOD: i64 = -32601;
/// Error code: the params do not fit the method (JSON-RPC 2.0, section 5.1).
pub const INVALID_PARAMS: i64 = -32602;
/// Error code: the engine refuses the request; the message says why.
pub const REFUSED: i64 = -32000;
/// Error code: the peers speak different versions of the control protocol.
pub const INCOMPATIBLE: i64 = -32001;

/// A request as received, before its params are parsed.
#[derive(Debug, Deserialize)]
pub struct Incoming {
    /// Version of JSON-RPC; must be `2.0`.
    pub jsonrpc: String,
    /// Request id; `None` for a notification.
    #[serde(default)]
    pub id: Option<Value>,
    /// Method name, e.g. `log/frames`.
    pub method: String,
    /// Params by name; `None` stands for an empty object.
    #[serde(default)]
    pub params: Option<Value>,
}

/// A message from an engine: a response or a notification.
#[derive(Debug, Deserialize)]
pub struct EngineMessage<'a> {
    /// Id of the request that a response answers; `None` for a notification.
    #[serde(default)]
    pub id: Option<u64>,
    /// Method of a notification.
    #[serde(default)]
    pub method: Option<String>,
    /// Params of a notification.
    #[serde(borrow, default)]
    pub params: Option<&'a RawValue>,
    /// Result of a successful request, as JSON text.
    #[serde(borrow, default)]
    pub result: Option<&'a RawValue>,
    /// Error of a failed request.
    #[serde(default)]
    pub error: Option<ErrorObject>,
}

/// The error object of a response, without a `data` member (JSON-RPC 2.0, section 5.1).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct ErrorObject {
    /// Error code, e.g. [`REFUSED`].
    pub code: i64,
    /// Cause of the error, as a sentence for people.
    pub message: String,
}

impl ErrorObject {
    /// Creates an error object.
    pub fn new(code: i64, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }
}

/// Returns the line of a response to the request `id`. A successful result is JSON text and is
/// copied unchanged.
pub fn answer(id: &Value, outcome: Result<Vec<u8>, ErrorObject>) -> Vec<u8> {
    match outcome {
        Ok(result) => {
            let mut line = format!(r#"{{"jsonrpc":"2.0","id":{id},"result":"#).into_bytes();
            line.extend_from_slice(&result);
            line.extend_from_slice(b"}\n");
            line
        }
        Err(error) => line(&serde_json::json!({ "jsonrpc": "2.0", "id": id, "error": error })),
    }
}

/// Serializes a result as JSON text.
pub fn result(value: &impl Serialize) -> Vec<u8> {
    // Results have only strings as keys, so serializing them cannot fail.
    serde_json::to_vec(value).unwrap_or_else(|_| b"null".to_vec())
}

/// Returns the line of a notification.
pub fn notice(method: &str, params: &impl Serialize) -> Vec<u8> {
    line(&serde_json::json!({ "jsonrpc": "2.0", "method": method, "params": params }))
}

/// Returns the line of a request: adds `jsonrpc` and `id` to `request`, an object with `method` and
/// `params`.
pub fn request(id: u64, mut request: Value) -> Vec<u8> {
    if let Value::Object(members) = &mut request {
        members.insert("jsonrpc".to_owned(), "2.0".into());
        members.insert("id".to_owned(), id.into());
    }
    line(&request)
}

/// Serializes a message and appends the line terminator.
pub fn line(message: &Value) -> Vec<u8> {
    let mut line = message.to_string().into_bytes();
    line.push(b'\n');
    line
}

/// Reads the next line, without its terminator; `None` at the end of the stream.
///
/// # Errors
/// If the stream fails, or if the line is longer than [`MAX_LINE`].
pub async fn read_line(from: &mut (impl AsyncBufRead + Unpin)) -> io::Result<Option<Vec<u8>>> {
    let mut line = Vec::new();
    loop {
        let there = from.fill_buf().await?;
        if there.is_empty() {
            return Ok((!line.is_empty()).then_some(line));
        }
        let (taken, is_end) = match memchr::memchr(b'\n', there) {
            Some(end) => (end, true),
            None => (there.len(), false),
        };
        if line.len() + taken > MAX_LINE {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "the line is longer than 64 MiB"));
        }
        line.extend_from_slice(&there[..taken]);
        from.consume(taken + usize::from(is_end));
        if is_end {
            return Ok(Some(line));
        }
    }
}
