//! Numbers and strings of a JSON tree that no type of Rust holds.

use std::fmt;

use serde_json::Value;

use super::decimal::Decimal;
use super::json::unescape;

/// A JSON number, kept as its token and compared by its exact value.
#[derive(Clone)]
pub struct Number(Box<str>);

/// A string with half a surrogate pair, compared by its UTF-16 units.
#[derive(Clone)]
pub struct HalfString {
    token: Box<str>,
    /// The text with U+FFFD in the place of each half.
    text: String,
}

impl Number {
    /// Returns the token, as it is spelled in the text.
    pub fn token(&self) -> &str {
        &self.0
    }

    /// Returns the exact value; `None` if its exponent does not fit 64 bits.
    pub fn value(&self) -> Option<Decimal> {
        Decimal::parse(&self.0)
    }

    pub(super) fn to_value(&self) -> Value {
        let integer = || -> Option<Value> {
            let signed = self.0.parse::<i64>().map(Value::from);
            signed.or_else(|_| self.0.parse::<u64>().map(Value::from)).ok()
        };
        let double = || {
            let double = self.0.parse::<f64>().unwrap_or_default();
            Value::from(double.clamp(f64::MIN, f64::MAX))
        };
        integer().unwrap_or_else(double)
    }
}

impl Number {
    /// Returns `true` if a double has exactly this value, as far as its shortest spelling tells.
    pub(super) fn is_double(&self) -> bool {
        let double = self.0.parse::<f64>().ok().filter(|double| double.is_finite());
        let spelled = double.map(|double| Value::from(double).to_string());
        spelled.is_some_and(|spelled| Decimal::parse(&spelled) == self.value())
    }

    pub(super) fn to_exact_value(&self) -> Value {
        match self.to_value() {
            Value::Number(number) if number.is_f64() && !self.is_double() => {
                // Equal values of other spellings become equal strings.
                let is_plain = self.0.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-');
                let value = self.value().filter(|_| !is_plain);
                value.map_or_else(|| self.token().into(), |value| value.to_string().into())
            }
            value => value,
        }
    }
}

impl HalfString {
    /// Returns the text with an escape for each half of a pair.
    pub(super) fn spelled(&self) -> String {
        let units = utf16(&self.token);
        let part = |part: Result<char, std::char::DecodeUtf16Error>| match part {
            Ok(character) => character.to_string(),
            Err(half) => format!("\\u{:04x}", half.unpaired_surrogate()),
        };
        char::decode_utf16(units).map(part).collect()
    }
}

impl PartialEq for HalfString {
    fn eq(&self, other: &Self) -> bool {
        self.token == other.token || utf16(&self.token) == utf16(&other.token)
    }
}

impl fmt::Debug for HalfString {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.token)
    }
}

/// Returns the UTF-16 units of a string token.
fn utf16(token: &str) -> Vec<u16> {
    let mut units = Vec::new();
    let mut rest = token.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(token);
    while let Some(at) = rest.find("\\u") {
        // An escaped backslash before it is none of its business: read both escapes here.
        let slashes = rest[..at].bytes().rev().take_while(|byte| *byte == b'\\').count();
        let (before, unit) = (&rest[..at], rest.get(at + 2..at + 6));
        match unit.and_then(|unit| u16::from_str_radix(unit, 16).ok()).filter(|_| slashes % 2 == 0) {
            Some(unit) => {
                units.extend(plain(before).encode_utf16());
                units.push(unit);
                rest = &rest[at + 6..];
            }
            None => {
                units.extend(plain(&rest[..at + 2]).encode_utf16());
                rest = &rest[at + 2..];
            }
        }
    }
    units.extend(plain(rest).encode_utf16());
    units
}

/// Returns a part of a string token without its escapes.
fn plain(part: &str) -> String {
    let token = format!("\"{part}\"");
    unescape(token.as_bytes()).map_or_else(|| part.to_owned(), std::borrow::Cow::into_owned)
}

impl PartialEq for Number {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0 || self.value().is_some_and(|value| Some(value) == other.value())
    }
}

impl fmt::Debug for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Number {
    /// Takes a token that was scanned as a number.
    pub(super) fn of(token: &[u8]) -> Self {
        Self(String::from_utf8_lossy(token).into())
    }
}

impl HalfString {
    /// Takes a token that was scanned as a string, if it has half a pair. `text` is the text with U+FFFD in
    /// the place of each half.
    pub(super) fn of(token: &[u8], text: &str) -> Option<Self> {
        // Only a half of a pair, or a U+FFFD that was meant, is read as U+FFFD.
        let may = text.contains(char::REPLACEMENT_CHARACTER) && has_half(token);
        may.then(|| Self { token: String::from_utf8_lossy(token).into(), text: text.to_owned() })
    }

    /// Returns the token, as it is spelled in the text.
    pub fn token(&self) -> &str {
        &self.token
    }

    /// Returns the text with U+FFFD in the place of each half.
    pub fn text(&self) -> &str {
        &self.text
    }
}

fn has_half(token: &[u8]) -> bool {
    let units = utf16(&String::from_utf8_lossy(token));
    char::decode_utf16(units).any(|part| part.is_err())
}
