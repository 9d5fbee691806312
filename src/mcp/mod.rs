//! The protocol, pure: no clock, no I/O, no runtime.

pub mod compose;
pub mod era;
pub mod id;
pub mod json;
pub mod layout;
pub mod line;
pub mod message;
pub mod method;
pub mod mirror;
pub mod patch;
mod quirks;
pub mod remap;
pub mod revision;
pub mod secret;
pub mod sensitive;
pub mod sse;
pub mod token;

pub use era::Eras;
pub use id::Id;
pub use message::{Kind, Message, Opaque};
pub use method::{Direction, Method};
pub use quirks::Quirks;
pub use revision::{Era, Revision};
