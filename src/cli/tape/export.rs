//! `tape export`: a recording in the format of another tool.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use clap::builder::PossibleValuesParser;

use super::progress::Bar;
use super::redact;
use super::{TapeName, Unjudged, opened, query};
use crate::cli::failure::Failure;
use crate::cli::output;
use crate::cli::secrets::Secrets;
use crate::log::subject::{Prefilter, RowSubject};
use crate::tape::export::{ExportFormat, ExportSource};

/// Arguments of `tape export`.
#[derive(Debug, Args)]
pub struct Arguments {
    #[command(flatten)]
    tape: TapeName,
    /// Format of the export.
    #[arg(long, default_value = "json", value_parser = PossibleValuesParser::new(ExportFormat::ALL.map(|form| form.name)))]
    format: String,
    /// Write to this file instead of standard output.
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Only frames that match this query.
    #[arg(long, value_name = "QUERY", default_value = "")]
    filter: String,
    /// Leave secrets out: tokens and keys of known forms, and members with sensitive names.
    #[arg(long)]
    redact: bool,
    #[command(flatten)]
    secrets: Secrets,
}

/// Exports a recording.
///
/// # Errors
/// Fails if the format or the filter is invalid, the tape cannot be opened, or the output cannot be
/// written.
pub fn run(arguments: &Arguments) -> Result<ExitCode, Failure> {
    let Some(form) = ExportFormat::find(&arguments.format) else {
        return Err(Failure::usage(format!("unknown format {:?}", arguments.format)));
    };
    let query = query(&arguments.filter)?;
    let bar = Bar::new("exporting", 0);
    // An export without secrets is made from a temporary tape without secrets.
    let clean = tempfile::tempdir().map_err(Failure::usage)?;
    let tape = match arguments.redact || arguments.secrets.is_asked() {
        true => {
            let path = clean.path().join("clean.tape");
            redact::redact(&arguments.tape.tape, &path, &arguments.secrets)?.say();
            opened(&path.display().to_string())?
        }
        false => opened(&arguments.tape.tape)?,
    };
    let prefilter = Prefilter::new(&query, &tape.log, 1, tape.last);
    let mut unjudged = Unjudged::default();
    let mut source = ExportSource::new(&tape, |row| {
        let subject =
            RowSubject { prefilter: Some(&prefilter), ..RowSubject::new(&tape.world, row, &tape.log) };
        unjudged.matches(&query, &subject)
    });
    bar.of(source.frames.len() as u64);
    source.progress = Box::new(|done| bar.at(done));
    output::write_to(arguments.output.as_deref(), &mut |out| form.write(&source, out))?;
    drop(source);
    unjudged.say();
    bar.done();
    Ok(ExitCode::SUCCESS)
}
