//! The terminal, on which one screen may follow another.

use nix::sys::signal::Signal;
use tokio::sync::mpsc;

use crate::cli::failure::{Failure, Kind};
use crate::proxy::supervise;
use crate::tui::terminal::Screen;
use crate::tui::{App, run};

/// The terminal, until this is dropped.
pub struct Stage {
    console: Screen,
    signals: mpsc::Receiver<Signal>,
}

impl Stage {
    /// Takes the terminal over.
    ///
    /// # Errors
    /// When there is none.
    pub fn open() -> Result<Self, Failure> {
        let signals = supervise::signals().map_err(Failure::peer)?;
        let console = Screen::open().map_err(|error| {
            Failure::usage(error)
                .hint("the screen needs a terminal; `shadowcat forward stdio` works without one")
        })?;
        Ok(Self { console, signals })
    }

    /// Shows a screen until the person leaves it or the process is asked to end.
    ///
    /// # Errors
    /// When the terminal has gone.
    pub async fn show(&mut self, app: App) -> Result<App, Failure> {
        let stop = supervise::stopped(&mut self.signals);
        let shown = run::run(&mut self.console, app, stop).await;
        // A terminal that went away is an end like another, only that nobody reads the summary.
        shown.map_err(|error| Failure::new(Kind::Interrupted, error))
    }
}
