//! The socket of an engine: connections that ask, command and follow.
//!
//! Nothing here can stop the engine: a connection that does not read waits by itself, as a reader
//! of the log, and a socket that is deleted is made again.

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
use super::api::{Ask, Facts, Points, VERSION};
use super::library;
use super::reading::{self, Reading};
use super::sockets::{self, SocketError};
use super::wire::{self, Failure};
use crate::engine::Engine;
use crate::log::query::Query;
use crate::tape::Status;

/// What an engine says of itself that its log does not.
#[derive(Debug, Clone)]
pub struct About {
    pub name: String,
    /// The command that runs.
    pub mode: String,
    pub target: Vec<String>,
}

/// A socket that is served until this is dropped.
pub struct Server {
    path: PathBuf,
    task: JoinHandle<()>,
    /// Its own: whatever a peer asks for takes no turn of those who carry frames.
    _runtime: Apart,
    /// Every connection listens to this.
    ending: watch::Sender<bool>,
}

/// Whether a client was joined to a server, and why not.
pub type Joined = Result<(), String>;
/// Joins a client to a server.
pub type Attach = Arc<dyn Fn(Guest) -> Joined + Send + Sync>;

/// A client that wants to be joined to a server.
pub struct Guest {
    /// Its standard streams.
    pub stream: std::os::unix::net::UnixStream,
    pub name: String,
    /// Whether it shares the process that runs, also where each client could have its own.
    pub shares: bool,
}

/// What every connection shares.
struct ServerState {
    engine: Engine,
    about: About,
    recording: watch::Receiver<Status>,
    attach: Option<Attach>,
    reading: Arc<Mutex<Reading>>,
}

/// How often it is looked whether the socket is still there.
const CHECK_INTERVAL: Duration = Duration::from_secs(2);
/// Requests of one connection that may be under way.
const UNDER_WAY: usize = 64;
/// Records that are sent between two looks at what else there is.
const BATCH: usize = 256;
/// The same in bytes, about.
const BATCH_BYTES: usize = 1 << 20;

/// Serves `engine` on a socket of its own. Clients that attach are joined to a server by `attach`.
///
/// # Errors
/// When there is no place for one that is ours alone.
pub fn serve(
    engine: Engine,
    about: About,
    recording: watch::Receiver<Status>,
    attach: Option<Attach>,
) -> Result<Server, SocketError> {
    let directory = sockets::directory()?;
    sockets::prepare(&directory)?;
    let path = sockets::socket(&directory, &about.name)?;
    let failed = |source| SocketError::Io { path: path.clone(), source };
    let runtime = Apart::new().map_err(failed)?;
    let listener = {
        let _within = runtime.handle().enter();
        bind(&path).map_err(failed)?
    };
    // In the background: one of them may listen and not answer.
    runtime.handle().spawn_blocking(sockets::sweep);
    let reading = Arc::new(Mutex::new(Reading::new(engine.log())));
    let (ending, ended) = watch::channel(false);
    let shared = Arc::new(ServerState { engine, about, recording, attach, reading });
    let task = runtime.handle().spawn(listen(listener, path.clone(), shared, ended));
    Ok(Server { path, task, _runtime: runtime, ending })
}

/// A runtime that can be dropped anywhere: what runs on it is not waited for.
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

impl Server {
    /// Takes nobody new, and lets those who follow the log read to its end, for a while.
    pub async fn close(self) {
        const PATIENCE: Duration = Duration::from_millis(500);
        self.task.abort();
        // It may be gone already.
        let _ = fs::remove_file(&self.path);
        self.ending.send_replace(true);
        // A reader that does not read is no reason to stay.
        let _ = tokio::time::timeout(PATIENCE, self.ending.closed()).await;
    }

    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
        // It may be gone already.
        let _ = fs::remove_file(&self.path);
    }
}

fn bind(path: &Path) -> io::Result<UnixListener> {
    // Left by a process of the same number; one that is alive would be us.
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
                // Another user: the directory should have kept it out already.
                Ok(_) => tracing::warn!("another user was turned away from the control socket"),
                // No descriptors are left: that passes.
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
    fn read(&self, ask: &Ask) -> Result<Vec<u8>, Failure> {
        /// Recordings that are told if it is not said how many.
        const TAPES: usize = 100;
        let folded = || {
            let mut reading = self.reading.lock();
            reading.catch_up();
            reading
        };
        let refused = |why: String| Failure::new(wire::REFUSED, why);
        match ask {
            Ask::Hello { .. } | Ask::Facts {} => Ok(wire::result(&self.facts())),
            Ask::Sessions {} => Ok(wire::result(&folded().sessions())),
            Ask::Frames { filter, from, to, limit, newest } => {
                folded().frames(filter, (*from, *to), *limit, *newest).map(|frames| wire::result(&frames))
            }
            Ask::Records { from, limit } => Ok(reading::records(self.engine.log(), *from, *limit)),
            Ask::Held {} => Ok(wire::result(&folded().held(&self.engine))),
            Ask::Breakpoints {} => Ok(wire::result(&Points::from(&self.engine.breakpoints()))),
            Ask::Tapes { text, limit } => library::tapes(text.clone(), limit.unwrap_or(TAPES))
                .map(|tapes| wire::result(&tapes))
                .map_err(refused),
            Ask::TapeFrames { tape, filter, limit } => {
                Query::parse(filter)
                    .map_err(|error| Failure::new(wire::INVALID_PARAMS, format!("filter: {error}")))?;
                library::frames(tape, filter, *limit).map(|frames| wire::result(&frames)).map_err(refused)
            }
            // These are of a connection, not of the log.
            Ask::Subscribe { .. } | Ask::Unsubscribe {} | Ask::Attach { .. } => Ok(wire::result(&json!({}))),
        }
    }

    fn facts(&self) -> Facts {
        let (about, log) = (self.about.clone(), self.engine.log());
        Facts {
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

/// Who started this process, as far as the system tells.
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
        // Dropped among tasks, as where serving fails.
        drop(apart);
    }
}
