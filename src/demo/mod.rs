//! The demo: a small server that speaks both eras, and what a client says to it.

pub mod script;
pub mod server;
