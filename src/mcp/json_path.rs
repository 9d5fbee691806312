//! JSONPath (RFC 9535) on [`Node`] trees, with bounds on the texts and the work.
//!
//! The texts come from people, files and peers. The parser that is used recurses with the nesting of a
//! path (20 000 brackets overflow the stack) and takes exponential time with nested filters, and the
//! evaluation of `..` and of absolute paths in filters multiplies with the size of the message. So the
//! text is checked before the parser sees it, and the work is estimated before it is done.

use serde_json::Value;
use serde_json_path::{LocatedNode, PathElement};

use super::tree::Node;

/// Maximum length of a path in bytes.
pub const MAX_LENGTH: usize = 1024;
/// Maximum number of nested brackets and parentheses in a path.
pub const MAX_NESTING: usize = 8;
/// Maximum number of node visits that a query may take, as estimated.
const MAX_VISITS: u128 = 20_000_000;

/// A parsed path.
#[derive(Debug, Clone)]
pub struct JsonPath {
    path: serde_json_path::JsonPath,
    /// Number of descendant segments (`..`).
    descendants: u32,
    /// Number of absolute paths inside of filters.
    absolutes: u32,
    /// `true` if a filter compares values.
    compares: bool,
    /// `true` if the path contains a number that no double holds exactly.
    has_inexact_number: bool,
}

/// The reason why a text is no path.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JsonPathError {
    /// The text is longer than [`MAX_LENGTH`].
    #[error("the JSONPath has {0} bytes; at most {MAX_LENGTH} are read")]
    TooLong(usize),
    /// The text has more than [`MAX_NESTING`] nested brackets.
    #[error("the JSONPath nests more than {MAX_NESTING} brackets at byte {0}")]
    TooDeep(usize),
    /// The text does not follow RFC 9535.
    #[error("no JSONPath: {0}")]
    Malformed(String),
}

/// The reason why a query was not evaluated on a document.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unjudged {
    /// The query would take too long on a document of this many values.
    #[error("the JSONPath is too expensive for a message of {nodes} values")]
    TooExpensive {
        /// Number of values in the document.
        nodes: usize,
    },
    /// A filter compares numbers as doubles, and the document or the path has a number that no double holds
    /// exactly.
    #[error("a filter of the JSONPath cannot compare a number of this size exactly")]
    Inexact,
}

impl JsonPath {
    /// Parses a path.
    ///
    /// # Errors
    /// [`JsonPathError`].
    pub fn parse(text: &str) -> Result<Self, JsonPathError> {
        if text.len() > MAX_LENGTH {
            return Err(JsonPathError::TooLong(text.len()));
        }
        let (mut depth, mut quote, mut escaped) = (0_usize, None, false);
        let (mut descendants, mut absolutes) = (0, 0);
        let (mut filters, mut compares) = (false, false);
        let bytes = text.as_bytes();
        for (at, byte) in bytes.iter().enumerate() {
            match (quote, byte) {
                (Some(_), _) if escaped => escaped = false,
                (Some(_), b'\\') => escaped = true,
                (Some(open), _) if open == *byte => quote = None,
                (Some(_), _) => {}
                (None, b'"' | b'\'') => quote = Some(*byte),
                (None, b'[' | b'(') => depth += 1,
                (None, b']' | b')') => depth = depth.saturating_sub(1),
                (None, b'?') => filters = true,
                (None, b'<' | b'>' | b'=') => compares |= filters,
                (None, b'.') if bytes.get(at + 1) == Some(&b'.') => descendants += 1,
                (None, b'$') if at > 0 => absolutes += 1,
                _ => {}
            }
            if depth > MAX_NESTING {
                return Err(JsonPathError::TooDeep(at));
            }
        }
        let path = serde_json_path::JsonPath::parse(text)
            .map_err(|error| JsonPathError::Malformed(error.to_string()))?;
        let has_inexact_number = compares
            && numbers(text)
                .any(|number| Node::parse(number.as_bytes()).is_ok_and(|number| number.has_inexact_number()));
        Ok(Self { path, descendants, absolutes, compares, has_inexact_number })
    }

    /// Returns the nodes of `root` that the path selects.
    ///
    /// # Errors
    /// [`Unjudged`] without any work done.
    pub fn query<'a>(&self, root: &'a Node) -> Result<Vec<&'a Node>, Unjudged> {
        self.check(root.size())?;
        if self.compares && (self.has_inexact_number || root.has_inexact_number()) {
            return Err(Unjudged::Inexact);
        }
        let value = root.to_value();
        let located = self.path.query_located(&value);
        Ok(located.iter().filter_map(|node| follow(root, node)).collect())
    }

    /// Returns the JSON Pointers (RFC 6901) of the values in `root` that the path selects.
    ///
    /// # Errors
    /// [`Unjudged`] without any work done.
    pub fn pointers(&self, root: &Value) -> Result<Vec<String>, Unjudged> {
        self.check(size(root))?;
        if self.has_inexact_number {
            return Err(Unjudged::Inexact);
        }
        let located = self.path.query_located(root);
        Ok(located.locations().map(|location| location.to_json_pointer()).collect())
    }

    fn check(&self, (nodes, depth): (usize, usize)) -> Result<(), Unjudged> {
        let (count, depth) = (nodes as u128, depth as u128);
        // The first `..` visits every node once, each further one all nodes above each of them, and each visit
        // copies the path of its node; an absolute path in a filter is evaluated once for each candidate.
        let above = depth.checked_pow(self.descendants);
        let repeated = count.checked_pow(self.absolutes);
        let visits = above.zip(repeated).and_then(|(a, b)| count.checked_mul(a)?.checked_mul(b));
        match visits {
            Some(visits) if visits <= MAX_VISITS => Ok(()),
            _ => Err(Unjudged::TooExpensive { nodes }),
        }
    }
}

