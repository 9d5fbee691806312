//! Threads that move bytes between streams and a session.
//!
//! One thread reads each lane and writes its queue inline; a pump per queue writes the frames that
//! other threads release or inject. Blocking threads were measured against async pipes: they are as
//! fast as a byte relay in C, work on every kind of file descriptor, and never have to change the
//! flags of a stream that other processes share.

use std::io::{self, Read};
use std::sync::Arc;
use std::thread::{Builder, JoinHandle};

use crate::log::record::LaneId;
use crate::mcp::line::{LinePart, LineSplitter};
use crate::session::Receipt;
use crate::session::Session;
use crate::transport::WriterQueue;

/// Maximum number of bytes read with one system call; the capacity of a Linux pipe.
const READ_BYTES: usize = 64 << 10;

/// Threads of a stdio session, whose end shows the end of the streams.
pub struct Threads {
    /// Reader of the client's stream.
    pub from_client: JoinHandle<()>,
    /// Reader of the server's standard output.
    pub from_server: JoinHandle<()>,
    /// Reader of the server's standard error; `None` if another session reads it.
    pub from_stderr: Option<JoinHandle<()>>,
    /// Pumps of the queues towards server and client.
    pub pumps: Vec<JoinHandle<()>>,
}

/// Starts the thread that reads `source` into `lane` until its end. Lines over `limit` bytes
/// stream through uninspected.
///
/// # Errors
/// Fails if the thread cannot be started.
pub fn read_lane(
    session: Arc<Session>,
    lane: LaneId,
    mut source: impl Read + Send + 'static,
    limit: usize,
) -> io::Result<JoinHandle<()>> {
    Builder::new().name(format!("lane-{}", lane.0)).spawn(move || {
        let _entered = session.span().clone().entered();
        let mut splitter = LineSplitter::new(limit);
        let mut chunk = vec![0; READ_BYTES];
        loop {
            match source.read(&mut chunk) {
                Ok(0) => break,
                Err(error) => {
                    tracing::debug!(lane = lane.0, %error, "cannot read");
                    break;
                }
                Ok(length) => {
                    tracing::debug!(lane = lane.0, bytes = length, "read");
                    splitter.feed(&chunk[..length]);
                }
            }
            while let Some(piece) = splitter.next_piece() {
                receive_piece(&session, lane, piece);
            }
            session.flush(lane);
            if session.is_cut_off(lane) {
                // Close the source, so that the peer notices that its output is no longer read. The
                // lane has not ended: the peer may still write.
                return;
            }
        }
        if let Some(piece) = splitter.finish() {
            receive_piece(&session, lane, piece);
        }
        session.flush(lane);
        session.end(lane);
    })
}

fn receive_piece(session: &Session, lane: LaneId, piece: LinePart) {
    match piece {
        LinePart::Line(line) => {
            if session.is_full(lane) {
                session.flush(lane);
                session.admit(lane);
            }
            session.receive(lane, line);
        }
        LinePart::Start(bytes) => {
            session.flush(lane);
            session.receive_start(lane, bytes);
        }
        // Write a long line piece by piece, so that it takes no more memory than one chunk.
        LinePart::More(bytes) => {
            session.receive_more(lane, bytes, false);
            session.flush(lane);
        }
        LinePart::End(bytes) => session.receive_more(lane, bytes, true),
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
