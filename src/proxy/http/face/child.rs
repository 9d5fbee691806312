//! A stdio server at work behind the face: its process, and the tasks that read and write it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::unix::pipe;
use tokio::sync::{Notify, mpsc};

use super::desk::Desk;
use crate::log::record::Channel;
use crate::mcp::line::{Piece, Splitter};
use crate::mcp::{Direction, layout};
use crate::proxy::session::{Form, Lane, Port, Scope, Session};
use crate::proxy::supervise::PATIENCE;
use crate::transport::child::{Ended, Process, SpawnError, Spec};

/// A server process that is spoken to.
pub struct Worker {
    lines: Mutex<Option<mpsc::Sender<Bytes>>>,
    leaving: Arc<Notify>,
    pub desk: Arc<Desk>,
}

/// The server's standard input is closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the server takes nothing any more")]
pub struct Gone;

/// How many processes run, for those who wait for their end.
#[derive(Default)]
pub struct Headcount {
    running: AtomicUsize,
    started: AtomicUsize,
    left: Notify,
}

/// One of those counted.
struct Counted(Arc<Headcount>);

/// Lines that may wait for a server that does not read.
const LINES: usize = 64;
/// Bytes read at once.
const CHUNK: usize = 64 << 10;
/// Lines of stderr over this many bytes are recorded in pieces.
const STDERR: usize = 64 << 10;
/// How long a server may take to end once its stdin is closed: healthy ones take up to 1.3 s.
const GRACE: Duration = Duration::from_millis(2500);
/// How long the rest of what an ended server wrote may take to be read: a process that left its
/// group can keep the pipe open for ever.
const STRAGGLERS: Duration = Duration::from_millis(500);

impl Worker {
    /// Starts a server whose words go to `desk`, and whose stderr is recorded in `session`. `ended` is
    /// called with how it ended.
    ///
    /// # Errors
    /// When it cannot be started.
    pub async fn start(
        spec: &Spec,
        desk: Arc<Desk>,
        session: Arc<Session>,
        limit: usize,
        count: &Arc<Headcount>,
        ended: impl FnOnce(Ended) + Send + 'static,
    ) -> Result<(Arc<Self>, u32), SpawnError> {
        let starting = spec.clone();
        let failed = |source: std::io::Error| SpawnError::Failed {
            command: spec.command.first().cloned().unwrap_or_default(),
            source,
        };
        let child = tokio::task::spawn_blocking(move || starting.spawn()).await;
        let child = child.map_err(|error| failed(std::io::Error::other(error)))??;
        let process = child.process;
        let id = process.id();
        let descriptor = |stream: crate::transport::stdio::Blocking| stream.into_descriptor();
        let stdin = descriptor(child.stdin).and_then(pipe::Sender::from_owned_fd).map_err(failed)?;
        let stdout = descriptor(child.stdout).and_then(pipe::Receiver::from_owned_fd).map_err(failed)?;
        let stderr = descriptor(child.stderr).and_then(pipe::Receiver::from_owned_fd).map_err(failed)?;
        let (sender, lines) = mpsc::channel(LINES);
        let leaving = Arc::new(Notify::new());
        tokio::spawn(write(stdin, lines));
        let reader = tokio::spawn(read(stdout, Arc::clone(&desk), limit, Arc::clone(&leaving)));
        tokio::spawn(overhear(stderr, Arc::clone(&session)));
        let worker = Arc::new(Self {
            lines: Mutex::new(Some(sender)),
            leaving: Arc::clone(&leaving),
            desk: Arc::clone(&desk),
        });
        let counted = Counted::new(count);
        let hung_up = Arc::downgrade(&worker);
        tokio::spawn(async move {
            let how = until_end(&process, &leaving).await;
            let _ = tokio::time::timeout(STRAGGLERS, reader).await;
            if let Some(worker) = hung_up.upgrade() {
                worker.hang_up();
            }
            desk.close(format!("the server process {}", crate::log::record::Exit::from(how)));
            ended(how);
            drop(counted);
        });
        Ok((worker, id))
    }

    /// Writes a line, given without a terminator. Waits while the server does not read.
    ///
    /// # Errors
    /// [`Gone`].
    pub async fn say(&self, body: &[u8]) -> Result<(), Gone> {
        let sender = self.lines.lock().clone().ok_or(Gone)?;
        sender.send(layout::as_line(body)).await.map_err(|_| Gone)
    }

