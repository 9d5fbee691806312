//! The Doctor screen: what is wrong with what is looked at.

use std::time::Duration;

use crate::clock::Stamp;
use crate::doctor::{Check, CheckResult, Target, examine, markdown};
use crate::log::Log;
use crate::log::record::{Seq, SessionId};
use crate::log::world::World;
use crate::tape::excerpt;

/// The state of the screen.
#[derive(Debug, Default)]
pub struct Doctor {
    pub checks: Vec<Check>,
    pub top: usize,
    /// The last record that was looked at, of which session, and when.
    seen: Option<(Seq, Option<SessionId>, Stamp)>,
}

/// How often what grows is looked at again.
const REFRESH_INTERVAL: Duration = Duration::from_secs(2);

impl Doctor {
    /// Looks again if there is something new.
    pub fn look(&mut self, world: &World, log: &Log, only: Option<SessionId>, now: Stamp) {
        let fresh = self.seen.is_some_and(|(last, of, at)| {
            of == only && (last == world.last || now.since(at) < REFRESH_INTERVAL)
        });
        if !fresh {
            self.seen = Some((world.last, only, now));
            self.checks = examine(&Target { world, log, only });
        }
    }

    /// How many checks came out like this.
    pub fn count(&self, verdict: CheckResult) -> usize {
        self.checks.iter().filter(|check| check.verdict == verdict).count()
    }

    /// A bug report: what was found, and what was said, without secrets.
    pub fn report(&self, title: &str, world: &World, log: &Log, only: Option<SessionId>) -> String {
        excerpt::report(&markdown(title, &self.checks), log, world, only)
    }
}
