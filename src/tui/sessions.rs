//! Sessions screen: running engines, running and ended sessions, and the recordings of the library.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::clock::Stamp;
use crate::engine::RunningEngine;
use crate::log::record::SessionId;
use crate::log::world::{SessionOverview, World};
use crate::tape::library::ListedTape;

/// State of the Sessions screen.
#[derive(Debug, Default)]
pub struct Sessions {
    /// Index of the line under the cursor.
    pub cursor: usize,
    /// Newest recordings of the library, newest first.
    pub tapes: Vec<ListedTape>,
    /// Running engines that have had no session yet.
    pub idle: Vec<RunningEngine>,
    /// Time at which the library was read last.
    pub listed: Stamp,
    paces: BTreeMap<SessionId, FrameRate>,
    sampled: Stamp,
}

/// Line of the list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SessionListLine {
    /// Session that runs or has ended.
    Session(SessionId),
    /// Running engine without a session, by its index in [`Sessions::idle`].
    Engine(usize),
    /// Recording, by its index in [`Sessions::tapes`].
    Tape(usize),
}

/// Rate of frames in a session.
#[derive(Debug, Clone, Default)]
pub struct FrameRate {
    /// Total number of frames at the last sample.
    frames: u64,
    /// Numbers of frames in the last seconds, newest last.
    pub seconds: [u64; SECONDS],
    /// Time at which the newest frame was noticed.
    pub last: Stamp,
}

/// Number of seconds whose rate is shown.
pub const SECONDS: usize = 8;
/// Maximum number of recordings that are listed.
const TAPES: usize = 200;

impl Sessions {
    /// Returns the lines: running sessions, newest first, engines without a session, ended
    /// sessions, then recordings.
    pub fn lines(&self, world: &World) -> Vec<SessionListLine> {
        let running = |runs: bool| {
            let fits = move |session: &&SessionOverview| session.closed.is_none() == runs;
            world.sessions.values().rev().filter(fits).map(|session| SessionListLine::Session(session.id))
        };
        let idle = (0..self.idle.len()).map(SessionListLine::Engine);
        let tapes = (0..self.tapes.len()).map(SessionListLine::Tape);
        running(true).chain(idle).chain(running(false)).chain(tapes).collect()
    }

    /// Returns the line under the cursor.
    pub fn selected(&self, world: &World) -> Option<SessionListLine> {
        let lines = self.lines(world);
        lines.get(self.cursor.min(lines.len().saturating_sub(1))).copied()
    }

    /// Returns the session under the cursor.
    pub fn session(&self, world: &World) -> Option<SessionId> {
        match self.selected(world)? {
            SessionListLine::Session(id) => Some(id),
            SessionListLine::Engine(_) | SessionListLine::Tape(_) => None,
        }
    }

    /// Moves the cursor by `by` lines within the list.
    pub fn step(&mut self, world: &World, by: isize) {
        let last = self.lines(world).len().saturating_sub(1);
        self.cursor = self.cursor.min(last).saturating_add_signed(by).min(last);
    }

    /// Replaces the recordings by those of the library, which are sorted newest first.
    pub fn set_recordings(&mut self, mut tapes: Vec<ListedTape>) {
        tapes.truncate(TAPES);
        self.tapes = tapes;
    }

    /// Counts the frames of the last second, once per second.
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
            // Frames from before the first sample do not count for this second.
            pace.seconds[SECONDS - 1] = if is_new { 0 } else { more };
            if more > 0 {
                pace.last = if is_new { world.now } else { now };
            }
        }
    }

    /// Returns the rate of frames in a session, if it was sampled.
    pub fn pace(&self, session: SessionId) -> Option<&FrameRate> {
        self.paces.get(&session)
    }
}

/// Estimates the tokens that a client spends on the tool definitions of a session. Returns `None`
/// if the client has not asked for them.
pub fn context_cost(world: &World, session: &SessionOverview) -> Option<u64> {
    /// Approximate number of bytes per token.
    const BYTES: u64 = 4;
    let pages = session.list("tools/list", u64::MAX);
    let size: u64 = pages.iter().filter_map(|seq| world.row(*seq)).map(|row| row.size).sum();
    (!pages.is_empty()).then_some(size / BYTES)
}
