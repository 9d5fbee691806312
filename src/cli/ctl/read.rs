//! Commands that read: sessions, frames, held frames.

use std::collections::BTreeSet;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use serde_json::{Value, json};

use crate::cli::failure::{Failure, FailureKind};
use crate::cli::output::{self, Format};
use crate::clock::{self, Clock, Stamp};
use crate::control::api::{Ask, FrameFacts, HeldFrame, SessionFacts};
use crate::control::client::CallError;
use crate::control::reach::{EngineSelector, ReachError, Reached};
use crate::log::Query;
use crate::log::record::Seq;

/// Arguments of `ctl frames`.
#[derive(Debug, Args)]
pub struct FramesArguments {
    /// Only frames that match this query.
    #[arg(long, value_name = "QUERY", default_value = "")]
    filter: String,
    /// Go on with new frames until the engine ends.
    #[arg(short, long)]
    follow: bool,
    /// Position of the first frame.
    #[arg(long, value_name = "SEQ")]
    from: Option<Seq>,
    /// Position of the last frame.
    #[arg(long, value_name = "SEQ")]
    to: Option<Seq>,
    /// Maximum number of frames: the newest ones, or with --from the first.
    #[arg(long, value_name = "COUNT", default_value_t = 100)]
    limit: usize,
    #[arg(long, value_enum, default_value_t)]
    output: Format,
}

/// Arguments of `ctl wait`.
#[derive(Debug, Args)]
pub struct WaitArguments {
    /// Query for the frame to wait for.
    #[arg(long, value_name = "QUERY")]
    filter: String,
    /// Time limit, e.g. 30s.
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = crate::cli::values::duration)]
    timeout: Duration,
    /// Position to start at; 1 includes frames that were there before. Without it, messages that are held now and
    /// all later frames are looked at.
    #[arg(long, value_name = "SEQ")]
    from: Option<Seq>,
    #[arg(long, value_enum, default_value_t)]
    output: Format,
}

/// Number of frames that are matched again, because later records may make them match.
const RECHECKED_FRAMES: Seq = 5000;

/// Lists every session of every engine.
///
/// # Errors
/// Fails if no engine has the selected name, or an engine does not answer.
pub async fn sessions(selector: &EngineSelector, format: Format) -> Result<ExitCode, Failure> {
    let mut rows = Vec::new();
    let all = selector.all().await;
    if all.is_empty() && selector.name.is_some() {
        return Err(ReachError::Nobody(selector.name.clone()).into());
    }
    for engine in &all {
        let sessions = engine.sessions().await?;
        match sessions.is_empty() {
            true => rows.push(session_row(engine, None)),
            false => rows.extend(sessions.iter().map(|session| session_row(engine, Some(session)))),
        }
    }
    if rows.is_empty() && format == Format::Table {
        output::say(
            "no session is running; start one with `shadowcat forward stdio -- CMD` or `shadowcat tui -- CMD`",
        );
    }
    let header =
        ["PID", "SESSION", "NAME", "MODE", "CLIENT", "ERA", "UP", "FRAMES", "ERRORS", "HELD", "STATE"];
    output::list(format, &header, rows).map_err(Failure::usage)?;
    Ok(ExitCode::SUCCESS)
}

fn session_row(engine: &Reached, session: Option<&SessionFacts>) -> (Vec<String>, Value) {
    let facts = &engine.facts;
    let count = |number: fn(&SessionFacts) -> u64| session.map(number).unwrap_or_default().to_string();
    let text =
        |text: fn(&SessionFacts) -> Option<&String>| session.and_then(text).cloned().unwrap_or_default();
    let up = session.map(|session| Duration::from_micros(now().saturating_sub(session.since)));
    let cells = vec![
        facts.pid.to_string(),
        session.map(|session| session.session.0.to_string()).unwrap_or_default(),
        session.map_or(&facts.name, |session| &session.name).clone(),
        facts.mode.clone(),
        text(|session| session.client.as_ref()),
        text(|session| session.era.as_ref()),
        up.map(|up| format!("{}s", up.as_secs())).unwrap_or_default(),
        count(|session| session.frames),
        count(|session| session.errors),
        count(|session| session.held),
        match session {
            Some(session) if session.down => "no server",
            Some(session) if !session.open => "ended",
            _ => "open",
        }
        .to_owned(),
    ];
    let mut value = json!({
        "pid": facts.pid,
        "engine": facts.name,
        "mode": facts.mode,
        "target": facts.target,
        "socket": engine.path,
        "tape": facts.tape.path,
        "anchor": facts.anchor,
    });
    if let (Value::Object(all), Value::Object(own)) = (&mut value, json!(session)) {
        all.extend(own);
    }
    (cells, value)
}

