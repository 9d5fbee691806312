//! The state at an earlier position, derived from a world that has advanced.

use super::{OperationSummary, Row, World};
use crate::clock::Stamp;
use crate::log::record::{Facts, OpId, Role, Seq, SessionId};
use crate::mcp::Direction;

/// The state of a log when a certain record had been written.
#[derive(Debug, Clone, Default)]
pub struct Moment<'a> {
    /// The sessions that had begun and not ended.
    pub sessions: Vec<SessionState<'a>>,
    /// Operations without an answer, oldest first.
    pub in_flight: Vec<&'a OperationSummary>,
    /// The requests that began the subscriptions in force.
    pub subscriptions: Vec<&'a Row>,
}

/// The state of a session at a moment.
#[derive(Debug, Clone)]
pub struct SessionState<'a> {
    /// The session.
    pub session: SessionId,
    /// The name of the session's server.
    pub name: &'a str,
    /// The facts known of the client.
    pub client: Option<&'a Facts>,
    /// The facts known of the server.
    pub server: Option<&'a Facts>,
    /// The pages of the newest tool list that the server had given.
    pub tools: Vec<Seq>,
    /// The pages of the first tool list that the server gave.
    pub first_tools: Vec<Seq>,
}

impl World {
    /// Returns the state when record `seq` had been written.
    pub fn moment(&self, seq: Seq) -> Moment<'_> {
        let stood = |session: &&super::SessionOverview| {
            session.seq <= seq && session.closed_at.is_none_or(|(closed, _)| closed > seq)
        };
        let standing = |session: &'_ super::SessionOverview| {
            let first_end = session
                .pages
                .iter()
                .filter(|page| page.method == "tools/list")
                .skip(1)
                .find(|page| !page.continues)
                .map_or(seq, |page| page.seq - 1);
            (session.id, session.list("tools/list", seq), session.list("tools/list", first_end.min(seq)))
        };
        let sessions = self.sessions.values().filter(stood).map(|session| {
            let (id, tools, first_tools) = standing(session);
            SessionState {
                session: id,
                name: &session.opened.name,
                client: session.facts(Direction::ToServer, seq),
                server: session.facts(Direction::ToClient, seq),
                tools,
                first_tools,
            }
        });
        let begun = |operation: &&OperationSummary| self.first(operation).is_some_and(|row| row.seq <= seq);
        let open = |operation: &&OperationSummary| {
            let ended = operation.ended_by().is_some_and(|ended| ended <= seq);
            let session = self.sessions.get(&operation.session).and_then(|session| session.closed_at);
            begun(operation) && !ended && session.is_none_or(|(closed, _)| closed > seq)
        };
        Moment {
            sessions: sessions.collect(),
            in_flight: self.operations.iter().filter(open).collect(),
            subscriptions: self.subscribed(seq),
        }
    }

    /// Returns the requests that began the subscriptions in force: in 2025 each `resources/subscribe`
    /// until its `resources/unsubscribe`, in 2026 each `subscriptions/listen` while it runs.
    fn subscribed(&self, seq: Seq) -> Vec<&Row> {
        let mut open: Vec<&Row> = Vec::new();
        let known = |text: &str| self.names.find(text);
        let (subscribe, unsubscribe, listen) =
            (known("resources/subscribe"), known("resources/unsubscribe"), known("subscriptions/listen"));
        if subscribe.is_none() && listen.is_none() {
            return open;
        }
        let until = self.rows.partition_point(|row| row.seq <= seq);
        for row in self.rows[..until].iter().filter(|row| row.role == Role::Request && row.method.is_some()) {
            if row.method == subscribe {
                open.retain(|other| (other.session, other.target) != (row.session, row.target));
                open.push(row);
            } else if row.method == unsubscribe {
                open.retain(|other| (other.session, other.target) != (row.session, row.target));
            } else if row.method == listen && self.runs(row.op(), seq) {
                open.push(row);
            }
        }
        open
    }

    fn runs(&self, op: Option<OpId>, seq: Seq) -> bool {
        let operation = op.and_then(|op| self.operation(op));
        operation.is_some_and(|operation| operation.ended_by().is_none_or(|ended| ended > seq))
    }

    /// Returns the last row at or before a time.
    pub fn row_at(&self, at: Stamp) -> Option<&Row> {
        self.rows.partition_point(|row| row.at <= at).checked_sub(1).and_then(|place| self.rows.get(place))
    }
}
