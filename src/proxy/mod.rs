//! A running proxy: sessions, the lanes they read, the client of our own.

pub mod client;
pub mod drive;
pub mod holds;
pub mod host;
pub mod http;
pub mod launch;
pub mod link;
pub mod mount;
mod refused;
pub mod rehearsal;
pub mod session;
pub mod share;
mod splice;
pub mod standin;
pub mod supervise;

pub use refused::Refused;
pub use session::{Lane, Port, Session};
