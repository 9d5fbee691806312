//! What a query asks of a row.

use std::time::Duration;

use super::Log;
use super::query::Subject;
use super::record::{Note, OpId, Seq, SessionId};
use super::world::{Row, World};
use crate::clock::{Stamp, time_of_day};
use crate::mcp::{Direction, Era, Message};

/// A row with what it takes to answer a query.
pub struct RowSubject<'a> {
    pub world: &'a World,
    pub row: &'a Row,
    pub log: &'a Log,
}

impl Subject for RowSubject<'_> {
    fn seq(&self) -> Seq {
        self.row.seq
    }

    fn direction(&self) -> Direction {
        self.row.direction
    }

    fn kind(&self) -> &str {
        self.row.kind
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
        self.row.origin.as_str()
    }

    fn op(&self) -> Option<OpId> {
        self.row.op
    }

    fn cause(&self) -> Option<OpId> {
        self.world.operations.get(&self.row.op?)?.cause.map(|cause| cause.op)
    }

    fn statuses(&self, yes: &mut dyn FnMut(&str)) {
        self.world.statuses(self.row, yes);
    }

    fn duration(&self) -> Option<Duration> {
        self.row.duration
    }

    fn era(&self) -> Option<Era> {
        self.world.sessions.get(&self.row.session)?.era()
    }

    fn lints(&self, yes: &mut dyn FnMut(&str)) {
        self.row.quirks.describe().for_each(&mut *yes);
        self.row.flags.words().for_each(&mut *yes);
        if self.row.kind == "invalid" {
            yes("invalid");
        }
        if let Some(illegal) = self.world.illegal(self.row) {
            yes(&illegal);
        }
    }

    fn rulers(&self, yes: &mut dyn FnMut(&str)) {
        if let Some(by) = self.world.text(self.row.by) {
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

    fn session(&self) -> (u32, &str) {
        (self.row.session.0, self.world.session_name(self.row.session))
    }

    fn time_of_day(&self) -> u32 {
        time_of_day(self.log.clock().wall(self.row.at))
    }
}
