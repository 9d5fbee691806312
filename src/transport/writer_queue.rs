//! The way out of a lane: an ordered queue with one writer at a time.
//!
//! The order of the queue is the order of decisions; whoever comes next writes. The thread that
//! reads a lane flushes inline, so a passing frame crosses no channel; frames that are released
//! or injected from elsewhere wake the queue's own pump. A peer that does not read blocks the
//! flushing thread, and so the lane behind it, and nothing else.
//!
//! An queue without a writer is emptied by a task instead ([`WriterQueue::next`]), at the pace at
//! which its peer takes what it is given.

use std::collections::VecDeque;
use std::io::{self, IoSlice, Write};

use bytes::Bytes;
use parking_lot::{Condvar, Mutex};
use tokio::sync::Notify;

/// Something to write, and a receipt that comes back when it was (or could not be) written.
#[derive(Debug)]
pub struct QueuedWrite<T> {
    pub bytes: Bytes,
    pub receipt: Option<T>,
    /// Set on the pieces of one long line: nothing may come between them.
    pub piece: Option<LinePiece>,
}

/// A piece of a line that streams through lane `lane`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LinePiece {
    pub lane: u32,
    pub last: bool,
}

/// The end of a connection that takes what goes to one peer.
pub struct WriterQueue<T> {
    queue: Mutex<Queue<T>>,
    woken: Condvar,
    /// Wakes the task that empties an queue without a writer …
    filled: Notify,
    /// … and those who wait for room in it.
    emptied: Notify,
    writer: Mutex<Option<Box<dyn Sink<T>>>>,
}

/// What takes the writes of an queue. Everything that bytes can be written to does.
pub trait Sink<T>: Send {
    /// Takes all writes, in their order.
    ///
    /// # Errors
    /// When the peer is gone: it is offered nothing any more.
    fn write_batch(&mut self, writes: &[QueuedWrite<T>]) -> io::Result<()>;
}

struct Queue<T> {
    writes: VecDeque<QueuedWrite<T>>,
    /// The lane whose long line is under way, and what waits for its end.
    streaming: Option<u32>,
    deferred: VecDeque<QueuedWrite<T>>,
    /// Somebody queued something and will not flush it.
    kicked: bool,
    /// Somebody is writing what is not in the queue any more.
    writing: bool,
    /// No more writes: the writer is closed when the queue is empty.
    ending: bool,
    /// Its end is to look like that of a connection that broke.
    cut: bool,
    closed: bool,
}

/// Bytes that may wait in an queue that a task empties, before whoever fills it should wait.
const ROOM: usize = 256 << 10;

/// Parcels written with one system call at most.
const BATCH: usize = 64;

impl<T> WriterQueue<T> {
    pub fn new(writer: impl Sink<T> + 'static) -> Self {
        Self::into(Box::new(writer))
    }

    /// An queue into a sink of any kind.
    pub fn into(sink: Box<dyn Sink<T>>) -> Self {
        Self::with(Some(sink))
    }

    /// An queue that a task empties.
    pub fn queue() -> Self {
        Self::with(None)
    }

    fn with(writer: Option<Box<dyn Sink<T>>>) -> Self {
        Self {
            queue: Mutex::new(Queue {
                writes: VecDeque::new(),
                streaming: None,
                deferred: VecDeque::new(),
                kicked: false,
                writing: false,
                ending: false,
                cut: false,
                closed: false,
            }),
            woken: Condvar::new(),
            filled: Notify::new(),
            emptied: Notify::new(),
            writer: Mutex::new(writer),
        }
    }

    /// Queues a write. Somebody has to call [`WriterQueue::flush`] or [`WriterQueue::kick`] after it.
    pub fn push(&self, write: QueuedWrite<T>) {
        let mut queue = self.queue.lock();
        match (queue.streaming, write.piece) {
            (Some(lane), Some(piece)) if piece.lane == lane => {
                queue.writes.push_back(write);
                if piece.last {
                    queue.streaming = None;
                    let deferred = std::mem::take(&mut queue.deferred);
                    queue.writes.extend(deferred);
                }
            }
            (Some(_), _) => queue.deferred.push_back(write),
            (None, piece) => {
                queue.streaming = piece.filter(|piece| !piece.last).map(|piece| piece.lane);
                queue.writes.push_back(write);
            }
        }
        drop(queue);
        self.filled.notify_one();
    }

    /// Closes the writer once everything queued is written.
    pub fn end(&self) {
        self.queue.lock().ending = true;
        self.kick();
    }

    /// Ends in a way that the peer is to see as a connection that broke.
    pub fn cut(&self) {
        self.queue.lock().cut = true;
        self.end();
    }

    /// Whether it was cut.
    pub fn is_cut(&self) -> bool {
        self.queue.lock().cut
    }

    /// The next write; none when the queue has ended. For the one task that empties it.
    pub async fn next(&self) -> Option<QueuedWrite<T>> {
        loop {
            {
                let mut queue = self.queue.lock();
                if let Some(write) = queue.writes.pop_front() {
                    drop(queue);
                    self.emptied.notify_waiters();
                    return Some(write);
                }
                if queue.ending {
                    queue.closed = true;
                    return None;
                }
            }
            // A push in between has left a permit.
            self.filled.notified().await;
        }
    }

    /// Waits until less is queued than should be.
    pub async fn room(&self) {
        loop {
            let emptied = self.emptied.notified();
            {
                let queue = self.queue.lock();
                let waiting: usize = queue.writes.iter().map(|write| write.bytes.len()).sum();
                if waiting < ROOM || queue.ending || queue.closed {
                    return;
                }
            }
            emptied.await;
        }
    }

