//! A stdio server as a child process in a process group of its own, of which no process is left
//! running when the server ends.

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
    /// The program and its arguments.
    pub command: Vec<String>,
    /// The working directory; the present one of this process if `None`.
    pub directory: Option<PathBuf>,
    /// Time that the server gets to end after its stdin was closed, and again after SIGTERM. The
    /// specification leaves both times to us (2025-11-25, basic/lifecycle, shutdown).
    pub grace: Duration,
}

/// A started server with its standard streams.
pub struct Child {
    /// The process group, whose leader is the server.
    pub process: Process,
    /// The writing end of the server's standard input.
    pub stdin: Blocking,
    /// The reading end of the server's standard output.
    pub stdout: Blocking,
    /// The reading end of the server's standard error.
    pub stderr: Blocking,
}

/// The way in which a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProcessExit {
    /// The exit code. An end whose cause is unknown counts as code 1.
    Code(i32),
    /// The number of the signal that killed the process.
    Signal(i32),
}

/// A handle on a process group; clones refer to the same group. The group is killed when the last
/// clone is dropped.
#[derive(Clone)]
pub struct Process {
    group: Pid,
    grace: Duration,
    ended: watch::Receiver<Option<ProcessExit>>,
    /// Kills the group when the last handle is dropped.
    _reaper: Arc<Reaper>,
}

struct Reaper {
    group: Pid,
    ended: watch::Receiver<Option<ProcessExit>>,
}

/// The reason why a server could not be started.
#[derive(Debug, thiserror::Error)]
pub enum SpawnError {
    /// The command line is empty.
    #[error("no command was given")]
    Empty,
    /// The program was not found.
    #[error("start `{command}`: not found in PATH")]
    NotFound {
        /// The name of the program.
        command: String,
    },
    /// The process could not be started or watched.
    #[error("start `{command}`: {source}")]
    Failed {
        /// The name of the program.
        command: String,
        /// The error of the operating system.
        source: io::Error,
    },
}

/// Time between SIGTERM and SIGKILL for the remaining processes of a group whose leader has ended.
const STRAGGLERS: Duration = Duration::from_millis(300);

impl Spec {
    /// Default of [`Spec::grace`]: servers save files and close databases before they end.
    pub const GRACE: Duration = Duration::from_secs(10);

    /// Creates the command line of a server that runs in the present directory, with the default grace.
    pub fn new(command: Vec<String>) -> Self {
        Self { command, directory: None, grace: Self::GRACE }
    }

    /// Checks that the program exists, without starting it.
    ///
    /// # Errors
    /// [`SpawnError::Empty`] if no command was given, [`SpawnError::NotFound`] if there is no such file.
    pub fn find(&self) -> Result<(), SpawnError> {
        let program = self.command.first().ok_or(SpawnError::Empty)?;
        let here = |directory: PathBuf| directory.join(program).is_file();
        let found = match program.contains('/') {
            true => here(self.directory.clone().unwrap_or_default()),
            false => std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()).any(here),
        };
        found.then_some(()).ok_or_else(|| SpawnError::NotFound { command: program.clone() })
    }

    /// Starts the command with piped streams, in a process group of its own so that all processes that it
    /// starts can be ended with it.
    ///
    /// # Errors
    /// [`SpawnError::Empty`] if no command was given, [`SpawnError::NotFound`] if there is no such
    /// program, and [`SpawnError::Failed`] if it cannot be run or watched.
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
            return Err(failed(io::Error::other("the standard streams are missing")));
        };
        let process = Process::watch(child, self.grace).map_err(failed)?;
        let (stdin, stdout, stderr) = (Blocking::new(stdin), Blocking::new(stdout), Blocking::new(stderr));
        Ok(Child { process, stdin, stdout, stderr })
    }
}

impl Process {
    fn watch(mut child: process::Child, grace: Duration) -> io::Result<Self> {
        let group = Pid::from_raw(i32::try_from(child.id()).map_err(io::Error::other)?);
        let (sender, ended) = watch::channel(None);
        let wait = move || {
            // Until it is reaped, the leader keeps the group id from being used again while the
            // remaining processes of the group are ended.
            let _ = waitid(Id::Pid(group), WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT);
            end_stragglers(group);
            let ended = child.wait().map_or(ProcessExit::Code(1), ProcessExit::from);
            sender.send_replace(Some(ended));
        };
        std::thread::Builder::new().name("reaper".into()).spawn(wait)?;
        let reaper = Arc::new(Reaper { group, ended: ended.clone() });
        Ok(Self { group, grace, ended, _reaper: reaper })
    }

    /// Returns the process id of the group's leader.
    pub fn id(&self) -> u32 {
        self.group.as_raw().unsigned_abs()
    }

    /// Sends a signal to the whole group; has no effect once the leader has ended.
    pub fn signal(&self, signal: Signal) {
        if self.ended.borrow().is_none() {
            // The group may end between the check and the signal; ignore the error.
            let _ = killpg(self.group, signal);
        }
    }

    /// Returns how the leader ended, or `None` while it runs.
    pub fn ended(&self) -> Option<ProcessExit> {
        *self.ended.borrow()
    }

    /// Waits until the leader has ended, and returns how.
    pub async fn wait(&self) -> ProcessExit {
        let mut ended = self.ended.clone();
        match ended.wait_for(Option::is_some).await {
            Ok(ended) => ended.unwrap_or(ProcessExit::Code(1)),
            // The reaper thread reports an end before it drops the sender; take its loss for a failure.
            Err(_) => ProcessExit::Code(1),
        }
    }

    /// Returns the time that the server gets to end; see [`Spec::grace`].
    pub fn grace(&self) -> Duration {
        self.grace
    }

    /// Ends a server whose stdin was closed, in the order of the specification (2025-11-25,
    /// basic/lifecycle, shutdown): it gets its grace, then SIGTERM and its grace again, then SIGKILL.
    pub async fn shut_down(&self) -> ProcessExit {
        match tokio::time::timeout(self.grace, self.wait()).await {
            Ok(ended) => ended,
            Err(_) => self.terminate().await,
        }
    }

    /// Ends the group with SIGTERM and, after the grace, with SIGKILL.
    pub async fn terminate(&self) -> ProcessExit {
        self.signal(Signal::SIGTERM);
        match tokio::time::timeout(self.grace, self.wait()).await {
            Ok(ended) => ended,
            Err(_) => self.kill().await,
        }
    }

    /// Ends the group with SIGKILL.
    pub async fn kill(&self) -> ProcessExit {
        self.signal(Signal::SIGKILL);
        self.wait().await
    }
}

impl Drop for Reaper {
    fn drop(&mut self) {
        if self.ended.borrow().is_none() {
            let _ = killpg(self.group, Signal::SIGKILL);
        }
    }
}

/// Ends the processes that the leader of a group has left running. The leader, a zombie by now, is
/// still a member, so that a signal does not reveal an empty group; on systems where only signals can
/// be used, the remaining processes get the whole of [`STRAGGLERS`].
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

/// Returns `true` if a group has living members besides its leader.
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

impl From<ExitStatus> for ProcessExit {
    fn from(status: ExitStatus) -> Self {
        match (status.code(), status.signal()) {
            (Some(code), _) => Self::Code(code),
            (None, Some(signal)) => Self::Signal(signal),
            (None, None) => Self::Code(1),
        }
    }
}
