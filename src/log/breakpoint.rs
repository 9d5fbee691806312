//! The data of breakpoints: the breakpoints that a person sets, and the controllers that decide on
//! held frames.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::query::Query;
use super::record::Seq;

/// A breakpoint: a query, which holds the frames that it matches.
#[derive(Debug, Clone)]
pub struct Breakpoint {
    /// The number of the breakpoint, counted from 1.
    pub id: u32,
    /// The query.
    pub query: Query,
    /// `false` for a breakpoint that holds nothing for now.
    pub enabled: bool,
    /// Number of frames held so far.
    pub hits: u64,
    /// Time for which a frame is held while no controller is attached; if zero, none is held then.
    pub patience: Duration,
}

/// A controller: a screen whose person can decide on held frames.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Controller {
    /// The number of the controller within its engine, counted from 1.
    #[serde(rename = "seat")]
    pub id: u32,
    /// The name that the other controllers see.
    pub name: String,
    /// `true` for the only one whose decisions are accepted now.
    pub decides: bool,
}

/// A snapshot of the breakpoints of an engine, and the controllers that can decide on held frames.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    /// The breakpoints, in the order in which they were set.
    pub points: Vec<Breakpoint>,
    /// `false` while no breakpoint holds anything.
    pub armed: bool,
    /// `true` while every frame is held, whether a breakpoint matches it or not.
    pub everything: bool,
    /// The controllers, in the order in which they attached.
    pub controllers: Vec<Controller>,
    /// The texts that go on in the place of held frames once they are accepted.
    pub amended: BTreeMap<Seq, Bytes>,
}
