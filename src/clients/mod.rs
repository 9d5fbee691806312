//! The configuration files of MCP clients: finding the servers in them, and putting us in front of one.
//!
//! A file is never written anew: a few spans of its text are replaced, so that comments, order and
//! formatting stay, and taking us out again gives back every byte.

mod document;
mod json;
mod known;
mod store;
mod toml;
mod wrapping;

pub use document::{Document, DocumentError, Entry, Way};
pub use known::{CLIENTS, Client, Homes, Level, Place};
pub use store::{Store, StoreError, write};
pub use wrapping::{Refused, Wrapper, is_sound, unwrapped, wrapped};
