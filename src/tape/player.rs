//! Playback of a recording against a clock: the player tells which moments have come.
//!
//! A player does nothing by itself and never blocks, so the same tape, speed and clock give the
//! same order and times, to the nanosecond. The scrubber, `tape play` and the stand-in for a
//! recorded server are driven by it.

use std::fmt;
use std::ops::Range;
use std::str::FromStr;
use std::time::Duration;

use crate::clock::{Clock, Stamp};

/// Speed of playback.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Speed {
    /// Recorded time per real time, as the fraction `of / per`.
    Times {
        /// Numerator: units of recorded time.
        of: u32,
        /// Denominator: units of real time.
        per: u32,
    },
    /// No waiting: everything at once, in order.
    Max,
}

impl Speed {
    /// Speed of the recording.
    pub const NORMAL: Self = Self::Times { of: 1, per: 1 };
    /// Speeds that a person steps through, slowest first.
    pub const STEPS: [Self; 8] = [
        Self::Times { of: 1, per: 10 },
        Self::Times { of: 1, per: 4 },
        Self::Times { of: 1, per: 2 },
        Self::NORMAL,
        Self::Times { of: 2, per: 1 },
        Self::Times { of: 4, per: 1 },
        Self::Times { of: 10, per: 1 },
        Self::Max,
    ];

    /// Returns the speed that is `by` steps faster (or slower, if negative), at most the last and
    /// at least the first step. A speed that is not a step counts as [`Speed::NORMAL`].
    #[must_use]
    pub fn step(self, by: isize) -> Self {
        let at = Self::STEPS.iter().position(|step| *step == self).unwrap_or(3);
        Self::STEPS[at.saturating_add_signed(by).min(Self::STEPS.len() - 1)]
    }

    /// Returns the nanoseconds of the recording that pass in `real` time; `None` if all of it does.
    fn recorded(self, real: Duration) -> Option<u64> {
        match self {
            Self::Times { of, per } => Some(scale(real.as_nanos(), of, per)),
            Self::Max => None,
        }
    }

    /// Returns the real time that `recorded` time takes.
    pub fn real(self, recorded: Duration) -> Duration {
        match self {
            Self::Times { of, per } => Duration::from_nanos(scale_up(recorded.as_nanos(), per, of)),
            Self::Max => Duration::ZERO,
        }
    }
}

/// Returns `nanos * of / per`, rounded down.
fn scale(nanos: u128, of: u32, per: u32) -> u64 {
    u64::try_from(nanos * u128::from(of) / u128::from(per.max(1))).unwrap_or(u64::MAX)
}

/// Returns `nanos * of / per`, rounded up, so that the recorded time has been reached after it.
fn scale_up(nanos: u128, of: u32, per: u32) -> u64 {
    u64::try_from((nanos * u128::from(of)).div_ceil(u128::from(per.max(1)))).unwrap_or(u64::MAX)
}

impl fmt::Display for Speed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Max => f.write_str("max"),
            Self::Times { of, per } => write!(f, "{}x", f64::from(*of) / f64::from(*per)),
        }
    }
}

/// Error of parsing a [`Speed`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a speed; use 0.1, 0.5, 1, 2, 10 or max")]
pub struct SpeedError(String);

impl FromStr for Speed {
    type Err = SpeedError;

    fn from_str(text: &str) -> Result<Self, SpeedError> {
        let wrong = || SpeedError(text.to_owned());
        if text == "max" {
            return Ok(Self::Max);
        }
        let number = text.trim_end_matches(['x', '×']);
        let (whole, part) = number.split_once('.').unwrap_or((number, ""));
        let digits = format!("{whole}{part}");
        if digits.is_empty() || digits.len() > 9 || !digits.bytes().all(|digit| digit.is_ascii_digit()) {
            return Err(wrong());
        }
        let of: u32 = digits.parse().map_err(|_| wrong())?;
        let per = 10_u32.pow(u32::try_from(part.len()).map_err(|_| wrong())?);
        if of == 0 {
            return Err(wrong());
        }
        // The fraction is in lowest terms, so that 1.0 equals 1.
        let common = gcd(of, per);
        Ok(Self::Times { of: of / common, per: per / common })
    }
}

