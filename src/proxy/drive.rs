//! Threads that move bytes between streams and a session.
//!
//! One thread reads each lane and writes its outlet inline; a pump per outlet writes what was
//! released or injected from elsewhere. Blocking threads were measured against async pipes: they
//! are as fast as a byte relay in C, work on every kind of descriptor, and never have to change
//! the flags of a stream that others share.

use std::io::{self, Read};
use std::sync::Arc;
use std::thread::{Builder, JoinHandle};

use super::session::{Port, Session};
use crate::log::record::LaneId;
use crate::mcp::line::{Piece, Splitter};

/// Bytes read with one system call at most; the size of a Linux pipe.
const CHUNK: usize = 64 << 10;

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
        let mut chunk = vec![0; CHUNK];
        loop {
            match source.read(&mut chunk) {
                Ok(0) | Err(_) => break,
                Ok(length) => splitter.feed(&chunk[..length]),
            }
            while let Some(piece) = splitter.next_piece() {
                take(&session, lane, piece);
            }
            session.flush(lane);
            if session.is_cut_off(lane) {
                // Closing the source is how its peer learns that nobody reads any more. The lane
                // has not ended: its peer may go on speaking.
                return;
            }
        }
        if let Some(piece) = splitter.finish() {
            take(&session, lane, piece);
        }
        session.flush(lane);
        session.end(lane);
    })
}

fn take(session: &Session, lane: LaneId, piece: Piece) {
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

/// Starts the thread that writes to `port` what nobody writes inline, until the port is ended.
///
/// # Errors
/// When no thread can be started.
pub fn pump(session: Arc<Session>, port: Arc<Port>) -> io::Result<JoinHandle<()>> {
    Builder::new().name("pump".into()).spawn(move || {
        port.pump(&mut |ticket, written| session.confirm(ticket, written));
    })
}
