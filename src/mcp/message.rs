//! JSON-RPC messages: the bytes as they arrived, and an outline with the spans of their parts.
//!
//! Parsing never fails, since broken traffic is to be shown and not refused. Nothing is serialized
//! again: every accessor returns slices of the original bytes.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;

use super::id::Id;
use super::json::{self, Member, Scanner, Span, SyntaxError, SyntaxErrorKind};
use super::method::Method;
use super::quirks::Quirks;

/// A message with an outline of its parts. Cloning is cheap.
#[derive(Clone)]
pub struct Message {
    raw: Bytes,
    kind: Kind,
    /// The members of `params`, `result` or `error`, which are looked up often. The scan that validates
    /// the message finds them all.
    members: Arc<[Member]>,
    quirks: Quirks,
}

/// The kind of a message, with the spans of its parts.
#[derive(Debug, Clone)]
pub enum Kind {
    /// A call that expects a response.
    Request {
        /// The id.
        id: Id,
        /// The name of the method.
        method: MethodName,
        /// The span of `params`.
        params: Option<Span>,
    },
    /// A message that expects no response.
    Notification {
        /// The name of the method.
        method: MethodName,
        /// The span of `params`.
        params: Option<Span>,
    },
    /// A successful response.
    Response {
        /// The id of the request.
        id: Id,
        /// The span of `result`.
        result: Span,
    },
    /// An error response. The id is missing or null if the peer could not read that of the request.
    Failure {
        /// The id of the request.
        id: Option<Id>,
        /// The span of `error`.
        error: Span,
    },
    /// An array of messages (2025-03-26 only, but accepted in every session).
    Batch(Vec<Message>),
    /// A line that is not a JSON-RPC message.
    Opaque(Opaque),
}

/// The reason why a line is not a JSON-RPC message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Opaque {
    /// The line is not JSON.
    #[error("not JSON: {0}")]
    NotJson(#[from] SyntaxError),
    /// The line is a JSON string, number, boolean or null.
    #[error("JSON, but not an object or array")]
    NotAnObject,
    /// The object has neither `method` nor `result` nor `error`.
    #[error("a JSON object without method, result or error")]
    NoMessage,
    /// The array has no elements.
    #[error("an empty batch")]
    EmptyBatch,
    /// The object is a result without an id, which answers nothing.
    #[error("a result without an id")]
    NoId,
    /// The line is longer than the inspect limit; only its beginning is kept.
    #[error("longer than the inspect limit")]
    Truncated,
    /// The line never claimed to be JSON-RPC, such as stderr output.
    #[error("text")]
    Text,
}

/// A method name. Names in the table of [`METHODS`](super::method::METHODS) need no allocation.
pub type MethodName = Cow<'static, str>;

const BOM: &[u8] = b"\xef\xbb\xbf";

// === impl Message ===

impl Message {
    /// Outlines `raw`, whose value may have white space and a line terminator around it. A line that is
    /// not a message becomes [`Kind::Opaque`].
    pub fn parse(raw: Bytes) -> Self {
        match json::utf8(&raw) {
            Ok(()) if raw.starts_with(BOM) => {
                let mut message = Self::outline(raw, BOM.len());
                message.quirks.add(Quirks::BOM);
                message
            }
            Ok(()) => Self::outline(raw, 0),
            Err(flaw) => Self::opaque(raw, flaw.into()),
        }
    }

    /// Creates a message from a line that is shown as it is and never parsed.
    pub fn opaque(raw: Bytes, why: Opaque) -> Self {
        Self { raw, kind: Kind::Opaque(why), members: Arc::default(), quirks: Quirks::default() }
    }

    /// Returns the bytes as they arrived, with white space and terminator.
    pub fn raw(&self) -> &Bytes {
        &self.raw
    }

    /// Returns the kind of the message, with the spans of its parts.
    pub fn kind(&self) -> &Kind {
        &self.kind
    }

    /// Returns the oddities of the message.
    pub fn quirks(&self) -> Quirks {
        self.quirks
    }

