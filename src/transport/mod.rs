//! What carries bytes: child processes, standard streams, memory.

pub mod child;
pub mod http;
pub mod memory;
pub mod outlet;
pub mod stdio;

pub use outlet::{Outlet, Parcel, PieceOf, Sink};
