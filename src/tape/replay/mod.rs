//! Replay: a recording that takes the place of its server.

mod discover;
mod matching;
mod standin;

pub use matching::{Found, How, Matching};
pub use standin::{Heard, OnMiss, Options, Said, StandIn};
