//! A stdio server at work behind the adapter: its process, and the tasks that read and write it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use nix::sys::signal::Signal;
use parking_lot::Mutex;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::unix::pipe;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::task::JoinHandle;

use super::router::ResponseRouter;
use super::supervisor::Supervisor;
use crate::log::record::{Channel, Exit};
use crate::mcp::line::{Piece, Splitter};
use crate::mcp::remap::Long;
use crate::mcp::{Direction, compose, layout};
use crate::session::{Form, Lane, Scope, Session};
use crate::stdio::lifecycle::TERM_GRACE;
use crate::transport::WriterQueue;
use crate::transport::child::{Ended, Process, SpawnError, Spec};
use crate::transport::stdio::Blocking;

/// A server process that is spoken to.
pub struct ServerProcess {
    process: Process,
    lines: Mutex<Option<mpsc::Sender<Written>>>,
    /// Bytes that may wait for it, and requests that wait for those.
    budget: Arc<Semaphore>,
    waiting: AtomicUsize,
    leaving: Arc<Notify>,
    pub router: Arc<ResponseRouter>,
}

/// What it takes to start one.
pub struct Start<'a> {
    pub spec: &'a Spec,
    pub router: Arc<ResponseRouter>,
    /// Where its stderr is recorded.
    pub session: Arc<Session>,
    /// Lines over this many bytes are not taken to anyone.
    pub limit: usize,
    pub supervisor: &'a Arc<Supervisor>,
    /// The place that it takes in the supervisor, where it is that of a session.
    pub place: Option<OwnedSemaphorePermit>,
}

/// A line on its way, and its share of what may wait.
type Written = (Bytes, Option<OwnedSemaphorePermit>);

/// Room for a line to a server.
pub struct Room {
    slot: mpsc::OwnedPermit<Written>,
    share: OwnedSemaphorePermit,
}

/// Why a server cannot be written to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unheard {
    #[error("the server takes nothing any more")]
    Gone,
    /// Others wait already.
    #[error("the server does not read, and as many requests wait for it as may")]
    Busy,
}

/// A request that waits, as long as it does.
struct Queued<'a>(&'a AtomicUsize);

impl Drop for Queued<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Lines, and units of bytes, that may wait for a server that does not read.
const MAX_LINES: usize = 64;
const BUDGET_UNIT: usize = 1 << 10;
const MAX_BUDGET: usize = (32 << 20) / BUDGET_UNIT;
/// Requests that may wait for room at a time.
const MAX_WAITING: usize = 32;
/// Bytes read at once.
const READ_BYTES: usize = 64 << 10;
/// Lines of stderr over this many bytes are recorded in pieces.
const STDERR_LINE_BYTES: usize = 64 << 10;
/// How long a server may take to end once its stdin is closed: healthy ones take up to 1.3 s.
pub const STDIN_CLOSED_GRACE: Duration = Duration::from_millis(2500);
/// How long the rest of what an ended server wrote may take to be read: a process that left its
/// group can keep the pipe open for ever.
const DRAIN_TIMEOUT: Duration = Duration::from_millis(500);

impl ServerProcess {
    /// Starts a server. `ended` is called with how it ended.
    ///
    /// # Errors
    /// When it cannot be started.
    pub async fn start(
        start: Start<'_>,
        ended: impl FnOnce(Ended) + Send + 'static,
    ) -> Result<Arc<Self>, SpawnError> {
        let Start { spec, router, session, limit, supervisor, place } = start;
        let starting = spec.clone();
        let failed = |source: std::io::Error| SpawnError::Failed {
            command: spec.command.first().cloned().unwrap_or_default(),
            source,
        };
        let child = tokio::task::spawn_blocking(move || starting.spawn()).await;
        let child = child.map_err(|error| failed(std::io::Error::other(error)))??;
        let process = child.process;
        let receiver = |stream: Blocking| stream.into_descriptor().and_then(pipe::Receiver::from_owned_fd);
        let stdin = child.stdin.into_descriptor().and_then(pipe::Sender::from_owned_fd).map_err(failed)?;
        let stdout = receiver(child.stdout).map_err(failed)?;
        let stderr = receiver(child.stderr).map_err(failed)?;
        let (sender, lines) = mpsc::channel(MAX_LINES);
        let leaving = Arc::new(Notify::new());
        let reading = Reading {
            router: Arc::clone(&router),
            limit,
            leaving: Arc::clone(&leaving),
            lines: sender.downgrade(),
        };
        let writer = tokio::spawn(write(stdin, lines));
        let reader = tokio::spawn(reading.read(stdout));
        let listener = tokio::spawn(overhear(stderr, session, Arc::clone(&router)));
        let server = Arc::new(Self {
            process: process.clone(),
            lines: Mutex::new(Some(sender)),
            budget: Arc::new(Semaphore::new(MAX_BUDGET)),
            waiting: AtomicUsize::new(0),
            leaving: Arc::clone(&leaving),
            router: Arc::clone(&router),
        });
        let counted = supervisor.join(&server, place);
        let hung_up = Arc::downgrade(&server);
        tokio::spawn(async move {
            let how = until_end(&process, &leaving).await;
            for task in [reader, listener, writer] {
                finish(task).await;
            }
            if let Some(process) = hung_up.upgrade() {
                process.hang_up();
            }
            router.close(&format!("the server process {}", Exit::from(how)));
            ended(how);
            drop(counted);
        });
        Ok(server)
    }

