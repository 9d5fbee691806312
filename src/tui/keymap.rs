//! Key bindings: from key presses to commands.

use super::chord::Chord;
use super::command::{Cmd, Pane};

/// Result of a key press.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Resolved {
    /// Command whose key sequence is complete.
    Command(Cmd),
    /// Key sequence that has begun and can be completed.
    Pending,
    /// No key sequence; the keys pressed so far are forgotten.
    Nothing,
}

/// Keys pressed so far of a sequence.
#[derive(Debug, Clone, Default)]
pub struct Keymap {
    pending: Vec<Chord>,
    /// Digit that ended the last sequence, for commands that take one.
    digit: Option<u32>,
}

impl Keymap {
    /// Handles a key press in `place`.
    pub fn press(&mut self, place: Pane, chord: Chord) -> Resolved {
        self.pending.push(chord);
        let mut begun = false;
        for command in Cmd::ALL.iter().filter(|command| command.places().contains(&place)) {
            for chords in command.chords() {
                if chords == self.pending {
                    self.digit = chord.digit();
                    self.pending.clear();
                    return Resolved::Command(*command);
                }
                begun |= chords.starts_with(&self.pending);
            }
        }
        if begun {
            return Resolved::Pending;
        }
        self.pending.clear();
        Resolved::Nothing
    }

    /// Takes the digit that ended the last sequence, if it was one.
    pub fn take_digit(&mut self) -> Option<u32> {
        self.digit.take()
    }

    /// Forgets a sequence that has begun. Returns `true` if there was one.
    pub fn cancel(&mut self) -> bool {
        let had = !self.pending.is_empty();
        self.pending.clear();
        had
    }

    /// Returns the commands that the keys pressed so far can lead to, each with the keys still
    /// missing.
    pub fn completions(&self, place: Pane) -> Vec<(String, Cmd)> {
        if self.pending.is_empty() {
            return Vec::new();
        }
        let mut completions = Vec::new();
        for command in Cmd::ALL.iter().filter(|command| command.places().contains(&place)) {
            for chords in command.chords().filter(|chords| chords.starts_with(&self.pending)) {
                let rest: Vec<String> = chords[self.pending.len()..].iter().map(Chord::to_string).collect();
                completions.push((rest.join(" "), *command));
            }
        }
        completions
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn press(keymap: &mut Keymap, key: &str) -> Resolved {
        keymap.press(Pane::Frames, Chord::parse(key).unwrap())
    }

    #[test]
    fn sequences_wait_for_their_end() {
        let mut keymap = Keymap::default();
        assert_eq!(press(&mut keymap, "g"), Resolved::Pending);
        assert!(
            keymap
                .completions(Pane::Frames)
                .iter()
                .any(|(keys, command)| keys == "e" && *command == Cmd::NextError)
        );
        assert_eq!(press(&mut keymap, "g"), Resolved::Command(Cmd::Top));
        assert_eq!(press(&mut keymap, "g"), Resolved::Pending);
        assert_eq!(press(&mut keymap, "Q"), Resolved::Nothing);
        assert_eq!(press(&mut keymap, "j"), Resolved::Command(Cmd::Down));
    }
}
