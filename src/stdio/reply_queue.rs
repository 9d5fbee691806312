//! The reply queue of an exchange: messages of the server until the exchange reads them. It is bounded
//! by bytes, since a burst of small messages is no sign of a slow reader.

use std::collections::VecDeque;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::mcp::{Id, Message};

/// One message of the server for an exchange.
#[derive(Debug)]
pub struct QueuedReply {
    /// The message, with the ids that the client knows.
    pub message: Message,
    /// The request of the exchange that it answers.
    pub answers: Option<Answered>,
}

/// A request that was answered.
#[derive(Debug)]
pub struct Answered {
    /// The client's id of the request.
    pub id: Id,
    /// The code of the error in the answer.
    pub code: Option<i64>,
}

/// The writing end.
#[derive(Clone, Default)]
pub struct ReplyQueue(Arc<Inner>);

/// The reading end. A later one takes over the unread messages of an earlier one.
pub struct ReplyReceiver {
    shared: Arc<Inner>,
    reader: u64,
}

#[derive(Default)]
struct Inner {
    state: Mutex<State>,
    filled: Notify,
    emptied: Notify,
}

#[derive(Default)]
struct State {
    queue: VecDeque<QueuedReply>,
    bytes: usize,
    /// The number of the present reader; `None` before the first, and after it has left.
    reader: Option<u64>,
    /// Number of readers so far.
    readers: u64,
    /// Set when no more messages will come.
    over: bool,
}

/// Maximum number of unread bytes. A single message may always be longer.
const MAX_BYTES: usize = 4 << 20;
/// Bytes that a message costs beside its own.
const MESSAGE_OVERHEAD: usize = 128;

impl QueuedReply {
    fn length(&self) -> usize {
        self.message.raw().len()
    }
}

impl ReplyQueue {
    /// Opens the reading end; an earlier one reads nothing any more.
    pub fn open(&self) -> ReplyReceiver {
        let mut state = self.0.state.lock();
        state.readers += 1;
        state.reader = Some(state.readers);
        let reader = state.readers;
        drop(state);
        self.0.filled.notify_waiters();
        ReplyReceiver { shared: Arc::clone(&self.0), reader }
    }

    /// Queues a message.
    ///
    /// # Errors
    /// The message, if there is no room for it.
    pub fn put(&self, reply: QueuedReply) -> Result<(), Box<QueuedReply>> {
        let mut state = self.0.state.lock();
        if !state.has_room(reply.length()) {
            return Err(Box::new(reply));
        }
        state.push(reply);
        drop(state);
        self.0.filled.notify_waiters();
        Ok(())
    }

    /// Queues a message whatever its length, and takes out the oldest ones until at most `max_bytes` are
    /// queued. Returns those.
    pub fn keep(&self, reply: QueuedReply, max_bytes: usize) -> Vec<QueuedReply> {
        let mut state = self.0.state.lock();
        state.push(reply);
        let mut dropped = Vec::new();
        while state.bytes > max_bytes && state.queue.len() > 1 {
            let Some(oldest) = state.pop() else { break };
            dropped.push(oldest);
        }
        drop(state);
        self.0.filled.notify_waiters();
        dropped
    }

    /// Waits until there is room for a message of `length` bytes, or no reader is left.
    pub async fn room(&self, length: usize) {
        loop {
            let emptied = self.0.emptied.notified();
            tokio::pin!(emptied);
            emptied.as_mut().enable();
            {
                let state = self.0.state.lock();
                if state.reader.is_none() || state.has_room(length) {
                    return;
                }
            }
            emptied.await;
        }
    }

    /// Ends the queue: the reader gets what is queued, and then the end.
    pub fn close(&self) {
        self.0.state.lock().over = true;
        self.0.filled.notify_waiters();
    }

    /// Returns `true` if there is a reader.
    pub fn is_read(&self) -> bool {
        self.0.state.lock().reader.is_some()
    }

