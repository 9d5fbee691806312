//! Keys: parsing and formatting of their names, and conversion from terminal events.

use std::fmt;

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

/// Key press: a key, and whether Ctrl or Alt is down.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Chord {
    code: KeyCode,
    modifiers: KeyModifiers,
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
    /// Returns the digit of the key, if it is one.
    pub fn digit(self) -> Option<u32> {
        match self.code {
            KeyCode::Char(character) => character.to_digit(10),
            _ => None,
        }
    }

    /// Parses a key as the command table writes it: `j`, `Ctrl-p`, `PgDn`, `Space`.
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

    /// Parses a sequence of keys separated by spaces.
    pub fn sequence(text: &str) -> Option<Vec<Self>> {
        text.split(' ').map(Self::parse).collect()
    }

    /// Returns the terminal event of this key, for scripted keys.
    pub fn event(self) -> KeyEvent {
        KeyEvent::new(self.code, self.modifiers)
    }
}

impl From<KeyEvent> for Chord {
    fn from(event: KeyEvent) -> Self {
        // Shift is part of the character already; terminals differ in whether they report it too.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_print_as_they_are_written() {
        for key in ["j", "Ctrl-p", "PgDn", "Space", "?", "-"] {
            assert_eq!(Chord::parse(key).unwrap().to_string(), key);
        }
    }
}
