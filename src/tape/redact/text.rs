//! Finding and replacing secrets in free text, in JSON, and in text nested in JSON strings or
//! base64.

use std::borrow::Cow;
use std::ops::Range;
use std::sync::LazyLock;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD};

use regex::Regex;

use super::Redactor;
use crate::mcp::sensitive::{self, Sensitivity};
use crate::mcp::tree::Node;
use crate::mcp::{json, secret};
use crate::tape::spans::{self, Element, MemberSpan};

/// Maximum nesting of JSON in strings that is searched. Each level doubles the backslashes, so
/// deeper nesting hardly occurs.
pub(super) const DEPTH: usize = 16;

/// Kinds of secrets that were replaced.
pub(super) type Hits = Vec<String>;

/// Error: JSONPaths cannot be evaluated on a text.
pub(super) struct Unreadable;

impl Redactor {
    /// Returns free text without secrets.
    pub(super) fn text(&self, text: &str, place: &str, hits: &mut Hits) -> String {
        let (mut clean, mut at) = (String::with_capacity(text.len()), 0);
        for (span, kind) in self.find(text) {
            clean.push_str(&text[at..span.start]);
            clean.push_str(&self.replaced(&kind, place, &text[span.clone()]));
            at = span.end;
            hits.push(kind);
        }
        clean.push_str(&text[at..]);
        clean
    }

    /// Returns `true` if a name can be shown in a placeholder.
    pub(super) fn is_plain(&self, name: &str) -> bool {
        let is_word = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '.' | ' ' | '/');
        name.chars().all(is_word) && name.len() <= 80 && self.find(name).is_empty()
    }

    /// Returns the spans of secrets in the text with their kinds: in order, overlapping ones
    /// merged.
    fn find(&self, text: &str) -> Vec<(Range<usize>, String)> {
        let own = |(span, kind): (Range<usize>, &str)| (span, kind.to_owned());
        let mut found: Vec<(Range<usize>, String)> = secret::find(text).into_iter().map(own).collect();
        let mut named = sensitive::find(text);
        if let Some(by) = &self.named {
            let sensitivity = |name: &str| self.sensitivity(name);
            named.extend(sensitive::find_by(by, text, &sensitivity));
        }
        for span in named.into_iter().filter(|span| !is_clean(&text[span.clone()])) {
            self.known.lock().look_for("named", &text[span.clone()]);
            found.push((span, "named".to_owned()));
        }
        for pattern in &self.patterns {
            let hits = pattern.find_iter(text).filter(|hit| !hit.is_empty());
            found.extend(hits.map(|hit| own((hit.range(), "pattern"))));
        }
        if !self.is_learning() {
            found.extend(self.known.lock().find(text));
        }
        // Placeholders of earlier replacements are not secrets.
        found.retain(|(span, _)| !is_clean(&text[span.clone()]));
        found.sort_by_key(|(span, _)| (span.start, std::cmp::Reverse(span.end)));
        let mut apart: Vec<(Range<usize>, String)> = Vec::with_capacity(found.len());
        for (span, kind) in found {
            match apart.last_mut() {
                Some((last, _)) if span.start < last.end => last.end = last.end.max(span.end),
                _ => apart.push((span, kind)),
            }
        }
        apart
    }

    /// Returns JSON without secrets: only the tokens that contain a secret are changed.
    pub(super) fn json<'a>(&self, text: &'a str, depth: usize, hits: &mut Hits) -> Cow<'a, str> {
        let bytes = text.as_bytes();
        let steps = spans::walk(bytes);
        let mut edits: Vec<(Range<usize>, String)> = Vec::new();
        let mut telling = Tellings::new(text, &steps, self);
        for step in &steps {
            let (token, place, is_key) = match step {
                Element::Member(member) => {
                    telling.enter(member);
                    continue;
                }
                Element::Scalar { token, place, is_key } => (token.clone(), place, *is_key),
            };
            let spelled = &text[token.clone()];
            let said = match json::unescape(&bytes[token.clone()]) {
                Some(said) => said,
                // Numbers are searched; `true`, `false` and `null` are not secrets.
                None if matches!(spelled, "true" | "false" | "null") => continue,
                None => Cow::Borrowed(spelled),
            };
            let is_text = spelled.starts_with('"');
            if let Some(told) = telling.at(token.start, is_text).filter(|_| !is_key && !said.is_empty()) {
                if !is_clean(&said) {
                    let kind = match self.is_plain(&told.name) {
                        true => format!("key:{}", told.name),
                        // The name may contain a secret itself.
                        false => "key".to_owned(),
                    };
                    // Look elsewhere only for the value of the member itself: values nested in it
                    // may be ordinary words.
                    if place.trim_end_matches("[*]") == told.place {
                        self.known.lock().look_for(&kind, &said);
                    }
                    edits.push((token, json::quote(&self.replaced(&kind, place, &said))));
                    hits.push(kind);
                }
                continue;
            }
            let clean = self.scalar(&said, place, depth, hits);
            if *clean != *said {
                edits.push((token, json::quote(&clean)));
            }
        }
        spans::splice(text, edits)
    }

    /// Returns the text of a string or number without secrets.
    fn scalar<'a>(&self, said: &'a str, place: &str, depth: usize, hits: &mut Hits) -> Cow<'a, str> {
        let inner = said.trim_start();
        let is_nested = depth > 0
            && (inner.starts_with('{') || inner.starts_with('[') || inner.starts_with('"'))
            && json::document(said.as_bytes()).is_ok();
        if is_nested {
            return self.json(said, depth - 1, hits);
        }
        let mut inside = Hits::new();
        if depth > 0
            && let Some((plain, engine)) = decoded(said)
        {
            let clean = self.scalar(&plain, place, depth - 1, &mut inside);
            if *clean != plain {
                hits.append(&mut inside);
                return Cow::Owned(engine.encode(clean.as_bytes()));
            }
        }
        Cow::Owned(self.text(said, place, hits))
    }

    /// Returns the text without the values that the JSONPaths select, in each message of a batch.
    pub(super) fn by_path<'a>(&self, text: &'a str, hits: &mut Hits) -> Result<Cow<'a, str>, Unreadable> {
        if self.paths.is_empty() {
            return Ok(Cow::Borrowed(text));
        }
        let bytes = text.as_bytes();
        let whole = json::document(bytes).map_err(|_| Unreadable)?;
        let messages: Vec<_> = match bytes[whole.start] {
            b'[' => json::elements(bytes, whole).collect(),
            _ => vec![whole],
        };
        let mut edits = Vec::new();
        for message in messages {
            let root = Node::parse(&bytes[message.clone()]).map_err(|_| Unreadable)?;
            let value = root.to_value();
            for (name, path) in &self.paths {
                for pointer in path.pointers(&value).map_err(|_| Unreadable)? {
                    for span in spans::at_pointer(bytes, message.clone(), &pointer) {
                        if is_clean(&text[span.clone()]) {
                            continue;
                        }
                        let said = json::unescape(&bytes[span.clone()]);
                        let said = said.unwrap_or(Cow::Borrowed(&text[span.clone()]));
                        edits.push((span, json::quote(&self.replaced("path", name, &said))));
                        hits.push(format!("path:{name}"));
                    }
                }
            }
        }
        Ok(spans::splice(text, edits))
    }

    /// Returns `true` if redacted text still shows the form of a secret or a known secret.
    pub(super) fn is_left(&self, text: &str) -> bool {
        let forms = secret::find(text).into_iter().map(|(span, _)| span);
        let known = self.known.lock().find(text).into_iter().map(|(span, _)| span);
        forms.chain(known).any(|span| !span.is_empty() && !is_clean(&text[span]))
    }
}

