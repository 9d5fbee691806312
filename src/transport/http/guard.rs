//! Access control of the listener: a web page that is open in the user's browser must not reach it
//! through DNS rebinding (2025-11-25, basic/transports, security warning).

use std::net::IpAddr;

use http::header::{HOST, ORIGIN};
use http::{HeaderMap, Uri};

/// The host names that a listener answers to.
#[derive(Debug, Clone)]
pub struct Guard {
    names: Vec<String>,
    /// Origins of pages that may speak, besides those of the names.
    origins: Vec<String>,
    /// Accepts every IP address as a host, for a listener on all addresses. An address cannot be rebound.
    any_address: bool,
}

/// The reason why a request is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Forbidden {
    /// The `Host` header or the authority names a host that is not the listener's.
    #[error("Host {0:?} is not a name of this listener; --allow-host adds one")]
    Host(String),
    /// The `Origin` header names a page of a host that is not the listener's.
    #[error("Origin {0:?} may not use this listener; --allow-origin '{0}' admits it")]
    Origin(String),
    /// The request has neither a `Host` header nor an authority.
    #[error("the request has no Host")]
    NoHost,
}

impl Guard {
    /// Creates a guard for a listener on `address` that also answers to the names in `more`.
    pub fn new(address: IpAddr, more: &[String]) -> Self {
        let mut names: Vec<String> =
            ["localhost", "127.0.0.1", "[::1]"].into_iter().map(str::to_owned).collect();
        if !address.is_unspecified() {
            names.push(match address {
                IpAddr::V4(address) => address.to_string(),
                IpAddr::V6(address) => format!("[{address}]"),
            });
        }
        // A value that cannot be a host names an origin.
        let is_origin = |name: &&String| name.contains("://") || name.as_str() == "null";
        let origins = more.iter().filter(is_origin).map(|origin| origin.to_ascii_lowercase()).collect();
        names.extend(more.iter().filter(|name| !is_origin(name)).map(|name| name.to_ascii_lowercase()));
        Self { names, origins, any_address: address.is_unspecified() }
    }

    /// Admits pages of these origins as well: `null`, or a scheme, a host and a port that is not the usual one.
    #[must_use]
    pub fn with_origins(mut self, origins: &[String]) -> Self {
        self.origins.extend(origins.iter().map(|origin| origin.to_ascii_lowercase()));
        self
    }

    /// Checks the host that a request names and the page that it comes from.
    ///
    /// # Errors
    /// [`Forbidden`], to be answered with status 403.
    pub fn check(&self, uri: &Uri, headers: &HeaderMap) -> Result<(), Forbidden> {
        let named = headers.get_all(HOST).iter().map(|value| String::from_utf8_lossy(value.as_bytes()));
        let mut hosts: Vec<String> = named.map(|host| host.into_owned()).collect();
        // HTTP/2 has the host in a pseudo-header (RFC 9113, 8.3.1).
        hosts.extend(uri.authority().map(|authority| authority.as_str().to_owned()));
        if hosts.is_empty() {
            return Err(Forbidden::NoHost);
        }
        for host in hosts {
            let known = self.knows(&host) || (self.any_address && is_address(&host));
            if !known {
                return Err(Forbidden::Host(host));
            }
        }
        for origin in headers.get_all(ORIGIN) {
            let origin = String::from_utf8_lossy(origin.as_bytes());
            let host = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"));
            let is_named = self.origins.iter().any(|known| known.eq_ignore_ascii_case(&origin));
            if !is_named && !host.is_some_and(|host| self.knows(host)) {
                return Err(Forbidden::Origin(origin.into_owned()));
            }
        }
        Ok(())
    }

    /// Returns `true` if `host`, with or without a port, is one of the names.
    fn knows(&self, host: &str) -> bool {
        let name = without_port(host);
        self.names.iter().any(|known| known.eq_ignore_ascii_case(name))
    }
}

