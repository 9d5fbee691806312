//! What a query asks of a row.

use std::time::Duration;

use super::Log;
use super::Query;
use super::query::Subject;
use super::record::{FrameKind, Note, OpId, Seq, SessionId};
use super::world::{Row, World};
use crate::clock::{Stamp, time_of_day};
use crate::mcp::{Direction, Era, Message};

/// A row with what it takes to answer a query.
pub struct RowSubject<'a> {
    pub world: &'a World,
    pub row: &'a Row,
    pub log: &'a Log,
    /// What is known of the messages around without reading each.
    pub prefilter: Option<&'a Prefilter>,
}

impl<'a> RowSubject<'a> {
    pub fn new(world: &'a World, row: &'a Row, log: &'a Log) -> Self {
        Self { world, row, log, prefilter: None }
    }
}

/// Which of some frames may contain the texts that a query looks for.
#[derive(Debug, Default)]
pub struct Prefilter {
    first: Seq,
    last: Seq,
    found: Vec<(String, Vec<Seq>)>,
}

impl Prefilter {
    /// Searches the frames from `first` to `last` for what `query` looks for, where the log can.
    pub fn new(query: &Query, log: &Log, first: Seq, last: Seq) -> Self {
        let found = |text: &str| Some((text.to_owned(), log.containing(text.as_bytes(), first, last)?));
        // White space and other control characters may stand escaped in a line.
        let plain = |text: &&str| !text.contains(char::is_control);
        Self { first, last, found: query.needles().into_iter().filter(plain).filter_map(found).collect() }
    }

    /// Whether the message of a frame has to be read for the query.
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
}
