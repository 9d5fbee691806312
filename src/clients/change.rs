//! Changes of a configuration file: planned, shown, and written.

use std::path::PathBuf;

use similar::{ChangeTag, TextDiff};

use super::document::{Document, DocumentError};
use super::entry::ServerEntry;
use super::known::{ConfigFile, Homes};
use super::store::{Originals, StoreError, write};
use super::wrapping::{WrapError, Wrapper, is_sound, unwrapped, wrapped};

/// Direction of a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wrapping {
    /// Into the configuration: wrap servers.
    In,
    /// Out of the configuration: unwrap servers.
    Out,
}

/// Change of one configuration file.
#[derive(Debug, Clone)]
pub struct ConfigChange {
    /// File to change.
    pub place: ConfigFile,
    /// Entries that change.
    pub entries: Vec<ChangedEntry>,
    before: String,
    after: String,
}

/// Entry that changes.
#[derive(Debug, Clone)]
pub struct ChangedEntry {
    /// Entry before the change.
    pub entry: ServerEntry,
    /// Text of the entry before and after wrapping, for the store; `None` when it is unwrapped.
    remembered: Option<(String, String)>,
}

/// Result of planning a change of one file.
#[derive(Debug, Default)]
pub struct Plan {
    /// Change to write, or `None` if no entry changes.
    pub change: Option<ConfigChange>,
    /// Entries that stay as they are, and the reasons.
    pub refused: Vec<(ServerEntry, WrapError)>,
}

/// Reads configuration files. Returns those that can be read, and the errors of the others.
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

/// Servers of every client, and what is wrong with files that could not be read.
#[derive(Debug, Default)]
pub struct Servers {
    /// Servers, each with the file that names it.
    pub found: Vec<(ConfigFile, ServerEntry)>,
    /// Messages about files that could not be read.
    pub broken: Vec<String>,
}

/// Finds the servers in the configuration files of every client.
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

/// Plans to wrap or unwrap `entries` in one file. `data` is the directory of the store that remembers
/// the texts before wrapping.
pub fn plan(
    place: &ConfigFile,
    mut document: Document,
    entries: &[ServerEntry],
    direction: Wrapping,
    wrapper: &Wrapper,
    data: &[PathBuf],
) -> Plan {
    let store = Originals::of(data, &place.path);
    let before = document.text.clone();
    let (mut done, mut refused) = (Vec::new(), Vec::new());
    for entry in entries {
        // Places in the text move with each change: find the entry anew.
        let is_it = |other: &&ServerEntry| (&other.server, &other.path) == (&entry.server, &entry.path);
        let Some(entry) = document.entries.iter().find(is_it).cloned() else { continue };
        let changed = match direction {
            Wrapping::In => {
                wrapped(&document, &entry, wrapper).map(|(text, before, after)| (text, Some((before, after))))
            }
            Wrapping::Out => unwrapped(&document, &entry, store.get(&entry)).map(|text| (text, None)),
        };
        match changed {
            Ok((text, remembered)) => match Document::parse(place, text) {
                Ok(made) if is_sound(&document, &made, &entry) => {
                    document = made;
                    done.push(ChangedEntry { entry, remembered });
                }
                // Better no change than half a change.
                _ => refused.push((entry, WrapError::Unusual)),
            },
            Err(why) => refused.push((entry, why)),
        }
    }
    let change = ConfigChange { place: place.clone(), before, after: document.text, entries: done };
    Plan { change: (!change.entries.is_empty()).then_some(change), refused }
}

impl ConfigChange {
    /// Writes the file. The store is written first, so that every change on the disk can be taken
    /// back.
    ///
    /// # Errors
    /// Fails if the file is read-only, was changed meanwhile, or cannot be written, or if the store
    /// cannot be written. If the error is of the file, its text is unchanged.
    pub fn write(&self, data: &[PathBuf]) -> Result<(), StoreError> {
        let mut store = Originals::of(data, &self.place.path);
        for ChangedEntry { entry, remembered } in &self.entries {
            if let Some((before, after)) = remembered {
                store.remember(entry, before.clone(), after.clone())?;
            }
        }
        write(&self.place.path, &self.before, &self.after)?;
        for ChangedEntry { entry, remembered } in &self.entries {
            if remembered.is_none() {
                store.forget(entry)?;
            }
        }
        Ok(())
    }

    /// Returns the changed lines and two lines around them, each with its sign: `-`, `+` or a space.
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
