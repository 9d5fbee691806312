//! Engines on another machine, reached through `ssh`.

use std::fmt;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use tokio::process::{Child, Command};

use crate::cli::failure::Failure;
use crate::control::{ControlClient, Hub};

/// Remote machine, and the command that reaches it.
#[derive(Debug, Clone)]
pub struct Remote {
    host: String,
    /// Command that reaches the machine: `ssh` and its port option. `SHADOWCAT_SSH` replaces the
    /// program in tests.
    through: Vec<String>,
}

/// Engine on another machine, as `ctl sessions` prints it.
#[derive(Debug, Clone, Deserialize)]
pub struct RemoteEngine {
    /// Path of the control socket on that machine.
    pub socket: PathBuf,
    /// Wall time of the engine's record time zero, in microseconds since the Unix epoch.
    pub anchor: u64,
}

/// Time limit for connecting to the machine and listing its sessions.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(20);

impl Remote {
    /// Parses `ssh://[USER@]HOST[:PORT]`.
    ///
    /// # Errors
    /// Fails if `text` does not have this form.
    pub fn parse(text: &str) -> Result<Self, Failure> {
        let wrong = || {
            Failure::usage(format!("--via {text:?} is not an ssh:// address"))
                .hint("example: ssh://user@host")
        };
        let place = text.strip_prefix("ssh://").ok_or_else(wrong)?.trim_end_matches('/');
        // `ssh` would take a host that begins with a dash for an option.
        if place.is_empty() || place.starts_with('-') || place.contains(char::is_whitespace) {
            return Err(wrong());
        }
        let program = std::env::var("SHADOWCAT_SSH").unwrap_or_else(|_| "ssh".to_owned());
        let mut through = vec![program];
        let host = match place.rsplit_once(':') {
            Some((host, port)) if port.parse::<u16>().is_ok() => {
                through.extend(["-p".to_owned(), port.to_owned()]);
                host
            }
            _ => place,
        };
        Ok(Self { host: host.to_owned(), through })
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.through[0]);
        // `ssh` cannot ask for a password, because the screen has the terminal.
        command.args(&self.through[1..]).args(["-o", "BatchMode=yes", "--", &self.host, "shadowcat", "ctl"]);
        command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.kill_on_drop(true);
        command
    }

    /// Lists the engines that run on the machine.
    ///
    /// # Errors
    /// Fails if the machine does not answer within 20 seconds, refuses the login, or has no
    /// `shadowcat`.
    pub async fn sessions(&self) -> Result<Vec<RemoteEngine>, Failure> {
        let failed = |why: String| {
            Failure::peer(format!("{self}: {why}"))
                .hint("`ssh` must log in without a password, and find `shadowcat` there")
        };
        let asked = self.command(&["sessions", "--output", "json"]).output();
        let output = tokio::time::timeout(CONNECT_TIMEOUT, asked).await;
        let output = output.map_err(|_| failed(format!("no answer within {CONNECT_TIMEOUT:?}")))?;
        let output = output.map_err(|error| failed(error.to_string()))?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            return Err(failed(
                said.lines().last().unwrap_or("ssh failed without an error message").to_owned(),
            ));
        }
        let mut engines: Vec<RemoteEngine> =
            serde_json::from_slice(&output.stdout).map_err(|error| failed(error.to_string()))?;
        engines.dedup_by(|a, b| a.socket == b.socket);
        Ok(engines)
    }

    /// Attaches the engines of the machine that `hub` does not know yet. Errors are ignored, since
    /// the next call tries again.
    pub async fn attach_new(&self, hub: &Arc<Hub>) {
        // An unreachable machine may be reached later; the screen keeps what it has.
        let Ok(engines) = self.sessions().await else { return };
        for engine in engines {
            let path = PathBuf::from(format!("{self}{}", engine.socket.display()));
            if hub.knows(&path) {
                continue;
            }
            let Ok(mut child) =
                self.command(&["--session", &engine.socket.to_string_lossy(), "pipe"]).spawn()
            else {
                return;
            };
            let (Some(stdin), Some(stdout)) = (child.stdin.take(), child.stdout.take()) else { return };
            if let Ok(met) = ControlClient::over(stdout, stdin, hub.name()).await
                && hub.attach_over(path, met).await.is_ok()
            {
                tokio::spawn(outlast(child));
            }
        }
    }
}

/// Keeps the process until it has ended by itself: dropping it would kill it.
async fn outlast(mut child: Child) {
    // The streams of the process report its end; the exit status adds nothing.
    let _ = child.wait().await;
}

impl fmt::Display for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ssh://{}", self.host)
    }
}
