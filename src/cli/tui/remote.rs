//! What runs on another machine, reached through `ssh`.

use std::fmt;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use tokio::process::{Child, Command};

use crate::cli::failure::Failure;
use crate::control::{Client, Hub};

/// Another machine.
#[derive(Debug, Clone)]
pub struct Remote {
    host: String,
    /// The program that is run to get there: `ssh`, unless a test says otherwise.
    through: Vec<String>,
}

/// An engine there, as `ctl sessions` tells it.
#[derive(Debug, Clone, Deserialize)]
pub struct Engine {
    pub socket: PathBuf,
    /// The wall time of its record time zero, microseconds since the Unix epoch.
    pub anchor: u64,
}

/// How long the way there may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(20);

impl Remote {
    /// The machine that `ssh://[USER@]HOST[:PORT]` names.
    ///
    /// # Errors
    /// When it names none.
    pub fn parse(text: &str) -> Result<Self, Failure> {
        let wrong = || {
            Failure::usage(format!("--via {text:?} names no machine")).hint("write it like ssh://user@host")
        };
        let place = text.strip_prefix("ssh://").ok_or_else(wrong)?.trim_end_matches('/');
        // What begins with a dash would be an option of ssh.
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
        // Nobody is at the terminal to type a password: the screen has it.
        command.args(&self.through[1..]).args(["-o", "BatchMode=yes", "--", &self.host, "shadowcat", "ctl"]);
        command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.kill_on_drop(true);
        command
    }

    /// What runs there.
    ///
    /// # Errors
    /// When the machine cannot be reached, or has no shadowcat.
    pub async fn sessions(&self) -> Result<Vec<Engine>, Failure> {
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
            return Err(failed(said.lines().last().unwrap_or("it failed without a word").to_owned()));
        }
        let mut engines: Vec<Engine> =
            serde_json::from_slice(&output.stdout).map_err(|error| failed(error.to_string()))?;
        engines.dedup_by(|a, b| a.socket == b.socket);
        Ok(engines)
    }

    /// Takes in the engines there that `hub` does not know yet.
    pub async fn attach_new(&self, hub: &Arc<Hub>) {
        // What cannot be reached now may be reached later; the screen shows what is there.
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
            if let Ok(met) = Client::over(stdout, stdin, hub.name()).await
                && hub.attach_over(path, met).await.is_ok()
            {
                tokio::spawn(outlast(child));
            }
        }
    }
}

/// Keeps the process until it has ended by itself: it is killed when it is let go.
async fn outlast(mut child: Child) {
    // How it ended is told by its streams.
    let _ = child.wait().await;
}

impl fmt::Display for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ssh://{}", self.host)
    }
}
