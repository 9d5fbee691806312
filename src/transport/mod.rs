//! What carries bytes: child processes, standard streams, memory.

pub mod child;
pub mod http;
pub mod memory;
pub mod stdio;
pub mod writer_queue;

pub use writer_queue::{LinePiece, QueuedWrite, Sink, WriterQueue};
