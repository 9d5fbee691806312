//! Threads that move bytes between streams and a session.
//!
//! One thread reads each lane and writes its queue inline; a pump per queue writes the frames that
//! other threads release or inject. Blocking threads were measured against async pipes: they are as
//! fast as a byte relay in C, work on every kind of file descriptor, and never have to change the
//! flags of a stream that other processes share.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use bytes::Bytes;

use crate::log::record::{LaneId, Level};
use crate::mcp::Message;
use crate::mcp::line::{LinePart, LineSplitter};
use crate::session::Receipt;
use crate::session::Session;
use crate::transport::{Source, WriterQueue};

/// Maximum number of bytes read with one system call; the capacity of a Linux pipe.
const READ_BYTES: usize = 64 << 10;

/// Threads of a stdio session, whose end shows the end of the streams.
pub struct Threads {
    /// Reader of the client's stream.
    pub from_client: LaneThread,
    /// Reader of the server's standard output.
    pub from_server: LaneThread,
    /// Reader of the server's standard error; `None` if another session reads it.
    pub from_stderr: Option<LaneThread>,
    /// Pumps of the queues towards server and client.
    pub pumps: Vec<JoinHandle<()>>,
}

/// The thread that reads a lane.
pub struct LaneThread {
    thread: JoinHandle<()>,
    bytes: Arc<AtomicU64>,
}

impl LaneThread {
    /// Returns `true` if the stream was read to its end, or is not read any more.
    pub fn is_finished(&self) -> bool {
        self.thread.is_finished()
    }

    /// Returns the number of bytes read so far.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }
}

/// Limits of the reader of a lane.
#[derive(Debug, Clone, Copy)]
pub struct LineLimits {
    /// Lines over this many bytes stream through uninspected.
    pub bytes: usize,
    /// Time after which the bytes of an unfinished line go on; `None` keeps them until the line ends.
    pub pause: Option<Duration>,
    /// Time after which the log tells of an unfinished line.
    pub told_after: Duration,
}

/// Starts the thread that reads `source` into `lane` until its end.
///
/// # Errors
/// Fails if the thread cannot be started.
pub fn read_lane(
    session: Arc<Session>,
    lane: LaneId,
    source: Box<dyn Source>,
    limits: LineLimits,
) -> io::Result<LaneThread> {
    let bytes = Arc::new(AtomicU64::new(0));
    let counter = Arc::clone(&bytes);
    let thread = Builder::new().name(format!("lane-{}", lane.0)).spawn(move || {
        let _entered = session.span().clone().entered();
        let reader = LaneReader {
            session: &session,
            lane,
            bytes: &counter,
            splitter: LineSplitter::new(limits.bytes),
            limits,
            passed: 0,
            judged: 0,
            is_told: false,
        };
        reader.read(source);
    })?;
    Ok(LaneThread { thread, bytes })
}

struct LaneReader<'a> {
    session: &'a Session,
    lane: LaneId,
    /// Number of bytes read so far.
    bytes: &'a AtomicU64,
    splitter: LineSplitter,
    limits: LineLimits,
    /// Bytes of the unfinished line that went on already.
    passed: usize,
    /// Length of the unfinished line when it was last found to be no message.
    judged: usize,
    /// Set once the log tells of the unfinished line.
    is_told: bool,
}

