//! Parts of a restartable server: the streams of its process, and the handshake of its client.

use std::io::{self, PipeReader};
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;

use crate::log::record::Seq;
use crate::mcp::Message;
use crate::mcp::handshake::Handshake;
use crate::session::Receipt;
use crate::transport::stdio::Blocking;
use crate::transport::{QueuedWrite, Sink};

/// Standard input of a process. A write blocks while the process does not read.
pub struct ProcessInput(Mutex<Option<Box<dyn Sink<Receipt>>>>);

/// Output stream of a process, the reading of which can be interrupted.
pub struct ProcessOutput {
    /// Stream that is read.
    pub stream: Blocking,
    /// Pipe that interrupts the reading once its other end is closed.
    pub wake: Arc<PipeReader>,
}

/// The handshake of the client, and the frame of its `initialize`.
#[derive(Default)]
pub struct SavedHandshake {
    /// The messages.
    pub messages: Handshake,
    /// Frame of `initialize`.
    pub frame: Seq,
}

// === impl ProcessInput ===

impl ProcessInput {
    /// Creates the open input of a process.
    pub fn new(stdin: Blocking) -> Arc<Self> {
        Arc::new(Self(Mutex::new(Some(Box::new(stdin)))))
    }

    /// Creates a closed input.
    pub fn none() -> Arc<Self> {
        Arc::new(Self(Mutex::new(None)))
    }

    /// Writes lines to the process, and blocks while it does not read.
    ///
    /// # Errors
    /// Fails if the input is closed, or the process has closed its end.
    pub fn write_batch(&self, writes: &[QueuedWrite<Receipt>]) -> io::Result<()> {
        self.0.lock().as_mut().ok_or(io::ErrorKind::BrokenPipe)?.write_batch(writes)
    }

    /// Closes the input, unless a write is under way: the input is then closed when the process ends.
    pub fn close(&self) {
        if let Some(mut open) = self.0.try_lock() {
            *open = None;
        }
    }
}

impl SavedHandshake {
    /// Remembers a line that was written, with the receipt of its last write, if it belongs to the handshake.
    pub fn learn(&mut self, line: Bytes, receipt: Option<&Receipt>) {
        if self.messages.learn(&Message::parse(line)) {
            self.frame = receipt.map_or(0, |receipt| receipt.frame);
        }
    }
}
