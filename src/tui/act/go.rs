//! Movement of the cursor, and keyboard focus.

use std::sync::Arc;

use super::super::app::App;
use super::super::command::{Cmd, Pane};
use super::super::composer::Focus;
use super::super::frames::{self};
use crate::log::record::{Level, Role, Seq};
use crate::log::subject::RowSubject;
use crate::log::world::Row;

impl App {
    pub(in crate::tui) fn page(&self) -> isize {
        let height = if self.in_detail { self.detail_height() } else { self.list_height() };
        isize::try_from(height.saturating_sub(1).max(1)).unwrap_or(1)
    }

    pub(in crate::tui) fn step(&mut self, by: isize) {
        let height = self.list_height();
        match self.active_pane() {
            Pane::Detail => {
                let at = self.detail.cursor.saturating_add_signed(by);
                self.detail.go(at, self.detail_height());
            }
            Pane::Intercept => {
                let last = self.world.held.len().saturating_sub(1);
                self.hold.cursor = self.hold.cursor.saturating_add_signed(by).min(last);
            }
            Pane::Sessions => self.sessions.step(&self.world, by),
            Pane::Logs => self.logs.scroll(by, height),
            Pane::Doctor => {
                let checks = self.doctor.results.checks.iter();
                let findings = checks.flat_map(|check| &check.findings);
                let last = findings.map(|finding| finding.evidence.len() + 2).sum::<usize>()
                    + self.doctor.results.checks.len();
                self.doctor.top = self.doctor.top.saturating_add_signed(by).min(last);
            }
            Pane::Diff => self.diff.step(by),
            Pane::Help => self.help_top = self.help_top.saturating_add_signed(by).min(Cmd::ALL.len()),
            Pane::Compose => {
                let last = self.composer.offers.len().saturating_sub(1);
                self.composer.cursor = self.composer.cursor.saturating_add_signed(by).min(last);
            }
            Pane::Frames | Pane::Tape => {
                let at = self.frames.cursor.saturating_add_signed(by);
                self.frames.go(at, height);
            }
        }
    }

    pub(in crate::tui) fn go_to_end(&mut self) {
        if matches!(self.active_pane(), Pane::Frames | Pane::Tape) {
            self.scrub.player.pause();
            self.frames.follow = true;
            self.frames.paused = false;
            self.update_list();
            let height = self.list_height();
            self.frames.go(usize::MAX, height);
        } else {
            self.step(isize::MAX / 2);
        }
    }

    pub(in crate::tui) fn open(&mut self) {
        if self.active_pane() == Pane::Detail {
            let log = Arc::clone(self.log());
            let job = self.detail.toggle(&log);
            self.render(job);
        } else if self.fold_operation() {
            self.rebuild();
        } else {
            self.in_detail = true;
        }
    }

    /// Folds or unfolds the operation under the cursor. Returns `false` if there is none.
    pub(in crate::tui) fn fold_operation(&mut self) -> bool {
        let line = self.frames.lines.get(self.frames.cursor);
        let row = line.filter(|line| line.whole).and_then(|line| self.world.row(line.seq));
        let Some(op) = row.and_then(Row::op) else { return false };
        if !self.frames.unfolded.remove(&op) {
            self.frames.unfolded.insert(op);
        }
        self.frames.follow = false;
        true
    }

    pub(in crate::tui) fn left(&mut self) {
        if self.active_pane() != Pane::Detail {
            return;
        }
        let log = Arc::clone(self.log());
        if self.detail.node().is_some_and(|node| node.unfolded == Some(true)) {
            let job = self.detail.toggle(&log);
            self.render(job);
        } else if !self.detail.go_to_parent(self.detail_height()) {
            self.in_detail = false;
        }
    }

    pub(in crate::tui) fn right(&mut self) {
        if self.active_pane() != Pane::Detail {
            self.in_detail = true;
            return;
        }
        if self.detail.node().is_some_and(|node| node.unfolded == Some(false)) {
            let log = Arc::clone(self.log());
            let job = self.detail.toggle(&log);
            self.render(job);
        }
    }

