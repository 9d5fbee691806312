//! Values of terms: the parts after the colon.

use super::{Field, Takes, Truth};
use crate::mcp::json_path::JsonPath;
use crate::mcp::tree::{Node, TreeError};
use regex::Regex;

/// The reason why a value is none of its field, as a phrase; the parser adds the place.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ValueError(String);

/// The comparison of a property with the value of a term.
#[derive(Debug, Clone)]
pub enum Matcher {
    /// The text of the property matches a pattern.
    Pattern(Pattern),
    /// The number satisfies one of several comparisons. Durations are in seconds, sizes in bytes.
    Number(Vec<Comparison>),
    /// The time of day is compared with this one, in seconds since midnight.
    Clock(f64),
    /// The bytes of the message contain a match.
    Body(BodySearch),
    /// A node of the message satisfies a test.
    Json(Box<Json>),
}

/// A pattern for a word: alternatives, one of which must match.
#[derive(Debug, Clone)]
pub struct Pattern(Vec<Word>);

#[derive(Debug, Clone)]
enum Word {
    /// The whole word, in any case.
    Exact(String),
    /// A word with the wildcards `*` and `?`, compiled.
    Glob(Regex),
    Regex(Regex),
}

/// A comparison with a number.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Comparison {
    /// The operator.
    pub op: Op,
    /// The right operand.
    pub value: f64,
}

/// A comparison operator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Op {
    /// Equal (`=`, `==`, or no sign).
    Equal,
    /// Not equal (`!=`).
    NotEqual,
    /// Less (`<`).
    Less,
    /// Less or equal (`<=`).
    AtMost,
    /// Greater (`>`).
    Greater,
    /// Greater or equal (`>=`).
    AtLeast,
}

/// A search in the bytes of a message.
#[derive(Debug, Clone)]
pub enum BodySearch {
    /// A text, in exactly this case.
    Text(String),
    /// A regular expression.
    Regex(regex::bytes::Regex),
}

/// A JSONPath (RFC 9535), and a test that one of its nodes must pass.
#[derive(Debug, Clone)]
pub struct Json {
    path: JsonPath,
    test: JsonTest,
}

#[derive(Debug, Clone)]
enum JsonTest {
    Exists,
    Compare(Op, Node),
    Regex(Regex),
}

/// Maximum number of alternatives in a pattern.
const MAX_ALTERNATIVES: usize = 256;
/// Maximum size of a compiled regular expression in bytes.
const MAX_REGEX_BYTES: usize = 1 << 20;

fn regex(pattern: &str) -> Result<Regex, ValueError> {
    let built = regex::RegexBuilder::new(pattern).size_limit(MAX_REGEX_BYTES).build();
    built.map_err(|error| ValueError(brief(&error)))
}

fn bytes_regex(pattern: &str) -> Result<regex::bytes::Regex, ValueError> {
    let built = regex::bytes::RegexBuilder::new(pattern).size_limit(MAX_REGEX_BYTES).build();
    built.map_err(|error| ValueError(brief(&error)))
}

impl Matcher {
    /// Parses the value of a term with the field `field`.
    ///
    /// # Errors
    /// A phrase that says what is wrong.
    pub(super) fn parse(field: Field, text: &str) -> Result<Self, ValueError> {
        if text.is_empty() {
            return Err(ValueError(format!("{}: needs a value, {}", field.word(), field.help())));
        }
        match field.takes() {
            Takes::Pattern => Pattern::parse(text)?.of_field(field).map(Self::Pattern),
            Takes::Number => numbers(text, |text| text.parse().ok(), "a number such as 118 or >100"),
            Takes::Duration => numbers(text, seconds, "a duration such as >500ms, 2s or 1m"),
            Takes::Size => numbers(text, size, "a size such as >10k or <1m"),
            Takes::Clock => crate::clock::seconds_of_day(text)
                .map(Self::Clock)
                .ok_or_else(|| ValueError("needs a time such as 12:03:11".into())),
            Takes::Body => match text.strip_prefix('~') {
                Some(pattern) => Ok(Self::Body(BodySearch::Regex(bytes_regex(pattern)?))),
                None => Ok(Self::Body(BodySearch::Text(unquote(text)))),
            },
            Takes::Json => Json::parse(text).map(|json| Self::Json(Box::new(json))),
        }
    }

    pub(super) fn text(&self, value: &str) -> bool {
        matches!(self, Self::Pattern(pattern) if pattern.matches(value))
    }

    pub(super) fn number(&self, value: f64) -> bool {
        matches!(self, Self::Number(any) if any.iter().any(|comparison| comparison.holds(value)))
    }

    pub(super) fn at_least(&self, value: f64) -> bool {
        matches!(self, Self::Clock(time) if value >= *time)
    }

