//! From key presses to commands.

use super::chord::Chord;
use super::command::{Cmd, Pane};

/// What a key press leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Resolved {
    Command(Cmd),
    /// A key sequence has begun; these would complete it.
    Pending,
    Nothing,
}

/// The keys pressed so far of a sequence.
#[derive(Debug, Clone, Default)]
pub struct Keymap {
    pending: Vec<Chord>,
    /// The digit that ended the last sequence, for commands that take one.
    digit: Option<u32>,
}

impl Keymap {
    /// Takes a key press in `place`.
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

    /// The digit that ended the last sequence, if it was one.
    pub fn take_digit(&mut self) -> Option<u32> {
        self.digit.take()
    }

    /// Forgets a sequence that has begun. Returns whether there was one.
    pub fn cancel(&mut self) -> bool {
        let had = !self.pending.is_empty();
        self.pending.clear();
        had
    }

    /// Commands that the keys pressed so far can lead to, each with the keys still missing.
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
