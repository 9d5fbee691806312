//! JSON string tokens and the texts that they stand for.

use std::borrow::Cow;

/// Returns the text of a quoted string token, or `None` if `token` is not a string. A lone surrogate,
/// which JSON can spell and Rust strings cannot contain, becomes U+FFFD.
pub fn unescape(token: &[u8]) -> Option<Cow<'_, str>> {
    let [b'"', inner @ .., b'"'] = token else { return None };
    let inner = std::str::from_utf8(inner).ok()?;
    if !inner.contains('\\') {
        return Some(Cow::Borrowed(inner));
    }
    let mut text = String::with_capacity(inner.len());
    let mut rest = inner;
    while let Some(at) = rest.find('\\') {
        text.push_str(&rest[..at]);
        let escape = rest.as_bytes().get(at + 1).copied()?;
        let mut used = 2;
        match escape {
            b'n' => text.push('\n'),
            b't' => text.push('\t'),
            b'r' => text.push('\r'),
            b'b' => text.push('\u{8}'),
            b'f' => text.push('\u{c}'),
            b'u' => {
                let (character, length) = unicode(&rest[at..])?;
                text.push(character);
                used = length;
            }
            other if other.is_ascii() => text.push(char::from(other)),
            _ => return None,
        }
        rest = &rest[at + used..];
    }
    text.push_str(rest);
    Some(Cow::Owned(text))
}

/// Decodes `\uXXXX`, or a surrogate pair of two such escapes, at the start of `text`. Returns the
/// character and the length of the escapes in bytes.
fn unicode(text: &str) -> Option<(char, usize)> {
    let unit = |at: usize| {
        text.get(at..at + 2).filter(|prefix| *prefix == "\\u")?;
        u32::from_str_radix(text.get(at + 2..at + 6)?, 16).ok()
    };
    let high = unit(0)?;
    if (0xD800..0xDC00).contains(&high)
        && let Some(low @ 0xDC00..0xE000) = unit(6)
    {
        let code = 0x10000 + ((high - 0xD800) << 10) + (low - 0xDC00);
        return Some((char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER), 12));
    }
    Some((char::from_u32(high).unwrap_or(char::REPLACEMENT_CHARACTER), 6))
}

/// Quotes `text` as a JSON string token.
pub fn quote(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unescapes_pairs_and_marks_lone_surrogates() {
        assert_eq!(unescape(br#""\ud83d\ude00""#).as_deref(), Some("😀"));
        assert_eq!(unescape(br#""x\ud800y""#).as_deref(), Some("x\u{fffd}y"));
        assert_eq!(unescape(br"12"), None);
    }
}