    /// Writes a line, unless the server does not read.
    pub fn mention(&self, body: &[u8]) {
        if let Some(sender) = &*self.lines.lock() {
            // Who does not read has no use for a hint.
            let _ = sender.try_send(layout::as_line(body));
        }
    }

    /// Closes the server's stdin, and ends it where that does not.
    pub fn hang_up(&self) {
        self.lines.lock().take();
        self.leaving.notify_one();
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.hang_up();
    }
}

/// The order of every revision: stdin is closed, then SIGTERM, then SIGKILL.
async fn until_end(process: &Process, leaving: &Notify) -> Ended {
    tokio::select! {
        ended = process.wait() => return ended,
        () = leaving.notified() => {}
    }
    match tokio::time::timeout(GRACE, process.wait()).await {
        Ok(ended) => ended,
        Err(_) => process.terminate(PATIENCE).await,
    }
}

async fn write(mut stdin: pipe::Sender, mut lines: mpsc::Receiver<Bytes>) {
    while let Some(line) = lines.recv().await {
        if stdin.write_all(&line).await.is_err() {
            return;
        }
    }
}

async fn read(mut stdout: pipe::Receiver, desk: Arc<Desk>, limit: usize, leaving: Arc<Notify>) {
    let mut splitter = Splitter::new(limit);
    let mut chunk = vec![0; CHUNK];
    loop {
        match stdout.read(&mut chunk).await {
            Ok(0) | Err(_) => break,
            Ok(length) => splitter.feed(&chunk[..length]),
        }
        while let Some(piece) = splitter.next_piece() {
            take(&desk, piece, limit).await;
        }
    }
    if let Some(piece) = splitter.finish() {
        take(&desk, piece, limit).await;
    }
    // A server that says nothing any more is of no use, even where it lives on.
    leaving.notify_one();
}

async fn take(desk: &Desk, piece: Piece, limit: usize) {
    match piece {
        Piece::Line(line) if line.trim_ascii().is_empty() => desk.to_nobody(line),
        Piece::Line(line) => desk.hear(line).await,
        Piece::Start(begun) => {
            desk.to_nobody(Bytes::copy_from_slice(&begun[..begun.len().min(STDERR)]));
            desk.too_long(limit);
        }
        Piece::More(_) | Piece::End(_) => {}
    }
}

/// Records what the server says on stderr.
async fn overhear(mut stderr: pipe::Receiver, session: Arc<Session>) {
    let lane = session.open_lane(Lane {
        channel: Channel::Stderr,
        back: None,
        scope: Scope::Session,
        form: Form::Line,
        open_to_us: false,
        ..Lane::of_lines(Direction::ToClient, &Arc::new(Port::new(std::io::sink())), &Arc::new(Port::queue()))
    });
    let mut splitter = Splitter::new(STDERR);
    let mut chunk = vec![0; 4096];
    loop {
        match stderr.read(&mut chunk).await {
            Ok(0) | Err(_) => break,
            Ok(length) => splitter.feed(&chunk[..length]),
        }
        while let Some(Piece::Line(line) | Piece::Start(line) | Piece::More(line) | Piece::End(line)) =
            splitter.next_piece()
        {
            session.receive(lane, line);
        }
        session.flush(lane);
    }
    if let Some(Piece::Line(line) | Piece::End(line)) = splitter.finish() {
        session.receive(lane, line);
        session.flush(lane);
    }
}

// === impl Headcount ===

impl Headcount {
    /// Processes that run, and all that were started.
    pub fn counts(&self) -> (usize, usize) {
        (self.running.load(Ordering::Acquire), self.started.load(Ordering::Acquire))
    }

    /// Waits until none is left.
    pub async fn none(&self) {
        loop {
            let left = self.left.notified();
            tokio::pin!(left);
            left.as_mut().enable();
            if self.counts().0 == 0 {
                return;
            }
            left.await;
        }
    }
}

impl Counted {
    fn new(count: &Arc<Headcount>) -> Self {
        count.running.fetch_add(1, Ordering::AcqRel);
        count.started.fetch_add(1, Ordering::AcqRel);
        Self(Arc::clone(count))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, Ordering::AcqRel);
        self.0.left.notify_waiters();
    }
}
