//! Names that mark their value as a secret: names of members, headers and options, and names in
//! `name=value` or `name: value` in any text.

use std::ops::Range;
use std::sync::LazyLock;

use regex::Regex;

/// The sensitivity of a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sensitivity {
    /// The value is a secret.
    One,
    /// The value is a list of secrets, or their number: a number is not a secret.
    Many,
}

/// Last words of names whose values are secrets.
const WORDS: [&str; 15] = [
    "password",
    "passwd",
    "passphrase",
    "pwd",
    "pass",
    "secret",
    "token",
    "jwt",
    "apikey",
    "authorization",
    "auth",
    "credential",
    "cookie",
    "passcode",
    "otp",
];
/// Last two words of such names; they may also be written as one word.
const PAIRS: [&str; 21] = [
    "api key",
    "access key",
    "private key",
    "secret key",
    "encryption key",
    "signing key",
    "account key",
    "master key",
    "session key",
    "auth key",
    "service key",
    "shared key",
    "license key",
    "access token",
    "refresh token",
    "id token",
    "auth token",
    "session token",
    "bearer token",
    "client secret",
    "set cookie",
];
/// Words before `token` with which the name means no secret.
const HARMLESS: [&str; 24] = [
    "progress",
    "max",
    "min",
    "next",
    "prev",
    "previous",
    "page",
    "continuation",
    "num",
    "total",
    "input",
    "output",
    "prompt",
    "completion",
    "cached",
    "reasoning",
    "per",
    "eos",
    "bos",
    "pad",
    "stop",
    "sync",
    "unexpected",
    "syntax",
];
/// Last words that only describe the form of the value, and are skipped.
const ENDINGS: [&str; 8] = ["value", "text", "plain", "raw", "string", "b64", "base64", "hash"];

/// Splits a name into lower-case words: `dbPassword`, `DB_PASSWORD` and `x-db-password` have the same
/// last word.
fn words(name: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut before = ' ';
    let mut chars = name.chars().peekable();
    while let Some(c) = chars.next() {
        let begins = c.is_uppercase()
            && (before.is_lowercase()
                || before.is_ascii_digit()
                || (before.is_uppercase() && chars.peek().is_some_and(|next| next.is_lowercase())));
        if begins || !c.is_alphanumeric() {
            words.push(String::new());
        }
        if let Some(word) = words.last_mut().filter(|_| c.is_alphanumeric()) {
            word.extend(c.to_lowercase());
        }
        before = c;
    }
    words.retain(|word| !word.is_empty());
    words
}

/// Returns a name in lower case and without separators, so that its spellings compare equal.
pub fn plain(name: &str) -> String {
    name.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}

/// Returns the sensitivity of a member, header or option of this name; `None` if it is not a secret.
pub fn sensitivity(name: &str) -> Option<Sensitivity> {
    // A longer text is a sentence, not a name.
    const MAX_NAME: usize = 80;
    if name.len() > MAX_NAME {
        return None;
    }
    let mut words = words(name);
    if words.len() > 1 && words.last().is_some_and(|last| ENDINGS.contains(&last.as_str())) {
        words.pop();
    }
    let last = words.pop()?;
    let before = words.pop().unwrap_or_default();
    let one = last
        .strip_suffix('s')
        .filter(|one| !one.ends_with('s') && WORDS.contains(one) || is_pair(&before, one));
    let telling = if one.is_some() { Sensitivity::Many } else { Sensitivity::One };
    let last = one.unwrap_or(&last);
    if last == "token" && HARMLESS.contains(&before.as_str()) || last == "pass" && before.is_empty() {
        return None;
    }
    (WORDS.contains(&last) || is_pair(&before, last)).then_some(telling)
}

fn is_pair(before: &str, last: &str) -> bool {
    PAIRS.iter().any(|pair| {
        pair.split_once(' ').is_some_and(|(a, b)| {
            last == b && before.ends_with(a) || last.strip_suffix(b).is_some_and(|rest| rest == a)
        })
    })
}

/// Matches a name that may be sensitive, together with the separator before its value.
static NAMED: LazyLock<Option<Regex>> = LazyLock::new(|| {
    let words = WORDS.join("|");
    let pairs: Vec<String> = PAIRS.iter().map(|pair| pair.replace(' ', "[_-]?")).collect();
    regex(&format!("{words}|{}", pairs.join("|")))
});

/// Compiles a regular expression for names that end with a match of `alternatives`, and the separators
/// between them and their values. Returns `None` if `alternatives` is not valid.
pub fn regex(alternatives: &str) -> Option<Regex> {
    let ending = ENDINGS.join("|");
    Regex::new(&format!(
        r#"(?i)([a-z0-9_.-]*(?:{alternatives})s?(?:[_-]?(?:{ending}))?)(?:\\*["'`]?\s{{0,3}}[:=]\s{{0,3}}|(\s+))"#
    ))
    .ok()
}

/// Finds the values of names in `text` that are sensitive by [`sensitivity`].
pub fn find(text: &str) -> Vec<Range<usize>> {
    NAMED.as_ref().map_or_else(Vec::new, |regex| find_by(regex, text, &|name| sensitivity(name)))
}