    pub(in crate::tui) fn back(&mut self) {
        self.toast = None;
        if self.keymap.cancel() {
        } else if self.screen == Pane::Help {
            self.screen = self.before_help;
        } else if self.zoomed {
            self.zoomed = false;
            self.in_detail = false;
        } else if self.in_detail {
            self.in_detail = false;
        } else if self.screen == Pane::Intercept && self.hold.editing.is_some() {
            self.hold.editing = None;
        } else if self.screen == Pane::Compose && self.composer.focus != Focus::List {
            self.composer.focus = Focus::List;
        } else if self.frames.highlight.take().is_some() {
        } else if self.mode.is_home() && matches!(self.screen, Pane::Sessions | Pane::Frames) {
            // The Sessions screen is the start screen.
            self.show_sessions();
        } else if self.returns_home
            && self.mode.is_tape()
            && matches!(self.screen, Pane::Frames | Pane::Tape | Pane::Sessions)
        {
            // The recording was opened from a list, to which the user goes back.
            self.quit();
        } else if self.screen != Pane::Frames {
            self.screen = Pane::Frames;
        }
    }

    pub(in crate::tui) fn show(&mut self, place: Pane) {
        if place == Pane::Help && self.screen != Pane::Help {
            self.before_help = self.screen;
            self.help_top = 0;
        }
        self.screen = place;
    }

    pub(in crate::tui) fn jump(&mut self, to: Option<Seq>) {
        let height = self.list_height();
        match to {
            Some(seq) if self.frames.select(seq, height) => self.frames.follow = false,
            Some(seq) => self.say(
                Level::Info,
                format!("{} is hidden by the filter; Backspace removes it", self.number(seq)),
            ),
            None => self.say(Level::Info, "nothing found"),
        }
    }

    pub(in crate::tui) fn jump_to(&mut self, seq: Seq) {
        self.jump(Some(seq));
    }

    pub(in crate::tui) fn jump_where(&mut self, forward: bool, fits: impl Fn(&Self, &Row) -> bool) {
        let lines = &self.frames.lines;
        let fits = |line: &frames::FrameListLine| self.world.row(line.seq).is_some_and(|row| fits(self, row));
        let at = self.frames.cursor;
        let found = match forward {
            true => lines.iter().skip(at + 1).find(|line| fits(line)),
            false => lines[..at.min(lines.len())].iter().rev().find(|line| fits(line)),
        };
        self.jump(found.map(|line| line.seq));
    }

    pub(in crate::tui) fn is_match(&self, row: &Row) -> bool {
        let subject = RowSubject::new(&self.world, row, self.log());
        self.frames.highlight.as_ref().is_some_and(|query| query.matches(&subject))
    }

    pub(in crate::tui) fn within_operation(&mut self, by: isize) {
        let Some(row) = self.selected_row() else { return };
        let seq = row.seq;
        let next = self.world.root(row).and_then(|operation| {
            let frames = self.world.family(operation);
            let at = frames.binary_search(&seq).ok()?;
            frames.get(at.checked_add_signed(by)?).copied()
        });
        self.jump(next);
    }

    /// Returns the answer to the selected request, or the request of the selected answer.
    pub(in crate::tui) fn pair(&self) -> Option<Seq> {
        let row = self.selected_row()?;
        let operation = self.world.operation(row.op()?)?;
        let is_answer = |row: &Row| matches!(row.role, Role::Response | Role::InputRequired);
        let find = |wanted: &dyn Fn(&Row) -> bool| {
            self.world.frames(operation).find(|row| wanted(row)).map(|row| row.seq)
        };
        match is_answer(row) {
            true => find(&|row| matches!(row.role, Role::Request | Role::Retry)),
            false => find(&is_answer),
        }
    }

    pub(in crate::tui) fn selected_row(&self) -> Option<&Row> {
        self.world.row(self.frames.selected()?)
    }

    pub(in crate::tui) fn look_at(&mut self, steps: usize) {
        let log = Arc::clone(self.log());
        let view = self.detail.view.step(steps);
        let job = self.detail.look(view, &log);
        self.render(job);
    }
}
