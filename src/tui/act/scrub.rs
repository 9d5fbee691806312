//! Movement of the playhead.

use super::super::app::{App, Purpose};
use super::super::overlay::Wants;
use super::super::scrub::bookmarks;
use crate::clock::{self, Stamp};
use crate::engine::Command;
use crate::log::record::{BY_PERSON, Level, Seq};

impl App {
    /// Starts or stops playing.
    pub(in crate::tui) fn play(&mut self) {
        if self.scrub.player.is_playing() {
            self.scrub.player.pause();
            return;
        }
        let selected = self.frames.selected();
        self.scrub.follow(&self.world, selected);
        if self.scrub.is_over(&self.world) {
            match self.is_live() {
                true => {
                    return self
                        .say(Level::Info, "this is the live edge; , steps back and p plays from there");
                }
                // At the end of a recording, start again from its beginning.
                false => self.scrub.player.step_to(0, &self.world.rows[..]),
            }
        }
        self.frames.follow = false;
        self.scrub.player.play();
    }

    pub(in crate::tui) fn change_speed(&mut self, by: isize) {
        let speed = self.scrub.player.speed().step(by);
        self.scrub.player.set_speed(speed);
        self.say(Level::Info, format!("speed {speed}"));
    }

    /// Moves the cursor to the position of the player.
    pub(in crate::tui) fn play_on(&mut self) {
        if !self.scrub.player.is_playing() {
            return;
        }
        let height = self.list_height();
        if let Some(seq) = self.scrub.advance(&self.world) {
            self.frames.go_near(seq, height);
            self.frames.follow = false;
            self.scrub.arrived(self.frames.selected());
        }
        if self.scrub.is_over(&self.world) {
            self.scrub.player.pause();
            match self.is_live() {
                true => {
                    self.frames.follow = true;
                    self.say(Level::Info, "played up to the live edge");
                }
                false => self.say(Level::Info, "end of the recording; p plays it again"),
            }
        }
    }

    /// Returns `true` if any session still runs.
    pub(in crate::tui) fn is_live(&self) -> bool {
        self.world.sessions.values().any(|session| session.closed.is_none()) && !self.mode.is_tape()
    }

    /// Moves the cursor by `by` lines of the list.
    pub(in crate::tui) fn step_frame(&mut self, by: isize) {
        let at = self.frames.cursor.saturating_add_signed(by);
        let height = self.list_height();
        if by < 0 {
            self.frames.follow = false;
        }
        self.frames.go(at, height);
    }

    pub(in crate::tui) fn zoom_time(&mut self, closer: bool) {
        const CLOSEST: u32 = 20;
        let zoom = self.scrub.zoom;
        self.scrub.zoom = if closer { (zoom + 1).min(CLOSEST) } else { zoom.saturating_sub(1) };
    }

    pub(in crate::tui) fn go_to_mark(&mut self, forward: bool) {
        let now = self.frames.selected().unwrap_or(0);
        let marks = bookmarks(&self.world);
        let noted = self.world.notes.iter().filter(|(.., note)| &*note.by == BY_PERSON);
        let mut places: Vec<Seq> = noted
            .filter_map(|(.., note)| note.frame)
            .chain(marks.iter().map(|(_, frame, _)| *frame))
            .collect();
        places.sort_unstable();
        let to = match forward {
            true => places.iter().find(|seq| **seq > now),
            false => places.iter().rev().find(|seq| **seq < now),
        };
        match to.copied() {
            Some(seq) => self.jump_to(seq),
            None => self.say(Level::Info, "no further bookmark or note; m sets a bookmark, ; writes a note"),
        }
    }

    /// Goes to the bookmark with this letter.
    pub(in crate::tui) fn go_to_letter(&mut self, letter: &str) {
        let marks = bookmarks(&self.world);
        let mark = marks.iter().find(|(mark, ..)| letter.chars().eq([*mark]));
        match mark.map(|(_, frame, _)| *frame) {
            Some(frame) => self.jump_to(frame),
            None => {
                let there: Vec<String> = marks.iter().map(|(mark, ..)| mark.to_string()).collect();
                self.say(
                    Level::Info,
                    match there.is_empty() {
                        true => "there are no bookmarks; m sets one".to_owned(),
                        false => format!("no bookmark {letter}; there are {}", there.join(" ")),
                    },
                );
            }
        }
    }

