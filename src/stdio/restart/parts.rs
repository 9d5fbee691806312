//! What a mounted process is reached by, and how it was greeted.

use std::io::{self, PipeReader};
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;

use super::MAX_GREETING_BYTES;
use crate::log::record::Seq;
use crate::mcp::Message;
use crate::session::Receipt;
use crate::transport::stdio::Blocking;
use crate::transport::{QueuedWrite, Sink};

/// The input of a process. A write may block for as long as the process does not read.
pub struct Input(Mutex<Option<Box<dyn Sink<Receipt>>>>);

/// A stream of a process, which can be let go while it is waited for.
pub struct Output {
    pub stream: Blocking,
    pub wake: Arc<PipeReader>,
}

/// How the client greeted the server.
#[derive(Default)]
pub struct Greeting {
    /// `initialize`, and its frame.
    pub initialize: Option<(Bytes, Seq)>,
    /// `notifications/initialized`.
    pub initialized: Option<Bytes>,
    /// Nothing more of it comes.
    is_over: bool,
}

// === impl Input ===

impl Input {
    pub fn new(stdin: Blocking) -> Arc<Self> {
        Arc::new(Self(Mutex::new(Some(Box::new(stdin)))))
    }

    pub fn none() -> Arc<Self> {
        Arc::new(Self(Mutex::new(None)))
    }

    pub fn write_batch(&self, writes: &[QueuedWrite<Receipt>]) -> io::Result<()> {
        self.0.lock().as_mut().ok_or(io::ErrorKind::BrokenPipe)?.write_batch(writes)
    }

    /// Closes it, unless somebody writes: then it is closed when the process ends.
    pub fn close(&self) {
        if let Some(mut open) = self.0.try_lock() {
            *open = None;
        }
    }
}

// === impl Greeting ===

impl Greeting {
    /// Keeps what a client greets its server with.
    pub fn learn(&mut self, write: &QueuedWrite<Receipt>) {
        if self.is_over || write.piece.is_some() || write.bytes.len() > MAX_GREETING_BYTES {
            return;
        }
        let message = Message::parse(write.bytes.clone());
        let frame = write.receipt.as_ref().map_or(0, |receipt| receipt.frame);
        match (message.method(), &self.initialize) {
            (Some("initialize"), None) => self.initialize = Some((write.bytes.clone(), frame)),
            (Some("notifications/initialized"), Some(_)) => {
                self.initialized = Some(write.bytes.clone());
                self.is_over = true;
            }
            // These may come before.
            (Some("ping" | "server/discover"), _) | (None, _) => {}
            (Some(_), None) => self.is_over = true,
            (Some(_), Some(_)) => {}
        }
    }
}
