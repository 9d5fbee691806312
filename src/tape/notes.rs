//! Notes, bookmarks, name and tags of a tape, as lines of a file beside it, since the tape itself
//! may not change any more.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::draft::Draft;
use super::files;
use crate::log::record::{Level, Note, Seq};

/// A line of the file: a note, or a change of the name or the tags.
#[derive(Default, Serialize, Deserialize)]
struct Line {
    /// Time of writing, in microseconds since the Unix epoch.
    #[serde(default)]
    at: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    frame: Option<Seq>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    mark: Option<char>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    by: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    text: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    tag: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    untag: Option<String>,
}

/// Name and tags of a tape.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Labels {
    /// Name that a person gave it.
    pub name: Option<String>,
    /// Tags, in the order in which they were added.
    pub tags: Vec<String>,
    noted: bool,
}

/// A change of the name or the tags of a tape.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Label {
    /// Sets the name; an empty one removes it.
    Name(String),
    /// Adds a tag.
    Tag(String),
    /// Removes a tag.
    Untag(String),
}

impl Labels {
    /// Returns `true` if somebody named, tagged or noted the tape, and so wants to keep it.
    pub fn is_kept(&self) -> bool {
        self.noted || self.name.is_some() || !self.tags.is_empty()
    }
}

fn lines(path: &Path) -> Vec<Line> {
    // Standard input has no file beside it.
    if path.as_os_str() == "-" {
        return Vec::new();
    }
    let Ok(bytes) = std::fs::read(files::notes(path)) else { return Vec::new() };
    // Invalid lines are left out: somebody may have edited the file.
    bytes.split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice(line).ok()).collect()
}

/// Returns the notes beside the tape at `path`, in the order in which they were written.
pub fn read(path: &Path) -> Vec<Note> {
    let note = |line: Line| {
        let Line { frame, mark, by, text, .. } = line;
        Some(Note { frame, mark, level: Level::Info, by: by?.into(), text: text? })
    };
    lines(path).into_iter().filter_map(note).collect()
}

/// Returns the name and the tags of the tape at `path`.
pub fn labels(path: &Path) -> Labels {
    let mut labels = Labels::default();
    for line in lines(path) {
        labels.noted |= line.text.is_some();
        labels.name = line.name.or(labels.name);
        if let Some(tag) = line.untag {
            labels.tags.retain(|other| *other != tag);
        }
        labels.tags.extend(line.tag.filter(|tag| !labels.tags.contains(tag)));
    }
    labels.name = labels.name.filter(|name| !name.is_empty());
    labels
}

/// Adds a note to those beside the tape at `path`; `at` is in microseconds since the Unix epoch.
///
/// # Errors
/// Returns an error if the file cannot be written.
pub fn add(path: &Path, note: &Note, at: u64) -> io::Result<()> {
    let Note { frame, mark, by, text, .. } = note;
    let line = Line {
        at,
        frame: *frame,
        mark: *mark,
        by: Some(by.to_string()),
        text: Some(text.clone()),
        ..Line::default()
    };
    append(path, &line)
}

/// Names or tags the tape at `path`; `at` is in microseconds since the Unix epoch.
///
/// # Errors
/// Returns an error if the file cannot be written.
pub fn label(path: &Path, label: Label, at: u64) -> io::Result<()> {
    let line = match label {
        Label::Name(name) => Line { at, name: Some(name), ..Line::default() },
        Label::Tag(tag) => Line { at, tag: Some(tag), ..Line::default() },
        Label::Untag(untag) => Line { at, untag: Some(untag), ..Line::default() },
    };
    append(path, &line)
}

/// Copies the notes file of the tape at `from` to that of the tape at `to`, which may be the same,
/// with each text replaced by the result of `change`.
///
/// # Errors
/// Returns an error if the file cannot be written; it is unchanged then.
pub fn copy(from: &Path, to: &Path, change: &dyn Fn(&str) -> String) -> io::Result<()> {
    let mut all = Vec::new();
    for mut line in lines(from) {
        let texts = [&mut line.by, &mut line.text, &mut line.name, &mut line.tag, &mut line.untag];
        for text in texts.into_iter().flatten() {
            *text = change(text);
        }
        serde_json::to_writer(&mut all, &line)?;
        all.push(b'\n');
    }
    if all.is_empty() {
        return Ok(());
    }
    let place = files::notes(to);
    let draft = Draft::beside(&place)?;
    draft.file()?.write_all(&all)?;
    draft.persist(&place)
}

fn append(path: &Path, line: &Line) -> io::Result<()> {
    let mut line = serde_json::to_vec(line)?;
    line.push(b'\n');
    let place = files::notes(path);
    let mut file = OpenOptions::new().append(true).create(true).mode(0o600).open(&place)?;
    if std::fs::read(&place)?.last().is_some_and(|last| *last != b'\n') {
        // The last line is incomplete, as its writer was interrupted: begin a new one.
        line.insert(0, b'\n');
    }
    // A single write keeps the lines of two processes apart.
    file.write_all(&line)
}
