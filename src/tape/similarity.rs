//! Comparison of JSON values: their differences, and which of these are volatile (different in
//! every run).

use std::borrow::Cow;
use std::sync::LazyLock;

use crate::mcp::decimal::Decimal;
use crate::mcp::json_path::{JsonPath, JsonPathError};
use regex::Regex;
use serde_json::Value;

/// A place where two values differ.
#[derive(Debug, Clone, PartialEq)]
pub struct Difference {
    /// JSONPath of the place.
    pub path: String,
    /// First value; `None` if there is none.
    pub was: Option<Value>,
    /// Second value; `None` if there is none.
    pub is: Option<Value>,
    /// Reason why the difference is volatile (a time, an id of the run), if it is.
    pub volatile: Option<&'static str>,
}

/// JSONPaths of values that are not compared.
#[derive(Debug, Clone, Default)]
pub struct Ignored(Vec<JsonPath>);

/// Error: a text is not a JSONPath (RFC 9535).
#[derive(Debug, thiserror::Error)]
#[error("{text:?} is not a JSONPath (RFC 9535): {source}")]
pub struct PathError {
    text: String,
    source: JsonPathError,
}

impl Ignored {
    /// Parses JSONPaths.
    ///
    /// # Errors
    /// Returns an error if a text is not a JSONPath.
    pub fn parse<'a>(paths: impl IntoIterator<Item = &'a String>) -> Result<Self, PathError> {
        let path =
            |text: &String| JsonPath::parse(text).map_err(|source| PathError { text: text.clone(), source });
        Ok(Self(paths.into_iter().map(path).collect::<Result<_, _>>()?))
    }

    /// Returns `true` if nothing is ignored.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Replaces the values that these paths select in `value` by `null`.
    pub fn blank(&self, value: &mut Value) {
        for path in &self.0 {
            // A path that is too expensive for this value ignores nothing: a difference that is shown
            // is better than one that is hidden.
            for pointer in path.pointers(value).unwrap_or_default() {
                if let Some(place) = value.pointer_mut(&pointer) {
                    *place = Value::Null;
                }
            }
        }
    }
}

/// Patterns of text that differs in every run, with their names.
static VOLATILE: LazyLock<Vec<(Regex, &'static str)>> = LazyLock::new(|| {
    let patterns = [
        (r"\d{4}-\d{2}-\d{2}[T ]\d{2}:\d{2}(:\d{2}([.,]\d+)?)?( ?(Z|[+-]\d{2}:?\d{2}))?", "time"),
        (r"(?i)\b(mon|tue|wed|thu|fri|sat|sun)[a-z]*,? \w+ \w+ \d{2}:\d{2}:\d{2}[^\n<]{0,24}\d{4}", "time"),
        (r"\b\d{1,2}:\d{2}:\d{2}(\.\d+)?( ?[AaPp][Mm])?\b", "time"),
        (r"(?i)\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b", "uuid"),
        (r"\b1[5-9]\d{8}(\d{3}){0,3}(\.\d+)?\b", "epoch"),
    ];
    patterns.into_iter().filter_map(|(pattern, kind)| Some((Regex::new(pattern).ok()?, kind))).collect()
});

/// Replaces the parts of a text that differ in every run by their names.
pub fn canonical(text: &str) -> Cow<'_, str> {
    let mut text = Cow::Borrowed(text);
    for (pattern, kind) in VOLATILE.iter() {
        if pattern.is_match(&text) {
            text = Cow::Owned(pattern.replace_all(&text, format!("⟨{kind}⟩")).into_owned());
        }
    }
    text
}

/// Returns the reason why the difference between two values is volatile, if it is.
fn volatile(was: &Value, is: &Value) -> Option<&'static str> {
    match (was, is) {
        (Value::String(was), Value::String(is)) => {
            let canonical_was = canonical(was);
            if canonical_was != canonical(is) {
                return None;
            }
            let kinds = VOLATILE.iter().find(|(pattern, _)| pattern.is_match(was));
            kinds.map(|(_, kind)| *kind)
        }
        (Value::Number(was), Value::Number(is)) => {
            let epoch = |number: &serde_json::Number| {
                VOLATILE.iter().any(|(pattern, kind)| {
                    let text = number.to_string();
                    *kind == "epoch" && pattern.find(&text).is_some_and(|found| found.len() == text.len())
                })
            };
            (epoch(was) && epoch(is)).then_some("epoch")
        }
        _ => None,
    }
}

/// Returns all places in which `is` differs from `was`.
pub fn differences(was: &Value, is: &Value) -> Vec<Difference> {
    let mut found = Vec::new();
    compare("$", was, is, &mut found);
    found
}

