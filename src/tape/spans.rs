//! Walking JSON text without building values: where members and scalars stand. It is iterative,
//! so no depth of nesting can end the program.

use std::borrow::Cow;
use std::ops::Range;

use crate::mcp::json;

/// Something met on the way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    Member(Member),
    /// A string or another value without parts, and the JSONPath of what it is in.
    Scalar {
        token: Range<usize>,
        place: String,
        is_key: bool,
    },
}

/// A member of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// The token of its key.
    pub key: Range<usize>,
    /// Its whole value.
    pub value: Range<usize>,
    /// Its JSONPath; which element of an array it is in is left out.
    pub place: String,
    /// Where its object begins.
    pub object: usize,
    /// The key of the member that its object is the value of; empty if it is none of any.
    pub parent: String,
}

/// A container that is open.
enum Open {
    Object { key: String, at: usize },
    Array,
}

/// Every member and scalar of a valid JSON text, outer ones first.
pub fn walk(text: &[u8]) -> Vec<Step> {
    let mut steps = Vec::new();
    let mut open: Vec<Open> = Vec::new();
    let mut members: Vec<usize> = Vec::new();
    let mut ends: Vec<(usize, usize)> = Vec::new();
    let mut at = 0;
    // Members whose value begins next.
    let mut begun: Option<usize> = None;
    while at < text.len() {
        let byte = text[at];
        if !matches!(byte, b' ' | b'\t' | b'\n' | b'\r' | b',' | b':' | b'}' | b']')
            && let Some(member) = begun.take()
        {
            match byte {
                b'{' | b'[' => members.push(member),
                _ => ends.push((member, scalar_end(text, at))),
            }
            if let Step::Member(member) = &mut steps[member] {
                member.value.start = at;
            }
        } else if matches!(byte, b'{' | b'[') {
            members.push(usize::MAX);
        }
        match byte {
            b'{' => open.push(Open::Object { key: String::new(), at }),
            b'[' => open.push(Open::Array),
            b'}' | b']' => {
                open.pop();
                if let Some(member) = members.pop().filter(|member| *member != usize::MAX) {
                    ends.push((member, at + 1));
                }
            }
            b'"' => {
                let end = string_end(text, at);
                let is_key = next_sign(text, end) == Some(b':');
                if is_key {
                    let name = json::unescape(&text[at..end]).map(Cow::into_owned).unwrap_or_default();
                    let mut object = 0;
                    if let Some(Open::Object { key, at }) = open.last_mut() {
                        *key = name;
                        object = *at;
                    }
                    let parent = match open.len().checked_sub(2).and_then(|above| open.get(above)) {
                        Some(Open::Object { key, .. }) => key.clone(),
                        _ => String::new(),
                    };
                    let place = path_of(&open);
                    steps.push(Step::Scalar { token: at..end, place: place.clone(), is_key });
                    begun = Some(steps.len());
                    steps.push(Step::Member(Member { key: at..end, value: end..end, place, object, parent }));
                } else {
                    steps.push(Step::Scalar { token: at..end, place: path_of(&open), is_key });
                }
                at = end;
                continue;
            }
            b'-' | b'0'..=b'9' | b't' | b'f' | b'n' => {
                let end = scalar_end(text, at);
                steps.push(Step::Scalar { token: at..end, place: path_of(&open), is_key: false });
                at = end;
                continue;
            }
            _ => {}
        }
        at += 1;
    }
    for (member, end) in ends {
        if let Step::Member(member) = &mut steps[member] {
            member.value.end = end;
        }
    }
    steps
}

/// The deepest path that is spelled out.
const SPELLED: usize = 16;

fn path_of(open: &[Open]) -> String {
    let mut place = String::from("$");
    for open in open.iter().take(SPELLED) {
        match open {
            Open::Object { key, .. } => {
                place.push('.');
                place.push_str(key);
            }
            // Which element is of no interest, and would be a place of its own each.
            Open::Array => place.push_str("[*]"),
        }
    }
    place
}

