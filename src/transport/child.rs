//! A stdio server as a child process in a process group of its own, of which no process is left
//! running when the server ends.

use std::io;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{self, ExitStatus};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

#[cfg(not(target_os = "linux"))]
use nix::errno::Errno;
use nix::sys::signal::{Signal, killpg};
use nix::sys::wait::{Id, WaitPidFlag, waitid};
use nix::unistd::Pid;
use tokio::sync::watch;

use super::stdio::Blocking;

pub use super::spawn::SpawnError;

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
    /// Set once the group was told by SIGTERM to end.
    told: Arc<AtomicBool>,
    /// Kills the group when the last handle is dropped.
    _reaper: Arc<Reaper>,
}

struct Reaper {
    group: Pid,
    ended: watch::Receiver<Option<ProcessExit>>,
}

/// Time between SIGTERM and SIGKILL for a server that ignores SIGTERM.
const DEAF_GRACE: Duration = Duration::from_millis(1500);
/// Time between SIGTERM and SIGKILL for the remaining processes of a group whose leader has ended.
const STRAGGLERS: Duration = Duration::from_millis(300);

impl Spec {
    /// Default of [`Spec::grace`]: servers save files and close databases before they end.
    pub const GRACE: Duration = Duration::from_secs(10);

    /// Creates the command line of a server that runs in the present directory, with the default grace.
    pub fn new(command: Vec<String>) -> Self {
        Self { command, directory: None, grace: Self::GRACE }
    }
}

impl Process {
    pub(super) fn watch(mut child: process::Child, grace: Duration) -> io::Result<Self> {
        let group = Pid::from_raw(i32::try_from(child.id()).map_err(io::Error::other)?);
        let (sender, ended) = watch::channel(None);
        let told = Arc::new(AtomicBool::new(false));
        let was_told = Arc::clone(&told);
        let wait = move || {
            // Until it is reaped, the leader keeps the group id from being used again while the
            // remaining processes of the group are ended.
            let _ = waitid(Id::Pid(group), WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT);
            let patience = if was_told.load(Ordering::Acquire) { grace } else { STRAGGLERS };
            end_stragglers(group, patience);
            let ended = child.wait().map_or(ProcessExit::Code(1), ProcessExit::from);
            sender.send_replace(Some(ended));
        };
        std::thread::Builder::new().name("reaper".into()).spawn(wait)?;
        let reaper = Arc::new(Reaper { group, ended: ended.clone() });
        Ok(Self { group, grace, ended, told, _reaper: reaper })
    }

    /// Returns the process id of the group's leader.
    pub fn id(&self) -> u32 {
        self.group.as_raw().unsigned_abs()
    }

    /// Sends a signal to the whole group; has no effect once the leader has ended.
    pub fn signal(&self, signal: Signal) {
        if signal == Signal::SIGTERM {
            self.told.store(true, Ordering::Release);
        }
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

    /// Returns the time that the server gets to end after SIGTERM. One that ignores the signal saves nothing,
    /// and has to be gone before the client loses patience: the official SDKs kill two seconds after theirs.
    pub fn term_grace(&self) -> Duration {
        match ignores_sigterm(self.group) {
            true => self.grace.min(DEAF_GRACE),
            false => self.grace,
        }
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
        match tokio::time::timeout(self.term_grace(), self.wait()).await {
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

/// Returns `true` if a process ignores SIGTERM; `false` where the system does not tell.
fn ignores_sigterm(process: Pid) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or_default();
    mask & (1 << (Signal::SIGTERM as i32 - 1)) != 0
}

/// Ends the processes that the leader of a group has left running, and gives them `patience`: those behind a
/// wrapper that died of SIGTERM at once may be saving. The leader, a zombie by now, is still a member, so
/// that a signal does not reveal an empty group.
fn end_stragglers(group: Pid, patience: Duration) {
    const STEP: Duration = Duration::from_millis(30);
    if !has_others(group) {
        return;
    }
    let _ = killpg(group, Signal::SIGTERM);
    let mut waited = Duration::ZERO;
    while waited < patience {
        if !has_others(group) {
            return;
        }
        std::thread::sleep(STEP);
        waited += STEP;
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
