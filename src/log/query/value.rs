//! What stands after the colon of a term.

use regex::Regex;
use serde_json::Value;
use serde_json_path::JsonPath;

use super::{Field, Takes};

/// How a value is compared.
#[derive(Debug, Clone)]
pub enum Matcher {
    Pattern(Pattern),
    /// Any of several patterns.
    Number(Vec<Comparison>),
    /// Seconds since midnight.
    Clock(f64),
    Body(Body),
    Json(Box<Json>),
}

/// Alternatives for a word.
#[derive(Debug, Clone)]
pub struct Pattern(Vec<Word>);

#[derive(Debug, Clone)]
enum Word {
    /// Whole, ignoring case.
    Exact(String),
    /// `*` and `?`, compiled.
    Glob(Regex),
    Regex(Regex),
}

/// A number and how to compare with it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Comparison {
    pub op: Op,
    pub value: f64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Op {
    Equal,
    NotEqual,
    Less,
    AtMost,
    Greater,
    AtLeast,
}

/// A search in the bytes of a message.
#[derive(Debug, Clone)]
pub enum Body {
    Text(String),
    Regex(regex::bytes::Regex),
}

/// A JSONPath (RFC 9535) and what one of its nodes must be.
#[derive(Debug, Clone)]
pub struct Json {
    path: JsonPath,
    test: JsonTest,
}

#[derive(Debug, Clone)]
enum JsonTest {
    Exists,
    Compare(Op, Value),
    Regex(Regex),
}

impl Matcher {
    /// Reads the value of `field`.
    ///
    /// # Errors
    /// What is wrong with it, as a phrase.
    pub(super) fn parse(field: Field, text: &str) -> Result<Self, String> {
        if text.is_empty() {
            return Err(format!("{}: needs a value, {}", field.word(), field.help()));
        }
        match field.takes() {
            Takes::Pattern => Ok(Self::Pattern(Pattern::parse(text)?)),
            Takes::Number => numbers(text, |text| text.parse().ok(), "a number such as 118 or >100"),
            Takes::Duration => numbers(text, seconds, "a duration such as >500ms, 2s or 1m"),
            Takes::Size => numbers(text, size, "a size such as >10k or <1m"),
            Takes::Clock => crate::clock::seconds_of_day(text)
                .map(Self::Clock)
                .ok_or_else(|| "needs a time such as 12:03:11".into()),
            Takes::Body => match text.strip_prefix('~') {
                Some(pattern) => Ok(Self::Body(Body::Regex(
                    regex::bytes::Regex::new(pattern).map_err(|error| brief(&error))?,
                ))),
                None => Ok(Self::Body(Body::Text(unquote(text)))),
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
            Self::Body(Body::Text(text)) => memchr::memmem::find(bytes, text.as_bytes()).is_some(),
            Self::Body(Body::Regex(regex)) => regex.is_match(bytes),
            _ => false,
        }
    }

    /// The text that a body must contain, where it is no regular expression.
    pub(super) fn needle(&self) -> Option<&str> {
        match self {
            Self::Body(Body::Text(text)) => Some(text),
            _ => None,
        }
    }

    pub(super) fn json(&self, body: &[u8]) -> bool {
        let Self::Json(json) = self else { return false };
        serde_json::from_slice(body).is_ok_and(|value| json.matches(&value))
    }
}

impl Pattern {
    fn parse(text: &str) -> Result<Self, String> {
        if let Some(pattern) = text.strip_prefix('~') {
            return Ok(Self(vec![Word::Regex(Regex::new(pattern).map_err(|error| brief(&error))?)]));
        }
        text.split(['|', ','])
            .filter(|part| !part.is_empty())
            .map(Word::parse)
            .collect::<Result<_, _>>()
            .map(Self)
    }

    /// Whether any alternative matches the whole of `value`.
    pub fn matches(&self, value: &str) -> bool {
        self.0.iter().any(|word| match word {
            Word::Exact(text) => text.eq_ignore_ascii_case(value),
            Word::Glob(regex) | Word::Regex(regex) => regex.is_match(value),
        })
    }

