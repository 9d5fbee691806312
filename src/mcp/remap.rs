//! Other ids in a message: only their spans are rewritten, and their JSON type stays
//! (2026-07-28, patterns/subscriptions).

use bytes::Bytes;

use super::{Id, json};

/// An id from its JSON.
pub fn token(json: &[u8]) -> Id {
    Id::new(&String::from_utf8_lossy(json))
}

/// Replaces the values at these paths, where there are any.
pub fn replace(body: &[u8], edits: &[(&[&str], Option<&Id>)]) -> Bytes {
    let whole = 0..body.len();
    let mut spans: Vec<_> = edits
        .iter()
        .filter_map(|(path, id)| Some((json::lookup(body, whole.clone(), path)?, (*id)?.token())))
        .collect();
    spans.sort_by_key(|(span, _)| std::cmp::Reverse(span.start));
    let mut out = body.to_vec();
    for (span, token) in spans {
        out.splice(span, token.bytes());
    }
    out.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_spans_of_ids_change() {
        let body = br#"{ "id" : "a","params":{"_meta":{"progressToken":1.0},"x":1e400}}"#;
        let (id, progress) = (Id::text("sc-1"), Id::new("7"));
        let edits: [(&[&str], Option<&Id>); 2] =
            [(&["id"], Some(&id)), (&["params", "_meta", "progressToken"], Some(&progress))];
        let expected = r#"{ "id" : "sc-1","params":{"_meta":{"progressToken":7},"x":1e400}}"#;
        assert_eq!(replace(body, &edits), expected);
    }
}
