//! A server process that is driven by tasks: behind an HTTP endpoint there may be thousands, and a thread
//! for each of their streams would be too much.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use bytes::Bytes;
use nix::sys::signal::Signal;
use parking_lot::Mutex;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::unix::pipe;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::task::JoinHandle;

use super::router::ResponseRouter;
use super::supervisor::{Stop, Supervisor};
use crate::log::record::{Channel, Exit};
use crate::mcp::line::{LinePart, LineSplitter};
use crate::mcp::remap::Long;
use crate::mcp::{Direction, Message, compose, layout};
use crate::session::{Lane, LaneForm, Scope, Session};
use crate::transport::WriterQueue;
use crate::transport::child::{Process, ProcessExit, SpawnError, Spec};
use crate::transport::stdio::Blocking;

/// A running server process.
pub struct ServerProcess {
    process: Process,
    lines: Mutex<Option<mpsc::Sender<QueuedLine>>>,
    /// Units of bytes that may wait for the process.
    budget: Arc<Semaphore>,
    /// Number of requests that wait for room.
    waiting: AtomicUsize,
    stopping: Arc<Notify>,
    /// The router of its messages.
    pub router: Arc<ResponseRouter>,
}

/// The options of a process that is started.
pub struct ProcessOptions<'a> {
    /// The command line.
    pub spec: &'a Spec,
    /// The router of its messages.
    pub router: Arc<ResponseRouter>,
    /// The session that records its stderr.
    pub session: Arc<Session>,
    /// Lines over this many bytes are not routed.
    pub limit: usize,
    /// The supervisor that ends it.
    pub supervisor: &'a Arc<Supervisor>,
    /// The permit of its session, if it is the process of one.
    pub permit: Option<OwnedSemaphorePermit>,
}

/// A line on its way to the process, and its share of the budget.
type QueuedLine = (Bytes, Option<OwnedSemaphorePermit>);

/// The permit to write a line to a process.
pub struct WritePermit {
    slot: mpsc::OwnedPermit<QueuedLine>,
    share: OwnedSemaphorePermit,
}

/// The reason why a process cannot be written to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WriteError {
    /// The process has closed its stdin, or ended.
    #[error("the server takes nothing any more")]
    Gone,
    /// The process does not read, and the queue of requests is full.
    #[error("the server does not read, and as many requests wait for it as may")]
    Busy,
}

/// Counts a request that waits for room until it is dropped.
struct WaitGuard<'a>(&'a AtomicUsize);

impl Drop for WaitGuard<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Maximum number of lines that wait for a process that does not read.
const MAX_LINES: usize = 64;
/// Bytes in a unit of the budget.
const BUDGET_UNIT: usize = 1 << 10;
/// Maximum number of units that wait for a process that does not read: 32 MiB.
const MAX_BUDGET: usize = (32 << 20) / BUDGET_UNIT;
/// Maximum number of requests that wait for room; each holds a body of its own.
const MAX_WAITING: usize = 32;
/// Bytes read at once.
const READ_BYTES: usize = 64 << 10;
/// Lines of stderr over this many bytes are recorded in pieces.
const STDERR_LINE_BYTES: usize = 64 << 10;
/// Time for the rest of an ended process's output to be read: a descendant that left the process group
/// can keep the pipe open for ever.
const DRAIN_TIMEOUT: Duration = Duration::from_millis(500);

impl ServerProcess {
    /// Starts a process. `ended` is called with its exit.
    ///
    /// # Errors
    /// If the command cannot be run, or its streams cannot be read by tasks.
    pub async fn start(
        options: ProcessOptions<'_>,
        ended: impl FnOnce(ProcessExit) + Send + 'static,
    ) -> Result<Arc<Self>, SpawnError> {
        let ProcessOptions { spec, router, session, limit, supervisor, permit } = options;
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
        let stopping = Arc::new(Notify::new());
        let output = Output {
            router: Arc::clone(&router),
            limit,
            stopping: Arc::clone(&stopping),
            lines: sender.downgrade(),
        };
        let tasks = [
            tokio::spawn(output.read(stdout)),
            tokio::spawn(read_stderr(stderr, session, Arc::clone(&router))),
            tokio::spawn(write(stdin, lines)),
        ];
        let server = Arc::new(Self {
            process: process.clone(),
            lines: Mutex::new(Some(sender)),
            budget: Arc::new(Semaphore::new(MAX_BUDGET)),
            waiting: AtomicUsize::new(0),
            stopping: Arc::clone(&stopping),
            router: Arc::clone(&router),
        });
        let weak: Weak<Self> = Arc::downgrade(&server);
        let guard = supervisor.add(weak.clone(), permit);
        tokio::spawn(async move {
            let exit = until_end(&process, &stopping).await;
            for task in tasks {
                finish(task).await;
            }
            if let Some(server) = weak.upgrade() {
                server.stop();
            }
            router.close(&format!("the server process {}", Exit::from(exit)));
            ended(exit);
            drop(guard);
        });
        Ok(server)
    }

