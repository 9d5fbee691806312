//! Parts of a restartable server: the streams of its process, and the handshake of its client.

use std::io::{self, PipeReader};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use parking_lot::Mutex;

use crate::log::record::Seq;
use crate::mcp::Message;
use crate::mcp::handshake::Handshake;
use crate::session::Receipt;
use crate::transport::stdio::Blocking;
use crate::transport::{QueuedWrite, Sink};

/// Standard input of a process. A write blocks while the process does not read.
pub struct ProcessInput {
    sink: Mutex<Option<Box<dyn Sink<Receipt>>>>,
    /// Set once the input is to be closed, by whoever has the sink then.
    is_closing: AtomicBool,
}

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
        Arc::new(Self { sink: Mutex::new(Some(Box::new(stdin))), is_closing: AtomicBool::new(false) })
    }

    /// Creates a closed input.
    pub fn none() -> Arc<Self> {
        Arc::new(Self { sink: Mutex::new(None), is_closing: AtomicBool::new(true) })
    }

    /// Writes lines to the process, and blocks while it does not read.
    ///
    /// # Errors
    /// Fails if the input is closed, or the process has closed its end.
    pub fn write_batch(&self, writes: &[QueuedWrite<Receipt>]) -> io::Result<()> {
        let written = match self.sink.lock().as_mut() {
            Some(sink) => sink.write_batch(writes),
            None => return Err(io::ErrorKind::BrokenPipe.into()),
        };
        // It may have been closed in the meantime.
        if self.is_closing.load(Ordering::SeqCst) {
            self.close();
        }
        written
    }

    /// Closes the input, after the write that is under way. Does not wait for it, since the process may not read.
    pub fn close(&self) {
        self.is_closing.store(true, Ordering::SeqCst);
        if let Some(mut sink) = self.sink.try_lock() {
            *sink = None;
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
