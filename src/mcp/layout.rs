//! Layout of JSON for people and for the wire without changing a token: numbers, escapes and the order
//! of keys stay as they were spelled.

use bytes::Bytes;

/// Returns `true` for a character that could command a terminal, or reverse, hide or break the line
/// that shows it (Unicode Standard Annex 9).
pub fn is_harmful(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

/// Indents JSON by two spaces a level. Text that is not JSON is laid out by its brackets and quotes as
/// far as possible.
pub fn pretty(text: &str) -> String {
    let mut out = String::with_capacity(text.len() * 2);
    let mut depth = 0_usize;
    let mut bytes = text.char_indices().peekable();
    let indent = |out: &mut String, depth: usize| {
        out.push('\n');
        // Deeper levels are not indented further: a hostile message would grow with its square.
        const DEEPEST: usize = 64;
        out.extend(std::iter::repeat_n("  ", depth.min(DEEPEST)));
    };
    while let Some((at, character)) = bytes.next() {
        match character {
            '"' => {
                let end = string_end(text, at);
                out.push_str(&text[at..end]);
                while bytes.peek().is_some_and(|(next, _)| *next < end) {
                    bytes.next();
                }
            }
            '{' | '[' => {
                let close = if character == '{' { '}' } else { ']' };
                out.push(character);
                while bytes.peek().is_some_and(|(_, next)| next.is_ascii_whitespace()) {
                    bytes.next();
                }
                if bytes.peek().is_some_and(|(_, next)| *next == close) {
                    bytes.next();
                    out.push(close);
                } else {
                    depth += 1;
                    indent(&mut out, depth);
                }
            }
            '}' | ']' => {
                depth = depth.saturating_sub(1);
                indent(&mut out, depth);
                out.push(character);
            }
            ',' => {
                out.push(',');
                indent(&mut out, depth);
            }
            ':' => out.push_str(": "),
            space if space.is_ascii_whitespace() => {}
            other => out.push(other),
        }
    }
    out
}

/// Returns a body as a line of a stdio transport with its terminator: line breaks inside are removed.
pub fn as_line(body: &[u8]) -> Bytes {
    let mut line = Vec::with_capacity(body.len() + 1);
    match memchr::memchr2(b'\n', b'\r', body) {
        Some(_) => line.extend_from_slice(one_line(&String::from_utf8_lossy(body)).as_bytes()),
        None => line.extend_from_slice(body),
    }
    line.push(b'\n');
    line.into()
}

/// Returns JSON as one line without white space between tokens. Text that is not JSON keeps its white
/// space, except that line breaks become spaces: a line of a stdio transport must not contain any.
pub fn one_line(text: &str) -> String {
    if super::json::document(text.as_bytes()).is_err() {
        return text.trim_end_matches(['\n', '\r']).replace(['\n', '\r'], " ");
    }
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    while let Some(character) = text[at..].chars().next() {
        let end = if character == '"' { string_end(text, at) } else { at + character.len_utf8() };
        if !character.is_ascii_whitespace() {
            out.push_str(&text[at..end]);
        }
        at = end;
    }
    out
}

/// Returns the offset after the string that opens at `start`.
fn string_end(text: &str, start: usize) -> usize {
    let bytes = text.as_bytes();
    let mut at = start + 1;
    while let Some(next) = memchr::memchr2(b'"', b'\\', &bytes[at.min(bytes.len())..]) {
        at += next;
        if bytes[at] == b'"' {
            return at + 1;
        }
        at += 2;
        if at >= bytes.len() {
            break;
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_every_token() {
        let text = r#"{"a":1.0,"b":["x, {y}\"",{}],"a":1e400,"c":[]}"#;
        let laid_out = pretty(text);
        assert_eq!(
            laid_out,
            "{\n  \"a\": 1.0,\n  \"b\": [\n    \"x, {y}\\\"\",\n    {}\n  ],\n  \"a\": 1e400,\n  \"c\": []\n}"
        );
        assert_eq!(one_line(&laid_out), text);
    }

    #[test]
    fn broken_text_survives() {
        assert_eq!(one_line("{\"a\":\n  oops}"), "{\"a\":   oops}");
        assert_eq!(one_line("\"open\n"), "\"open");
        pretty("\"\\");
        pretty("]]}{\"ä");
    }
}
