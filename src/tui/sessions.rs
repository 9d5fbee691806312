//! The Sessions screen: what runs, what has ended, and the recordings of the library.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::clock::Stamp;
use crate::engine::RunningEngine;
use crate::log::record::SessionId;
use crate::log::world::{Session, World};
use crate::tape::library::Entry;

/// The state of the screen.
#[derive(Debug, Default)]
pub struct Sessions {
    pub cursor: usize,
    /// The newest recordings of the library.
    pub tapes: Vec<Entry>,
    /// What runs and has had no session yet.
    pub idle: Vec<RunningEngine>,
    /// When the library was read last.
    pub listed: Stamp,
    paces: BTreeMap<SessionId, Pace>,
    sampled: Stamp,
}

/// A line of the list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Line {
    Session(SessionId),
    /// Something that runs and has had no session yet, by its place among what runs.
    Engine(usize),
    Tape(usize),
}

/// How much a session has said lately.
#[derive(Debug, Clone, Default)]
pub struct Pace {
    /// Frames in all when it was looked at last.
    frames: u64,
    /// Frames of each of the last seconds, the newest at the end.
    pub seconds: [u64; SECONDS],
    /// When the newest frame was noticed.
    pub last: Stamp,
}

/// Seconds whose pace is shown.
pub const SECONDS: usize = 8;
/// Recordings that are listed.
const TAPES: usize = 200;

impl Sessions {
    /// The lines: sessions that run, the newest first, what runs without one, those that have ended, then
    /// recordings.
    pub fn lines(&self, world: &World) -> Vec<Line> {
        let running = |runs: bool| {
            let fits = move |session: &&Session| session.closed.is_none() == runs;
            world.sessions.values().rev().filter(fits).map(|session| Line::Session(session.id))
        };
        let idle = (0..self.idle.len()).map(Line::Engine);
        let tapes = (0..self.tapes.len()).map(Line::Tape);
        running(true).chain(idle).chain(running(false)).chain(tapes).collect()
    }

    /// The line under the cursor.
    pub fn selected(&self, world: &World) -> Option<Line> {
        let lines = self.lines(world);
        lines.get(self.cursor.min(lines.len().saturating_sub(1))).copied()
    }

    /// The session under the cursor.
    pub fn session(&self, world: &World) -> Option<SessionId> {
        match self.selected(world)? {
            Line::Session(id) => Some(id),
            Line::Engine(_) | Line::Tape(_) => None,
        }
    }

    pub fn step(&mut self, world: &World, by: isize) {
        let last = self.lines(world).len().saturating_sub(1);
        self.cursor = self.cursor.min(last).saturating_add_signed(by).min(last);
    }

    /// Takes the recordings of the library, the newest first.
    pub fn set_recordings(&mut self, mut tapes: Vec<Entry>) {
        tapes.truncate(TAPES);
        self.tapes = tapes;
    }

    /// Counts what was said in the last second, once it is over.
    pub fn sample(&mut self, world: &World, now: Stamp) {
        const SECOND: Duration = Duration::from_secs(1);
        if now.since(self.sampled) < SECOND {
            return;
        }
        self.sampled = now;
        for session in world.sessions.values() {
            let is_new = !self.paces.contains_key(&session.id);
            let pace = self.paces.entry(session.id).or_default();
            let more = session.frames - pace.frames.min(session.frames);
            pace.frames = session.frames;
            pace.seconds.rotate_left(1);
            // What was said before it was looked at was not said in this second.
            pace.seconds[SECONDS - 1] = if is_new { 0 } else { more };
            if more > 0 {
                pace.last = if is_new { world.now } else { now };
            }
        }
    }

    pub fn pace(&self, session: SessionId) -> Option<&Pace> {
        self.paces.get(&session)
    }
}

/// What a client pays to know the tools of a session, in estimated tokens; none while it has not
/// asked for them.
pub fn context_cost(world: &World, session: &Session) -> Option<u64> {
    /// Bytes that a token stands for, roughly.
    const BYTES: u64 = 4;
    let pages = session.list("tools/list", u64::MAX);
    let size: u64 = pages.iter().filter_map(|seq| world.row(*seq)).map(|row| row.size).sum();
    (!pages.is_empty()).then_some(size / BYTES)
}
