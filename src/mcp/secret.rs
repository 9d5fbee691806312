//! Secrets that are recognized by their form, such as tokens and keys with a fixed prefix.

use std::ops::Range;
use std::sync::LazyLock;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use regex::{Regex, RegexSet};

/// Kinds of secrets and their forms. If a form of a kind in [`has_group`] has a group, the group is the
/// secret.
const FORMS: [(&str, &str); 46] = [
    (
        "private-key",
        r"-----BEGIN [A-Z0-9 ]*PRIVATE KEY( BLOCK)?-----[\s\S]*?(-----END [A-Z0-9 ]*PRIVATE KEY( BLOCK)?-----|\z)",
    ),
    ("jwt", r"eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*"),
    ("bearer", r"(?i)bearer\s+([A-Za-z0-9._~+/-]{8,}=*)"),
    ("basic", r"(?i)basic\s+([A-Za-z0-9+/]{8,}={0,2})(?:[^A-Za-z0-9+/=]|\z)"),
    ("anthropic", r"sk-ant-[A-Za-z0-9_-]{16,}"),
    ("openai", r"sk-(?:proj-|svcacct-|admin-)?[A-Za-z0-9_-]{20,}"),
    ("github", r"(?:gh[pousr]_[A-Za-z0-9]{20,}|github_pat_[A-Za-z0-9_]{20,})"),
    ("gitlab", r"gl(?:pat|dt|rt|cbt|ptt|ft|soat|agent|imt)-[A-Za-z0-9_-]{16,}"),
    ("slack", r"xox[abeoprs]-[A-Za-z0-9-]{10,}"),
    ("slack-hook", r"https://hooks\.slack\.com/services/[A-Za-z0-9/_-]{10,}"),
    ("aws-key", r"(?:AKIA|ASIA|AROA|AIDA)[A-Z0-9]{16}\b"),
    ("google", r"AIza[A-Za-z0-9_-]{30,}"),
    ("google-oauth", r"ya29\.[A-Za-z0-9_-]{16,}"),
    ("stripe", r"(?:sk|rk|whsec)_(?:live_|test_)?[A-Za-z0-9]{16,}"),
    ("npm", r"npm_[A-Za-z0-9]{30,}"),
    ("pypi", r"pypi-[A-Za-z0-9_-]{16,}"),
    ("hugging-face", r"hf_[A-Za-z0-9]{20,}"),
    ("sendgrid", r"SG\.[A-Za-z0-9_-]{16,}\.[A-Za-z0-9_-]{16,}"),
    ("twilio", r"SK[0-9a-f]{32}\b"),
    ("digitalocean", r"do[opr]_v1_[0-9a-f]{32,}"),
    ("shopify", r"shp(?:at|ca|pa|ss)_[0-9a-fA-F]{32,}"),
    ("linear", r"lin_(?:api|oauth)_[A-Za-z0-9]{20,}"),
    ("notion", r"(?:ntn_[A-Za-z0-9]{20,}|secret_[A-Za-z0-9]{40,})"),
    ("databricks", r"dapi[0-9a-f]{32}"),
    ("azure", r"(?i)(?:AccountKey|SharedAccessKey)=([A-Za-z0-9+/]{40,}={0,2})"),
    ("telegram", r"[0-9]{8,10}:AA[A-Za-z0-9_-]{32,}"),
    ("url-password", r"[a-zA-Z][a-zA-Z0-9+.-]*://[^\s/:@]*:([^\s/]+)@"),
    ("slack", r"xapp-[A-Za-z0-9-]{16,}"),
    ("groq", r"gsk_[A-Za-z0-9]{20,}"),
    ("xai", r"xai-[A-Za-z0-9]{20,}"),
    ("replicate", r"r8_[A-Za-z0-9]{20,}"),
    ("vault", r"hv[sbr]\.[A-Za-z0-9_-]{20,}"),
    ("atlassian", r"AT(?:ATT3|CTT3)[A-Za-z0-9_=-]{20,}"),
    ("google-oauth", r"GOCSPX-[A-Za-z0-9_-]{20,}"),
    ("perplexity", r"pplx-[A-Za-z0-9]{20,}"),
    ("tavily", r"tvly-[A-Za-z0-9-]{16,}"),
    ("grafana", r"gl(?:sa|c)_[A-Za-z0-9_=]{20,}"),
    ("docker", r"dckr_(?:pat|oat)_[A-Za-z0-9_-]{16,}"),
    ("supabase", r"sb(?:p|_secret)_[A-Za-z0-9_]{20,}"),
    ("new-relic", r"NRAK-[A-Z0-9]{20,}"),
    ("doppler", r"dp\.(?:pt|st|ct|sa|scim|audit)\.[A-Za-z0-9._-]{20,}"),
    ("mailgun", r"key-[0-9a-f]{32}\b"),
    ("age", r"AGE-SECRET-KEY-1[0-9A-Z]{40,}"),
    ("azure", r"(?i)[?&;]sig=([A-Za-z0-9%+/_-]{20,})"),
    ("sentry", r"https?://([0-9a-f]{32})@[a-z0-9.-]+"),
    ("discord", r"[MNO][A-Za-z0-9_-]{23,27}\.[A-Za-z0-9_-]{6}\.[A-Za-z0-9_-]{27,}"),
];

static ANY: LazyLock<RegexSet> =
    LazyLock::new(|| RegexSet::new(FORMS.iter().map(|(_, form)| form)).unwrap_or_else(|_| RegexSet::empty()));
