//! Actions of the Sessions screen on sessions, servers and recordings.

use super::super::app::{App, Effect, NextScreen, Purpose};
use super::super::command::Pane as Screen;
use super::super::overlay::{Choice, Menu, Overlay};
use super::super::sessions::SessionListLine;
use crate::clients::{ConfigFile, ServerEntry, Servers};
use crate::engine::Command;
use crate::log::record::{Level, SessionId};

impl App {
    pub(in crate::tui) fn show_sessions(&mut self) {
        self.show(Screen::Sessions);
        if !self.mode.is_remote() {
            self.effect(Effect::ListTapes);
        }
    }

    /// Shows the frames of the session under the cursor, or opens the recording there.
    pub(in crate::tui) fn open_session(&mut self) {
        match self.sessions.selected(&self.world) {
            Some(SessionListLine::Session(id)) => {
                self.frames.chips.clear();
                self.narrow(&format!("sess:{}", id.0));
                self.show(Screen::Frames);
                self.go_to_end();
            }
            Some(SessionListLine::Engine(_)) => self.say(Level::Info, "no client has connected yet"),
            Some(SessionListLine::Tape(at)) if self.mode.is_home() => {
                if let Some(tape) = self.sessions.tapes.get(at) {
                    self.open_next(NextScreen::Recording(tape.path.to_string_lossy().into_owned()));
                }
            }
            Some(SessionListLine::Tape(at)) => {
                let tape = self.sessions.tapes.get(at);
                let name = tape.map(|tape| crate::tape::files::stem(&tape.path)).unwrap_or_default();
                self.say(
                    Level::Info,
                    format!("a session runs here; open it in another terminal: `shadowcat tui {name}`"),
                );
            }
            None => self.say(Level::Info, "nothing is running, and nothing was recorded yet"),
        }
    }

    /// Leaves this screen for another one, which returns to it.
    pub(in crate::tui) fn open_next(&mut self, open_next: NextScreen) {
        self.leads_to = Some(open_next);
        self.effect(Effect::Quit);
    }

    /// Opens a menu of the servers in the configurations of the user's MCP clients.
    pub(in crate::tui) fn choose_server(&mut self, servers: Result<Servers, String>) {
        const KEYS: &str = "abcdefghijklmnoprstuvwxyz";
        self.servers = match servers {
            Ok(Servers { found, broken }) if found.is_empty() && !broken.is_empty() => {
                return self.say(Level::Warning, broken.join("; "));
            }
            Ok(Servers { found, .. }) if found.is_empty() => {
                self.say(
                    Level::Info,
                    "no server is in any client's configuration; `shadowcat wrap` lists where it looks",
                );
                return;
            }
            Ok(Servers { found, broken }) => {
                if !broken.is_empty() {
                    self.say(Level::Warning, broken.join("; "));
                }
                found
            }
            Err(why) => return self.say(Level::Warning, why),
        };
        let item = |(at, (key, (place, entry))): (usize, (char, &(ConfigFile, ServerEntry)))| {
            let does = if entry.is_wrapped() { "unwrap" } else { "wrap" };
            (key, format!("{does} {} of {}", entry.server, place.client.title), Choice::Wrap(at))
        };
        let items = KEYS.chars().zip(&self.servers).enumerate().map(item).collect();
        let title = match self.servers.len() > KEYS.len() {
            true => "Servers of your clients (more: `shadowcat wrap NAME`)".to_owned(),
            false => "Servers of your clients".to_owned(),
        };
        self.overlay = Some(Overlay::Menu(Menu { title, items }));
    }

    /// Restarts the server of a session, or asks first if other sessions share it.
    pub(in crate::tui) fn ask_restart(&mut self, id: SessionId) {
        let Some(session) = self.world.sessions.get(&id) else { return };
        let pid = session.opened.pid;
        let shares = |other: &&crate::log::world::SessionOverview| {
            other.id != id && other.closed.is_none() && pid.is_some() && other.opened.pid == pid
        };
        match self.world.sessions.values().filter(shares).count() {
            0 => self.restart(id),
            count => {
                let noun = if count == 1 { "session shares" } else { "sessions share" };
                let title = format!("{count} {noun} this process and would be ended too; Esc cancels");
                let items = vec![('r', "restart it".to_owned(), Choice::Restart(id))];
                self.overlay = Some(Overlay::Menu(Menu { title, items }));
            }
        }
    }

    pub(in crate::tui) fn restart(&mut self, session: SessionId) {
        self.send(Command::Restart { session }, Purpose::Say("the server is starting again".into()));
    }

    /// Returns `true` if the server of the session can be restarted from here.
    pub(in crate::tui) fn starts_again(&self) -> bool {
        let session = self.session().and_then(|id| self.world.sessions.get(&id));
        session.is_some_and(|session| session.opened.pid.is_some() || session.is_down)
    }

    /// Returns the session that the doctor examines: the one that the list is filtered to, else
    /// all.
    pub(in crate::tui) fn doctor_of(&self) -> Option<SessionId> {
        let chip = self.frames.chips.iter().rev().find_map(|chip| chip.query.text().strip_prefix("sess:"));
        chip.and_then(|number| number.parse().ok()).map(SessionId)
    }

    /// Returns `true` if this screen decides on held frames, or nobody does.
    pub fn decides(&self) -> bool {
        let breakpoints = self.engine.breakpoints();
        let decider = breakpoints.controllers.iter().find(|controller| controller.decides);
        decider.is_none_or(|decider| Some(decider.id) == self.engine.who().controller)
    }
}
