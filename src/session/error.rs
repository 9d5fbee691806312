//! The errors of a session.

use crate::log::Seq;

/// The reason why a session could not do as it was told.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SessionError {
    /// The frame waits for no verdict.
    #[error("#{0} is not held (it was decided, withdrawn, or its session ended)")]
    NotHeld(Seq),
    /// Only a request can be answered.
    #[error("#{0} is no request, so there is nothing to answer")]
    NoRequest(Seq),
    /// No lane towards this side is open.
    #[error("the {0} side of the session is closed")]
    Closed(&'static str),
    /// Servers send no requests (2026-07-28, basic/patterns/mrtr).
    #[error("in the stateless era servers send no requests; use an input_required result instead")]
    EraForbids,
}
