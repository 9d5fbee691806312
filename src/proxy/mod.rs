//! A running proxy: sessions, the lanes they read, the client of our own.

pub mod client;
pub mod drive;
mod facts;
pub mod holds;
pub mod host;
pub mod http;
pub mod launch;
mod refused;
pub mod session;
mod splice;
pub mod supervise;

pub use refused::Refused;
pub use session::{Lane, Port, Session};
