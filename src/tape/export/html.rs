//! A self-contained page: the timeline, a search, collapsible JSON, and a scrubber that plays. The
//! page makes no network requests.

use std::io::{self, Write};

use serde_json::json;

use super::ExportSource;

/// HTML of the page around the data.
const PAGE: &str = include_str!("page.html");
/// Placeholder for the data in the page.
const HOLE: &str = "\"@DATA@\"";

/// Writes the page.
///
/// # Errors
/// Returns an error if `out` cannot be written.
pub fn write(source: &ExportSource<'_>, out: &mut dyn Write) -> io::Result<()> {
    let (before, after) = PAGE.split_once(HOLE).unwrap_or((PAGE, ""));
    out.write_all(before.as_bytes())?;
    let head = json!({
        "name": source.header.name,
        "target": source.header.target,
        "by": source.header.by,
        "started": crate::clock::iso(source.header.anchor),
    });
    write!(out, "{{\"head\":{},\"frames\":[", inert(&head.to_string()))?;
    let mut first = true;
    for (row, record) in source.each() {
        let Some(frame) = record.frame() else { continue };
        if !std::mem::take(&mut first) {
            out.write_all(b",\n")?;
        }
        out.write_all(inert(&source.object(row, frame)).as_bytes())?;
    }
    out.write_all(b"]}")?;
    out.write_all(after.as_bytes())
}

/// Escapes JSON for a script element: nothing in it can end the element, and older JavaScript
/// engines see no line break in the line separators of Unicode.
fn inert(json: &str) -> String {
    json.replace('<', "\\u003c")
        .replace('>', "\\u003e")
        .replace('\u{2028}', "\\u2028")
        .replace('\u{2029}', "\\u2029")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_has_one_hole_and_asks_nothing_of_the_network() {
        assert_eq!(PAGE.matches(HOLE).count(), 1);
        for outside in ["http://", "https://", "src=", "@import", "url("] {
            assert!(!PAGE.contains(outside), "{outside}");
        }
        assert_eq!(inert("\"</script>\""), "\"\\u003c/script\\u003e\"");
    }
}
