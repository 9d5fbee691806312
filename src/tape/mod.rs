//! Recordings on disk.

pub mod format;
pub mod index;
pub mod library;
pub mod reader;
pub mod writer;

pub use reader::{OpenError, Reader};
pub use writer::{Recorder, Status, TapeWriter};
