//! One page with everything in it: the timeline, search, JSON that folds, and a scrubber that
//! plays. It asks nothing of the network.

use std::io::{self, Write};

use serde_json::json;

use super::Source;

/// The page around the frames.
const PAGE: &str = include_str!("page.html");
/// Where the data goes.
const HOLE: &str = "\"@DATA@\"";

pub fn write(source: &Source<'_>, out: &mut dyn Write) -> io::Result<()> {
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

/// JSON that stays data inside of a script element: nothing in it can end the element, and the
/// line separators of Unicode are no line breaks to older readers of JavaScript.
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
