//! The list of frames: which rows are shown, where the cursor is, and that it never jumps while
//! one reads.

use std::collections::HashSet;

use crate::log::Log;
use crate::log::query::Query;
use crate::log::record::{OpId, Seq};
use crate::log::subject::RowSubject;
use crate::log::world::World;

/// One line of the list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Line {
    /// The frame; of an operation its first.
    pub seq: Seq,
    /// The operation that this line stands for as a whole.
    pub op: Option<OpId>,
    /// A frame inside an unfolded operation.
    pub nested: bool,
}

/// A filter that is ANDed with the others.
#[derive(Debug, Clone)]
pub struct Chip {
    pub query: Query,
}

/// The state of the list.
#[derive(Debug, Default)]
pub struct Frames {
    pub lines: Vec<Line>,
    pub cursor: usize,
    /// The first line on the screen.
    pub top: usize,
    pub follow: bool,
    /// Frames go on arriving, and are not shown.
    pub paused: bool,
    pub operations: bool,
    pub unfolded: HashSet<OpId>,
    pub chips: Vec<Chip>,
    /// Shows matches without hiding the rest.
    pub highlight: Option<Query>,
    /// Rows of the world that were looked at.
    seen: usize,
}

impl Frames {
    pub fn new() -> Self {
        Self { follow: true, ..Self::default() }
    }

    /// All filters as one query; none when nothing is filtered.
    pub fn query(&self) -> Option<Query> {
        self.chips.iter().map(|chip| chip.query.clone()).reduce(|all, next| all.and(&next))
    }

    /// The frame under the cursor.
    pub fn selected(&self) -> Option<Seq> {
        self.lines.get(self.cursor).map(|line| line.seq)
    }

    /// Rows that have arrived and are not looked at, because the view is paused.
    pub fn unseen(&self, world: &World) -> usize {
        world.rows.len().saturating_sub(self.seen)
    }

    /// Takes in what is new in the world; `touched` are older frames whose state has changed.
    pub fn sync(&mut self, world: &World, log: &Log, touched: &[Seq], height: usize) {
        if self.paused {
            return;
        }
        let query = self.query();
        let from = std::mem::replace(&mut self.seen, world.rows.len());
        for row in &world.rows[from..] {
            let root = Some(row).filter(|_| self.operations).and_then(|row| world.root(row));
            if let Some(root) = root.filter(|root| root.frames.first() != Some(&row.seq)) {
                if self.unfolded.contains(&root.id) {
                    self.rebuild(world, log, height);
                    return;
                }
                continue;
            }
            let subject = RowSubject { world, row, log };
            if query.as_ref().is_none_or(|query| query.matches(&subject)) {
                self.lines.push(self.line(row.seq, row.op));
            }
        }
        if let Some(query) = query {
            self.refresh(world, log, &query, touched);
        }
        if self.follow {
            self.cursor = self.lines.len().saturating_sub(1);
        }
        self.reveal(height);
    }

    /// Looks again at frames that changed: they may match now, or not any more.
    fn refresh(&mut self, world: &World, log: &Log, query: &Query, touched: &[Seq]) {
        if self.operations {
            return;
        }
        for seq in touched {
            let Some(row) = world.row(*seq) else { continue };
            let matches = query.matches(&RowSubject { world, row, log });
            match (self.lines.binary_search_by_key(seq, |line| line.seq), matches) {
                (Err(at), true) => {
                    self.lines.insert(at, self.line(row.seq, row.op));
                    self.cursor += usize::from(at <= self.cursor && self.lines.len() > 1);
                    self.top += usize::from(at < self.top);
                }
                (Ok(at), false) => {
                    self.lines.remove(at);
                    self.cursor -= usize::from(at < self.cursor);
                    self.top -= usize::from(at < self.top);
                }
                _ => {}
            }
        }
        self.cursor = self.cursor.min(self.lines.len().saturating_sub(1));
    }

    fn line(&self, seq: Seq, op: Option<OpId>) -> Line {
        Line { seq, op: op.filter(|_| self.operations), nested: false }
    }

    /// Builds the list anew and keeps the cursor on the frame it was on, or the nearest before.
    pub fn rebuild(&mut self, world: &World, log: &Log, height: usize) {
        let at = self.selected();
        let offset = self.cursor.saturating_sub(self.top);
        let query = self.query();
        let matches = |seq: Seq| {
            query.as_ref().is_none_or(|query| {
                world.row(seq).is_some_and(|row| query.matches(&RowSubject { world, row, log }))
            })
        };
        self.lines.clear();
        for row in &world.rows {
            let operation = Some(row).filter(|_| self.operations).and_then(|row| world.root(row));
            let Some(operation) = operation else {
                if matches(row.seq) {
                    self.lines.push(self.line(row.seq, None));
                }
                continue;
            };
            // An operation is shown where it began, when any of its frames matches.
            if operation.frames.first() != Some(&row.seq) {
                continue;
            }
            let family = world.family(operation);
            if !family.iter().any(|seq| matches(*seq)) {
                continue;
            }
            self.lines.push(self.line(row.seq, row.op));
            if self.unfolded.contains(&operation.id) {
                self.lines.extend(family.into_iter().map(|seq| Line { seq, op: None, nested: true }));
            }
        }
        self.seen = world.rows.len();
        if self.follow {
            self.cursor = self.lines.len().saturating_sub(1);
        } else if let Some(at) = at {
            self.cursor = self.nearest(at);
        }
        self.top = self.cursor.saturating_sub(offset);
        self.reveal(height);
    }

    fn nearest(&self, seq: Seq) -> usize {
        let exact = self.lines.iter().position(|line| line.seq == seq);
        let before = || self.lines.iter().rposition(|line| line.seq <= seq);
        exact.or_else(before).unwrap_or(0)
    }

    /// Puts the cursor on `seq`. Returns whether it is in the list.
    pub fn select(&mut self, seq: Seq, height: usize) -> bool {
        let Some(at) = self.lines.iter().position(|line| line.seq == seq) else { return false };
        self.go(at, height);
        true
    }

    /// Puts the cursor on line `at`; following ends unless it is the last.
    pub fn go(&mut self, at: usize, height: usize) {
        let last = self.lines.len().saturating_sub(1);
        self.cursor = at.min(last);
        if self.cursor < last {
            self.follow = false;
        }
        self.reveal(height);
    }

    /// Scrolls just as far as it takes to see the cursor.
    pub fn reveal(&mut self, height: usize) {
        let height = height.max(1);
        if self.cursor < self.top {
            self.top = self.cursor;
        } else if self.cursor >= self.top + height {
            self.top = self.cursor + 1 - height;
        }
        // No empty lines below while there are rows above.
        self.top = self.top.min(self.lines.len().saturating_sub(height));
    }
}
