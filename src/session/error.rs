//! Why a session refuses.

use crate::log::Seq;

/// Why a command to a session could not be carried out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SessionError {
    #[error("#{0} is not held (it was decided, withdrawn, or its session ended)")]
    NotHeld(Seq),
    #[error("#{0} is no request, so there is nothing to answer")]
    NoRequest(Seq),
    #[error("the {0} side of the session is closed")]
    Closed(&'static str),
    #[error("a 2026-era server sends no requests; put it into an input_required result instead")]
    EraForbids,
}
