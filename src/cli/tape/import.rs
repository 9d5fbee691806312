//! `tape import`: recordings of other tools, as tapes.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use clap::builder::PossibleValuesParser;

use super::progress::Bar;
use crate::cli::failure::Failure;
use crate::cli::{output, record};
use crate::clock::Clock;
use crate::tape::draft::Draft;
use crate::tape::import::{ImportFormat, Imported};
use crate::tape::{library, writer};

/// Arguments of `tape import`.
#[derive(Debug, Args)]
pub struct Arguments {
    /// File to import, or - for standard input.
    file: PathBuf,
    /// Format of the file; detected from its contents if not given.
    #[arg(long, value_parser = PossibleValuesParser::new(ImportFormat::ALL.map(|form| form.name)))]
    format: Option<String>,
    /// Name of the server.
    #[arg(long)]
    name: Option<String>,
    /// Write the tape here (- for standard output) instead of to the library.
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

/// Maximum number of bytes that are read of a file.
const LARGEST: u64 = 2 << 30;

/// Imports a recording.
///
/// # Errors
/// Fails if the file cannot be read or has an unknown format, or the tape cannot be written.
pub fn run(arguments: &Arguments) -> Result<ExitCode, Failure> {
    let Arguments { file, format, name, output: to } = arguments;
    let shown = file.display();
    let failed = |error: std::io::Error| Failure::usage(format!("read {shown}: {error}"));
    let mut text = Vec::new();
    match file.as_os_str() == "-" {
        true => std::io::stdin().lock().take(LARGEST).read_to_end(&mut text),
        false => std::fs::File::open(file).and_then(|file| file.take(LARGEST).read_to_end(&mut text)),
    }
    .map_err(failed)?;
    let stem = file.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
    let stem = stem.strip_prefix("mcp-server-").unwrap_or(&stem);
    let name = name.clone().unwrap_or_else(|| if stem == "-" { "imported".into() } else { stem.to_owned() });
    let form = match format {
        Some(format) => {
            ImportFormat::find(format).ok_or_else(|| Failure::usage(format!("unknown format {format:?}")))?
        }
        None => ImportFormat::recognise(&text).map_err(|error| {
            Failure::usage(format!("{shown}: {error}")).hint("set the format with --format")
        })?,
    };
    let bar = Bar::waiting("importing");
    let read = form.read(&text, &name);
    bar.done();
    let Imported { builder, messages, remarks } =
        read.map_err(|error| Failure::usage(format!("{shown}: {error}")))?;
    const SAID: usize = 10;
    remarks.iter().take(SAID).for_each(|remark| output::say(&format!("note: {remark}")));
    if remarks.len() > SAID {
        output::say(&format!("note: {} more", remarks.len() - SAID));
    }
    if to.as_deref().is_some_and(|to| to.as_os_str() == "-") {
        let tape = builder.tape().map_err(Failure::usage)?;
        let mut lines = tape.from(0).map_err(Failure::usage)?;
        output::write_to(None, &mut |out| std::io::copy(&mut lines, out).map(drop))?;
        return Ok(ExitCode::SUCCESS);
    }
    let path = match to {
        Some(to) => to.clone(),
        None => in_library(&name)?,
    };
    save(&path, builder).map_err(|error| record::refused(&path, &error))?;
    output::say(&format!("{messages} messages from {} written to {}", form.name, path.display()));
    Ok(ExitCode::SUCCESS)
}

/// Returns a path in the library for a new tape. Creates the directory of the library.
///
/// # Errors
/// Fails if the user has no home directory, or the directory cannot be created.
pub fn in_library(name: &str) -> Result<PathBuf, Failure> {
    let directory = library::directory()
        .ok_or_else(|| Failure::usage("this user has no home directory").hint("name a file with -o"))?;
    writer::create_private_directory(&directory).map_err(Failure::usage)?;
    let clock = Clock::system();
    Ok(directory.join(library::new_name(name, clock.wall(clock.now()))))
}

fn save(path: &Path, builder: crate::tape::builder::TapeBuilder) -> std::io::Result<()> {
    if path.exists() {
        return Err(std::io::ErrorKind::AlreadyExists.into());
    }
    let draft = Draft::beside(path)?;
    builder.write(draft.file()?)?;
    draft.persist(path)
}
