//! A strict JSON scanner that works on positions and copies nothing.
//!
//! The debugger must show where a line stops being JSON and must never rewrite what it shows, so values
//! are spans of the original bytes (RFC 8259 grammar, UTF-8 only). The scanner is iterative: nesting
//! costs heap and not stack, so that no input can overflow the stack.

use std::ops::Range;

pub use super::token::{quote, unescape};

/// A range of bytes in the scanned text.
pub type Span = Range<usize>;

/// The first error in a text that is not JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{reason} at byte {offset}")]
pub struct SyntaxError {
    /// Offset in bytes at which the error became certain.
    pub offset: usize,
    /// The kind of error.
    pub reason: SyntaxErrorKind,
}

/// The kind of a JSON syntax error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SyntaxErrorKind {
    /// The text has no value.
    #[error("empty line")]
    Empty,
    /// The text is not UTF-8.
    #[error("invalid UTF-8")]
    Utf8,
    /// A value was expected.
    #[error("expected a value")]
    Value,
    /// The key of an object's member was expected.
    #[error("expected a string key")]
    Key,
    /// The colon after a key was expected.
    #[error("expected ':'")]
    Colon,
    /// A comma or the closing bracket of an object or array was expected.
    #[error("expected ',' or a closing bracket")]
    Comma,
    /// A string contains a control character that is not escaped.
    #[error("control character in a string")]
    Control,
    /// A string contains an escape that JSON does not define.
    #[error("invalid escape in a string")]
    Escape,
    /// A number does not follow the grammar.
    #[error("invalid number")]
    Number,
    /// The text ends inside a value.
    #[error("unexpected end")]
    End,
    /// The text continues after its value.
    #[error("text after the value")]
    Trailing,
}

/// A `"key": value` pair of an object, as positions in the scanned text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// The key, with its quotes.
    pub key: Span,
    /// The value, without white space around it.
    pub value: Span,
}

/// A scanner: a position in the text that is scanned.
#[derive(Debug, Clone)]
pub struct Scanner<'a> {
    text: &'a [u8],
    at: usize,
}

/// Checks that `text` is one JSON value, and returns its span without the white space around it.
///
/// # Errors
/// The first [`SyntaxError`]; invalid UTF-8 is reported before any other.
pub fn document(text: &[u8]) -> Result<Span, SyntaxError> {
    utf8(text)?;
    let mut scanner = Scanner::new(text, 0);
    scanner.space();
    if scanner.at == text.len() {
        return Err(scanner.flaw(SyntaxErrorKind::Empty));
    }
    let value = scanner.value()?;
    scanner.finish()?;
    Ok(value)
}

/// Returns the offset after the value that `text` begins with, if it begins with one.
pub fn prefix(text: &[u8]) -> Option<usize> {
    let mut scanner = Scanner::new(text, 0);
    scanner.space();
    scanner.value().ok().map(|span| span.end)
}

/// Checks that `text` is UTF-8.
///
/// # Errors
/// A [`SyntaxError`] at the first invalid byte.
pub fn utf8(text: &[u8]) -> Result<(), SyntaxError> {
    match std::str::from_utf8(text) {
        Ok(_) => Ok(()),
        Err(error) => Err(SyntaxError { offset: error.valid_up_to(), reason: SyntaxErrorKind::Utf8 }),
    }
}

/// Returns the members of the object in `span`: none if it is not an object, and those before the first
/// error if it is malformed.
pub fn members(text: &[u8], span: Span) -> impl Iterator<Item = Member> + '_ {
    let mut scanner = Scanner::new(&text[..span.end.min(text.len())], span.start);
    let mut open = scanner.enter(b'{');
    std::iter::from_fn(move || {
        if !open {
            return None;
        }
        let member = scanner.member().ok()?;
        open = scanner.next_in(b'}').unwrap_or(false);
        Some(member)
    })
}

/// Returns the elements of the array in `span`: none if it is not an array, and those before the first
/// error if it is malformed.
pub fn elements(text: &[u8], span: Span) -> impl Iterator<Item = Span> + '_ {
    let mut scanner = Scanner::new(&text[..span.end.min(text.len())], span.start);
    let mut open = scanner.enter(b'[');
    std::iter::from_fn(move || {
        if !open {
            return None;
        }
        let element = scanner.value().ok()?;
        open = scanner.next_in(b']').unwrap_or(false);
        Some(element)
    })
}

/// Returns the value of `key` in the object in `span`. The last of duplicate keys counts, as in the
/// JavaScript and Python parsers that most peers use.
pub fn member(text: &[u8], span: Span, key: &str) -> Option<Span> {
    members(text, span).filter(|m| key_is(&text[m.key.clone()], key)).last().map(|m| m.value)
}

