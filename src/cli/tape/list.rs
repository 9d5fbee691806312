//! `tape list` and `tape search`: tapes of the library.

use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use serde_json::{Value, json};

use super::progress::Bar;
use crate::cli::failure::Failure;
use crate::cli::output::{self, Format};
use crate::cli::values::bytes;
use crate::cli::values::size;
use crate::clock::{self, Clock};
use crate::log::Query;
use crate::log::subject::{Prefilter, RowSubject};
use crate::tape::files;
use crate::tape::library::{ListedTape, Wanted};

/// Selection of tapes of the library.
#[derive(Debug, Clone, Default, Args)]
pub struct Which {
    /// Only tapes of this server.
    #[arg(long, value_name = "NAME")]
    server: Option<String>,
    /// Only tapes of stdio, or of HTTP.
    #[arg(long, value_parser = ["stdio", "http"])]
    transport: Option<String>,
    /// Only tapes of this protocol era.
    #[arg(long, value_parser = ["2025", "2026"])]
    era: Option<String>,
    /// Only tapes begun at or after this: 2026-11-20, 2026-11-20T12:00:00, or an age such as 7d.
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// Only tapes begun before this.
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
    /// Only tapes that lasted for at least this long, e.g. 10s.
    #[arg(long, value_name = "DURATION", value_parser = crate::cli::values::duration)]
    longer: Option<Duration>,
    /// Only tapes of at least so many bytes, e.g. 10m.
    #[arg(long, value_name = "SIZE", value_parser = size)]
    larger: Option<usize>,
    /// Only tapes with at least so many frames.
    #[arg(long, value_name = "COUNT")]
    frames: Option<u64>,
    /// Only tapes with errors, at least so many.
    #[arg(long, value_name = "COUNT", num_args = 0..=1, default_missing_value = "1")]
    errors: Option<u64>,
    /// Only tapes with this tag.
    #[arg(long)]
    tag: Option<String>,
}

/// Arguments of `tape list`.
#[derive(Debug, Args)]
pub struct Arguments {
    #[command(flatten)]
    which: Which,
    /// Rebuild the library's index from the files first.
    #[arg(long)]
    reindex: bool,
    #[arg(long, value_enum, default_value_t)]
    output: Format,
}

/// Arguments of `tape search`.
#[derive(Debug, Args)]
pub struct SearchArguments {
    /// Text in the name, server or tags of a tape, or in any of its frames.
    text: String,
    #[command(flatten)]
    which: Which,
    #[arg(long, value_enum, default_value_t)]
    output: Format,
}

impl Which {
    /// Returns the selection in the form that the index takes.
    ///
    /// # Errors
    /// Fails if `--since` or `--until` is not a time.
    pub fn wanted(&self) -> Result<Wanted, Failure> {
        let which = self.clone();
        Ok(Wanted {
            text: None,
            server: which.server,
            transport: which.transport,
            era: which.era,
            since: which.since.as_deref().map(time).transpose()?,
            until: which.until.as_deref().map(time).transpose()?,
            longer: which.longer,
            bytes: which.larger.map(|bytes| bytes as u64),
            frames: which.frames,
            errors: which.errors,
            tag: which.tag,
        })
    }
}

/// Parses a date, a time or an age into microseconds since the Unix epoch.
fn time(text: &str) -> Result<u64, Failure> {
    if let Some(ago) = clock::duration(text) {
        let clock = Clock::system();
        return Ok(clock
            .wall(clock.now())
            .saturating_sub(u64::try_from(ago.as_micros()).unwrap_or(u64::MAX)));
    }
    clock::parse(text).or_else(|| clock::parse(&format!("{text}T00:00:00"))).ok_or_else(|| {
        Failure::usage(format!("{text:?} is not a time"))
            .hint("write 2026-11-20, 2026-11-20T12:00:00, or 7d for a week ago")
    })
}

/// Lists the library, newest first.
///
/// # Errors
/// Fails if an option is invalid, or the index cannot be read.
pub fn list(arguments: &Arguments) -> Result<ExitCode, Failure> {
    let catalog = super::catalog(arguments.reindex)?;
    let found = catalog.find(&arguments.which.wanted()?).map_err(Failure::usage)?;
    if found.is_empty() && arguments.output == Format::Table {
        let all = catalog.count().map_err(Failure::usage)?;
        output::say(&match all {
            0 => "no tapes yet; `shadowcat demo` records one, and so does every forwarded session".to_owned(),
            all => format!("none of the {all} tapes matches"),
        });
    }
    let rows = found.into_iter().map(|entry| (cells(&entry), value(&entry, &[]))).collect();
    show(arguments.output, rows)
}

