//! `tape diff`: a comparison of two recordings.

use std::process::ExitCode;

use clap::Args;

use super::report::{Judgement, render};
use super::{opened, scope};
use crate::cli::failure::{Failure, FailureKind};
use crate::cli::output;
use crate::tape::compare::{Side, compare};
use crate::tape::files;
use crate::tape::similarity::Ignored;

/// Arguments of `tape diff`.
#[derive(Debug, Args)]
pub struct Arguments {
    /// Recording as it was: a file, or the beginning of a name or id in the library.
    a: String,
    /// Recording as it is now.
    b: String,
    /// Leave this part of answers out: a JSONPath into `{"result": …}` or `{"error": …}`.
    #[arg(long, value_name = "PATH")]
    ignore: Vec<String>,
    /// Compare one session of each only.
    #[arg(long, value_name = "NUMBER")]
    session: Option<u32>,
    #[arg(long, value_enum, default_value_t)]
    output: Judgement,
}

/// Compares two recordings. The exit code is 1 if they differ.
///
/// # Errors
/// Fails if a recording cannot be opened or has no such session, or a path to ignore is invalid.
pub fn run(arguments: &Arguments) -> Result<ExitCode, Failure> {
    let Arguments { a, b, ignore, session, output } = arguments;
    let ignored = Ignored::parse(ignore).map_err(Failure::usage)?;
    let (a, b) = (opened(a)?, opened(b)?);
    let report = compare(
        &Side { world: &a.world, log: &a.log, only: scope(&a, *session)? },
        &Side { world: &b.world, log: &b.log, only: scope(&b, *session)? },
        &ignored,
    );
    let title = format!("{} → {}", files::stem(&a.path), files::stem(&b.path));
    output::print(&render(&report, &title, *output)).map_err(Failure::usage)?;
    Ok(if report.has_drift() { ExitCode::from(FailureKind::Check as u8) } else { ExitCode::SUCCESS })
}