/// Follows a path of object keys from the value in `span`, and returns the value that it leads to.
pub fn lookup(text: &[u8], span: Span, path: &[&str]) -> Option<Span> {
    path.iter().try_fold(span, |span, key| member(text, span, key))
}

/// Returns `true` if the quoted `token` is the string `key`, with or without escapes.
pub fn key_is(token: &[u8], key: &str) -> bool {
    match token {
        [b'"', inner @ .., b'"'] if !inner.contains(&b'\\') => inner == key.as_bytes(),
        _ => unescape(token).is_some_and(|text| text == key),
    }
}

/// Returns line and column of a byte offset in `text`, both counted from 1, columns in characters.
pub fn line_column(text: &str, offset: usize) -> (usize, usize) {
    let mut end = offset.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    let before = &text[..end];
    let line = before.bytes().filter(|b| *b == b'\n').count() + 1;
    let column = before.rsplit('\n').next().map_or(0, |tail| tail.chars().count()) + 1;
    (line, column)
}

// === impl Scanner ===

impl<'a> Scanner<'a> {
    /// Creates a scanner of `text` at the offset `at`. The text should be UTF-8 (see [`utf8`]).
    pub fn new(text: &'a [u8], at: usize) -> Self {
        Self { text, at }
    }

    /// Returns the offset of the next byte to be read.
    pub fn position(&self) -> usize {
        self.at
    }

    fn flaw(&self, reason: SyntaxErrorKind) -> SyntaxError {
        let reason = if self.at >= self.text.len() && reason != SyntaxErrorKind::Empty {
            SyntaxErrorKind::End
        } else {
            reason
        };
        SyntaxError { offset: self.at.min(self.text.len()), reason }
    }

    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    /// Skips white space.
    pub fn space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    /// Skips white space, and requires the end of the text.
    ///
    /// # Errors
    /// [`SyntaxErrorKind::Trailing`] if anything else follows.
    pub fn finish(&mut self) -> Result<(), SyntaxError> {
        self.space();
        if self.at < self.text.len() {
            return Err(self.flaw(SyntaxErrorKind::Trailing));
        }
        Ok(())
    }

    /// Enters a container that opens with `open`. Returns `false` if there is none or if it is empty.
    pub fn enter(&mut self, open: u8) -> bool {
        self.space();
        if self.peek() != Some(open) {
            return false;
        }
        self.at += 1;
        self.space();
        if self.peek() == Some(open + 2) {
            self.at += 1;
            return false;
        }
        true
    }

    /// Moves on after a member or element. Returns `true` after a comma and `false` after `close`.
    ///
    /// # Errors
    /// [`SyntaxErrorKind::Comma`] if anything else follows.
    pub fn next_in(&mut self, close: u8) -> Result<bool, SyntaxError> {
        self.space();
        match self.peek() {
            Some(b',') => {
                self.at += 1;
                self.space();
                Ok(true)
            }
            Some(byte) if byte == close => {
                self.at += 1;
                Ok(false)
            }
            _ => Err(self.flaw(SyntaxErrorKind::Comma)),
        }
    }

    /// Scans a `"key": value` pair.
    ///
    /// # Errors
    /// The first [`SyntaxError`] in it.
    pub fn member(&mut self) -> Result<Member, SyntaxError> {
        let key = self.key()?;
        let value = self.value()?;
        Ok(Member { key, value })
    }

    /// Scans a key and its colon, and stops before the value.
    ///
    /// # Errors
    /// The first [`SyntaxError`] in it.
    pub fn key(&mut self) -> Result<Span, SyntaxError> {
        self.space();
        if self.peek() != Some(b'"') {
            return Err(self.flaw(SyntaxErrorKind::Key));
        }
        let start = self.at;
        self.string()?;
        let key = start..self.at;
        self.space();
        if self.peek() != Some(b':') {
            return Err(self.flaw(SyntaxErrorKind::Colon));
        }
        self.at += 1;
        self.space();
        Ok(key)
    }

