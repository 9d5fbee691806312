//! From key presses to commands.

use std::fmt;

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::command::{Cmd, Place};

/// One key press: a key and whether Ctrl or Alt is down.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Chord {
    code: KeyCode,
    modifiers: KeyModifiers,
}

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
}

const NAMED: [(&str, KeyCode); 13] = [
    ("Enter", KeyCode::Enter),
    ("Esc", KeyCode::Esc),
    ("Tab", KeyCode::Tab),
    ("BackTab", KeyCode::BackTab),
    ("Backspace", KeyCode::Backspace),
    ("Up", KeyCode::Up),
    ("Down", KeyCode::Down),
    ("Left", KeyCode::Left),
    ("Right", KeyCode::Right),
    ("PgUp", KeyCode::PageUp),
    ("PgDn", KeyCode::PageDown),
    ("Home", KeyCode::Home),
    ("End", KeyCode::End),
];

impl Chord {
    /// Reads a key as the command table writes it: `j`, `Ctrl-p`, `PgDn`, `Space`.
    pub fn parse(text: &str) -> Option<Self> {
        let (modifiers, name) = match text.split_once('-') {
            Some(("Ctrl", name)) if !name.is_empty() => (KeyModifiers::CONTROL, name),
            Some(("Alt", name)) if !name.is_empty() => (KeyModifiers::ALT, name),
            _ => (KeyModifiers::NONE, text),
        };
        let named = NAMED.iter().find(|(known, _)| *known == name).map(|(_, code)| *code);
        let code = match (named, name) {
            (Some(code), _) => code,
            (None, "Space") => KeyCode::Char(' '),
            (None, name) => {
                let mut characters = name.chars();
                let character = characters.next()?;
                if characters.next().is_some() {
                    return None;
                }
                KeyCode::Char(character)
            }
        };
        Some(Self { code, modifiers })
    }

    /// Reads a sequence of keys separated by spaces.
    pub fn sequence(text: &str) -> Option<Vec<Self>> {
        text.split(' ').map(Self::parse).collect()
    }

    /// The event of this key, for scripts of keys.
    pub fn event(self) -> KeyEvent {
        KeyEvent::new(self.code, self.modifiers)
    }
}

impl From<KeyEvent> for Chord {
    fn from(event: KeyEvent) -> Self {
        // Shift is in the character already; terminals differ in whether they report it too.
        let modifiers = event.modifiers & (KeyModifiers::CONTROL | KeyModifiers::ALT);
        Self { code: event.code, modifiers }
    }
}

impl fmt::Display for Chord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.modifiers.contains(KeyModifiers::CONTROL) {
            f.write_str("Ctrl-")?;
        }
        if self.modifiers.contains(KeyModifiers::ALT) {
            f.write_str("Alt-")?;
        }
        match NAMED.iter().find(|(_, code)| *code == self.code) {
            Some((name, _)) => f.write_str(name),
            None => match self.code {
                KeyCode::Char(' ') => f.write_str("Space"),
                KeyCode::Char(character) => write!(f, "{character}"),
                other => write!(f, "{other}"),
            },
        }
    }
}

impl Keymap {
    /// Takes a key press in `place`.
    pub fn press(&mut self, place: Place, chord: Chord) -> Resolved {
        self.pending.push(chord);
        let mut begun = false;
        for command in Cmd::ALL.iter().filter(|command| command.places().contains(&place)) {
            for chords in command.chords() {
                if chords == self.pending {
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

    /// Forgets a sequence that has begun. Returns whether there was one.
    pub fn cancel(&mut self) -> bool {
        let had = !self.pending.is_empty();
        self.pending.clear();
        had
    }

    /// Commands that the keys pressed so far can lead to, each with the keys still missing.
    pub fn completions(&self, place: Place) -> Vec<(String, Cmd)> {
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
        keymap.press(Place::Frames, Chord::parse(key).unwrap())
    }

    #[test]
    fn sequences_wait_for_their_end() {
        let mut keymap = Keymap::default();
        assert_eq!(press(&mut keymap, "g"), Resolved::Pending);
        assert!(
            keymap
                .completions(Place::Frames)
                .iter()
                .any(|(keys, command)| keys == "e" && *command == Cmd::NextError)
        );
        assert_eq!(press(&mut keymap, "g"), Resolved::Command(Cmd::Top));
        assert_eq!(press(&mut keymap, "g"), Resolved::Pending);
        assert_eq!(press(&mut keymap, "Q"), Resolved::Nothing);
        assert_eq!(press(&mut keymap, "j"), Resolved::Command(Cmd::Down));
    }

    #[test]
    fn keys_print_as_they_are_written() {
        for key in ["j", "Ctrl-p", "PgDn", "Space", "?", "-"] {
            assert_eq!(Chord::parse(key).unwrap().to_string(), key);
        }
    }
}
