//! Logs screen: stderr of the servers, and events of shadowcat, in the order of time.

use crate::clock::Stamp;
use crate::log::record::{Channel, FrameKind, Level, Origin, Seq, SessionId};
use crate::log::world::World;

/// Line of the screen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogLine {
    /// Record that the line shows.
    pub seq: Seq,
    /// Time of the record.
    pub at: Stamp,
    /// Session of the record.
    pub session: SessionId,
    /// Level of the line; lines on stderr have [`Level::Info`].
    pub level: Level,
    /// Text of an event. A line on stderr has `None`, since its text is in the log.
    pub text: Option<String>,
}

/// State of the Logs screen.
#[derive(Debug, Default)]
pub struct Logs {
    /// Lines of all levels.
    pub lines: Vec<LogLine>,
    /// Index of the first line on the screen, while it does not follow.
    pub top: usize,
    /// `true` if only warnings and errors are shown.
    pub errors_only: bool,
    /// `true` if the screen does not follow new lines.
    pub scrolled: bool,
    rows: usize,
    notes: usize,
    events: usize,
}

impl Logs {
    /// Adds the lines that are new in the world.
    pub fn sync(&mut self, world: &World) {
        let before = self.lines.len();
        for row in &world.rows[self.rows..] {
            if row.channel() == Channel::Stderr {
                self.lines.push(LogLine {
                    seq: row.seq,
                    at: row.at,
                    session: row.session,
                    level: Level::Info,
                    text: None,
                });
            } else if row.kind == FrameKind::Invalid && row.origin() == Origin::Wire {
                let text = Some("line on stdout that is not an MCP message".to_owned());
                self.lines.push(LogLine {
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
            self.lines.push(LogLine { seq: *seq, at: *at, session: *session, level: note.level, text });
        }
        self.notes = world.notes.len();
        for (seq, at, session, text, level) in &world.events[self.events..] {
            self.lines.push(LogLine {
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

    /// Returns the lines that are shown.
    pub fn shown(&self) -> Vec<&LogLine> {
        self.lines.iter().filter(|line| !self.errors_only || line.level > Level::Info).collect()
    }

    /// Scrolls by `by` lines on a screen of `height` lines. At the end, the screen follows again.
    pub fn scroll(&mut self, by: isize, height: usize) {
        let count = self.shown().len();
        let last = count.saturating_sub(height);
        let top = if self.scrolled { self.top } else { last };
        self.top = top.saturating_add_signed(by).min(last);
        self.scrolled = self.top < last;
    }

    /// Returns the index of the first line on a screen of `height` lines.
    pub fn first(&self, height: usize) -> usize {
        let last = self.shown().len().saturating_sub(height);
        if self.scrolled { self.top.min(last) } else { last }
    }
}
