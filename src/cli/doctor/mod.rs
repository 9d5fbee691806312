//! `shadowcat doctor`: a diagnosis of a server.

mod calls;
mod local;
mod remote;

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::{Args, ValueEnum};
use serde_json::json;

use super::failure::{Failure, FailureKind};
use super::http::UpstreamArguments;
use super::output;
use super::values::EraChoice;
use crate::control::Hub;
use crate::control::reach::EngineSelector;
use crate::doctor::{self, Check, CheckResult, Report, Target};
use crate::log::Log;
use crate::log::record::Origin;
use crate::log::world::World;
use crate::tape::excerpt;
use calls::Call;

/// Arguments of `doctor`.
#[derive(Debug, Args)]
pub struct Arguments {
    /// Examine a running session: name of its server, or process id of its shadowcat.
    #[arg(long, value_name = "NAME", conflicts_with_all = ["upstream", "command"])]
    session: Option<String>,
    /// Examine a recording.
    #[arg(long, value_name = "TAPE", conflicts_with_all = ["upstream", "command", "session"])]
    tape: Option<String>,
    /// Examine the HTTP server at this URL.
    #[arg(long, value_name = "URL", conflicts_with = "command")]
    upstream: Option<String>,
    #[command(flatten)]
    way: UpstreamArguments,
    /// Time limit for the server until everything is listed and called.
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = crate::cli::values::duration)]
    timeout: Duration,
    /// Protocol era to speak.
    #[arg(long, value_enum, default_value_t)]
    era: EraChoice,
    /// Call this tool too, with these arguments (a JSON object); by itself doctor calls only tools that are marked
    /// as read-only. May be repeated.
    #[arg(long, value_name = "TOOL[=JSON]", conflicts_with_all = ["session", "tape"])]
    call: Vec<Call>,
    /// Call no tool.
    #[arg(long, conflicts_with = "call")]
    no_calls: bool,
    #[arg(long, value_enum, default_value_t)]
    output: Form,
    /// Command line of the server.
    #[arg(last = true, value_name = "CMD", required_unless_present_any = ["upstream", "session", "tape"])]
    command: Vec<String>,
}

/// Memory for the records of the examination: a server that floods stderr must not push out the evidence.
const EVIDENCE_BYTES: usize = 1 << 30;
/// Inspect limit of the examination: a long list is read whole.
const INSPECTED_BYTES: usize = 64 << 20;

/// An examination: its log, and the checks of what is not in the log.
struct Examination {
    title: String,
    log: Arc<Log>,
    world: World,
    outside: Vec<Check>,
    /// `true` if the user has interrupted it.
    is_interrupted: bool,
}

/// Exit code after an interrupt: 128 and the number of SIGINT.
const INTERRUPTED: u8 = 130;

/// Output format of the findings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
enum Form {
    #[default]
    #[value(alias = "table")]
    Text,
    Json,
    Yaml,
    /// JUnit, for CI: one test case per check.
    Junit,
    /// Bug report, with the traffic as a small tape without secrets.
    Markdown,
}

/// Examines a server and prints what is wrong. The exit code is 1 if a check failed or could not be judged, 3 if the
/// server was never reached, and 130 after an interrupt.
///
/// # Errors
/// Fails if the session or the recording cannot be found, or the URL is invalid.
pub async fn run(arguments: Arguments) -> Result<ExitCode, Failure> {
    let examined = if let Some(name) = &arguments.session {
        let (log, world) = attached(name).await?;
        Examination { title: name.clone(), log, world, outside: Vec::new(), is_interrupted: false }
    } else if let Some(name) = &arguments.tape {
        let tape = super::tape::opened(name)?;
        let title = crate::tape::files::stem(&tape.path);
        Examination { title, log: tape.log, world: tape.world, outside: Vec::new(), is_interrupted: false }
    } else if let Some(url) = &arguments.upstream {
        remote::called(url, &arguments).await?
    } else {
        local::started(&arguments).await?
    };
    let Examination { title, log, world, outside, is_interrupted } = examined;
    let report = doctor::examine_with(&Target::new(&world, &log, None), outside);
    let text = render(&title, &report, arguments.output, |words| excerpt::report(words, &log, &world, None));
    output::print(&text).map_err(Failure::usage)?;
    // A server was reached if its process was started, or it responded over HTTP with whatever status.
    let is_reached = match (&arguments.upstream, arguments.command.is_empty()) {
        (Some(_), _) => world.rows.iter().any(|row| row.origin() == Origin::Wire && row.status().is_some()),
        (None, false) => !world.sessions.is_empty(),
        (None, true) => true,
    };
    Ok(match report.worst() {
        _ if is_interrupted => ExitCode::from(INTERRUPTED),
        _ if !is_reached => ExitCode::from(FailureKind::Peer as u8),
        CheckResult::Failed | CheckResult::Unjudged => ExitCode::from(FailureKind::Check as u8),
        _ => ExitCode::SUCCESS,
    })
}

fn folded(log: &Log) -> World {
    let mut world = World::default();
    log.window(1, usize::MAX).iter().for_each(|record| world.apply(record));
    world
}

/// Returns the records of a running session so far.
async fn attached(name: &str) -> Result<(Arc<Log>, World), Failure> {
    let selector = EngineSelector { name: Some(name.to_owned()), by: "doctor".to_owned() };
    let reached = selector.one().await?;
    let (hub, engine, _) = Hub::watching("doctor", reached.facts.anchor);
    if let Some((path, error)) = hub.attach(std::slice::from_ref(&reached.path)).await.pop() {
        return Err(Failure::peer(format!("{}: {error}", path.display())));
    }
    let log = Arc::clone(engine.log());
    let world = folded(&log);
    Ok((log, world))
}

fn render(title: &str, report: &Report, form: Form, excerpt: impl FnOnce(&str) -> String) -> String {
    let value = json!({
        "server": title,
        "checks": report.checks,
        "journeys": report.journeys,
        "verdict": report.worst(),
    });
    match form {
        Form::Junit => doctor::junit(title, report),
        Form::Json => output::pretty(&value) + "\n",
        Form::Yaml => output::yaml(&value),
        Form::Text => {
            let lines = std::iter::once(title.to_owned()).chain(doctor::lines(report));
            lines.map(|line| output::harmless(&line) + "\n").collect()
        }
        Form::Markdown => excerpt(&doctor::markdown(title, report)),
    }
}
