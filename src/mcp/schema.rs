//! JSON Schema validators for schemas that peers send (JSON Schema 2020-12).

use jsonschema::error::ValidationErrorKind;
use jsonschema::{PatternOptions, ValidationError, Validator};
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
    /// `true` if the schema may be valid, and is only more than we can judge: it nests too deeply, has a pattern of
    /// ECMA-262 that our engine does not take, or refers to a document that is not fetched.
    pub is_unsupported: bool,
}

/// Compiles a schema. Patterns run on an engine without backtracking, so that no pattern of a peer can
/// stall us; a pattern with look-around or back-references is an error. References to other documents
/// are not fetched.
///
/// # Errors
/// [`SchemaError`] if `schema` is not a valid schema.
pub fn validator(schema: &Value) -> Result<Validator, SchemaError> {
    within_depth(schema)?;
    jsonschema::options()
        .with_pattern_options(PatternOptions::regex().size_limit(MAX_PATTERN_BYTES))
        .build(schema)
        .map_err(|error| SchemaError::of(&error))
}

/// Checks that a schema is valid, without compiling a validator for use. Patterns may have the look-around and
/// back-references of ECMA-262, since no text is matched.
///
/// # Errors
/// [`SchemaError`] if `schema` is not a valid schema.
pub fn check(schema: &Value) -> Result<(), SchemaError> {
    within_depth(schema)?;
    let patterns = PatternOptions::fancy_regex().size_limit(MAX_PATTERN_BYTES);
    let built = jsonschema::options().with_pattern_options(patterns).build(schema);
    built.map(drop).map_err(|error| SchemaError::of(&error))
}

fn within_depth(schema: &Value) -> Result<(), SchemaError> {
    if depth(schema) > MAX_DEPTH {
        let why = format!("the schema nests more than {MAX_DEPTH} levels, and could not be judged");
        return Err(SchemaError { why, at: String::new(), is_unsupported: true });
    }
    Ok(())
}

impl SchemaError {
    fn of(error: &ValidationError<'_>) -> Self {
        let is_unsupported = match error.kind() {
            ValidationErrorKind::Format { format } => format == "regex",
            ValidationErrorKind::Referencing(_) => true,
            _ => false,
        };
        Self { why: error.to_string(), at: error.instance_path().to_string(), is_unsupported }
    }
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
    fn patterns_of_ecma_262_are_valid_and_are_not_matched() {
        let schema = json!({ "type": "string", "pattern": "^(?!\\.)(?!.*\\.\\.)[a-z]+$" });
        assert_eq!(check(&schema), Ok(()));
        assert!(validator(&schema).unwrap_err().is_unsupported);
        assert!(!check(&json!({ "type": "nonsense" })).unwrap_err().is_unsupported);
    }

    #[test]
    fn a_huge_pattern_is_an_error() {
        assert!(super::validator(&json!({ "pattern": "((a{1000}){1000}){1000}" })).is_err());
    }
}