    /// The process id on this machine.
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// Waits until there is room for a line of `length` bytes.
    ///
    /// # Errors
    /// [`Unheard`].
    pub async fn room(&self, length: usize) -> Result<Room, Unheard> {
        // Each holds a body of its own meanwhile.
        let before = self.waiting.fetch_add(1, Ordering::AcqRel);
        let _queued = Queued(&self.waiting);
        if before >= MAX_WAITING {
            return Err(Unheard::Busy);
        }
        let sender = self.lines.lock().clone().ok_or(Unheard::Gone)?;
        let units = u32::try_from((length / BUDGET_UNIT + 1).min(MAX_BUDGET)).unwrap_or(u32::MAX);
        let share = Arc::clone(&self.budget).acquire_many_owned(units);
        // A server that ends while it does not read gives no room.
        let share = tokio::select! {
            share = share => share.map_err(|_| Unheard::Gone)?,
            () = sender.closed() => return Err(Unheard::Gone),
        };
        Ok(Room { slot: sender.reserve_owned().await.map_err(|_| Unheard::Gone)?, share })
    }

    /// Writes a line, given without a terminator, unless the server does not read.
    pub fn mention(&self, body: &[u8]) {
        if let Some(sender) = &*self.lines.lock() {
            // Who does not read has no use for a hint.
            let _ = sender.try_send((layout::as_line(body), None));
        }
    }

    /// Closes the server's stdin, and ends it where that does not.
    pub fn hang_up(&self) {
        self.lines.lock().take();
        self.leaving.notify_one();
    }

    /// Ends the server at once.
    pub fn kill(&self) {
        self.process.signal(Signal::SIGKILL);
    }
}

impl Room {
    /// Writes a line, given without a terminator.
    pub fn say(self, body: &[u8]) {
        self.slot.send((layout::as_line(body), Some(self.share)));
    }
}

impl Drop for ServerProcess {
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
    match tokio::time::timeout(STDIN_CLOSED_GRACE, process.wait()).await {
        Ok(ended) => ended,
        Err(_) => process.terminate(TERM_GRACE).await,
    }
}

/// Waits for a task that ends with its pipe, but not for ever.
async fn finish(mut task: JoinHandle<()>) {
    if tokio::time::timeout(DRAIN_TIMEOUT, &mut task).await.is_err() {
        task.abort();
    }
}

async fn write(mut stdin: pipe::Sender, mut lines: mpsc::Receiver<Written>) {
    while let Some((line, _share)) = lines.recv().await {
        if stdin.write_all(&line).await.is_err() {
            return;
        }
    }
}

/// Reading what the server says.
struct Reading {
    router: Arc<ResponseRouter>,
    limit: usize,
    leaving: Arc<Notify>,
    lines: mpsc::WeakSender<Written>,
}

impl Reading {
    async fn read(self, mut stdout: pipe::Receiver) {
        let mut splitter = Splitter::new(self.limit);
        let mut chunk = vec![0; READ_BYTES];
        let mut long = Long::default();
        loop {
            match stdout.read(&mut chunk).await {
                Ok(0) | Err(_) => break,
                Ok(length) => splitter.feed(&chunk[..length]),
            }
            while let Some(piece) = splitter.next_piece() {
                self.handle_piece(piece, &mut long).await;
            }
        }
        if let Some(piece) = splitter.finish() {
            self.handle_piece(piece, &mut long).await;
        }
        // A server that says nothing any more is of no use, even where it lives on.
        self.leaving.notify_one();
    }

    async fn handle_piece(&self, piece: Piece, long: &mut Long) {
        match piece {
            Piece::Line(line) if line.trim_ascii().is_empty() => self.router.to_nobody(line),
            Piece::Line(line) => {
                if let Some(id) = self.router.hear(line).await
                    && let Some(sender) = self.lines.upgrade()
                {
                    // Nobody reads what it is still at.
                    let line = layout::as_line(&compose::cancelled(&id, "the client does not read"));
                    let _ = sender.try_send((line, None));
                }
            }
            Piece::Start(begun) => {
                *long = Long::begin(&begun);
            }
            Piece::More(more) => long.push(&more),
            Piece::End(end) => {
                long.push(&end);
                let long = std::mem::take(long);
                self.router.too_long(self.limit, long.answered());
                self.router.to_nobody(long.beginning().clone());
            }
        }
    }
}

/// Records what the server says on stderr.
async fn overhear(mut stderr: pipe::Receiver, session: Arc<Session>, router: Arc<ResponseRouter>) {
    let (nowhere, silence) = (Arc::new(WriterQueue::new(std::io::sink())), Arc::new(WriterQueue::queue()));
    let lane = session.open_lane(Lane {
        channel: Channel::Stderr,
        back: None,
        scope: Scope::Session,
        form: Form::Line,
        open_to_us: false,
        ..Lane::of_lines(Direction::ToClient, &nowhere, &silence)
    });
    let mut splitter = Splitter::new(STDERR_LINE_BYTES);
    let mut chunk = vec![0; 4096];
    let take = |line: Bytes| {
        tracing::info!("{}: {}", session.name(), String::from_utf8_lossy(&line).trim_end());
        router.overhear(&line);
        session.receive(lane, line);
        session.flush(lane);
    };
    loop {
        match stderr.read(&mut chunk).await {
            Ok(0) | Err(_) => break,
            Ok(length) => splitter.feed(&chunk[..length]),
        }
        while let Some(Piece::Line(line) | Piece::Start(line) | Piece::More(line) | Piece::End(line)) =
            splitter.next_piece()
        {
            take(line);
        }
    }
    if let Some(Piece::Line(line) | Piece::End(line)) = splitter.finish() {
        take(line);
    }
}
