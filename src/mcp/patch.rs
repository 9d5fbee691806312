//! JSON Patch (RFC 6902) on the text of a message. Values that a patch does not touch keep their
//! spelling: numbers that no double can represent, escapes and ids stay as the sender wrote them.

use std::collections::HashMap;

use serde_json::Value;
use serde_json::value::RawValue;

/// The reason why a text cannot be patched.
#[derive(Debug, thiserror::Error)]
pub enum PatchError {
    /// The patch is not a JSON Patch.
    #[error("not a valid JSON Patch: {0}")]
    Patch(serde_json::Error),
    /// The text is not JSON.
    #[error("the text to be patched is not JSON: {0}")]
    Text(serde_json::Error),
    /// An operation of the patch does not fit the text.
    #[error(transparent)]
    Failed(#[from] json_patch::PatchError),
}

/// Applies the operations of `patch` to the JSON in `text`, and returns the result.
///
/// # Errors
/// [`PatchError`], for a patch or a text that is not valid, and for a patch that does not fit.
pub fn apply(text: &str, patch: &Value) -> Result<String, PatchError> {
    let patch: json_patch::Patch = serde_json::from_value(patch.clone()).map_err(PatchError::Patch)?;
    let raw: &RawValue = serde_json::from_str(text.trim()).map_err(PatchError::Text)?;
    let old: Value = serde_json::from_str(raw.get()).map_err(PatchError::Text)?;
    let mut new = old.clone();
    json_patch::patch(&mut new, &patch)?;
    Ok(spelled(raw, &old, &new))
}

/// Writes `new` with the spelling of `raw`, which is parsed as `old`, wherever both are equal.
fn spelled(raw: &RawValue, old: &Value, new: &Value) -> String {
    match (old, new) {
        _ if old == new => raw.get().to_owned(),
        (Value::Object(old), Value::Object(new)) => {
            let known: HashMap<String, &RawValue> = serde_json::from_str(raw.get()).unwrap_or_default();
            let member = |(name, value): (&String, &Value)| {
                let value = match (known.get(name), old.get(name)) {
                    (Some(raw), Some(old)) => spelled(raw, old, value),
                    _ => value.to_string(),
                };
                format!("{}:{value}", Value::from(name.as_str()))
            };
            format!("{{{}}}", new.iter().map(member).collect::<Vec<_>>().join(","))
        }
        (Value::Array(old), Value::Array(new)) => {
            let known: Vec<&RawValue> = serde_json::from_str(raw.get()).unwrap_or_default();
            let element = |(at, value): (usize, &Value)| {
                // Elements after one that was inserted or removed have moved: look for an equal one first.
                let moved = old.iter().position(|old| old == value);
                let at = moved.unwrap_or(at);
                match (known.get(at), old.get(at)) {
                    (Some(raw), Some(old)) => spelled(raw, old, value),
                    _ => value.to_string(),
                }
            };
            format!("[{}]", new.iter().enumerate().map(element).collect::<Vec<_>>().join(","))
        }
        _ => new.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mcp::tree::tests::values;
    use proptest::prelude::*;
    use serde_json::json;

    #[test]
    fn what_is_not_touched_stays_as_it_was_spelled() {
        let text =
            r#"{"id":12345678901234567890123,"a":{"x":1.0e2,"y":"\u00e9"},"list":[1E0, 2,{"z":0.10}]}"#;
        let patch = json!([
            { "op": "replace", "path": "/a/y", "value": "é!" },
            { "op": "remove", "path": "/list/1" },
            { "op": "add", "path": "/new", "value": true },
        ]);
        assert_eq!(
            apply(text, &patch).unwrap(),
            r#"{"id":12345678901234567890123,"a":{"x":1.0e2,"y":"é!"},"list":[1E0,{"z":0.10}],"new":true}"#
        );
    }

    #[test]
    fn what_cannot_be_done_is_said() {
        assert!(matches!(apply("{}", &json!({ "op": "add" })), Err(PatchError::Patch(_))));
        assert!(matches!(apply("{", &json!([])), Err(PatchError::Text(_))));
        let missing = json!([{ "op": "remove", "path": "/a" }]);
        assert!(matches!(apply("{}", &missing), Err(PatchError::Failed(_))));
    }

    proptest! {
        #[test]
        fn it_says_what_was_wanted(old in values("[a-d]{1,2}"), new in values("[a-d]{1,2}")) {
            let text = old.to_string();
            let patch = json!([{ "op": "replace", "path": "", "value": new }]);
            let made: Value = serde_json::from_str(&apply(&text, &patch).unwrap()).unwrap();
            prop_assert_eq!(made, new);
        }
    }
}
