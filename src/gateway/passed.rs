//! Headers and cookies of clients that a hop passes on: none but those that are named.

use http::header::{COOKIE, SET_COOKIE};
use http::{HeaderMap, HeaderName, HeaderValue};

/// The headers and cookies that pass a hop although they may be credentials. A load balancer, for one, tells its
/// servers apart by a cookie.
#[derive(Debug, Clone, Default)]
pub struct Passed {
    /// Names of headers of requests.
    pub headers: Vec<HeaderName>,
    /// Names of cookies, both ways.
    pub cookies: Vec<String>,
}

impl Passed {
    /// Returns `true` if the header passes.
    pub fn has(&self, name: &HeaderName) -> bool {
        self.headers.contains(name)
    }

    /// Returns the `Cookie` header with the named cookies of a request, if it has any.
    pub fn cookies_of(&self, headers: &HeaderMap) -> Option<HeaderValue> {
        let sent = headers.get_all(COOKIE).into_iter().filter_map(|value| value.to_str().ok());
        let pairs = sent.flat_map(|value| value.split(';')).map(str::trim);
        let named = pairs.filter(|pair| self.names(pair));
        let named: Vec<&str> = named.collect();
        (!named.is_empty()).then(|| HeaderValue::from_str(&named.join("; ")).ok()).flatten()
    }

    /// Keeps the named cookies that a response sets. Their domain and path are those of the server, which the client
    /// does not know: without them a cookie is for the whole of the gateway (RFC 6265, 5.3).
    pub fn keep_set(&self, headers: &mut HeaderMap) {
        let set: Vec<HeaderValue> = headers.get_all(SET_COOKIE).into_iter().cloned().collect();
        headers.remove(SET_COOKIE);
        for value in set.iter().filter_map(|value| value.to_str().ok()).filter(|value| self.names(value)) {
            let parts = value.split(';').map(str::trim);
            let kept: Vec<&str> = parts.filter(|part| !is_place(part)).collect();
            if let Ok(value) = HeaderValue::from_str(&kept.join("; ")) {
                headers.append(SET_COOKIE, value);
            }
        }
    }

    fn names(&self, pair: &str) -> bool {
        let name = pair.split(['=', ';']).next().unwrap_or_default().trim();
        self.cookies.iter().any(|known| known == name)
    }
}

/// Returns `true` for the attributes of a cookie that say where it belongs.
fn is_place(attribute: &str) -> bool {
    let name = attribute.split('=').next().unwrap_or_default().trim();
    name.eq_ignore_ascii_case("domain") || name.eq_ignore_ascii_case("path")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_named_cookies_pass_and_belong_to_the_whole_gateway() {
        let passed = Passed { headers: Vec::new(), cookies: vec!["route".into()] };
        let mut headers = HeaderMap::new();
        for value in ["a=1; route=x", "route=y;b=2", "routes=z"] {
            headers.append(COOKIE, HeaderValue::from_static(value));
        }
        assert_eq!(passed.cookies_of(&headers).unwrap(), "route=x; route=y");
        assert_eq!(passed.cookies_of(&HeaderMap::new()), None);
        for value in ["route=x; PATH=/deep; Domain = a.example; Secure", "other=1"] {
            headers.append(SET_COOKIE, HeaderValue::from_static(value));
        }
        passed.keep_set(&mut headers);
        let set: Vec<_> = headers.get_all(SET_COOKIE).into_iter().collect();
        assert_eq!(set, ["route=x; Secure"]);
    }
}
