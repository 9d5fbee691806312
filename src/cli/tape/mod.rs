//! `shadowcat tape`: commands for recordings.

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
use crate::cli::output;
use crate::log::query::{Subject, Truth};
use crate::log::{Query, SessionId};
use crate::tape::library::{self, Catalog, FindError};
use crate::tape::{OpenError, OpenedTape, Reader};

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
    /// Search the library: the labels of tapes, and the contents of their frames.
    Search(list::SearchArguments),
    /// Count calls, their times and their sizes, of a tape or of the library.
    Stats(stats::Arguments),
    /// Name a tape.
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
        /// Only frames that match this query, e.g. 'tool:search status:error'.
        #[arg(long, value_name = "QUERY", default_value = "")]
        filter: String,
        #[arg(long, value_enum, default_value_t)]
        output: Format,
    },
    /// Check that a tape is whole: order, checksums, its end.
    Validate {
        #[command(flatten)]
        tape: TapeName,
        /// Rewrite the tape from what is whole; the damaged files are kept beside it.
        #[arg(long)]
        repair: bool,
        #[arg(long, value_enum, default_value_t)]
        output: Format,
    },
    /// Print the frames of a tape at their recorded pace.
    Play(play::Arguments),
    /// Answer in the place of the recorded server, on standard input and output or over HTTP.
    Replay(replay::Arguments),
    /// Send to a server what the recorded client sent, and compare the answers.
    Test(test::Arguments),
    /// Compare two recordings.
    Diff(diff::Arguments),
    /// Convert a tape to another format: HAR, CSV, a page to look at …
    Export(export::Arguments),
    /// Import recordings of other tools: HAR, MCP Inspector, mcpsnoop, Claude Desktop.
    Import(import::Arguments),
    /// Compress tapes in place; they open as before, and `zstd -dc` reads them.
    Compress(care::CompressArguments),
    /// Convert a tape of an older version to the present one.
    Migrate(care::MigrateArguments),
    /// Write a tape without its secrets.
    Redact(redact::Arguments),
}

/// Selection of a tape.
#[derive(Debug, Clone, Args)]
pub struct TapeName {
    /// File, the beginning of a name or id in the library, or - for standard input.
    pub tape: String,
}

/// Runs a tape command.
///
/// # Errors
/// Fails if an argument is invalid, or a tape cannot be found, read or written.
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

/// Opens the library's index and brings it up to date, or rebuilds it from the files.
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
        FindError::None(_) => "`shadowcat tape list` lists the tapes",
        FindError::Several { .. } => "write more of the name",
        FindError::Open(OpenError::NoHeader { .. }) => "only files that shadowcat recorded can be opened",
        FindError::Open(_) => "check the path and its permissions",
    };
    Failure::usage(error).hint(hint)
}

/// Opens a tape to show it, and warns if it is not whole.
///
/// # Errors
/// Fails if the tape cannot be found, or the file is not a tape.
pub fn opened(name: &str) -> Result<OpenedTape, Failure> {
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

/// Describes what is missing at the end of a tape; `None` if the tape is whole.
pub fn unfinished(tape: &OpenedTape) -> Option<String> {
    let name = crate::tape::files::stem(&tape.path);
    match (&tape.seal, tape.torn) {
        (Some(_), 0) => None,
        _ if library::is_recorded(&tape.path) => {
            Some(format!("{name} is being recorded right now: this is what is there so far"))
        }
        (_, 0) => Some(format!("{name} is not sealed: its recorder was killed")),
        (_, torn) => {
            Some(format!("{name} is truncated: {torn} bytes after the last complete line are ignored"))
        }
    }
}

/// Returns the session of a tape with this number.
fn scope(tape: &OpenedTape, number: Option<u32>) -> Result<Option<SessionId>, Failure> {
    let Some(number) = number else { return Ok(None) };
    if tape.world.sessions.contains_key(&SessionId(number)) {
        return Ok(Some(SessionId(number)));
    }
    let there: Vec<String> = tape.world.sessions.keys().map(|session| session.0.to_string()).collect();
    Err(Failure::usage(format!("the recording has no session {number}; it has {}", there.join(", "))))
}

/// Parses a filter.
fn query(filter: &str) -> Result<Query, Failure> {
    Query::parse(filter).map_err(|error| {
        let mark = " ".repeat(filter[..error.span.start.min(filter.len())].chars().count());
        Failure::usage(format!("the filter is wrong: {error}\n  {filter}\n  {mark}^"))
    })
}

/// The frames that a filter could not be evaluated on.
#[derive(Debug, Default)]
struct Unjudged {
    count: usize,
    /// The reason at the first of them.
    why: String,
}

impl Unjudged {
    /// Returns `true` if `subject` matches `query`, and counts it if that is unknown.
    fn matches(&mut self, query: &Query, subject: &dyn Subject) -> bool {
        match query.judge(subject) {
            Truth::True => true,
            Truth::False => false,
            Truth::Unknown(why) => {
                if self.count == 0 {
                    self.why = why;
                }
                self.count += 1;
                false
            }
        }
    }

    /// Tells the user how many frames are missing from the result for this reason.
    fn say(&self) {
        match self.count {
            0 => {}
            1 => output::say(&format!("1 frame could not be judged: {}", self.why)),
            count => output::say(&format!("{count} frames could not be judged; the first: {}", self.why)),
        }
    }
}
