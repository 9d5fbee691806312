//! A JSON tree that holds whatever the grammar of JSON allows.
//!
//! `serde_json::Value` refuses valid JSON (`1e400`, an escaped lone surrogate, 128 levels) and rounds
//! numbers. A condition that fails to parse must not let a message slip by, so conditions are evaluated
//! on this tree: numbers keep their tokens and compare exactly, lone surrogates are read as U+FFFD, and
//! depth is bounded by [`MAX_DEPTH`] only.

use std::fmt;

use serde_json::Value;

use super::decimal::Decimal;
use super::json::{Scanner, SyntaxError, SyntaxErrorKind, quote, unescape, utf8};

/// Maximum number of nested arrays and objects.
pub const MAX_DEPTH: usize = 1024;

/// A JSON value.
#[derive(Debug, Clone, PartialEq)]
pub enum Node {
    /// `null`
    Null,
    /// `true` or `false`
    Bool(bool),
    /// A number.
    Number(Number),
    /// A string without its escapes; a lone surrogate is U+FFFD.
    String(String),
    /// An array.
    Array(Vec<Node>),
    /// The members of an object in their order, duplicates included.
    Object(Vec<(String, Node)>),
}

/// A JSON number, kept as its token and compared by its exact value.
#[derive(Clone)]
pub struct Number(Box<str>);

/// The reason why a text is no tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TreeError {
    /// The text is not JSON.
    #[error(transparent)]
    NotJson(#[from] SyntaxError),
    /// The text has more than [`MAX_DEPTH`] levels.
    #[error("more than {MAX_DEPTH} levels at byte {offset}")]
    TooDeep {
        /// Offset in bytes of the first bracket too many.
        offset: usize,
    },
}

/// An array or object that is being read.
enum Open {
    Array(Vec<Node>),
    Object(Vec<(String, Node)>, String),
}

impl Node {
    /// Parses a JSON text. Nesting costs heap and not stack.
    ///
    /// ```
    /// use shadowcat::mcp::tree::Node;
    ///
    /// // A number that no machine type holds, and half of a surrogate pair.
    /// let node = Node::parse(br#"{"big": 1E400, "half": "\ud83d", "id": 9007199254740993}"#).unwrap();
    /// assert_eq!(node.get("id"), Some(&Node::parse(b"9007199254740993").unwrap()));
    /// assert_ne!(node.get("id"), Some(&Node::parse(b"9007199254740992").unwrap()));
    /// assert!(node.get("half").and_then(Node::as_str).is_some());
    /// assert_eq!(Node::parse(b"[1, 2").unwrap_err().to_string(), "the text ends too early at byte 6");
    /// ```
    ///
    /// # Errors
    /// [`TreeError`], with the offset of the first bad byte.
    pub fn parse(text: &[u8]) -> Result<Self, TreeError> {
        utf8(text)?;
        let mut scanner = Scanner::new(text, 0);
        scanner.space();
        if scanner.position() == text.len() {
            return Err(SyntaxError { offset: text.len(), reason: SyntaxErrorKind::Empty }.into());
        }
        let node = read(text, &mut scanner)?;
        scanner.finish()?;
        Ok(node)
    }

    /// Returns the value of a member of an object; of duplicate keys the last counts.
    pub fn get(&self, key: &str) -> Option<&Self> {
        match self {
            Self::Object(members) => members.iter().rev().find(|(name, _)| name == key).map(|(_, node)| node),
            _ => None,
        }
    }

    /// Returns the elements of an array.
    pub fn as_array(&self) -> Option<&[Self]> {
        match self {
            Self::Array(elements) => Some(elements),
            _ => None,
        }
    }

    /// Returns the text of a string.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::String(text) => Some(text),
            _ => None,
        }
    }

    /// Compares two values of the same type: numbers exactly, strings by code points, others for
    /// equality only.
    pub fn compare(&self, other: &Self) -> Option<std::cmp::Ordering> {
        match (self, other) {
            (Self::Number(a), Self::Number(b)) => Some(a.value()?.cmp(&b.value()?)),
            (Self::String(a), Self::String(b)) => Some(a.cmp(b)),
            _ => (self == other).then_some(std::cmp::Ordering::Equal),
        }
    }

    /// Returns the number of values in the tree and its depth.
    pub fn size(&self) -> (usize, usize) {
        let (mut count, mut deepest) = (0, 0);
        let mut open = vec![(self, 1)];
        while let Some((node, depth)) = open.pop() {
            (count, deepest) = (count + 1, deepest.max(depth));
            match node {
                Self::Array(elements) => open.extend(elements.iter().map(|node| (node, depth + 1))),
                Self::Object(members) => open.extend(members.iter().map(|(_, node)| (node, depth + 1))),
                _ => {}
            }
        }
        (count, deepest)
    }

    /// Returns the nearest `serde_json` value: of duplicate keys the last counts, and numbers that no
    /// machine type holds are rounded (to the largest double, if need be).
    pub fn to_value(&self) -> Value {
        match self {
            Self::Null => Value::Null,
            Self::Bool(is) => Value::Bool(*is),
            Self::Number(number) => number.to_value(),
            Self::String(text) => Value::String(text.clone()),
            Self::Array(elements) => elements.iter().map(Self::to_value).collect(),
            Self::Object(members) => {
                members.iter().map(|(key, node)| (key.clone(), node.to_value())).collect()
            }
        }
    }
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

    fn to_value(&self) -> Value {
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

/// Reads one value, iteratively.
fn read(text: &[u8], scanner: &mut Scanner<'_>) -> Result<Node, TreeError> {
    let mut open: Vec<Open> = Vec::new();
    'value: loop {
        scanner.space();
        let at = scanner.position();
        let mut done = match text.get(at) {
            Some(bracket @ (b'{' | b'[')) => {
                if open.len() == MAX_DEPTH {
                    return Err(TreeError::TooDeep { offset: at });
                }
                let is_object = *bracket == b'{';
                match (scanner.enter(*bracket), is_object) {
                    (true, true) => {
                        open.push(Open::Object(Vec::new(), key(text, scanner)?));
                        continue 'value;
                    }
                    (true, false) => {
                        open.push(Open::Array(Vec::new()));
                        continue 'value;
                    }
                    (false, true) => Node::Object(Vec::new()),
                    (false, false) => Node::Array(Vec::new()),
                }
            }
            _ => {
                let span = scanner.value()?;
                leaf(&text[span])
            }
        };
        loop {
            match open.last_mut() {
                None => return Ok(done),
                Some(Open::Array(elements)) => {
                    elements.push(done);
                    if scanner.next_in(b']')? {
                        continue 'value;
                    }
                }
                Some(Open::Object(members, name)) => {
                    members.push((std::mem::take(name), done));
                    if scanner.next_in(b'}')? {
                        *name = key(text, scanner)?;
                        continue 'value;
                    }
                }
            }
            done = match open.pop() {
                Some(Open::Array(elements)) => Node::Array(elements),
                Some(Open::Object(members, _)) => Node::Object(members),
                None => Node::Null,
            };
        }
    }
}

