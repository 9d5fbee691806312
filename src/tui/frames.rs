//! List of frames: selects the rows to show, and keeps the cursor in place while frames arrive.

use std::collections::HashSet;

use crate::log::Log;
use crate::log::query::{Cost, Query};
use crate::log::record::{OpId, Seq};
use crate::log::subject::{Prefilter, RowSubject};
use crate::log::world::{Row, World};

/// Line of the list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameListLine {
    /// Frame, or the first frame of an operation.
    pub seq: Seq,
    /// `true` if the line stands for a whole operation.
    pub whole: bool,
    /// `true` for a frame inside an unfolded operation.
    pub nested: bool,
}

/// Filter that is combined with the others by AND.
#[derive(Debug, Clone)]
pub struct Chip {
    /// Query that frames must match.
    pub query: Query,
}

/// State of the list of frames.
#[derive(Debug, Default)]
pub struct FrameList {
    /// Lines of the list.
    pub lines: Vec<FrameListLine>,
    /// Index of the line under the cursor.
    pub cursor: usize,
    /// Index of the first line on the screen.
    pub top: usize,
    /// `true` if the cursor stays on the newest frame.
    pub follow: bool,
    /// `true` if frames that arrive are not added to the list.
    pub paused: bool,
    /// `true` if the list has one line per operation.
    pub operations: bool,
    /// Operations whose frames are listed below them.
    pub unfolded: HashSet<OpId>,
    /// Filters, combined by AND.
    pub chips: Vec<Chip>,
    /// Query whose matches are marked without hiding other frames.
    pub highlight: Option<Query>,
    /// Number of rows of the world that were matched so far.
    seen: usize,
    /// Number of rows in the world when the list was rebuilt last.
    built: usize,
    /// Frame that the cursor is to stay on while the list is rebuilt, and its distance from the
    /// top.
    sought: Option<(Seq, usize)>,
    /// Frame that was under the cursor last, for when no line is shown.
    place: Option<Seq>,
}

/// Maximum number of rows matched between two inputs if the row itself answers the query.
const CHEAP: usize = 200_000;
/// Maximum number of rows matched between two inputs if the tape must be searched.
const SEARCHED: usize = 50_000;
/// Maximum number of messages read between two inputs.
const READ: usize = 2_000;

impl FrameList {
    /// Creates an empty list that follows the newest frame.
    pub fn new() -> Self {
        Self { follow: true, ..Self::default() }
    }

    /// Returns all filters as one query; `None` if there is no filter.
    pub fn query(&self) -> Option<Query> {
        self.chips.iter().map(|chip| chip.query.clone()).reduce(|all, next| all.and(&next))
    }

    /// Returns the frame under the cursor, or the last one there if the filter hides all frames.
    pub fn position(&self) -> Option<Seq> {
        self.selected().or(self.place)
    }

    /// Returns the frame under the cursor.
    pub fn selected(&self) -> Option<Seq> {
        self.lines.get(self.cursor).map(|line| line.seq)
    }

    /// Returns the number of rows that have arrived but were not matched yet.
    pub fn unseen(&self, world: &World) -> usize {
        world.rows.len().saturating_sub(self.seen)
    }

    /// Adds the rows that are new in the world. The number of rows per call is limited by the cost
    /// of the query. `touched` are older frames whose state has changed; `height` is the number of
    /// lines on the screen.
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
                    self.lines.push(FrameListLine { seq: row.seq, whole: false, nested: false });
                }
                continue;
            };
            if world.first(operation).is_none_or(|first| first.seq != row.seq) {
                // The line of the operation was added with its first frame. Rebuild if it also
                // lists this later frame.
                let is_new = world.row_index(row.seq).is_some_and(|place| place >= self.built);
                if is_new && self.unfolded.contains(&operation.id) {
                    self.rebuild(world, log, height);
                    return;
                }
                continue;
            }
            // An operation is listed at its first frame if any of its frames matches.
            let family = world.family(operation);
            if family.iter().filter_map(|seq| world.row(*seq)).any(matches) {
                self.lines.push(FrameListLine { seq: row.seq, whole: true, nested: false });
                if self.unfolded.contains(&operation.id) {
                    self.lines.extend(family.into_iter().map(|seq| FrameListLine {
                        seq,
                        whole: false,
                        nested: true,
                    }));
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

    /// Returns `true` if there are rows that were not matched yet, unless the list is paused.
    pub fn is_scanning(&self, world: &World) -> bool {
        !self.paused && self.seen < world.rows.len()
    }

    /// Returns the share of rows that were matched so far, in percent.
    pub fn scanned(&self, world: &World) -> usize {
        self.seen * 100 / world.rows.len().max(1)
    }

    /// Matches frames again that have changed: they may match now, or no longer.
    fn refresh(&mut self, world: &World, log: &Log, query: &Query, touched: &[Seq]) {
        for seq in touched {
            let Some(at) = world.row_index(*seq).filter(|at| *at < self.seen) else { continue };
            let row = &world.rows[at];
            let matches = query.matches(&RowSubject::new(world, row, log));
            match (self.lines.binary_search_by_key(seq, |line| line.seq), matches) {
                (Err(at), true) => {
                    self.lines.insert(at, FrameListLine { seq: row.seq, whole: false, nested: false });
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

    /// Rebuilds the list and keeps the cursor on its frame, or on the nearest one before it.
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

    /// Returns the index of the line of frame `seq`, if it is listed.
    fn line_of(&self, seq: Seq) -> Option<usize> {
        match self.operations {
            // Lines are not sorted: an unfolded operation lists its later frames early.
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

    /// Puts the cursor on `seq`, or on the nearest line before it.
    pub fn go_near(&mut self, seq: Seq, height: usize) {
        self.go(self.nearest(seq), height);
    }

    /// Puts the cursor on `seq`. Returns `true` if `seq` is in the list.
    pub fn select(&mut self, seq: Seq, height: usize) -> bool {
        let Some(at) = self.line_of(seq) else { return false };
        self.go(at, height);
        true
    }

    /// Puts the cursor on line `at`. The list stops following unless this is the last line.
    pub fn go(&mut self, at: usize, height: usize) {
        let last = self.lines.len().saturating_sub(1);
        self.cursor = at.min(last);
        // The user moved the cursor: do not put it back after the rebuild.
        self.sought = None;
        if self.cursor < last {
            self.follow = false;
        }
        self.reveal(height);
    }

    /// Scrolls by the smallest amount that shows the cursor.
    pub fn reveal(&mut self, height: usize) {
        let height = height.max(1);
        if self.cursor < self.top {
            self.top = self.cursor;
        } else if self.cursor >= self.top + height {
            self.top = self.cursor + 1 - height;
        }
        // Leave no empty lines below while there are lines above.
        self.top = self.top.min(self.lines.len().saturating_sub(height));
    }
}
