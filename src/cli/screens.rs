//! The terminal, on which one screen may follow another, and screens in front of an engine of this
//! process.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use nix::sys::signal::Signal;
use tokio::sync::mpsc;

use super::failure::{Failure, FailureKind};
use super::{output, values};
use crate::engine::{Engine, Who};
use crate::host::Host;
use crate::log::world::World;
use crate::stdio::lifecycle;
use crate::tape::{Recorder, Status};
use crate::tui::terminal::Screen;
use crate::tui::{App, Appearance, run};

/// Terminal in screen mode; restored on drop.
pub struct TerminalSession {
    console: Screen,
    signals: mpsc::Receiver<Signal>,
}

impl TerminalSession {
    /// Takes over the terminal.
    ///
    /// # Errors
    /// Fails if there is no terminal, or signal handlers cannot be installed.
    pub fn open() -> Result<Self, Failure> {
        let signals = lifecycle::signals().map_err(Failure::peer)?;
        let console = Screen::open().map_err(|error| {
            Failure::usage(error)
                .hint("the screen needs a terminal; `shadowcat forward stdio` works without one")
        })?;
        Ok(Self { console, signals })
    }

    /// Opens the terminal for one screen, gives it back, and prints the summary line of `play`.
    ///
    /// # Errors
    /// Fails if there is no terminal, or `play` fails.
    pub async fn alone(
        play: impl AsyncFnOnce(&mut Self) -> Result<String, Failure>,
    ) -> Result<ExitCode, Failure> {
        let mut terminal = Self::open()?;
        let farewell = play(&mut terminal).await;
        drop(terminal);
        output::say(&farewell?);
        Ok(ExitCode::SUCCESS)
    }

    /// Shows a screen until the user leaves it or a signal asks the process to stop. Returns its last
    /// state.
    ///
    /// # Errors
    /// Fails if the terminal has gone.
    pub async fn show(&mut self, app: App) -> Result<App, Failure> {
        let failed = |error| Failure::new(FailureKind::Interrupted, error);
        self.console.renew().map_err(failed)?;
        let stop = lifecycle::stopped(&mut self.signals);
        let shown = run::run(&mut self.console, app, stop).await;
        // A terminal that has gone ends the command like an interruption.
        shown.map_err(failed)
    }
}

/// Screen in front of an engine of this process.
pub struct Showing<'a> {
    /// Host of the sessions on the screen.
    pub host: &'a Arc<Host>,
    /// Handle of the engine, as the controller at the screen.
    pub engine: Engine,
    /// Recorder of the engine's log, if there is one.
    pub recorder: Option<Recorder>,
    /// Theme and character set of the screen.
    pub appearance: Appearance,
    /// `true` if another screen follows.
    pub returns_home: bool,
}

impl Showing<'_> {
    /// Shows the screen until the user leaves it, ends every server, then awaits `then`, and finishes
    /// the tape. Returns a summary line with the path of the tape.
    ///
    /// # Errors
    /// Fails if the terminal has gone.
    pub async fn until_left<F: Future<Output = ()>>(
        self,
        terminal: &mut TerminalSession,
        then: impl FnOnce() -> F,
    ) -> Result<String, Failure> {
        let Self { host, engine, mut recorder, appearance, returns_home } = self;
        let size = crossterm::terminal::size().unwrap_or((80, 24));
        let controller = engine.who().controller;
        let nothing = tokio::sync::watch::channel(Status::default()).1;
        let recording = recorder.as_ref().map_or(nothing, Recorder::status);
        let mut app = App::new(engine, recording, appearance, size);
        app.returns_home = returns_home;
        let outcome = terminal.show(app).await;
        if outcome.as_ref().is_ok_and(|app| app.drops_held) {
            host.drop_all("dropped by the user who quit");
        }
        end(host, controller).await;
        then().await;
        let status = recorder.as_mut().map(Recorder::finish);
        outcome.map(|app| farewell(&app.world, status.as_ref()))
    }
}

/// Ends every server in the order of the MCP specification: stdin is closed first, signals follow.
async fn end(host: &Arc<Host>, controller: Option<u32>) {
    const GRACE: Duration = Duration::from_millis(1500);
    if let Some(controller) = controller {
        host.controllers().detach(controller);
    }
    host.accept_all("the screen was closed");
    host.close_inputs();
    let ends = host.processes().into_iter().map(|process| async move {
        process.shut_down().await;
    });
    futures_util::future::join_all(ends).await;
    host.closed(GRACE).await;
}

/// Returns a summary line: the tape, the number of frames and errors, and the slowest call.
pub fn farewell(world: &World, status: Option<&Status>) -> String {
    let frames = world.rows.len();
    let errors = world.rows.iter().filter(|row| row.is_error).count();
    let slowest = world.rows.iter().filter(|row| row.duration().is_some()).max_by_key(|row| row.duration());
    let mut text = match status {
        Some(Status { path: Some(path), bytes, .. }) => {
            format!("tape {} ({}, {frames} frames, {errors} errors)", path.display(), values::bytes(*bytes))
        }
        _ => format!("not recorded: {frames} frames, {errors} errors"),
    };
    if let Some(row) = slowest {
        let name = world.text(row.target).or(world.text(row.method)).unwrap_or("?");
        text.push_str(&format!(
            " · slowest {name} {:.0} ms",
            row.duration().unwrap_or_default().as_secs_f64() * 1e3
        ));
    }
    text
}

/// Registers the screen of the engine itself as a controller, and returns its handle of the engine.
pub fn attached(host: &Host, engine: &Engine) -> Engine {
    let controller = host.controllers().attach("the screen that runs it");
    engine.of(Who { controller: Some(controller), ..Who::person() })
}
