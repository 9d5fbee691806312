//! JSON-RPC ids: kept as spelled, compared as JSON means them.

use std::fmt;
use std::hash::{Hash, Hasher};

use super::json;

/// A request id as its exact JSON token.
///
/// Two ids are equal when they have the same JSON type and exactly the same value: `1`, `1.0`
/// and `1e0` are one id, `"1"` is another. Peers exist that answer `1` with `1.0`; the link must
/// hold, and [`Id::same_spelling`] tells that it was spelled differently.
#[derive(Clone)]
pub struct Id {
    token: Box<str>,
}

/// The value of an id, normalised for comparison.
#[derive(PartialEq, Eq, Hash)]
enum Value {
    Null,
    Text(String),
    /// Sign, digits without zeros at either end, and the power of ten of the last digit.
    Number(bool, String, i64),
    /// Not an id that JSON-RPC allows (an object, a boolean): only its spelling counts.
    Other(String),
}

impl Id {
    /// An id from its JSON token, e.g. `7` or `"a"`.
    pub fn new(token: &str) -> Self {
        Self { token: token.into() }
    }

    /// A string id; `text` is quoted.
    pub fn text(text: &str) -> Self {
        Self { token: json::quote(text).into() }
    }

    /// The token as it stands on the wire.
    pub fn token(&self) -> &str {
        &self.token
    }

    /// Whether both were written with the same bytes.
    pub fn same_spelling(&self, other: &Self) -> bool {
        self.token == other.token
    }

    /// Whether JSON-RPC and MCP allow this as a request id: a string or an integer, never null.
    pub fn is_legal(&self) -> bool {
        match self.value() {
            Value::Text(_) => true,
            Value::Number(_, _, exponent) => exponent >= 0,
            Value::Null | Value::Other(_) => false,
        }
    }

    fn value(&self) -> Value {
        match self.token.as_bytes().first() {
            Some(b'"') => match json::unescape(self.token.as_bytes()) {
                // Lone surrogates all become U+FFFD; their spelling keeps such ids apart.
                Some(text) if !text.contains('\u{fffd}') => Value::Text(text.into_owned()),
                _ => Value::Other(self.token.to_string()),
            },
            Some(b'n') => Value::Null,
            Some(b'-' | b'0'..=b'9') => {
                decimal(&self.token).unwrap_or_else(|| Value::Other(self.token.to_string()))
            }
            _ => Value::Other(self.token.to_string()),
        }
    }
}

/// The exact decimal value of a JSON number token.
fn decimal(token: &str) -> Option<Value> {
    let (negative, token) = match token.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, token),
    };
    let (mantissa, exponent) = match token.find(['e', 'E']) {
        Some(at) => (&token[..at], token[at + 1..].parse::<i64>().ok()?),
        None => (token, 0),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = format!("{whole}{fraction}");
    let significant = digits.trim_start_matches('0');
    let trimmed = significant.trim_end_matches('0');
    if trimmed.is_empty() {
        return Some(Value::Number(false, String::new(), 0));
    }
    let exponent = exponent
        .checked_sub(i64::try_from(fraction.len()).ok()?)?
        .checked_add(i64::try_from(significant.len() - trimmed.len()).ok()?)?;
    Some(Value::Number(negative, trimmed.to_owned(), exponent))
}

impl PartialEq for Id {
    fn eq(&self, other: &Self) -> bool {
        self.token == other.token || self.value() == other.value()
    }
}

impl Eq for Id {}

impl Hash for Id {
    fn hash<H: Hasher>(&self, state: &mut H) {
        // Small integers, which nearly every peer uses, are normal already.
        self.value().hash(state);
    }
}

impl fmt::Debug for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.token)
    }
}

impl fmt::Display for Id {
    /// The id for people: strings without quotes.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match json::unescape(self.token.as_bytes()) {
            Some(text) => f.write_str(&text),
            None => f.write_str(&self.token),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn same(a: &str, b: &str) -> bool {
        Id::new(a) == Id::new(b)
    }

    #[test]
    fn numbers_compare_by_value_and_never_with_strings() {
        for spelling in ["1.0", "1e0", "10e-1", "0.1E1", "100e-2"] {
            assert!(same("1", spelling), "{spelling}");
        }
        assert!(!same("1", "\"1\""));
        assert!(!same("1", "-1"));
        assert!(!same("10", "1"));
        assert!(same("0", "-0.0"));
    }

    #[test]
    fn numbers_beyond_every_machine_type_stay_exact() {
        assert!(!same("12345678901234567890123", "12345678901234567890124"));
        assert!(same("12345678901234567890123", "12345678901234567890123.0"));
        assert!(same("1e400", "10e399"));
    }

    #[test]
    fn strings_compare_unescaped() {
        assert!(same(r#""a""#, r#""\u0061""#));
        assert!(!same(r#""\ud800""#, r#""\ud801""#));
        assert!(!Id::new("1").same_spelling(&Id::new("1.0")));
    }

    #[test]
    fn only_strings_and_integers_are_legal() {
        assert!(Id::new("1.0").is_legal() && Id::new("\"x\"").is_legal());
        assert!(!Id::new("null").is_legal() && !Id::new("1.5").is_legal());
    }
}