/// Placeholders for secrets, of this program or of the transport. A peer can write one as well, so
/// a placeholder exempts nothing but its own characters.
static PLACEHOLDER: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(r"\[(?:redacted:([a-z0-9-]+)(?::([^\[\]]{1,80}?))?(?:#[0-9]+)?|secret [0-9a-f]{8})\]").ok()
});

/// Returns `true` if the text consists only of placeholders and the authentication scheme that they
/// belong to (RFC 9110, section 11).
pub(super) fn is_clean(text: &str) -> bool {
    const SCHEMES: [&str; 5] = ["bearer", "basic", "digest", "dpop", "token"];
    let Some(rest) = without_placeholders(text) else { return false };
    rest.split(|c: char| c.is_whitespace() || matches!(c, ',' | ';'))
        .all(|word| word.is_empty() || SCHEMES.contains(&word.to_ascii_lowercase().as_str()))
}

/// Returns `true` if [`is_clean`] holds for a header that the transport has redacted, in which
/// cookies keep their names.
pub(super) fn is_clean_header(text: &str) -> bool {
    let named = |rest: String| {
        rest.split(';').all(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or(("", pair));
            !name.contains(char::is_whitespace) && is_clean(value) || is_attribute(pair)
        })
    };
    is_clean(text) || without_placeholders(text).is_some_and(named)
}

/// Returns `true` for an attribute of a cookie (RFC 6265, section 4.1.1), which is not a secret.
fn is_attribute(pair: &str) -> bool {
    const NAMES: [&str; 7] = ["expires", "max-age", "domain", "path", "secure", "httponly", "samesite"];
    let name = pair.split('=').next().unwrap_or(pair).trim().to_ascii_lowercase();
    NAMES.contains(&name.as_str())
}

/// Returns a text without its placeholders; `None` if it has none.
fn without_placeholders(text: &str) -> Option<String> {
    let regex = PLACEHOLDER.as_ref()?;
    let rest = regex.replace_all(text, |captures: &regex::Captures<'_>| match captures.get(1) {
        // A placeholder of an unknown kind is ordinary text.
        Some(kind) if !is_kind(kind.as_str(), captures.get(2).map(|detail| detail.as_str())) => {
            captures[0].to_owned()
        }
        _ => " ".to_owned(),
    });
    (rest != text).then(|| rest.into_owned())
}

