//! Recording: a thread that follows the log at its own pace.
//!
//! It is woken by time, not by records, and early only when the log runs out of memory. The wire
//! never waits for it.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::watch;

use super::writer::TapeWriter;
use crate::log::record::{Body, Level, Note, SessionId};

/// The longest a record waits for its flush.
pub const FLUSH_EVERY: Duration = Duration::from_millis(100);

/// How the recording stands.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Status {
    /// Where the first part is; none when nothing is recorded.
    pub path: Option<PathBuf>,
    /// Bytes of all parts.
    pub bytes: u64,
    pub frames: u64,
    /// Why nothing can be written right now.
    pub failing: Option<String>,
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

/// A recording under way.
pub struct Recorder {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
    status: watch::Receiver<Status>,
}

impl Recorder {
    /// Starts the thread that records `writer`'s log.
    ///
    /// # Errors
    /// When no thread can be started.
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

    /// Follows how the recording stands.
    pub fn status(&self) -> watch::Receiver<Status> {
        self.status.clone()
    }

    /// Writes what is left, seals the tape and returns how it stands.
    pub fn finish(&mut self) -> Status {
        self.stop.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            // A panic in there has been printed; the tape is unsealed but whole.
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

/// Tells how the recording stands; the first failure and the recovery go into the log as well.
fn publish(writer: &TapeWriter, sender: &watch::Sender<Status>, outcome: io::Result<()>, sealed: bool) {
    let failing = outcome.err().map(|error| error.to_string());
    let before = sender.borrow().failing.is_some();
    let path = writer.path().display();
    let note = match (&failing, before) {
        (Some(error), false) => Some((
            Level::Error,
            format!(
                "cannot write the tape {path}: {error}. Traffic goes on; free some space and it will be written"
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
