//! Time stamps in the notations of other recorders.

use serde_json::Value;

/// Parses a time stamp of another recorder into microseconds since the Unix epoch: ISO 8601, or a
/// number of seconds, milliseconds, microseconds or nanoseconds, distinguished by its magnitude.
/// Returns `None` if it is neither.
pub fn time(value: &Value) -> Option<u64> {
    /// Upper bound of a number of seconds (the year 5138); that of each finer unit is 1000 times
    /// larger.
    const SECONDS: f64 = 1e11;
    match value {
        Value::String(text) => crate::clock::parse(text).or_else(|| time(&text.parse::<f64>().ok()?.into())),
        Value::Number(number) => {
            let number = number.as_f64().filter(|number| *number >= 0.0)?;
            let micros = match number {
                seconds if seconds < SECONDS => seconds * 1e6,
                millis if millis < SECONDS * 1e3 => millis * 1e3,
                micros if micros < SECONDS * 1e6 => micros,
                nanos => nanos / 1e3,
            };
            Some(micros as u64)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_of_all_kinds_are_read() {
        let expected = Some(1_763_800_000_123_000);
        for written in [
            Value::from("2025-11-22T08:26:40.123Z"),
            Value::from("2025-11-22T09:26:40.123+01:00"),
            Value::from(1_763_800_000.123),
            Value::from(1_763_800_000_123_u64),
            Value::from(1_763_800_000_123_000_u64),
            Value::from(1_763_800_000_123_000_000_u64),
            Value::from("1763800000123"),
        ] {
            assert_eq!(time(&written), expected, "{written}");
        }
        assert_eq!(time(&Value::from("yesterday")), None);
    }
}
