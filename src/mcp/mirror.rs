//! Headers that repeat parts of the body (2026-07-28, basic/transports/streamable-http, SEP-2243).
//!
//! A server refuses a request whose headers say something else than its body, so whoever changes
//! a body has to change them too.

use std::collections::HashMap;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::Value;

use super::compose::meta;
use super::message::Message;
use super::{Kind, json};

/// Header and value; none for a header that the body gives no value.
pub type Mirrored = (String, Option<String>);

/// Which arguments of which tools are repeated in `Mcp-Param-…`, as far as lists of tools said so.
#[derive(Debug, Default, Clone)]
pub struct Annotations {
    tools: HashMap<String, Vec<(String, Vec<String>)>>,
}

/// Methods that have an `Mcp-Name`, and the parameter that it repeats.
const NAMED: [(&str, &str); 6] = [
    ("tools/call", "name"),
    ("prompts/get", "name"),
    ("resources/read", "uri"),
    ("tasks/get", "taskId"),
    ("tasks/update", "taskId"),
    ("tasks/cancel", "taskId"),
];

// === impl Annotations ===

impl Annotations {
    /// Learns from a result that lists tools.
    pub fn learn(&mut self, message: &Message) {
        const KEY: &[u8] = b"x-mcp-header";
        let Some(tools) = message.outcome(&["tools"]) else { return };
        if memchr::memmem::find(tools, KEY).is_none() {
            return;
        }
        let Ok(tools) = serde_json::from_slice::<Vec<Value>>(tools) else { return };
        for tool in tools {
            let mut found = Vec::new();
            collect(&tool["inputSchema"], &mut Vec::new(), &mut found);
            if let (Some(name), false) = (tool["name"].as_str(), found.is_empty()) {
                self.tools.insert(name.to_owned(), found);
            }
        }
    }

    /// What the headers of a request have to say.
    pub fn headers(&self, message: &Message) -> Vec<Mirrored> {
        let Kind::Request { method, .. } = message.kind() else { return Vec::new() };
        let text = |token: Option<&[u8]>| json::unescape(token?).map(|text| text.into_owned());
        let version = text(message.param(&["_meta", meta::PROTOCOL_VERSION]));
        let key = NAMED.iter().find(|(named, _)| *named == &**method).map(|(_, key)| *key);
        let name = key.and_then(|key| text(message.param(&[key])));
        let mut headers = vec![
            ("mcp-protocol-version".to_owned(), version),
            ("mcp-method".to_owned(), Some(method.to_string())),
            ("mcp-name".to_owned(), name.as_deref().map(encode)),
        ];
        let annotated = name.filter(|_| &**method == "tools/call").and_then(|name| self.tools.get(&name));
        for (header, path) in annotated.into_iter().flatten() {
            let path: Vec<&str> = ["arguments"].into_iter().chain(path.iter().map(String::as_str)).collect();
            let value = message.param(&path).filter(|token| *token != b"null");
            let value = value.map(|token| match json::unescape(token) {
                Some(text) => encode(&text),
                None => String::from_utf8_lossy(token).into_owned(),
            });
            headers.push((format!("mcp-param-{}", header.to_ascii_lowercase()), value));
        }
        headers
    }
}

/// Finds annotated properties, down chains of `properties` only.
fn collect(schema: &Value, path: &mut Vec<String>, found: &mut Vec<(String, Vec<String>)>) {
    /// Deeper than any schema that people write.
    const DEEPEST: usize = 32;
    let Some(properties) = schema["properties"].as_object().filter(|_| path.len() < DEEPEST) else { return };
    for (name, property) in properties {
        path.push(name.clone());
        if let Some(header) = property["x-mcp-header"].as_str() {
            found.push((header.to_owned(), path.clone()));
        }
        collect(property, path, found);
        path.pop();
    }
}

/// A value as a header can carry it: printable ASCII as it is, anything else as Base64.
pub fn encode(value: &str) -> String {
    let plain = value.bytes().all(|byte| matches!(byte, b' '..=b'~'))
        && value.trim() == value
        && !value.starts_with("=?base64?");
    match plain {
        true => value.to_owned(),
        false => format!("=?base64?{}?=", BASE64_STANDARD.encode(value)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(text: &str) -> Message {
        Message::parse(text.to_owned().into())
    }

    #[test]
    fn headers_say_what_the_body_says() {
        let mut annotations = Annotations::default();
        annotations.learn(&message(
            r#"{"jsonrpc":"2.0","id":1,"result":{"tools":[{"name":"query","inputSchema":{"type":"object","properties":
            {"region":{"type":"string","x-mcp-header":"Region"},"deep":{"type":"object","properties":{"n":{"type":"integer","x-mcp-header":"N"}}},
             "gone":{"type":"string","x-mcp-header":"Gone"}}}}]}}"#,
        ));
        let headers = annotations.headers(&message(
            r#"{"jsonrpc":"2.0","id":2,"method":"tools/call","params":{"name":"query","arguments":{"region":"köln","deep":{"n":7},"gone":null},"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28"}}}"#,
        ));
        let expected = [
            ("mcp-protocol-version", Some("2026-07-28")),
            ("mcp-method", Some("tools/call")),
            ("mcp-name", Some("query")),
            ("mcp-param-region", Some("=?base64?a8O2bG4=?=")),
            ("mcp-param-n", Some("7")),
            ("mcp-param-gone", None),
        ];
        let found: Vec<(&str, Option<&str>)> =
            headers.iter().map(|(name, value)| (name.as_str(), value.as_deref())).collect();
        assert_eq!(found.len(), expected.len());
        assert!(expected.iter().all(|each| found.contains(each)), "{found:?}");
    }

    #[test]
    fn values_that_a_header_cannot_carry_are_encoded() {
        assert_eq!(encode("plain value"), "plain value");
        for odd in [" edge", "line\nbreak", "=?base64?x", "ü"] {
            assert!(encode(odd).starts_with("=?base64?"), "{odd:?}");
        }
    }
}
