//! A running proxy: sessions, the lanes they read, the client of our own.

pub mod client;
pub mod drive;
mod facts;
pub mod holds;
pub mod host;
pub mod launch;
pub mod session;
pub mod supervise;

pub use session::{Lane, Port, Refused, Session};
