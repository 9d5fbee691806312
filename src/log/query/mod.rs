//! The query language of filters and breakpoints.
//!
//! Example: `tool:search* status:error|pending -method:ping (dur:>500ms OR size:>10k)`. A space means
//! AND, `OR` and `|` separate alternatives, `NOT` and a leading `-` negate, and parentheses group. An
//! unknown field is an error and never free text; a word without a field searches names and bodies.

mod complete;
mod parse;
mod value;

use std::time::Duration;

use super::record::{OpId, Seq};
use crate::mcp::{Direction, Era, Message};

pub use complete::{Completion, complete};
pub use value::{Comparison, Matcher, Pattern};

/// A parsed query.
#[derive(Debug, Clone, Default)]
pub struct Query {
    text: String,
    root: Expr,
}

/// The reason why a text is not a query, and the part of it that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct QueryError {
    /// The bytes of the text that are wrong.
    pub span: std::ops::Range<usize>,
    /// The error, for people.
    pub message: String,
}

/// The value of a query on a frame, in the logic of Kleene.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Truth {
    /// The frame does not match.
    False,
    /// The frame matches.
    True,
    /// The query could not be evaluated, for this reason.
    Unknown(String),
}

impl Truth {
    /// Returns `end` if one of the values is it, else the first unknown value, else the opposite of `end`.
    fn up_to(end: Self, values: impl Iterator<Item = Self>) -> Self {
        let mut unknown = None;
        for value in values {
            match value {
                value if value == end => return end,
                Self::Unknown(why) => unknown = unknown.or(Some(why)),
                _ => {}
            }
        }
        unknown.map_or(Self::from(end == Self::False), Self::Unknown)
    }
}

impl From<bool> for Truth {
    fn from(value: bool) -> Self {
        if value { Self::True } else { Self::False }
    }
}

/// The cost of evaluating a query on a frame, cheapest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Cost {
    /// The row of the frame is enough.
    Row,
    /// A search of the tape can rule out most frames; only the others have to be read.
    Search,
    /// The message has to be read.
    Message,
}

#[derive(Debug, Clone, Default)]
pub(super) enum Expr {
    /// The empty query, which matches everything.
    #[default]
    All,
    And(Vec<Expr>),
    Or(Vec<Expr>),
    Not(Box<Expr>),
    Term(Field, Matcher),
    Text(String),
}

macro_rules! fields {
    ($($field:ident $word:literal $takes:ident $help:literal $values:expr;)+) => {
        /// The field of a term: the property of a frame that is compared.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Field {
            $(#[doc = $help] $field),+
        }

        impl Field {
            /// The fields in the order of help and completion.
            pub const ALL: &[Self] = &[$(Self::$field),+];

            /// Returns the word before the colon.
            pub const fn word(self) -> &'static str {
                match self { $(Self::$field => $word),+ }
            }

            /// Returns the help text.
            pub const fn help(self) -> &'static str {
                match self { $(Self::$field => $help),+ }
            }

            /// Returns the possible values, for a field that has only a few.
            pub const fn values(self) -> &'static [&'static str] {
                match self { $(Self::$field => $values),+ }
            }

            pub(super) const fn takes(self) -> Takes {
                match self { $(Self::$field => Takes::$takes),+ }
            }
        }
    };
}

/// The kind of value that a field takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Takes {
    Pattern,
    Number,
    Duration,
    Size,
    Clock,
    Body,
    Json,
}