    /// Returns the elements of a batch in their order, or the message itself as the only element.
    pub fn elements(&self) -> &[Self] {
        match &self.kind {
            Kind::Batch(elements) => elements,
            _ => std::slice::from_ref(self),
        }
    }

    /// Returns the bytes without a byte order mark and the white space around them.
    pub fn body(&self) -> &[u8] {
        let bytes = self.raw.strip_prefix(BOM).unwrap_or(&self.raw);
        bytes.trim_ascii()
    }

    /// Returns the bytes of `span`; empty if it is out of range.
    pub fn slice(&self, span: Span) -> &[u8] {
        self.raw.get(span).unwrap_or_default()
    }

    /// Returns the id of a request or response.
    pub fn id(&self) -> Option<&Id> {
        match &self.kind {
            Kind::Request { id, .. } | Kind::Response { id, .. } => Some(id),
            Kind::Failure { id, .. } => id.as_ref(),
            _ => None,
        }
    }

    /// Returns the method of a request or notification.
    pub fn method(&self) -> Option<&str> {
        match &self.kind {
            Kind::Request { method, .. } | Kind::Notification { method, .. } => Some(method),
            _ => None,
        }
    }

    /// Returns the span of the `params` of a request or notification.
    pub fn params(&self) -> Option<Span> {
        match &self.kind {
            Kind::Request { params, .. } | Kind::Notification { params, .. } => params.clone(),
            _ => None,
        }
    }

    /// Returns the member of `params` at `path`.
    pub fn param(&self, path: &[&str]) -> Option<&[u8]> {
        self.params()?;
        self.reach(path)
    }

    /// Returns the member of `result` (or of `error`, for an error response) at `path`.
    pub fn outcome(&self, path: &[&str]) -> Option<&[u8]> {
        match &self.kind {
            Kind::Response { .. } | Kind::Failure { .. } => self.reach(path),
            _ => None,
        }
    }

    /// Follows `path` from the members in the outline.
    fn reach(&self, path: &[&str]) -> Option<&[u8]> {
        let (first, rest) = path.split_first()?;
        let named = |member: &&Member| json::key_is(&self.raw[member.key.clone()], first);
        // The last of duplicate members counts.
        let span = self.members.iter().rfind(named)?.value.clone();
        json::lookup(&self.raw, span, rest).map(|span| self.slice(span))
    }

    /// Returns the target of the method: the name of a tool or prompt, the URI of a resource, or the task.
    pub fn target(&self) -> Option<Cow<'_, str>> {
        let key = Method::find(self.method()?)?.target?;
        json::unescape(self.param(&[key])?)
    }

    /// Returns `true` if the line is a JSON-RPC message or batch.
    pub fn is_rpc(&self) -> bool {
        !matches!(self.kind, Kind::Opaque(_))
    }

    /// Returns `true` if the peer reports a failure: an error response or a tool result with `isError`.
    pub fn is_error(&self) -> bool {
        matches!(self.kind, Kind::Failure { .. }) || self.outcome(&["isError"]) == Some(b"true")
    }
}

impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} {}", self.kind, String::from_utf8_lossy(&self.raw))
    }
}

impl Kind {
    /// Returns the word of the query language: `req`, `resp`, `notify`, `batch` or `invalid`.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Request { .. } => "req",
            Self::Notification { .. } => "notify",
            Self::Response { .. } | Self::Failure { .. } => "resp",
            Self::Batch(_) => "batch",
            Self::Opaque(_) => "invalid",
        }
    }
}

// === the outline ===

impl Message {
    /// Outlines the UTF-8 text that begins at `start`.
    fn outline(raw: Bytes, start: usize) -> Self {
        let mut quirks = Quirks::default();
        let mut members = Vec::new();
        let kind = outline(&raw, start, &mut members, &mut quirks).unwrap_or_else(Kind::Opaque);
        Self { raw, kind, members: members.into(), quirks }
    }
}

