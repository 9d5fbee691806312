//! Secrets found so far: each has a number, and is a secret wherever it appears again.

use std::collections::{HashMap, HashSet};
use std::ops::Range;

use aho_corasick::{AhoCorasick, MatchKind};

/// Minimum bytes of a secret that is looked for elsewhere: a shorter one may be an ordinary word.
const SHORTEST: usize = 8;
/// Maximum number of secrets that are looked for: no real user has more, but a peer may try.
const MAX_SECRETS: usize = 4096;

/// Secrets found so far.
#[derive(Debug, Default)]
pub struct KnownSecrets {
    /// Numbers of the secrets of each kind, in the order in which they were found.
    numbers: HashMap<String, HashMap<String, usize>>,
    /// Secrets that are looked for in every text, with their kinds.
    literals: Vec<(String, String)>,
    looked_for: HashSet<String>,
    finder: Option<AhoCorasick>,
    is_stale: bool,
}

impl KnownSecrets {
    /// Returns the placeholder of a secret: the same for the same secret, so that repetitions are
    /// visible, without anything from which the secret could be guessed.
    pub fn placeholder(&mut self, kind: &str, secret: &str) -> String {
        if !self.numbers.contains_key(kind) {
            self.numbers.insert(kind.to_owned(), HashMap::new());
        }
        let Some(seen) = self.numbers.get_mut(kind) else { return format!("[redacted:{kind}]") };
        let next = seen.len() + 1;
        let number = match seen.get(secret) {
            Some(number) => *number,
            None => {
                seen.insert(secret.to_owned(), next);
                next
            }
        };
        match number {
            1 => format!("[redacted:{kind}]"),
            number => format!("[redacted:{kind}#{number}]"),
        }
    }

    /// Looks for `secret` in every text from now on, unless it could be an ordinary word.
    pub fn look_for(&mut self, kind: &str, secret: &str) {
        if is_literal(secret)
            && self.literals.len() < MAX_SECRETS
            && self.looked_for.insert(secret.to_owned())
        {
            self.literals.push((secret.to_owned(), kind.to_owned()));
            self.is_stale = true;
        }
    }

    /// Returns the spans of known secrets in `text`, with their kinds.
    pub fn find(&mut self, text: &str) -> Vec<(Range<usize>, String)> {
        if self.is_stale {
            self.is_stale = false;
            let words = self.literals.iter().map(|(secret, _)| secret);
            // Prefer the longest match: one secret may begin with another.
            self.finder = AhoCorasick::builder().match_kind(MatchKind::LeftmostLongest).build(words).ok();
        }
        let Some(finder) = &self.finder else { return Vec::new() };
        let found = finder.find_iter(text);
        found.map(|hit| (hit.range(), self.literals[hit.pattern().as_usize()].1.clone())).collect()
    }
}

/// Returns `true` if a secret cannot be mistaken for an ordinary word.
fn is_literal(secret: &str) -> bool {
    let is_plain =
        secret.chars().all(char::is_alphabetic) || secret.chars().all(|c| c.is_ascii_digit() || c == '.');
    // Short words and numbers also occur as names, times and sizes.
    let shortest = if is_plain { SHORTEST + SHORTEST / 2 } else { SHORTEST };
    // Method names occur in every message.
    let is_method = secret.contains('/') && secret.chars().all(|c| c.is_ascii_lowercase() || c == '/');
    secret.trim().len() >= shortest && !is_method && !super::text::is_clean(secret)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_has_a_name_and_is_found_again() {
        let mut known = KnownSecrets::default();
        assert_eq!(known.placeholder("x", "hunter2-hunter2"), "[redacted:x]");
        assert_eq!(known.placeholder("x", "swordfish-99"), "[redacted:x#2]");
        assert_eq!(known.placeholder("x", "hunter2-hunter2"), "[redacted:x]");
        known.look_for("y", "short");
        known.look_for("x", "swordfish-99");
        assert_eq!(known.find("a swordfish-99 is no short one"), [(2..14, "x".to_owned())]);
    }
}