/// Lists the frames of one engine, and with `--follow` goes on until the engine ends.
///
/// # Errors
/// Fails if the query is invalid, or not exactly one engine can be reached.
pub async fn frames(selector: &EngineSelector, arguments: FramesArguments) -> Result<ExitCode, Failure> {
    let FramesArguments { filter, follow, from, to, limit, output } = arguments;
    check(&filter)?;
    let mut engine = selector.one().await?;
    let newest = from.is_none() || follow;
    let ask = Ask::Frames { filter: filter.clone(), from, to, limit: Some(limit), newest };
    let first: Vec<FrameFacts> = engine.ask(&ask).await?;
    if !follow {
        output::list(output, &HEADER, first.iter().map(row).collect()).map_err(Failure::usage)?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut shown: BTreeSet<Seq> = BTreeSet::new();
    for frame in first {
        shown.insert(frame.seq);
        show(&frame, output)?;
    }
    let began = engine.facts.last + 1;
    engine.subscribe(began).await?;
    while engine.changed().await {
        let newest = shown.last().copied().unwrap_or_default();
        let start = newest.saturating_sub(RECHECKED_FRAMES).max(from.unwrap_or(began));
        let frames = match engine.matching(&filter, start).await {
            // The engine has ended meanwhile; its last frames are on its tape.
            Err(CallError::Gone | CallError::Io(_)) => break,
            frames => frames?,
        };
        for frame in frames {
            if shown.insert(frame.seq) {
                show(&frame, output)?;
            }
        }
        shown = shown.split_off(&newest.saturating_sub(RECHECKED_FRAMES));
    }
    Ok(ExitCode::SUCCESS)
}

/// Waits for a frame that matches a query, and prints it. The exit code is 1 if none comes in time.
///
/// # Errors
/// Fails if the query is invalid, or the engine cannot be reached.
pub async fn wait(selector: &EngineSelector, arguments: WaitArguments) -> Result<ExitCode, Failure> {
    let WaitArguments { filter, timeout, from, output } = arguments;
    check(&filter)?;
    match tokio::time::timeout(timeout, selector.first(&filter, from)).await {
        Ok(Err(error @ (ReachError::Ended(_) | ReachError::Call(CallError::Gone)))) => {
            output::say(&format!("{error}, and nothing matched {filter:?}"));
            Ok(ExitCode::from(FailureKind::Check as u8))
        }
        Ok(frame) => {
            output::list(output, &HEADER, vec![row(&frame?)]).map_err(Failure::usage)?;
            Ok(ExitCode::SUCCESS)
        }
        Err(_) => {
            output::say(&format!("nothing matched {filter:?} within {timeout:?}"));
            Ok(ExitCode::from(FailureKind::Check as u8))
        }
    }
}

fn check(filter: &str) -> Result<(), Failure> {
    Query::parse(filter).map(drop).map_err(|error| Failure::usage(format!("{filter:?}: {error}")))
}

const HEADER: [&str; 9] = ["SEQ", "TIME", "DIR", "KIND", "OP", "METHOD", "DUR", "SIZE", "STATE"];

fn row(frame: &FrameFacts) -> (Vec<String>, Value) {
    let cells = vec![
        frame.seq.to_string(),
        clock::parse(&frame.time).map(|wall| clock::format(wall, "%H:%M:%S%.3f")).unwrap_or_default(),
        frame.direction.clone(),
        frame.kind.clone(),
        frame.operation.map(|op| op.to_string()).unwrap_or_default(),
        named(&frame.method, &frame.target),
        frame.duration.map(|millis| format!("{millis:.1}ms")).unwrap_or_default(),
        crate::cli::values::bytes(frame.size),
        frame.state.join(" "),
    ];
    (cells, json!(frame))
}

fn named(method: &Option<String>, target: &Option<String>) -> String {
    [method, target].into_iter().flatten().cloned().collect::<Vec<_>>().join(" ")
}

fn show(frame: &FrameFacts, format: Format) -> Result<(), Failure> {
    let (cells, value) = row(frame);
    let text = match format {
        Format::Table => output::harmless(&cells.join("  ")) + "\n",
        Format::Json => format!("{value}\n"),
        Format::Yaml => format!("---\n{}", output::yaml(&value)),
    };
    output::print(&text).map_err(Failure::usage)
}

/// Lists the held frames of every engine.
///
/// # Errors
/// Fails if an engine does not answer.
pub async fn held(selector: &EngineSelector, format: Format) -> Result<ExitCode, Failure> {
    let mut rows = Vec::new();
    for engine in selector.all().await {
        rows.extend(engine.held().await?.iter().map(|held| held_row(&engine, held)));
    }
    if rows.is_empty() && format == Format::Table {
        output::say("nothing is held; `shadowcat ctl hold QUERY` arms a breakpoint");
    }
    let header = ["ID", "PID", "SESSION", "DIR", "METHOD", "AGE", "BY", "EDITED"];
    output::list(format, &header, rows).map_err(Failure::usage)?;
    Ok(ExitCode::SUCCESS)
}

fn held_row(engine: &Reached, held: &HeldFrame) -> (Vec<String>, Value) {
    let cells = vec![
        held.id.to_string(),
        engine.facts.pid.to_string(),
        held.name.clone(),
        held.direction.clone(),
        named(&held.method, &held.target),
        format!("{:.1}s", Duration::from_millis(held.age).as_secs_f64()),
        held.by.clone().unwrap_or_default(),
        if held.amended.is_some() { "yes" } else { "" }.to_owned(),
    ];
    let mut value = json!(held);
    value["pid"] = engine.facts.pid.into();
    (cells, value)
}

/// Returns the wall time in microseconds since the Unix epoch.
fn now() -> u64 {
    Clock::system().wall(Stamp::default())
}
