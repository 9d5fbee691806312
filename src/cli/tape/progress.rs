//! Progress bars for operations that take over a second, on a terminal.

use std::io::IsTerminal;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Progress bar on standard error.
pub struct Bar(ProgressBar);

/// Time after which a bar appears: shorter operations are not worth one.
const SHOWN_AFTER: Duration = Duration::from_secs(1);

impl Bar {
    /// Creates a bar for an operation of `total` units of any kind. The bar appears after a second.
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

    /// Creates a spinner for an operation of unknown length. The spinner appears after a second.
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

    /// Sets the number of units that are done.
    pub fn at(&self, done: u64) {
        if self.0.elapsed() > SHOWN_AFTER {
            self.0.set_position(done);
        }
    }

    /// Sets the total number of units.
    pub fn of(&self, total: u64) {
        if self.0.length() != Some(total) && self.0.elapsed() > SHOWN_AFTER {
            self.0.set_length(total);
        }
    }

    /// Removes the bar.
    pub fn done(self) {
        self.0.finish_and_clear();
    }
}
