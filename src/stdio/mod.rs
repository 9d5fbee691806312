//! Stdio servers: reading and writing their streams, starting them again, sharing them, and ending
//! them so that nothing is left behind.
//!
//! A process that one client has alone is driven by threads ([`drive`]), so that bytes cross no
//! channel. A process behind an HTTP endpoint is driven by tasks ([`process`]).

pub mod drive;
pub mod lifecycle;
pub mod link;
pub mod multiplex;
pub mod process;
pub mod reply_queue;
pub mod restart;
pub mod router;
pub mod supervisor;
