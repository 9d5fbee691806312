//! The secrets that were found so far: each has a name of its own, and is one wherever it appears
//! again.

use std::collections::{HashMap, HashSet};
use std::ops::Range;

use aho_corasick::{AhoCorasick, MatchKind};

/// What is shorter may be a word like any other, and is not looked for elsewhere.
const SHORTEST: usize = 8;
/// So many are looked for elsewhere; nobody has more, but a peer may try.
const MAX_SECRETS: usize = 4096;

/// The secrets that were found.
#[derive(Debug, Default)]
pub struct Known {
    /// What each kind of them has seen, in the order in which it did.
    numbers: HashMap<String, HashMap<String, usize>>,
    /// Those that are looked for in every text, with their kinds.
    literals: Vec<(String, String)>,
    looked_for: HashSet<String>,
    finder: Option<AhoCorasick>,
    is_stale: bool,
}

impl Known {
    /// What stands for a secret: the same for the same one, so that it can be seen where it comes
    /// again, and nothing that it could be guessed from.
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

    /// From now on this is a secret wherever it stands.
    pub fn look_for(&mut self, kind: &str, secret: &str) {
        if is_literal(secret)
            && self.literals.len() < MAX_SECRETS
            && self.looked_for.insert(secret.to_owned())
        {
            self.literals.push((secret.to_owned(), kind.to_owned()));
            self.is_stale = true;
        }
    }

    /// Where `text` has secrets that were found before, and of which kind.
    pub fn find(&mut self, text: &str) -> Vec<(Range<usize>, String)> {
        if self.is_stale {
            self.is_stale = false;
            let words = self.literals.iter().map(|(secret, _)| secret);
            // The longest first: one secret may begin with another.
            self.finder = AhoCorasick::builder().match_kind(MatchKind::LeftmostLongest).build(words).ok();
        }
        let Some(finder) = &self.finder else { return Vec::new() };
        let found = finder.find_iter(text);
        found.map(|hit| (hit.range(), self.literals[hit.pattern().as_usize()].1.clone())).collect()
    }
}

/// Whether a secret is told from other words by itself.
fn is_literal(secret: &str) -> bool {
    let is_plain =
        secret.chars().all(char::is_alphabetic) || secret.chars().all(|c| c.is_ascii_digit() || c == '.');
    // A number of few digits is a time or a size as well.
    let shortest = if is_plain { SHORTEST + SHORTEST / 2 } else { SHORTEST };
    // Method names are everywhere.
    let is_method = secret.contains('/') && secret.chars().all(|c| c.is_ascii_lowercase() || c == '/');
    secret.trim().len() >= shortest && !is_method && !super::text::is_clean(secret)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_has_a_name_and_is_found_again() {
        let mut known = Known::default();
        assert_eq!(known.placeholder("x", "hunter2-hunter2"), "[redacted:x]");
        assert_eq!(known.placeholder("x", "swordfish-99"), "[redacted:x#2]");
        assert_eq!(known.placeholder("x", "hunter2-hunter2"), "[redacted:x]");
        known.look_for("y", "short");
        known.look_for("x", "swordfish-99");
        assert_eq!(known.find("a swordfish-99 is no short one"), [(2..14, "x".to_owned())]);
    }
}
