//! `shadowcat tape`: looking at recordings.

mod care;
mod clean;
mod diff;
mod export;
mod import;
mod list;
mod play;
mod progress;
mod redact;
mod replay;
mod report;
mod show;
mod stats;
mod test;
mod validate;

use std::process::ExitCode;

use clap::{Args, Subcommand};

use super::failure::Failure;
use super::output::Format;
use crate::log::{Query, SessionId};
use crate::tape::library::{self, Catalog, FindError};
use crate::tape::{OpenError, Opened, Reader};

/// Arguments of `tape`.
#[derive(Debug, Args)]
pub struct Arguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// List the library, newest first.
    List(list::Arguments),
    /// Search the library: what tapes are called, and what is in their frames.
    Search(list::SearchArguments),
    /// Count calls: how often, how fast, how large; of a tape or of the library.
    Stats(stats::Arguments),
    /// Call a tape something.
    Name(clean::NameArguments),
    /// Tag a tape.
    Tag(clean::TagArguments),
    /// Delete old tapes.
    Clean(clean::CleanArguments),
    /// Delete tapes.
    Delete(clean::DeleteArguments),
    /// Show the frames of a tape.
    Show {
        #[command(flatten)]
        tape: TapeName,
        /// Only frames that this query matches, e.g. 'tool:search status:error'.
        #[arg(long, value_name = "QUERY", default_value = "")]
        filter: String,
        #[arg(long, value_enum, default_value_t)]
        output: Format,
    },
    /// Check that a tape is whole: order, checksums, its end.
    Validate {
        #[command(flatten)]
        tape: TapeName,
        /// Write it anew from what is whole; the damaged files are kept beside it.
        #[arg(long)]
        repair: bool,
        #[arg(long, value_enum, default_value_t)]
        output: Format,
    },
    /// Print the frames of a tape at the pace at which they came.
    Play(play::Arguments),
    /// Answer in the place of the recorded server, on standard input and output or over HTTP.
    Replay(replay::Arguments),
    /// Say to a server what the recorded client said, and compare the answers.
    Test(test::Arguments),
    /// Compare two recordings.
    Diff(diff::Arguments),
    /// Write a tape in the form of others: HAR, CSV, a page to look at …
    Export(export::Arguments),
    /// Read what others recorded: HAR, MCP Inspector, mcpsnoop, Claude Desktop.
    Import(import::Arguments),
    /// Compress tapes in place; they open as before, and `zstd -dc` reads them.
    Compress(care::CompressArguments),
    /// Write a tape of an older version in the present one.
    Migrate(care::MigrateArguments),
    /// Write a tape without its secrets.
    Redact(redact::Arguments),
}

/// Which tape.
#[derive(Debug, Clone, Args)]
pub struct TapeName {
    /// A file, the beginning of a name or id in the library, or - for standard input.
    pub tape: String,
}

/// Runs a tape command.
pub async fn run(arguments: Arguments) -> Result<ExitCode, Failure> {
    match arguments.action {
        Action::List(arguments) => list::list(&arguments),
        Action::Search(arguments) => list::search(&arguments),
        Action::Stats(arguments) => stats::run(&arguments),
        Action::Name(arguments) => clean::name(&arguments),
        Action::Tag(arguments) => clean::tag(&arguments),
        Action::Clean(arguments) => clean::clean(&arguments),
        Action::Delete(arguments) => clean::delete(&arguments),
        Action::Show { tape, filter, output } => show::show(&tape.tape, &filter, output),
        Action::Validate { tape, repair, output } => validate::validate(&tape.tape, repair, output),
        Action::Play(arguments) => play::run(&arguments).await,
        Action::Replay(arguments) => replay::run(arguments).await,
        Action::Test(arguments) => test::run(arguments).await,
        Action::Diff(arguments) => diff::run(&arguments),
        Action::Export(arguments) => export::run(&arguments),
        Action::Import(arguments) => import::run(&arguments),
        Action::Compress(arguments) => care::compress(&arguments),
        Action::Migrate(arguments) => care::migrate(&arguments),
        Action::Redact(arguments) => redact::run(&arguments),
    }
}

/// The library's index, brought up to date, or made anew from the files.
fn catalog(anew: bool) -> Result<Catalog, Failure> {
    let bar = progress::Bar::new("reading the library", 0);
    let mut progress = |done, total| {
        bar.of(total);
        bar.at(done);
    };
    let catalog = if anew { Catalog::rebuild(&mut progress) } else { Catalog::open(&mut progress) };
    bar.done();
    catalog.map_err(Failure::usage)
}

fn find(name: &str) -> Result<Reader, Failure> {
    let path = library::find(name).map_err(explain)?;
    Reader::open(&path).map_err(|error| explain(error.into()))
}

fn explain(error: FindError) -> Failure {
    let hint = match &error {
        FindError::None(_) => "`shadowcat tape list` shows what there is",
        FindError::Several { .. } => "give more of the name",
        FindError::Open(OpenError::NoHeader { .. }) => "only files that shadowcat recorded can be opened",
        FindError::Open(_) => "check the path and its permissions",
    };
    Failure::usage(error).hint(hint)
}

/// Opens a tape to be looked at.
pub fn opened(name: &str) -> Result<Opened, Failure> {
    let path = library::find(name).map_err(explain)?;
    let bar = progress::Bar::new("making an index", 0);
    let opened = crate::tape::open(&path, &mut |done, total| {
        bar.of(total);
        bar.at(done);
    });
    bar.done();
    let opened = opened.map_err(|error| explain(error.into()))?;
    if let Some(warning) = unfinished(&opened) {
        super::output::say(&format!("warning: {warning}"));
    }
    Ok(opened)
}

/// What is missing at the end of a tape, in words; none where it is whole.
pub fn unfinished(tape: &Opened) -> Option<String> {
    let name = crate::tape::files::stem(&tape.path);
    match (&tape.seal, tape.torn) {
        (Some(_), 0) => None,
        _ if library::is_recorded(&tape.path) => {
            Some(format!("{name} is being recorded right now: this is what is there so far"))
        }
        (_, 0) => Some(format!("{name} has no end: its recorder was killed")),
        (_, torn) => Some(format!("{name} is torn: {torn} bytes behind the last whole line are not shown")),
    }
}

/// The session of a tape that is named by its number.
fn scope(tape: &Opened, number: Option<u32>) -> Result<Option<SessionId>, Failure> {
    let Some(number) = number else { return Ok(None) };
    if tape.world.sessions.contains_key(&SessionId(number)) {
        return Ok(Some(SessionId(number)));
    }
    let there: Vec<String> = tape.world.sessions.keys().map(|session| session.0.to_string()).collect();
    Err(Failure::usage(format!("the recording has no session {number}; it has {}", there.join(", "))))
}

/// Reads a filter.
fn query(filter: &str) -> Result<Query, Failure> {
    Query::parse(filter).map_err(|error| {
        let mark = " ".repeat(filter[..error.span.start.min(filter.len())].chars().count());
        Failure::usage(format!("the filter is wrong: {error}\n  {filter}\n  {mark}^")).hint(
            "fields are tool: method: status: kind: dir: dur: size: body: json: and more; see the README",
        )
    })
}
