//! Cross-origin requests of web pages (Fetch standard, section 3.3, CORS protocol), for servers that know
//! nothing of browsers. Which pages may speak is decided by the [`Guard`](super::Guard).

use http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE,
    ACCESS_CONTROL_REQUEST_HEADERS, ACCESS_CONTROL_REQUEST_METHOD, ORIGIN, VARY,
};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode};

use super::{HttpBody, nothing};

/// Time for which a browser may remember the answer to a preflight, in seconds.
const MAX_AGE: HeaderValue = HeaderValue::from_static("7200");
/// Response headers that the script of a page may read.
const EXPOSED: HeaderValue =
    HeaderValue::from_static("Mcp-Session-Id, MCP-Protocol-Version, WWW-Authenticate, Retry-After");

/// Returns the answer to a preflight; `None` for any other request. The names of headers are open
/// (`Mcp-Param-*`), so those that the page asks for are allowed; `*` would not cover `Authorization`.
pub fn preflight(request: &Parts) -> Option<Response<HttpBody>> {
    let is_preflight = request.method == Method::OPTIONS
        && request.headers.contains_key(ORIGIN)
        && request.headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD);
    if !is_preflight {
        return None;
    }
    let mut response = Response::new(nothing());
    *response.status_mut() = StatusCode::NO_CONTENT;
    let headers = response.headers_mut();
    headers.insert(ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("GET, POST, DELETE"));
    if let Some(asked) = request.headers.get(ACCESS_CONTROL_REQUEST_HEADERS) {
        headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, asked.clone());
    }
    headers.insert(ACCESS_CONTROL_MAX_AGE, MAX_AGE);
    headers.insert(VARY, HeaderValue::from_static("Origin, Access-Control-Request-Headers"));
    if request.headers.contains_key("access-control-request-private-network") {
        headers.insert("access-control-allow-private-network", HeaderValue::from_static("true"));
    }
    Some(response)
}

/// Lets the page at `origin` read a response. Credentials of the browser are never allowed, nor is every page.
pub fn allow(origin: &HeaderValue, headers: &mut HeaderMap) {
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
    headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED);
    headers.remove(ACCESS_CONTROL_ALLOW_CREDENTIALS);
    let names_origin = |value: &HeaderValue| value.to_str().is_ok_and(|value| value.contains("Origin"));
    if !headers.get_all(VARY).iter().any(names_origin) {
        headers.append(VARY, HeaderValue::from_static("Origin"));
    }
}