    /// Sets a bookmark from `text`: its letter, then its label.
    pub(in crate::tui) fn set_mark(&mut self, frame: Seq, text: &str) {
        let (letter, label) = text.split_once(' ').unwrap_or((text, ""));
        let mut letters = letter.chars();
        let (Some(mark), None) = (letters.next().filter(|mark| mark.is_alphanumeric()), letters.next())
        else {
            self.say(Level::Warning, format!("{letter:?} is not a single letter or digit; write e.g. "));
            return;
        };
        let Some(session) = self.world.row(frame).map(|row| row.session) else { return };
        let text = label.trim().to_owned();
        let command = Command::Note { session, frame: Some(frame), mark: Some(mark), text };
        self.send(command, Purpose::Say(format!("bookmark {mark} on {}", self.number(frame))));
    }

    /// Returns the first letter without a bookmark, or `a` if all are in use.
    pub(in crate::tui) fn free_letter(&self) -> char {
        let marks = bookmarks(&self.world);
        ('a'..='z').find(|letter| marks.iter().all(|(mark, ..)| mark != letter)).unwrap_or('a')
    }

    pub(in crate::tui) fn ask_mark(&mut self) {
        if let Some(frame) = self.frames.selected() {
            let letter = self.free_letter();
            self.prompt(Wants::Mark(frame), &format!("{letter} "));
        }
    }

    /// Goes to the frame at this tenth of the recording.
    pub(in crate::tui) fn go_to_tenth(&mut self, tenth: u32) {
        let Some(first) = self.world.rows.first() else { return };
        let time = first.at + self.world.now.since(first.at) * tenth / 10;
        self.go_to_time(time);
    }

    fn go_to_time(&mut self, time: Stamp) {
        let seq = self.world.row_at(time).or(self.world.rows.first()).map(|row| row.seq);
        let height = self.list_height();
        if let Some(seq) = seq {
            self.frames.follow = false;
            self.frames.go_near(seq, height);
        }
    }

    /// Goes to a time as the user writes it: `12:03`, `12:03:04.5`, `+30s`, `-2m`, `40%`.
    pub(in crate::tui) fn go_to_written_time(&mut self, text: &str) {
        match self.written_time(text.trim()) {
            Some(time) => self.go_to_time(time),
            None => {
                self.say(Level::Warning, format!("{text:?} is not a time; write 12:03:04, +30s, -2m or 40%"))
            }
        }
    }

    fn written_time(&self, text: &str) -> Option<Stamp> {
        let first = self.world.rows.first()?.at;
        let whole = self.world.now.since(first);
        if let Some(share) = text.strip_suffix('%') {
            let share: f64 = share.trim().parse().ok().filter(|share| (0.0..=100.0).contains(share))?;
            return Some(first + whole.mul_f64(share / 100.0));
        }
        let now = self.scrub.time(&self.world, self.frames.position());
        if let Some(by) = text.strip_prefix('+') {
            return Some(now + clock::duration(by)?);
        }
        if let Some(by) = text.strip_prefix('-') {
            let back = u64::try_from(clock::duration(by)?.as_nanos()).ok()?;
            return Some(Stamp::from_nanos(now.nanos().saturating_sub(back)));
        }
        let seconds = clock::seconds_of_day(text)?;
        let clock = self.log().clock();
        let begins = f64::from(clock::time_of_day(clock.wall(first)));
        const DAY: f64 = 86_400.0;
        // Times wrap at midnight. A time shortly before the beginning means the beginning, not the
        // next day.
        let after = (seconds - begins).rem_euclid(DAY);
        let after = if after > DAY / 2.0 && whole.as_secs_f64() < after { 0.0 } else { after };
        let fraction = (clock.wall(first) % 1_000_000) as f64 / 1e6;
        Some(first + std::time::Duration::try_from_secs_f64((after - fraction).max(0.0)).ok()?)
    }
}
