//! `tape validate`: a check of a tape, and its repair.

use std::process::ExitCode;

use serde_json::json;

use super::progress::Bar;
use super::{explain, find};
use crate::cli::failure::{Failure, FailureKind};
use crate::cli::output::{self, Format};
use crate::log::record::{Body, Gap};
use crate::tape::care::{self, Repaired};
use crate::tape::library;

/// Reads all of a tape and prints what is wrong with it, then repairs it if `repairs` is set. The
/// exit code is 1 if the tape is not whole and was not repaired.
///
/// # Errors
/// Fails if the tape cannot be found, read or repaired, or is being recorded.
pub fn validate(name: &str, repairs: bool, format: Format) -> Result<ExitCode, Failure> {
    let mut reader = find(name)?;
    let bar = Bar::new("reading", reader.length());
    let mut records = 0_u64;
    let mut frames = 0_u64;
    let mut gaps = Vec::new();
    while let Some(record) = reader.next() {
        bar.at(reader.position());
        records += 1;
        frames += u64::from(record.frame().is_some());
        if let Body::Gap(gap) = &record.body {
            gaps.push(*gap);
        }
    }
    bar.done();
    let lost = Gap::total(gaps);
    let ending = reader.ending();
    let mut problems: Vec<String> = ending
        .damage
        .iter()
        .map(|damage| format!("{}:{}: {}", damage.path.display(), damage.offset, damage.what))
        .collect();
    if ending.torn > 0 {
        problems
            .push(format!("truncated: the last line is incomplete ({} bytes of it are there)", ending.torn));
    }
    if ending.seal.is_none() {
        problems.push("not sealed: still being recorded, or its recorder was killed".to_owned());
    }
    let whole = problems.is_empty();
    let value = json!({
        "tape": reader.header().tape,
        "records": records,
        "frames": frames,
        "lost": lost,
        "sealed": ending.seal.is_some(),
        "problems": problems,
    });
    match format {
        Format::Json => output::print(&(output::pretty(&value) + "\n")),
        Format::Yaml => output::list(format, &[], vec![(Vec::new(), value)]),
        Format::Table => {
            let mut text = format!("{records} records, {frames} frames, {lost} lost\n");
            text.extend(problems.iter().map(|problem| format!("{problem}\n")));
            text.push_str(if whole { "whole\n" } else { "" });
            output::print(&text)
        }
    }
    .map_err(Failure::usage)?;
    if repairs && !whole {
        return repair(name);
    }
    Ok(if whole { ExitCode::SUCCESS } else { ExitCode::from(FailureKind::Check as u8) })
}

fn repair(name: &str) -> Result<ExitCode, Failure> {
    let path = library::find(name).map_err(explain)?;
    if path.as_os_str() == "-" {
        return Err(Failure::usage("standard input cannot be repaired in place").hint("name a file"));
    }
    if library::is_recorded(&path) {
        return Err(
            Failure::usage(format!("{} is being recorded", path.display())).hint("end its session first")
        );
    }
    let Repaired { records, damages, kept } = care::repair(&path).map_err(|error| explain(error.into()))?;
    output::say(&format!(
        "repaired: {records} records can be read, {damages} notes on the tape describe the damage; the damaged file is kept as {}",
        kept.display()
    ));
    Ok(ExitCode::SUCCESS)
}
