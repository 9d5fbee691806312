//! Keys and mouse events that are not commands: text, menus, the palette, clicks.

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers, MouseButton, MouseEvent, MouseEventKind};
use ratatui_textarea::TextArea;

use super::app::{App, Effect, Purpose};
use super::ask::{Action, Question};
use super::command::{Cmd, Pane};
use super::composer::{Draft, Focus};
use super::form::Form;
use super::overlay::Overlay;
use super::view::review_width;
use crate::engine::Command;
use crate::log::record::Level;

fn control(key: KeyEvent, character: char) -> bool {
    key.code == KeyCode::Char(character) && key.modifiers.contains(KeyModifiers::CONTROL)
}

impl App {
    /// Handles a key if text is written or an overlay is open. Returns `false` if keys are
    /// commands.
    pub(super) fn text_key(&mut self, key: KeyEvent) -> bool {
        match self.overlay.take() {
            Some(Overlay::Prompt(prompt)) => {
                self.overlay = Some(Overlay::Prompt(prompt));
                self.prompt_key(key);
                true
            }
            Some(Overlay::Palette(palette)) => {
                self.overlay = Some(Overlay::Palette(palette));
                self.palette_key(key);
                true
            }
            Some(Overlay::Menu(menu)) => {
                let chosen = menu.items.iter().find(|(item, ..)| KeyCode::Char(*item) == key.code);
                if let Some((_, _, choice)) = chosen {
                    self.choose(choice.clone());
                } else if control(key, 'c') {
                    self.run(Cmd::QuitNow);
                } else if key.code != KeyCode::Esc {
                    self.overlay = Some(Overlay::Menu(menu));
                }
                true
            }
            Some(Overlay::Ask(ask)) => {
                self.overlay = Some(Overlay::Ask(ask));
                self.ask_key(key);
                true
            }
            Some(Overlay::Review(mut review)) => {
                let width = usize::from(review_width(self.size.0).saturating_sub(2));
                let last = review.rows(width).len().saturating_sub(1);
                match key.code {
                    KeyCode::Enter | KeyCode::Char('y') => {
                        self.effect(Effect::Change(Box::new(review.change)))
                    }
                    KeyCode::Esc | KeyCode::Char('q' | 'n') => {}
                    _ if control(key, 'c') => self.run(Cmd::QuitNow),
                    code => {
                        match code {
                            KeyCode::Down | KeyCode::Char('j') => review.top = (review.top + 1).min(last),
                            KeyCode::Up | KeyCode::Char('k') => review.top = review.top.saturating_sub(1),
                            _ => {}
                        }
                        self.overlay = Some(Overlay::Review(review));
                    }
                }
                true
            }
            None => match self.screen {
                Pane::Intercept => self.editor_key(key),
                Pane::Compose => self.draft_key(key),
                _ => false,
            },
        }
    }

    pub(super) fn paste(&mut self, text: &str) {
        let line = text.replace(['\n', '\r'], " ");
        match &mut self.overlay {
            Some(Overlay::Prompt(prompt)) => {
                prompt.input.insert_str(&line);
                self.check_prompt();
            }
            Some(Overlay::Palette(palette)) => {
                palette.input.insert_str(&line);
            }
            Some(Overlay::Ask(ask)) => match &mut ask.question {
                Question::Form { form, .. } => {
                    if let Some(field) = form.current() {
                        field.input.insert_str(&line);
                    }
                }
                Question::Sampling { text: area, .. } => {
                    area.insert_str(text);
                }
                Question::Url { .. } => {}
            },
            Some(Overlay::Menu(_) | Overlay::Review(_)) => {}
            None => {
                if let Some(editing) = self.hold.editing.as_mut().filter(|editing| editing.inserting) {
                    editing.text.insert_str(text);
                } else if self.screen == Pane::Compose && self.composer.focus == Focus::Draft {
                    match &mut self.composer.draft {
                        Some(
                            Draft::Message { text: area, .. } | Draft::Call { text: area, as_json: true, .. },
                        ) => {
                            area.insert_str(text);
                        }
                        Some(Draft::Call { form, .. }) => {
                            if let Some(field) = form.current() {
                                field.input.insert_str(&line);
                            }
                        }
                        None => {}
                    }
                }
            }
        }
    }

