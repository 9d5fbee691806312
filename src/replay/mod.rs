//! Replay of recordings: in the place of a server ([`standin`]) or of a client ([`rehearsal`]).

pub mod rehearsal;
pub mod standin;
