//! Sizes and durations in the form in which people write and read them.

use clap::ValueEnum;
use http::HeaderName;

use crate::mcp::Era;
use std::time::Duration;

/// Parses the value of a duration option, such as `500ms`, `30s` or `2m`.
///
/// # Errors
/// Returns a message for the user if `text` is not a duration.
pub fn duration(text: &str) -> Result<Duration, String> {
    // Zero is the only duration that needs no unit.
    let text = if text == "0" { "0s" } else { text };
    crate::clock::duration(text)
        .ok_or_else(|| format!("{text:?} is not a duration; write 500ms, 30s, 2m, 12h or 30d"))
}

/// Parses a number of bytes; a suffix `k`, `m` or `g` stands for a power of 1024.
///
/// # Errors
/// Returns a message for the user if `text` is not a size, or is too large for `usize`.
pub fn size(text: &str) -> Result<usize, String> {
    let lower = text.to_ascii_lowercase();
    let (digits, factor) = match lower.strip_suffix(['k', 'm', 'g']) {
        Some(digits) if lower.ends_with('k') => (digits, 1 << 10),
        Some(digits) if lower.ends_with('m') => (digits, 1 << 20),
        Some(digits) => (digits, 1 << 30),
        None => (lower.as_str(), 1),
    };
    let number: usize =
        digits.parse().map_err(|_| format!("{text:?} is not a size; write 65536, 64k or 16m"))?;
    number.checked_mul(factor).ok_or_else(|| format!("{text} is too large"))
}

/// Formats a number of bytes for people, in decimal units.
pub fn bytes(count: u64) -> String {
    match count {
        0..1_000 => format!("{count} B"),
        1_000..1_000_000 => format!("{:.1} kB", count as f64 / 1e3),
        1_000_000..1_000_000_000 => format!("{:.1} MB", count as f64 / 1e6),
        _ => format!("{:.1} GB", count as f64 / 1e9),
    }
}

/// Parses the name of a header that a gateway passes on.
///
/// # Errors
/// Says what is wrong with the name, or which option is meant for the header.
pub fn passed_header(text: &str) -> Result<HeaderName, String> {
    let name: HeaderName = text.parse().map_err(|_| "this is no name of a header".to_owned())?;
    match name.as_str() {
        "authorization" | "proxy-authorization" => Err(
            "a token that was not issued for the server must not be passed on to it; --header or --login gives the gateway one"
                .to_owned(),
        ),
        "cookie" | "set-cookie" => Err("--pass-cookie NAME passes a cookie".to_owned()),
        _ => Ok(name),
    }
}

/// Parses the origin of a web page: `null`, or a scheme, a host and a port (RFC 6454, section 6.2).
pub fn origin(text: &str) -> Result<String, String> {
    let text = text.trim().trim_end_matches('/').to_ascii_lowercase();
    if text == "null" {
        return Ok(text);
    }
    if text == "*" {
        return Err("name each origin: every web page in a browser could use the server otherwise".to_owned());
    }
    match text.split_once("://") {
        None => Err("an origin has a scheme, such as https://app.example".to_owned()),
        Some((_, host)) if host.contains('/') => Err("an origin has no path".to_owned()),
        Some(("https", host)) => Ok(format!("https://{}", host.strip_suffix(":443").unwrap_or(host))),
        Some(("http", host)) => Ok(format!("http://{}", host.strip_suffix(":80").unwrap_or(host))),
        Some(_) => Ok(text),
    }
}

/// Protocol era that a built-in client speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum EraChoice {
    /// Ask with server/discover, fall back to initialize.
    #[default]
    Auto,
    /// Handshake with initialize, up to 2025-11-25.
    #[value(name = "2025")]
    Stateful,
    /// No handshake, 2026-07-28.
    #[value(name = "2026")]
    Stateless,
}

impl EraChoice {
    /// Returns the era; `None` probes for it.
    pub fn era(self) -> Option<Era> {
        match self {
            Self::Auto => None,
            Self::Stateful => Some(Era::Stateful),
            Self::Stateless => Some(Era::Stateless),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_take_a_unit() {
        assert_eq!(size("64k"), Ok(65_536));
        assert_eq!(size("100"), Ok(100));
        assert!(size("lots").is_err());
    }
}
