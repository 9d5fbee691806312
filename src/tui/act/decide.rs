//! Breakpoints, and decisions on held frames.

use super::super::app::{App, Effect, Purpose};
use super::super::command::Pane;
use super::super::composer::{self, Draft};
use super::super::hold;
use super::super::overlay::{Choice, Menu, Overlay};
use crate::engine::{Command, Tell};
use crate::log::record::{Level, Seq};
use crate::mcp::Direction;
use crate::mcp::compose::INTERNAL_ERROR;

impl App {
    pub(in crate::tui) fn break_menu(&mut self) {
        let Some(row) = self.selected_row() else { return };
        let direction = format!("dir:{}", row.direction.as_str());
        let mut queries = Vec::new();
        if let Some(like) = self.like() {
            queries.push(format!("{like} {direction}"));
            queries.push(like);
        }
        if let Some(method) = self.world.text(row.method) {
            queries.push(format!("method:{method} {direction}"));
        }
        queries.push("status:error".to_owned());
        let mut seen = std::collections::HashSet::new();
        queries.retain(|query| seen.insert(query.clone()));
        let items =
            ('1'..).zip(queries).map(|(key, query)| (key, query.clone(), Choice::Break(query))).collect();
        self.overlay = Some(Overlay::Menu(Menu { title: "Break on".into(), items }));
    }

    pub(in crate::tui) fn hold_everything(&mut self) {
        if self.engine.breakpoints().everything {
            self.send(
                Command::HoldEverything { on: false },
                Purpose::Say("all held frames are released".into()),
            );
            return;
        }
        let items = vec![('y', "hold every message from now on".to_owned(), Choice::HoldEverything)];
        self.overlay = Some(Overlay::Menu(Menu { title: "Hold every message?".into(), items }));
    }

    pub(in crate::tui) fn on_held(&mut self, command: impl Fn(Seq) -> Command) {
        if let Some(frame) = self.hold.selected(&self.world) {
            self.send(command(frame), Purpose::Quiet);
        }
    }

    pub(in crate::tui) fn edit_held(&mut self) {
        let seq = self.hold.selected(&self.world);
        if let Some(record) = seq.and_then(|seq| self.log().get(seq))
            && let Some(frame) = record.frame()
        {
            let amended = self.engine.breakpoints().amended.remove(&record.seq);
            self.hold.edit(record.seq, frame, amended.as_deref());
        }
    }

    /// Switches between HTTP headers that follow the edited body and headers that stay as they
    /// arrived. The latter leave a mismatch for the server to find.
    pub(in crate::tui) fn keep_headers(&mut self) {
        let seq = self.hold.selected(&self.world);
        let record = seq.and_then(|seq| self.log().get(seq));
        let frame = record.as_ref().and_then(|record| record.frame());
        if frame.is_none_or(|frame| frame.http.is_none() || frame.direction == Direction::ToClient) {
            self.say(Level::Info, "only requests over HTTP have headers that repeat the body");
            return;
        }
        if self.hold.editing.is_none() {
            self.edit_held();
        }
        if let Some(editing) = &mut self.hold.editing {
            editing.keeps_headers ^= true;
            let text = match editing.keeps_headers {
                true => "HTTP headers that repeat the body stay unchanged",
                false => "HTTP headers that repeat the body are updated",
            };
            self.say(Level::Info, text);
        }
    }

    pub(in crate::tui) fn answer_held(&mut self) {
        let seq = self.hold.selected(&self.world);
        if let Some(record) = seq.and_then(|seq| self.log().get(seq))
            && let Some(frame) = record.frame()
            && !self.hold.answer(record.seq, frame)
        {
            self.say(Level::Info, "only a request can be answered; e edits, d drops this");
        }
    }

    pub(in crate::tui) fn edit_outside(&mut self) {
        let text = match self.screen {
            Pane::Intercept => {
                if self.hold.editing.is_none() {
                    self.edit_held();
                }
                self.hold.editing.as_ref().map(hold::Editing::written)
            }
            _ => self.composer.draft.as_ref().and_then(|draft| match draft {
                Draft::Message { text, .. } | Draft::Call { text, as_json: true, .. } => {
                    Some(text.lines().join("\n"))
                }
                Draft::Call { .. } => None,
            }),
        };
        match text {
            Some(text) => self.effect(Effect::Editor(text)),
            None => self.say(Level::Info, "a form cannot be edited externally; Ctrl-t switches to JSON"),
        }
    }

    pub(in crate::tui) fn edited(&mut self, text: Result<String, String>) {
        match (text, self.screen) {
            (Err(error), _) => self.say(Level::Warning, error),
            (Ok(text), Pane::Intercept) => {
                if let Some(editing) = &mut self.hold.editing {
                    editing.text = composer::text_area(&text);
                }
            }
            (Ok(text), _) => {
                if let Some(Draft::Message { text: area, .. } | Draft::Call { text: area, .. }) =
                    &mut self.composer.draft
                {
                    *area = composer::text_area(&text);
                }
            }
        }
    }

    pub(in crate::tui) fn drop_menu(&mut self) {
        let Some(seq) = self.hold.selected(&self.world) else { return };
        let error = Tell::Error { code: INTERNAL_ERROR, message: "dropped by shadowcat".into() };
        let failed = Tell::ToolError { text: "dropped by shadowcat".into() };
        let item = |key, text: &str, tell| (key, text.to_owned(), Choice::Drop(seq, tell));
        let items = vec![
            item('1', "nothing: the sender keeps waiting", Tell::Silence),
            item('2', "a JSON-RPC error (-32603)", error),
            item('3', "a tool result with isError", failed),
            item('4', "close the connection", Tell::Close),
        ];
        let title = format!("Drop {}: what does the sender get?", self.number(seq));
        self.overlay = Some(Overlay::Menu(Menu { title, items }));
    }

    pub(in crate::tui) fn choose(&mut self, choice: Choice) {
        match choice {
            Choice::Drop(frame, tell) => self.send(Command::Drop { frame, tell }, Purpose::Quiet),
            Choice::Break(query) => {
                let text = format!("breakpoint on {query}; 3 shows held frames");
                self.send(Command::Break { query, patience: None }, Purpose::Say(text));
            }
            Choice::HoldEverything => {
                self.send(
                    Command::HoldEverything { on: true },
                    Purpose::Say("every message is held; I releases all".into()),
                );
            }
            Choice::Wrap(at) => {
                if let Some((place, entry)) = self.servers.get(at).cloned() {
                    self.effect(Effect::Plan(Box::new(place), Box::new(entry)));
                }
            }
            Choice::Restart(session) => self.restart(session),
            Choice::QuitKeeping => self.effect(Effect::Quit),
            Choice::QuitReleasing => {
                self.releases_held = true;
                self.effect(Effect::Quit);
            }
            Choice::QuitDropping => {
                self.drops_held = true;
                self.effect(Effect::Quit);
            }
        }
    }
}
