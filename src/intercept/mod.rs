//! The stages between the lanes: who may hold, change, answer or drop a frame.

pub mod breakpoints;
pub mod chain;
pub mod verdict;

pub use breakpoints::Breakpoints;
pub use chain::{Arriving, Chain, Interceptor};
pub use verdict::{Decision, Outgoing, Ruling, Verdict};