fields! {
    Tool "tool" Pattern "tool, prompt or resource that the operation asks for" &[];
    Method "method" Pattern "method; for a response, the method of its request" &[];
    Id "id" Pattern "JSON-RPC id" &[];
    Op "op" Number "operation number" &[];
    Dir "dir" Pattern "direction" &["c2s", "s2c"];
    Kind "kind" Pattern "kind of frame" &["req", "resp", "notify", "batch", "stderr", "invalid", "http"];
    Status "status" Pattern "state, outcome or HTTP status" &[
        "ok", "error", "pending", "cancel", "late", "orphan", "duplicate", "held", "dropped", "edited",
        "answered", "withdrawn", "injected", "lost", "redacted",
    ];
    Http "http" Pattern "HTTP: status, method and path; a header; stream" &["stream"];
    Dur "dur" Duration "time from request to response, e.g. >500ms" &[];
    Size "size" Size "bytes on the wire, e.g. >10k" &[];
    Tok "tok" Size "estimated tokens (bytes / 4)" &[];
    Era "era" Pattern "protocol era" &["2025", "2026"];
    Origin "origin" Pattern "source of the frame" &[
        "wire", "replaced", "answered", "injected", "replayed", "remapped",
    ];
    Lint "lint" Pattern "protocol oddities; lint:* finds any" &[];
    Rule "rule" Pattern "interceptor or person that held or decided on the frame" &[];
    Note "note" Pattern "text of a note" &[];
    Sess "sess" Pattern "session number or name" &[];
    Seq "seq" Number "record number" &[];
    After "after" Clock "at or after a time of day, e.g. 12:03:11" &[];
    Before "before" Clock "before a time of day" &[];
    Body "body" Body "text in the message; body:~ takes a regular expression" &[];
    Json "json" Json "JSONPath, e.g. json:$.params.arguments.q==\"x\"" &[];
}

/// A frame, as far as a query can be evaluated on it. An unknown property never matches.
pub trait Subject {
    /// Returns the position of the frame.
    fn seq(&self) -> Seq;
    /// Returns the direction of the frame.
    fn direction(&self) -> Direction;
    /// Returns the kind: `req`, `resp`, `notify`, `batch`, `stderr`, `http` or `invalid`.
    fn kind(&self) -> &str;
    /// Returns the method; for a response, the method of its request.
    fn method(&self) -> Option<&str>;
    /// Returns the target, such as the name of a tool.
    fn target(&self) -> Option<&str>;
    /// Returns the length of the message in bytes.
    fn size(&self) -> u64;
    /// Returns the message, which may have to be fetched.
    fn message(&self) -> Option<Message>;
    /// Returns the word for the source of the frame, such as `wire` or `injected`.
    fn origin(&self) -> &str;
    /// Returns the operation that the frame belongs to.
    fn op(&self) -> Option<OpId> {
        None
    }
    /// Returns the operation in whose course the frame's operation was asked for.
    fn cause(&self) -> Option<OpId> {
        None
    }
    /// Calls `yes` with every status word that applies.
    fn statuses(&self, yes: &mut dyn FnMut(&str));
    /// Returns the time from the request to this response.
    fn duration(&self) -> Option<Duration> {
        None
    }
    /// Returns the era of the session.
    fn era(&self) -> Option<Era> {
        None
    }
    /// Calls `yes` with a phrase for every oddity.
    fn lints(&self, _yes: &mut dyn FnMut(&str)) {}
    /// Calls `yes` with the name of every interceptor or person that held or ruled on the frame.
    fn rulers(&self, _yes: &mut dyn FnMut(&str)) {}
    /// Calls `yes` with the phrases of the HTTP side of the frame.
    fn http(&self, _yes: &mut dyn FnMut(&str)) {}
    /// Calls `yes` with the text of every note on the frame.
    fn notes(&self, _yes: &mut dyn FnMut(&str)) {}
    /// Returns `false` if the message is known not to contain `text` without reading it.
    fn may_contain(&self, _text: &str) -> bool {
        true
    }
    /// Returns the number and the name of the session.
    fn session(&self) -> (u32, &str);
    /// Returns the time of the frame in seconds since local midnight.
    fn time_of_day(&self) -> u32;
    /// Returns the messages of a batch, each of which may match by itself; none for any other frame.
    fn elements(&self) -> Vec<Box<dyn Subject + '_>> {
        Vec::new()
    }
}

impl Query {
    /// Parses a query; the empty text matches everything.
    ///
    /// ```
    /// use shadowcat::log::query::Query;
    ///
    /// let query = Query::parse("method:tools/call -status:error dur:>1s").unwrap();
    /// assert!(query.names_method("tools/call"));
    /// let error = Query::parse("dur:>soon").unwrap_err();
    /// assert_eq!(&"dur:>soon"[error.span], ">soon");
    /// ```
    ///
    /// # Errors
    /// [`QueryError`] with the part of the text that is wrong.
    pub fn parse(text: &str) -> Result<Self, QueryError> {
        Ok(Self { text: text.trim().to_owned(), root: parse::parse(text)? })
    }

