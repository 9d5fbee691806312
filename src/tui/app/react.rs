//! Reactions to inputs: new records, time and replies.

use std::sync::Arc;
use std::time::Duration;

use super::{App, Effect, Purpose};
use crate::engine::{Refusal, Reply};
use crate::log::record::{Level, Seq};
use crate::tui::ask::Questions;
use crate::tui::command::Pane;
use crate::tui::composer::SentMessage;
use crate::tui::overlay::Overlay;

/// Time for which a message stays in the footer.
const TOAST: Duration = Duration::from_secs(4);
/// Maximum number of records folded in at once, so that a flood does not block the keys.
const FOLD: usize = 20_000;

impl App {
    pub(super) fn records(&mut self) {
        let log = Arc::clone(self.engine.log());
        let mut left = FOLD;
        while left > 0 {
            let records = self.tail.read(left.min(1024));
            if records.is_empty() {
                break;
            }
            left -= records.len();
            records.iter().for_each(|record| self.world.apply(record));
        }
        let touched = std::mem::take(&mut self.world.touched);
        let height = self.list_height();
        self.frames.sync(&self.world, &log, &touched, height);
        self.logs.sync(&self.world);
        self.warn();
        self.announce_end();
    }

    /// Shows the newest warning of the engine, for example of a failing tape or of a lane that
    /// stopped reading.
    fn warn(&mut self) {
        let unseen = &self.world.notes[self.warned.min(self.world.notes.len())..];
        let is_news = |at: &crate::clock::Stamp| self.mode.is_tape() || *at >= self.opened;
        let warning = unseen.iter().rev().find(|(_, at, _, note)| note.level > Level::Info && is_news(at));
        let warning = warning.map(|(_, _, _, note)| (note.level, note.text.clone()));
        self.warned = self.world.notes.len();
        if let Some((level, text)) = warning {
            self.say(level, text);
        }
    }

    /// Announces the end of a server, since MCP clients tend to hide exactly this.
    fn announce_end(&mut self) {
        let Some(session) = self.world.sessions.values().next_back() else { return };
        let Some(closed) = &session.closed else { return };
        if session.closed_at.is_some_and(|(_, at)| at < self.opened) && !self.mode.is_tape() {
            return;
        }
        if self.end_announced == Some(session.id) {
            return;
        }
        let how =
            closed.exit.map_or_else(|| closed.reason.clone(), |exit| format!("{}: {exit}", closed.reason));
        let next = match session.opened.pid {
            Some(_) if session.opened.own_client => ". 9 shows its stderr, Space s r restarts it",
            Some(_) => ". 9 shows its stderr",
            None => "",
        };
        let text = format!("{}: {how}{next}", session.opened.name);
        self.end_announced = Some(session.id);
        self.say(Level::Warning, text);
    }

    pub(super) fn tick(&mut self) {
        self.changed = self.wake().is_some();
        if let Some((_, _, since)) = self.toast
            && self.clock.now().since(since) > TOAST
        {
            self.toast = None;
        }
    }

    pub(super) fn replied(&mut self, purpose: Purpose, reply: Result<Reply, Refusal>) {
        match (purpose, reply) {
            (_, Err(refusal)) => self.say(Level::Warning, refusal.to_string()),
            (Purpose::Edit(seq), Ok(_)) => {
                if self.hold.editing.as_ref().is_some_and(|editing| editing.frame == seq) {
                    self.hold.editing = None;
                }
            }
            (Purpose::Call(session), Ok(Reply::Called(id))) => {
                self.composer.sent = Some(SentMessage::Id(session, id))
            }
            (Purpose::Call(_), Ok(Reply::Frame(seq))) => self.composer.sent = Some(SentMessage::Frame(seq)),
            (Purpose::Say(text), Ok(_)) => self.say(Level::Info, text),
            (Purpose::Quiet | Purpose::Call(_), Ok(_)) => {}
        }
    }

    /// Brings everything that depends on the rest of the state up to date.
    pub(super) fn settle(&mut self) {
        let log = Arc::clone(self.engine.log());
        let height = self.list_height();
        self.play_on();
        self.sessions.sample(&self.world, self.now());
        self.look_around();
        self.frames.reveal(height);
        if self.screen == Pane::Doctor {
            let (only, now) = (self.doctor_of(), self.clock.now());
            self.doctor.look(&self.world, &log, only, now);
        }
        let shown = self.frames.selected();
        self.scrub.follow(&self.world, self.frames.position());
        if self.screen == Pane::Tape {
            let time = self.playhead();
            self.scrub.picture(&self.world, crate::tui::view::time_columns(self.size.0), time);
            let place = self.frames.position().unwrap_or(self.world.last);
            self.scrub.describe(&self.world, &log, place);
        }
        let job = self.detail.show(shown, &log);
        self.render(job);
        let width = usize::from(self.areas.detail.width).max(20);
        let job = self.detail.resize(width, &log);
        self.render(job);
        let job = self.hold.settle(&self.world, &log, width);
        self.render(job);
        if self.screen == Pane::Compose {
            self.composer.refresh(&self.world, &log);
            let reply = self.composer.reply(&self.world, &log);
            let job = self.reply.show(reply, &log);
            self.render(job);
            let job = self.reply.resize(width, &log);
            self.render(job);
            let asked = self.world.asked.last().copied();
            if self.overlay.is_none() && asked.is_some() && asked != self.offered_ask {
                self.offered_ask = asked;
                self.open_ask();
            }
        }
        // A question that was answered elsewhere or withdrawn is closed.
        if let Some(Overlay::Ask(ask)) = &self.overlay
            && !self.world.asked.contains(&ask.frame)
        {
            self.overlay = None;
        }
    }

    /// Updates the engines without a session, and asks for the recordings every few seconds.
    fn look_around(&mut self) {
        const REFRESH_INTERVAL: Duration = Duration::from_secs(3);
        if !self.mode.is_home() {
            return;
        }
        self.sessions.idle = self.mode.running().into_iter().filter(|running| running.is_idle).collect();
        let now = self.clock.now();
        if self.screen == Pane::Sessions
            && !self.mode.is_remote()
            && now.since(self.sessions.listed) > REFRESH_INTERVAL
        {
            self.sessions.listed = now;
            self.effect(Effect::ListTapes);
        }
    }

    /// Opens the newest question that a server asks the built-in client.
    pub(in crate::tui) fn open_ask(&mut self) {
        let own = |seq: &&Seq| {
            let session = self.world.row(**seq).and_then(|row| self.world.sessions.get(&row.session));
            session.is_some_and(|session| session.opened.own_client)
        };
        let Some(seq) = self.world.asked.iter().rev().find(own).copied() else {
            self.say(Level::Info, "no server is asking anything");
            return;
        };
        let Some(record) = self.log().get(seq) else { return };
        let root =
            self.world.sessions.get(&record.session).and_then(|session| session.opened.directory.clone());
        let ask = record
            .frame()
            .and_then(|frame| Questions::new(record.session, seq, frame, &root.unwrap_or_default()));
        self.overlay = ask.map(|ask| Overlay::Ask(Box::new(ask)));
    }
}
