//! `tape redact`: a recording without its secrets.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use serde_json::json;

use super::{TapeName, find, progress::Bar};
use crate::cli::failure::{Failure, FailureKind};
use crate::cli::output::{self, Format};
use crate::cli::secrets::Secrets;
use crate::log::record::Record;
use crate::tape::copy::Copy;
use crate::tape::format::{Header, write_record};
use crate::tape::part::PartFile;
use crate::tape::redact::Redactions;
use crate::tape::{care, files, library, notes};

/// Arguments of `tape redact`.
#[derive(Debug, Args)]
pub struct Arguments {
    #[command(flatten)]
    tape: TapeName,
    #[command(flatten)]
    secrets: Secrets,
    /// New tape; if not given, x.redacted.tape beside the old one.
    #[arg(short, long, value_name = "FILE", conflicts_with = "in_place")]
    output: Option<PathBuf>,
    /// Replace the tape itself; its old contents are lost.
    #[arg(long)]
    in_place: bool,
    #[arg(long = "report", value_enum, default_value_t)]
    format: Format,
}

/// Result of a redaction: the replaced values, and the number of frames that had some.
pub struct Redacted {
    found: Redactions,
    frames: u64,
}

/// Redacts a recording, and prints what was replaced and where.
///
/// # Errors
/// Fails if the tape cannot be found or read, the output exists or cannot be written, or a secret
/// would be left.
pub fn run(arguments: &Arguments) -> Result<ExitCode, Failure> {
    let path = library::find(&arguments.tape.tape).map_err(super::explain)?;
    let is_pipe = |path: &Path| path.as_os_str() == "-";
    if arguments.in_place && is_pipe(&path) {
        return Err(Failure::usage("standard input cannot be redacted in place").hint("name a file with -o"));
    }
    let to = match (&arguments.output, arguments.in_place) {
        (Some(to), _) => to.clone(),
        (None, true) => path.clone(),
        (None, false) if is_pipe(&path) => path.clone(),
        (None, false) => path.with_file_name(format!("{}.redacted.tape", files::stem(&path))),
    };
    if arguments.in_place
        && PartFile::open(&path).map_err(|error| super::explain(error.into()))?.migrated.is_some()
    {
        return Err(Failure::usage(format!("{} has an older version", path.display()))
            .hint("without --in-place a new tape is written beside it"));
    }
    if arguments.in_place && library::is_recorded(&path) {
        return Err(
            Failure::usage(format!("{} is being recorded", path.display())).hint("end its session first")
        );
    }
    if !arguments.in_place && !is_pipe(&to) && to.exists() {
        return Err(Failure::usage(format!("{} exists already", to.display()))
            .hint("name another file with -o, or redact in place with --in-place"));
    }
    if is_pipe(&to) {
        let directory = tempfile::tempdir().map_err(Failure::usage)?;
        let clean = directory.path().join("clean.tape");
        let redacted = redact(&arguments.tape.tape, &clean, &arguments.secrets)?;
        let mut file = std::fs::File::open(&clean).map_err(Failure::usage)?;
        output::write_to(None, &mut |out| std::io::copy(&mut file, out).map(drop))?;
        redacted.say();
        return Ok(ExitCode::SUCCESS);
    }
    let redacted = redact(&arguments.tape.tape, &to, &arguments.secrets)?;
    let rows: Vec<_> = redacted
        .found
        .iter()
        .map(|((kind, place), count)| {
            let value = json!({ "kind": kind, "where": place, "count": count });
            (vec![count.to_string(), kind.clone(), place.clone()], value)
        })
        .collect();
    output::list(arguments.format, &["COUNT", "KIND", "WHERE"], rows).map_err(Failure::usage)?;
    output::say(&format!(
        "{} values in {} frames; written to {}",
        redacted.count(),
        redacted.frames,
        to.display()
    ));
    Ok(ExitCode::SUCCESS)
}

/// Writes the recording called `name` to `to` without its secrets, together with its notes and
/// labels, and looks through the written records once more.
///
/// # Errors
/// Fails if the tape cannot be read or written, or a secret would be left; then nothing is written.
pub fn redact(name: &str, to: &Path, secrets: &Secrets) -> Result<Redacted, Failure> {
    let redactor = secrets.redactor()?;
    let mut reader = find(name)?;
    let length = reader.length();
    // Read all records once first: a value that is recognised late may occur earlier too.
    let bar = Bar::new("looking for secrets", length);
    let mut before = reader.again().map_err(|error| super::explain(error.into()))?;
    redactor.learn();
    while let Some(record) = before.next() {
        bar.at(before.position());
        redactor.record(&record);
    }
    bar.done();
    redactor.begin();
    let from = reader.header().clone();
    // The new tape is another recording than its parent, so it gets an id of its own.
    let header = redactor.header(&Header {
        tape: uuid::Uuid::now_v7().to_string(),
        parent: Some(from.tape.clone()),
        ..from
    });
    let failed = |error: std::io::Error| Failure::usage(format!("write {}: {error}", to.display()));
    let mut copy = Copy::create(to, &header).map_err(failed)?.filling();
    let bar = Bar::new("redacting", length);
    let mut frames = 0;
    let mut left: Vec<String> = Vec::new();
    let mut line = Vec::new();
    while let Some(record) = reader.next() {
        bar.at(reader.position());
        let clean: Record = redactor.record(&record);
        frames += u64::from(clean.frame().is_some_and(|frame| !frame.redacted.is_empty()));
        line.clear();
        write_record(&mut line, &clean, 0);
        if redactor.left(&String::from_utf8_lossy(&line)) {
            left.push(format!("record {}", clean.seq));
        }
        copy.push(&clean).map_err(failed)?;
    }
    bar.done();
    if !left.is_empty() {
        left.truncate(10);
        return Err(Failure::new(FailureKind::Check, format!("secrets would remain in {}", left.join(", ")))
            .hint("nothing was written; name them with --redact-key, --redact-path or --redact-pattern"));
    }
    let path = library::find(name).map_err(super::explain)?;
    copy.finish().map_err(failed)?;
    let place = files::notes(to).display().to_string();
    notes::copy(&path, to, &|words| redactor.words(words, "notes"))
        .map_err(|error| Failure::usage(format!("write {place}: {error}")))?;
    if to.to_str().is_some_and(|name| name.ends_with(files::ENDINGS[1])) {
        care::compress(to, &mut |_| ()).map_err(failed)?;
    }
    // Open the file that others will read, to be sure that it can be read.
    PartFile::open(to).map_err(|error| super::explain(error.into()))?;
    Ok(Redacted { found: redactor.found(), frames })
}

impl Redacted {
    fn count(&self) -> u64 {
        self.found.values().sum()
    }

    /// Prints what was replaced and where, beside the result.
    pub fn say(&self) {
        const SHOWN: usize = 50;
        output::say(&format!("redacted: {} values in {} frames", self.count(), self.frames));
        for ((kind, place), count) in self.found.iter().take(SHOWN) {
            output::say(&format!("  {count} x {kind} at {place}"));
        }
        if self.found.len() > SHOWN {
            output::say(&format!("  and in {} more places", self.found.len() - SHOWN));
        }
    }
}
