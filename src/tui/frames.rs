//! The list of frames: which rows are shown, where the cursor is, and that it never jumps while
//! one reads.

use std::collections::HashSet;

use crate::log::Log;
use crate::log::query::{Cost, Query};
use crate::log::record::{OpId, Seq};
use crate::log::subject::{Prefilter, RowSubject};
use crate::log::world::{Row, World};

/// One line of the list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Line {
    /// The frame; of an operation its first.
    pub seq: Seq,
    /// Whether this line stands for an operation as a whole.
    pub whole: bool,
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
    /// Rows that there were when the list was built anew.
    built: usize,
    /// The frame that the cursor is to stay on while the list is built, and how far down.
    sought: Option<(Seq, usize)>,
    /// The frame that was looked at last, for when nothing is shown.
    place: Option<Seq>,
}

/// Rows that are looked at before keys are looked at again …
const CHEAP: usize = 200_000;
/// … where the tape has to be searched …
const SEARCHED: usize = 50_000;
/// … and where every message has to be read.
const READ: usize = 2_000;

impl Frames {
    pub fn new() -> Self {
        Self { follow: true, ..Self::default() }
    }

    /// All filters as one query; none when nothing is filtered.
    pub fn query(&self) -> Option<Query> {
        self.chips.iter().map(|chip| chip.query.clone()).reduce(|all, next| all.and(&next))
    }

    /// The frame that is looked at, also when the filter hides everything.
    pub fn position(&self) -> Option<Seq> {
        self.selected().or(self.place)
    }

    /// The frame under the cursor.
    pub fn selected(&self) -> Option<Seq> {
        self.lines.get(self.cursor).map(|line| line.seq)
    }

    /// Rows that have arrived and are not looked at yet.
    pub fn unseen(&self, world: &World) -> usize {
        world.rows.len().saturating_sub(self.seen)
    }

    /// Takes in what is new in the world, a part at a time where messages have to be searched;
    /// `touched` are older frames whose state has changed.
    pub fn sync(&mut self, world: &World, log: &Log, touched: &[Seq], height: usize) {
        if self.paused {
            return;
        }
        let query = self.query();
        let most = query.as_ref().map_or(CHEAP, |query| match query.cost() {
            Cost::Row => CHEAP,
            Cost::Search => SEARCHED,
            Cost::Message => READ,
        });
        let from = self.seen;
        let rows = &world.rows[from..world.rows.len().min(from + most)];
        let prefilter = query.as_ref().zip(rows.first().zip(rows.last()));
        let prefilter =
            prefilter.map(|(query, (first, last))| Prefilter::new(query, log, first.seq, last.seq));
        let matches = |row: &Row| {
            let subject = RowSubject { prefilter: prefilter.as_ref(), ..RowSubject::new(world, row, log) };
            query.as_ref().is_none_or(|query| query.matches(&subject))
        };
        let mut reads = 0;
        for row in rows {
            if reads >= READ {
                break;
            }
            reads += usize::from(prefilter.as_ref().is_some_and(|prefilter| prefilter.is_hit(row.seq)));
            self.seen += 1;
            let Some(operation) = Some(row).filter(|_| self.operations).and_then(|row| world.root(row))
            else {
                if matches(row) {
                    self.lines.push(Line { seq: row.seq, whole: false, nested: false });
                }
                continue;
            };
            if world.first(operation).is_none_or(|first| first.seq != row.seq) {
                // It was looked at where it began, when this frame was not there yet.
                let is_new = world.row_index(row.seq).is_some_and(|place| place >= self.built);
                if is_new && self.unfolded.contains(&operation.id) {
                    self.rebuild(world, log, height);
                    return;
                }
                continue;
            }
            // An operation is shown where it began, when any of its frames matches.
            let family = world.family(operation);
            if family.iter().filter_map(|seq| world.row(*seq)).any(matches) {
                self.lines.push(Line { seq: row.seq, whole: true, nested: false });
                if self.unfolded.contains(&operation.id) {
                    self.lines.extend(family.into_iter().map(|seq| Line { seq, whole: false, nested: true }));
                }
            }
        }
        if let Some(query) = query.filter(|_| !self.operations) {
            self.refresh(world, log, &query, touched);
        }
        if self.follow {
            self.cursor = self.lines.len().saturating_sub(1);
        } else if let Some((seq, offset)) = self.sought {
            self.cursor = self.nearest(seq);
            self.top = self.cursor.saturating_sub(offset);
        }
        if !self.is_scanning(world) {
            self.sought = None;
        }
        self.reveal(height);
    }

    /// Whether there are rows that were not looked at yet.
    pub fn is_scanning(&self, world: &World) -> bool {
        !self.paused && self.seen < world.rows.len()
    }

    /// How much of the world was looked at, in hundredths.
    pub fn scanned(&self, world: &World) -> usize {
        self.seen * 100 / world.rows.len().max(1)
    }

    /// Looks again at frames that changed: they may match now, or not any more.
    fn refresh(&mut self, world: &World, log: &Log, query: &Query, touched: &[Seq]) {
        for seq in touched {
            let Some(at) = world.row_index(*seq).filter(|at| *at < self.seen) else { continue };
            let row = &world.rows[at];
            let matches = query.matches(&RowSubject::new(world, row, log));
            match (self.lines.binary_search_by_key(seq, |line| line.seq), matches) {
                (Err(at), true) => {
                    self.lines.insert(at, Line { seq: row.seq, whole: false, nested: false });
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

    /// Builds the list anew and keeps the cursor on the frame it was on, or the nearest before.
    pub fn rebuild(&mut self, world: &World, log: &Log, height: usize) {
        if let Some(seq) = self.position() {
            self.place = Some(seq);
            self.sought.get_or_insert((seq, self.cursor.saturating_sub(self.top)));
        }
        self.lines.clear();
        (self.seen, self.built) = (0, world.rows.len());
        let paused = std::mem::take(&mut self.paused);
        self.sync(world, log, &[], height);
        self.paused = paused;
    }

    /// The line of frame `seq`, if it is shown.
    fn line_of(&self, seq: Seq) -> Option<usize> {
        match self.operations {
            // The frames of an unfolded operation stand before later ones.
            true => self.lines.iter().position(|line| line.seq == seq),
            false => self.lines.binary_search_by_key(&seq, |line| line.seq).ok(),
        }
    }

    fn nearest(&self, seq: Seq) -> usize {
        let before = || match self.operations {
            true => self.lines.iter().rposition(|line| line.seq <= seq),
            false => self.lines.partition_point(|line| line.seq <= seq).checked_sub(1),
        };
        self.line_of(seq).or_else(before).unwrap_or(0)
    }

    /// Puts the cursor on `seq`, or the nearest line before it.
    pub fn go_near(&mut self, seq: Seq, height: usize) {
        self.go(self.nearest(seq), height);
    }

    /// Puts the cursor on `seq`. Returns whether it is in the list.
    pub fn select(&mut self, seq: Seq, height: usize) -> bool {
        let Some(at) = self.line_of(seq) else { return false };
        self.go(at, height);
        true
    }

    /// Puts the cursor on line `at`; following ends unless it is the last.
    pub fn go(&mut self, at: usize, height: usize) {
        let last = self.lines.len().saturating_sub(1);
        self.cursor = at.min(last);
        // Whoever moves it does not want it back.
        self.sought = None;
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
