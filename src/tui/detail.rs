//! Pane that shows one message in one of several formats.

use std::collections::HashSet;

use super::render::{PaneRow, RenderJob, Rendered, Slot, TreeValue, View};
use crate::log::Log;
use crate::log::record::{Channel, Seq};

/// State of a pane that shows a message.
#[derive(Debug)]
pub struct Detail {
    slot: Slot,
    /// Frame whose message is shown.
    pub seq: Option<Seq>,
    /// Format of the message.
    pub view: View,
    toggled: HashSet<usize>,
    rendered: Option<Rendered>,
    generation: u64,
    /// Index of the row under the cursor.
    pub cursor: usize,
    /// Index of the first row on the screen.
    pub top: usize,
    width: usize,
}

impl Detail {
    /// Creates an empty pane.
    pub fn new(slot: Slot, view: View) -> Self {
        Self {
            slot,
            seq: None,
            view,
            toggled: HashSet::new(),
            rendered: None,
            generation: 0,
            cursor: 0,
            top: 0,
            width: 80,
        }
    }

    /// Shows another message. Returns a job if it must be rendered.
    pub fn show(&mut self, seq: Option<Seq>, log: &Log) -> Option<RenderJob> {
        if self.seq == seq {
            return None;
        }
        self.seq = seq;
        self.toggled.clear();
        self.rendered = None;
        self.cursor = 0;
        self.top = 0;
        self.job(log)
    }

    /// Shows the message in another format.
    pub fn look(&mut self, view: View, log: &Log) -> Option<RenderJob> {
        self.view = view;
        self.cursor = 0;
        self.top = 0;
        self.job(log)
    }

    /// Renders the message again if the width in columns has changed.
    pub fn resize(&mut self, width: usize, log: &Log) -> Option<RenderJob> {
        if self.width == width {
            return None;
        }
        self.width = width;
        self.job(log)
    }

    fn job(&mut self, log: &Log) -> Option<RenderJob> {
        let seq = self.seq?;
        let record = log.get(seq)?;
        let frame = record.frame()?;
        let bytes = frame.message.raw().clone();
        self.generation += 1;
        Some(RenderJob {
            slot: self.slot,
            seq,
            generation: self.generation,
            view: self.view,
            bytes,
            http: frame.http.clone(),
            is_text: frame.channel != Channel::Main,
            toggled: self.toggled.clone(),
            width: self.width,
        })
    }

    /// Takes the rendered rows, unless a newer job is under way.
    pub fn set_rendered(&mut self, rendered: Rendered) {
        if rendered.generation == self.generation {
            self.cursor = self.cursor.min(rendered.rows.len().saturating_sub(1));
            self.rendered = Some(rendered);
        }
    }

    /// Returns the rows rendered last for this message; they stay until the next rendering is
    /// ready.
    pub fn rows(&self) -> &[PaneRow] {
        let fits = |rendered: &&Rendered| Some(rendered.seq) == self.seq;
        self.rendered.as_ref().filter(fits).map_or(&[], |rendered| &rendered.rows)
    }

    /// Returns the value under the cursor.
    pub fn node(&self) -> Option<&TreeValue> {
        self.rows().get(self.cursor)?.node.as_ref()
    }

    /// Folds or unfolds the value under the cursor. Returns `None` if it cannot be folded.
    pub fn toggle(&mut self, log: &Log) -> Option<RenderJob> {
        let node = self.node()?;
        node.unfolded?;
        let start = node.span.start;
        if !self.toggled.remove(&start) {
            self.toggled.insert(start);
        }
        self.job(log)
    }

    /// Puts the cursor on the value that contains the current one. Returns `false` if there is
    /// none.
    pub fn go_to_parent(&mut self, height: usize) -> bool {
        let Some(depth) = self.node().map(|node| node.depth) else { return false };
        let is_parent = |row: &PaneRow| row.node.as_ref().is_some_and(|node| node.depth < depth);
        match self.rows()[..self.cursor].iter().rposition(is_parent) {
            Some(parent) => {
                self.go(parent, height);
                true
            }
            None => false,
        }
    }

    /// Puts the cursor on row `at` and scrolls just far enough to show it.
    pub fn go(&mut self, at: usize, height: usize) {
        self.cursor = at.min(self.rows().len().saturating_sub(1));
        let height = height.max(1);
        if self.cursor < self.top {
            self.top = self.cursor;
        } else if self.cursor >= self.top + height {
            self.top = self.cursor + 1 - height;
        }
    }
}
