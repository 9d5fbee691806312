//! Filters, prompts and the clipboard.

use std::sync::Arc;

use super::super::app::{App, Effect};
use super::super::command::Pane;
use super::super::frames::Chip;
use super::super::overlay::{Overlay, Prompt, Wants};
use crate::log::query::Query;
use crate::log::record::Level;

impl App {
    pub(in crate::tui) fn update_list(&mut self) {
        let log = Arc::clone(self.log());
        let height = self.list_height();
        self.frames.sync(&self.world, &log, &[], height);
    }

    pub(in crate::tui) fn rebuild(&mut self) {
        let log = Arc::clone(self.log());
        let height = self.list_height();
        self.frames.rebuild(&self.world, &log, height);
    }

    /// Adds a filter to the current ones.
    pub(in crate::tui) fn narrow(&mut self, text: &str) {
        match Query::parse(text) {
            Ok(query) if query.is_empty() => {}
            Ok(query) => {
                self.frames.chips.push(Chip { query });
                self.rebuild();
            }
            Err(error) => self.say(Level::Warning, error.to_string()),
        }
    }

    pub(in crate::tui) fn pop_filter(&mut self) {
        if self.frames.chips.pop().is_some() {
            self.rebuild();
        } else {
            self.say(Level::Info, "no filter is set; / sets one");
        }
    }

    /// Returns a query that matches frames like the selected one.
    pub(in crate::tui) fn like(&self) -> Option<String> {
        let row = self.selected_row()?;
        let quoted = |text: &str| match text.contains([' ', '(', ')', '|', ',', '"', '*', '?']) {
            true => serde_json::Value::from(text).to_string(),
            false => text.to_owned(),
        };
        match (self.world.text(row.target), self.world.text(row.method)) {
            (Some(target), _) => Some(format!("tool:{}", quoted(target))),
            (None, Some(method)) => Some(format!("method:{}", quoted(method))),
            (None, None) => Some(format!("kind:{}", row.kind)),
        }
    }

    pub(in crate::tui) fn filter_like(&mut self, sign: &str) {
        if let Some(like) = self.like() {
            self.narrow(&format!("{sign}{like}"));
        }
    }

    pub(in crate::tui) fn prompt(&mut self, wants: Wants, text: &str) {
        self.overlay = Some(Overlay::Prompt(Prompt::new(wants, text)));
        self.check_prompt();
    }

    pub(in crate::tui) fn copy(&mut self, text: String, what: &str) {
        self.say(Level::Info, format!("{what} is on the clipboard"));
        self.effect(Effect::Copy(text));
    }

    pub(in crate::tui) fn yank_message(&mut self) {
        let seq = match self.screen {
            Pane::Intercept => self.hold.selected(&self.world),
            _ => self.frames.selected(),
        };
        let record = seq.and_then(|seq| self.log().get(seq));
        if let Some(frame) = record.as_ref().and_then(|record| record.frame()) {
            let text = String::from_utf8_lossy(frame.message.body()).into_owned();
            self.copy(text, "the message");
        }
    }

    pub(in crate::tui) fn yank_value(&mut self) {
        let Some(span) = self.detail.node().map(|node| node.span.clone()) else { return };
        let record = self.detail.seq.and_then(|seq| self.log().get(seq));
        if let Some(frame) = record.as_ref().and_then(|record| record.frame()) {
            let text = String::from_utf8_lossy(frame.message.slice(span)).into_owned();
            self.copy(text, "the value");
        }
    }
}
