//! Comparing recordings.

use super::super::app::{App, Effect};
use super::super::command::Pane;
use super::super::diff::Comparison;
use crate::log::record::Level;

impl App {
    /// Compares this recording with what was written.
    pub(in crate::tui) fn compare_with(&mut self, text: &str) {
        let own = self.recording.borrow().path.clone();
        match Comparison::parse(text, own) {
            Ok(comparison) => self.compare(comparison),
            Err(why) => self.say(Level::Warning, why),
        }
    }

    fn compare(&mut self, comparison: Comparison) {
        // What is shown until then, and if it fails, is what was compared before.
        self.diff.before = self.diff.asked.replace(comparison.clone());
        self.diff.working = true;
        self.effect(Effect::Compare(Box::new(comparison)));
    }

    /// Leaves the path under the cursor out, and compares again.
    pub(in crate::tui) fn ignore_path(&mut self) {
        let path = self.diff.line().and_then(|line| line.path.clone());
        match (path, self.diff.asked.clone()) {
            (Some(path), Some(mut comparison)) => {
                comparison.ignored.push(path.clone());
                self.say(Level::Info, format!("without {path}; `tape test --ignore` takes it too"));
                self.compare(comparison);
            }
            _ => self.say(Level::Info, "there is no path on this line"),
        }
    }

    /// Goes to the frame that the line under the cursor is about.
    pub(in crate::tui) fn show_difference(&mut self) {
        match self.diff.line().and_then(|line| line.frame) {
            Some(frame) => {
                self.show(Pane::Frames);
                self.jump_to(frame);
            }
            None => self.say(Level::Info, "this line is about no single frame"),
        }
    }
}
