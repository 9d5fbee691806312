//! Breakpoints as data: what a person arms, what the screen shows of it, and who decides.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::query::Query;
use super::record::Seq;

/// A query that holds what it matches.
#[derive(Debug, Clone)]
pub struct Breakpoint {
    pub id: u32,
    pub query: Query,
    pub enabled: bool,
    /// How many frames it has held.
    pub hits: u64,
    /// How long what it holds waits while nobody is there who could decide; not at all where zero.
    pub patience: Duration,
}

/// Somebody who can decide.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Controller {
    pub seat: u32,
    pub name: String,
    /// Whether it is the one who decides now.
    pub decides: bool,
}

/// All breakpoints of an engine at one moment, and who decides on what they hold.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    pub points: Vec<Breakpoint>,
    /// Whether the breakpoints stop anything at all.
    pub armed: bool,
    /// Whether every frame is held, breakpoints or not.
    pub everything: bool,
    /// Who can decide, in the order in which they came.
    pub controllers: Vec<Controller>,
    /// What goes on instead of held frames that were changed and are still held.
    pub amended: BTreeMap<Seq, Bytes>,
}