    /// Parses a query for frames that are just arriving, such as that of a breakpoint.
    ///
    /// # Errors
    /// [`QueryError`] as for [`Query::parse`], or if the query asks for something that is only known
    /// later, so that it would never match.
    pub fn parse_for_arrival(text: &str) -> Result<Self, QueryError> {
        let query = Self::parse(text)?;
        match query.root.comes_later() {
            None => Ok(query),
            Some(what) => Err(QueryError {
                span: 0..text.len(),
                message: format!("{what} is not known yet when a frame arrives; use it in a filter"),
            }),
        }
    }

    /// Returns the query as it was written, without the white space around it.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Returns `true` if the query is empty and so matches everything.
    pub fn is_empty(&self) -> bool {
        matches!(self.root, Expr::All)
    }

    /// Returns `true` if `subject` is known to match the query.
    pub fn matches(&self, subject: &dyn Subject) -> bool {
        self.judge(subject) == Truth::True
    }

    /// Evaluates the query on `subject`. A batch matches if one of its messages does.
    pub fn judge(&self, subject: &dyn Subject) -> Truth {
        let whole = self.root.judge(subject);
        if whole == Truth::True {
            return whole;
        }
        let elements = subject.elements();
        let elements = elements.iter().map(|element| self.root.judge(&**element));
        Truth::up_to(Truth::True, std::iter::once(whole).chain(elements))
    }

    /// Returns `true` if a term outside any negation spells out the method `method`. Only such a query may
    /// hold messages that generic holds leave alone (see [`crate::mcp::Method::is_vital`]).
    pub fn names_method(&self, method: &str) -> bool {
        self.root.names(method)
    }

    /// Returns the cost of evaluating the query on a frame.
    pub fn cost(&self) -> Cost {
        self.root.cost()
    }

    /// Returns the texts that the query looks for in messages.
    pub fn needles(&self) -> Vec<&str> {
        let mut needles = Vec::new();
        self.root.needles(&mut needles);
        needles
    }

    /// Returns a query that matches if both this query and `other` match.
    #[must_use]
    pub fn and(&self, other: &Self) -> Self {
        let text = match (self.text.is_empty(), other.text.is_empty()) {
            (true, _) => other.text.clone(),
            (_, true) => self.text.clone(),
            _ => format!("({}) ({})", self.text, other.text),
        };
        Self { text, root: Expr::And(vec![self.root.clone(), other.root.clone()]) }
    }
}

impl Expr {
    fn judge(&self, subject: &dyn Subject) -> Truth {
        match self {
            Self::All => Truth::True,
            Self::And(all) => Truth::up_to(Truth::False, all.iter().map(|expr| expr.judge(subject))),
            Self::Or(any) => Truth::up_to(Truth::True, any.iter().map(|expr| expr.judge(subject))),
            Self::Not(expr) => match expr.judge(subject) {
                Truth::False => Truth::True,
                Truth::True => Truth::False,
                unknown => unknown,
            },
            Self::Term(Field::Json, matcher) => {
                subject.message().map_or(Truth::False, |message| matcher.json(message.body()))
            }
            Self::Term(field, matcher) => term(*field, matcher, subject).into(),
            Self::Text(text) => Truth::from({
                [subject.method(), subject.target()].into_iter().flatten().any(|name| name.contains(&**text))
                    || subject.may_contain(text)
                        && subject
                            .message()
                            .is_some_and(|m| memchr::memmem::find(m.raw(), text.as_bytes()).is_some())
            }),
        }
    }

