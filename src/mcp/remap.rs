//! Replacement of ids in messages. Only the spans of the ids are rewritten, and their JSON type stays
//! (2026-07-28, patterns/subscriptions).

use std::collections::HashSet;

use bytes::Bytes;

use super::compose::meta;
use super::{Id, Message, Quirks, json};

/// Creates an id from the bytes of its JSON token.
pub fn token(json: &[u8]) -> Id {
    Id::new(&String::from_utf8_lossy(json))
}

/// Replaces the values at the given paths, where the body has them and an id is given.
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

/// Creates an id from `number`, of the same JSON type as `id`.
fn alike(id: &Id, number: u64) -> Id {
    match id.token().starts_with('"') {
        true => Id::text(&format!("sc-{number}")),
        false => Id::new(&number.to_string()),
    }
}

/// A request under ids that shadowcat has given it.
pub struct Renamed {
    /// The id that the server sees.
    pub id: Id,
    /// The progress token as the server sees it, and as the client sent it.
    pub token: Option<(Id, Id)>,
    /// The message, without a terminator.
    pub line: Bytes,
    /// A sentence that names the ids before and after.
    pub words: String,
}

/// Gives a request, whose id is `id`, new ids that are made of `number`.
pub fn rename(request: &Message, id: &Id, number: u64) -> Renamed {
    let theirs = alike(id, number);
    let own = request.param(&["_meta", "progressToken"]).map(token);
    let token = own.map(|own| (alike(&own, number), own));
    let mut words = format!("id {} rewritten to {}", id.token(), theirs.token());
    if let Some((known, own)) = &token {
        words.push_str(&format!(", progressToken {} to {}", own.token(), known.token()));
    }
    let progress: &[&str] = &["params", "_meta", "progressToken"];
    let known = token.as_ref().map(|(known, _)| known);
    let line = replace(request.body(), &[(&["id"], Some(&theirs)), (progress, known)]);
    Renamed { id: theirs, token, line, words }
}

/// Puts the id that the client knows into the answer to its request.
pub fn answer(body: &[u8], own: &Id) -> Bytes {
    let subscription: &[&str] = &["result", "_meta", meta::SUBSCRIPTION_ID];
    replace(body, &[(&["id"], Some(own)), (subscription, Some(own))])
}

/// Returns the replacements in a notification of a subscription, for a client that knows the latter by
/// the id `own`.
pub fn subscription(own: &Id) -> [(&'static [&'static str], Option<&Id>); 2] {
    [(&["params", "_meta", meta::SUBSCRIPTION_ID], Some(own)), (&["params", "requestId"], Some(own))]
}

/// Returns `true` if parsers may differ in reading a request: a key is there twice, so that another
/// parser could see the id of another client, or another tool than the one that was checked.
pub fn is_ambiguous(request: &Message) -> bool {
    if request.quirks().has(Quirks::DUPLICATE_KEY) {
        return true;
    }
    let (raw, Some(params)) = (request.raw(), request.params()) else { return false };
    let at = |path: &[&str]| json::lookup(raw, params.clone(), path);
    [Some(params.clone()), at(&["_meta"]), at(&["arguments"])].into_iter().flatten().any(|object| {
        let mut seen = HashSet::new();
        json::members(raw, object).any(|member| {
            let token = &raw[member.key];
            let key = json::unescape(token).map(|key| key.into_owned());
            // Different halves of a surrogate pair are read alike: compare their spelling.
            let has_half = key.as_ref().is_some_and(|key| key.contains(char::REPLACEMENT_CHARACTER));
            !seen.insert((key, has_half.then_some(token)))
        })
    })
}

/// A line that is too long to be parsed as a whole, known by its beginning and its end.
#[derive(Debug, Default)]
pub struct Long {
    beginning: Bytes,
    end: Vec<u8>,
}

/// Bytes that are kept of the beginning of such a line.
const BEGINNING: usize = 64 << 10;
/// Bytes that are kept of its end.
const END: usize = 512;

impl Long {
    /// Creates the line from its first bytes.
    pub fn begin(bytes: &[u8]) -> Self {
        let mut long =
            Self { beginning: Bytes::copy_from_slice(&bytes[..bytes.len().min(BEGINNING)]), end: Vec::new() };
        long.push(bytes);
        long
    }

    /// Appends more bytes.
    pub fn push(&mut self, more: &[u8]) {
        self.end.extend_from_slice(&more[more.len().saturating_sub(END)..]);
        let surplus = self.end.len().saturating_sub(END);
        self.end.drain(..surplus);
    }

    /// Returns the beginning, up to 64 KiB.
    pub fn beginning(&self) -> &Bytes {
        &self.beginning
    }

    /// Returns the id if the line is a request whose id and method are near its beginning.
    pub fn request(&self) -> Option<Id> {
        self.named("method")?;
        self.named("id").map(token)
    }

    /// Returns `true` if the line is a request or a notification.
    pub fn has_method(&self) -> bool {
        self.named("method").is_some()
    }

    /// Returns the id of the request that the line answers, if it is near either end.
    pub fn answered(&self) -> Option<Id> {
        // Requests by the server have ids of its own, which answer nothing.
        if self.named("method").is_some() {
            return None;
        }
        if let Some(id) = self.named("id") {
            return Some(token(id));
        }
        // At the end, members of the whole message are those that a single brace closes.
        memchr::memmem::find_iter(&self.end, b"\"id\"").find_map(|at| {
            let whole = [b"{", self.end[at..].trim_ascii_end()].concat();
            json::document(&whole).ok()?;
            let of = |name: &str| json::member(&whole, 0..whole.len(), name);
            of("id").filter(|_| of("method").is_none()).map(|span| token(&whole[span]))
        })
    }

    fn named(&self, name: &str) -> Option<&[u8]> {
        let text = &self.beginning[..];
        json::members(text, 0..text.len())
            .find(|member| json::key_is(&text[member.key.clone()], name))
            .map(|member| &text[member.value])
    }
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
            let mut long = Long::begin(begin.as_bytes());
            long.push(end.as_bytes());
            long.answered().map(|id| id.token().to_owned())
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
        let request = Long::begin(br#"{"jsonrpc":"2.0","id":7,"method":"m","params":{"a":"aaaa"#);
        assert_eq!((request.answered(), request.request()), (None, Some(Id::new("7"))));
        assert_eq!(
            of(r#"{"result":{"text":"aaaa"#, "aaa\",\"id\":5}}"),
            None,
            "that is not the message's own"
        );
    }
}