fn gcd(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { gcd(b, a % b) }
}

/// Times of the moments of a recording, in order.
pub trait Timeline {
    /// Returns the number of moments.
    fn count(&self) -> usize;
    /// Returns the time of moment `at`; never before that of the moment before it.
    ///
    /// # Panics
    /// May panic if `at` is not below [`Timeline::count`].
    fn time(&self, at: usize) -> Stamp;

    /// Returns the number of moments up to and including `time`.
    fn until(&self, time: Stamp) -> usize {
        let (mut low, mut high) = (0, self.count());
        while low < high {
            let middle = low.midpoint(high);
            if self.time(middle) <= time { low = middle + 1 } else { high = middle }
        }
        low
    }
}

impl Timeline for [Stamp] {
    fn count(&self) -> usize {
        self.len()
    }

    fn time(&self, at: usize) -> Stamp {
        self[at]
    }
}

impl Timeline for [crate::log::world::Row] {
    fn count(&self) -> usize {
        self.len()
    }

    fn time(&self, at: usize) -> Stamp {
        self[at].at
    }
}

/// A position in a recording that moves with a clock.
#[derive(Debug, Clone)]
pub struct Player {
    clock: Clock,
    speed: Speed,
    /// Recorded time at the last command …
    from: Stamp,
    /// … and the clock time of that command; `None` if paused.
    since: Option<Stamp>,
    /// Number of moments that have come.
    passed: usize,
}

impl Player {
    /// Creates a paused player at the beginning of recorded time.
    pub fn new(clock: Clock, speed: Speed) -> Self {
        Self { clock, speed, from: Stamp::default(), since: None, passed: 0 }
    }

    /// Returns the current speed.
    pub fn speed(&self) -> Speed {
        self.speed
    }

    /// Returns `true` unless the player is paused.
    pub fn is_playing(&self) -> bool {
        self.since.is_some()
    }

    /// Returns the number of moments that have come.
    pub fn passed(&self) -> usize {
        self.passed
    }

    /// Returns the recorded time that is reached by now.
    pub fn position(&self) -> Stamp {
        match self.since {
            None => self.from,
            Some(since) => match self.speed.recorded(self.clock.now().since(since)) {
                Some(recorded) => self.from + Duration::from_nanos(recorded),
                None => Stamp::from_nanos(u64::MAX),
            },
        }
    }

    /// Starts or resumes playback.
    pub fn play(&mut self) {
        if self.since.is_none() {
            self.since = Some(self.clock.now());
        }
    }

    /// Pauses playback.
    pub fn pause(&mut self) {
        // At maximum speed the position is the end of time; `from` is the last moment that came.
        if self.speed != Speed::Max {
            self.from = self.position();
        }
        self.since = None;
    }

    /// Continues from the current position at another speed.
    pub fn set_speed(&mut self, speed: Speed) {
        let playing = self.is_playing();
        self.pause();
        self.speed = speed;
        if playing {
            self.play();
        }
    }

    /// Moves to a recorded time; the moments up to and including it have come.
    pub fn seek(&mut self, time: Stamp, timeline: &(impl Timeline + ?Sized)) {
        self.go(time, timeline.until(time));
    }

    /// Moves to moment `at`: it and those before it have come, but no later ones of the same time.
    /// A moment behind the last one is ignored.
    pub fn step_to(&mut self, at: usize, timeline: &(impl Timeline + ?Sized)) {
        if at < timeline.count() {
            self.go(timeline.time(at), at + 1);
        }
    }

    fn go(&mut self, time: Stamp, passed: usize) {
        self.from = time;
        self.passed = passed;
        self.since = self.since.map(|_| self.clock.now());
    }

    /// Moves to the beginning and pauses.
    pub fn stop(&mut self) {
        (self.from, self.since, self.passed) = (Stamp::default(), None, 0);
    }