    /// Returns `true` if both are the same queue.
    pub fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// Takes out all unread messages.
    pub fn take_unread(&self) -> Vec<QueuedReply> {
        let mut state = self.0.state.lock();
        std::iter::from_fn(|| state.pop()).collect()
    }
}

impl State {
    /// Returns `true` if there is room for a message of `length` bytes; an empty queue takes any.
    fn has_room(&self, length: usize) -> bool {
        self.queue.is_empty() || self.bytes + length + MESSAGE_OVERHEAD <= MAX_BYTES
    }

    fn push(&mut self, reply: QueuedReply) {
        self.bytes += reply.length() + MESSAGE_OVERHEAD;
        self.queue.push_back(reply);
    }

    fn pop(&mut self) -> Option<QueuedReply> {
        let reply = self.queue.pop_front()?;
        self.bytes -= reply.length() + MESSAGE_OVERHEAD;
        Some(reply)
    }
}

impl ReplyReceiver {
    /// Waits for the next message; `None` if there will be none for this reader.
    pub async fn recv(&mut self) -> Option<QueuedReply> {
        loop {
            let filled = self.shared.filled.notified();
            tokio::pin!(filled);
            filled.as_mut().enable();
            {
                let mut state = self.shared.state.lock();
                if state.reader != Some(self.reader) {
                    return None;
                }
                if let Some(reply) = state.pop() {
                    drop(state);
                    self.shared.emptied.notify_waiters();
                    return Some(reply);
                }
                if state.over {
                    return None;
                }
            }
            filled.await;
        }
    }
}

impl Drop for ReplyReceiver {
    fn drop(&mut self) {
        let mut state = self.shared.state.lock();
        if state.reader == Some(self.reader) {
            state.reader = None;
        }
        drop(state);
        self.shared.emptied.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reply(length: usize) -> QueuedReply {
        QueuedReply { message: Message::parse(vec![b'x'; length].into()), answers: None }
    }

    #[tokio::test]
    async fn bytes_are_bounded_and_messages_are_not() {
        let queue = ReplyQueue::default();
        let mut replies = queue.open();
        for _ in 0..10_000 {
            queue.put(reply(100)).unwrap();
        }
        assert!(queue.put(reply(MAX_BYTES)).is_err());
        assert_eq!(queue.take_unread().len(), 10_000);
        queue.put(reply(2 * MAX_BYTES)).unwrap();
        assert_eq!(replies.recv().await.unwrap().length(), 2 * MAX_BYTES);
        assert_eq!(queue.keep(reply(60), 400).len() + queue.keep(reply(60), 400).len(), 0);
        assert_eq!(queue.keep(reply(60), 400).len(), 1, "the oldest makes room");
    }

    #[tokio::test]
    async fn whoever_waits_for_room_waits_until_there_is_some() {
        let queue = ReplyQueue::default();
        let mut replies = queue.open();
        for _ in 0..2 {
            queue.put(reply(1 << 20)).unwrap();
        }
        let large = 7 << 19;
        assert!(queue.put(reply(large)).is_err());
        let waiting = queue.clone();
        let waiting = tokio::spawn(async move { waiting.room(large).await });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        replies.recv().await.unwrap();
        replies.recv().await.unwrap();
        waiting.await.unwrap();
        assert!(queue.put(reply(large)).is_ok());
        drop(replies);
        queue.room(large).await;
    }

    #[tokio::test]
    async fn another_reader_takes_over_what_is_unread() {
        let queue = ReplyQueue::default();
        queue.put(reply(1)).unwrap();
        let mut before = queue.open();
        let mut after = queue.open();
        assert!(before.recv().await.is_none());
        drop(before);
        assert!(queue.is_read());
        assert_eq!(after.recv().await.unwrap().length(), 1);
        queue.close();
        assert!(after.recv().await.is_none());
        drop(after);
        assert!(!queue.is_read());
    }
}
