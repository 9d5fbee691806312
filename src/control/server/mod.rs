//! The control socket of an engine: connections for requests, commands and subscriptions.
//!
//! No peer can stop the engine: a connection that is not read waits by itself, as a reader of the
//! log, and a socket that is deleted is created again.

mod connection;
mod join;
mod worker;

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use nix::unistd::getuid;
use parking_lot::Mutex;
use serde_json::json;
use tokio::net::{UnixListener, UnixStream};
use tokio::runtime::{Handle, Runtime};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use self::connection::Connection;
use super::api::{Ask, EngineFacts, Points, VERSION};
use super::library;
use super::reading::{self, Reading};
use super::sockets::{self, SocketError};
use super::wire::{self, ErrorObject};
use crate::engine::Engine;
use crate::log::query::Query;
use crate::tape::Status;

/// Facts of an engine that its log does not contain.
#[derive(Debug, Clone)]
pub struct About {
    /// Display name of the server; part of the socket's path.
    pub name: String,
    /// Running command, e.g. `forward stdio`.
    pub mode: String,
    /// Command line or URL of the server.
    pub target: Vec<String>,
}

/// A control socket, which is served until this value is dropped.
pub struct ControlServer {
    path: PathBuf,
    task: JoinHandle<()>,
    /// Separate runtime, so that requests of peers do not delay the tasks that carry frames.
    _runtime: Apart,
    /// Signal to every connection that the engine ends.
    ending: watch::Sender<bool>,
}

/// Reason why a client cannot be attached to a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AttachRefused {
    /// The screen that launched the server is being closed.
    #[error("the screen is being closed")]
    Closing,
}
/// Outcome of attaching a client to a server.
pub type Joined = Result<(), AttachRefused>;
/// Callback that attaches a client to a server.
pub type Attach = Arc<dyn Fn(Guest) -> Joined + Send + Sync>;

/// A client that asks to be attached to a server.
pub struct Guest {
    /// Socket that carries the client's standard input and output.
    pub stream: std::os::unix::net::UnixStream,
    /// Name that the client gave in its request.
    pub name: String,
    /// `true` to share the running process even if each client could have a process of its own.
    pub shares: bool,
}

/// State that all connections share.
struct ServerState {
    engine: Engine,
    about: About,
    recording: watch::Receiver<Status>,
    attach: Option<Attach>,
    reading: Arc<Mutex<Reading>>,
}

/// Interval between checks that the socket still exists, and pause after a failed `accept`.
const CHECK_INTERVAL: Duration = Duration::from_secs(2);
/// Maximum number of pending requests of one connection.
const UNDER_WAY: usize = 64;
/// Maximum number of records that are sent before other events are handled.
const BATCH: usize = 256;
/// Approximate maximum size of such a batch of records in bytes.
const BATCH_BYTES: usize = 1 << 20;

/// Serves `engine` on a control socket of its own. `attach` handles clients that ask to be attached
/// to a server.
///
/// # Errors
/// If there is no directory that only this user can enter, or if the socket cannot be created in
/// it.
pub fn serve(
    engine: Engine,
    about: About,
    recording: watch::Receiver<Status>,
    attach: Option<Attach>,
) -> Result<ControlServer, SocketError> {
    let directory = sockets::directory()?;
    sockets::prepare(&directory)?;
    let path = sockets::socket(&directory, &about.name)?;
    let failed = |source| SocketError::Io { path: path.clone(), source };
    let runtime = Apart::new().map_err(failed)?;
    let listener = {
        let _within = runtime.handle().enter();
        bind(&path).map_err(failed)?
    };
    // In the background: connecting to a socket blocks while its process does not accept.
    runtime.handle().spawn_blocking(sockets::sweep);
    let reading = Arc::new(Mutex::new(Reading::new(engine.log())));
    let (ending, ended) = watch::channel(false);
    let shared = Arc::new(ServerState { engine, about, recording, attach, reading });
    let task = runtime.handle().spawn(listen(listener, path.clone(), shared, ended));
    Ok(ControlServer { path, task, _runtime: runtime, ending })
}

/// A runtime that can be dropped in any context: its tasks are not waited for.
struct Apart(Option<Runtime>, Handle);

impl Apart {
    fn new() -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .max_blocking_threads(4)
            .thread_name("control")
            .enable_all()
            .build()?;
        let handle = runtime.handle().clone();
        Ok(Self(Some(runtime), handle))
    }

    fn handle(&self) -> &Handle {
        &self.1
    }
}

impl Drop for Apart {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

impl ControlServer {
    /// Stops accepting connections, and gives subscribers up to 500 ms to read the end of the log.
    pub async fn close(self) {
        const PATIENCE: Duration = Duration::from_millis(500);
        self.task.abort();
        // The file may be gone already; ignore the error.
        let _ = fs::remove_file(&self.path);
        self.ending.send_replace(true);
        // A subscriber that does not read must not delay the end.
        let _ = tokio::time::timeout(PATIENCE, self.ending.closed()).await;
    }

