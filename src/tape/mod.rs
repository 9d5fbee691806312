//! Tapes: recordings of MCP sessions on disk, and everything that writes, reads, converts, compares
//! or replays them.

pub mod builder;
pub mod care;
mod checkpoint;
pub mod compare;
pub mod copy;
pub mod draft;
pub mod excerpt;
pub mod export;
pub mod files;
pub mod format;
mod http;
pub mod import;
pub mod index;
pub mod library;
pub mod media;
pub mod migrate;
pub mod notes;
pub mod opened;
pub mod packed;
pub mod part;
pub mod player;
pub mod reader;
pub mod recorder;
pub mod redact;
pub mod replay;
pub mod script;
mod shelf;
pub mod similarity;
pub mod source;
mod spans;
mod times;
pub mod writer;

pub use opened::{OpenedTape, open};
pub use part::OpenError;
pub use reader::Reader;
pub use recorder::{Recorder, Status};
pub use writer::TapeWriter;
