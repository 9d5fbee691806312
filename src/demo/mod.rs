//! Demo: a small server that speaks both eras, and the calls that its client makes.

pub mod script;
pub mod server;
