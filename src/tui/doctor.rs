//! Doctor screen: checks of the sessions that are shown.

use std::time::Duration;

use crate::clock::Stamp;
use crate::doctor::{Report, Target, examine, markdown};
use crate::log::Log;
use crate::log::record::{Seq, SessionId};
use crate::log::world::World;
use crate::tape::excerpt;

/// State of the Doctor screen.
#[derive(Debug, Default)]
pub struct Doctor {
    /// Results of the checks.
    pub results: Report,
    /// Index of the first line on the screen.
    pub top: usize,
    /// Last record that was examined, the session, and the time of the examination.
    seen: Option<(Seq, Option<SessionId>, Stamp)>,
}

/// Minimum interval between two examinations of a log that grows.
const REFRESH_INTERVAL: Duration = Duration::from_secs(2);

impl Doctor {
    /// Makes the checks again if there are new records or another session is chosen.
    pub fn look(&mut self, world: &World, log: &Log, only: Option<SessionId>, now: Stamp) {
        let fresh = self.seen.is_some_and(|(last, of, at)| {
            of == only && (last == world.last || now.since(at) < REFRESH_INTERVAL)
        });
        if !fresh {
            self.seen = Some((world.last, only, now));
            self.results = examine(&Target::new(world, log, only));
        }
    }

    /// Returns a bug report in Markdown: the results and the messages, without secrets.
    pub fn report(&self, title: &str, world: &World, log: &Log, only: Option<SessionId>) -> String {
        excerpt::report(&markdown(title, &self.results), log, world, only)
    }
}
