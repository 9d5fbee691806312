//! Headers that repeat parts of the body (2026-07-28, basic/transports/streamable-http, SEP-2243).
//!
//! A server refuses a request whose headers and body differ, so any change of a body requires a change
//! of the headers too.

use std::collections::HashMap;
use std::sync::Arc;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::Value;

use super::compose::meta;
use super::decimal::Decimal;
use super::listing::listed;
use super::message::Message;
use super::{Kind, json};

/// A header that repeats a part of the body, with the value that it must have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mirrored {
    /// The name of the header, in lower case.
    pub name: String,
    /// The value, or `None` if the body has none.
    pub value: Option<String>,
    /// Set if the body has a number, which headers may spell in other ways.
    is_number: bool,
}

/// Annotations of tools: the arguments that `Mcp-Param-…` headers repeat, as learnt from tool lists.
#[derive(Debug, Default, Clone)]
pub struct Annotations {
    tools: HashMap<String, Vec<(String, Vec<String>)>>,
}

/// Methods with an `Mcp-Name` header, and the parameter that the header repeats.
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
        if self.tools.is_empty() && memchr::memmem::find(tools, KEY).is_none() {
            return;
        }
        // A tool that cannot be read keeps what is known of it.
        for tool in listed(message, "tools").items {
            let mut found = Vec::new();
            collect(&tool["inputSchema"], &mut Vec::new(), &mut found);
            let Some(name) = tool["name"].as_str() else { continue };
            // A new list may have removed the annotations of a tool.
            match found.is_empty() {
                true => drop(self.tools.remove(name)),
                false => drop(self.tools.insert(name.to_owned(), found)),
            }
        }
    }

    /// Returns the headers that a request must have, with their values.
    pub fn headers(&self, message: &Message) -> Vec<Mirrored> {
        let Kind::Request { method, .. } = message.kind() else { return Vec::new() };
        let text = |token: Option<&[u8]>| json::unescape(token?).map(|text| text.into_owned());
        let version = text(message.param(&["_meta", meta::PROTOCOL_VERSION]));
        let key = NAMED.iter().find(|(named, _)| *named == &**method).map(|(_, key)| *key);
        let name = key.and_then(|key| text(message.param(&[key])));
        let plain = |name: &str, value| Mirrored { name: name.to_owned(), value, is_number: false };
        let mut headers = vec![
            plain("mcp-protocol-version", version),
            plain("mcp-method", Some(method.to_string())),
            plain("mcp-name", name.as_deref().map(encode)),
        ];
        let annotated = name.filter(|_| &**method == "tools/call").and_then(|name| self.tools.get(&name));
        for (header, path) in annotated.into_iter().flatten() {
            let path: Vec<&str> = ["arguments"].into_iter().chain(path.iter().map(String::as_str)).collect();
            let value = message.param(&path).filter(|token| *token != b"null");
            let is_number = value.is_some_and(|token| !token.starts_with(b"\""));
            let value = value.map(|token| match json::unescape(token) {
                Some(text) => encode(&text),
                None => String::from_utf8_lossy(token).into_owned(),
            });
            headers.push(Mirrored {
                name: format!("mcp-param-{}", header.to_ascii_lowercase()),
                value,
                is_number,
            });
        }
        headers
    }
}

/// A header that contradicts the body (2026-07-28, basic/transports).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MirrorError {
    /// The header is missing.
    #[error("the header {0} is missing")]
    Missing(Arc<str>),
    /// The header occurs more than once.
    #[error("the header {0} is repeated")]
    Repeated(Arc<str>),
    /// The value of the header is not text.
    #[error("the header {0} is not text")]
    NotText(Arc<str>),
    /// The body has no member that the header could repeat.
    #[error("the header {0} has no counterpart in the body")]
    Unfounded(Arc<str>),
    /// The header has another value than the body.
    #[error("the header {0} differs from the body")]
    Different(Arc<str>),
}

