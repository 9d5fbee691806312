//! The only place that reads the system clocks.
//!
//! Code that takes timestamps or waits receives a [`Clock`], so tests advance time instead of sleeping.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// A monotonic time: nanoseconds since stamp zero of its [`Clock`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Stamp(u64);

/// A monotonic clock anchored once to the wall clock, so that stamps never run backwards even when
/// the wall clock is set.
#[derive(Debug, Clone)]
pub struct Clock {
    /// Wall time of stamp zero, microseconds since the Unix epoch.
    anchor: u64,
    source: Source,
}

#[derive(Debug, Clone)]
enum Source {
    /// The system's monotonic clock, which read stamp `behind` at the instant `origin`.
    System { origin: Instant, behind: u64 },
    /// A time that only [`Clock::advance`] moves, in nanoseconds.
    Manual(Arc<AtomicU64>),
}

impl Stamp {
    /// Creates a stamp from nanoseconds since stamp zero of its clock.
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// Returns the nanoseconds since stamp zero of its clock.
    pub const fn nanos(self) -> u64 {
        self.0
    }

    /// Returns the time from `earlier` to this stamp, or zero if `earlier` is later.
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

impl std::ops::Add<Duration> for Stamp {
    type Output = Self;

    fn add(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(nanos(duration)))
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

impl Clock {
    /// Creates a clock that follows the system's clock, with the present as stamp zero.
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the system clocks")]
    pub fn system() -> Self {
        let anchor = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self {
            anchor: u64::try_from(anchor.as_micros()).unwrap_or(u64::MAX),
            source: Source::System { origin: Instant::now(), behind: 0 },
        }
    }

    /// Creates a clock that follows the system's clock, with the past wall time `anchor` (microseconds
    /// since the Unix epoch) as stamp zero, so that events stamped elsewhere since then have a stamp
    /// here. An anchor in the future counts as the present.
    #[must_use]
    pub fn since(anchor: u64) -> Self {
        let Self { anchor: now, source } = Self::system();
        let anchor = anchor.min(now);
        match source {
            Source::System { origin, .. } => Self {
                anchor,
                source: Source::System { origin, behind: (now - anchor).saturating_mul(1000) },
            },
            manual @ Source::Manual(_) => Self { anchor, source: manual },
        }
    }

    /// Creates a clock that stands still at the wall time `anchor` (microseconds since the Unix epoch)
    /// until it is advanced.
    pub fn manual(anchor: u64) -> Self {
        Self { anchor, source: Source::Manual(Arc::default()) }
    }

    /// Creates a clock that stands still at `now`, with stamp zero at the wall time `anchor`
    /// (microseconds since the Unix epoch).
    pub fn standing(anchor: u64, now: Stamp) -> Self {
        Self { anchor, source: Source::Manual(Arc::new(AtomicU64::new(now.nanos()))) }
    }

    /// Advances a manual clock and all its clones; has no effect on a clock that follows the system's.
    pub fn advance(&self, by: Duration) {
        if let Source::Manual(now) = &self.source {
            now.fetch_add(nanos(by), Ordering::Relaxed);
        }
    }

    /// Returns the current time as a stamp.
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the system clocks")]
    pub fn now(&self) -> Stamp {
        match &self.source {
            Source::System { origin, behind } => {
                Stamp(behind.saturating_add(nanos(Instant::now().duration_since(*origin))))
            }
            Source::Manual(now) => Stamp(now.load(Ordering::Relaxed)),
        }
    }

    /// Returns the wall time of `stamp`, in microseconds since the Unix epoch.
    pub fn wall(&self, stamp: Stamp) -> u64 {
        self.anchor.saturating_add(stamp.0 / 1000)
    }

    /// Returns the stamp of a wall time in microseconds since the Unix epoch, or zero if the time lies
    /// before the anchor.
    pub fn stamp(&self, wall: u64) -> Stamp {
        Stamp(wall.saturating_sub(self.anchor).saturating_mul(1000))
    }

    /// Returns the wall time of stamp zero, in microseconds since the Unix epoch.
    pub fn anchor(&self) -> u64 {
        self.anchor
    }
}

/// Returns the seconds since local midnight of a wall time in microseconds since the Unix epoch.
pub fn time_of_day(wall: u64) -> u32 {
    local(wall).map_or(0, |time| chrono::Timelike::num_seconds_from_midnight(&time))
}

/// Formats a wall time in microseconds since the Unix epoch as local time, with a `strftime` pattern.
pub fn format(wall: u64, pattern: &str) -> String {
    local(wall).map_or_else(String::new, |time| time.format(pattern).to_string())
}

/// Parses a duration as people write it, such as `250ms`, `30s`, `1.5m`, `2h` or `7d`. Returns `None`
/// for any other text.
pub fn duration(text: &str) -> Option<Duration> {
    let at = text.find(|c: char| !c.is_ascii_digit() && c != '.')?;
    let (number, unit) = text.split_at(at);
    let factor = match unit {
        "us" | "µs" => 1e-6,
        "ms" => 1e-3,
        "s" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        "d" => 86_400.0,
        _ => return None,
    };
    Duration::try_from_secs_f64(number.parse::<f64>().ok()? * factor).ok()
}

/// Parses a time of day, `h:m` or `h:m:s`, into seconds since midnight; a fraction of a second is
/// kept. Returns `None` for any other text.
pub fn seconds_of_day(text: &str) -> Option<f64> {
    let mut parts = text.split(':');
    let mut next = |limit: f64| {
        let part: f64 = parts.next()?.parse().ok()?;
        (0.0..limit).contains(&part).then_some(part)
    };
    let (hours, minutes) = (next(24.0)?, next(60.0)?);
    let seconds = if text.matches(':').count() == 1 { 0.0 } else { next(60.0)? };
    parts.next().is_none().then_some(hours * 3600.0 + minutes * 60.0 + seconds)
}

/// Parses an ISO 8601 time into microseconds since the Unix epoch; a time without an offset is taken
/// as UTC. Returns `None` for any other text and for times before the epoch.
pub fn parse(text: &str) -> Option<u64> {
    let aware = chrono::DateTime::parse_from_rfc3339(text).map(|time| time.to_utc());
    let naive = || {
        let formats = ["%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%d %H:%M:%S%.f"];
        let time = formats.iter().find_map(|format| chrono::NaiveDateTime::parse_from_str(text, format).ok());
        time.map(|time| time.and_utc())
    };
    let time = aware.ok().or_else(naive)?;
    u64::try_from(time.timestamp_micros()).ok()
}

/// Formats a wall time in microseconds since the Unix epoch as ISO 8601 in UTC, to the microsecond.
pub fn iso(wall: u64) -> String {
    let utc = i64::try_from(wall).ok().and_then(chrono::DateTime::from_timestamp_micros);
    utc.map_or_else(String::new, |utc| utc.format("%Y-%m-%dT%H:%M:%S%.6fZ").to_string())
}

fn local(wall: u64) -> Option<chrono::DateTime<chrono::Local>> {
    let utc = chrono::DateTime::from_timestamp_micros(i64::try_from(wall).ok()?)?;
    Some(utc.with_timezone(&chrono::Local))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manual_clock_moves_all_its_clones() {
        let clock = Clock::manual(1_000_000);
        let other = clock.clone();
        let before = other.now();
        clock.advance(Duration::from_millis(5));
        assert_eq!(other.now().since(before), Duration::from_millis(5));
        assert_eq!(clock.wall(other.now()), 1_005_000);
    }
}
