//! The status words of a row.

use super::{FrameState, Row, State, World};
use crate::log::record::{Facts, FrameKind, Origin, Outcome, Role};
use crate::mcp::{Method, Revision};

impl World {
    /// Returns the reason why the row's method does not belong to the session's revision, or `None` if it
    /// does or the revision is unknown.
    pub fn illegal(&self, row: &Row) -> Option<String> {
        let says_method = matches!(row.kind, FrameKind::Request | FrameKind::Notification);
        let method = Method::find(self.text(row.method).filter(|_| says_method)?)?;
        let session = self.sessions.get(&row.session)?;
        let version = |facts: &Option<Facts>| Revision::parse(facts.as_ref()?.version.as_deref()?);
        let revision = version(&session.server).or_else(|| version(&session.client))?;
        // A client may always probe whether the server speaks the other era.
        let probe = matches!(method.name, "server/discover" | "initialize");
        (!probe && !method.is_allowed(revision, row.direction))
            .then(|| format!("{} is not defined in {revision} for this direction", method.name))
    }

    /// Passes every status word that applies to a row to `yes`.
    pub fn statuses(&self, row: &Row, yes: &mut dyn FnMut(&str)) {
        if let Some(status) = row.status() {
            yes(&status.to_string());
        }
        match row.state {
            FrameState::Held => yes("held"),
            FrameState::Ended(Outcome::Dropped) if row.edited => yes("edited"),
            FrameState::Ended(Outcome::Dropped) => yes("dropped"),
            FrameState::Ended(Outcome::Answered) => yes("answered"),
            FrameState::Ended(Outcome::Withdrawn) => yes("withdrawn"),
            FrameState::Moving | FrameState::Ended(Outcome::Forwarded) => {}
        }
        match row.origin() {
            Origin::Replaced(_) => yes("edited"),
            Origin::Answered(_) => yes("answered"),
            Origin::Injected => yes("injected"),
            _ => {}
        }
        row.flags.words().for_each(&mut *yes);
        if row.is_redacted {
            yes("redacted");
        }
        if row.role == Role::Cancel {
            yes("cancel");
        }
        if row.is_error {
            yes("error");
        } else if matches!(row.role, Role::Response | Role::InputRequired) {
            yes("ok");
        }
        if let (Role::Request | Role::Retry, Some(operation)) =
            (row.role, row.op().and_then(|op| self.operation(op)))
        {
            match operation.state {
                State::Pending | State::InputRequired
                    if !matches!(row.state, FrameState::Ended(Outcome::Withdrawn)) =>
                {
                    yes("pending");
                }
                State::Cancelled => yes("cancel"),
                State::Lost => yes("lost"),
                State::Ok => yes("ok"),
                State::Error => yes("error"),
                _ => {}
            }
        }
    }
}
