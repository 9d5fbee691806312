//! A stdio server as a child process: its own process group, and nothing of it left behind.

use std::io;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::PathBuf;
use std::process::{self, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

#[cfg(not(target_os = "linux"))]
use nix::errno::Errno;
use nix::sys::signal::{Signal, killpg};
use nix::sys::wait::{Id, WaitPidFlag, waitid};
use nix::unistd::Pid;
use tokio::sync::watch;

use super::stdio::Blocking;

/// A command line to run as a server.
#[derive(Debug, Clone)]
pub struct Spec {
    pub command: Vec<String>,
    /// The working directory; ours if none is given.
    pub directory: Option<PathBuf>,
}

/// A server that was started, with its streams.
pub struct Child {
    pub process: Process,
    pub stdin: Blocking,
    pub stdout: Blocking,
    pub stderr: Blocking,
}

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    Code(i32),
    Signal(i32),
}

/// A running process group. All clones are the same process.
#[derive(Clone)]
pub struct Process {
    group: Pid,
    ended: watch::Receiver<Option<Ended>>,
    /// Kept so that the group is killed when the last handle goes.
    _reaper: Arc<Reaper>,
}

struct Reaper {
    group: Pid,
    ended: watch::Receiver<Option<Ended>>,
}

/// Why a server could not be started.
#[derive(Debug, thiserror::Error)]
pub enum SpawnError {
    #[error("no command was given")]
    Empty,
    #[error("start `{command}`: not found in PATH")]
    NotFound { command: String },
    #[error("start `{command}`: {source}")]
    Failed { command: String, source: io::Error },
}

/// How long the rest of a process group gets between SIGTERM and SIGKILL once its leader has
/// ended.
const STRAGGLERS: Duration = Duration::from_millis(300);

impl Spec {
    /// Looks for the program without starting it.
    ///
    /// # Errors
    /// When there is no such program.
    pub fn find(&self) -> Result<(), SpawnError> {
        let program = self.command.first().ok_or(SpawnError::Empty)?;
        let here = |directory: PathBuf| directory.join(program).is_file();
        let found = match program.contains('/') {
            true => here(self.directory.clone().unwrap_or_default()),
            false => std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()).any(here),
        };
        found.then_some(()).ok_or_else(|| SpawnError::NotFound { command: program.clone() })
    }

    /// Starts the command with piped streams, in a process group of its own so that all that it
    /// starts can be ended with it.
    ///
    /// # Errors
    /// When the command cannot be run.
    pub fn spawn(&self) -> Result<Child, SpawnError> {
        let (program, arguments) = self.command.split_first().ok_or(SpawnError::Empty)?;
        let mut command = Command::new(program);
        command.args(arguments).process_group(0);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        if let Some(directory) = &self.directory {
            command.current_dir(directory);
        }
        let failed = |source: io::Error| match source.kind() {
            io::ErrorKind::NotFound => SpawnError::NotFound { command: program.clone() },
            _ => SpawnError::Failed { command: program.clone(), source },
        };
        let mut child = command.spawn().map_err(failed)?;
        let (Some(stdin), Some(stdout), Some(stderr)) =
            (child.stdin.take(), child.stdout.take(), child.stderr.take())
        else {
            return Err(failed(io::Error::other("its streams are missing")));
        };
        let process = Process::watch(child).map_err(failed)?;
        let (stdin, stdout, stderr) = (Blocking::new(stdin), Blocking::new(stdout), Blocking::new(stderr));
        Ok(Child { process, stdin, stdout, stderr })
    }
}

impl Process {
    fn watch(mut child: process::Child) -> io::Result<Self> {
        let group = Pid::from_raw(i32::try_from(child.id()).map_err(io::Error::other)?);
        let (sender, ended) = watch::channel(None);
        let wait = move || {
            // Not reaped yet, the leader keeps the group's number from being used again while
            // what it left behind is ended.
            let _ = waitid(Id::Pid(group), WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT);
            end_stragglers(group);
            let ended = child.wait().map_or(Ended::Code(1), Ended::from);
            sender.send_replace(Some(ended));
        };
        std::thread::Builder::new().name("reaper".into()).spawn(wait)?;
        let reaper = Arc::new(Reaper { group, ended: ended.clone() });
        Ok(Self { group, ended, _reaper: reaper })
    }

    /// The process id of the group's leader.
    pub fn id(&self) -> u32 {
        self.group.as_raw().unsigned_abs()
    }

    /// Sends a signal to the whole group. Does nothing once it has ended.
    pub fn signal(&self, signal: Signal) {
        if self.ended.borrow().is_none() {
            // It may end between the question and the signal.
            let _ = killpg(self.group, signal);
        }
    }

    /// How it ended, if it has.
    pub fn ended(&self) -> Option<Ended> {
        *self.ended.borrow()
    }

    /// Waits for its end.
    pub async fn wait(&self) -> Ended {
        let mut ended = self.ended.clone();
        match ended.wait_for(Option::is_some).await {
            Ok(ended) => ended.unwrap_or(Ended::Code(1)),
            // The reaper never goes without saying how it ended.
            Err(_) => Ended::Code(1),
        }
    }

    /// The rest of the specification's shutdown order, once stdin is closed and waiting did not
    /// help: SIGTERM, `patience`, SIGKILL.
    pub async fn terminate(&self, patience: Duration) -> Ended {
        self.signal(Signal::SIGTERM);
        match tokio::time::timeout(patience, self.wait()).await {
            Ok(ended) => ended,
            Err(_) => {
                self.signal(Signal::SIGKILL);
                self.wait().await
            }
        }
    }
}

impl Drop for Reaper {
    fn drop(&mut self) {
        if self.ended.borrow().is_none() {
            let _ = killpg(self.group, Signal::SIGKILL);
        }
    }
}

/// Ends what the leader of a group left running. The leader itself, a zombie by now, stays in
/// the group, so an empty group cannot be told by asking for it: children get the time in steps.
fn end_stragglers(group: Pid) {
    if !has_others(group) {
        return;
    }
    let _ = killpg(group, Signal::SIGTERM);
    let steps = 10;
    for _ in 0..steps {
        if !has_others(group) {
            return;
        }
        std::thread::sleep(STRAGGLERS / steps);
    }
    let _ = killpg(group, Signal::SIGKILL);
}

/// Whether a group has members besides its leader.
#[cfg(target_os = "linux")]
fn has_others(group: Pid) -> bool {
    let Ok(processes) = std::fs::read_dir("/proc") else { return true };
    processes.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok()).any(|pid| {
        pid != group.as_raw()
            && nix::unistd::getpgid(Some(Pid::from_raw(pid))) == Ok(group)
            && !is_zombie(pid)
    })
}

#[cfg(target_os = "linux")]
fn is_zombie(pid: i32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit(") ").next().is_some_and(|rest| rest.starts_with('Z'))
}

#[cfg(not(target_os = "linux"))]
fn has_others(group: Pid) -> bool {
    killpg(group, None) != Err(Errno::ESRCH)
}

impl From<ExitStatus> for Ended {
    fn from(status: ExitStatus) -> Self {
        match (status.code(), status.signal()) {
            (Some(code), _) => Self::Code(code),
            (None, Some(signal)) => Self::Signal(signal),
            (None, None) => Self::Code(1),
        }
    }
}
