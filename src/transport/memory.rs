//! A bounded pipe in memory, used as the simulated network of tests and by the built-in client.

use std::io::{self, Read, Write};

use bytes::{Buf, Bytes};
use tokio::sync::mpsc;

/// The writing end of a pipe. Writes wait, or block, while the pipe is full.
#[derive(Clone)]
pub struct PipeWriter(mpsc::Sender<Bytes>);

/// The reading end of a pipe, which reaches its end when every writer is dropped.
pub struct PipeReader {
    chunks: mpsc::Receiver<Bytes>,
    rest: Bytes,
}

/// Creates a pipe that holds up to `chunks` writes (at least one).
pub fn pipe(chunks: usize) -> (PipeWriter, PipeReader) {
    let (sender, receiver) = mpsc::channel(chunks.max(1));
    (PipeWriter(sender), PipeReader { chunks: receiver, rest: Bytes::new() })
}

impl PipeWriter {
    /// Writes without blocking the thread, waiting while the pipe is full.
    ///
    /// # Errors
    /// [`io::ErrorKind::BrokenPipe`] if the reader is gone.
    pub async fn send(&self, bytes: Bytes) -> io::Result<()> {
        self.0.send(bytes).await.map_err(|_| io::ErrorKind::BrokenPipe.into())
    }
}

impl PipeWriter {
    /// Writes without waiting; returns `Ok(false)` if the pipe is full.
    ///
    /// # Errors
    /// [`io::ErrorKind::BrokenPipe`] if the reader is gone.
    pub fn try_send(&self, bytes: Bytes) -> io::Result<bool> {
        match self.0.try_send(bytes) {
            Ok(()) => Ok(true),
            Err(mpsc::error::TrySendError::Full(_)) => Ok(false),
            Err(mpsc::error::TrySendError::Closed(_)) => Err(io::ErrorKind::BrokenPipe.into()),
        }
    }

    /// Completes when the reader is gone.
    pub async fn closed(&self) {
        self.0.closed().await;
    }
}

impl Write for PipeWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let chunk = Bytes::copy_from_slice(bytes);
        self.0.blocking_send(chunk).map_err(|_| io::Error::from(io::ErrorKind::BrokenPipe))?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl PipeReader {
    /// Waits for the next chunk; returns `None` at the end.
    pub async fn recv(&mut self) -> Option<Bytes> {
        self.chunks.recv().await
    }
}

impl crate::transport::Source for PipeReader {}

impl Read for PipeReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.rest.is_empty() {
            match self.chunks.blocking_recv() {
                Some(chunk) => self.rest = chunk,
                None => return Ok(0),
            }
        }
        let length = buffer.len().min(self.rest.len());
        buffer[..length].copy_from_slice(&self.rest[..length]);
        self.rest.advance(length);
        Ok(length)
    }
}
