//! The only place that prints. Standard output belongs to results; everything else goes to
//! standard error.

use std::io::{self, IsTerminal, Write};

use std::path::Path;

use clap::ValueEnum;
use comfy_table::{ContentArrangement, Table, presets};
use serde_json::Value;

use super::failure::Failure;
use crate::mcp::layout;

/// The form of a result.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum Format {
    /// For people.
    #[default]
    #[value(alias = "text")]
    Table,
    /// For programs: one array or object.
    Json,
    /// For people and programs.
    Yaml,
}

/// When to use colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum Color {
    #[default]
    Auto,
    Always,
    Never,
}

impl Color {
    /// Whether to colour what goes to standard output.
    pub fn is_on(self) -> bool {
        match self {
            Self::Always => true,
            Self::Never => false,
            Self::Auto => std::env::var_os("NO_COLOR").is_none() && io::stdout().is_terminal(),
        }
    }
}

/// Prints a result. A closed pipe is the reader's way to say that it has seen enough.
///
/// # Errors
/// When it cannot be written for another reason.
pub fn print(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => other,
    }
}

/// Writes a result to a file, or to standard output where none is named. A file has its name only
/// when it is whole.
///
/// # Errors
/// When it cannot be written; then a file of that name is as it was.
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
    // A link stays one, and what is no file (a pipe, a device) is written to as it is.
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

/// Says something to the person, beside the result.
pub fn say(text: &str) {
    // With nobody to hear it there is nobody to tell.
    let _ = writeln!(io::stderr().lock(), "{}", harmless(text));
}

/// Text of peers, which must not reach the terminal as commands.
pub fn harmless(text: &str) -> String {
    let safe = |c: char| match layout::is_harmful(c) && c != '\n' && c != '\t' {
        true => char::REPLACEMENT_CHARACTER,
        false => c,
    };
    text.chars().map(safe).collect()
}

/// A table with a header line, as wide as the terminal.
pub fn table(header: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(header);
    for row in rows {
        // What peers wrote must not reach the terminal as commands, nor break its row.
        table.add_row(row.iter().map(|cell| harmless(cell).replace(['\n', '\t'], " ")));
    }
    table.lines().map(|line| line.trim_end().to_owned() + "\n").collect()
}

/// Prints rows as a table, or as an array of objects.
///
/// # Errors
/// When it cannot be written.
pub fn list(format: Format, header: &[&str], rows: Vec<(Vec<String>, Value)>) -> io::Result<()> {
    match format {
        Format::Table => print(&table(header, rows.into_iter().map(|(cells, _)| cells))),
        Format::Json => {
            let values: Vec<Value> = rows.into_iter().map(|(_, value)| value).collect();
            print(&(pretty(&Value::from(values)) + "\n"))
        }
        Format::Yaml => print(&rows.iter().map(|(_, value)| yaml_item(value)).collect::<String>()),
    }
}

/// A value as YAML; nested values are written as JSON, which is YAML.
pub fn yaml(value: &Value) -> String {
    match value {
        Value::Object(members) => members.iter().map(|(key, value)| format!("{key}: {value}\n")).collect(),
        other => format!("{other}\n"),
    }
}

/// A value as indented JSON.
pub fn pretty(value: &Value) -> String {
    format!("{value:#}")
}

/// One item of a YAML sequence. Scalars and nested values are written as JSON, which is YAML.
fn yaml_item(value: &Value) -> String {
    match value {
        Value::Object(members) => members
            .iter()
            .enumerate()
            .map(|(index, (key, value))| format!("{} {key}: {value}\n", if index == 0 { "-" } else { " " }))
            .collect(),
        other => format!("- {other}\n"),
    }
}
