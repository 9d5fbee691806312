//! `tape clean`, `tape delete`, `tape name` and `tape tag`: deletion and labels of recordings.

use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;

use super::explain;
use crate::cli::failure::{Failure, FailureKind};
use crate::cli::output;
use crate::cli::values::bytes;
use crate::cli::values::size;
use crate::clock::Clock;
use crate::tape::files;
use crate::tape::library::{self, ListedTape, Wanted};
use crate::tape::notes::{self, Label};

/// Arguments of `tape clean`.
#[derive(Debug, Args)]
pub struct CleanArguments {
    /// Delete tapes that are older than this, e.g. 30d.
    #[arg(long, value_name = "AGE", value_parser = crate::cli::values::duration)]
    older: Option<Duration>,
    /// Keep the newest tapes of at most so many bytes in all, e.g. 2g.
    #[arg(long, value_name = "SIZE", value_parser = size)]
    keep_bytes: Option<usize>,
    /// Keep at most so many tapes, the newest.
    #[arg(long, value_name = "COUNT")]
    keep: Option<usize>,
    /// Also delete tapes that were named, tagged or noted.
    #[arg(long)]
    all: bool,
    /// Print what would be deleted, and delete nothing.
    #[arg(long)]
    dry_run: bool,
    /// Do not ask for confirmation.
    #[arg(long)]
    yes: bool,
}

/// Arguments of `tape delete`.
#[derive(Debug, Args)]
pub struct DeleteArguments {
    /// Files, or beginnings of names or ids in the library.
    #[arg(required = true, value_name = "TAPE")]
    tapes: Vec<String>,
    /// Do not ask for confirmation.
    #[arg(long)]
    yes: bool,
}

/// Arguments of `tape name`.
#[derive(Debug, Args)]
pub struct NameArguments {
    #[command(flatten)]
    tape: super::TapeName,
    /// New name of the tape; empty removes the name.
    name: String,
}

/// Arguments of `tape tag`.
#[derive(Debug, Args)]
pub struct TagArguments {
    #[command(flatten)]
    tape: super::TapeName,
    /// Tags to add; with - in front, to remove.
    #[arg(required = true, allow_hyphen_values = true)]
    tags: Vec<String>,
}

/// Deletes old recordings.
///
/// # Errors
/// Fails if no option says what to delete, the index cannot be read, a tape cannot be deleted, or no
/// terminal is there to confirm at.
pub fn clean(arguments: &CleanArguments) -> Result<ExitCode, Failure> {
    if arguments.older.is_none() && arguments.keep_bytes.is_none() && arguments.keep.is_none() {
        return Err(Failure::usage("no option says what to delete")
            .hint("give --older 30d, --keep-bytes 2g or --keep 100; --dry-run shows what would be deleted"));
    }
    let clock = Clock::system();
    let now = clock.wall(clock.now());
    let tapes = super::catalog(false)?.find(&Wanted::default()).map_err(Failure::usage)?;
    let (mut kept, mut kept_bytes) = (0, 0);
    // After the first tape that does not fit all older ones go: the newest are kept, not those that
    // fit best.
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

/// Deletes the named recordings.
///
/// # Errors
/// Fails if a name is not a tape, a tape is being recorded or cannot be deleted, or no terminal is there
/// to confirm at.
pub fn delete(arguments: &DeleteArguments) -> Result<ExitCode, Failure> {
    let mut goes: Vec<ListedTape> = Vec::new();
    for name in &arguments.tapes {
        let path = library::find(name).map_err(explain)?;
        let item = library::item(&path).ok_or_else(|| {
            Failure::usage(format!("{} is not a tape", path.display())).hint("use `rm` for other files")
        })?;
        if library::is_recorded(&path) {
            return Err(
                Failure::usage(format!("{} is being recorded", path.display())).hint("end its session first")
            );
        }
        if goes.iter().all(|other| other.path != path) {
            goes.push(ListedTape {
                path,
                bytes: item.bytes,
                name: item.header.name,
                ..ListedTape::default()
            });
        }
    }
    delete_all(&goes, arguments.yes, false)
}

fn delete_all(goes: &[ListedTape], yes: bool, dry_run: bool) -> Result<ExitCode, Failure> {
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
        return Ok(ExitCode::from(FailureKind::Check as u8));
    }
    for tape in goes {
        library::delete(&tape.path)
            .map_err(|error| Failure::usage(format!("delete {}: {error}", tape.path.display())))?;
    }
    output::say(&format!("deleted {what}"));
    Ok(ExitCode::SUCCESS)
}

/// Asks the user a question on the terminal, and returns `true` for yes.
///
/// # Errors
/// Fails if there is no terminal to ask at, or the user interrupts.
pub fn confirmed(question: &str) -> Result<bool, Failure> {
    if !std::io::stdin().is_terminal() || !std::io::stderr().is_terminal() {
        return Err(Failure::usage("cannot ask for confirmation without a terminal")
            .hint("use --yes to skip the confirmation"));
    }
    match inquire::Confirm::new(question).with_default(false).prompt() {
        Ok(answer) => Ok(answer),
        Err(inquire::InquireError::OperationCanceled) => Ok(false),
        Err(inquire::InquireError::OperationInterrupted) => {
            Err(Failure::new(FailureKind::Interrupted, "interrupted; nothing was deleted"))
        }
        Err(error) => Err(Failure::usage(error)),
    }
}

/// Returns the path of a tape that is to be labelled.
fn labelled(name: &str) -> Result<PathBuf, Failure> {
    let path = library::find(name).map_err(explain)?;
    match path.as_os_str() == "-" {
        true => Err(Failure::usage("standard input cannot be labelled").hint("name a file")),
        false => Ok(path),
    }
}

fn label(path: &std::path::Path, label: Label) -> Result<(), Failure> {
    let clock = Clock::system();
    let written = notes::label(path, label, clock.wall(clock.now()));
    written.map_err(|error| Failure::usage(format!("write {}: {error}", files::notes(path).display())))
}

/// Names a recording.
///
/// # Errors
/// Fails if the tape cannot be found, or its notes cannot be written.
pub fn name(arguments: &NameArguments) -> Result<ExitCode, Failure> {
    label(&labelled(&arguments.tape.tape)?, Label::Name(arguments.name.clone()))?;
    Ok(ExitCode::SUCCESS)
}

/// Adds tags to a recording, or removes them.
///
/// # Errors
/// Fails if the tape cannot be found, a tag is not one word, or the notes cannot be written.
pub fn tag(arguments: &TagArguments) -> Result<ExitCode, Failure> {
    let path = labelled(&arguments.tape.tape)?;
    for tag in &arguments.tags {
        if tag.trim_start_matches('-').is_empty() || tag.contains(char::is_whitespace) {
            return Err(Failure::usage(format!("{tag:?} is not a tag")).hint("a tag is one word"));
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
