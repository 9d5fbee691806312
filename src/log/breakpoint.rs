//! Breakpoints as data: what a person arms, and what the screen shows of it.

use super::query::Query;

/// A query that holds what it matches.
#[derive(Debug, Clone)]
pub struct Breakpoint {
    pub id: u32,
    pub query: Query,
    pub enabled: bool,
    /// How many frames it has held.
    pub hits: u64,
}

/// All breakpoints of an engine at one moment.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    pub points: Vec<Breakpoint>,
    /// Whether the breakpoints stop anything at all.
    pub armed: bool,
    /// Whether every frame is held, breakpoints or not.
    pub everything: bool,
}
