//! A change of a configuration file: planned, shown, and written.

use std::path::Path;

use similar::{ChangeTag, TextDiff};

use super::document::{Document, DocumentError};
use super::entry::Entry;
use super::known::{ConfigFile, Homes};
use super::store::{Store, StoreError, write};
use super::wrapping::{WrapError, Wrapper, is_sound, unwrapped, wrapped};

/// Which way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    In,
    Out,
}

/// A file, and what is to change in it.
#[derive(Debug, Clone)]
pub struct Change {
    pub place: ConfigFile,
    pub entries: Vec<Changed>,
    before: String,
    after: String,
}

/// An entry that changes.
#[derive(Debug, Clone)]
pub struct Changed {
    pub entry: Entry,
    /// What to remember of it: what it was, and what it is now. Nothing when it is taken out.
    remembered: Option<(String, String)>,
}

/// What became of a plan.
#[derive(Debug, Default)]
pub struct Plan {
    /// None where no entry changes.
    pub change: Option<Change>,
    /// The entries that stay as they are, and why.
    pub refused: Vec<(Entry, WrapError)>,
}

/// Every file of every client that is there: those that can be read, and what is wrong with the others.
pub fn read(files: &[ConfigFile]) -> (Vec<(ConfigFile, Document)>, Vec<DocumentError>) {
    let (mut documents, mut broken) = (Vec::new(), Vec::new());
    for place in files {
        match Document::read(place) {
            Ok(document) => documents.push((place.clone(), document)),
            Err(error) => broken.push(error),
        }
    }
    (documents, broken)
}

/// The servers of every client, and what is wrong with files that could not be read.
#[derive(Debug, Default)]
pub struct Servers {
    pub found: Vec<(ConfigFile, Entry)>,
    pub broken: Vec<String>,
}

/// Every server of every client.
pub fn servers(homes: &Homes) -> Servers {
    let (documents, broken) = read(&homes.files(None));
    let of = |(place, document): (ConfigFile, Document)| {
        document.entries.into_iter().map(move |entry| (place.clone(), entry)).collect::<Vec<_>>()
    };
    Servers {
        found: documents.into_iter().flat_map(of).collect(),
        broken: broken.iter().map(ToString::to_string).collect(),
    }
}

/// What changes in one file, if these entries are wrapped or unwrapped; `data` is where is remembered what
/// they were.
pub fn plan(
    place: &ConfigFile,
    mut document: Document,
    entries: &[Entry],
    direction: Direction,
    wrapper: &Wrapper,
    data: &Path,
) -> Plan {
    let store = Store::of(data, &place.path);
    let before = document.text.clone();
    let (mut done, mut refused) = (Vec::new(), Vec::new());
    for entry in entries {
        // Places in the text move with every change.
        let is_it = |other: &&Entry| (&other.server, &other.path) == (&entry.server, &entry.path);
        let Some(entry) = document.entries.iter().find(is_it).cloned() else { continue };
        let changed = match direction {
            Direction::In => {
                wrapped(&document, &entry, wrapper).map(|(text, before, after)| (text, Some((before, after))))
            }
            Direction::Out => unwrapped(&document, &entry, store.get(&entry)).map(|text| (text, None)),
        };
        match changed {
            Ok((text, remembered)) => match Document::parse(place, text) {
                Ok(made) if is_sound(&document, &made, &entry) => {
                    document = made;
                    done.push(Changed { entry, remembered });
                }
                // Better not at all than half.
                _ => refused.push((entry, WrapError::Unusual)),
            },
            Err(why) => refused.push((entry, why)),
        }
    }
    let change = Change { place: place.clone(), before, after: document.text, entries: done };
    Plan { change: (!change.entries.is_empty()).then_some(change), refused }
}

impl Change {
    /// Writes the file. Remembers first: what is on the disk can always be taken back.
    ///
    /// # Errors
    /// When the file is read-only, was changed meanwhile, or cannot be written; then it is as it was.
    pub fn write(&self, data: &Path) -> Result<(), StoreError> {
        let mut store = Store::of(data, &self.place.path);
        for Changed { entry, remembered } in &self.entries {
            if let Some((before, after)) = remembered {
                store.remember(entry, before.clone(), after.clone())?;
            }
        }
        write(&self.place.path, &self.before, &self.after)?;
        for Changed { entry, remembered } in &self.entries {
            if remembered.is_none() {
                store.forget(entry)?;
            }
        }
        Ok(())
    }

    /// What changes, line by line, each after its sign: `-`, `+` or a space.
    pub fn lines(&self) -> Vec<(char, String)> {
        let diff = TextDiff::from_lines(&self.before, &self.after);
        let mut lines = Vec::new();
        for group in diff.grouped_ops(2) {
            for change in group.iter().flat_map(|op| diff.iter_changes(op)) {
                let sign = match change.tag() {
                    ChangeTag::Delete => '-',
                    ChangeTag::Insert => '+',
                    ChangeTag::Equal => ' ',
                };
                lines.push((sign, change.value().trim_end_matches(['\n', '\r']).to_owned()));
            }
        }
        lines
    }
}