    // --- palette

    fn palette_key(&mut self, key: KeyEvent) {
        let place = self.active_pane();
        let Some(Overlay::Palette(palette)) = &mut self.overlay else { return };
        let last = palette.found.len().saturating_sub(1);
        match key.code {
            KeyCode::Esc => self.overlay = None,
            KeyCode::Down => palette.cursor = (palette.cursor + 1).min(last),
            KeyCode::Up => palette.cursor = palette.cursor.saturating_sub(1),
            KeyCode::Enter => {
                let chosen = palette.found.get(palette.cursor).copied();
                self.overlay = None;
                match chosen {
                    Some(command) if command.places().contains(&place) => self.run(command),
                    Some(command) => {
                        let place = command.places()[0];
                        self.say(
                            Level::Info,
                            format!("{} is available on the {} screen", command.short(), place.title()),
                        );
                    }
                    None => {}
                }
            }
            KeyCode::Char('c') if key.modifiers.contains(KeyModifiers::CONTROL) => self.overlay = None,
            _ => {
                line_key(&mut palette.input, key);
                palette.search(place);
            }
        }
    }

    // --- questions of the server

    fn ask_key(&mut self, key: KeyEvent) {
        let Some(Overlay::Ask(ask)) = &mut self.overlay else { return };
        let action = match key.code {
            KeyCode::Esc => {
                self.overlay = None;
                self.say(Level::Info, "the server is still waiting; Space q answers it");
                return;
            }
            _ if control(key, 's') => Action::Accept,
            _ if control(key, 'd') => Action::Decline,
            _ if control(key, 'x') => Action::Cancel,
            _ if control(key, 'c') => {
                self.overlay = None;
                self.run(Cmd::QuitNow);
                return;
            }
            KeyCode::Enter if matches!(ask.question, Question::Url { .. }) => Action::Accept,
            _ => {
                match &mut ask.question {
                    Question::Form { form, .. } => {
                        form_key(form, key);
                    }
                    Question::Sampling { text, .. } => {
                        text.input(key);
                    }
                    Question::Url { .. } => {}
                }
                return;
            }
        };
        let (session, frame) = (ask.session, ask.frame);
        if let Some(result) = ask.answer(action) {
            self.overlay = None;
            self.send(
                Command::Respond { session, frame, answer: result.into() },
                Purpose::Say("answer sent to the server".into()),
            );
        }
    }

    // --- editors

    fn editor_key(&mut self, key: KeyEvent) -> bool {
        let Some(editing) = self.hold.editing.as_mut().filter(|editing| editing.inserting) else {
            return false;
        };
        match key.code {
            KeyCode::Esc => editing.inserting = false,
            _ if control(key, 's') => self.run(Cmd::Send),
            _ if control(key, 'o') => self.run(Cmd::ComposeEditor),
            _ if control(key, 'c') => self.run(Cmd::QuitNow),
            _ => {
                editing.confirm = None;
                editing.text.input(key);
            }
        }
        true
    }

    fn draft_key(&mut self, key: KeyEvent) -> bool {
        if self.composer.focus == Focus::Reply && matches!(key.code, KeyCode::Up | KeyCode::Down) {
            let by = if key.code == KeyCode::Up { -1 } else { 1 };
            let at = self.reply.cursor.saturating_add_signed(by);
            self.reply.go(at, self.detail_height());
            return true;
        }
        if self.composer.focus != Focus::Draft || key.code == KeyCode::Esc {
            return false;
        }
        let is_command = key.modifiers.contains(KeyModifiers::CONTROL)
            && matches!(key.code, KeyCode::Char('s' | 't' | 'o' | 'n' | 'r' | 'p' | 'c'));
        if is_command {
            return false;
        }
        let taken = match &mut self.composer.draft {
            Some(Draft::Message { text, .. } | Draft::Call { text, as_json: true, .. }) => {
                if matches!(key.code, KeyCode::Tab | KeyCode::BackTab) {
                    return false;
                }
                text.input(key);
                true
            }
            Some(Draft::Call { form, .. }) => form_key(form, key),
            None => false,
        };
        if taken {
            self.composer.confirm = None;
        }
        taken
    }

