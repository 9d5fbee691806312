//! Output of the program; the only module that prints. Standard output carries results, standard
//! error everything else.

use std::io::{self, IsTerminal, Write};

use std::path::Path;

use clap::ValueEnum;
use comfy_table::{ContentArrangement, Table, presets};
use serde_json::Value;

use super::failure::Failure;
use crate::mcp::{json, layout};

/// Output format of a result.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum Format {
    /// Table, for people.
    #[default]
    #[value(alias = "text")]
    Table,
    /// JSON, for programs: one array or object.
    Json,
    /// YAML, for people and programs.
    Yaml,
}

/// Use of colours on standard output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum Color {
    /// Colours if standard output is a terminal and NO_COLOR is not set.
    #[default]
    Auto,
    /// Colours always.
    Always,
    /// No colours.
    Never,
}

impl Color {
    /// Returns `true` if results on standard output are coloured.
    pub fn is_on(self) -> bool {
        match self {
            Self::Always => true,
            Self::Never => false,
            Self::Auto => std::env::var_os("NO_COLOR").is_none() && io::stdout().is_terminal(),
        }
    }
}

/// Prints a result to standard output. A closed pipe is a success: its reader has seen enough.
///
/// # Errors
/// Fails if standard output cannot be written for another reason.
pub fn print(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => other,
    }
}

/// Writes a result to a file, or to standard output if `path` is `None` or `-`. A new file replaces
/// the old one under its name only when it is complete.
///
/// # Errors
/// Fails if the result cannot be written; an existing regular file is then unchanged.
pub fn write_to(
    path: Option<&Path>,
    write: &mut dyn FnMut(&mut dyn Write) -> io::Result<()>,
) -> Result<(), Failure> {
    let Some(path) = path.filter(|path| path.as_os_str() != "-") else {
        let mut out = io::BufWriter::new(io::stdout().lock());
        return match write(&mut out).and_then(|()| out.flush()) {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            other => other.map_err(Failure::usage),
        };
    };
    let failed = |error: io::Error| {
        Failure::usage(format!("write {}: {error}", path.display()))
            .hint("check the directory, or name another file")
    };
    // Symbolic links stay links. A path that is not a regular file (a pipe, a device) is written
    // directly.
    let path = &std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let before = std::fs::metadata(path).ok();
    if before.as_ref().is_some_and(|before| !before.is_file()) {
        let file = std::fs::File::options().write(true).open(path).map_err(failed)?;
        let mut out = io::BufWriter::new(file);
        return write(&mut out).and_then(|()| out.flush()).map_err(failed);
    }
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let file = tempfile::NamedTempFile::new_in(directory).map_err(failed)?;
    let mut out = io::BufWriter::new(file);
    write(&mut out).map_err(failed)?;
    let file = out.into_inner().map_err(|error| failed(error.into_error()))?;
    if let Some(before) = before {
        file.as_file().set_permissions(before.permissions()).map_err(failed)?;
    }
    file.persist(path).map_err(|error| failed(error.error))?;
    Ok(())
}

/// Writes a message for the user to standard error, apart from the result.
pub fn say(text: &str) {
    // An error on standard error cannot be reported anywhere; ignore it.
    let _ = writeln!(io::stderr().lock(), "{}", harmless(text));
}

/// Replaces characters in text of peers that could control the terminal. Newlines and tabs stay.
pub fn harmless(text: &str) -> String {
    let safe = |c: char| match layout::is_harmful(c) && c != '\n' && c != '\t' {
        true => char::REPLACEMENT_CHARACTER,
        false => c,
    };
    text.chars().map(safe).collect()
}

/// Formats rows as a table with a header line and columns as wide as their contents.
pub fn table(header: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(header);
    for row in rows {
        // Text of peers must neither control the terminal nor break its row.
        table.add_row(row.iter().map(|cell| harmless(cell).replace(['\n', '\t'], " ")));
    }
    table.lines().map(|line| line.trim_end().to_owned() + "\n").collect()
}

/// A value for programs, as JSON text: messages of peers stay as they were spelled.
pub struct JsonText(String);

impl JsonText {
    /// Takes a text that is JSON.
    pub fn of(text: String) -> Self {
        Self(text)
    }

    /// Returns the text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Formats the value as YAML. Nested values are written as JSON, a subset of YAML.
    pub fn yaml(&self) -> String {
        self.yaml_lines("", "")
    }

    fn yaml_lines(&self, first: &str, rest: &str) -> String {
        let text = self.0.as_bytes();
        let members = json::members(text, 0..text.len()).enumerate().map(|(at, member)| {
            let indent = if at == 0 { first } else { rest };
            let key = json::unescape(&text[member.key]).unwrap_or_default().into_owned();
            format!("{indent}{key}: {}\n", &self.0[member.value])
        });
        match self.0.starts_with('{') {
            true => members.collect(),
            false => format!("{first}{}\n", self.0),
        }
    }
}

impl From<Value> for JsonText {
    fn from(value: Value) -> Self {
        Self(value.to_string())
    }
}

/// Prints rows as a table, or their values as a JSON or YAML array.
///
/// # Errors
/// Fails if standard output cannot be written.
pub fn list(
    format: Format,
    header: &[&str],
    rows: Vec<(Vec<String>, impl Into<JsonText>)>,
) -> io::Result<()> {
    match format {
        Format::Table => print(&table(header, rows.into_iter().map(|(cells, _)| cells))),
        Format::Json => {
            let values: Vec<String> = rows.into_iter().map(|(_, value)| value.into().0).collect();
            print(&(layout::pretty(&format!("[{}]", values.join(","))) + "\n"))
        }
        Format::Yaml => {
            let items = rows.into_iter().map(|(_, value)| value.into().yaml_lines("- ", "  "));
            print(&items.collect::<String>())
        }
    }
}

/// Formats a value as YAML. Nested values are written as JSON, a subset of YAML.
pub fn yaml(value: &Value) -> String {
    match value {
        Value::Object(members) => members.iter().map(|(key, value)| format!("{key}: {value}\n")).collect(),
        other => format!("{other}\n"),
    }
}

/// Formats a value as indented JSON.
pub fn pretty(value: &Value) -> String {
    format!("{value:#}")
}