    pub(super) fn body(&self, bytes: &[u8]) -> bool {
        match self {
            Self::Body(BodySearch::Text(text)) => memchr::memmem::find(bytes, text.as_bytes()).is_some(),
            Self::Body(BodySearch::Regex(regex)) => regex.is_match(bytes),
            _ => false,
        }
    }

    /// Returns the text that a body must contain, unless a regular expression is searched for.
    pub(super) fn needle(&self) -> Option<&str> {
        match self {
            Self::Body(BodySearch::Text(text)) => Some(text),
            _ => None,
        }
    }

    pub(super) fn json(&self, body: &[u8]) -> Truth {
        let Self::Json(json) = self else { return Truth::False };
        match Node::parse(body) {
            Ok(root) => json.judge(&root),
            // A text that is no JSON has no nodes.
            Err(TreeError::NotJson(_)) => Truth::False,
            Err(error) => Truth::Unknown(error.to_string()),
        }
    }
}

impl Pattern {
    fn parse(text: &str) -> Result<Self, ValueError> {
        if let Some(pattern) = text.strip_prefix('~') {
            return Ok(Self(vec![Word::Regex(regex(pattern)?)]));
        }
        let words: Vec<&str> = alternatives(text).into_iter().filter(|part| !part.is_empty()).collect();
        if words.len() > MAX_ALTERNATIVES {
            return Err(ValueError(format!("has more than {MAX_ALTERNATIVES} alternatives")));
        }
        words.into_iter().map(Word::parse).collect::<Result<_, _>>().map(Self)
    }

    /// Checks that every alternative can match: a field that has only a few values takes no other.
    fn of_field(self, field: Field) -> Result<Self, ValueError> {
        let values = field.values();
        let is_status = |text: &str| field == Field::Status && text.bytes().all(|byte| byte.is_ascii_digit());
        let can_match = |word: &Word| match word {
            Word::Exact(text) => {
                is_status(text) || values.iter().any(|value| value.eq_ignore_ascii_case(text))
            }
            // A pattern may be meant for HTTP statuses, such as `5??`.
            Word::Glob(regex) | Word::Regex(regex) => {
                field == Field::Status || values.iter().any(|value| regex.is_match(value))
            }
        };
        if values.is_empty() || field == Field::Http || self.0.iter().all(can_match) {
            return Ok(self);
        }
        Err(ValueError(format!("{}: is one of {}", field.word(), values.join(", "))))
    }

