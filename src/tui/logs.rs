//! The Logs screen: stderr of the servers and our own events, in the order of time.

use crate::clock::Stamp;
use crate::log::record::{Channel, FrameKind, Level, Origin, Seq, SessionId};
use crate::log::world::World;

/// One line of the screen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    pub seq: Seq,
    pub at: Stamp,
    pub session: SessionId,
    pub level: Level,
    /// Our own events have their text here; a frame's is in the log.
    pub text: Option<String>,
}

/// The state of the screen.
#[derive(Debug, Default)]
pub struct Logs {
    pub lines: Vec<Line>,
    pub top: usize,
    pub errors_only: bool,
    pub scrolled: bool,
    rows: usize,
    notes: usize,
    events: usize,
}

impl Logs {
    /// Takes in what is new.
    pub fn sync(&mut self, world: &World) {
        let before = self.lines.len();
        for row in &world.rows[self.rows..] {
            if row.channel() == Channel::Stderr {
                self.lines.push(Line {
                    seq: row.seq,
                    at: row.at,
                    session: row.session,
                    level: Level::Info,
                    text: None,
                });
            } else if row.kind == FrameKind::Invalid && row.origin() == Origin::Wire {
                let text = Some("stdout line that is no message".to_owned());
                self.lines.push(Line {
                    seq: row.seq,
                    at: row.at,
                    session: row.session,
                    level: Level::Warning,
                    text,
                });
            }
        }
        self.rows = world.rows.len();
        for (seq, at, session, note) in &world.notes[self.notes..] {
            let text = Some(format!("{}: {}", note.by, note.text));
            self.lines.push(Line { seq: *seq, at: *at, session: *session, level: note.level, text });
        }
        self.notes = world.notes.len();
        for (seq, at, session, text, level) in &world.events[self.events..] {
            self.lines.push(Line {
                seq: *seq,
                at: *at,
                session: *session,
                level: *level,
                text: Some(text.clone()),
            });
        }
        self.events = world.events.len();
        self.lines[before..].sort_by_key(|line| line.seq);
    }

    /// The lines that are shown.
    pub fn shown(&self) -> Vec<&Line> {
        self.lines.iter().filter(|line| !self.errors_only || line.level > Level::Info).collect()
    }

    /// Scrolls by `by` lines; at the end it follows again.
    pub fn scroll(&mut self, by: isize, height: usize) {
        let count = self.shown().len();
        let last = count.saturating_sub(height);
        let top = if self.scrolled { self.top } else { last };
        self.top = top.saturating_add_signed(by).min(last);
        self.scrolled = self.top < last;
    }

    /// The first line on a screen of `height` lines.
    pub fn first(&self, height: usize) -> usize {
        let last = self.shown().len().saturating_sub(height);
        if self.scrolled { self.top.min(last) } else { last }
    }
}
