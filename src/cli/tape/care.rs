//! `tape compress` and `tape migrate`: conversions of tape files.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;

use super::progress::Bar;
use super::{TapeName, explain};
use crate::cli::failure::Failure;
use crate::cli::output;
use crate::cli::record;
use crate::cli::values::bytes;
use crate::tape::part::{self, PartFile};
use crate::tape::{care, files, format, library};

/// Arguments of `tape compress`.
#[derive(Debug, Args)]
pub struct CompressArguments {
    /// Files, or beginnings of names or ids in the library.
    #[arg(required = true, value_name = "TAPE")]
    tapes: Vec<String>,
}

/// Arguments of `tape migrate`.
#[derive(Debug, Args)]
pub struct MigrateArguments {
    #[command(flatten)]
    tape: TapeName,
    /// New tape; if not given, beside the old file, which stays as it is.
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

/// Compresses recordings in place.
///
/// # Errors
/// Fails if a tape cannot be found or written, is of an older version, or is being recorded.
pub fn compress(arguments: &CompressArguments) -> Result<ExitCode, Failure> {
    for name in &arguments.tapes {
        let path = library::find(name).map_err(explain)?;
        // Compress the file that a symbolic link leads to, not the link.
        let path = std::fs::canonicalize(&path).unwrap_or(path);
        let opened = PartFile::open(&path).map_err(|error| explain(error.into()))?;
        if opened.migrated.is_some() {
            return Err(Failure::usage(format!("{} has an older version", path.display()))
                .hint("convert it with `tape migrate`"));
        }
        if library::is_recorded(&path) {
            return Err(
                Failure::usage(format!("{} is being recorded", path.display())).hint("end its session first")
            );
        }
        let length = |path: &Path| std::fs::metadata(path).map_or(0, |metadata| metadata.len());
        let parts = part::parts(&path);
        let before: u64 = parts.iter().map(|part| length(part)).sum();
        let bar = Bar::new("compressing", before);
        let (mut done, mut after) = (0, 0);
        for part in parts {
            let size = length(&part);
            let packed = care::compress(&part, &mut |read| bar.at(done + read))
                .map_err(|error| Failure::usage(format!("compress {}: {error}", part.display())))?;
            done += size;
            after += length(&packed);
        }
        bar.done();
        output::say(&format!("{}: {} to {}", files::stem(&path), bytes(before), bytes(after)));
    }
    Ok(ExitCode::SUCCESS)
}

/// Converts a recording of an older version to the present one.
///
/// # Errors
/// Fails if the tape cannot be found, or the new one cannot be written or exists already.
pub fn migrate(arguments: &MigrateArguments) -> Result<ExitCode, Failure> {
    let path = library::find(&arguments.tape.tape).map_err(explain)?;
    let part = PartFile::open(&path).map_err(|error| explain(error.into()))?;
    let Some(version) = part.migrated else {
        output::say(&format!("{} already has version {}", path.display(), format::VERSION));
        return Ok(ExitCode::SUCCESS);
    };
    if arguments.output.is_none() && path.as_os_str() == "-" {
        return Err(Failure::usage("no default output for standard input").hint("name a file with -o"));
    }
    let to = arguments.output.clone().unwrap_or_else(|| {
        let name = match files::is_tape(&path) {
            true => format!("{}.v{}.tape", files::stem(&path), format::VERSION),
            false => format!("{}.tape", files::stem(&path)),
        };
        path.with_file_name(name)
    });
    if to.as_os_str() == "-" {
        let mut from = part.source.from(0).map_err(Failure::usage)?;
        output::write_to(None, &mut |out| std::io::copy(&mut from, out).map(drop))?;
        return Ok(ExitCode::SUCCESS);
    }
    care::save(&part.source, &to).map_err(|error| record::refused(&to, &error))?;
    output::say(&format!("version {version} written as version {} to {}", format::VERSION, to.display()));
    Ok(ExitCode::SUCCESS)
}