/// Compares headers with the body; `find` returns all values of a header, `None` for one that is not
/// text.
///
/// # Errors
/// [`MirrorError`] for the first header that contradicts the body.
pub fn compare(mirrored: &[Mirrored], find: impl Fn(&str) -> Vec<Option<String>>) -> Result<(), MirrorError> {
    for mirrored in mirrored {
        let Mirrored { name, value, .. } = mirrored;
        let header = || Arc::from(name.as_str());
        let found = find(name);
        let same = match (&found[..], value) {
            ([], None) => true,
            ([], Some(_)) => return Err(MirrorError::Missing(header())),
            // Extensions may define a name for other methods: accept it.
            ([_], None) if !name.starts_with("mcp-param-") => true,
            ([Some(found)], Some(value)) => mirrored.is_said(found, value),
            ([None], _) => return Err(MirrorError::NotText(header())),
            (_, None) => return Err(MirrorError::Unfounded(header())),
            _ => return Err(MirrorError::Repeated(header())),
        };
        if !same {
            return Err(MirrorError::Different(header()));
        }
    }
    Ok(())
}

impl Mirrored {
    /// Returns `true` if the header value `found` stands for `value`.
    fn is_said(&self, found: &str, value: &str) -> bool {
        match self.name.as_str() {
            "mcp-protocol-version" | "mcp-method" => found == value,
            _ if self.is_number => {
                found == value
                    || Decimal::parse(found.trim()).is_some_and(|found| Decimal::parse(value) == Some(found))
            }
            _ => decode(found).is_some_and(|found| Some(found) == decode(value)),
        }
    }
}

/// Decodes the value of a header; returns `None` if its Base64 is not valid.
fn decode(value: &str) -> Option<String> {
    match value.strip_prefix("=?base64?").and_then(|rest| rest.strip_suffix("?=")) {
        Some(encoded) => String::from_utf8(BASE64_STANDARD.decode(encoded).ok()?).ok(),
        None => Some(value.to_owned()),
    }
}

/// Finds annotated properties through chains of `properties` only.
fn collect(schema: &Value, path: &mut Vec<String>, found: &mut Vec<(String, Vec<String>)>) {
    /// Maximum depth of a schema, beyond that of any that people write.
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

/// Encodes a value for a header: printable ASCII as it is, any other text as Base64.
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
            headers.iter().map(|each| (each.name.as_str(), each.value.as_deref())).collect();
        assert_eq!(found.len(), expected.len());
        assert!(expected.iter().all(|each| found.contains(each)), "{found:?}");
    }

    #[test]
    fn headers_that_say_something_else_are_named() {
        let mirrored = [
            Mirrored { name: "mcp-name".into(), value: Some(encode("köln")), is_number: false },
            Mirrored { name: "mcp-param-n".into(), value: Some("7".into()), is_number: true },
        ];
        let check = |name: &str, n: &[&str]| {
            compare(&mirrored, |header| match header {
                "mcp-name" => vec![Some(name.to_owned())],
                _ => n.iter().map(|value| Some((*value).to_owned())).collect(),
            })
        };
        assert_eq!(check(&encode("köln"), &["7.0"]), Ok(()));
        assert!(check("bonn", &["7"]).unwrap_err() == MirrorError::Different("mcp-name".into()));
        assert!(check("=?base64?!?=", &["7"]).is_err());
        assert!(check(&encode("köln"), &[]).unwrap_err() == MirrorError::Missing("mcp-param-n".into()));
        assert!(
            check(&encode("köln"), &["7", "8"]).unwrap_err() == MirrorError::Repeated("mcp-param-n".into())
        );
        let named = [Mirrored { name: "mcp-name".into(), value: Some("1e1".into()), is_number: false }];
        assert!(compare(&named, |_| vec![Some("10".into())]).is_err(), "a name is no number");
    }

    #[test]
    fn values_that_a_header_cannot_carry_are_encoded() {
        assert_eq!(encode("plain value"), "plain value");
        for odd in [" edge", "line\nbreak", "=?base64?x", "ü"] {
            assert!(encode(odd).starts_with("=?base64?"), "{odd:?}");
        }
    }
}
