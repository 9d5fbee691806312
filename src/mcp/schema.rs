//! JSON Schema validators for schemas that peers send (JSON Schema 2020-12).

use jsonschema::{PatternOptions, Validator};
use serde_json::Value;

/// Maximum size of a compiled `pattern` in bytes.
const MAX_PATTERN_BYTES: usize = 1 << 20;

/// Maximum number of levels of a schema: its validator is built by recursion.
const MAX_DEPTH: usize = 128;

/// A schema that cannot be compiled.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{why} (at {at:?} in the schema)")]
pub struct SchemaError {
    /// The reason.
    pub why: String,
    /// The place in the schema, as a JSON Pointer (RFC 6901); empty for the whole schema.
    pub at: String,
}

/// Compiles a schema. Patterns run on an engine without backtracking, so that no pattern of a peer can
/// stall us; a pattern with look-around or back-references is an error. References to other documents
/// are not fetched.
///
/// # Errors
/// [`SchemaError`] if `schema` is not a valid schema.
pub fn validator(schema: &Value) -> Result<Validator, SchemaError> {
    if depth(schema) > MAX_DEPTH {
        let why = format!("the schema nests more than {MAX_DEPTH} levels, and could not be judged");
        return Err(SchemaError { why, at: String::new() });
    }
    jsonschema::options()
        .with_pattern_options(PatternOptions::regex().size_limit(MAX_PATTERN_BYTES))
        .build(schema)
        .map_err(|error| SchemaError { why: error.to_string(), at: error.instance_path().to_string() })
}

fn depth(value: &Value) -> usize {
    let mut deepest = 0;
    let mut open = vec![(value, 1)];
    while let Some((value, depth)) = open.pop() {
        deepest = deepest.max(depth);
        match value {
            Value::Array(elements) => open.extend(elements.iter().map(|value| (value, depth + 1))),
            Value::Object(members) => open.extend(members.values().map(|value| (value, depth + 1))),
            _ => {}
        }
    }
    deepest
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_pattern_that_would_backtrack_for_ever_is_checked_in_linear_time() {
        let validator = validator(&json!({ "type": "string", "pattern": "^(a+)+$" })).unwrap();
        assert!(!validator.is_valid(&Value::from("a".repeat(50_000) + "!")));
        assert!(validator.is_valid(&Value::from("aaa")));
    }

    #[test]
    fn a_huge_pattern_is_an_error() {
        assert!(super::validator(&json!({ "pattern": "((a{1000}){1000}){1000}" })).is_err());
    }
}
