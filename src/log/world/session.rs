//! The sessions of a world.

use super::World;
use crate::clock::Stamp;
use crate::log::record::{Closed, Facts, LaneId, Opened, Seq, SessionId};
use crate::mcp::{Direction, Era};

/// A session, with what the header and the capability card show of it.
#[derive(Debug, Clone)]
pub struct SessionOverview {
    /// The number of the session.
    pub id: SessionId,
    /// The beginning, as last reported: a restarted server has a new process id.
    pub opened: Opened,
    /// The record that opened the session.
    pub seq: Seq,
    /// The time at which the session began.
    pub since: Stamp,
    /// The newest facts about the client.
    pub client: Option<Facts>,
    /// The newest facts about the server.
    pub server: Option<Facts>,
    /// The facts that were learnt about both sides, in order, each with its position.
    pub learnt: Vec<(Seq, Facts)>,
    /// The lane of the client of a stdio server, once it has sent something.
    pub input: Option<LaneId>,
    /// The record of the end of that lane, and its time: the client has closed its end.
    pub hung_up: Option<(Seq, Stamp)>,
    /// `true` while the server has ended and the client waits for another one.
    pub is_down: bool,
    /// The end of the session, if it has ended.
    pub closed: Option<Closed>,
    /// The record that closed the session, and its time.
    pub closed_at: Option<(Seq, Stamp)>,
    /// The number of frames so far.
    pub frames: u64,
    /// The number of failed frames so far.
    pub errors: u64,
    /// The pages of lists that the server has given, in order.
    pub pages: Vec<Page>,
}

/// A page of a list that the server has given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Page {
    /// The response with the page.
    pub seq: Seq,
    /// The method of the list: `tools/list`, `resources/list` or `prompts/list`.
    pub method: &'static str,
    /// `true` if the page continues the page before it.
    pub continues: bool,
}

impl SessionOverview {
    /// Returns the era that the header shows: the server's, or else the one that the client claims.
    pub fn era(&self) -> Option<Era> {
        let era = |facts: &Option<Facts>| facts.as_ref().and_then(|facts| facts.era);
        era(&self.server).or_else(|| era(&self.client))
    }

    /// Returns the facts known about a side when record `seq` had been written.
    pub fn facts(&self, side: Direction, seq: Seq) -> Option<&Facts> {
        let known = |(at, facts): &&(Seq, Facts)| *at <= seq && facts.side == side;
        self.learnt.iter().rev().find(known).map(|(_, facts)| facts)
    }

    /// Returns the pages that made up the list of `method` when record `seq` had been written.
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

    /// Returns the name of a session's server, or an empty text for an unknown session.
    pub fn session_name(&self, id: SessionId) -> &str {
        self.sessions.get(&id).map_or("", |session| &session.opened.name)
    }
}
