//! JSON-RPC ids, kept as spelled and compared by their JSON values.

use std::fmt;
use std::hash::{Hash, Hasher};

use super::decimal::Decimal;
use super::json;

/// A request id, kept as its exact JSON token.
///
/// Two ids are equal if they have the same JSON type and exactly the same value: `1`, `1.0` and `1e0`
/// are one id, and `"1"` is another. Peers exist that answer `1` with `1.0`; such a response still
/// belongs to its request, and [`Id::same_spelling`] reveals the different spelling.
#[derive(Clone)]
pub struct Id {
    token: Box<str>,
}

/// The value of an id, normalized for comparison.
#[derive(PartialEq, Eq, Hash)]
enum Value {
    Null,
    Text(String),
    Number(Decimal),
    /// A token that JSON-RPC does not allow as an id (an object, a boolean), compared by its spelling.
    Other(String),
}

impl Id {
    /// Creates an id from its JSON token, e.g. `7` or `"a"`.
    pub fn new(token: &str) -> Self {
        Self { token: token.into() }
    }

    /// Creates a string id with the value `text`, which is quoted.
    pub fn text(text: &str) -> Self {
        Self { token: json::quote(text).into() }
    }

    /// Returns the JSON token, as spelled on the wire.
    pub fn token(&self) -> &str {
        &self.token
    }

    /// Returns `true` if both ids are spelled with the same bytes.
    pub fn same_spelling(&self, other: &Self) -> bool {
        self.token == other.token
    }

    /// Returns `true` if JSON-RPC and MCP allow the id for a request: a string or an integer.
    pub fn is_legal(&self) -> bool {
        match self.value() {
            Value::Text(_) => true,
            Value::Number(number) => number.is_integer(),
            Value::Null | Value::Other(_) => false,
        }
    }

    /// Returns how this id of an answer differs from the id of a request that it nearly is, such as `"1"` from
    /// `1`; `None` if they are equal or have nothing in common.
    pub fn resembles(&self, asked: &Self) -> Option<String> {
        let plain = |id: &Self| match id.value() {
            Value::Text(text) => Some(text),
            Value::Number(_) => Some(id.token.to_string()),
            Value::Null | Value::Other(_) => None,
        };
        let (own, theirs) = (plain(self)?, plain(asked)?);
        if self == asked {
            return None;
        }
        let kind = |id: &Self| if id.token.starts_with('"') { "the string" } else { "the number" };
        let rounded = |text: &str| text.parse::<f64>().ok();
        let is_near = own.eq_ignore_ascii_case(&theirs)
            || own.trim() == theirs.trim()
            || (rounded(&own).is_some() && rounded(&own) == rounded(&theirs));
        is_near.then(|| {
            format!("the id is {} {self}, and that of the request {} {asked}", kind(self), kind(asked))
        })
    }

    fn value(&self) -> Value {
        match self.token.as_bytes().first() {
            Some(b'"') => match json::unescape(self.token.as_bytes()) {
                // Lone surrogates become U+FFFD: compare ids that have one by their spelling.
                Some(text) if !text.contains('\u{fffd}') => Value::Text(text.into_owned()),
                _ => Value::Other(self.token.to_string()),
            },
            Some(b'n') => Value::Null,
            Some(b'-' | b'0'..=b'9') => Decimal::parse(&self.token)
                .map_or_else(|| Value::Other(self.token.to_string()), Value::Number),
            _ => Value::Other(self.token.to_string()),
        }
    }
}

impl PartialEq for Id {
    fn eq(&self, other: &Self) -> bool {
        self.token == other.token || self.value() == other.value()
    }
}

impl Eq for Id {}

impl Hash for Id {
    fn hash<H: Hasher>(&self, state: &mut H) {
        // Equal ids can be spelled differently: hash the normalized value.
        self.value().hash(state);
    }
}

impl fmt::Debug for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.token)
    }
}

impl fmt::Display for Id {
    /// Formats the id for people: strings without quotes.
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