static EACH: LazyLock<Vec<Option<Regex>>> =
    LazyLock::new(|| FORMS.iter().map(|(_, form)| Regex::new(form).ok()).collect());

/// Returns the kinds of secrets that are recognized by their form; kinds may repeat.
pub fn kinds() -> impl Iterator<Item = &'static str> {
    FORMS.iter().map(|(kind, _)| *kind)
}

/// Finds the parts of `text` that look like secrets, with their kinds, in order and without overlap.
pub fn find(text: &str) -> Vec<(Range<usize>, &'static str)> {
    let mut found: Vec<(Range<usize>, &'static str)> = Vec::new();
    for form in ANY.matches(text) {
        let Some(Some(regex)) = EACH.get(form) else { continue };
        for captures in regex.captures_iter(text) {
            if !captures.get(0).is_some_and(|whole| begins_a_word(text, whole.start())) {
                continue;
            }
            let Some(secret) =
                captures.iter().skip(1).flatten().next().filter(|_| has_group(form)).or(captures.get(0))
            else {
                continue;
            };
            if is_likely(FORMS[form].0, secret.as_str()) {
                found.push((secret.range(), FORMS[form].0));
            }
        }
    }
    // Of overlapping matches the first, and among those with the same start the longest, is kept.
    found.sort_by_key(|(span, _)| (span.start, std::cmp::Reverse(span.end)));
    let mut end = 0;
    found.retain(|(span, _)| {
        let apart = span.start >= end;
        end = end.max(span.end);
        apart
    });
    found
}

/// Returns `true` if a word can begin at `at`: the character before is no ASCII letter or digit, or it
/// belongs to an escape. Logs are coloured (ECMA-48, SGR), and texts are quoted in other texts.
fn begins_a_word(text: &str, at: usize) -> bool {
    /// Maximum length of an escape that is recognized.
    const MAX_ESCAPE: usize = 16;
    let before = &text.as_bytes()[..at];
    let before = &before[before.len().saturating_sub(MAX_ESCAPE)..];
    match before {
        [.., last] if !last.is_ascii_alphanumeric() => true,
        [] => true,
        [.., b'\\', b'n' | b'r' | b't'] => true,
        [.., b'%', high, low] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => true,
        [codes @ .., b'm'] => {
            let digits =
                codes.iter().rev().take_while(|byte| byte.is_ascii_digit() || **byte == b';').count();
            codes[..codes.len() - digits].ends_with(b"[")
        }
        _ => false,
    }
}

/// Returns `true` if a group in the form marks the secret.
fn has_group(form: usize) -> bool {
    matches!(FORMS[form].0, "bearer" | "basic" | "azure" | "sentry" | "url-password")
}

/// Returns `true` if a match is likely to be a secret: some forms also match plain words.
fn is_likely(kind: &str, said: &str) -> bool {
    match kind {
        "bearer" => !said.chars().all(|c| c.is_ascii_lowercase()),
        "basic" => STANDARD.decode(said).is_ok_and(|pair| pair.contains(&b':')),
        "openai" => said.bytes().any(|byte| byte.is_ascii_digit()),
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_found_by_their_form() {
        assert_eq!(ANY.len(), FORMS.len());
        let cases = [
            ("Authorization: Bearer abc.def-123456", "abc.def-123456", "bearer"),
            (
                "ghp_0123456789abcdefghij0123456789abcdef",
                "ghp_0123456789abcdefghij0123456789abcdef",
                "github",
            ),
            ("id AKIAABCDEFGHIJKLMNOP.", "AKIAABCDEFGHIJKLMNOP", "aws-key"),
            ("postgres://me:hush-hush@db/x", "hush-hush", "url-password"),
            ("postgres://me:pa@ss@db/x", "pa@ss", "url-password"),
            ("Basic bWU6aHVzaA== ", "bWU6aHVzaA==", "basic"),
            (
                "-----BEGIN RSA PRIVATE KEY-----\nMII\n-----END RSA PRIVATE KEY-----",
                "-----BEGIN RSA PRIVATE KEY-----\nMII\n-----END RSA PRIVATE KEY-----",
                "private-key",
            ),
            (
                "t eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.c2lnbmF0dXJl",
                "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.c2lnbmF0dXJl",
                "jwt",
            ),
        ];
        // Assembled at run time, so that no scanner of sources takes it for a leak.
        let key = format!("sk-ant-{}", "a1b2".repeat(8));
        let spoken = format!("key {key} ok");
        let built = [(spoken.as_str(), key.as_str(), "anthropic")];
        for (text, secret, kind) in cases.into_iter().chain(built) {
            let found = find(text);
            assert_eq!(found.len(), 1, "{text}: {found:?}");
            assert_eq!((&text[found[0].0.clone()], found[0].1), (secret, kind));
        }
        for before in ["\u{1b}[33m", "\u{1b}[0;31m", "x%3D", "%20", "line\\n", "MY_", "é"] {
            let key = format!("ghp_{}", "a1B2".repeat(8));
            let text = format!("{before}{key}");
            assert_eq!(find(&text), [(before.len()..text.len(), "github")], "{text:?}");
        }
        for plain in [
            "the task-oriented-planning-2026-review",
            "the token count is 12",
            "Basic Information1",
            "progressToken: 7",
            "sk-learn-something-long-name-here",
            "Bearer authentication is used",
        ] {
            assert_eq!(find(plain), [], "{plain}");
        }
    }
}