    /// Scans a value of any depth, and returns its span.
    ///
    /// # Errors
    /// The first [`SyntaxError`] in it.
    pub fn value(&mut self) -> Result<Span, SyntaxError> {
        self.space();
        let start = self.at;
        // The closing brackets that are expected, innermost last.
        let mut owed: Vec<u8> = Vec::new();
        'value: loop {
            match self.peek() {
                Some(b'{') => {
                    if self.enter(b'{') {
                        owed.push(b'}');
                        self.key()?;
                        continue 'value;
                    }
                }
                Some(b'[') => {
                    if self.enter(b'[') {
                        owed.push(b']');
                        continue 'value;
                    }
                }
                Some(b'"') => self.string()?,
                Some(b'-' | b'0'..=b'9') => self.number()?,
                Some(b't') => self.literal(b"true")?,
                Some(b'f') => self.literal(b"false")?,
                Some(b'n') => self.literal(b"null")?,
                _ => return Err(self.flaw(SyntaxErrorKind::Value)),
            }
            while let Some(&close) = owed.last() {
                if self.next_in(close)? {
                    if close == b'}' {
                        self.key()?;
                    }
                    continue 'value;
                }
                owed.pop();
            }
            return Ok(start..self.at);
        }
    }

    /// Scans a value of any depth, and adds its members to `members` if it is an object.
    ///
    /// # Errors
    /// The first [`SyntaxError`] in it.
    pub fn value_noting(&mut self, members: &mut Vec<Member>) -> Result<Span, SyntaxError> {
        self.space();
        if self.peek() != Some(b'{') {
            return self.value();
        }
        let start = self.at;
        let mut open = self.enter(b'{');
        while open {
            members.push(self.member()?);
            open = self.next_in(b'}')?;
        }
        Ok(start..self.at)
    }

    fn literal(&mut self, word: &[u8]) -> Result<(), SyntaxError> {
        for &byte in word {
            if self.peek() != Some(byte) {
                return Err(self.flaw(SyntaxErrorKind::Value));
            }
            self.at += 1;
        }
        Ok(())
    }

    fn string(&mut self) -> Result<(), SyntaxError> {
        self.at += 1;
        loop {
            let rest = &self.text[self.at..];
            let plain = memchr::memchr2(b'"', b'\\', rest).unwrap_or(rest.len());
            // Without an early exit this loop is vectorized; most of the traffic is long strings.
            let controls = rest[..plain].iter().fold(false, |any, byte| any | (*byte < 0x20));
            if controls {
                self.at += rest[..plain].iter().position(|byte| *byte < 0x20).unwrap_or(0);
                return Err(self.flaw(SyntaxErrorKind::Control));
            }
            self.at += plain;
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(());
                }
                Some(_) => self.escape()?,
                None => return Err(self.flaw(SyntaxErrorKind::End)),
            }
        }
    }

    fn escape(&mut self) -> Result<(), SyntaxError> {
        self.at += 1;
        match self.peek() {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => {
                self.at += 1;
                Ok(())
            }
            Some(b'u') => {
                self.at += 1;
                for _ in 0..4 {
                    if !self.peek().is_some_and(|byte| byte.is_ascii_hexdigit()) {
                        return Err(self.flaw(SyntaxErrorKind::Escape));
                    }
                    self.at += 1;
                }
                Ok(())
            }
            _ => Err(self.flaw(SyntaxErrorKind::Escape)),
        }
    }

    fn number(&mut self) -> Result<(), SyntaxError> {
        if self.peek() == Some(b'-') {
            self.at += 1;
        }
        match self.peek() {
            Some(b'0') => self.at += 1,
            Some(b'1'..=b'9') => self.digits()?,
            _ => return Err(self.flaw(SyntaxErrorKind::Number)),
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            self.digits()?;
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            self.at += 1;
            if matches!(self.peek(), Some(b'+' | b'-')) {
                self.at += 1;
            }
            self.digits()?;
        }
        Ok(())
    }

    fn digits(&mut self) -> Result<(), SyntaxError> {
        let start = self.at;
        while matches!(self.peek(), Some(b'0'..=b'9')) {
            self.at += 1;
        }
        if self.at == start { Err(self.flaw(SyntaxErrorKind::Number)) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_value_between_white_space() {
        assert_eq!(document(b"  {\"a\":[1,2]}\r"), Ok(2..13));
    }

    #[test]
    fn names_the_first_bad_byte() {
        let flaw = |text: &str| document(text.as_bytes()).unwrap_err().to_string();
        assert_eq!(flaw("DB connected"), "expected a value at byte 0");
        assert_eq!(flaw("{\"a\":1"), "unexpected end at byte 6");
        assert_eq!(flaw("{\"a\" 1}"), "expected ':' at byte 5");
        assert_eq!(flaw("{} {}"), "text after the value at byte 3");
        assert_eq!(flaw("[01]"), "expected ',' or a closing bracket at byte 2");
        assert_eq!(flaw(" "), "empty line at byte 1");
        assert_eq!(document(b"\"\xff\"").unwrap_err().reason, SyntaxErrorKind::Utf8);
    }

    #[test]
    fn nesting_costs_no_stack() {
        let deep = "[".repeat(2_000_000) + &"]".repeat(2_000_000);
        assert_eq!(document(deep.as_bytes()), Ok(0..4_000_000));
    }

    #[test]
    fn the_last_duplicate_wins_and_escaped_keys_are_found() {
        let text = br#"{"a":1,"\u0061":2}"#;
        assert_eq!(member(text, 0..text.len(), "a").map(|s| &text[s]), Some(&b"2"[..]));
    }

    #[test]
    fn counts_lines_and_columns_in_characters() {
        assert_eq!(line_column("a\nbö\"x", 5), (2, 3));
    }
}
