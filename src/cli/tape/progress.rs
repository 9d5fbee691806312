//! A bar for what takes over a second, on a terminal.

use std::io::IsTerminal;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// How far something has come.
pub struct Bar(ProgressBar);

/// What takes less than this is not worth a bar.
const SHOWN_AFTER: Duration = Duration::from_secs(1);

impl Bar {
    /// A bar for so much, in whatever is counted. It is seen when it is still there after a second.
    pub fn new(what: &'static str, total: u64) -> Self {
        let target = match std::io::stderr().is_terminal() {
            true => ProgressDrawTarget::stderr_with_hz(8),
            false => ProgressDrawTarget::hidden(),
        };
        let bar = ProgressBar::with_draw_target(Some(total), target);
        let style = ProgressStyle::with_template("{msg} {bar:40} {percent} % {eta}");
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        bar.set_message(what);
        Self(bar)
    }

    /// A sign that something goes on of which nobody knows how much there is. It is seen when it still
    /// does after a second.
    pub fn waiting(what: &'static str) -> Self {
        const TURN: Duration = Duration::from_millis(125);
        let Self(bar) = Self::new(what, 0);
        let style = ProgressStyle::with_template("{spinner} {msg} {elapsed}");
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()));
        let turning = bar.clone();
        std::thread::spawn(move || {
            std::thread::sleep(SHOWN_AFTER);
            if !turning.is_finished() {
                turning.enable_steady_tick(TURN);
            }
        });
        Self(bar)
    }

    /// Tells how much is done.
    pub fn at(&self, done: u64) {
        if self.0.elapsed() > SHOWN_AFTER {
            self.0.set_position(done);
        }
    }

    /// Tells how much there is.
    pub fn of(&self, total: u64) {
        if self.0.length() != Some(total) && self.0.elapsed() > SHOWN_AFTER {
            self.0.set_length(total);
        }
    }

    /// Takes the bar away.
    pub fn done(self) {
        self.0.finish_and_clear();
    }
}
