//! Functions on headers: removal of hop-by-hop headers, and access to media types and texts.

use http::HeaderMap;
use http::header::{self, HeaderName};

/// Hop-by-hop headers (RFC 9110, 7.6.1). `Keep-Alive` and `Proxy-Connection` are such by convention,
/// and are checked by name.
const OF_A_HOP: [HeaderName; 6] = [
    header::CONNECTION,
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
];

/// Returns `true` for a header that the protocol defines, whatever words its name contains (2025-11-25 and
/// 2026-07-28, basic/transports): it must reach the server.
pub fn is_of_protocol(name: &HeaderName) -> bool {
    let name = name.as_str();
    const NAMES: [&str; 5] =
        ["mcp-session-id", "mcp-protocol-version", "mcp-method", "mcp-name", "last-event-id"];
    NAMES.contains(&name) || name.starts_with("mcp-param-")
}

/// Returns `true` for a header that belongs to one body and not to a client.
pub fn is_of_the_body(name: &HeaderName) -> bool {
    const NAMES: [&str; 8] = [
        "content-length",
        "content-encoding",
        "content-digest",
        "idempotency-key",
        "last-event-id",
        "mcp-method",
        "mcp-name",
        "transfer-encoding",
    ];
    NAMES.contains(&name.as_str()) || name.as_str().starts_with("mcp-param-")
}

/// Removes the headers that concern only the hop on which they arrived.
pub fn leave_hop(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect();
    let stays = |name: &HeaderName| {
        OF_A_HOP.contains(name)
            || named.contains(name)
            || matches!(name.as_str(), "expect" | "keep-alive" | "proxy-connection" | "upgrade")
    };
    if headers.keys().any(stays) {
        // `HeaderMap::remove` moves another header into the gap, but the peer's order must be kept.
        let passed = headers.iter().filter(|(name, _)| !stays(name));
        *headers = passed.map(|(name, value)| (name.clone(), value.clone())).collect();
    }
}

/// Returns `true` if the body has the media type `wanted`, whatever its parameters.
pub fn is_type(headers: &HeaderMap, wanted: &str) -> bool {
    let value = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    value
        .and_then(|value| value.split(';').next())
        .is_some_and(|found| found.trim().eq_ignore_ascii_case(wanted))
}

/// Returns `true` if the media type of the body is JSON, by its name or its suffix (RFC 6839).
pub fn is_json(headers: &HeaderMap) -> bool {
    let value = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    value.and_then(|value| value.split(';').next()).is_some_and(|found| {
        let found = found.trim().to_ascii_lowercase();
        found == "application/json" || found.ends_with("+json")
    })
}

/// Returns the text of a header, or `None` if it is absent or not printable ASCII.
pub fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_connection_names_stays_on_its_hop() {
        let mut headers = HeaderMap::new();
        for (name, value) in
            [("connection", "close, X-Mine"), ("x-mine", "1"), ("te", "trailers"), ("accept", "*/*")]
        {
            headers.append(HeaderName::from_static(name), value.parse().unwrap());
        }
        leave_hop(&mut headers);
        assert_eq!(headers.keys().map(HeaderName::as_str).collect::<Vec<_>>(), ["accept"]);
    }

    #[test]
    fn what_goes_on_keeps_its_order() {
        let mut headers = HeaderMap::new();
        for (name, value) in
            [("a", "1"), ("transfer-encoding", "chunked"), ("b", "1"), ("a", "2"), ("c", "1")]
        {
            headers.append(HeaderName::from_static(name), value.parse().unwrap());
        }
        leave_hop(&mut headers);
        let left: Vec<_> =
            headers.iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap())).collect();
        assert_eq!(left, [("a", "1"), ("a", "2"), ("b", "1"), ("c", "1")], "a name's values stand together");
    }

    #[test]
    fn media_types_are_told_by_their_name() {
        let of = |value: &'static str| {
            HeaderMap::from_iter([(header::CONTENT_TYPE, http::HeaderValue::from_static(value))])
        };
        assert!(is_json(&of("Application/JSON; charset=utf-8")) && is_json(&of("application/problem+json")));
        assert!(!is_json(&of("text/plain")) && is_type(&of("text/event-stream;x=y"), "text/event-stream"));
    }
}