fn outline(
    raw: &Bytes,
    start: usize,
    members: &mut Vec<Member>,
    quirks: &mut Quirks,
) -> Result<Kind, Opaque> {
    let mut scanner = Scanner::new(raw, start);
    scanner.space();
    match raw.get(scanner.position()) {
        Some(b'{') => {
            let parts = Parts::scan(&mut scanner, raw, quirks)?;
            scanner.finish()?;
            let (kind, noted) = parts.kind(raw, quirks)?;
            *members = noted;
            Ok(kind)
        }
        Some(b'[') => {
            let span = scanner.value()?;
            scanner.finish()?;
            batch(raw, span)
        }
        Some(_) => {
            scanner.value()?;
            scanner.finish()?;
            Err(Opaque::NotAnObject)
        }
        None => Err(SyntaxError { offset: raw.len(), reason: SyntaxErrorKind::Empty }.into()),
    }
}

fn batch(raw: &Bytes, span: Span) -> Result<Kind, Opaque> {
    let messages: Vec<Message> = json::elements(raw, span)
        .map(|element| {
            let raw = raw.slice(element);
            // JSON-RPC does not allow a batch inside a batch.
            match raw.first() {
                Some(b'{') => Message::outline(raw, 0),
                _ => Message::opaque(raw, Opaque::NotAnObject),
            }
        })
        .collect();
    if messages.is_empty() { Err(Opaque::EmptyBatch) } else { Ok(Kind::Batch(messages)) }
}

/// Spans of the members that JSON-RPC 2.0 defines.
#[derive(Default)]
struct Parts {
    version: Option<Span>,
    id: Option<Span>,
    method: Option<Span>,
    params: Option<Noted>,
    result: Option<Noted>,
    error: Option<Noted>,
}

/// A value with its members, if it is an object.
struct Noted {
    span: Span,
    members: Vec<Member>,
}

impl Parts {
    fn scan(scanner: &mut Scanner<'_>, raw: &[u8], quirks: &mut Quirks) -> Result<Self, SyntaxError> {
        let mut parts = Self::default();
        let mut open = scanner.enter(b'{');
        while open {
            let key = scanner.key()?;
            let key = json::unescape(&raw[key]);
            let mut is_duplicate = |was_set: bool| {
                if was_set {
                    quirks.add(Quirks::DUPLICATE_KEY);
                }
            };
            match key.as_deref() {
                Some("jsonrpc") => is_duplicate(parts.version.replace(scanner.value()?).is_some()),
                Some("id") => is_duplicate(parts.id.replace(scanner.value()?).is_some()),
                Some("method") => is_duplicate(parts.method.replace(scanner.value()?).is_some()),
                Some("params") => is_duplicate(parts.params.replace(Noted::scan(scanner)?).is_some()),
                Some("result") => is_duplicate(parts.result.replace(Noted::scan(scanner)?).is_some()),
                Some("error") => is_duplicate(parts.error.replace(Noted::scan(scanner)?).is_some()),
                _ => {
                    scanner.value()?;
                }
            }
            open = scanner.next_in(b'}')?;
        }
        Ok(parts)
    }

    /// Returns the kind of message, and the members of its main part.
    fn kind(self, raw: &[u8], quirks: &mut Quirks) -> Result<(Kind, Vec<Member>), Opaque> {
        if self.version.is_none_or(|span| &raw[span] != b"\"2.0\"") {
            quirks.add(Quirks::NO_VERSION);
        }
        let id = self.id.map(|span| Id::new(&String::from_utf8_lossy(&raw[span])));
        let method = self.method.and_then(|span| json::unescape(&raw[span]).map(intern));
        // The id may be missing or null only in an error response.
        let id_is_needed = method.is_some() || self.error.is_none();
        if id_is_needed && id.as_ref().is_some_and(|id| !id.is_legal()) {
            quirks.add(Quirks::ILLEGAL_ID);
        }
        if self.result.is_some() && self.error.is_some() {
            quirks.add(Quirks::RESULT_AND_ERROR);
        }
        if let Some(method) = method {
            let (params, members) = self.params.map(|params| (params.span, params.members)).unzip();
            let kind = match id {
                Some(id) => Kind::Request { id, method, params },
                None => Kind::Notification { method, params },
            };
            return Ok((kind, members.unwrap_or_default()));
        }
        match (self.error, self.result, id) {
            (Some(Noted { span: error, members }), _, id) => {
                Ok((Kind::Failure { id: id.filter(|id| id.token() != "null"), error }, members))
            }
            (None, Some(Noted { span: result, members }), Some(id)) => {
                Ok((Kind::Response { id, result }, members))
            }
            (None, Some(_), None) => Err(Opaque::NoId),
            (None, None, _) => Err(Opaque::NoMessage),
        }
    }
}