    /// Returns the moments that have come since the last call, in order.
    pub fn advance(&mut self, timeline: &(impl Timeline + ?Sized)) -> Range<usize> {
        if self.since.is_none() {
            return self.passed..self.passed;
        }
        let from = self.passed;
        self.passed = timeline.until(self.position()).max(from);
        if self.passed == timeline.count() && self.speed == Speed::Max && self.passed > 0 {
            self.from = timeline.time(self.passed - 1);
        }
        from..self.passed
    }

    /// Returns the time until the next moment comes; `None` if paused or if there is no next one.
    pub fn wait(&self, timeline: &(impl Timeline + ?Sized)) -> Option<Duration> {
        let since = self.since?;
        if self.passed >= timeline.count() {
            return None;
        }
        let due = since + self.speed.real(timeline.time(self.passed).since(self.from));
        Some(due.since(self.clock.now()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stamps(millis: &[u64]) -> Vec<Stamp> {
        millis.iter().map(|millis| Stamp::from_nanos(millis * 1_000_000)).collect()
    }

    /// Plays a timeline to its end and returns its moments with the times at which they came.
    fn played(timeline: &[Stamp], speed: Speed) -> Vec<(usize, u64)> {
        let clock = Clock::manual(0);
        let mut player = Player::new(clock.clone(), speed);
        player.play();
        let mut came = Vec::new();
        loop {
            came.extend(player.advance(timeline).map(|at| (at, clock.now().nanos())));
            match player.wait(timeline) {
                Some(wait) => clock.advance(wait),
                None => return came,
            }
        }
    }

    #[test]
    fn speeds_are_exact() {
        let timeline = stamps(&[0, 3, 3, 10, 1_000]);
        for (speed, factor) in [("0.1", 10.0), ("1", 1.0), ("10", 0.1), ("0.25", 4.0)] {
            let came = played(&timeline, speed.parse().unwrap());
            let expected: Vec<(usize, u64)> = timeline
                .iter()
                .enumerate()
                .map(|(at, time)| (at, (time.nanos() as f64 * factor) as u64))
                .collect();
            assert_eq!(came, expected, "{speed}");
            assert_eq!(came, played(&timeline, speed.parse().unwrap()), "twice the same");
        }
        assert!(played(&timeline, Speed::Max).iter().all(|(_, at)| *at == 0));
    }

    #[test]
    fn it_pauses_seeks_steps_and_goes_on() {
        let timeline = stamps(&[0, 10, 20, 30]);
        let clock = Clock::manual(0);
        let mut player = Player::new(clock.clone(), Speed::NORMAL);
        player.play();
        clock.advance(Duration::from_millis(12));
        assert_eq!(player.advance(&timeline[..]), 0..2);
        player.pause();
        clock.advance(Duration::from_secs(9));
        assert_eq!(player.advance(&timeline[..]), 2..2);
        assert_eq!(player.wait(&timeline[..]), None);
        player.play();
        assert_eq!(player.wait(&timeline[..]), Some(Duration::from_millis(8)));
        player.set_speed(Speed::Times { of: 2, per: 1 });
        assert_eq!(player.wait(&timeline[..]), Some(Duration::from_millis(4)));
        player.seek(Stamp::from_nanos(5_000_000), &timeline[..]);
        assert_eq!(player.passed(), 1, "seeking back is allowed");
        clock.advance(Duration::from_millis(5));
        assert_eq!(player.advance(&timeline[..]), 1..2);
        player.step_to(3, &timeline[..]);
        assert_eq!((player.passed(), player.wait(&timeline[..])), (4, None));
        player.stop();
        assert_eq!((player.position(), player.is_playing()), (Stamp::default(), false));
    }

    #[test]
    fn speeds_are_read_and_shown() {
        for (text, shown) in [("1.0", "1x"), ("0.25x", "0.25x"), ("max", "max"), ("10", "10x")] {
            assert_eq!(text.parse::<Speed>().unwrap().to_string(), shown);
        }
        for text in ["", "0", "-1", "fast", "1e3", "0.0000000001"] {
            assert!(text.parse::<Speed>().is_err(), "{text}");
        }
        assert_eq!(Speed::NORMAL.step(-9).to_string(), "0.1x");
        assert_eq!(Speed::NORMAL.step(9), Speed::Max);
    }
}