    /// Returns the path of the socket.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for ControlServer {
    fn drop(&mut self) {
        self.task.abort();
        // The file may be gone already; ignore the error.
        let _ = fs::remove_file(&self.path);
    }
}

fn bind(path: &Path) -> io::Result<UnixListener> {
    // An earlier process with the same id left this socket; a living owner would be this process.
    if sockets::is_ours(path) {
        fs::remove_file(path)?;
    }
    let listener = UnixListener::bind(path)?;
    fs::set_permissions(path, Permissions::from_mode(0o600))?;
    Ok(listener)
}

async fn listen(
    mut listener: UnixListener,
    path: PathBuf,
    shared: Arc<ServerState>,
    ended: watch::Receiver<bool>,
) {
    let mut look = tokio::time::interval(CHECK_INTERVAL);
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) if is_ours(&stream) => {
                    tokio::spawn(Connection::serve(stream, Arc::clone(&shared), ended.clone()));
                }
                // The peer is another user, whom the directory's permissions should have kept out
                // already.
                Ok(_) => tracing::warn!("refused a connection of another user to the control socket"),
                // No file descriptors are left, which is usually temporary: try again later.
                Err(_) => tokio::time::sleep(CHECK_INTERVAL).await,
            },
            _ = look.tick() => {
                if !path.exists()
                    && let Some(directory) = path.parent()
                    && sockets::prepare(directory).is_ok()
                    && let Ok(again) = bind(&path)
                {
                    listener = again;
                }
            }
        }
    }
}

fn is_ours(stream: &UnixStream) -> bool {
    stream.peer_cred().is_ok_and(|peer| peer.uid() == getuid().as_raw())
}

impl ServerState {
    fn read(&self, ask: &Ask) -> Result<Vec<u8>, ErrorObject> {
        /// Number of recordings to return if the request gives none.
        const TAPES: usize = 100;
        let folded = || {
            let mut reading = self.reading.lock();
            reading.catch_up();
            reading
        };
        let refused = |why: String| ErrorObject::new(wire::REFUSED, why);
        match ask {
            Ask::Hello { .. } | Ask::Facts {} => Ok(wire::result(&self.facts())),
            Ask::Sessions {} => Ok(wire::result(&folded().sessions())),
            Ask::Frames { filter, from, to, limit, newest } => {
                folded().frames(filter, (*from, *to), *limit, *newest).map(|frames| wire::result(&frames))
            }
            Ask::Records { from, limit } => Ok(reading::records(self.engine.log(), *from, *limit)),
            Ask::Held {} => Ok(wire::result(&folded().held(&self.engine))),
            Ask::HeldLine { frame } => Ok(wire::result(&folded().held_line(&self.engine, *frame))),
            Ask::Breakpoints {} => Ok(wire::result(&Points::from(&self.engine.breakpoints()))),
            Ask::Tapes { text, limit } => library::tapes(text.clone(), limit.unwrap_or(TAPES))
                .map(|tapes| wire::result(&tapes))
                .map_err(refused),
            Ask::TapeFrames { tape, filter, limit } => {
                Query::parse(filter)
                    .map_err(|error| ErrorObject::new(wire::INVALID_PARAMS, format!("filter: {error}")))?;
                library::frames(tape, filter, *limit).map(|frames| wire::result(&frames)).map_err(refused)
            }
            // The connection handles these itself; they do not depend on the log.
            Ask::Subscribe { .. } | Ask::Unsubscribe {} | Ask::Attach { .. } => Ok(wire::result(&json!({}))),
        }
    }

    fn facts(&self) -> EngineFacts {
        let (about, log) = (self.about.clone(), self.engine.log());
        EngineFacts {
            version: VERSION,
            program: concat!("shadowcat ", env!("CARGO_PKG_VERSION")).to_owned(),
            pid: std::process::id(),
            name: about.name,
            mode: about.mode,
            target: about.target,
            directory: std::env::current_dir().ok().map(|directory| directory.display().to_string()),
            parent: parent(),
            anchor: log.clock().anchor(),
            last: log.last(),
            tape: (&*self.recording.borrow()).into(),
            breakpoints: Points::from(&self.engine.breakpoints()),
        }
    }
}

/// Returns the name of the process that started this one, if the system reports it.
fn parent() -> Option<String> {
    let name = std::fs::read_to_string(format!("/proc/{}/comm", nix::unistd::getppid())).ok()?;
    Some(name.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_place_that_fails_ends_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("taken.sock");
        fs::write(&path, "no socket").unwrap();
        let apart = Apart::new().unwrap();
        let bound = {
            let _within = apart.handle().enter();
            bind(&path)
        };
        assert!(bound.is_err());
        // Drop it in an async context, as happens when serving fails.
        drop(apart);
    }
}