fn without_port(host: &str) -> &str {
    let name = match host.rfind(':') {
        Some(at) if host[at + 1..].bytes().all(|byte| byte.is_ascii_digit()) => &host[..at],
        _ => host,
    };
    // A dot at the end makes a name absolute (RFC 3986, section 3.2.2).
    name.strip_suffix('.').unwrap_or(name)
}

/// Returns `true` if a host is an IP address rather than a name.
fn is_address(host: &str) -> bool {
    let host = without_port(host);
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    bare.parse::<IpAddr>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(host: &str, origin: Option<&str>) -> Result<(), Forbidden> {
        let mut headers = HeaderMap::new();
        headers.insert(HOST, host.parse().unwrap());
        if let Some(origin) = origin {
            headers.insert(ORIGIN, origin.parse().unwrap());
        }
        let guard = Guard::new(IpAddr::from([127, 0, 0, 1]), &["Dev.Example".to_owned()]);
        guard.check(&Uri::from_static("/mcp"), &headers)
    }

    #[test]
    fn only_our_own_names_are_answered() {
        for host in ["localhost", "LOCALHOST:80", "127.0.0.1:3000", "[::1]:1", "dev.example:8"] {
            assert_eq!(check(host, None), Ok(()), "{host}");
        }
        for host in
            ["evil.example", "localhost.evil.example", "127.0.0.1.nip.io:80", "[::2]", "", "localhost:x"]
        {
            assert!(matches!(check(host, None), Err(Forbidden::Host(_))), "{host}");
        }
    }

    #[test]
    fn a_listener_on_all_addresses_is_reached_by_any_of_them_and_by_no_page() {
        let guard = Guard::new(IpAddr::from([0, 0, 0, 0]), &[]);
        let check = |host: &str, origin: Option<&str>| {
            let mut headers = HeaderMap::new();
            headers.insert(HOST, host.parse().unwrap());
            origin.map(|origin| headers.insert(ORIGIN, origin.parse().unwrap()));
            guard.check(&Uri::from_static("/mcp"), &headers)
        };
        for host in ["10.1.2.3:8080", "[fd00::1]:80", "localhost"] {
            assert_eq!(check(host, None), Ok(()), "{host}");
        }
        assert!(check("evil.example", None).is_err() && check("10.1.2.3.evil.example", None).is_err());
        assert!(check("10.1.2.3", Some("http://10.6.6.6")).is_err());
    }

    #[test]
    fn only_pages_of_this_machine_may_speak() {
        assert_eq!(check("localhost", Some("http://localhost:6274")), Ok(()));
        for origin in ["http://evil.example", "null", "file://", "http://localhost.evil.example", ""] {
            assert!(matches!(check("localhost", Some(origin)), Err(Forbidden::Origin(_))), "{origin}");
        }
    }

    #[test]
    fn a_page_is_admitted_by_its_exact_origin() {
        let guard = Guard::new(IpAddr::from([127, 0, 0, 1]), &["null".to_owned()])
            .with_origins(&["https://app.example".to_owned(), "chrome-extension://abc".to_owned()]);
        let check = |origin: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(HOST, "localhost.".parse().unwrap());
            headers.insert(ORIGIN, origin.parse().unwrap());
            guard.check(&Uri::from_static("/mcp"), &headers)
        };
        for origin in ["https://app.example", "chrome-extension://abc", "null", "http://localhost:6274"] {
            assert_eq!(check(origin), Ok(()), "{origin}");
        }
        for origin in ["http://app.example", "https://app.example:8443", "https://x.app.example", "file://"] {
            assert!(check(origin).is_err(), "{origin}");
        }
    }

    #[test]
    fn a_second_host_does_not_get_past() {
        let mut headers = HeaderMap::new();
        headers.append(HOST, "localhost".parse().unwrap());
        headers.append(HOST, "evil.example".parse().unwrap());
        let guard = Guard::new(IpAddr::from([127, 0, 0, 1]), &[]);
        assert!(guard.check(&Uri::from_static("/"), &headers).is_err());
        assert_eq!(guard.check(&Uri::from_static("/"), &HeaderMap::new()), Err(Forbidden::NoHost));
    }
}