impl LaneReader<'_> {
    fn read(mut self, mut source: Box<dyn Source>) {
        let (session, lane) = (self.session, self.lane);
        let mut chunk = vec![0; READ_BYTES];
        loop {
            match source.read_within(&mut chunk, self.patience()) {
                Ok(Some(0)) => break,
                Ok(None) => {
                    self.paused();
                    session.flush(lane);
                    continue;
                }
                Err(error) => {
                    tracing::debug!(lane = lane.0, %error, "cannot read");
                    break;
                }
                Ok(Some(length)) => {
                    tracing::debug!(lane = lane.0, bytes = length, "read");
                    self.bytes.fetch_add(length as u64, Ordering::Relaxed);
                    self.splitter.feed(&chunk[..length]);
                }
            }
            while let Some(part) = self.splitter.next_piece() {
                self.receive(part);
            }
            session.flush(lane);
            if session.is_cut_off(lane) {
                // Close the source, so that the peer notices that its output is no longer read. The
                // lane has not ended: the peer may still write.
                return;
            }
        }
        if let Some(part) = self.splitter.finish() {
            self.receive(part);
        }
        session.flush(lane);
        session.end(lane);
    }

    /// Returns the time to wait for more of an unfinished line; `None` if there is nothing to do at its end.
    fn patience(&self) -> Option<Duration> {
        let LineLimits { pause, told_after, .. } = self.limits;
        let pause = pause?;
        match self.splitter.unfinished().len() {
            0 => None,
            // Also once the log tells of it: the breakpoint that it waits for may go.
            length if self.passed < length => Some(pause),
            _ => (!self.is_told).then_some(told_after),
        }
    }

    /// Passes on the bytes of a line that has paused, if nothing speaks against it. A peer may write no newlines:
    /// a complete message is received as such, so that it can be held.
    fn paused(&mut self) {
        let (session, lane) = (self.session, self.lane);
        let unfinished = self.splitter.unfinished();
        let length = unfinished.len();
        if self.passed > 0 && self.passed == length {
            return self.tell(None);
        }
        if self.passed == 0 {
            if self.judged != length && Message::parse(Bytes::copy_from_slice(unfinished)).is_rpc() {
                if let Some(part) = self.splitter.finish() {
                    self.receive(part);
                }
                return;
            }
            self.judged = length;
            if let Some(why) = session.waits_whole(lane) {
                return self.tell(Some(why));
            }
        }
        // What has begun to go on cannot be held back any more.
        let bytes = Bytes::copy_from_slice(&unfinished[self.passed..]);
        self.passed = length;
        session.pass_unfinished(lane, bytes);
    }

    /// Tells the log of an unfinished line, once for each line.
    fn tell(&mut self, waits: Option<&str>) {
        /// Maximum number of characters of the line.
        const SHOWN: usize = 80;
        if std::mem::replace(&mut self.is_told, true) {
            return;
        }
        let unfinished = self.splitter.unfinished();
        let text: String = String::from_utf8_lossy(unfinished).chars().take(SHOWN).collect();
        let (level, how) = match waits {
            Some(why) => (Level::Warning, format!("waits for its end: {why}")),
            None => (Level::Info, "went on".to_owned()),
        };
        let length = unfinished.len();
        self.session.note(None, level, format!("an unfinished line of {length} bytes {how}: {text:?}"));
    }

    fn receive(&mut self, part: LinePart) {
        let (session, lane) = (self.session, self.lane);
        (self.is_told, self.judged) = (false, 0);
        let passed = std::mem::take(&mut self.passed);
        match part {
            LinePart::Line(line) if passed > 0 => session.receive_rest(lane, line, passed),
            LinePart::Line(line) => {
                if session.is_full(lane) {
                    session.flush(lane);
                    session.admit(lane);
                }
                session.receive(lane, line);
            }
            LinePart::Start(bytes) => {
                session.flush(lane);
                session.receive_start(lane, bytes, passed);
            }
            // Write a long line piece by piece, so that it takes no more memory than one chunk.
            LinePart::More(bytes) => {
                session.receive_more(lane, bytes, false);
                session.flush(lane);
            }
            LinePart::End(bytes) => session.receive_more(lane, bytes, true),
        }
    }
}

/// Starts the thread that writes the frames in `queue` that are not written inline, until the queue ends.
///
/// # Errors
/// Fails if the thread cannot be started.
pub fn pump(session: Arc<Session>, queue: Arc<WriterQueue<Receipt>>) -> io::Result<JoinHandle<()>> {
    Builder::new().name("pump".into()).spawn(move || {
        queue.pump(&mut |receipt, written| session.confirm(receipt, written));
    })
}