/// Where the string that begins at `at` ends, its quote included.
fn string_end(text: &[u8], at: usize) -> usize {
    let mut end = at + 1;
    while end < text.len() {
        match text[end] {
            b'\\' => end += 2,
            b'"' => return end + 1,
            _ => end += 1,
        }
    }
    text.len()
}

fn scalar_end(text: &[u8], at: usize) -> usize {
    if text[at] == b'"' {
        return string_end(text, at);
    }
    let ends = |byte: &u8| matches!(byte, b',' | b'}' | b']' | b' ' | b'\t' | b'\n' | b'\r');
    text[at..].iter().position(ends).map_or(text.len(), |length| at + length)
}

fn next_sign(text: &[u8], at: usize) -> Option<u8> {
    text[at..].iter().copied().find(|byte| !matches!(byte, b' ' | b'\t' | b'\n' | b'\r'))
}

/// Where the values stand that a JSON pointer (RFC 6901) reaches from the value at `span`: several
/// where keys are there twice.
pub fn at_pointer(text: &[u8], span: Range<usize>, pointer: &str) -> Vec<Range<usize>> {
    let mut spans = vec![span];
    for word in pointer.split('/').skip(1) {
        let word = word.replace("~1", "/").replace("~0", "~");
        spans = spans.into_iter().flat_map(|span| step_down(text, span, &word)).collect();
    }
    spans
}

fn step_down(text: &[u8], span: Range<usize>, word: &str) -> Vec<Range<usize>> {
    match text.get(span.start) {
        Some(b'{') => json::members(text, span)
            .filter(|member| json::key_is(&text[member.key.clone()], word))
            .map(|member| member.value)
            .collect(),
        Some(b'[') => {
            word.parse().ok().and_then(|at| json::elements(text, span).nth(at)).into_iter().collect()
        }
        _ => Vec::new(),
    }
}

/// The text with these edits; of overlapping ones the outermost counts.
pub fn splice(text: &str, mut edits: Vec<(Range<usize>, String)>) -> Cow<'_, str> {
    if edits.is_empty() {
        return Cow::Borrowed(text);
    }
    edits.sort_by_key(|(span, _)| (span.start, std::cmp::Reverse(span.end)));
    let (mut out, mut at) = (String::with_capacity(text.len()), 0);
    for (span, instead) in edits {
        if span.start < at {
            continue;
        }
        out.push_str(&text[at..span.start]);
        out.push_str(&instead);
        at = span.end;
    }
    out.push_str(&text[at..]);
    Cow::Owned(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_and_strings_are_met_where_they_stand() {
        let text = r#"{"a": {"b" : [1, "x\"y", {"c":null}]}, "d":"e"}"#;
        let spell = |step: &Step| match step {
            Step::Member(Member { value, place, parent, .. }) => {
                format!("{place}({parent})={}", &text[value.clone()])
            }
            Step::Scalar { token, .. } => text[token.clone()].to_owned(),
        };
        let steps: Vec<String> = walk(text.as_bytes()).iter().map(spell).collect();
        assert_eq!(
            steps,
            [
                "\"a\"",
                r#"$.a()={"b" : [1, "x\"y", {"c":null}]}"#,
                "\"b\"",
                r#"$.a.b(a)=[1, "x\"y", {"c":null}]"#,
                "1",
                r#""x\"y""#,
                "\"c\"",
                "$.a.b[*].c()=null",
                "null",
                "\"d\"",
                "$.d()=\"e\"",
                "\"e\"",
            ]
        );
        let reached = at_pointer(text.as_bytes(), 0..text.len(), "/a/b/1");
        assert_eq!(reached.into_iter().map(|span| &text[span]).collect::<Vec<_>>(), [r#""x\"y""#]);
        assert!(walk("[".repeat(2_000_000).as_bytes()).is_empty(), "no depth ends it");
    }

    #[test]
    fn the_outermost_edit_counts() {
        let edits = vec![(4..6, "x".to_owned()), (0..3, "abc".to_owned()), (3..8, "[]".to_owned())];
        assert_eq!(splice("0123456789", edits), "abc[]89");
    }
}