fn key(text: &[u8], scanner: &mut Scanner<'_>) -> Result<String, TreeError> {
    let span = scanner.key()?;
    Ok(unescape(&text[span]).unwrap_or_default().into_owned())
}

/// The value of a scanned token that is no array and no object.
fn leaf(token: &[u8]) -> Node {
    match token.first() {
        Some(b'"') => Node::String(unescape(token).unwrap_or_default().into_owned()),
        Some(b't') => Node::Bool(true),
        Some(b'f') => Node::Bool(false),
        Some(b'n') | None => Node::Null,
        Some(_) => Node::Number(Number(String::from_utf8_lossy(token).into())),
    }
}

impl fmt::Display for Node {
    /// Writes the tree as compact JSON, numbers as they were spelled.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("null"),
            Self::Bool(is) => write!(f, "{is}"),
            Self::Number(number) => f.write_str(number.token()),
            Self::String(text) => f.write_str(&quote(text)),
            Self::Array(elements) => {
                f.write_str("[")?;
                for (at, node) in elements.iter().enumerate() {
                    write!(f, "{}{node}", if at > 0 { "," } else { "" })?;
                }
                f.write_str("]")
            }
            Self::Object(members) => {
                f.write_str("{")?;
                for (at, (key, node)) in members.iter().enumerate() {
                    write!(f, "{}{}:{node}", if at > 0 { "," } else { "" }, quote(key))?;
                }
                f.write_str("}")
            }
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn valid_json_that_serde_refuses_is_a_tree() {
        let deep = "[".repeat(1000) + &"]".repeat(1000);
        for text in [r#"{"a":1e400}"#, r#"["\ud800"]"#, &deep] {
            assert!(serde_json::from_str::<Value>(text).is_err(), "{text}");
            Node::parse(text.as_bytes()).unwrap();
        }
        assert_eq!(Node::parse(br#""\ud800x""#).unwrap().as_str(), Some("\u{fffd}x"));
        assert_eq!(Node::parse(b"[1e400]").unwrap().to_value()[0], Value::from(f64::MAX));
    }

    #[test]
    fn depth_is_bounded_by_name() {
        let text = "[".repeat(1_000_000);
        assert_eq!(Node::parse(text.as_bytes()), Err(TreeError::TooDeep { offset: MAX_DEPTH }));
        let most = "[".repeat(MAX_DEPTH) + &"]".repeat(MAX_DEPTH);
        assert_eq!(Node::parse(most.as_bytes()).unwrap().size(), (MAX_DEPTH, MAX_DEPTH));
    }

    #[test]
    fn the_last_duplicate_counts_and_all_are_kept() {
        let node = Node::parse(br#"{"a":1,"\u0061":2}"#).unwrap();
        assert_eq!(node.get("a").unwrap().to_string(), "2");
        assert_eq!(node.to_string(), r#"{"a":1,"a":2}"#);
    }

    #[test]
    fn what_is_no_json_names_its_byte() {
        assert_eq!(Node::parse(b"[1,]").unwrap_err().to_string(), "expected a value at byte 3");
        assert_eq!(Node::parse(b" ").unwrap_err().to_string(), "empty line at byte 1");
        assert_eq!(Node::parse(b"{} x").unwrap_err().to_string(), "text after the value at byte 3");
    }

    /// Generates JSON values whose keys match the pattern `keys`.
    pub fn values(keys: &'static str) -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            ".{0,6}".prop_map(Value::from),
        ];
        leaf.prop_recursive(5, 40, 5, move |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
                proptest::collection::hash_map(keys, inner, 0..5)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn it_holds_what_serde_holds(value in values(".{0,3}")) {
            let node = Node::parse(value.to_string().as_bytes()).unwrap();
            prop_assert_eq!(node.to_value(), value.clone());
            prop_assert_eq!(Node::parse(node.to_string().as_bytes()).unwrap(), node);
        }

        #[test]
        fn it_agrees_with_the_scanner_on_any_text(text in "[\\[\\]{}:,\"\\\\0-9eE.+ntrufalse -]{0,40}") {
            let tree = Node::parse(text.as_bytes());
            prop_assert_eq!(tree.is_ok(), crate::mcp::json::document(text.as_bytes()).is_ok());
        }
    }
}