    /// Returns an alternative that no frame has at its arrival, if there is one.
    pub(super) fn comes_later(&self, later: &[&'static str]) -> Option<&'static str> {
        later.iter().copied().find(|word| self.names(word))
    }

    /// Returns `true` if an alternative matches the whole of `value`, or a regular expression a part of it.
    pub fn matches(&self, value: &str) -> bool {
        self.0.iter().any(|word| match word {
            Word::Exact(text) => text.eq_ignore_ascii_case(value),
            Word::Glob(regex) | Word::Regex(regex) => regex.is_match(value),
        })
    }

    /// Returns `true` if an alternative spells out `value`; a match of a glob does not count.
    pub(super) fn names(&self, value: &str) -> bool {
        self.0.iter().any(|word| matches!(word, Word::Exact(text) if text.eq_ignore_ascii_case(value)))
    }
}

impl Word {
    fn parse(text: &str) -> Result<Self, ValueError> {
        let plain = unquote(text);
        if plain != text || !text.contains(['*', '?']) {
            return Ok(Self::Exact(plain));
        }
        let pattern = regex::escape(text).replace(r"\*", ".*").replace(r"\?", ".");
        regex(&format!("(?is)^{pattern}$")).map(Self::Glob)
    }
}

impl Op {
    const SIGNS: [(&'static str, Self); 7] = [
        (">=", Self::AtLeast),
        ("<=", Self::AtMost),
        ("!=", Self::NotEqual),
        ("==", Self::Equal),
        (">", Self::Greater),
        ("<", Self::Less),
        ("=", Self::Equal),
    ];

    fn strip(text: &str) -> (Self, &str) {
        Self::SIGNS
            .into_iter()
            .find_map(|(sign, op)| Some((op, text.strip_prefix(sign)?)))
            .unwrap_or((Self::Equal, text))
    }

    fn holds(self, ordering: Option<std::cmp::Ordering>) -> bool {
        match ordering {
            None => self == Self::NotEqual,
            Some(ordering) => match self {
                Self::Equal => ordering.is_eq(),
                Self::NotEqual => ordering.is_ne(),
                Self::Less => ordering.is_lt(),
                Self::AtMost => ordering.is_le(),
                Self::Greater => ordering.is_gt(),
                Self::AtLeast => ordering.is_ge(),
            },
        }
    }
}

impl Comparison {
    /// Returns `true` if `value` satisfies the comparison.
    pub fn holds(self, value: f64) -> bool {
        self.op.holds(value.partial_cmp(&self.value))
    }
}

impl Json {
    fn parse(text: &str) -> Result<Self, ValueError> {
        let (path, test) = match comparison_at(text) {
            Some(at) if text[at..].starts_with("=~") => (&text[..at], Some((Op::Equal, &text[at..]))),
            Some(at) => {
                let (op, value) = Op::strip(&text[at..]);
                (&text[..at], Some((op, value)))
            }
            None => (text, None),
        };
        let path = JsonPath::parse(path.trim()).map_err(|error| ValueError(error.to_string()))?;
        let test = match test {
            None => JsonTest::Exists,
            Some((_, text)) if text.starts_with("=~") => JsonTest::Regex(regex(&unquote(&text[2..]))?),
            Some((op, text)) => JsonTest::Compare(
                op,
                Node::parse(text.as_bytes()).unwrap_or_else(|_| Node::String(unquote(text.trim()))),
            ),
        };
        Ok(Self { path, test })
    }

    fn judge(&self, root: &Node) -> Truth {
        let nodes = match self.path.query(root) {
            Ok(nodes) => nodes,
            Err(error) => return Truth::Unknown(error.to_string()),
        };
        Truth::from(match &self.test {
            JsonTest::Exists => !nodes.is_empty(),
            JsonTest::Compare(op, wanted) => nodes.iter().any(|node| op.holds(node.compare(wanted))),
            JsonTest::Regex(regex) => {
                nodes.iter().any(|node| node.as_str().is_some_and(|text| regex.is_match(text)))
            }
        })
    }
}

/// Returns the offset of the operator after a JSONPath, outside the path's brackets and quotes.
fn comparison_at(text: &str) -> Option<usize> {
    let mut depth = 0_usize;
    let (mut quote, mut escaped) = (None, false);
    for (at, byte) in text.bytes().enumerate() {
        match (quote, byte) {
            (Some(_), _) if std::mem::take(&mut escaped) => {}
            (Some(_), b'\\') => escaped = true,
            (Some(open), _) if open == byte => quote = None,
            (Some(_), _) => {}
            (None, b'"' | b'\'') => quote = Some(byte),
            (None, b'[' | b'(') => depth += 1,
            (None, b']' | b')') => depth = depth.saturating_sub(1),
            (None, b'=' | b'!' | b'<' | b'>') if depth == 0 => return Some(at),
            _ => {}
        }
    }
    None
}

fn numbers(text: &str, read: impl Fn(&str) -> Option<f64>, needs: &str) -> Result<Matcher, ValueError> {
    alternatives(text)
        .into_iter()
        .map(|part| {
            let (op, number) = Op::strip(part);
            read(number)
                .map(|value| Comparison { op, value })
                .ok_or_else(|| ValueError(format!("needs {needs}")))
        })
        .collect::<Result<_, _>>()
        .map(Matcher::Number)
}

/// Parses a duration into seconds; a number without a unit is in milliseconds.
fn seconds(text: &str) -> Option<f64> {
    let millis = || text.parse::<f64>().ok().map(|millis| millis / 1e3);
    crate::clock::duration(text).map(|duration| duration.as_secs_f64()).or_else(millis)
}

/// Parses a number of bytes or tokens; the units `k`, `m` and `g` are powers of 1000.
fn size(text: &str) -> Option<f64> {
    let (number, unit) = split_unit(text);
    let factor = match unit.to_ascii_lowercase().as_str() {
        "" | "b" => 1.0,
        "k" | "kb" => 1e3,
        "m" | "mb" => 1e6,
        "g" | "gb" => 1e9,
        _ => return None,
    };
    Some(number.parse::<f64>().ok()? * factor)
}

fn split_unit(text: &str) -> (&str, &str) {
    let at = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    text.split_at(at)
}

/// Splits a value at each `|` and `,` outside quotes.
fn alternatives(text: &str) -> Vec<&str> {
    let (mut parts, mut start) = (Vec::new(), 0);
    let (mut is_quoted, mut is_escaped) = (false, false);
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' if is_quoted => is_escaped = true,
            b'"' => is_quoted = !is_quoted,
            b'|' | b',' if !is_quoted => {
                parts.push(&text[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&text[start..]);
    parts
}

pub(super) fn unquote(text: &str) -> String {
    match text.strip_prefix('"').and_then(|text| text.strip_suffix('"')) {
        // Outside JSON a backslash may stand for itself, as in `"C:\\dir"`.
        Some(inner) => serde_json::from_str(text).unwrap_or_else(|_| inner.to_owned()),
        None => text.to_owned(),
    }
}

/// Returns the last line of a regex error, which names it; the lines before draw the pattern.
fn brief(error: &regex::Error) -> String {
    let text = error.to_string();
    text.lines().last().unwrap_or("bad regular expression").trim_start_matches("error: ").to_owned()
}
