//! Recordings that speak again: one in the place of a server, one in the place of a client.

pub mod rehearsal;
pub mod standin;
