//! Attacks that once succeeded, each by the programs that made it.

mod bridge;
mod lines;
