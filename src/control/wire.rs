//! JSON-RPC 2.0 (https://www.jsonrpc.org/specification), one message a line.

use std::io;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;
use tokio::io::{AsyncBufRead, AsyncBufReadExt};

/// The longest line that is taken: a message may be as long as what is inspected, and escaped.
pub const MAX_LINE: usize = 64 << 20;

/// What a line of a record begins with. It is made and taken apart without JSON: there are many.
pub const RECORD: &str = r#"{"jsonrpc":"2.0","method":"log/record","params":"#;

pub const PARSE_ERROR: i64 = -32700;
pub const INVALID_REQUEST: i64 = -32600;
pub const UNKNOWN_METHOD: i64 = -32601;
pub const INVALID_PARAMS: i64 = -32602;
/// The engine does not do this; the message says why.
pub const REFUSED: i64 = -32000;
/// The peers speak other versions.
pub const INCOMPATIBLE: i64 = -32001;

/// A request as it comes in.
#[derive(Debug, Deserialize)]
pub struct Incoming {
    pub jsonrpc: String,
    #[serde(default)]
    pub id: Option<Value>,
    pub method: String,
    #[serde(default)]
    pub params: Option<Value>,
}

/// What an engine answers or tells.
#[derive(Debug, Deserialize)]
pub struct Told<'a> {
    #[serde(default)]
    pub id: Option<u64>,
    #[serde(default)]
    pub method: Option<String>,
    #[serde(borrow, default)]
    pub params: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub result: Option<&'a RawValue>,
    #[serde(default)]
    pub error: Option<Failure>,
}

/// Why there is no result.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    pub code: i64,
    pub message: String,
}

impl Failure {
    pub fn new(code: i64, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }
}

/// The line of an answer. A result is JSON text, which goes out as it is.
pub fn answer(id: &Value, outcome: Result<Vec<u8>, Failure>) -> Vec<u8> {
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

/// A result as JSON text.
pub fn result(value: &impl Serialize) -> Vec<u8> {
    // What this protocol answers has texts for keys and cannot fail to be written.
    serde_json::to_vec(value).unwrap_or_else(|_| b"null".to_vec())
}

/// The line of something that is told.
pub fn notice(method: &str, params: &impl Serialize) -> Vec<u8> {
    line(&serde_json::json!({ "jsonrpc": "2.0", "method": method, "params": params }))
}

/// The line of a request: its method and params with what JSON-RPC wants around them.
pub fn request(id: u64, mut request: Value) -> Vec<u8> {
    if let Value::Object(members) = &mut request {
        members.insert("jsonrpc".to_owned(), "2.0".into());
        members.insert("id".to_owned(), id.into());
    }
    line(&request)
}

/// A message and its line end.
pub fn line(message: &Value) -> Vec<u8> {
    let mut line = message.to_string().into_bytes();
    line.push(b'\n');
    line
}

/// Reads the next line without its end; none at the end of the stream.
///
/// # Errors
/// When the stream fails, or the line is longer than [`MAX_LINE`].
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
            return Err(io::Error::new(io::ErrorKind::InvalidData, "a line is longer than is taken"));
        }
        line.extend_from_slice(&there[..taken]);
        from.consume(taken + usize::from(is_end));
        if is_end {
            return Ok(Some(line));
        }
    }
}
