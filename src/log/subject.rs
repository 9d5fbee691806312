//! The subject of a query that is asked of a row.

use std::borrow::Cow;
use std::time::Duration;

use super::Log;
use super::Query;
use super::query::Subject;
use super::record::{Channel, FrameKind, Link, Note, OpId, Role, Seq, SessionId};
use super::world::{Row, World};
use crate::clock::{Stamp, time_of_day};
use crate::mcp::{Direction, Era, Message};

/// A row with everything that is needed to evaluate a query on it.
pub struct RowSubject<'a> {
    /// The world that the row belongs to.
    pub world: &'a World,
    /// The row.
    pub row: &'a Row,
    /// The log that the world is a fold of, for fields that need the message.
    pub log: &'a Log,
    /// The result of a search over many messages, which spares reading each.
    pub prefilter: Option<&'a Prefilter>,
}

impl<'a> RowSubject<'a> {
    /// Creates a subject without a prefilter.
    pub fn new(world: &'a World, row: &'a Row, log: &'a Log) -> Self {
        Self { world, row, log, prefilter: None }
    }
}

/// The frames of a range that may contain the texts that a query looks for.
#[derive(Debug, Default)]
pub struct Prefilter {
    first: Seq,
    last: Seq,
    found: Vec<(String, Vec<Seq>)>,
}

impl Prefilter {
    /// Searches the frames from `first` to `last` for the texts of `query`, as far as the log supports it.
    pub fn new(query: &Query, log: &Log, first: Seq, last: Seq) -> Self {
        let found = |text: &str| Some((text.to_owned(), log.containing(text.as_bytes(), first, last)?));
        // A text with control characters may be escaped in a message: do not search for it.
        let plain = |text: &&str| !text.contains(char::is_control);
        Self { first, last, found: query.needles().into_iter().filter(plain).filter_map(found).collect() }
    }

    /// Returns `true` if the search found one of the texts in the message of frame `seq`.
    pub fn is_hit(&self, seq: Seq) -> bool {
        self.found.iter().any(|(_, found)| found.binary_search(&seq).is_ok())
    }

    fn may_contain(&self, seq: Seq, text: &str) -> bool {
        let known = self.found.iter().find(|(known, _)| known == text);
        !(self.first..=self.last).contains(&seq)
            || known.is_none_or(|(_, found)| found.binary_search(&seq).is_ok())
    }
}

