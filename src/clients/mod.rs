//! Configuration files of MCP clients: the servers in them, and shadowcat in front of a server.
//!
//! A file is never rewritten as a whole: a few spans of its text are replaced, so that comments,
//! order and formatting stay, and unwrapping gives back every byte.

mod change;
mod document;
mod entry;
mod json;
mod known;
mod store;
mod toml;
mod wrapping;

pub use change::{ConfigChange, Plan, Servers, Wrapping, plan, read, servers};
pub use document::{Document, DocumentError};
pub use entry::{ServerEntry, Transport};
pub use known::{CLIENTS, ConfigFile, ConfigScope, Homeless, Homes, KnownClient};
pub use store::StoreError;
pub use wrapping::{Unnamed, WrapError, Wrapper};