    /// Returns the first part that no frame can match at its arrival.
    fn comes_later(&self) -> Option<String> {
        /// Status words that only apply after a frame was handled.
        const LATER: &[&str] = &["held", "dropped", "withdrawn", "lost", "redacted"];
        match self {
            Self::All | Self::Text(_) => None,
            Self::And(parts) | Self::Or(parts) => parts.iter().find_map(Self::comes_later),
            Self::Not(expr) => expr.comes_later(),
            Self::Term(field @ (Field::Dur | Field::Rule | Field::Note), _) => {
                Some(format!("{}:", field.word()))
            }
            Self::Term(Field::Status, Matcher::Pattern(pattern)) => {
                pattern.comes_later(LATER).map(|word| format!("status:{word}"))
            }
            Self::Term(..) => None,
        }
    }

    fn cost(&self) -> Cost {
        match self {
            Self::All => Cost::Row,
            Self::And(parts) | Self::Or(parts) => parts.iter().map(Self::cost).max().unwrap_or(Cost::Row),
            Self::Not(expr) => expr.cost(),
            Self::Text(_) => Cost::Search,
            Self::Term(Field::Body, matcher) if matcher.needle().is_some() => Cost::Search,
            Self::Term(Field::Body | Field::Json | Field::Id | Field::Http, _) => Cost::Message,
            Self::Term(..) => Cost::Row,
        }
    }

    fn needles<'a>(&'a self, needles: &mut Vec<&'a str>) {
        match self {
            Self::And(parts) | Self::Or(parts) => parts.iter().for_each(|part| part.needles(needles)),
            Self::Not(expr) => expr.needles(needles),
            Self::Text(text) => needles.push(text),
            Self::Term(Field::Body, matcher) => needles.extend(matcher.needle()),
            Self::All | Self::Term(..) => {}
        }
    }

    fn names(&self, method: &str) -> bool {
        match self {
            Self::And(parts) | Self::Or(parts) => parts.iter().any(|part| part.names(method)),
            Self::Term(Field::Method, Matcher::Pattern(pattern)) => pattern.names(method),
            _ => false,
        }
    }
}

/// A function that calls its argument with each word of a subject.
type Each<'a> = dyn Fn(&mut dyn FnMut(&str)) + 'a;

fn term(field: Field, matcher: &Matcher, subject: &dyn Subject) -> bool {
    let text = |value: Option<&str>| value.is_some_and(|value| matcher.text(value));
    let any = |each: &Each<'_>| {
        let mut found = false;
        each(&mut |word| found = found || matcher.text(word));
        found
    };
    match field {
        Field::Tool => text(subject.target()),
        Field::Method => text(subject.method()),
        Field::Id => {
            subject.message().is_some_and(|m| m.id().is_some_and(|id| matcher.text(&id.to_string())))
        }
        Field::Op => {
            [subject.op(), subject.cause()].into_iter().flatten().any(|op| matcher.number(f64::from(op.0)))
        }
        Field::Dir => matcher.text(subject.direction().as_str()),
        Field::Kind => matcher.text(subject.kind()),
        Field::Status => any(&|yes| subject.statuses(yes)),
        Field::Http => any(&|yes| subject.http(yes)),
        Field::Dur => subject.duration().is_some_and(|duration| matcher.number(duration.as_secs_f64())),
        Field::Size => matcher.number(subject.size() as f64),
        Field::Tok => matcher.number((subject.size() / 4) as f64),
        Field::Era => text(subject.era().map(Era::as_str)),
        Field::Origin => matcher.text(subject.origin()),
        Field::Lint => any(&|yes| subject.lints(yes)),
        Field::Rule => any(&|yes| subject.rulers(yes)),
        Field::Note => any(&|yes| subject.notes(yes)),
        Field::Sess => {
            let (number, name) = subject.session();
            matcher.text(name) || matcher.text(&number.to_string())
        }
        Field::Seq => matcher.number(subject.seq() as f64),
        Field::After => matcher.at_least(f64::from(subject.time_of_day())),
        Field::Before => !matcher.at_least(f64::from(subject.time_of_day())),
        Field::Body => {
            matcher.needle().is_none_or(|text| subject.may_contain(text))
                && subject.message().is_some_and(|message| matcher.body(message.raw()))
        }
        // `Expr::judge` evaluates it, since its value may be unknown.
        Field::Json => false,
    }
}

#[cfg(test)]
mod tests;
