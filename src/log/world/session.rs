//! The sessions of a world.

use super::World;
use crate::clock::Stamp;
use crate::log::record::{Closed, Facts, Opened, Seq, SessionId};
use crate::mcp::{Direction, Era};

/// A session as the header and the capability card show it.
#[derive(Debug, Clone)]
pub struct Session {
    pub id: SessionId,
    pub opened: Opened,
    /// The record that opened it.
    pub seq: Seq,
    pub since: Stamp,
    pub client: Option<Facts>,
    pub server: Option<Facts>,
    /// Everything that was learnt of its sides, in order.
    pub learnt: Vec<(Seq, Facts)>,
    /// Its server has ended, and its client stays until there is another.
    pub is_down: bool,
    pub closed: Option<Closed>,
    /// The record that closed it, and when.
    pub closed_at: Option<(Seq, Stamp)>,
    pub frames: u64,
    pub errors: u64,
    /// The pages of lists that the server has given, in order.
    pub pages: Vec<Page>,
}

/// A page of a list that the server has given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Page {
    pub seq: Seq,
    /// `tools/list` and its like.
    pub method: &'static str,
    /// Whether it goes on where the page before it ended.
    pub continues: bool,
}

impl Session {
    /// The era that the header shows: the server's, else what the client claims.
    pub fn era(&self) -> Option<Era> {
        let era = |facts: &Option<Facts>| facts.as_ref().and_then(|facts| facts.era);
        era(&self.server).or_else(|| era(&self.client))
    }

    /// What was known of a side when record `seq` had been written.
    pub fn facts(&self, side: Direction, seq: Seq) -> Option<&Facts> {
        let known = |(at, facts): &&(Seq, Facts)| *at <= seq && facts.side == side;
        self.learnt.iter().rev().find(known).map(|(_, facts)| facts)
    }

    /// The pages that made up the list of `method` when record `seq` had been written.
    pub fn list(&self, method: &str, seq: Seq) -> Vec<Seq> {
        let mut list = Vec::new();
        for page in self.pages.iter().filter(|page| page.method == method && page.seq <= seq) {
            if !page.continues {
                list.clear();
            }
            list.push(page.seq);
        }
        list
    }
}

impl World {
    pub(super) fn learn(&mut self, seq: Seq, session: SessionId, facts: &Facts) {
        let Some(session) = self.sessions.get_mut(&session) else { return };
        session.learnt.push((seq, facts.clone()));
        match facts.side {
            Direction::ToServer => session.client = Some(facts.clone()),
            Direction::ToClient => session.server = Some(facts.clone()),
        }
    }

    /// The session's name, or nothing where it has none.
    pub fn session_name(&self, id: SessionId) -> &str {
        self.sessions.get(&id).map_or("", |session| &session.opened.name)
    }
}
