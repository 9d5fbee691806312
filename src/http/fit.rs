//! Headers of a message that is not the one they came with.

use bytes::Bytes;
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, ETAG, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderName, HeaderValue};

use crate::mcp::mirror::Mirrored;

/// Makes headers fit a body that is not the one they came with.
pub fn fit(headers: &mut HeaderMap, body: &Bytes) {
    for name in [CONTENT_ENCODING, TRANSFER_ENCODING, ETAG, HeaderName::from_static("content-digest")] {
        headers.remove(name);
    }
    if body.is_empty() && !headers.contains_key(CONTENT_LENGTH) {
        return;
    }
    headers.insert(CONTENT_LENGTH, HeaderValue::from(body.len()));
    headers.entry(CONTENT_TYPE).or_insert(HeaderValue::from_static("application/json"));
}

/// Makes a header that repeats a part of the body say what the body says. Where the client does
/// not repeat, as in the stateful era, nothing is added.
pub fn mirror(headers: &mut HeaderMap, mirrored: &Mirrored) {
    let Ok(name) = mirrored.name.parse::<HeaderName>() else { return };
    let value = mirrored.value.as_deref();
    let repeats = headers.contains_key(&name)
        || (name.as_str() != "mcp-protocol-version" && headers.contains_key("mcp-method"));
    match value.and_then(|value| HeaderValue::from_str(value).ok()) {
        Some(value) if repeats => drop(headers.insert(name, value)),
        None if name.as_str() != "mcp-protocol-version" => drop(headers.remove(name)),
        _ => {}
    }
}

/// Puts in all headers that repeat a body of our own.
pub fn repeat(headers: &mut HeaderMap, mirrored: &[Mirrored]) {
    for Mirrored { name, value, .. } in mirrored {
        if let (Ok(name), Some(Ok(value))) =
            (name.parse::<HeaderName>(), value.as_deref().map(HeaderValue::from_str))
        {
            headers.insert(name, value);
        }
    }
}
