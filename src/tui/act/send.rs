//! Sending messages, and leaving the screen.

use std::time::Duration;

use super::super::app::{App, Effect, Purpose};
use super::super::command::Pane;
use super::super::composer::Focus;
use super::super::overlay::{Choice, Menu, Overlay};
use super::super::theme::Theme;
use crate::engine::Command;
use crate::log::SessionId;
use crate::log::record::Level;

impl App {
    pub(in crate::tui) fn resend(&mut self) {
        let Some(record) = self.frames.selected().and_then(|seq| self.log().get(seq)) else { return };
        let Some(frame) = record.frame() else { return };
        let (session, to) = (self.session().unwrap_or(record.session), frame.direction);
        let line = bytes::Bytes::copy_from_slice(frame.message.body());
        self.send(
            Command::Inject { session, to, line },
            Purpose::Say(format!("{} was sent again", self.number(record.seq))),
        );
    }

    pub(in crate::tui) fn compose(&mut self) {
        let Some(record) = self.frames.selected().and_then(|seq| self.log().get(seq)) else { return };
        let Some(frame) = record.frame() else { return };
        let session = self.session().unwrap_or(record.session);
        self.composer.write(session, frame.direction, Some(&frame.message));
        self.show(Pane::Compose);
    }

    pub(in crate::tui) fn send_written(&mut self) {
        if self.screen == Pane::Intercept {
            let Some(editing) = &mut self.hold.editing else { return };
            match editing.send() {
                Ok(command) => {
                    let frame = editing.frame;
                    self.send(command, Purpose::Edit(frame));
                }
                Err(wrong) => self.say(Level::Warning, format!("{wrong}. Ctrl-s again sends it anyway")),
            }
            return;
        }
        let session = self.session();
        match self.composer.send(&self.world) {
            Ok(Some(command)) => {
                let session = match &command {
                    Command::Call { session, .. } | Command::Inject { session, .. } => *session,
                    _ => session.unwrap_or(SessionId(0)),
                };
                self.send(command, Purpose::Call(session));
            }
            Ok(None) => {
                if let Some(wrong) = self.composer.confirm.clone() {
                    self.say(Level::Warning, format!("{wrong}. Ctrl-s again sends it anyway"));
                }
            }
            Err(wrong) => self.say(Level::Warning, wrong),
        }
    }

    pub(in crate::tui) fn move_focus(&mut self, by: isize) {
        const PANES: [Focus; 3] = [Focus::List, Focus::Draft, Focus::Reply];
        let at = PANES.iter().position(|focus| *focus == self.composer.focus).unwrap_or(0);
        let next = at.checked_add_signed(by).unwrap_or(PANES.len() - 1) % PANES.len();
        self.composer.focus = PANES[next];
    }

    pub(in crate::tui) fn next_theme(&mut self) {
        let names = Theme::names(self.appearance.themes.as_deref());
        let at = names.iter().position(|name| *name == self.appearance.theme.name).map_or(0, |at| at + 1);
        let name = names[at % names.len()].clone();
        match Theme::find(&name, self.appearance.themes.as_deref()) {
            Ok(theme) => {
                self.appearance.theme = if self.appearance.colour { theme } else { theme.without_colour() };
                self.say(Level::Info, format!("theme {name}"));
            }
            Err(error) => self.say(Level::Warning, error.to_string()),
        }
    }

    /// Returns the number of MCP clients, other than the built-in one, whose servers end with this
    /// screen.
    fn attached(&self) -> usize {
        let attached = |session: &&crate::log::world::SessionOverview| {
            session.closed.is_none() && !session.opened.own_client && session.opened.pid.is_some()
        };
        if self.mode.is_home() || self.mode.is_tape() {
            return 0;
        }
        self.world.sessions.values().filter(attached).count()
    }

    /// Returns the longest time for which held frames stay held while no screen is attached.
    fn patience(&self) -> Duration {
        let points = self.engine.breakpoints().points;
        points.iter().filter(|point| point.enabled).map(|point| point.patience).max().unwrap_or_default()
    }

    pub(in crate::tui) fn quit(&mut self) {
        if self.mode.is_home() && !self.decides() {
            // The held frames are decided by another screen.
            self.effect(Effect::Quit);
            return;
        }
        if self.world.held.is_empty() {
            match self.attached() {
                0 => self.effect(Effect::Quit),
                count => {
                    let noun = if count == 1 { "client is" } else { "clients are" };
                    let title = format!("{count} {noun} attached; Esc stays");
                    let items = vec![('q', "quit and stop their servers".to_owned(), Choice::QuitReleasing)];
                    self.overlay = Some(Overlay::Menu(Menu { title, items }));
                }
            }
            return;
        }
        let count = self.world.held.len();
        let mut items = vec![
            ('r', "release held frames and quit".to_owned(), Choice::QuitReleasing),
            ('d', "drop held frames and quit".to_owned(), Choice::QuitDropping),
        ];
        let patience = self.patience();
        if self.mode.is_home() && !patience.is_zero() {
            let text = format!("keep them held and detach; released after {patience:?} without a screen");
            items.insert(1, ('k', text, Choice::QuitKeeping));
        }
        let noun = if count == 1 { "message is" } else { "messages are" };
        let title = format!("{count} {noun} held; Esc stays");
        self.overlay = Some(Overlay::Menu(Menu { title, items }));
    }
}
