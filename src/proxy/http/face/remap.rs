//! Ids of many clients on one server.

use std::collections::HashSet;

use crate::mcp::remap::token;
use crate::mcp::{Id, Message, Quirks, json};

pub fn number(json: &[u8]) -> Option<i64> {
    std::str::from_utf8(json).ok()?.parse().ok()
}

/// An id of ours of the same JSON type as `id`.
pub fn alike(id: &Id, number: u64) -> Id {
    match id.token().starts_with('"') {
        true => Id::text(&format!("sc-{number}")),
        false => Id::new(&number.to_string()),
    }
}

/// Whether parsers can read a request in two ways where it matters: a key is there twice, and one of
/// them could be another client's id, or another tool than was checked.
pub fn is_ambiguous(request: &Message) -> bool {
    if request.quirks().has(Quirks::DUPLICATE_KEY) {
        return true;
    }
    let (raw, Some(params)) = (request.raw(), request.params()) else { return false };
    let at = |path: &[&str]| json::lookup(raw, params.clone(), path);
    [Some(params.clone()), at(&["_meta"]), at(&["arguments"])].into_iter().flatten().any(|object| {
        let mut seen = HashSet::new();
        json::members(raw, object).any(|member| {
            let key = json::unescape(&raw[member.key]).map(|key| key.into_owned());
            !seen.insert(key)
        })
    })
}

/// The id of a message of which only the beginning and the end are known.
pub fn id_of_long(beginning: &[u8], end: &[u8]) -> Option<Id> {
    let whole: Vec<json::Member> = json::members(beginning, 0..beginning.len()).collect();
    let named = |name: &str| whole.iter().find(|member| json::key_is(&beginning[member.key.clone()], name));
    // What the server asks has ids of its own.
    if named("method").is_some() {
        return None;
    }
    if let Some(member) = named("id") {
        return Some(token(&beginning[member.value.clone()]));
    }
    // At the end: members of the whole message are those that one brace closes.
    memchr::memmem::find_iter(end, b"\"id\"").find_map(|at| {
        let whole = [b"{", end[at..].trim_ascii_end()].concat();
        json::document(&whole).ok()?;
        let of = |name: &str| json::member(&whole, 0..whole.len(), name);
        of("id").filter(|_| of("method").is_none()).map(|span| token(&whole[span]))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(text: &str) -> Message {
        Message::parse(text.to_owned().into())
    }

    #[test]
    fn what_can_be_read_in_two_ways_is_found() {
        let request =
            |params: &str| message(&format!(r#"{{"jsonrpc":"2.0","id":1,"method":"m","params":{params}}}"#));
        for fine in ["{}", r#"{"name":"a","arguments":{"a":1,"b":{"a":1}},"_meta":{"x":1}}"#] {
            assert!(!is_ambiguous(&request(fine)), "{fine}");
        }
        for twice in [
            r#"{"name":"a","name":"b"}"#,
            r#"{"name":"a","\u006eame":"b"}"#,
            r#"{"_meta":{"progressToken":1,"progressToken":2}}"#,
            r#"{"arguments":{"region":1,"region":2}}"#,
        ] {
            assert!(is_ambiguous(&request(twice)), "{twice}");
        }
        assert!(is_ambiguous(&message(r#"{"id":1,"id":2,"method":"m"}"#)));
    }

    #[test]
    fn the_id_of_a_long_line_is_found_at_either_end() {
        let of = |begin: &str, end: &str| {
            id_of_long(begin.as_bytes(), end.as_bytes()).map(|id| id.token().to_owned())
        };
        assert_eq!(
            of(r#"{"jsonrpc":"2.0","id":7,"result":{"content":"aaaa"#, "aaa\"}}\n").as_deref(),
            Some("7")
        );
        assert_eq!(
            of(r#"{"result":{"id":3,"text":"aaaa"#, "aaa\"},\"jsonrpc\":\"2.0\",\"id\":\"x\"}\n").as_deref(),
            Some("\"x\"")
        );
        assert_eq!(
            of(r#"{"result":{"text":"aaaa"#, "aaa\"},\"id\":4,\"jsonrpc\":\"2.0\"}").as_deref(),
            Some("4")
        );
        assert_eq!(
            of(r#"{"result":{"text":"aaaa"#, "aaa\",\"id\":5}}"),
            None,
            "that is not the message's own"
        );
    }
}
