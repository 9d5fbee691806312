//! Threads that move bytes between streams and a session.
//!
//! One thread reads each lane and writes its queue inline; a pump per queue writes what was
//! released or injected from elsewhere. Blocking threads were measured against async pipes: they
//! are as fast as a byte relay in C, work on every kind of descriptor, and never have to change
//! the flags of a stream that others share.

use std::io::{self, Read};
use std::sync::Arc;
use std::thread::{Builder, JoinHandle};

use crate::log::record::LaneId;
use crate::mcp::line::{Piece, Splitter};
use crate::session::Receipt;
use crate::session::Session;
use crate::transport::WriterQueue;

/// Bytes read with one system call at most; the size of a Linux pipe.
const READ_BYTES: usize = 64 << 10;

/// The threads of a stdio session, for those who wait for its end.
pub struct Threads {
    pub from_client: JoinHandle<()>,
    pub from_server: JoinHandle<()>,
    pub from_stderr: Option<JoinHandle<()>>,
    pub pumps: Vec<JoinHandle<()>>,
}

/// Starts the thread that reads `source` into `lane` until its end. Lines over `limit` bytes
/// stream through uninspected.
///
/// # Errors
/// When no thread can be started.
pub fn read_lane(
    session: Arc<Session>,
    lane: LaneId,
    mut source: impl Read + Send + 'static,
    limit: usize,
) -> io::Result<JoinHandle<()>> {
    Builder::new().name(format!("lane-{}", lane.0)).spawn(move || {
        let mut splitter = Splitter::new(limit);
        let mut chunk = vec![0; READ_BYTES];
        loop {
            match source.read(&mut chunk) {
                Ok(0) | Err(_) => break,
                Ok(length) => splitter.feed(&chunk[..length]),
            }
            while let Some(piece) = splitter.next_piece() {
                receive_piece(&session, lane, piece);
            }
            session.flush(lane);
            if session.is_cut_off(lane) {
                // Closing the source is how its peer learns that nobody reads any more. The lane
                // has not ended: its peer may go on speaking.
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

fn receive_piece(session: &Session, lane: LaneId, piece: Piece) {
    match piece {
        Piece::Line(line) => {
            if session.is_full(lane) {
                session.flush(lane);
                session.admit(lane);
            }
            session.receive(lane, line);
        }
        Piece::Start(bytes) => {
            session.flush(lane);
            session.receive_start(lane, bytes);
        }
        // Written piece by piece, so that a long line takes no more memory than one chunk.
        Piece::More(bytes) => {
            session.receive_more(lane, bytes, false);
            session.flush(lane);
        }
        Piece::End(bytes) => session.receive_more(lane, bytes, true),
    }
}

/// Starts the thread that writes to `queue` what nobody writes inline, until the queue is ended.
///
/// # Errors
/// When no thread can be started.
pub fn pump(session: Arc<Session>, queue: Arc<WriterQueue<Receipt>>) -> io::Result<JoinHandle<()>> {
    Builder::new().name("pump".into()).spawn(move || {
        queue.pump(&mut |receipt, written| session.confirm(receipt, written));
    })
}