fn compare(path: &str, was: &Value, is: &Value, found: &mut Vec<Difference>) {
    if was == is {
        return;
    }
    let one = |path: String, was: Option<&Value>, is: Option<&Value>| Difference {
        path,
        was: was.cloned(),
        is: is.cloned(),
        volatile: None,
    };
    match (was, is) {
        (Value::Object(a), Value::Object(b)) => {
            for (key, was) in a {
                match b.get(key) {
                    Some(is) => compare(&member(path, key), was, is, found),
                    None => found.push(one(member(path, key), Some(was), None)),
                }
            }
            let new = b.iter().filter(|(key, _)| !a.contains_key(*key));
            found.extend(new.map(|(key, is)| one(member(path, key), None, Some(is))));
        }
        (Value::Array(a), Value::Array(b)) => {
            for (at, (was, is)) in a.iter().zip(b).enumerate() {
                compare(&format!("{path}[{at}]"), was, is, found);
            }
            let missing = a.iter().enumerate().skip(b.len());
            found.extend(missing.map(|(at, was)| one(format!("{path}[{at}]"), Some(was), None)));
            let new = b.iter().enumerate().skip(a.len());
            found.extend(new.map(|(at, is)| one(format!("{path}[{at}]"), None, Some(is))));
        }
        // 1 and 1.0 are the same number in JSON. Doubles would round large integers.
        (Value::Number(a), Value::Number(b)) if decimal(a).is_some_and(|a| Some(a) == decimal(b)) => {}
        _ => found
            .push(Difference { volatile: volatile(was, is), ..one(path.to_owned(), Some(was), Some(is)) }),
    }
}

fn decimal(number: &serde_json::Number) -> Option<Decimal> {
    Decimal::parse(&number.to_string())
}

fn member(path: &str, key: &str) -> String {
    let plain = key.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    match plain && !key.is_empty() && !key.as_bytes()[0].is_ascii_digit() {
        true => format!("{path}.{key}"),
        false => format!("{path}[{}]", Value::from(key)),
    }
}

/// Returns the similarity of two values, from 0 to 1: the share of their leaves that is the same.
pub fn score(a: &Value, b: &Value) -> f64 {
    let all = leaves(a) + leaves(b);
    if all == 0 {
        return 1.0;
    }
    let lost: usize = differences(a, b)
        .iter()
        .filter(|difference| difference.volatile.is_none())
        .map(|difference| {
            let count = |value: &Option<Value>| value.as_ref().map_or(0, |value| leaves(value).max(1));
            count(&difference.was) + count(&difference.is)
        })
        .sum();
    1.0 - lost.min(all) as f64 / all as f64
}

fn leaves(value: &Value) -> usize {
    match value {
        Value::Object(members) => members.values().map(|value| leaves(value).max(1)).sum(),
        Value::Array(elements) => elements.iter().map(|value| leaves(value).max(1)).sum(),
        _ => 1,
    }
}

/// Returns a short form of a value, for one line.
pub fn brief(value: Option<&Value>) -> String {
    const MAX_CHARS: usize = 60;
    let Some(value) = value else { return "nothing".to_owned() };
    let text = value.to_string();
    match text.chars().count() > MAX_CHARS {
        true => text.chars().take(MAX_CHARS).chain(['…']).collect(),
        false => text,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn differences_are_named_by_their_paths() {
        let was = json!({"a": 1, "b": [1, {"c d": "x"}], "gone": true, "n": 1});
        let is = json!({"b": [1, {"c d": "y"}, 3], "a": 1.0, "n": 2, "new": null});
        let found: Vec<String> =
            differences(&was, &is).into_iter().map(|difference| difference.path).collect();
        assert_eq!(found, [r#"$.b[1]["c d"]"#, "$.b[2]", "$.gone", "$.n", "$.new"]);
        assert!(differences(&was, &was).is_empty());
    }

    #[test]
    fn what_differs_every_time_is_told_apart() {
        let volatile = |was: Value, is: Value| differences(&was, &is)[0].volatile;
        assert_eq!(
            volatile("at 2026-11-22T10:00:00Z ok".into(), "at 2026-11-23T01:02:03.5Z ok".into()),
            Some("time")
        );
        assert_eq!(volatile("at 2026-11-22T10:00:00Z ok".into(), "at 2026-11-23T01:02:03Z no".into()), None);
        let uuid =
            |digit: char| Value::from(format!("{}-aaaa-4aaa-8aaa-aaaaaaaaaaaa", digit.to_string().repeat(8)));
        assert_eq!(volatile(uuid('1'), uuid('2')), Some("uuid"));
        assert_eq!(volatile(1_763_800_000_123_u64.into(), 1_763_900_000_456_u64.into()), Some("epoch"));
        assert_eq!(volatile(41.into(), 42.into()), None);
    }

    #[test]
    fn the_likest_scores_highest() {
        let asked = json!({"query": "rust", "limit": 10, "lang": "en"});
        let near = json!({"query": "rust", "limit": 20, "lang": "en"});
        let far = json!({"path": "/tmp"});
        assert!(score(&asked, &asked) == 1.0 && score(&asked, &near) > 0.5 && score(&asked, &far) < 0.1);
    }

    #[test]
    fn ignored_paths_are_blanked() {
        let ignored = Ignored::parse(&["$.a[*].t".to_owned()]).unwrap();
        let mut value = json!({"a": [{"t": 1, "k": 2}, {"t": 3}]});
        ignored.blank(&mut value);
        assert_eq!(value, json!({"a": [{"t": null, "k": 2}, {"t": null}]}));
        assert!(Ignored::parse(&["a[".to_owned()]).is_err());
    }
}