/// Returns `true` if secrets of this kind are replaced.
fn is_kind(kind: &str, detail: Option<&str>) -> bool {
    const OWN: [&str; 6] = ["named", "option", "header", "pattern", "withheld", "key"];
    match detail {
        Some(_) => matches!(kind, "key" | "path"),
        None => OWN.contains(&kind) || secret::kinds().any(|known| known == kind),
    }
}

/// A value that is a secret because of its name.
struct NamedSecret {
    value: Range<usize>,
    name: String,
    place: String,
    telling: Sensitivity,
}

/// Values of a document that are secrets because of their names.
struct Tellings<'a> {
    text: &'a str,
    redactor: &'a Redactor,
    /// Objects like `{"name": "password", "value": …}`: their offsets, and the sensitive name.
    pairs: Vec<(usize, String)>,
    /// Values that are secrets as a whole and whose end is not reached, outer ones first.
    open: Vec<NamedSecret>,
    /// JSON schemas (2020-12) of members with sensitive names: a schema describes values, and only
    /// its examples are secrets.
    schemas: Vec<(Range<usize>, String)>,
}

impl<'a> Tellings<'a> {
    fn new(text: &'a str, steps: &[Element], redactor: &'a Redactor) -> Self {
        let mut pairs = Vec::new();
        for step in steps {
            if let Element::Member(member) = step
                && matches!(&text[member.key.clone()], "\"name\"" | "\"key\"")
                && let Some(name) = json::unescape(&text.as_bytes()[member.value.clone()])
                && redactor.sensitivity(&name).is_some()
            {
                pairs.push((member.object, name.into_owned()));
            }
        }
        Self { text, redactor, pairs, open: Vec::new(), schemas: Vec::new() }
    }

    fn open(&mut self, member: &MemberSpan, name: &str, telling: Sensitivity) {
        let (value, place) = (member.value.clone(), member.place.clone());
        self.open.push(NamedSecret { value, name: name.to_owned(), place, telling });
    }

    fn enter(&mut self, member: &MemberSpan) {
        let bytes = self.text.as_bytes();
        let name = json::unescape(&bytes[member.key.clone()]).unwrap_or_default();
        let value = member.value.clone();
        self.schemas.retain(|(span, _)| span.end > value.start);
        if let Some((_, described)) = self.schemas.last() {
            if matches!(&*name, "default" | "const" | "example" | "examples" | "value") {
                self.open(member, &described.clone(), Sensitivity::Many);
            }
            return;
        }
        if let Some(telling) = self.redactor.sensitivity(&name) {
            match member.parent == "properties" && is_schema(bytes, value.clone()) {
                true => self.schemas.push((value, name.into_owned())),
                false => self.open(member, &name, telling),
            }
        } else if name == "value"
            && let Some((_, name)) = self.pairs.iter().find(|(object, _)| *object == member.object)
        {
            self.open(member, &name.clone(), Sensitivity::One);
        }
    }

    /// Returns the secret value that contains the scalar at `at`, if there is one.
    fn at(&mut self, at: usize, is_text: bool) -> Option<&NamedSecret> {
        self.open.retain(|told| told.value.end > at);
        // A number under a plural name, such as a count of tokens, is not a secret.
        self.open.iter().find(|told| told.value.start <= at && (is_text || told.telling == Sensitivity::One))
    }
}

/// Returns `true` if the value at `span` is a JSON schema, which describes values.
fn is_schema(text: &[u8], span: Range<usize>) -> bool {
    const TYPES: [&str; 7] = ["string", "number", "integer", "boolean", "object", "array", "null"];
    json::members(text, span).any(|member| {
        let value = &text[member.value];
        match json::unescape(&text[member.key]).as_deref() {
            Some("type") => {
                value.starts_with(b"[") || json::unescape(value).is_some_and(|word| TYPES.contains(&&*word))
            }
            Some("$ref" | "anyOf" | "oneOf" | "allOf" | "enum") => true,
            _ => false,
        }
    })
}

/// Returns the text that `said` encodes in base64 (RFC 4648), and the engine that encodes it again;
/// `None` if it is not base64 of a text.
fn decoded(said: &str) -> Option<(String, &'static base64::engine::GeneralPurpose)> {
    const SHORTEST: usize = 16;
    let is_one = said.len() >= SHORTEST
        && said.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/' | b'-' | b'_' | b'='));
    if !is_one {
        return None;
    }
    let engines = [&STANDARD, &STANDARD_NO_PAD, &URL_SAFE, &URL_SAFE_NO_PAD];
    engines.into_iter().find_map(|engine| {
        let plain = String::from_utf8(engine.decode(said).ok()?).ok()?;
        let is_text = plain.chars().all(|c| !c.is_control() || c.is_whitespace());
        is_text.then_some((plain, engine))
    })
}