    /// Returns the process id on this machine.
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// Waits for the permit to write a line of `length` bytes.
    ///
    /// # Errors
    /// [`WriteError`].
    pub async fn reserve(&self, length: usize) -> Result<WritePermit, WriteError> {
        let before = self.waiting.fetch_add(1, Ordering::AcqRel);
        let _guard = WaitGuard(&self.waiting);
        if before >= MAX_WAITING {
            return Err(WriteError::Busy);
        }
        let sender = self.lines.lock().clone().ok_or(WriteError::Gone)?;
        let units = u32::try_from((length / BUDGET_UNIT + 1).min(MAX_BUDGET)).unwrap_or(u32::MAX);
        let share = Arc::clone(&self.budget).acquire_many_owned(units);
        // A process that ends while it does not read frees no budget.
        let share = tokio::select! {
            share = share => share.map_err(|_| WriteError::Gone)?,
            () = sender.closed() => return Err(WriteError::Gone),
        };
        Ok(WritePermit { slot: sender.reserve_owned().await.map_err(|_| WriteError::Gone)?, share })
    }

    /// Writes a line, given without a terminator, unless the process does not read.
    pub fn try_write(&self, body: &[u8]) {
        if let Some(sender) = &*self.lines.lock() {
            // A process that does not read has no use for a notification; ignore the error.
            let _ = sender.try_send((layout::as_line(body), None));
        }
    }
}

impl Stop for ServerProcess {
    fn stop(&self) {
        self.lines.lock().take();
        self.stopping.notify_one();
    }

    fn kill(&self) {
        self.process.signal(Signal::SIGKILL);
    }

    fn is_ending(&self) -> bool {
        self.lines.lock().is_none()
    }
}

impl WritePermit {
    /// Writes a line, given without a terminator.
    pub fn write(self, body: &[u8]) {
        self.slot.send((layout::as_line(body), Some(self.share)));
    }
}

impl Drop for ServerProcess {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Waits for the end of a process that is told to stop in the order of every revision (basic/lifecycle,
/// shutdown): its stdin is closed, then SIGTERM, then SIGKILL.
async fn until_end(process: &Process, stopping: &Notify) -> ProcessExit {
    tokio::select! {
        ended = process.wait() => return ended,
        () = stopping.notified() => {}
    }
    process.shut_down().await
}

/// Waits for a task that ends with its pipe, up to [`DRAIN_TIMEOUT`].
async fn finish(mut task: JoinHandle<()>) {
    if tokio::time::timeout(DRAIN_TIMEOUT, &mut task).await.is_err() {
        task.abort();
    }
}

async fn write(mut stdin: pipe::Sender, mut lines: mpsc::Receiver<QueuedLine>) {
    while let Some((line, _share)) = lines.recv().await {
        if stdin.write_all(&line).await.is_err() {
            return;
        }
    }
}

/// The reader of a process's stdout.
struct Output {
    router: Arc<ResponseRouter>,
    limit: usize,
    stopping: Arc<Notify>,
    lines: mpsc::WeakSender<QueuedLine>,
}

impl Output {
    async fn read(self, mut stdout: pipe::Receiver) {
        let mut splitter = LineSplitter::new(self.limit);
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
        // A server that has closed its stdout answers nothing more: stop it.
        self.stopping.notify_one();
    }

    async fn handle_piece(&self, piece: LinePart, long: &mut Long) {
        match piece {
            LinePart::Line(line) if line.trim_ascii().is_empty() => {
                self.router.to_nobody(Message::parse(line))
            }
            LinePart::Line(line) => {
                if let Some(id) = self.router.route(line).await
                    && let Some(sender) = self.lines.upgrade()
                {
                    // The slow client was dropped: cancel its call at the server.
                    let line = layout::as_line(&compose::cancelled(&id, "the client does not read"));
                    let _ = sender.try_send((line, None));
                }
            }
            LinePart::Start(begun) => {
                *long = Long::begin(&begun);
            }
            LinePart::More(more) => long.push(&more),
            LinePart::End(end) => {
                long.push(&end);
                let long = std::mem::take(long);
                self.router.too_long(self.limit, long.answered());
                self.router.to_nobody(Message::parse(long.beginning().clone()));
            }
        }
    }
}

/// Reads and records a process's stderr.
async fn read_stderr(mut stderr: pipe::Receiver, session: Arc<Session>, router: Arc<ResponseRouter>) {
    let (nowhere, silence) = (Arc::new(WriterQueue::new(std::io::sink())), Arc::new(WriterQueue::queue()));
    let lane = session.open_lane(Lane {
        channel: Channel::Stderr,
        back: None,
        scope: Scope::Session,
        form: LaneForm::Line,
        open_to_us: false,
        ..Lane::of_lines(Direction::ToClient, &nowhere, &silence)
    });
    let mut splitter = LineSplitter::new(STDERR_LINE_BYTES);
    let mut chunk = vec![0; 4096];
    let record = |line: Bytes| {
        tracing::info!("{}: {}", session.name(), String::from_utf8_lossy(&line).trim_end());
        router.observe_stderr(&line);
        session.receive(lane, line);
        session.flush(lane);
    };
    loop {
        match stderr.read(&mut chunk).await {
            Ok(0) | Err(_) => break,
            Ok(length) => splitter.feed(&chunk[..length]),
        }
        while let Some(
            LinePart::Line(line) | LinePart::Start(line) | LinePart::More(line) | LinePart::End(line),
        ) = splitter.next_piece()
        {
            record(line);
        }
    }
    if let Some(LinePart::Line(line) | LinePart::End(line)) = splitter.finish() {
        record(line);
    }
}