    /// Closes an queue whose peer is gone, and gives back what it will not get.
    pub fn abandon(&self) -> Vec<QueuedWrite<T>> {
        let mut queue = self.queue.lock();
        queue.closed = true;
        queue.ending = true;
        queue.cut = true;
        let mut left: Vec<_> = queue.writes.drain(..).collect();
        left.extend(queue.deferred.drain(..));
        drop(queue);
        self.emptied.notify_waiters();
        self.filled.notify_one();
        left
    }

    /// Whether nothing can be written any more.
    pub fn is_closed(&self) -> bool {
        let queue = self.queue.lock();
        queue.closed || queue.ending
    }

    /// Whether nothing is queued and nothing more will be.
    pub fn is_over(&self) -> bool {
        let queue = self.queue.lock();
        queue.ending && queue.writes.is_empty() && queue.deferred.is_empty()
    }

    /// Whether everything queued so far was written, or could not be.
    pub fn is_idle(&self) -> bool {
        let queue = self.queue.lock();
        queue.closed || (!queue.writing && queue.writes.is_empty() && queue.deferred.is_empty())
    }

    /// Asks the pump to flush.
    pub fn kick(&self) {
        self.queue.lock().kicked = true;
        self.woken.notify_all();
        self.filled.notify_one();
    }

    /// Writes everything queued. `confirm` gets each receipt and whether its bytes were written.
    /// Blocks while the peer does not read.
    pub fn flush(&self, confirm: &mut dyn FnMut(T, bool)) {
        let mut writer = self.writer.lock();
        let mut batch = Vec::new();
        loop {
            let ending = {
                let mut queue = self.queue.lock();
                let most = queue.writes.len().min(BATCH);
                batch.extend(queue.writes.drain(..most));
                queue.writing = !batch.is_empty();
                queue.ending
            };
            if batch.is_empty() {
                if ending {
                    *writer = None;
                    self.queue.lock().closed = true;
                }
                return;
            }
            let written = match writer.as_mut() {
                Some(open) => open.write_batch(&batch).is_ok(),
                None => false,
            };
            if !written && writer.take().is_some() {
                self.queue.lock().closed = true;
            }
            for write in batch.drain(..) {
                if let Some(receipt) = write.receipt {
                    confirm(receipt, written);
                }
            }
        }
    }

    /// Flushes whenever kicked, until [`WriterQueue::end`]. Runs on a thread of its own, and outlives a
    /// peer that is gone: what still comes is confirmed as unwritten.
    pub fn pump(&self, confirm: &mut dyn FnMut(T, bool)) {
        loop {
            {
                let mut queue = self.queue.lock();
                while !queue.kicked {
                    self.woken.wait(&mut queue);
                }
                queue.kicked = false;
            }
            self.flush(confirm);
            let queue = self.queue.lock();
            if queue.closed && queue.ending {
                return;
            }
        }
    }
}

impl<T, W: Write + Send> Sink<T> for W {
    /// Several are written with one call where they are small.
    fn write_batch(&mut self, writes: &[QueuedWrite<T>]) -> io::Result<()> {
        if let [only] = writes {
            self.write_all(&only.bytes)?;
            return self.flush();
        }
        let mut slices: Vec<IoSlice<'_>> = writes.iter().map(|write| IoSlice::new(&write.bytes)).collect();
        let mut rest = &mut slices[..];
        while !rest.is_empty() {
            match self.write_vectored(rest) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => IoSlice::advance_slices(&mut rest, written),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        self.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    #[derive(Clone, Default)]
    struct Sink(Arc<Mutex<Vec<u8>>>);

    impl Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    struct Broken;

    impl Write for Broken {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::BrokenPipe.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn write(text: &'static str, receipt: u8, piece: Option<(u32, bool)>) -> QueuedWrite<u8> {
        let piece = piece.map(|(lane, last)| LinePiece { lane, last });
        QueuedWrite { bytes: Bytes::from_static(text.as_bytes()), receipt: Some(receipt), piece }
    }

    #[test]
    fn keeps_the_order_and_confirms_each() {
        let sink = Sink::default();
        let queue = WriterQueue::new(sink.clone());
        for (receipt, text) in [(1, "a"), (2, "b"), (3, "c")] {
            queue.push(write(text, receipt, None));
        }
        let mut confirmed = Vec::new();
        queue.flush(&mut |receipt, written| confirmed.push((receipt, written)));
        assert_eq!(sink.0.lock().as_slice(), b"abc");
        assert_eq!(confirmed, [(1, true), (2, true), (3, true)]);
    }

    #[test]
    fn nothing_comes_between_the_pieces_of_a_long_line() {
        let sink = Sink::default();
        let queue = WriterQueue::new(sink.clone());
        queue.push(write("long", 1, Some((1, false))));
        queue.push(write("[injected]", 2, None));
        queue.push(write("er", 3, Some((1, true))));
        queue.flush(&mut |_, _| {});
        assert_eq!(sink.0.lock().as_slice(), b"longer[injected]");
    }

    #[test]
    fn a_dead_peer_is_told_and_ends_nothing_else() {
        let queue = WriterQueue::new(Broken);
        queue.push(write("a", 1, None));
        let mut confirmed = Vec::new();
        queue.flush(&mut |receipt, written| confirmed.push((receipt, written)));
        queue.push(write("b", 2, None));
        queue.flush(&mut |receipt, written| confirmed.push((receipt, written)));
        assert_eq!(confirmed, [(1, false), (2, false)]);
        assert!(queue.is_closed());
    }
}
