//! Stdio servers: their streams, restart, sharing between clients, and shutdown without processes that
//! are left behind.
//!
//! A process of stdio sessions is driven by threads ([`drive`]), so that bytes cross no channel. A
//! process behind an HTTP endpoint is driven by tasks ([`process`]).

pub mod drive;
pub mod lifecycle;
pub mod link;
pub mod multiplex;
pub mod process;
pub mod reply_queue;
pub mod restart;
pub mod router;
pub mod supervisor;
