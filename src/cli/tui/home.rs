//! `shadowcat tui`: one screen for all running sessions.

use std::collections::HashMap;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use crate::cli::failure::Failure;
use crate::cli::record::Recording;
use crate::cli::{demo, output, tape};
use crate::clock::{Clock, Stamp};
use crate::control::client::CallError;
use crate::control::{ControlClient, Hub, sockets};
use crate::engine::{Command, Tell};
use crate::log::record::Level;
use crate::tui::{App, Appearance, NextScreen};

use super::remote::Remote;
use crate::cli::screens::TerminalSession;

/// Interval between searches for new engines.
const POLL_INTERVAL: Duration = Duration::from_millis(300);
/// Interval between searches on another machine, each of which opens a connection.
const LOOK_FAR: Duration = Duration::from_secs(5);
/// Number of failed attempts after which a socket is not tried again.
const TRIES: u32 = 30;
/// Time limit for the first answer of an engine.
const HELLO_TIMEOUT: Duration = Duration::from_secs(3);

/// Shows the running sessions of this machine, or of the machine `via`, until the user leaves.
///
/// # Errors
/// Fails if `via` is not an `ssh://` address, that machine cannot be reached, or there is no terminal.
pub async fn run(via: Option<&str>, mut appearance: Appearance) -> Result<ExitCode, Failure> {
    let remote = via.map(Remote::parse).transpose()?;
    appearance.waiting = Some(match (&remote, sockets::directory()) {
        (Some(remote), _) => format!("waiting for a session on {remote} …"),
        (None, Ok(directory)) => format!("waiting for a session … (in {})", directory.display()),
        (None, Err(error)) => error.to_string(),
    });
    let (name, anchor) = (name(), oldest(remote.as_ref()).await?);
    let (hub, engine, recording) = Hub::new(&name, anchor);
    let finding = tokio::spawn(find(Arc::clone(&hub), remote));
    let size = crossterm::terminal::size().unwrap_or((80, 24));
    let app = App::at_home(engine, recording, hub.running(), appearance.clone(), size, via.is_some());
    let mut terminal = TerminalSession::open()?;
    let mut app = terminal.show(app).await?;
    // The chosen screen takes the terminal for a while; the running sessions are still there
    // afterwards.
    while let Some(next) = app.leads_to.take() {
        match open_next(&mut terminal, next.clone(), appearance.clone()).await {
            Ok(farewell) => app.say(Level::Info, farewell),
            // A failure of another screen does not affect the running sessions: report it and ask
            // again.
            Err(error) => {
                app.say(Level::Error, error.to_string());
                app.ask_again(&next);
            }
        }
        app = terminal.show(app).await?;
    }
    drop(terminal);
    if app.releases_held {
        // The engine refuses this if another controller decides; the frames are left to that one.
        let _ = app.engine.send(Command::AcceptAll {}).await;
    }
    if app.drops_held {
        for frame in app.world.held.clone() {
            // The frame may have been decided by another controller meanwhile; ignore the error.
            let _ = app.engine.send(Command::Drop { frame, tell: Tell::Silence }).await;
        }
    }
    finding.abort();
    output::say(&match hub.living() {
        0 => "nothing is running".to_owned(),
        1 => "detached; 1 shadowcat process keeps running".to_owned(),
        living => format!("detached; {living} shadowcat processes keep running"),
    });
    Ok(ExitCode::SUCCESS)
}

/// Shows the screen that the user chose, until the user comes back. Returns its summary line.
async fn open_next(
    terminal: &mut TerminalSession,
    next: NextScreen,
    mut appearance: Appearance,
) -> Result<String, Failure> {
    appearance.waiting = None;
    match next {
        NextScreen::Recording(name) => {
            // Opening a recording may take a while, and must not block the runtime.
            let opened = tokio::task::spawn_blocking(move || tape::opened(&name)).await;
            super::tape::show(terminal, opened.map_err(Failure::peer)??, appearance, true).await
        }
        NextScreen::Launch(command) => {
            let record = Recording::usual()?;
            let spec = super::found(&record, command)?;
            super::run_server(terminal, spec, None, &record, appearance, true).await
        }
        NextScreen::Demo => demo::show(terminal, &Recording::usual()?, appearance, true).await,
    }
}

/// Returns the name by which engines and other screens know this screen.
fn name() -> String {
    let terminal = std::fs::read_link("/proc/self/fd/0").or_else(|_| std::fs::read_link("/proc/self/fd/1"));
    let place = terminal.ok().map(|path| path.display().to_string());
    match place.as_deref().and_then(|path| path.strip_prefix("/dev/")) {
        Some(terminal) => format!("user at {terminal}"),
        None => "user".to_owned(),
    }
}

/// Returns the wall time at which the oldest running engine began, where the log of the hub begins
/// too, in microseconds since the Unix epoch.
async fn oldest(remote: Option<&Remote>) -> Result<u64, Failure> {
    let now = Clock::system().wall(Stamp::default());
    if let Some(remote) = remote {
        // Allowance in microseconds for a remote clock that is behind the local one.
        const SLACK: u64 = 60_000_000;
        let started = remote.sessions().await?.into_iter().map(|session| session.anchor).min();
        return Ok(started.unwrap_or(now).min(now).saturating_sub(SLACK));
    }
    let engine_sockets = sockets::engine_sockets();
    let connected = engine_sockets.iter().map(|socket| async {
        let connected =
            tokio::time::timeout(HELLO_TIMEOUT, ControlClient::connect(&socket.path, "shadowcat tui")).await;
        connected.ok()?.ok().map(|(_, facts, _)| facts.anchor)
    });
    let anchors = futures_util::future::join_all(connected).await;
    Ok(anchors.into_iter().flatten().fold(now, u64::min))
}

/// Attaches every running engine to `hub`, and every engine that starts later.
async fn find(hub: Arc<Hub>, remote: Option<Remote>) {
    let mut failed: HashMap<PathBuf, u32> = HashMap::new();
    loop {
        match &remote {
            Some(remote) => remote.attach_new(&hub).await,
            None => {
                let new: Vec<PathBuf> = sockets::engine_sockets()
                    .into_iter()
                    // A server launched from this screen is shown on a screen of its own.
                    .filter(|socket| socket.pid != std::process::id())
                    .map(|socket| socket.path)
                    .filter(|path| !hub.knows(path))
                    .filter(|path| failed.get(path).is_none_or(|times| *times < TRIES))
                    .collect();
                for (path, error) in hub.attach(&new).await {
                    tracing::debug!("{}: {error}", path.display());
                    match error {
                        // A stopped process may be continued later: try without limit.
                        CallError::Silent => {}
                        // The socket is just being made, or was left by a process that was killed:
                        // try a few times.
                        CallError::Io(_) | CallError::Gone => *failed.entry(path).or_default() += 1,
                        // A different version, a refusal or a foreign socket will not change: do not try
                        // again.
                        CallError::Planted(_) | CallError::Refused(_) | CallError::Strange(_) => {
                            failed.insert(path, TRIES);
                        }
                    }
                }
            }
        }
        tokio::time::sleep(if remote.is_some() { LOOK_FAR } else { POLL_INTERVAL }).await;
    }
}
