//! Completion of fields and of values that were seen.

use std::ops::Range;

use super::Field;

/// The possible completions at the cursor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Completion {
    /// The bytes of the text that a candidate replaces.
    pub span: Range<usize>,
    /// Candidates, each with a short help text.
    pub candidates: Vec<(String, String)>,
}

/// Completes the word that ends at byte `cursor` of `text`. `seen` returns the values that a field has
/// had so far.
pub fn complete(text: &str, cursor: usize, seen: &dyn Fn(Field) -> Vec<String>) -> Completion {
    let mut cursor = cursor.min(text.len());
    while !text.is_char_boundary(cursor) {
        cursor -= 1;
    }
    let head = &text[..cursor];
    let start = head.rfind([' ', '(', '-', '!']).map_or(0, |at| at + 1);
    let word = &head[start..];
    let Some((name, value)) = word.split_once(':') else {
        let candidates = Field::ALL
            .iter()
            .filter(|field| field.word().starts_with(word))
            .map(|field| (format!("{}:", field.word()), field.help().to_owned()))
            .collect();
        return Completion { span: start..cursor, candidates };
    };
    let Some(field) = Field::ALL.iter().copied().find(|field| field.word() == name) else {
        return Completion { span: cursor..cursor, candidates: Vec::new() };
    };
    let last = value.rfind(['|', ',']).map_or(0, |at| at + 1);
    let part = &value[last..];
    let mut values: Vec<String> = field.values().iter().map(|value| (*value).to_owned()).collect();
    values.extend(seen(field));
    let lower = part.to_ascii_lowercase();
    values.retain(|value| value.to_ascii_lowercase().starts_with(&lower) && value != part);
    values.dedup();
    let candidates = values.into_iter().map(|value| (value, field.help().to_owned())).collect();
    Completion { span: cursor - part.len()..cursor, candidates }
}
