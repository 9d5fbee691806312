//! Removal of secrets from HTTP before anything is recorded.
//!
//! A secret is replaced by a salted fingerprint, which is the same for the same secret within one run
//! of the program: a reader sees whether a token has changed, and learns nothing else.

use std::sync::LazyLock;

use http::{HeaderMap, HeaderName};
use regex::{Captures, Regex};
use sha2::{Digest, Sha256};

/// A cleaner, which replaces secrets by fingerprints.
#[derive(Clone)]
pub struct Cleaner {
    salt: [u8; 16],
}

/// A whole fingerprint, used as a key of tables that must not contain the secret itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fingerprint([u8; 32]);

/// Parts of header and parameter names whose values are secrets.
const TELLING: [&str; 13] = [
    "token",
    "secret",
    "api-key",
    "apikey",
    "api_key",
    "session",
    "password",
    "credential",
    "signature",
    "subscription-key",
    "functions-key",
    "authentication",
    "x-auth",
];

/// Names of URL and form parameters that are secrets although their names do not contain a part of
/// [`TELLING`].
const PARAMETERS: [&str; 11] = [
    "code",
    "code_verifier",
    "key",
    "sig",
    "auth",
    "assertion",
    "client_assertion",
    "state",
    "jwt",
    "sid",
    "pat",
];

/// Returns `true` if the name of a header, in lower case, marks its value as a secret.
pub fn is_telling(name: &str) -> bool {
    TELLING.iter().any(|telling| name.contains(telling))
}

/// Secret members of the JSON of token and registration endpoints (RFC 6749, 5.1; RFC 7591, 3.2.1).
static MEMBERS: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(
        r#"("(?:access_token|refresh_token|id_token|client_secret|registration_access_token|device_code|code|code_verifier|assertion|client_assertion|password|token)"\s*:\s*)"((?:[^"\\]|\\.)*)""#,
    )
    .ok()
});

// === impl Cleaner ===

impl Cleaner {
    /// Creates a cleaner. All cleaners of one run of the program share a salt.
    pub fn new() -> Self {
        static SALT: LazyLock<[u8; 16]> = LazyLock::new(|| *uuid::Uuid::new_v4().as_bytes());
        Self { salt: *SALT }
    }

    /// Cleans a command line for a tape: the values of options and variables with sensitive names,
    /// and the secrets in URLs.
    pub fn command(&self, words: &[String]) -> Vec<String> {
        let telling = |name: &str| {
            let name = name.trim_start_matches('-').to_ascii_lowercase().replace('_', "-");
            TELLING.iter().any(|telling| name.contains(&telling.replace('_', "-")))
        };
        let mut is_value = false;
        let mut clean = |word: &String| {
            if std::mem::take(&mut is_value) && !word.starts_with('-') {
                return self.mark(word);
            }
            match word.split_once('=') {
                Some((name, value)) if !name.contains("://") && telling(name) => {
                    format!("{name}={}", self.mark(value))
                }
                Some((name, value)) if !name.contains("://") && value.contains("://") => {
                    format!("{name}={}", self.url(value))
                }
                None if word.starts_with("--") => {
                    is_value = telling(word);
                    word.clone()
                }
                _ if word.contains("://") => self.url(word),
                _ => word.clone(),
            }
        };
        words.iter().map(&mut clean).collect()
    }

    /// Returns the fingerprint of a secret.
    pub fn fingerprint(&self, secret: &[u8]) -> Fingerprint {
        let hash = Sha256::new().chain_update(self.salt).chain_update(secret).finalize();
        Fingerprint(hash.into())
    }

    /// Returns the text that replaces a secret: `[secret ` and eight hexadecimal digits of its fingerprint.
    pub fn mark(&self, secret: &str) -> String {
        let [a, b, c, d, ..] = self.fingerprint(secret.as_bytes()).0;
        format!("[secret {a:02x}{b:02x}{c:02x}{d:02x}]")
    }

    /// Returns all headers in their order, cleaned.
    pub fn headers(&self, headers: &HeaderMap) -> Vec<(String, String)> {
        let clean = |(name, value): (&HeaderName, &http::HeaderValue)| {
            let text = String::from_utf8_lossy(value.as_bytes());
            (name.as_str().to_owned(), self.header(name.as_str(), &text))
        };
        headers.iter().map(clean).collect()
    }

    fn header(&self, name: &str, value: &str) -> String {
        match name {
            // The scheme is not a secret, and often the cause of an error.
            "authorization" | "proxy-authorization" => match value.split_once(' ') {
                Some((scheme, secret)) => format!("{scheme} {}", self.mark(secret)),
                None => self.mark(value),
            },
            // The names of cookies are no secrets, and useful to a reader.
            "cookie" | "set-cookie" => self.cookie(value),
            "location" | "referer" | "content-location" => self.url(value),
            "www-authenticate" => value.to_owned(),
            name if is_telling(name) => self.mark(value),
            _ => value.to_owned(),
        }
    }

    fn cookie(&self, value: &str) -> String {
        let attribute = |name: &str| {
            ["path", "domain", "expires", "max-age", "samesite"]
                .iter()
                .any(|known| name.eq_ignore_ascii_case(known))
        };
        let part = |part: &str| match part.split_once('=') {
            Some((name, _)) if attribute(name.trim()) => part.to_owned(),
            Some((name, secret)) => format!("{name}={}", self.mark(secret)),
            None => part.to_owned(),
        };
        value.split(';').map(part).collect::<Vec<_>>().join(";")
    }

