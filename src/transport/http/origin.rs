//! Rewriting of one origin into another: `--rewrite-origin`.
//!
//! OAuth binds a client to the URL that it dialled (RFC 9728, 3.3; RFC 8707): a client of the proxy
//! refuses documents that name the upstream. With rewriting in both directions the client finds the
//! proxy's address in the documents, and the upstream finds its own address in the client's requests.

use http::{HeaderMap, HeaderValue};

/// Two origins of one server, to be replaced by each other.
#[derive(Debug, Clone)]
pub struct Rewrite {
    /// The proxy's origin, as the client dialled it: `http://127.0.0.1:3001`.
    ours: String,
    /// The upstream's origin.
    theirs: String,
}

/// Names of response headers that contain URLs.
const WITH_URLS: [&str; 4] = ["www-authenticate", "location", "link", "content-location"];

impl Rewrite {
    /// Author, in the log, of rewritten messages.
    pub const AUTHOR: &'static str = "rewrite-origin";

    /// Creates a rewrite between the proxy's origin and the upstream's origin.
    pub fn new(ours: String, theirs: String) -> Self {
        Self { ours, theirs }
    }

    /// Replaces the upstream's origin by the proxy's in a text for the client.
    pub fn to_client(&self, text: &str) -> String {
        replace(text, &self.theirs, &self.ours)
    }

    /// Replaces the proxy's origin by the upstream's in a text for the upstream.
    pub fn to_server(&self, text: &str) -> String {
        replace(text, &self.ours, &self.theirs)
    }

    /// Replaces the upstream's origin by the proxy's in the headers of a response.
    pub fn headers(&self, headers: &mut HeaderMap) {
        for name in WITH_URLS {
            let http::header::Entry::Occupied(mut entry) = headers.entry(name) else { continue };
            for value in entry.iter_mut() {
                let rewritten = value.to_str().ok().map(|text| self.to_client(text));
                if let Some(Ok(rewritten)) = rewritten.map(|text| HeaderValue::from_str(&text)) {
                    *value = rewritten;
                }
            }
        }
    }
}

/// Replaces an origin in its plain, its JSON-escaped and its percent-encoded forms.
fn replace(text: &str, from: &str, to: &str) -> String {
    let escaped = |origin: &str| origin.replace('/', "\\/");
    let encoded = |origin: &str| origin.replace(':', "%3A").replace('/', "%2F");
    let forms = [
        (from.to_owned(), to.to_owned()),
        (escaped(from), escaped(to)),
        (encoded(from), encoded(to)),
        (encoded(from).replace("%3A", "%3a").replace("%2F", "%2f"), encoded(to)),
    ];
    forms.into_iter().fold(text.to_owned(), |text, (from, to)| whole(&text, &from, &to))
}

/// Replaces `from` unless it is the beginning of a longer host or port.
fn whole(text: &str, from: &str, to: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(from) {
        let (before, found) = rest.split_at(at);
        let after = &found[from.len()..];
        let goes_on = after.starts_with(|c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | ':'));
        out.push_str(before);
        out.push_str(if goes_on { from } else { to });
        rest = after;
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rewrite() -> Rewrite {
        Rewrite::new("http://127.0.0.1:9".into(), "https://mcp.example".into())
    }

    #[test]
    fn every_spelling_is_found_and_no_other_host() {
        let to_client = |text: &str| rewrite().to_client(text);
        assert_eq!(to_client(r#"{"a":"https://mcp.example/x"}"#), r#"{"a":"http://127.0.0.1:9/x"}"#);
        assert_eq!(to_client(r#""https:\/\/mcp.example\/x""#), r#""http:\/\/127.0.0.1:9\/x""#);
        assert_eq!(to_client("iss=https%3A%2F%2Fmcp.example&x"), "iss=http%3A%2F%2F127.0.0.1%3A9&x");
        for other in ["https://mcp.example.org", "https://mcp.example:8443/", "https://mcp.example-2"] {
            assert_eq!(to_client(other), other);
        }
    }

    #[test]
    fn there_and_back_is_where_it_began() {
        let text = "resource=https%3A%2F%2Fmcp.example%2Fmcp&u=https://mcp.example/mcp";
        assert_eq!(rewrite().to_server(&rewrite().to_client(text)), text);
    }

    #[test]
    fn challenges_and_redirects_are_rewritten() {
        let mut headers = HeaderMap::new();
        headers.insert(
            "www-authenticate",
            "Bearer resource_metadata=\"https://mcp.example/w\"".parse().unwrap(),
        );
        headers.insert("x-other", "https://mcp.example/w".parse().unwrap());
        rewrite().headers(&mut headers);
        assert_eq!(headers["www-authenticate"], "Bearer resource_metadata=\"http://127.0.0.1:9/w\"");
        assert_eq!(headers["x-other"], "https://mcp.example/w");
    }
}