    /// Whether `value` is spelled out, not merely covered by a glob.
    pub(super) fn names(&self, value: &str) -> bool {
        self.0.iter().any(|word| matches!(word, Word::Exact(text) if text.eq_ignore_ascii_case(value)))
    }
}

impl Word {
    fn parse(text: &str) -> Result<Self, String> {
        let plain = unquote(text);
        if plain != text || !text.contains(['*', '?']) {
            return Ok(Self::Exact(plain));
        }
        let pattern = regex::escape(text).replace(r"\*", ".*").replace(r"\?", ".");
        Regex::new(&format!("(?is)^{pattern}$")).map(Self::Glob).map_err(|error| brief(&error))
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
    pub fn holds(self, value: f64) -> bool {
        self.op.holds(value.partial_cmp(&self.value))
    }
}

impl Json {
    fn parse(text: &str) -> Result<Self, String> {
        let (path, test) = match comparison_at(text) {
            Some(at) if text[at..].starts_with("=~") => (&text[..at], Some((Op::Equal, &text[at..]))),
            Some(at) => {
                let (op, value) = Op::strip(&text[at..]);
                (&text[..at], Some((op, value)))
            }
            None => (text, None),
        };
        let path = JsonPath::parse(path.trim()).map_err(|error| format!("no JSONPath: {error}"))?;
        let test = match test {
            None => JsonTest::Exists,
            Some((_, text)) if text.starts_with("=~") => {
                JsonTest::Regex(Regex::new(&unquote(&text[2..])).map_err(|error| brief(&error))?)
            }
            Some((op, text)) => JsonTest::Compare(
                op,
                serde_json::from_str(text).unwrap_or_else(|_| Value::from(unquote(text.trim()))),
            ),
        };
        Ok(Self { path, test })
    }

    fn matches(&self, value: &Value) -> bool {
        let nodes = self.path.query(value);
        match &self.test {
            JsonTest::Exists => !nodes.is_empty(),
            JsonTest::Compare(op, wanted) => nodes.iter().any(|node| op.holds(order(node, wanted))),
            JsonTest::Regex(regex) => {
                nodes.iter().any(|node| node.as_str().is_some_and(|text| regex.is_match(text)))
            }
        }
    }
}

/// Where the comparison behind a JSONPath begins: outside its brackets and quotes.
fn comparison_at(text: &str) -> Option<usize> {
    let mut depth = 0_usize;
    let mut quote = None;
    for (at, byte) in text.bytes().enumerate() {
        match (quote, byte) {
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

fn order(a: &Value, b: &Value) -> Option<std::cmp::Ordering> {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => a.as_f64()?.partial_cmp(&b.as_f64()?),
        (Value::String(a), Value::String(b)) => Some(a.cmp(b)),
        _ => (a == b).then_some(std::cmp::Ordering::Equal),
    }
}

fn numbers(text: &str, read: impl Fn(&str) -> Option<f64>, needs: &str) -> Result<Matcher, String> {
    text.split(['|', ','])
        .map(|part| {
            let (op, number) = Op::strip(part);
            read(number).map(|value| Comparison { op, value }).ok_or_else(|| format!("needs {needs}"))
        })
        .collect::<Result<_, _>>()
        .map(Matcher::Number)
}

/// A duration in seconds; a bare number is milliseconds.
fn seconds(text: &str) -> Option<f64> {
    let millis = || text.parse::<f64>().ok().map(|millis| millis / 1e3);
    crate::clock::duration(text).map(|duration| duration.as_secs_f64()).or_else(millis)
}

/// A count of bytes or tokens; `k` and `m` are decimal.
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

fn unquote(text: &str) -> String {
    match text.strip_prefix('"').and_then(|text| text.strip_suffix('"')) {
        Some(_) => serde_json::from_str(text).unwrap_or_else(|_| text.trim_matches('"').to_owned()),
        None => text.to_owned(),
    }
}

/// The last line of a regex error says what is wrong; the lines before draw it.
fn brief(error: &regex::Error) -> String {
    let text = error.to_string();
    text.lines().last().unwrap_or("bad regular expression").trim_start_matches("error: ").to_owned()
}
