//! Secrets are cleaned out of HTTP before anything is recorded.
//!
//! What stands in their place is a salted fingerprint: the same secret looks the same within one
//! run of the program, so that one sees whether a token has changed, and tells nothing else.

use std::sync::LazyLock;

use http::{HeaderMap, HeaderName};
use regex::{Captures, Regex};
use sha2::{Digest, Sha256};

/// Replaces secrets by fingerprints.
#[derive(Clone)]
pub struct Cleaner {
    salt: [u8; 16],
}

/// A fingerprint whole, as a key for tables that must not hold the secret itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fingerprint([u8; 32]);

/// Parts of names that give a secret away.
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

/// Parameters of URLs and forms that are secrets although their names do not tell.
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

/// Whether the name of a header gives away that its value is a secret.
pub fn is_telling(name: &str) -> bool {
    TELLING.iter().any(|telling| name.contains(telling))
}

/// Members of the JSON that token and registration endpoints speak (RFC 6749, 5.1; RFC 7591, 3.2.1).
static MEMBERS: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(
        r#"("(?:access_token|refresh_token|id_token|client_secret|registration_access_token|device_code|code|code_verifier|assertion|client_assertion|password|token)"\s*:\s*)"((?:[^"\\]|\\.)*)""#,
    )
    .ok()
});

// === impl Cleaner ===

impl Cleaner {
    /// A cleaner. All of one run of the program have the same salt.
    pub fn new() -> Self {
        static SALT: LazyLock<[u8; 16]> = LazyLock::new(|| *uuid::Uuid::new_v4().as_bytes());
        Self { salt: *SALT }
    }

    /// A command line as a tape may have it: values of options and variables whose names tell are
    /// cleaned, and URLs.
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

    /// The fingerprint of a secret.
    pub fn fingerprint(&self, secret: &[u8]) -> Fingerprint {
        let hash = Sha256::new().chain_update(self.salt).chain_update(secret).finalize();
        Fingerprint(hash.into())
    }

    /// What stands for a secret.
    pub fn mark(&self, secret: &str) -> String {
        let [a, b, c, d, ..] = self.fingerprint(secret.as_bytes()).0;
        format!("[secret {a:02x}{b:02x}{c:02x}{d:02x}]")
    }

    /// All headers in their order, cleaned.
    pub fn headers(&self, headers: &HeaderMap) -> Vec<(String, String)> {
        let clean = |(name, value): (&HeaderName, &http::HeaderValue)| {
            let text = String::from_utf8_lossy(value.as_bytes());
            (name.as_str().to_owned(), self.header(name.as_str(), &text))
        };
        headers.iter().map(clean).collect()
    }

    fn header(&self, name: &str, value: &str) -> String {
        match name {
            // The scheme is no secret, and often what is wrong.
            "authorization" | "proxy-authorization" => match value.split_once(' ') {
                Some((scheme, secret)) => format!("{scheme} {}", self.mark(secret)),
                None => self.mark(value),
            },
            // The names of cookies are worth knowing.
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

    /// A URL, or its path and query, with the user and the telling parameters cleaned.
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

    /// The address that a server of the old transport wants messages posted to (2024-11-05, HTTP with
    /// SSE): who knows it is in the session, so every value in it is cleaned.
    pub fn endpoint(&self, url: &str) -> String {
        /// Path segments from this length on are taken for ids.
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

    /// Parameters as `a=1&b=2`, the telling ones cleaned.
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

    /// JSON of an endpoint of OAuth, its secrets cleaned.
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
