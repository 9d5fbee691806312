//! The outgoing end of a lane: an ordered queue with one writer at a time.
//!
//! The order of the queue is the order of decisions, and whichever thread comes next writes. The
//! thread that reads a lane flushes inline, so a passing frame crosses no channel; frames that are
//! released or injected from elsewhere wake the queue's own pump. A peer that does not read blocks
//! the flushing thread, and so the lane behind it, and nothing else.
//!
//! A queue without a writer is emptied by a task instead ([`WriterQueue::next`]), at the pace at which
//! its peer reads.

use std::collections::VecDeque;
use std::io::{self, IoSlice, Write};

use bytes::Bytes;
use parking_lot::{Condvar, Mutex};
use tokio::sync::Notify;

use super::pace::Pace;

/// Bytes to write, and a receipt that is returned once they were written or could not be.
#[derive(Debug)]
pub struct QueuedWrite<T> {
    /// The bytes, which are written whole.
    pub bytes: Bytes,
    /// The receipt, given to the `confirm` callback of the thread that flushes.
    pub receipt: Option<T>,
    /// The position in a long line, for a piece of one: no other write may come between its pieces.
    pub piece: Option<LinePiece>,
    /// The speed of the write; at once if `None`.
    pub pace: Option<Pace>,
}

/// The position of a piece in a long line, which streams through lane `lane`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LinePiece {
    /// The number of the lane.
    pub lane: u32,
    /// `true` for the last piece of the line.
    pub last: bool,
}

/// The outgoing end of a connection: a queue of the writes to one peer.
pub struct WriterQueue<T> {
    queue: Mutex<Queue<T>>,
    woken: Condvar,
    /// Wakes the task that empties a queue without a writer.
    filled: Notify,
    /// Wakes the tasks that wait for room in such a queue.
    emptied: Notify,
    writer: Mutex<Option<Box<dyn Sink<T>>>>,
}

/// The destination of a queue's writes; implemented for every [`Write`].
pub trait Sink<T>: Send {
    /// Writes a batch in its order.
    ///
    /// # Errors
    /// Fails if the peer is gone; the sink is then dropped.
    fn write_batch(&mut self, writes: &[QueuedWrite<T>]) -> io::Result<()>;

    /// Writes one message at a limited speed, and blocks meanwhile. A sink that takes whole messages
    /// only gets it at the end of its time.
    ///
    /// # Errors
    /// As for [`Sink::write_batch`].
    fn write_paced(&mut self, write: &QueuedWrite<T>, pace: Pace) -> io::Result<()> {
        std::thread::sleep(pace.duration(write.bytes.len()));
        self.write_batch(std::slice::from_ref(write))
    }
}

struct Queue<T> {
    writes: VecDeque<QueuedWrite<T>>,
    /// The lane whose long line is under way.
    streaming: Option<u32>,
    /// Writes that wait for the end of that line.
    deferred: VecDeque<QueuedWrite<T>>,
    /// Set by a thread that queued writes and leaves flushing to the pump.
    kicked: bool,
    /// Set while a thread writes what it has taken out of the queue.
    writing: bool,
    /// Set when no more writes will come: the writer is closed as soon as the queue is empty.
    ending: bool,
    /// Set when the end is to look like a broken connection to the peer.
    cut: bool,
    closed: bool,
}

/// Bytes that may wait in a queue without a writer before [`WriterQueue::room`] makes callers wait.
const ROOM: usize = 256 << 10;

/// Maximum number of writes per system call.
const BATCH: usize = 64;

impl<T> WriterQueue<T> {
    /// Creates a queue that writes to `writer`.
    pub fn new(writer: impl Sink<T> + 'static) -> Self {
        Self::into(Box::new(writer))
    }

    /// Creates a queue that writes to a boxed sink.
    pub fn into(sink: Box<dyn Sink<T>>) -> Self {
        Self::with(Some(sink))
    }

    /// Creates a queue without a writer, which a task empties with [`WriterQueue::next`].
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

    /// Queues a write. The caller has to call [`WriterQueue::flush`] or [`WriterQueue::kick`] after it.
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

    /// Ends the queue in a way that looks like a broken connection to the peer.
    pub fn cut(&self) {
        self.queue.lock().cut = true;
        self.end();
    }

    /// Returns `true` if the queue was cut or abandoned.
    pub fn is_cut(&self) -> bool {
        self.queue.lock().cut
    }

    /// Waits for the next write; returns `None` when the queue has ended. Only one task may empty a queue.
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
            // A push since the lock was released has left a permit.
            self.filled.notified().await;
        }
    }

    /// Waits until the queue has room for more, or has ended.
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

    /// Closes a queue whose peer is gone, and returns the writes that are lost.
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

    /// Returns `true` if the queue has ended or its peer is gone.
    pub fn is_closed(&self) -> bool {
        let queue = self.queue.lock();
        queue.closed || queue.ending
    }

    /// Returns `true` if the queue has ended and is empty.
    pub fn is_over(&self) -> bool {
        let queue = self.queue.lock();
        queue.ending && queue.writes.is_empty() && queue.deferred.is_empty()
    }

    /// Returns `true` if every write queued so far was written, or could not be.
    pub fn is_idle(&self) -> bool {
        let queue = self.queue.lock();
        queue.closed || (!queue.writing && queue.writes.is_empty() && queue.deferred.is_empty())
    }

    /// Wakes the pump, which then flushes.
    pub fn kick(&self) {
        self.queue.lock().kicked = true;
        self.woken.notify_all();
        self.filled.notify_one();
    }

    /// Writes everything queued, and passes each receipt to `confirm` together with `true` if its bytes
    /// were written. Blocks while the peer does not read.
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
                Some(open) => write_all(open.as_mut(), &batch).is_ok(),
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

    /// Flushes whenever the queue is kicked, until [`WriterQueue::end`]. Runs on a thread of its own, and
    /// goes on after the peer is gone, to confirm later writes as unwritten.
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

impl<T> QueuedWrite<T> {
    /// Creates a write at full speed and without a receipt.
    pub fn plain(bytes: Bytes) -> Self {
        Self { bytes, receipt: None, piece: None, pace: None }
    }
}

/// Writes a batch, each message at its own pace.
fn write_all<T>(sink: &mut dyn Sink<T>, mut batch: &[QueuedWrite<T>]) -> io::Result<()> {
    while let Some(at) = batch.iter().position(|write| write.pace.is_some()) {
        let (plain, paced) = batch.split_at(at);
        if !plain.is_empty() {
            sink.write_batch(plain)?;
        }
        if let Some((write, pace)) = paced.first().and_then(|write| Some((write, write.pace?))) {
            sink.write_paced(write, pace)?;
        }
        batch = &batch[at + 1..];
    }
    if batch.is_empty() { Ok(()) } else { sink.write_batch(batch) }
}

impl<T, W: Write + Send> Sink<T> for W {
    /// Writes several small writes with one vectored system call.
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

    fn write_paced(&mut self, write: &QueuedWrite<T>, pace: Pace) -> io::Result<()> {
        for piece in pace.pieces(write.bytes.clone()) {
            self.write_all(&piece)?;
            self.flush()?;
            std::thread::sleep(pace.duration(piece.len()));
        }
        Ok(())
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
        QueuedWrite { bytes: Bytes::from_static(text.as_bytes()), receipt: Some(receipt), piece, pace: None }
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
