//! The only place that prints. Standard output belongs to results; everything else goes to
//! standard error.

use std::io::{self, IsTerminal, Write};

use clap::ValueEnum;
use comfy_table::{ContentArrangement, Table, presets};
use serde_json::Value;

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

/// Says something to the person, beside the result.
pub fn say(text: &str) {
    // What peers say is in it: it must not reach the terminal as commands.
    let text: String = text
        .chars()
        .map(|c| if c.is_control() && c != '\n' && c != '\t' { char::REPLACEMENT_CHARACTER } else { c })
        .collect();
    // With nobody to hear it there is nobody to tell.
    let _ = writeln!(io::stderr().lock(), "{text}");
}

/// A table with a header line, as wide as the terminal.
pub fn table(header: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(header);
    for row in rows {
        table.add_row(row);
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