impl Subject for RowSubject<'_> {
    fn seq(&self) -> Seq {
        self.row.seq
    }

    fn direction(&self) -> Direction {
        self.row.direction
    }

    fn kind(&self) -> &str {
        self.row.kind.as_str()
    }

    fn method(&self) -> Option<&str> {
        self.world.text(self.row.method)
    }

    fn target(&self) -> Option<&str> {
        self.world.text(self.row.target)
    }

    fn size(&self) -> u64 {
        self.row.size
    }

    fn message(&self) -> Option<Message> {
        self.log.get(self.row.seq)?.frame().map(|frame| frame.message.clone())
    }

    fn origin(&self) -> &str {
        self.row.origin().as_str()
    }

    fn op(&self) -> Option<OpId> {
        self.row.op()
    }

    fn cause(&self) -> Option<OpId> {
        self.world.operations.cause(self.row.op()?).map(|cause| cause.op)
    }

    fn statuses(&self, yes: &mut dyn FnMut(&str)) {
        self.world.statuses(self.row, yes);
    }

    fn duration(&self) -> Option<Duration> {
        self.row.duration()
    }

    fn era(&self) -> Option<Era> {
        self.world.sessions.get(&self.row.session)?.era()
    }

    fn lints(&self, yes: &mut dyn FnMut(&str)) {
        self.row.quirks.describe().for_each(&mut *yes);
        self.row.flags.words().for_each(&mut *yes);
        if self.row.kind == FrameKind::Invalid {
            yes("invalid");
        }
        if let Some(illegal) = self.world.illegal(self.row) {
            yes(&illegal);
        }
    }

    fn rulers(&self, yes: &mut dyn FnMut(&str)) {
        if let Some(by) = self.world.text(self.world.handling(self.row.seq).by) {
            yes(by);
        }
    }

    fn http(&self, yes: &mut dyn FnMut(&str)) {
        if let Some(http) =
            self.log.get(self.row.seq).as_ref().and_then(|record| record.frame()?.http.as_ref())
        {
            http.phrases(yes);
        }
    }

    fn notes(&self, yes: &mut dyn FnMut(&str)) {
        let mine = |note: &&(Seq, Stamp, SessionId, Note)| note.3.frame == Some(self.row.seq);
        self.world.notes.iter().filter(mine).for_each(|note| yes(&note.3.text));
    }

    fn may_contain(&self, text: &str) -> bool {
        self.prefilter.is_none_or(|prefilter| prefilter.may_contain(self.row.seq, text))
    }

    fn session(&self) -> (u32, &str) {
        (self.row.session.0, self.world.session_name(self.row.session))
    }

    fn time_of_day(&self) -> u32 {
        time_of_day(self.log.clock().wall(self.row.at))
    }

    fn elements(&self) -> Vec<Box<dyn Subject + '_>> {
        if self.row.kind != FrameKind::Batch {
            return Vec::new();
        }
        let Some(record) = self.log.get(self.row.seq) else { return Vec::new() };
        let Some(frame) = record.frame() else { return Vec::new() };
        let links = frame.elements.iter().copied().chain(std::iter::repeat(Link::default()));
        let elements = frame.message.elements().iter().zip(links);
        elements
            .map(|(message, link)| {
                Box::new(ElementSubject {
                    batch: self,
                    message: message.clone(),
                    target: message.target().map(Cow::into_owned),
                    link,
                }) as Box<dyn Subject + '_>
            })
            .collect()
    }
}

/// A message of a batch.
struct ElementSubject<'a> {
    batch: &'a RowSubject<'a>,
    message: Message,
    target: Option<String>,
    link: Link,
}

impl ElementSubject<'_> {
    /// Returns the method and the target of the request that the message answers.
    fn request(&self) -> (Option<&str>, Option<&str>) {
        let world = self.batch.world;
        let of_row = |row: &Row| (row.method, row.target);
        let row = || self.link.to.and_then(|request| world.row(request)).map(of_row);
        let begun = self.link.op.and_then(|op| world.begun_in_batch(op)).or_else(row);
        begun.map_or((None, None), |(method, target)| (world.text(method), world.text(target)))
    }
}

impl Subject for ElementSubject<'_> {
    fn seq(&self) -> Seq {
        self.batch.seq()
    }

    fn direction(&self) -> Direction {
        self.batch.direction()
    }

    fn kind(&self) -> &str {
        FrameKind::of(Channel::Main, &self.message).as_str()
    }

    fn method(&self) -> Option<&str> {
        self.message.method().or_else(|| self.request().0)
    }

    fn target(&self) -> Option<&str> {
        self.target.as_deref().or_else(|| self.request().1)
    }

    fn size(&self) -> u64 {
        self.message.body().len() as u64
    }

    fn message(&self) -> Option<Message> {
        Some(self.message.clone())
    }

    fn origin(&self) -> &str {
        self.batch.origin()
    }

    fn op(&self) -> Option<OpId> {
        self.link.op
    }

    fn statuses(&self, yes: &mut dyn FnMut(&str)) {
        let state = self.link.op.and_then(|op| self.batch.world.operation(op)).map(|op| op.state);
        match (self.link.role, state) {
            (Role::Request | Role::Retry, Some(state)) => yes(state.word()),
            (Role::Response, _) => yes(if self.message.is_error() { "error" } else { "ok" }),
            _ => {}
        }
    }

    fn era(&self) -> Option<Era> {
        self.batch.era()
    }

    fn may_contain(&self, text: &str) -> bool {
        self.batch.may_contain(text)
    }

    fn session(&self) -> (u32, &str) {
        self.batch.session()
    }

    fn time_of_day(&self) -> u32 {
        self.batch.time_of_day()
    }
}
