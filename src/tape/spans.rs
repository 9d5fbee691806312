//! Iterative walk over JSON text that reports the byte spans of members and scalars without
//! building values. There is no recursion, so deep nesting cannot overflow the stack.

use std::borrow::Cow;
use std::ops::Range;

use crate::mcp::json;

/// An element of a JSON text, as [`walk`] finds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Element {
    /// A member of an object.
    Member(MemberSpan),
    /// A string, number or literal, as a key or as a value.
    Scalar {
        /// Span of the scalar as it is spelled, including any quotes.
        token: Range<usize>,
        /// JSONPath of the value, with `[*]` for any array element; for a key, that of its member.
        place: String,
        /// `true` if the scalar is the key of a member.
        is_key: bool,
    },
}

/// A member of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberSpan {
    /// Span of the key, including its quotes.
    pub key: Range<usize>,
    /// Span of the whole value.
    pub value: Range<usize>,
    /// JSONPath of the member, with `[*]` for any array element.
    pub place: String,
    /// Offset at which the object of the member begins.
    pub object: usize,
    /// Key of the member whose value is that object; empty if the object is not the value of a
    /// member.
    pub parent: String,
}

/// A container whose end has not been reached.
enum Open {
    Object { key: String, at: usize },
    Array,
}

/// Returns every member and scalar of a valid JSON text, outer ones first.
pub fn walk(text: &[u8]) -> Vec<Element> {
    let mut steps = Vec::new();
    let mut open: Vec<Open> = Vec::new();
    let mut members: Vec<usize> = Vec::new();
    let mut ends: Vec<(usize, usize)> = Vec::new();
    let mut at = 0;
    // Index of the member whose value begins next.
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
            if let Element::Member(member) = &mut steps[member] {
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
                    steps.push(Element::Scalar { token: at..end, place: place.clone(), is_key });
                    begun = Some(steps.len());
                    steps.push(Element::Member(MemberSpan {
                        key: at..end,
                        value: end..end,
                        place,
                        object,
                        parent,
                    }));
                } else {
                    steps.push(Element::Scalar { token: at..end, place: path_of(&open), is_key });
                }
                at = end;
                continue;
            }
            b'-' | b'0'..=b'9' | b't' | b'f' | b'n' => {
                let end = scalar_end(text, at);
                steps.push(Element::Scalar { token: at..end, place: path_of(&open), is_key: false });
                at = end;
                continue;
            }
            _ => {}
        }
        at += 1;
    }
    for (member, end) in ends {
        if let Element::Member(member) = &mut steps[member] {
            member.value.end = end;
        }
    }
    steps
}

/// Maximum depth that a path spells out.
const SPELLED: usize = 16;

fn path_of(open: &[Open]) -> String {
    let mut place = String::from("$");
    for open in open.iter().take(SPELLED) {
        match open {
            Open::Object { key, .. } => {
                place.push('.');
                place.push_str(key);
            }
            // The index of the element is left out: otherwise each element would be a place of its
            // own.
            Open::Array => place.push_str("[*]"),
        }
    }
    place
}

/// Returns the end of the string that begins at `at`, including its closing quote.
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

/// Returns the spans of the values that a JSON pointer (RFC 6901) selects in the value at `span`:
/// several if an object repeats a key.
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

/// Applies `edits` to `text`. Of overlapping edits, only the outermost is applied.
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
        let spell = |step: &Element| match step {
            Element::Member(MemberSpan { value, place, parent, .. }) => {
                format!("{place}({parent})={}", &text[value.clone()])
            }
            Element::Scalar { token, .. } => text[token.clone()].to_owned(),
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
