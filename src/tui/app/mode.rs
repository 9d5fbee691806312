//! The modes of the screen: one running engine, all of them, or a recording.

use std::time::Duration;

use tokio::sync::watch;

use crate::engine::RunningEngine;

/// The subject of the screen.
pub enum Mode {
    /// One running engine.
    Engine,
    /// All running engines of a machine.
    Home {
        /// The running engines, kept up to date by the hub.
        running: watch::Receiver<Vec<RunningEngine>>,
        /// `true` if they run on another machine, which also has their recordings and clients.
        is_remote: bool,
    },
    /// A finished recording, where nothing runs.
    Tape,
}

impl Mode {
    /// Returns the running engines if the screen shows all of them; otherwise none.
    pub fn running(&self) -> Vec<RunningEngine> {
        match self {
            Self::Home { running, .. } => running.borrow().clone(),
            Self::Engine | Self::Tape => Vec::new(),
        }
    }

    /// Returns the largest delay that a running engine reports of its connection.
    pub fn lag(&self) -> Duration {
        match self {
            Self::Home { running, .. } => {
                running.borrow().iter().map(|running| running.behind).max().unwrap_or_default()
            }
            Self::Engine | Self::Tape => Duration::ZERO,
        }
    }

    /// Returns `true` if the engines run on another machine.
    pub fn is_remote(&self) -> bool {
        matches!(self, Self::Home { is_remote: true, .. })
    }

    /// Returns `true` if the screen shows all running engines.
    pub fn is_home(&self) -> bool {
        matches!(self, Self::Home { .. })
    }

    /// Returns `true` if the screen shows a recording.
    pub fn is_tape(&self) -> bool {
        matches!(self, Self::Tape)
    }
}
