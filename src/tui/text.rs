//! Text of peers, made safe and short for the screen.

use std::time::Duration;

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use crate::mcp::layout;

/// Replaces characters that could move the cursor, or hide or reorder text: control characters and
/// bidirectional controls. Text of a server is never trusted to be harmless to a terminal.
pub fn clean(text: &str) -> String {
    text.chars()
        .map(|c| match c {
            '\t' => ' ',
            c if layout::is_harmful(c) => char::REPLACEMENT_CHARACTER,
            c => c,
        })
        .collect()
}

/// Cuts `text` to `width` columns, with `ellipsis` where something is missing.
pub fn fit(text: &str, width: usize, ellipsis: char) -> String {
    if text.width() <= width {
        return text.to_owned();
    }
    let mut out = String::new();
    let mut used = 0;
    for c in text.chars() {
        let wide = c.width().unwrap_or(0);
        if used + wide + 1 > width {
            break;
        }
        used += wide;
        out.push(c);
    }
    if width > 0 {
        out.push(ellipsis);
    }
    out
}

/// Cuts or pads `text` to exactly `width` columns.
pub fn pad(text: &str, width: usize, ellipsis: char) -> String {
    let mut out = fit(text, width, ellipsis);
    let missing = width.saturating_sub(out.width());
    out.extend(std::iter::repeat_n(' ', missing));
    out
}

/// Formats a duration in about five columns: `84ms`, `1.2s`, `3m04`.
pub fn duration(duration: Duration) -> String {
    let micros = duration.as_micros();
    match micros {
        0..1_000 => format!("{micros}us"),
        1_000..10_000 => format!("{:.1}ms", duration.as_secs_f64() * 1e3),
        10_000..1_000_000 => format!("{}ms", duration.as_millis()),
        1_000_000..60_000_000 => format!("{:.1}s", duration.as_secs_f64()),
        _ => format!("{}m{:02}", duration.as_secs() / 60, duration.as_secs() % 60),
    }
}

/// Formats a count in about four columns: `212`, `18k`, `1.2M`.
pub fn count(count: u64) -> String {
    match count {
        0..1_000 => count.to_string(),
        1_000..10_000 => format!("{:.1}k", count as f64 / 1e3),
        10_000..1_000_000 => format!("{}k", count / 1_000),
        1_000_000..10_000_000 => format!("{:.1}M", count as f64 / 1e6),
        _ => format!("{}M", count / 1_000_000),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_text_is_defused() {
        assert_eq!(clean("a\x1b[2Jb\u{202e}c\u{200b}"), "a\u{fffd}[2Jb\u{fffd}c\u{fffd}");
    }

    #[test]
    fn wide_characters_count_twice() {
        assert_eq!(pad("日本語", 5, '…'), "日本…");
        assert_eq!(pad("ab", 4, '…'), "ab  ");
        assert_eq!(fit("abc", 0, '…'), "");
    }
}
