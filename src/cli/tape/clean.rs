//! `tape clean`, `tape delete`, `tape name` and `tape tag`: what becomes of recordings.

use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;

use super::explain;
use crate::cli::failure::{Failure, Kind};
use crate::cli::output;
use crate::cli::values::bytes;
use crate::cli::values::size;
use crate::clock::Clock;
use crate::tape::files;
use crate::tape::library::{self, Entry, Wanted};
use crate::tape::notes::{self, Label};

/// Arguments of `tape clean`.
#[derive(Debug, Args)]
pub struct CleanArguments {
    /// Delete what is older than this, e.g. 30d.
    #[arg(long, value_name = "AGE", value_parser = crate::cli::values::duration)]
    older: Option<Duration>,
    /// Keep the newest of at most so many bytes in all, e.g. 2g.
    #[arg(long, value_name = "SIZE", value_parser = size)]
    keep_bytes: Option<usize>,
    /// Keep at most so many, the newest.
    #[arg(long, value_name = "COUNT")]
    keep: Option<usize>,
    /// Delete also what was named, tagged or noted.
    #[arg(long)]
    all: bool,
    /// Say what would be deleted, and delete nothing.
    #[arg(long)]
    dry_run: bool,
    /// Do not ask.
    #[arg(long)]
    yes: bool,
}

/// Arguments of `tape delete`.
#[derive(Debug, Args)]
pub struct DeleteArguments {
    /// Files, or beginnings of names or ids in the library.
    #[arg(required = true, value_name = "TAPE")]
    tapes: Vec<String>,
    /// Do not ask.
    #[arg(long)]
    yes: bool,
}

/// Arguments of `tape name`.
#[derive(Debug, Args)]
pub struct NameArguments {
    #[command(flatten)]
    tape: super::TapeName,
    /// What to call it; empty takes the name away.
    name: String,
}

/// Arguments of `tape tag`.
#[derive(Debug, Args)]
pub struct TagArguments {
    #[command(flatten)]
    tape: super::TapeName,
    /// Tags to add; with - in front, to take away.
    #[arg(required = true, allow_hyphen_values = true)]
    tags: Vec<String>,
}

/// Deletes old recordings.
pub fn clean(arguments: &CleanArguments) -> Result<ExitCode, Failure> {
    if arguments.older.is_none() && arguments.keep_bytes.is_none() && arguments.keep.is_none() {
        return Err(Failure::usage("nothing says what is to go")
            .hint("give --older 30d, --keep-bytes 2g or --keep 100; --dry-run shows what would go"));
    }
    let clock = Clock::system();
    let now = clock.wall(clock.now());
    let tapes = super::catalog(false)?.find(&Wanted::default()).map_err(Failure::usage)?;
    let (mut kept, mut kept_bytes) = (0, 0);
    // From the first that does not fit on: what is kept is the newest, not what fits best.
    let mut is_much = false;
    let mut goes = Vec::new();
    for tape in tapes {
        if (tape.is_kept && !arguments.all) || library::is_recorded(&tape.path) {
            continue;
        }
        let age = Duration::from_micros(now.saturating_sub(tape.modified));
        let is_old = arguments.older.is_some_and(|older| age > older);
        is_much |= arguments.keep_bytes.is_some_and(|most| kept_bytes + tape.bytes > most as u64);
        let is_many = arguments.keep.is_some_and(|most| kept >= most);
        if is_old || is_much || is_many {
            goes.push(tape);
        } else {
            kept += 1;
            kept_bytes += tape.bytes;
        }
    }
    if goes.is_empty() {
        output::say("nothing to delete");
        return Ok(ExitCode::SUCCESS);
    }
    delete_all(&goes, arguments.yes, arguments.dry_run)
}

