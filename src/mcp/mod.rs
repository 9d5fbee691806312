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
pub mod revision;
pub mod sse;
pub mod token;

pub use era::Eras;
pub use id::Id;
pub use message::{Kind, Message, Opaque, Quirks};
pub use method::{Direction, Method};
pub use revision::{Era, Revision};
