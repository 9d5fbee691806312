//! Fitting headers to a message that is not the one that they came with.

use bytes::Bytes;
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, ETAG, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderName, HeaderValue};

use crate::intercept::ResponseHead;
use crate::mcp::mirror::Mirrored;

/// Fits headers to the body `body`, which is not the one that they came with.
pub fn fit(headers: &mut HeaderMap, body: &Bytes) {
    remove_body_headers(headers);
    if body.is_empty() && !headers.contains_key(CONTENT_LENGTH) {
        return;
    }
    headers.insert(CONTENT_LENGTH, HeaderValue::from(body.len()));
    headers.entry(CONTENT_TYPE).or_insert(HeaderValue::from_static("application/json"));
}

/// Fits headers to a body of unknown length, which is sent in chunks.
pub fn fit_chunked(headers: &mut HeaderMap) {
    remove_body_headers(headers);
    headers.remove(CONTENT_LENGTH);
    headers.entry(CONTENT_TYPE).or_insert(HeaderValue::from_static("application/json"));
}

fn remove_body_headers(headers: &mut HeaderMap) {
    for name in [CONTENT_ENCODING, TRANSFER_ENCODING, ETAG, HeaderName::from_static("content-digest")] {
        headers.remove(name);
    }
}

/// Adds the headers of a response that we make; each replaces all headers of its name. A name or value
/// that HTTP does not allow is left out.
pub fn add(headers: &mut HeaderMap, head: &ResponseHead) {
    let pairs: Vec<(HeaderName, HeaderValue)> = head
        .headers
        .iter()
        .filter_map(|(name, value)| Some((name.parse().ok()?, HeaderValue::from_str(value).ok()?)))
        .collect();
    for (name, _) in &pairs {
        headers.remove(name);
    }
    for (name, value) in pairs {
        headers.append(name, value);
    }
}

/// Fits a header that repeats a part of the body. Nothing is added where the client repeats nothing, as
/// in the stateful era.
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

/// Adds all headers that repeat a body of our own.
pub fn repeat(headers: &mut HeaderMap, mirrored: &[Mirrored]) {
    for Mirrored { name, value, .. } in mirrored {
        if let (Ok(name), Some(Ok(value))) =
            (name.parse::<HeaderName>(), value.as_deref().map(HeaderValue::from_str))
        {
            headers.insert(name, value);
        }
    }
}