/// Finds the values of names in `text` that `regex` (made by the function `regex`) matches and that are sensitive
/// by `sensitivity`.
pub fn find_by(
    regex: &Regex,
    text: &str,
    sensitivity: &dyn Fn(&str) -> Option<Sensitivity>,
) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    for captures in regex.captures_iter(text) {
        let (Some(whole), Some(name)) = (captures.get(0), captures.get(1)) else { continue };
        // A value after a space is one only if the name is an option.
        let is_option = captures.get(2).is_some();
        if is_option && !name.as_str().starts_with("--") {
            continue;
        }
        let Some(telling) = sensitivity(name.as_str().trim_start_matches('-')) else { continue };
        if let Some(value) = value(text, whole.end(), name.as_str()) {
            let said = &text[value.clone()];
            let is_number = said.chars().all(|c| c.is_ascii_digit() || c == '.');
            if !(is_option && said.starts_with('-') || telling == Sensitivity::Many && is_number) {
                found.push(value);
            }
        }
    }
    found
}

/// Words that stand in the place of a value and are not secrets.
const NONE: [&str; 24] = [
    "required",
    "optional",
    "string",
    "number",
    "boolean",
    "object",
    "array",
    "null",
    "none",
    "true",
    "false",
    "undefined",
    "missing",
    "invalid",
    "expired",
    "empty",
    "unset",
    "hidden",
    "basic",
    "bearer",
    "nil",
    "yes",
    "unknown",
    "denied",
];

/// Returns the span of the value that begins at `at`. It reaches to the closing quote, or to the end
/// of the word; for a header, to the end of the line.
fn value(text: &str, at: usize, name: &str) -> Option<Range<usize>> {
    let rest = &text[at..];
    let slashes = rest.len() - rest.trim_start_matches('\\').len();
    let from = at + slashes;
    let inner = &text[from..];
    let quote = inner.chars().next().filter(|c| matches!(c, '"' | '\'' | '`'));
    let span = match quote {
        Some(quote) => {
            let from = from + 1;
            let end = text[from..].find([quote, '\n']).map_or(text.len(), |length| from + length);
            let end = from + text[from..end].trim_end_matches('\\').len();
            from..end
        }
        None => {
            let is_header =
                matches!(plain(name).as_str(), n if n.ends_with("authorization") || n.ends_with("cookie"));
            let ends = |c: char| match is_header {
                true => matches!(c, '\r' | '\n' | '"' | '\\' | '}'),
                false => {
                    c.is_whitespace()
                        || matches!(
                            c,
                            '"' | '\'' | '`' | '&' | ',' | ';' | '<' | '>' | '[' | ']' | '{' | '}' | '\\'
                        )
                }
            };
            // A placeholder such as `[secret …]` begins with a bracket, which ends the value at once.
            let end = inner.find(ends).map_or(text.len(), |length| from + length);
            const SHORTEST: usize = 4;
            if end - from < SHORTEST {
                return None;
            }
            from..end
        }
    };
    let said = text[span.clone()].trim();
    let is_none = said.is_empty()
        || NONE.iter().any(|none| said.trim_end_matches('.').eq_ignore_ascii_case(none))
        || said.chars().all(|c| matches!(c, '*' | '.' | 'x' | 'X' | '•'))
        || said.starts_with("${")
        || (plain(name).ends_with("pwd") && said.starts_with('/'));
    (!is_none).then_some(span)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_tell_by_their_last_words() {
        for telling in [
            "password",
            "API-Key",
            "x-api-key",
            "clientSecret",
            "Set-Cookie",
            "db_password",
            "openai_api_key",
            "AWS_SECRET_ACCESS_KEY",
            "github_token",
            "GITHUB_TOKEN",
            "APIToken",
            "accesstoken",
            "dbPassword",
            "passwords",
            "API_KEYS",
            "token_value",
            "db_pass",
            "X-Auth-Token",
            "Authorization",
            "auth",
        ] {
            assert!(sensitivity(telling).is_some(), "{telling}");
        }
        for plain in [
            "progressToken",
            "maxTokens",
            "author",
            "keys",
            "tokenizer",
            "token_type",
            "tokenUrl",
            "max_tokens",
            "pass",
            "passed",
            "secretary",
            "nextPageToken",
            "authority",
            "compass",
            "key",
            "",
        ] {
            assert_eq!(sensitivity(plain), None, "{plain}");
        }
        assert_eq!(sensitivity("tokens"), Some(Sensitivity::Many));
    }

    #[test]
    fn values_are_found_behind_their_names() {
        let cases = [
            ("DB_PASSWORD=hunter22 next", "hunter22"),
            ("a: {\"token\": \"abc\", x", "abc"),
            (r#"{\"db_password\":\"nested11\"}"#, "nested11"),
            ("PASSWORD='with space' x", "with space"),
            ("GET /x?token=abcd&y=1", "abcd"),
            ("Authorization: Token abc def\nnext", "Token abc def"),
            ("Cookie: a=b; c=d", "a=b; c=d"),
            ("run --github-token abcd1 now", "abcd1"),
            ("url: password=abcd1", "abcd1"),
            ("refresh_token=1//abc-d", "1//abc-d"),
        ];
        for (text, value) in cases {
            let found: Vec<&str> = find(text).into_iter().map(|span| &text[span]).collect();
            assert_eq!(found, [value], "{text}");
        }
        for none in [
            "password: required",
            "tokens: 1200",
            "max_tokens: 12000",
            "\"password\": false",
            "PWD=/home/me",
            "Unexpected token: foo",
            "a token of thanks",
            "secret: string",
            "password: ****",
            "apiKey:null,",
        ] {
            assert!(find(none).is_empty(), "{none}");
        }
    }
}
