//! Transports, which carry bytes: child processes, standard streams, HTTP, and pipes in memory.

pub mod child;
pub mod http;
pub mod memory;
pub mod pace;
pub mod source;
pub mod spawn;
pub mod stdio;
pub mod writer_queue;

pub use pace::Pace;
pub use source::Source;
pub use writer_queue::{LinePiece, QueuedWrite, Sink, WriterQueue};
