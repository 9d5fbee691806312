//! Comparison of recordings.

use super::super::app::{App, Effect};
use super::super::command::Pane;
use super::super::diff::DiffJob;
use crate::log::record::Level;

impl App {
    /// Compares this recording with the one that `text` names.
    pub(in crate::tui) fn compare_with(&mut self, text: &str) {
        let own = self.recording.borrow().path.clone();
        match DiffJob::parse(text, own) {
            Ok(comparison) => self.compare(comparison),
            Err(why) => self.say(Level::Warning, why),
        }
    }

    fn compare(&mut self, comparison: DiffJob) {
        // If this comparison fails, the report of the previous one is shown again.
        self.diff.before = self.diff.asked.replace(comparison.clone());
        self.diff.working = true;
        self.effect(Effect::Compare(Box::new(comparison)));
    }

    /// Ignores the path under the cursor and compares again.
    pub(in crate::tui) fn ignore_path(&mut self) {
        let path = self.diff.line().and_then(|line| line.path.clone());
        match (path, self.diff.asked.clone()) {
            (Some(path), Some(mut comparison)) => {
                comparison.ignored.push(path.clone());
                self.say(Level::Info, format!("ignoring {path}; `tape test --ignore` does the same"));
                self.compare(comparison);
            }
            _ => self.say(Level::Info, "there is no path on this line"),
        }
    }

    /// Goes to the frame of the line under the cursor.
    pub(in crate::tui) fn show_difference(&mut self) {
        match self.diff.line().and_then(|line| line.frame) {
            Some(frame) => {
                self.show(Pane::Frames);
                self.jump_to(frame);
            }
            None => self.say(Level::Info, "this line does not refer to one frame"),
        }
    }
}
