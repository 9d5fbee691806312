//! The Sessions screen: opening what is listed.

use super::super::app::{App, Effect};
use super::super::command::Place;
use super::super::sessions::Line;
use crate::log::record::{Level, SessionId};

impl App {
    pub(in crate::tui) fn show_sessions(&mut self) {
        self.show(Place::Sessions);
        self.effect(Effect::ListTapes);
    }

    /// Shows the frames of the session under the cursor, or opens the recording there.
    pub(in crate::tui) fn open_session(&mut self) {
        match self.sessions.selected(&self.world) {
            Some(Line::Session(id)) => {
                self.frames.chips.clear();
                self.narrow(&format!("sess:{}", id.0));
                self.show(Place::Frames);
                self.go_to_end();
            }
            Some(Line::Tape(at)) if self.is_home() => {
                self.leads_to = self.sessions.tapes.get(at).map(|tape| tape.path.clone());
                self.effect(Effect::Quit);
            }
            Some(Line::Tape(at)) => {
                let tape = self.sessions.tapes.get(at);
                let name = tape.map(|tape| crate::tape::files::stem(&tape.path)).unwrap_or_default();
                self.say(Level::Info, format!("something runs here; `shadowcat tui {name}` opens it beside"));
            }
            None => self.say(Level::Info, "nothing is running, and nothing was recorded yet"),
        }
    }

    /// Whether the server of the session can be started again from here.
    pub(in crate::tui) fn starts_again(&self) -> bool {
        let session = self.session().and_then(|id| self.world.sessions.get(&id));
        session.is_some_and(|session| session.opened.pid.is_some())
    }

    /// The session that the doctor looks at: the one that the list is narrowed to, else all.
    pub(in crate::tui) fn doctor_of(&self) -> Option<SessionId> {
        let chip = self.frames.chips.iter().rev().find_map(|chip| chip.query.text().strip_prefix("sess:"));
        chip.and_then(|number| number.parse().ok()).map(SessionId)
    }

    /// Whether this one decides on what is held, where anybody does.
    pub fn decides(&self) -> bool {
        let breakpoints = self.engine.breakpoints();
        let decider = breakpoints.watchers.iter().find(|watcher| watcher.decides);
        decider.is_none_or(|decider| Some(decider.seat) == self.engine.who().seat)
    }
}
