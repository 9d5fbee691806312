//! Replay: a recording that takes the place of its server.

mod discover;
mod matching;
mod standin;

pub use matching::{How, MatchedRequest, Matching};
pub use standin::{Handled, OnMiss, Said, StandIn, StandInOptions};
