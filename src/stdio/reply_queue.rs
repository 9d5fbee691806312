//! What a server says to one exchange, until it is read: bounded by bytes, since a burst of small
//! messages is no sign of a slow reader.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::mcp::Id;

/// One message of the server, for one exchange.
#[derive(Debug)]
pub struct Said {
    /// The message without a terminator.
    pub line: Bytes,
    /// The answer that it is to a request of the exchange.
    pub answer: Option<Answer>,
}

/// An answer to a request.
#[derive(Debug)]
pub struct Answer {
    /// The client's id of the request.
    pub id: Id,
    /// The code of the error that it reports.
    pub code: Option<i64>,
}

/// The writing end.
#[derive(Clone)]
pub struct ReplyQueue(Arc<Inner>);

/// The reading end. Another one that is opened takes over what is unread.
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
    queue: VecDeque<Said>,
    bytes: usize,
    /// The reader of now; none before the first, and when it has left.
    reader: Option<u64>,
    readers: u64,
    /// Nothing more will come.
    over: bool,
}

/// Unread bytes that a queue takes. A single message may always be longer.
const MAX_BYTES: usize = 4 << 20;
/// Bytes that a message costs beside its own.
const MESSAGE_OVERHEAD: usize = 128;

impl ReplyQueue {
    pub fn new() -> Self {
        Self(Arc::default())
    }

    /// The reading end; the one before reads nothing any more.
    pub fn open(&self) -> ReplyReceiver {
        let mut state = self.0.state.lock();
        state.readers += 1;
        state.reader = Some(state.readers);
        let reader = state.readers;
        drop(state);
        self.0.filled.notify_waiters();
        ReplyReceiver { shared: Arc::clone(&self.0), reader }
    }

    /// Puts a message in; gives it back where there is no room.
    ///
    /// # Errors
    /// The message.
    pub fn put(&self, said: Said) -> Result<(), Said> {
        let mut state = self.0.state.lock();
        if !state.takes(said.line.len()) {
            return Err(said);
        }
        state.bytes += said.line.len() + MESSAGE_OVERHEAD;
        state.queue.push_back(said);
        drop(state);
        self.0.filled.notify_waiters();
        Ok(())
    }

    /// Puts a message in, and takes out what was longest unread until there is room for it.
    pub fn keep(&self, said: Said, most: usize) -> Vec<Said> {
        let mut state = self.0.state.lock();
        state.bytes += said.line.len() + MESSAGE_OVERHEAD;
        state.queue.push_back(said);
        let mut dropped = Vec::new();
        while state.bytes > most && state.queue.len() > 1 {
            let Some(oldest) = state.pop() else { break };
            dropped.push(oldest);
        }
        drop(state);
        self.0.filled.notify_waiters();
        dropped
    }

    /// Waits until there is room for a message of `length` bytes, or nobody reads any more.
    pub async fn room(&self, length: usize) {
        loop {
            let emptied = self.0.emptied.notified();
            tokio::pin!(emptied);
            emptied.as_mut().enable();
            {
                let state = self.0.state.lock();
                if state.reader.is_none() || state.takes(length) {
                    return;
                }
            }
            emptied.await;
        }
    }

    /// Nothing more will come.
    pub fn close(&self) {
        self.0.state.lock().over = true;
        self.0.filled.notify_waiters();
    }

    /// Whether someone reads.
    pub fn is_read(&self) -> bool {
        self.0.state.lock().reader.is_some()
    }

    /// Whether both are the same queue.
    pub fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// What nobody has read.
    pub fn unread(&self) -> Vec<Said> {
        let mut state = self.0.state.lock();
        std::iter::from_fn(|| state.pop()).collect()
    }
}

impl State {
    /// Whether there is room for a message of `length` bytes; an empty queue takes any.
    fn takes(&self, length: usize) -> bool {
        self.queue.is_empty() || self.bytes + length + MESSAGE_OVERHEAD <= MAX_BYTES
    }

    fn pop(&mut self) -> Option<Said> {
        let said = self.queue.pop_front()?;
        self.bytes -= said.line.len() + MESSAGE_OVERHEAD;
        Some(said)
    }
}

impl ReplyReceiver {
    /// The next message; none when there will be none for this reader.
    pub async fn recv(&mut self) -> Option<Said> {
        loop {
            let filled = self.shared.filled.notified();
            tokio::pin!(filled);
            filled.as_mut().enable();
            {
                let mut state = self.shared.state.lock();
                if state.reader != Some(self.reader) {
                    return None;
                }
                if let Some(said) = state.pop() {
                    drop(state);
                    self.shared.emptied.notify_waiters();
                    return Some(said);
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

    fn said(length: usize) -> Said {
        Said { line: vec![b'x'; length].into(), answer: None }
    }

    #[tokio::test]
    async fn bytes_are_bounded_and_messages_are_not() {
        let queue = ReplyQueue::new();
        let mut replies = queue.open();
        for _ in 0..10_000 {
            queue.put(said(100)).unwrap();
        }
        assert!(queue.put(said(MAX_BYTES)).is_err());
        assert_eq!(queue.unread().len(), 10_000);
        queue.put(said(2 * MAX_BYTES)).unwrap();
        assert_eq!(replies.recv().await.unwrap().line.len(), 2 * MAX_BYTES);
        assert_eq!(queue.keep(said(60), 400).len() + queue.keep(said(60), 400).len(), 0);
        assert_eq!(queue.keep(said(60), 400).len(), 1, "the oldest makes room");
    }

    #[tokio::test]
    async fn whoever_waits_for_room_waits_until_there_is_some() {
        let queue = ReplyQueue::new();
        let mut replies = queue.open();
        for _ in 0..2 {
            queue.put(said(1 << 20)).unwrap();
        }
        let large = 7 << 19;
        assert!(queue.put(said(large)).is_err());
        let waiting = queue.clone();
        let waiting = tokio::spawn(async move { waiting.room(large).await });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        replies.recv().await.unwrap();
        replies.recv().await.unwrap();
        waiting.await.unwrap();
        assert!(queue.put(said(large)).is_ok());
        drop(replies);
        queue.room(large).await;
    }

    #[tokio::test]
    async fn another_reader_takes_over_what_is_unread() {
        let queue = ReplyQueue::new();
        queue.put(said(1)).unwrap();
        let mut before = queue.open();
        let mut after = queue.open();
        assert!(before.recv().await.is_none());
        drop(before);
        assert!(queue.is_read());
        assert_eq!(after.recv().await.unwrap().line.len(), 1);
        queue.close();
        assert!(after.recv().await.is_none());
        drop(after);
        assert!(!queue.is_read());
    }
}