impl Noted {
    fn scan(scanner: &mut Scanner<'_>) -> Result<Self, SyntaxError> {
        let mut members = Vec::new();
        let span = scanner.value_noting(&mut members)?;
        Ok(Self { span, members })
    }
}

fn intern(name: Cow<'_, str>) -> MethodName {
    match Method::find(&name) {
        Some(method) => Cow::Borrowed(method.name),
        None => Cow::Owned(name.into_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Message {
        Message::parse(Bytes::copy_from_slice(text.as_bytes()))
    }

    fn quirks(text: &str) -> Vec<&'static str> {
        parse(text).quirks().describe().collect()
    }

    #[test]
    fn tells_the_kinds_apart() {
        let kind = |text: &str| parse(text).kind().as_str();
        assert_eq!(kind(r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#), "req");
        assert_eq!(kind(r#"{"jsonrpc":"2.0","method":"x"}"#), "notify");
        assert_eq!(kind(r#"{"jsonrpc":"2.0","id":"a","result":{}}"#), "resp");
        assert_eq!(kind(r#"{"jsonrpc":"2.0","id":null,"error":{"code":1,"message":""}}"#), "resp");
        assert_eq!(kind(r#"[{"jsonrpc":"2.0","method":"x"}]"#), "batch");
        assert_eq!(kind("Listening on 8080"), "invalid");
    }

    #[test]
    fn says_why_a_line_is_no_message() {
        let why = |text: &str| match parse(text).kind() {
            Kind::Opaque(why) => why.to_string(),
            other => panic!("{other:?}"),
        };
        assert_eq!(why("{oops}"), "not JSON: expected a string key at byte 1");
        assert_eq!(why("42"), "JSON, but not an object or array");
        assert_eq!(why("{}"), "a JSON object without method, result or error");
        assert_eq!(why("[]"), "an empty batch");
        assert_eq!(why(r#"{"result":1}"#), "a result without an id");
    }

    #[test]
    fn keeps_every_byte() {
        let text = " {\"jsonrpc\" : \"2.0\",\"id\":1.0,\"method\":\"ping\",\"x\":1e400}\r\n";
        let message = parse(text);
        assert_eq!(message.raw(), text.as_bytes());
        assert_eq!(message.id().map(Id::token), Some("1.0"));
        assert_eq!(message.body(), text.trim().as_bytes());
    }

    #[test]
    fn notices_oddities_without_refusing_them() {
        assert_eq!(quirks(r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#), [""; 0]);
        assert_eq!(quirks(r#"{"id":1,"method":"ping"}"#), ["lacks \"jsonrpc\":\"2.0\""]);
        assert_eq!(
            quirks(r#"{"jsonrpc":"2.0","id":1,"id":null,"method":"ping"}"#),
            ["has a duplicate key (the last one counts)", "has an id that is neither string nor integer"]
        );
        assert_eq!(
            quirks("\u{feff}{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":1,\"error\":{}}"),
            ["starts with a byte order mark", "has both result and error"]
        );
    }

    #[test]
    fn finds_targets_and_errors() {
        let call = parse(r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"\u0061dd"}}"#);
        assert_eq!(call.target().as_deref(), Some("add"));
        assert!(parse(r#"{"jsonrpc":"2.0","id":1,"result":{"isError":true}}"#).is_error());
        assert!(!parse(r#"{"jsonrpc":"2.0","id":1,"result":{"isError":false}}"#).is_error());
    }
}
