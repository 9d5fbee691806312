//! A JSON tree that holds whatever the grammar of JSON allows.
//!
//! `serde_json::Value` refuses valid JSON (`1e400`, an escaped lone surrogate, 128 levels) and rounds
//! numbers. A condition that fails to parse must not let a message slip by, so conditions are evaluated
//! on this tree: numbers keep their tokens and compare exactly, strings with lone surrogates keep theirs,
//! and depth is bounded by [`MAX_DEPTH`] only.

use std::fmt;

use serde_json::Value;

use super::json::{Scanner, SyntaxError, SyntaxErrorKind, quote, unescape, utf8};
pub use super::leaf::{HalfString, Number};

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
    /// A string without its escapes.
    String(String),
    /// A string with half a surrogate pair, which no Rust string can hold.
    HalfString(HalfString),
    /// An array.
    Array(Vec<Node>),
    /// The members of an object in their order, duplicates included.
    Object(Vec<(String, Node)>),
}

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
    /// assert_eq!(Node::parse(b"[1, 2").unwrap_err().to_string(), "unexpected end at byte 5");
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
            Self::HalfString(half) => Some(half.text()),
            _ => None,
        }
    }

    /// Returns the kind of the value, with its article.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool(_) => "a boolean",
            Self::Number(_) => "a number",
            Self::String(_) | Self::HalfString(_) => "a string",
            Self::Array(_) => "an array",
            Self::Object(_) => "an object",
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
        self.convert(&Number::to_value)
    }

    /// Returns a `serde_json` value that is equal for equal trees, and differs for others: what no machine
    /// type holds becomes a string that spells it.
    pub fn to_exact_value(&self) -> Value {
        self.convert(&Number::to_exact_value)
    }

    fn convert(&self, number: &impl Fn(&Number) -> Value) -> Value {
        match self {
            Self::Null => Value::Null,
            Self::Bool(is) => Value::Bool(*is),
            Self::Number(token) => number(token),
            Self::String(text) => Value::String(text.clone()),
            Self::HalfString(half) => Value::String(half.spelled()),
            Self::Array(elements) => elements.iter().map(|node| node.convert(number)).collect(),
            Self::Object(members) => {
                members.iter().map(|(key, node)| (key.clone(), node.convert(number))).collect()
            }
        }
    }

    /// Returns `true` if the tree contains a number that no double holds exactly.
    pub fn has_inexact_number(&self) -> bool {
        let mut open = vec![self];
        while let Some(node) = open.pop() {
            match node {
                Self::Number(number) if !number.is_double() => return true,
                Self::Array(elements) => open.extend(elements),
                Self::Object(members) => open.extend(members.iter().map(|(_, node)| node)),
                _ => {}
            }
        }
        false
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
        Some(b'"') => {
            let text = unescape(token).unwrap_or_default().into_owned();
            match HalfString::of(token, &text) {
                Some(half) => Node::HalfString(half),
                None => Node::String(text),
            }
        }
        Some(b't') => Node::Bool(true),
        Some(b'f') => Node::Bool(false),
        Some(b'n') | None => Node::Null,
        Some(_) => Node::Number(Number::of(token)),
    }
}

/// Reads a JSON text as a value that is equal for equal texts (see [`Node::to_exact_value`]).
///
/// # Errors
/// [`TreeError`], with the offset of the first bad byte.
pub fn exact_value(text: &[u8]) -> Result<Value, TreeError> {
    Node::parse(text).map(|node| node.to_exact_value())
}

impl fmt::Display for Node {
    /// Writes the tree as compact JSON, numbers as they were spelled.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("null"),
            Self::Bool(is) => write!(f, "{is}"),
            Self::Number(number) => f.write_str(number.token()),
            Self::String(text) => f.write_str(&quote(text)),
            Self::HalfString(half) => f.write_str(half.token()),
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
    fn halves_of_pairs_and_numbers_keep_their_values() {
        let node = |text: &str| Node::parse(text.as_bytes()).unwrap();
        assert_ne!(node(r#""\ud83d""#), node(r#""\ud83e""#));
        assert_eq!(node(r#""\uD83Dx""#), node(r#""\ud83d\u0078""#));
        assert_ne!(node(r#""\ud83d""#), node("\"\u{fffd}\""));
        assert_ne!(node(r#""\\ud83d""#), node(r#""\ud83d""#));
        assert_eq!(node(r#""\ud83d\ude00""#), node("\"😀\""));
        assert_eq!(node(r#"["\ud83d"]"#).to_string(), r#"["\ud83d"]"#);
        let exact = |text: &str| exact_value(text.as_bytes()).unwrap();
        assert_ne!(exact("12345678901234567890123"), exact("12345678901234567890124"));
        assert_eq!(exact("1E400"), exact("10E399"));
        assert_ne!(exact("0.1"), exact("0.10000000000000000001"));
        assert_eq!(exact("0.10"), Value::from(0.1));
        assert_eq!(exact("9007199254740993"), Value::from(9_007_199_254_740_993_u64));
        assert_ne!(exact(r#""\ud83d""#), exact(r#""\ud83e""#));
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