/// Searches the library for a text in the labels of tapes and in their frames.
///
/// # Errors
/// Fails if an option is invalid, or the index cannot be read.
pub fn search(arguments: &SearchArguments) -> Result<ExitCode, Failure> {
    let catalog = super::catalog(false)?;
    let wanted = arguments.which.wanted()?;
    let named = catalog.find(&Wanted { text: Some(arguments.text.clone()), ..wanted.clone() });
    let named = named.map_err(Failure::usage)?;
    let query = Query::parse(&Value::from(arguments.text.as_str()).to_string()).map_err(Failure::usage)?;
    let mut rows = Vec::new();
    let entries = catalog.find(&wanted).map_err(Failure::usage)?;
    let bar = Bar::new("searching", entries.iter().map(|entry| entry.bytes).sum());
    let mut done = 0;
    for entry in entries {
        done += entry.bytes;
        bar.at(done);
        // A tape that cannot be opened any more has no frames to search.
        let Ok(tape) = crate::tape::open(&entry.path, &mut |_, _| ()) else { continue };
        let (world, log) = (&tape.world, &tape.log);
        let prefilter = Prefilter::new(&query, log, 1, tape.last);
        let frames: Vec<u64> = world
            .rows
            .iter()
            .filter(|row| {
                query.matches(&RowSubject { prefilter: Some(&prefilter), ..RowSubject::new(world, row, log) })
            })
            .map(|row| row.seq)
            .collect();
        if frames.is_empty() && !named.iter().any(|named| named.path == entry.path) {
            continue;
        }
        let mut cells = cells(&entry);
        const SHOWN: usize = 5;
        let first: Vec<String> = frames.iter().take(SHOWN).map(|seq| format!("#{seq}")).collect();
        let more =
            if frames.len() > SHOWN { format!(" and {} more", frames.len() - SHOWN) } else { String::new() };
        cells.push(first.join(" ") + &more);
        rows.push((cells, value(&entry, &frames)));
    }
    bar.done();
    if rows.is_empty() && arguments.output == Format::Table {
        output::say(&format!("no tape contains {:?}", arguments.text));
    }
    show(arguments.output, rows)
}

fn show(format: Format, rows: Vec<(Vec<String>, Value)>) -> Result<ExitCode, Failure> {
    let header = [
        "TAPE", "NAME", "STARTED", "DURATION", "VIA", "ERA", "FRAMES", "ERRORS", "SIZE", "STATE", "TAGS",
        "FOUND IN",
    ];
    let found = rows.first().is_some_and(|(cells, _)| cells.len() == header.len());
    let header = if found { &header[..] } else { &header[..header.len() - 1] };
    output::list(format, header, rows).map_err(Failure::usage)?;
    Ok(ExitCode::SUCCESS)
}

fn cells(entry: &ListedTape) -> Vec<String> {
    let lasted = Duration::from_micros(entry.duration);
    let lasted = match lasted.as_secs() {
        0 => format!("{}ms", lasted.as_millis()),
        seconds @ 1..60 => format!("{seconds}s"),
        seconds => format!("{}m{:02}", seconds / 60, seconds % 60),
    };
    vec![
        files::stem(&entry.path),
        entry.name.clone(),
        clock::format(entry.started, "%Y-%m-%d %H:%M:%S"),
        lasted,
        entry.transport.clone(),
        entry.era.clone().unwrap_or_default(),
        entry.frames.to_string(),
        entry.errors.to_string(),
        bytes(entry.bytes),
        if entry.sealed { "sealed" } else { "open" }.to_owned(),
        entry.tags.join(" "),
    ]
}

fn value(entry: &ListedTape, frames: &[u64]) -> Value {
    let mut value = json!({
        "path": entry.path,
        "id": entry.id,
        "name": entry.name,
        "target": entry.target,
        "transport": entry.transport,
        "era": entry.era,
        "server": entry.server,
        "client": entry.client,
        "started": entry.started,
        "duration_us": entry.duration,
        "bytes": entry.bytes,
        "frames": entry.frames,
        "errors": entry.errors,
        "sealed": entry.sealed,
        "tags": entry.tags,
    });
    if !frames.is_empty() {
        value["found_in"] = frames.into();
    }
    value
}