    // --- mouse

    pub(super) fn mouse(&mut self, mouse: MouseEvent) {
        let at = ratatui::layout::Position::new(mouse.column, mouse.row);
        let by = match mouse.kind {
            MouseEventKind::ScrollDown => 3,
            MouseEventKind::ScrollUp => -3,
            MouseEventKind::Down(MouseButton::Left) => {
                self.click(at);
                return;
            }
            _ => return,
        };
        if self.overlay.is_some() {
            return;
        }
        let over_detail = self.areas.detail.contains(at);
        if matches!(self.screen, Pane::Frames | Pane::Tape) && over_detail != self.in_detail {
            // The wheel scrolls the pane under the pointer and leaves the keyboard focus where it
            // is.
            let keys = std::mem::replace(&mut self.in_detail, over_detail);
            self.step(by);
            self.in_detail = keys;
        } else {
            self.step(by);
        }
    }

    fn click(&mut self, at: ratatui::layout::Position) {
        if self.overlay.is_some() {
            return;
        }
        if self.areas.tabs.contains(at) {
            let column = usize::from(at.x - self.areas.tabs.x);
            if let Some(command) = super::view::tab_at(self, column) {
                self.run(command);
            }
        } else if self.areas.list.contains(at) {
            let row = usize::from(at.y - self.areas.list.y);
            let height = self.list_height();
            match self.screen {
                Pane::Frames | Pane::Tape => {
                    self.in_detail = false;
                    let line = self.frames.top + row;
                    if line < self.frames.lines.len() {
                        self.frames.go(line, height);
                    }
                }
                Pane::Intercept => self.hold.cursor = row.min(self.world.held.len().saturating_sub(1)),
                Pane::Compose => {
                    self.composer.focus = Focus::List;
                    self.composer.cursor = row.min(self.composer.offers.len().saturating_sub(1));
                }
                _ => {}
            }
        } else if self.screen == Pane::Frames && self.areas.detail.contains(at) {
            self.in_detail = true;
            let row = usize::from(at.y - self.areas.detail.y);
            let height = self.detail_height();
            self.detail.go(self.detail.top + row, height);
        }
    }
}

/// Handles a key in a one-line text. As in a shell, Ctrl-u deletes up to the beginning.
pub(super) fn line_key(line: &mut TextArea<'static>, key: KeyEvent) {
    if control(key, 'u') {
        line.delete_line_by_head();
    } else if key.code != KeyCode::Enter {
        line.input(key);
    }
}

/// Handles a key in a form. Returns `false` if the form has no use for it.
fn form_key(form: &mut Form, key: KeyEvent) -> bool {
    let last = form.fields.len().saturating_sub(1);
    match key.code {
        KeyCode::Down | KeyCode::Enter if form.cursor < last => form.cursor += 1,
        KeyCode::Tab if form.cursor < last => form.cursor += 1,
        KeyCode::Up | KeyCode::BackTab if form.cursor > 0 => form.cursor -= 1,
        KeyCode::Tab | KeyCode::BackTab => return false,
        KeyCode::Down | KeyCode::Up | KeyCode::Enter => {}
        _ => {
            let Some(field) = form.current() else { return false };
            match (key.code, field.next_choice()) {
                (KeyCode::Char(' '), Some(choice)) => field.set(&choice),
                _ => line_key(&mut field.input, key),
            }
        }
    }
    true
}
