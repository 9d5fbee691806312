//! JSON Patch (RFC 6902) on the text of a message. Each operation replaces spans of the text, so that
//! every byte that it does not touch stays as the sender wrote it: white space, duplicate keys, escapes, and
//! numbers that no double can represent.

use std::borrow::Cow;
use std::collections::HashMap;

use serde_json::Value;
use serde_json::value::RawValue;

use super::json::{self, Span, SyntaxError};
use super::tree::Node;

/// The reason why a text cannot be patched.
#[derive(Debug, thiserror::Error)]
pub enum PatchError {
    /// The patch is not a JSON Patch.
    #[error("not a valid JSON Patch: {0}")]
    Patch(String),
    /// The text is not JSON.
    #[error("the text to be patched is not JSON: {0}")]
    Text(#[from] SyntaxError),
    /// A path leads nowhere in the text. Operations are counted from 1.
    #[error("operation {operation}: {path:?} leads nowhere in the message")]
    NotFound {
        /// The number of the operation.
        operation: usize,
        /// The JSON Pointer (RFC 6901).
        path: String,
    },
    /// The value at a path is not the one that a `test` operation expects.
    #[error("operation {operation}: {path:?} has another value")]
    Differs {
        /// The number of the operation.
        operation: usize,
        /// The JSON Pointer (RFC 6901).
        path: String,
    },
}

/// An operation, with the paths as lists of unescaped keys.
enum Operation<'a> {
    Add(Path, &'a str),
    Remove(Path),
    Replace(Path, &'a str),
    Move(Path, Path),
    Copy(Path, Path),
    Test(Path, &'a str),
}

/// A JSON Pointer: as it was written, and its keys.
#[derive(Clone)]
struct Path {
    pointer: String,
    keys: Vec<String>,
}

/// The reason why an operation cannot be carried out, and the path that it is about.
enum Failed {
    NotFound(String),
    Differs(String),
}

/// Applies the operations of the JSON Patch in `patch` to the JSON in `text`, and returns the result.
///
/// # Errors
/// [`PatchError`], for a patch or a text that is not valid, and for a patch that does not fit.
pub fn apply(text: &str, patch: &str) -> Result<String, PatchError> {
    let members: Vec<HashMap<Cow<'_, str>, &RawValue>> =
        serde_json::from_str(patch).map_err(|error| PatchError::Patch(error.to_string()))?;
    let mut text = text.to_owned();
    json::document(text.as_bytes())?;
    for (at, members) in members.iter().enumerate() {
        let number = at + 1;
        let operation = Operation::parse(members)
            .map_err(|why| PatchError::Patch(format!("operation {number}: {why}")))?;
        text = operation.apply(&text).map_err(|failed| match failed {
            Failed::NotFound(path) => PatchError::NotFound { operation: number, path },
            Failed::Differs(path) => PatchError::Differs { operation: number, path },
        })?;
    }
    Ok(text)
}

impl<'a> Operation<'a> {
    fn parse(members: &HashMap<Cow<'a, str>, &'a RawValue>) -> Result<Self, String> {
        let raw = |name: &str| {
            members.get(name).map(|raw| raw.get()).ok_or_else(|| format!("the member {name:?} is missing"))
        };
        let string = |name: &str| {
            let text = raw(name)?;
            serde_json::from_str::<String>(text).map_err(|_| format!("{name:?} is {text} and no string"))
        };
        let path = |name: &str| Path::parse(string(name)?);
        Ok(match string("op")?.as_str() {
            "add" => Self::Add(path("path")?, raw("value")?),
            "remove" => Self::Remove(path("path")?),
            "replace" => Self::Replace(path("path")?, raw("value")?),
            "move" => Self::Move(path("from")?, path("path")?),
            "copy" => Self::Copy(path("from")?, path("path")?),
            "test" => Self::Test(path("path")?, raw("value")?),
            other => return Err(format!("{other:?} is none of add, remove, replace, move, copy and test")),
        })
    }

    fn apply(&self, text: &str) -> Result<String, Failed> {
        match self {
            Self::Add(path, value) => add(text, path, value),
            Self::Remove(path) => remove(text, path),
            Self::Replace(path, value) => Ok(splice(text, path.find(text)?, value)),
            Self::Move(from, path) => {
                let value = text[from.find(text)?].to_owned();
                // A value cannot be moved into itself (RFC 6902, section 4.4).
                if path.keys.len() > from.keys.len() && path.keys.starts_with(&from.keys) {
                    return Err(Failed::NotFound(path.pointer.clone()));
                }
                add(&remove(text, from)?, path, &value)
            }
            Self::Copy(from, path) => add(text, path, &text[from.find(text)?]),
            Self::Test(path, wanted) => {
                let found = Node::parse(text[path.find(text)?].as_bytes());
                match found.is_ok() && found == Node::parse(wanted.as_bytes()) {
                    true => Ok(text.to_owned()),
                    false => Err(Failed::Differs(path.pointer.clone())),
                }
            }
        }
    }
}

impl Path {
    fn parse(pointer: String) -> Result<Self, String> {
        let keys = match pointer.strip_prefix('/') {
            None if pointer.is_empty() => Vec::new(),
            None => return Err(format!("the path {pointer:?} does not begin with a slash")),
            Some(rest) => rest.split('/').map(|key| key.replace("~1", "/").replace("~0", "~")).collect(),
        };
        Ok(Self { pointer, keys })
    }

    /// Returns the span of the value that the path leads to; of duplicate keys the last counts.
    fn find(&self, text: &str) -> Result<Span, Failed> {
        self.follow(text, &self.keys)
    }

    fn follow(&self, text: &str, keys: &[String]) -> Result<Span, Failed> {
        let bytes = text.as_bytes();
        let root = json::document(bytes).map_err(|_| self.not_found())?;
        keys.iter()
            .try_fold(root, |span, key| match bytes.get(span.start) {
                Some(b'{') => json::member(bytes, span, key),
                Some(b'[') => json::elements(bytes, span).nth(index(key)?),
                _ => None,
            })
            .ok_or_else(|| self.not_found())
    }

    fn not_found(&self) -> Failed {
        Failed::NotFound(self.pointer.clone())
    }
}

/// Returns the array index that a key spells: without leading zeros (RFC 6901, section 4).
fn index(key: &str) -> Option<usize> {
    let is_canonical = key == "0" || !key.starts_with(['0', '+']);
    is_canonical.then(|| key.parse().ok()).flatten()
}

fn splice(text: &str, span: Span, value: &str) -> String {
    [&text[..span.start], value, &text[span.end..]].concat()
}

fn add(text: &str, path: &Path, value: &str) -> Result<String, Failed> {
    let Some((last, parent)) = path.keys.split_last() else {
        return Ok(splice(text, path.find(text)?, value));
    };
    let bytes = text.as_bytes();
    let parent = path.follow(text, parent)?;
    let insert = |at: usize, new: &str| splice(text, at..at, new);
    match bytes.get(parent.start) {
        Some(b'{') => {
            if let Some(old) = json::member(bytes, parent.clone(), last) {
                return Ok(splice(text, old, value));
            }
            let member = format!("{}:{value}", Value::from(last.as_str()));
            Ok(match json::members(bytes, parent.clone()).last() {
                Some(before) => insert(before.value.end, &format!(",{member}")),
                None => insert(parent.start + 1, &member),
            })
        }
        Some(b'[') => {
            let elements: Vec<Span> = json::elements(bytes, parent.clone()).collect();
            let at = if last == "-" { Some(elements.len()) } else { index(last) };
            let at = at.filter(|at| *at <= elements.len()).ok_or_else(|| path.not_found())?;
            Ok(match (elements.get(at), elements.last()) {
                (Some(next), _) => insert(next.start, &format!("{value},")),
                (None, Some(before)) => insert(before.end, &format!(",{value}")),
                (None, None) => insert(parent.start + 1, value),
            })
        }
        _ => Err(path.not_found()),
    }
}

/// Removes the value at a path; of an object, every member of that name.
fn remove(text: &str, path: &Path) -> Result<String, Failed> {
    let (last, parent) = path.keys.split_last().ok_or_else(|| path.not_found())?;
    path.find(text)?;
    let mut text = text.to_owned();
    loop {
        let bytes = text.as_bytes();
        let span = path.follow(&text, parent)?;
        let (items, at): (Vec<Span>, _) = match bytes.get(span.start) {
            Some(b'[') => (json::elements(bytes, span).collect(), index(last)),
            _ => {
                let members: Vec<json::Member> = json::members(bytes, span).collect();
                let at = members.iter().position(|member| json::key_is(&bytes[member.key.clone()], last));
                (members.into_iter().map(|member| member.key.start..member.value.end).collect(), at)
            }
        };
        let Some((at, item)) = at.and_then(|at| Some((at, items.get(at)?))) else { return Ok(text) };
        let removed = match (items.get(at + 1), at.checked_sub(1).and_then(|before| items.get(before))) {
            (Some(next), _) => item.start..next.start,
            (None, Some(before)) => before.end..item.end,
            (None, None) => item.clone(),
        };
        let is_array = bytes.get(path.follow(&text, parent)?.start) == Some(&b'[');
        text = splice(&text, removed, "");
        if is_array {
            return Ok(text);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mcp::tree::tests::values;
    use proptest::prelude::*;
    use serde_json::json;

    #[test]
    fn what_is_not_touched_keeps_every_byte() {
        let text = r#" {"id" : 12345678901234567890123,"a":{"x":1.0e2,"y":"\u00e9", "half":"\ud83d"},
 "list":[1E400, 2,{"z":0.10}],"dup":1,"dup":2} "#;
        let patch = r#"[
            { "op": "replace", "path": "/a/y", "value": "é!" },
            { "op": "remove", "path": "/list/1" },
            { "op": "test", "path": "/list/0", "value": 10e399 },
            { "op": "add", "path": "/new", "value": 9007199254740993 },
            { "op": "remove", "path": "/dup" },
            { "op": "copy", "from": "/list/1/z", "path": "/list/-" },
            { "op": "move", "from": "/a/x", "path": "/list/0" }
        ]"#;
        assert_eq!(
            apply(text, patch).unwrap(),
            " {\"id\" : 12345678901234567890123,\"a\":{\"y\":\"é!\", \"half\":\"\\ud83d\"},\n \
             \"list\":[1.0e2,1E400, {\"z\":0.10},0.10],\"new\":9007199254740993} "
        );
    }

    #[test]
    fn what_cannot_be_done_is_named_with_its_place() {
        let error = |text: &str, patch: &str| apply(text, patch).unwrap_err().to_string();
        assert_eq!(
            error("{}", r#"[{"op":"add","path":"/a"}]"#),
            r#"not a valid JSON Patch: operation 1: the member "value" is missing"#
        );
        assert!(error("{}", r#"[{"op":"put","path":""}]"#).contains("\"put\" is none of add"));
        assert!(error("{}", r#"{"op":"add"}"#).starts_with("not a valid JSON Patch"));
        assert!(error("{", "[]").starts_with("the text to be patched is not JSON"));
        let missing = r#"[{"op":"test","path":"","value":{}},{"op":"remove","path":"/a/0"}]"#;
        assert_eq!(error("{}", missing), r#"operation 2: "/a/0" leads nowhere in the message"#);
        assert_eq!(
            error(r#"{"a":1}"#, r#"[{"op":"test","path":"/a","value":2}]"#),
            r#"operation 1: "/a" has another value"#
        );
        assert!(error("[1]", r#"[{"op":"replace","path":"/00","value":2}]"#).contains("leads nowhere"));
        assert!(error("[1]", r#"[{"op":"add","path":"/2","value":2}]"#).contains("leads nowhere"));
    }

    /// One operation on keys and indices that the values often have.
    fn operations() -> impl Strategy<Value = Value> {
        let path = || {
            proptest::collection::vec("[a-c]|0|1|-", 0..3)
                .prop_map(|keys| keys.into_iter().fold(String::new(), |path, key| path + "/" + &key))
        };
        let op = proptest::sample::select(vec!["add", "remove", "replace", "move", "copy", "test"]);
        (op, path(), path(), values("[a-c]")).prop_map(
            |(op, path, from, value)| json!({ "op": op, "path": path, "from": from, "value": value }),
        )
    }

    proptest! {
        #[test]
        fn it_does_what_the_json_patch_crate_does(
            old in values("[a-c]"), patch in proptest::collection::vec(operations(), 1..4)
        ) {
            let patch = Value::from(patch);
            let mut wanted = old.clone();
            let expected = json_patch::patch_unsafe(&mut wanted, &serde_json::from_value::<json_patch::Patch>(patch.clone()).unwrap());
            match (apply(&old.to_string(), &patch.to_string()), expected) {
                (Ok(made), Ok(())) => prop_assert_eq!(serde_json::from_str::<Value>(&made).unwrap(), wanted),
                (Err(_), Err(_)) => {}
                (made, expected) => prop_assert!(false, "{made:?} instead of {expected:?}"),
            }
        }
    }
}