/// Returns the parts of a path outside quotes that look like numbers.
fn numbers(path: &str) -> impl Iterator<Item = &str> {
    let outside = path.split(['"', '\'']).step_by(2);
    let is_part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '+' | '-');
    let words = outside.flat_map(move |part| part.split(move |c| !is_part(c)));
    words.filter(|word| word.starts_with(|c: char| c.is_ascii_digit() || c == '-'))
}

/// Follows the location of a selected node in the tree that it was selected in.
fn follow<'a>(root: &'a Node, node: &LocatedNode<'_>) -> Option<&'a Node> {
    node.location().iter().try_fold(root, |node, element| match element {
        PathElement::Name(name) => node.get(name),
        PathElement::Index(at) => node.as_array()?.get(*at),
    })
}

fn size(root: &Value) -> (usize, usize) {
    let (mut count, mut deepest) = (0, 0);
    let mut open = vec![(root, 1)];
    while let Some((value, depth)) = open.pop() {
        (count, deepest) = (count + 1, deepest.max(depth));
        match value {
            Value::Array(elements) => open.extend(elements.iter().map(|value| (value, depth + 1))),
            Value::Object(members) => open.extend(members.values().map(|value| (value, depth + 1))),
            _ => {}
        }
    }
    (count, deepest)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(path: &str, text: &str) -> Vec<String> {
        let root = Node::parse(text.as_bytes()).unwrap();
        JsonPath::parse(path).unwrap().query(&root).unwrap().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn nodes_keep_their_spelling() {
        assert_eq!(
            found("$.a[*]", r#"{"a":[1e400, 9007199254740993, "\ud800"]}"#)[..2],
            ["1e400", "9007199254740993"]
        );
        assert_eq!(found("$..x", r#"{"x":1,"y":[{"x":2}]}"#), ["1", "2"]);
        assert_eq!(found("$.a", r#"{"a":1,"a":2}"#), ["2"]);
    }

    #[test]
    fn texts_that_would_kill_or_stall_the_parser_are_refused_before_it() {
        let brackets = "$".to_owned() + &"[".repeat(20_000);
        assert_eq!(JsonPath::parse(&brackets).unwrap_err(), JsonPathError::TooLong(20_001));
        let brackets = "$".to_owned() + &"[".repeat(1000);
        assert_eq!(JsonPath::parse(&brackets).unwrap_err(), JsonPathError::TooDeep(9));
        let filters = "$".to_owned() + &"[?@".repeat(22) + &"]".repeat(22);
        assert!(matches!(JsonPath::parse(&filters), Err(JsonPathError::TooDeep(_))));
        let most = "$".to_owned() + &"[?@".repeat(MAX_NESTING) + &"]".repeat(MAX_NESTING);
        JsonPath::parse(&most).unwrap();
        assert!(JsonPath::parse("$['((((((((((((']").is_ok(), "brackets in a name are no nesting");
        assert!(matches!(JsonPath::parse("$."), Err(JsonPathError::Malformed(_))));
    }

    #[test]
    fn filters_do_not_compare_numbers_that_a_double_rounds() {
        let root = Node::parse(br#"[{"id":7635481234567891235},{"id":2}]"#).unwrap();
        let query = |path: &str| JsonPath::parse(path).unwrap().query(&root).map(|found| found.len());
        assert_eq!(query("$[?@.id==7635481234567891236]"), Err(Unjudged::Inexact));
        assert_eq!(query("$[?@.id==2]"), Err(Unjudged::Inexact));
        assert_eq!(query("$[?@.id]"), Ok(2));
        assert_eq!(query("$[*].id"), Ok(2));
        let root = Node::parse(br#"[{"id":1},{"id":2}]"#).unwrap();
        let query = |path: &str| JsonPath::parse(path).unwrap().query(&root).map(|found| found.len());
        assert_eq!(query("$[?@.id==2]"), Ok(1));
        assert_eq!(query("$[?@.id=='7635481234567891236']"), Ok(0));
    }

    #[test]
    fn work_that_would_take_too_long_is_not_begun() {
        let deep = "[".repeat(1000) + &"]".repeat(1000);
        let root = Node::parse(deep.as_bytes()).unwrap();
        let path = JsonPath::parse("$..*..*..*..*").unwrap();
        assert_eq!(path.query(&root).unwrap_err(), Unjudged::TooExpensive { nodes: 1000 });
        JsonPath::parse("$..*..*").unwrap().query(&root).unwrap_err();
        JsonPath::parse("$..*").unwrap().query(&root).unwrap();
        let wide = format!("[{}0]", "0,".repeat(100_000));
        let root = Node::parse(wide.as_bytes()).unwrap();
        assert!(JsonPath::parse("$[?count($..*) > 1]").unwrap().query(&root).is_err());
    }
}
