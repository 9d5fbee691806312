//! Prompts: one-line inputs, and the actions that they start.

use std::time::Duration;

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::app::{App, NextScreen, Purpose};
use super::command::Cmd;
use super::keys::line_key;
use super::overlay::{COUNTED, Overlay, Wants};
use crate::engine::Command;
use crate::log::query::{Cost, Field, complete};
use crate::log::record::Level;
use crate::log::subject::{Prefilter, RowSubject};
use crate::log::world::Row;

impl App {
    /// Checks the text of the prompt again: its validity, matches and completions.
    pub(super) fn check_prompt(&mut self) {
        let Some(Overlay::Prompt(mut prompt)) = self.overlay.take() else { return };
        if prompt.is_query() {
            let query = prompt.query();
            prompt.count = query.map(|query| {
                let log = self.log();
                let most = if query.cost() == Cost::Message { COUNTED / 20 } else { COUNTED };
                let rows = &self.world.rows[self.world.rows.len().saturating_sub(most)..];
                let (first, last) = (rows.first().map_or(0, |row| row.seq), self.world.last);
                let prefilter = Prefilter::new(&query, log, first, last);
                let asked = |row: &&Row| {
                    let subject = RowSubject::new(&self.world, row, log);
                    query.matches(&RowSubject { prefilter: Some(&prefilter), ..subject })
                };
                rows.iter().filter(asked).count()
            });
            let text = prompt.text().to_owned();
            let column = prompt.input.cursor().1;
            let cursor = text.char_indices().nth(column).map_or(text.len(), |(at, _)| at);
            let completion = complete(&text, cursor, &|field| self.values_seen(field));
            prompt.completion = Some(completion).filter(|completion| !completion.candidates.is_empty());
        }
        self.overlay = Some(Overlay::Prompt(prompt));
    }

    /// Returns the values that a field has had so far.
    fn values_seen(&self, field: Field) -> Vec<String> {
        let mut values: Vec<String> = match field {
            Field::Tool => self
                .world
                .rows
                .iter()
                .filter_map(|row| self.world.text(row.target))
                .map(str::to_owned)
                .collect(),
            Field::Method => self
                .world
                .rows
                .iter()
                .filter_map(|row| self.world.text(row.method))
                .map(str::to_owned)
                .collect(),
            Field::Sess => self.world.sessions.values().map(|session| session.opened.name.clone()).collect(),
            Field::Rule => self.world.rulers().map(str::to_owned).collect(),
            _ => return Vec::new(),
        };
        values.sort();
        values.dedup();
        values
    }

    pub(super) fn prompt_key(&mut self, key: KeyEvent) {
        let Some(Overlay::Prompt(prompt)) = &mut self.overlay else { return };
        match key.code {
            KeyCode::Esc => self.overlay = None,
            KeyCode::Enter => self.prompt_done(),
            KeyCode::Tab | KeyCode::BackTab => {
                let Some(completion) = prompt.completion.clone() else { return };
                let count = completion.candidates.len();
                let at = prompt.candidate % count;
                let (word, _) = &completion.candidates[at];
                let text = prompt.text().to_owned();
                let written =
                    format!("{}{word}{}", &text[..completion.span.start], &text[completion.span.end..]);
                prompt.input = super::form::line(&written);
                // A second Tab inserts the next candidate in the same place.
                if count > 1 && !word.ends_with(':') {
                    prompt.candidate = at + 1;
                    let span = completion.span.start..completion.span.start + word.len();
                    prompt.query();
                    if let Some(Overlay::Prompt(prompt)) = &mut self.overlay {
                        prompt.completion = Some(crate::log::query::Completion { span, ..completion });
                    }
                } else {
                    self.check_prompt();
                }
            }
            KeyCode::Char('t') if key.modifiers.contains(KeyModifiers::CONTROL) => {
                prompt.narrow = !prompt.narrow
            }
            KeyCode::Char('c') if key.modifiers.contains(KeyModifiers::CONTROL) => self.overlay = None,
            _ => {
                prompt.candidate = 0;
                line_key(&mut prompt.input, key);
                self.check_prompt();
            }
        }
    }

    fn prompt_done(&mut self) {
        let Some(Overlay::Prompt(mut prompt)) = self.overlay.take() else { return };
        let text = prompt.text().trim().to_owned();
        match prompt.wants.clone() {
            Wants::Filter | Wants::Breakpoint if prompt.query().is_none() => {
                // Keep the prompt open: it marks the mistake.
                self.overlay = Some(Overlay::Prompt(prompt));
            }
            Wants::Filter if prompt.narrow => self.narrow(&text),
            Wants::Filter => {
                self.frames.highlight = prompt.query().filter(|query| !query.is_empty());
                if self.frames.highlight.is_some() {
                    self.run(Cmd::NextMatch);
                }
            }
            Wants::Breakpoint => {
                let said = format!("breakpoint on {text}");
                self.send(Command::Break { query: text, patience: None }, Purpose::Say(said));
            }
            Wants::ToggleBreakpoint => match text.parse() {
                Ok(id) => self.send(Command::ToggleBreakpoint { id }, Purpose::Quiet),
                Err(_) => self.say(Level::Warning, format!("{text:?} is not a number")),
            },
            Wants::Note(frame) => {
                let session =
                    frame.and_then(|frame| self.world.row(frame)).map(|row| row.session).or(self.session());
                if let Some(session) = session.filter(|_| !text.is_empty()) {
                    self.send(
                        Command::Note { session, frame, mark: None, text },
                        Purpose::Say("note saved in the recording".into()),
                    );
                }
            }
            Wants::Delay(frame) => {
                match text.parse::<f64>().ok().and_then(|secs| Duration::try_from_secs_f64(secs).ok()) {
                    Some(by) => self.send(Command::Delay { frame, by }, Purpose::Quiet),
                    None => self.say(Level::Warning, format!("{text:?} is not a number of seconds")),
                }
            }
            Wants::Time => self.go_to_written_time(&text),
            Wants::Mark(frame) => self.set_mark(frame, &text),
            Wants::Letter => self.go_to_letter(&text),
            Wants::Other => self.compare_with(&text),
            Wants::Launch => match shell_words::split(&text) {
                Ok(words) if words.is_empty() => {}
                Ok(words) => self.open_next(NextScreen::Launch(words)),
                Err(error) => {
                    self.say(Level::Warning, error.to_string());
                    self.overlay = Some(Overlay::Prompt(prompt));
                }
            },
            Wants::Recording if text.is_empty() => {}
            Wants::Recording => self.open_next(NextScreen::Recording(text)),
            Wants::FrameNumber => match self.numbered(&text) {
                Some(seq) => self.jump_to(seq),
                None => self.say(Level::Warning, format!("there is no frame {text:?}")),
            },
        }
    }
}
