//! What people say of a tape that may not change any more: notes, bookmarks, its name, tags. A file
//! of lines beside it.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::draft::Draft;
use super::files;
use crate::log::record::{Level, Note, Seq};

/// One line of the file: a note, or what a tape is called from then on.
#[derive(Default, Serialize, Deserialize)]
struct Line {
    /// When it was written, microseconds since the Unix epoch.
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

/// What a tape is called, and how it is tagged.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Labels {
    pub name: Option<String>,
    pub tags: Vec<String>,
    noted: bool,
}

/// A change of the labels of a tape.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Label {
    Name(String),
    Tag(String),
    Untag(String),
}

impl Labels {
    /// Whether somebody said anything of the tape, and so wants to keep it.
    pub fn is_kept(&self) -> bool {
        self.noted || self.name.is_some() || !self.tags.is_empty()
    }
}

fn lines(path: &Path) -> Vec<Line> {
    // Standard input has no place where notes could lie.
    if path.as_os_str() == "-" {
        return Vec::new();
    }
    let Ok(bytes) = std::fs::read(files::notes(path)) else { return Vec::new() };
    // A line that is none is left out: somebody may have edited the file.
    bytes.split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice(line).ok()).collect()
}

/// The notes beside the tape at `path`, in the order in which they were written.
pub fn read(path: &Path) -> Vec<Note> {
    let note = |line: Line| {
        let Line { frame, mark, by, text, .. } = line;
        Some(Note { frame, mark, level: Level::Info, by: by?.into(), text: text? })
    };
    lines(path).into_iter().filter_map(note).collect()
}

/// What the tape at `path` is called, and how it is tagged.
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

/// Adds a note to those beside the tape at `path`; `at` in microseconds since the Unix epoch.
///
/// # Errors
/// When the file cannot be written.
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

/// Names or tags the tape at `path`; `at` in microseconds since the Unix epoch.
///
/// # Errors
/// When the file cannot be written.
pub fn label(path: &Path, label: Label, at: u64) -> io::Result<()> {
    let line = match label {
        Label::Name(name) => Line { at, name: Some(name), ..Line::default() },
        Label::Tag(tag) => Line { at, tag: Some(tag), ..Line::default() },
        Label::Untag(untag) => Line { at, untag: Some(untag), ..Line::default() },
    };
    append(path, &line)
}

/// Writes what is said of the tape at `from` to beside the one at `to`, which may be the same, with
/// each text as `change` makes it.
///
/// # Errors
/// When the file cannot be written; then it is as it was.
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
        // Somebody was interrupted in a line.
        line.insert(0, b'\n');
    }
    // One write, so that two processes do not mix their lines.
    file.write_all(&line)
}
