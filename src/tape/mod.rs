//! Recordings on disk.

pub mod format;
mod http;
pub mod index;
pub mod library;
pub mod media;
pub mod reader;
pub mod recorder;
mod standing;
pub mod writer;

pub use reader::{OpenError, Reader};
pub use recorder::{Recorder, Status};
pub use writer::TapeWriter;
