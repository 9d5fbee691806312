//! The protocol as pure functions and types: no clock, no I/O, no runtime.

pub mod compose;
pub mod decimal;
pub mod era;
pub mod handshake;
pub mod id;
pub mod id_map;
pub mod json;
pub mod json_path;
pub mod layout;
pub mod leaf;
pub mod line;
pub mod listing;
pub mod message;
pub mod method;
pub mod mirror;
pub mod patch;
mod quirks;
pub mod remap;
pub mod revision;
pub mod schema;
pub mod secret;
pub mod sensitive;
pub mod sse;
pub mod token;
pub mod tree;
mod unreached;

pub use era::Eras;
pub use id::Id;
pub use message::{Kind, Message, Opaque};
pub use method::{Direction, Method};
pub use quirks::Quirks;
pub use revision::{Era, Revision};
pub use unreached::Unreached;
