//! The terminal, on which one screen may follow another, and screens in front of an engine of this process.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use nix::sys::signal::Signal;
use tokio::sync::mpsc;

use super::failure::{Failure, Kind};
use super::{output, values};
use crate::engine::{Engine, Who};
use crate::host::Host;
use crate::log::world::World;
use crate::stdio::lifecycle::{self, TERM_GRACE};
use crate::tape::{Recorder, Status};
use crate::tui::terminal::Screen;
use crate::tui::{App, Appearance, run};

/// The terminal, until this is dropped.
pub struct TerminalSession {
    console: Screen,
    signals: mpsc::Receiver<Signal>,
}

impl TerminalSession {
    /// Takes the terminal over.
    ///
    /// # Errors
    /// When there is none.
    pub fn open() -> Result<Self, Failure> {
        let signals = lifecycle::signals().map_err(Failure::peer)?;
        let console = Screen::open().map_err(|error| {
            Failure::usage(error)
                .hint("the screen needs a terminal; `shadowcat forward stdio` works without one")
        })?;
        Ok(Self { console, signals })
    }

    /// Opens the terminal for one screen, gives it back, and says how it was.
    ///
    /// # Errors
    /// When there is no terminal, or the screen ends with one.
    pub async fn alone(
        play: impl AsyncFnOnce(&mut Self) -> Result<String, Failure>,
    ) -> Result<ExitCode, Failure> {
        let mut terminal = Self::open()?;
        let farewell = play(&mut terminal).await;
        drop(terminal);
        output::say(&farewell?);
        Ok(ExitCode::SUCCESS)
    }

    /// Shows a screen until the person leaves it or the process is asked to end.
    ///
    /// # Errors
    /// When the terminal has gone.
    pub async fn show(&mut self, app: App) -> Result<App, Failure> {
        let failed = |error| Failure::new(Kind::Interrupted, error);
        self.console.renew().map_err(failed)?;
        let stop = lifecycle::stopped(&mut self.signals);
        let shown = run::run(&mut self.console, app, stop).await;
        // A terminal that went away is an end like another, only that nobody reads the summary.
        shown.map_err(failed)
    }
}

/// A screen in front of an engine of this process.
pub struct Showing<'a> {
    pub host: &'a Arc<Host>,
    pub engine: Engine,
    pub recorder: Option<Recorder>,
    pub appearance: Appearance,
    /// Whether another screen comes after it.
    pub returns_home: bool,
}

impl Showing<'_> {
    /// Shows the screen until the person leaves it, then ends every server, then whatever `then` ends, and
    /// says how it was and where the tape is.
    ///
    /// # Errors
    /// When the terminal has gone.
    pub async fn until_left<F: Future<Output = ()>>(
        self,
        terminal: &mut TerminalSession,
        then: impl FnOnce() -> F,
    ) -> Result<String, Failure> {
        let Self { host, engine, mut recorder, appearance, returns_home } = self;
        let size = crossterm::terminal::size().unwrap_or((80, 24));
        let seat = engine.who().seat;
        let nothing = tokio::sync::watch::channel(Status::default()).1;
        let recording = recorder.as_ref().map_or(nothing, Recorder::status);
        let mut app = App::new(engine, recording, appearance, size);
        app.returns_home = returns_home;
        let outcome = terminal.show(app).await;
        if outcome.as_ref().is_ok_and(|app| app.drops_held) {
            host.drop_all("dropped by the person who quit");
        }
        end(host, seat).await;
        then().await;
        let status = recorder.as_mut().map(Recorder::finish);
        outcome.map(|app| farewell(&app.world, status.as_ref()))
    }
}

/// Ends every server as the specification says: its stdin is closed first.
async fn end(host: &Arc<Host>, seat: Option<u32>) {
    const GRACE: Duration = Duration::from_millis(1500);
    if let Some(seat) = seat {
        host.breakpoints().leave(seat);
    }
    host.release_all("the screen was closed");
    host.hang_up();
    let ends = host.processes().into_iter().map(|process| async move {
        if tokio::time::timeout(GRACE, process.wait()).await.is_err() {
            process.terminate(TERM_GRACE).await;
        }
    });
    futures_util::future::join_all(ends).await;
    host.closed(GRACE).await;
}

/// How it was, in a line.
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

/// The handle of a person who sits at the screen of the engine itself, and decides.
pub fn seated(host: &Host, engine: &Engine) -> Engine {
    let seat = host.breakpoints().attend("the screen that runs it");
    engine.of(Who { seat: Some(seat), ..Who::person() })
}