/// Deletes the recordings that are named.
pub fn delete(arguments: &DeleteArguments) -> Result<ExitCode, Failure> {
    let mut goes: Vec<Entry> = Vec::new();
    for name in &arguments.tapes {
        let path = library::find(name).map_err(explain)?;
        let item = library::item(&path).ok_or_else(|| {
            Failure::usage(format!("{} is no tape", path.display())).hint("other files are for `rm`")
        })?;
        if library::is_recorded(&path) {
            return Err(
                Failure::usage(format!("{} is being recorded", path.display())).hint("end its session first")
            );
        }
        if goes.iter().all(|other| other.path != path) {
            goes.push(Entry { path, bytes: item.bytes, name: item.header.name, ..Entry::default() });
        }
    }
    delete_all(&goes, arguments.yes, false)
}

fn delete_all(goes: &[Entry], yes: bool, dry_run: bool) -> Result<ExitCode, Failure> {
    let total: u64 = goes.iter().map(|tape| tape.bytes).sum();
    for tape in goes {
        output::say(&format!("{} ({}, {})", files::stem(&tape.path), tape.name, bytes(tape.bytes)));
    }
    let what = format!("{} tapes, {}", goes.len(), bytes(total));
    if dry_run {
        output::say(&format!("would delete {what}"));
        return Ok(ExitCode::SUCCESS);
    }
    if !yes && !confirmed(&format!("Delete {what}?"))? {
        output::say("nothing was deleted");
        return Ok(ExitCode::from(Kind::Check as u8));
    }
    for tape in goes {
        library::delete(&tape.path)
            .map_err(|error| Failure::usage(format!("delete {}: {error}", tape.path.display())))?;
    }
    output::say(&format!("deleted {what}"));
    Ok(ExitCode::SUCCESS)
}

/// Asks the person; without one there is nobody who could say yes.
pub fn confirmed(question: &str) -> Result<bool, Failure> {
    if !std::io::stdin().is_terminal() || !std::io::stderr().is_terminal() {
        return Err(Failure::usage("there is no terminal to ask at").hint("--yes does it without asking"));
    }
    match inquire::Confirm::new(question).with_default(false).prompt() {
        Ok(answer) => Ok(answer),
        Err(inquire::InquireError::OperationCanceled) => Ok(false),
        Err(inquire::InquireError::OperationInterrupted) => {
            Err(Failure::new(Kind::Interrupted, "interrupted; nothing was deleted"))
        }
        Err(error) => Err(Failure::usage(error)),
    }
}

/// The file of a tape that something is to be said of.
fn labelled(name: &str) -> Result<PathBuf, Failure> {
    let path = library::find(name).map_err(explain)?;
    match path.as_os_str() == "-" {
        true => {
            Err(Failure::usage("standard input has no place where this could be kept").hint("name a file"))
        }
        false => Ok(path),
    }
}

fn label(path: &std::path::Path, label: Label) -> Result<(), Failure> {
    let clock = Clock::system();
    let written = notes::label(path, label, clock.wall(clock.now()));
    written.map_err(|error| Failure::usage(format!("write {}: {error}", files::notes(path).display())))
}

/// Names a recording.
pub fn name(arguments: &NameArguments) -> Result<ExitCode, Failure> {
    label(&labelled(&arguments.tape.tape)?, Label::Name(arguments.name.clone()))?;
    Ok(ExitCode::SUCCESS)
}

/// Tags a recording.
pub fn tag(arguments: &TagArguments) -> Result<ExitCode, Failure> {
    let path = labelled(&arguments.tape.tape)?;
    for tag in &arguments.tags {
        if tag.trim_start_matches('-').is_empty() || tag.contains(char::is_whitespace) {
            return Err(Failure::usage(format!("{tag:?} is no tag")).hint("a tag is one word"));
        }
    }
    for tag in &arguments.tags {
        label(
            &path,
            match tag.strip_prefix('-') {
                Some(tag) => Label::Untag(tag.to_owned()),
                None => Label::Tag(tag.clone()),
            },
        )?;
    }
    output::say(&format!("tags: {}", notes::labels(&path).tags.join(" ")));
    Ok(ExitCode::SUCCESS)
}