    /// Cleans a URL, or a path with its query: the user information, and the secret parameters of the
    /// query and the fragment.
    pub fn url(&self, url: &str) -> String {
        let (url, fragment) = url.split_once('#').map_or((url, ""), |(url, fragment)| (url, fragment));
        let (place, query) = url.split_once('?').map_or((url, ""), |(place, query)| (place, query));
        let mut out =
            match place.split_once("://").and_then(|(scheme, rest)| Some((scheme, rest.split_once('@')?))) {
                Some((scheme, (user, rest))) if !user.contains('/') => {
                    format!("{scheme}://{}@{rest}", self.mark(user))
                }
                _ => place.to_owned(),
            };
        for (sign, parameters) in [('?', query), ('#', fragment)] {
            if !parameters.is_empty() {
                out.push(sign);
                out.push_str(&self.form(parameters));
            }
        }
        out
    }

    /// Cleans the address to which a server of the old transport wants messages posted (2024-11-05, HTTP
    /// with SSE). Knowing the address gives access to the session, so every value in it is cleaned.
    pub fn endpoint(&self, url: &str) -> String {
        /// Minimum length of a path segment that is taken for a session id.
        const LONG: usize = 16;
        let (place, query) = url.split_once('?').unwrap_or((url, ""));
        let clean = self.url(place);
        let mut out = match clean.rsplit_once('/') {
            Some((before, last)) if last.len() >= LONG => format!("{before}/{}", self.mark(last)),
            _ => clean,
        };
        for (at, part) in query.split('&').filter(|part| !part.is_empty()).enumerate() {
            out.push(if at == 0 { '?' } else { '&' });
            match part.split_once('=') {
                Some((name, value)) => out.push_str(&format!("{name}={}", self.mark(value))),
                None => out.push_str(&self.mark(part)),
            }
        }
        out
    }

    /// Cleans the secret parameters of a form, `a=1&b=2`.
    pub fn form(&self, form: &str) -> String {
        let telling = |name: &str| {
            let name = name.to_ascii_lowercase();
            PARAMETERS.contains(&name.as_str()) || TELLING.iter().any(|telling| name.contains(telling))
        };
        let part = |part: &str| match part.split_once('=') {
            Some((name, value)) if telling(name) && !value.is_empty() => {
                format!("{name}={}", self.mark(value))
            }
            _ => part.to_owned(),
        };
        form.split('&').map(part).collect::<Vec<_>>().join("&")
    }

    /// Cleans the secret members of the JSON of an OAuth endpoint.
    pub fn json(&self, text: &str) -> String {
        match &*MEMBERS {
            Some(members) => members
                .replace_all(text, |found: &Captures<'_>| {
                    format!("{}\"{}\"", &found[1], self.mark(&found[2]))
                })
                .into_owned(),
            None => text.to_owned(),
        }
    }
}

impl Default for Cleaner {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_secret_is_left_in_headers() {
        let cleaner = Cleaner::new();
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("authorization", "Bearer hush"),
            ("cookie", "a=hush; b=hush"),
            ("set-cookie", "a=hush; Path=/; HttpOnly"),
            ("mcp-session-id", "hush"),
            ("x-api-key", "hush"),
            ("location", "https://u:hush@a.example/x?access_token=hush&page=2#code=hush"),
            ("accept", "text/html"),
        ] {
            headers.append(HeaderName::from_static(name), value.parse().unwrap());
        }
        let clean = cleaner.headers(&headers);
        assert!(!format!("{clean:?}").contains("hush"), "{clean:?}");
        let value = |name: &str| clean.iter().find(|(found, _)| found == name).unwrap().1.clone();
        assert!(value("authorization").starts_with("Bearer [secret "));
        assert!(value("set-cookie").ends_with("; Path=/; HttpOnly"));
        assert!(value("location").contains("&page=2#"), "{}", value("location"));
        assert_eq!(value("accept"), "text/html");
    }

    #[test]
    fn fingerprints_tell_secrets_apart_and_runs_alike() {
        let (one, other) = (Cleaner::new(), Cleaner { salt: [7; 16] });
        assert_eq!(one.mark("a"), Cleaner::new().mark("a"));
        assert_eq!(one.mark("a"), one.mark("a"));
        assert_ne!(one.mark("a"), one.mark("b"));
        assert_ne!(one.mark("a"), other.mark("a"), "each run has its own salt");
    }

    #[test]
    fn command_lines_keep_what_is_no_secret() {
        let words = "env API_KEY=hush PORT=1 server --api-key=hush --token hush --verbose -x --url https://u:hush@a.example/?token=hush --secret --flag a=b";
        let words: Vec<String> = words.split(' ').map(str::to_owned).collect();
        let clean = Cleaner::new().command(&words).join(" ");
        assert!(!clean.contains("hush"), "{clean}");
        for kept in ["PORT=1", "--verbose", "-x", "a.example", "--flag", "a=b"] {
            assert!(clean.contains(kept), "{kept} in {clean}");
        }
    }

    #[test]
    fn urls_and_bodies_of_oauth_are_cleaned() {
        let cleaner = Cleaner::new();
        let url = cleaner.url("/messages?sessionId=hush&x=1");
        assert!(url.starts_with("/messages?sessionId=[secret ") && url.ends_with("]&x=1"), "{url}");
        let form = cleaner.form("grant_type=authorization_code&code=hush&client_id=me");
        assert!(form.ends_with("&client_id=me") && !form.contains("hush"), "{form}");
        let json = cleaner.json(r#"{"access_token": "hu\"sh","expires_in":3600,"refresh_token":"hush"}"#);
        assert!(json.contains("\"expires_in\":3600") && !json.contains("hu"), "{json}");
    }
}
