//! The log of all that happened: its records, their storage, and the state that is derived from them.

pub mod breakpoint;
pub mod digest;
pub mod facts;
pub mod frame;
pub mod http;
pub mod linker;
pub mod operation;
pub mod query;
pub mod record;
pub mod store;
pub mod subject;
mod words;
pub mod world;

pub use query::Query;
pub use record::{Body, Frame, Record, Seq, SessionId};
pub use store::{Archive, Log, Tail};
pub use world::World;
