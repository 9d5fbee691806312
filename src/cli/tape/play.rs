//! `tape play`: a recording printed at its recorded pace.

use std::process::ExitCode;
use std::time::Duration;

use clap::Args;

use super::show::{cells, value};
use super::{TapeName, Unjudged, opened, query};
use crate::cli::failure::{Failure, FailureKind};
use crate::cli::output::{self, Format};
use crate::clock::Clock;
use crate::log::subject::{Prefilter, RowSubject};
use crate::log::world::Row;
use crate::tape::OpenedTape;
use crate::tape::player::{Player, Speed};

/// Arguments of `tape play`.
#[derive(Debug, Args)]
pub struct Arguments {
    #[command(flatten)]
    tape: TapeName,
    /// Speed: 0.1, 0.5, 1, 2, 10 or max.
    #[arg(long, default_value = "1")]
    speed: Speed,
    /// Only frames that match this query.
    #[arg(long, value_name = "QUERY", default_value = "")]
    filter: String,
    /// Wait no longer than this between frames, e.g. 2s.
    #[arg(long, value_name = "DURATION", value_parser = crate::cli::values::duration)]
    max_idle: Option<Duration>,
    #[arg(long, value_enum, default_value_t)]
    output: Format,
}

/// Prints each frame when it is due.
///
/// # Errors
/// Fails if the filter is invalid, or the tape cannot be opened.
pub async fn run(arguments: &Arguments) -> Result<ExitCode, Failure> {
    let query = query(&arguments.filter)?;
    let OpenedTape { header, world, log, .. } = opened(&arguments.tape.tape)?;
    let prefilter = Prefilter::new(&query, &log, 1, world.last);
    let mut unjudged = Unjudged::default();
    let asked = |row: &&Row| {
        let subject = RowSubject { prefilter: Some(&prefilter), ..RowSubject::new(&world, row, &log) };
        unjudged.matches(&query, &subject)
    };
    let rows: Vec<Row> = world.rows.iter().filter(asked).cloned().collect();
    unjudged.say();
    let mut player = Player::new(Clock::system(), arguments.speed);
    // Skip the time before the first frame.
    if let Some(first) = rows.first() {
        player.seek(first.at, &rows[..0]);
    }
    player.play();
    loop {
        for row in &rows[player.advance(&rows[..])] {
            let Some(record) = log.get(row.seq) else { continue };
            let line = match arguments.output {
                Format::Table => match record.frame() {
                    Some(frame) => line(&cells(&world, row, frame, header.anchor)),
                    None => continue,
                },
                Format::Json => value(&world, row, &record, header.anchor).as_str().to_owned() + "\n",
                Format::Yaml => format!("---\n{}", value(&world, row, &record, header.anchor).yaml()),
            };
            output::print(&line).map_err(Failure::usage)?;
        }
        let Some(wait) = player.wait(&rows[..]) else { return Ok(ExitCode::SUCCESS) };
        let most = arguments.max_idle.unwrap_or(Duration::MAX);
        tokio::select! {
            () = tokio::time::sleep(wait.min(most)) => {}
            _ = tokio::signal::ctrl_c() => return Ok(ExitCode::from(FailureKind::Interrupted as u8)),
        }
        if wait > most {
            player.seek(rows[player.passed()].at, &rows[..player.passed()]);
        }
    }
}

/// Formats the chosen cells of a frame as one line: number, time, direction, operation, kind, method,
/// target, state, and the summary.
fn line(cells: &[String]) -> String {
    const SHOWN: [(usize, usize); 8] = [(0, 6), (1, 12), (3, 3), (4, 4), (5, 6), (6, 28), (7, 20), (9, 20)];
    let cell =
        |(at, width): &(usize, usize)| format!("{:<width$} ", cells.get(*at).map_or("", String::as_str));
    let line: String = SHOWN.iter().map(cell).collect();
    format!("{} {}\n", line.trim_end(), cells.last().map_or("", String::as_str)).trim_end().to_owned() + "\n"
}
