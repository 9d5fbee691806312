//! Recorder: a thread that writes the log to a tape at its own pace.
//!
//! A timer wakes the thread, not the records; the log wakes it early only under memory pressure.
//! Proxied traffic never waits for it.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::watch;

use super::writer::TapeWriter;
use crate::log::record::{Body, Level, Note, SessionId};

/// Interval between flushes: the longest time that a record waits to be written.
pub const FLUSH_EVERY: Duration = Duration::from_millis(100);

/// State of a recording.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Status {
    /// Path of the first part; `None` if nothing is recorded.
    pub path: Option<PathBuf>,
    /// Bytes of all parts.
    pub bytes: u64,
    /// Number of frames written.
    pub frames: u64,
    /// Error of the last flush; `None` if it succeeded.
    pub failing: Option<String>,
    /// `true` once the tape has been sealed.
    pub sealed: bool,
}

impl Status {
    fn of(writer: &TapeWriter) -> Self {
        Self {
            path: Some(writer.path().to_owned()),
            bytes: writer.bytes(),
            frames: writer.frames(),
            ..Self::default()
        }
    }
}

/// A running recording.
pub struct Recorder {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
    status: watch::Receiver<Status>,
}

impl Recorder {
    /// Starts the thread that records the log of `writer`.
    ///
    /// # Errors
    /// Returns an error if the thread cannot be started.
    pub fn start(mut writer: TapeWriter) -> io::Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let (sender, status) = watch::channel(Status::of(&writer));
        let stopping = Arc::clone(&stop);
        let log = Arc::clone(writer.log());
        let run = move || {
            while !stopping.load(Ordering::Acquire) {
                std::thread::park_timeout(FLUSH_EVERY);
                let outcome = writer.flush();
                publish(&writer, &sender, outcome, false);
            }
            let outcome = writer.seal();
            publish(&writer, &sender, outcome, true);
        };
        let thread = std::thread::Builder::new().name("tape".into()).spawn(run)?;
        let scribe = thread.thread().clone();
        log.set_pressed(Box::new(move || scribe.unpark()));
        Ok(Self { stop, thread: Some(thread), status })
    }

    /// Returns a receiver of status changes.
    pub fn status(&self) -> watch::Receiver<Status> {
        self.status.clone()
    }

    /// Writes the remaining records, seals the tape and returns the final status.
    pub fn finish(&mut self) -> Status {
        self.stop.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            // A panic of the thread has been printed already; the tape is unsealed but intact.
            let _ = thread.join();
        }
        self.status.borrow().clone()
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        self.finish();
    }
}

/// Publishes the status; the first failure and the recovery are noted in the log as well.
fn publish(writer: &TapeWriter, sender: &watch::Sender<Status>, outcome: io::Result<()>, sealed: bool) {
    let failing = outcome.err().map(|error| error.to_string());
    let before = sender.borrow().failing.is_some();
    let path = writer.path().display();
    let note = match (&failing, before) {
        (Some(error), false) => Some((
            Level::Error,
            format!(
                "cannot write the tape {path}: {error}. Traffic continues; the tape is written once there is space again"
            ),
        )),
        (None, true) => Some((Level::Info, format!("the tape {path} is being written again"))),
        _ => None,
    };
    if let Some((level, text)) = note {
        let note = Note { frame: None, mark: None, level, by: "shadowcat".into(), text };
        writer.log().append(SessionId(0), Body::Note(note));
    }
    let status = Status { sealed: sealed && failing.is_none(), failing, ..Status::of(writer) };
    sender.send_if_modified(|old| {
        let changed = *old != status;
        *old = status;
        changed
    });
}
