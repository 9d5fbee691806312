//! Names that give away that what they name is a secret: of members, headers, options, and of what
//! is written as `name=value` or `name: value` in any text.

use std::ops::Range;
use std::sync::LazyLock;

use regex::Regex;

/// How much a name sensitivity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sensitivity {
    /// What it names is a secret.
    One,
    /// It names several, or how many there are: a number is no secret.
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
/// Last two words of such names, and how they are written as one.
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
/// What stands before `token` where it is none that opens anything.
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
/// Words that say of a value only what it is.
const ENDINGS: [&str; 8] = ["value", "text", "plain", "raw", "string", "b64", "base64", "hash"];

/// The words of a name: `dbPassword`, `DB_PASSWORD` and `x-db-password` end with the same one.
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

/// The same name however it is spelled: in lower case, without what stands between its words.
pub fn plain(name: &str) -> String {
    name.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}

/// Whether a member, header or option of this name holds a secret.
pub fn sensitivity(name: &str) -> Option<Sensitivity> {
    // Longer than this it is a sentence.
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

/// What may be a name with its value behind it.
static NAMED: LazyLock<Option<Regex>> = LazyLock::new(|| {
    let words = WORDS.join("|");
    let pairs: Vec<String> = PAIRS.iter().map(|pair| pair.replace(' ', "[_-]?")).collect();
    regex(&format!("{words}|{}", pairs.join("|")))
});

/// Finds names that end with what `alternatives` matches, and what stands between them and their
/// values.
pub fn regex(alternatives: &str) -> Option<Regex> {
    let ending = ENDINGS.join("|");
    Regex::new(&format!(
        r#"(?i)([a-z0-9_.-]*(?:{alternatives})s?(?:[_-]?(?:{ending}))?)(?:\\*["'`]?\s{{0,3}}[:=]\s{{0,3}}|(\s+))"#
    ))
    .ok()
}

/// Where `text` has the value of a name that sensitivity by itself.
pub fn find(text: &str) -> Vec<Range<usize>> {
    NAMED.as_ref().map_or_else(Vec::new, |regex| find_by(regex, text, &|name| sensitivity(name)))
}

/// Where `text` has the value of a name that `regex` (made by [`regex`]) finds and that `sensitivity`.
pub fn find_by(
    regex: &Regex,
    text: &str,
    sensitivity: &dyn Fn(&str) -> Option<Sensitivity>,
) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    for captures in regex.captures_iter(text) {
        let (Some(whole), Some(name)) = (captures.get(0), captures.get(1)) else { continue };
        // Behind a space it is a value only where the name is an option.
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

/// What stands where a value is expected but is none.
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

/// The value that begins at `at`: up to the quote that ends it, else to the end of the word; of a
/// header, to the end of the line.
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
            // A placeholder begins with a bracket, and is one word.
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
