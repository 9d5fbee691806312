//! `shadowcat doctor`: a diagnosis of a server.

use crate::cli::values::EraChoice;
use crate::log::record::Origin;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::{Args, ValueEnum};
use serde_json::json;

use super::failure::{Failure, FailureKind};
use super::http::{UpstreamArguments, service, target};
use super::output;
use super::record::INSPECT_LIMIT;
use crate::client::Attendance;
use crate::clients::{Document, Homes};
use crate::clock::Clock;
use crate::control::Hub;
use crate::control::reach::EngineSelector;
use crate::doctor::{self, Check, CheckResult, Target};
use crate::host::launch::{Launch, launch};
use crate::host::{Host, Settings};
use crate::http::{BuiltInClient, ProxyOptions};
use crate::intercept::Chain;
use crate::log::Log;
use crate::log::world::World;
use crate::stdio::lifecycle;
use crate::tape::excerpt;
use crate::transport::child::Spec;
use crate::transport::http::Guard;

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
    /// Time limit for the server until everything is listed.
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = crate::cli::values::duration)]
    timeout: Duration,
    /// Protocol era to speak.
    #[arg(long, value_enum, default_value_t)]
    era: EraChoice,
    #[arg(long, value_enum, default_value_t)]
    output: Form,
    /// Command line of the server.
    #[arg(last = true, value_name = "CMD", required_unless_present_any = ["upstream", "session", "tape"])]
    command: Vec<String>,
}

/// Memory for the records of the examination: a server that floods stderr must not push out the evidence.
const EVIDENCE_BYTES: usize = 1 << 30;
/// Time for a server to end after its stdin was closed: the official SDKs send a signal after two seconds.
const EXIT_TIMEOUT: Duration = Duration::from_millis(1500);

/// Checks made before the server starts, and checks made after it was told to end.
type Around = (Vec<Check>, Vec<Check>);

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

/// Examines a server and prints what is wrong. The exit code is 1 if a check failed or could not be judged, and 3
/// if the server was never reached.
///
/// # Errors
/// Fails if the session or the recording cannot be found, or the URL is invalid.
pub async fn run(arguments: Arguments) -> Result<ExitCode, Failure> {
    let (title, (mut checks, after), log, world) = if let Some(name) = &arguments.session {
        let (log, world) = attached(name).await?;
        (name.clone(), Default::default(), log, world)
    } else if let Some(name) = &arguments.tape {
        let tape = super::tape::opened(name)?;
        (crate::tape::files::stem(&tape.path), Default::default(), tape.log, tape.world)
    } else if let Some(url) = &arguments.upstream {
        let log = called(url, &arguments).await?;
        let world = folded(&log);
        (target(url), Default::default(), log, world)
    } else {
        let (checks, log) = started(&arguments).await?;
        let world = folded(&log);
        (arguments.command.join(" "), checks, log, world)
    };
    checks.extend(doctor::examine(&Target { world: &world, log: &log, only: None }));
    checks.extend(after);
    let text = render(&title, &checks, arguments.output, |words| excerpt::report(words, &log, &world, None));
    output::print(&text).map_err(Failure::usage)?;
    // A server was reached if its process was started, or it responded over HTTP with whatever status.
    let is_reached = match (&arguments.upstream, arguments.command.is_empty()) {
        (Some(_), _) => world.rows.iter().any(|row| row.origin() == Origin::Wire && row.status().is_some()),
        (None, false) => !world.sessions.is_empty(),
        (None, true) => true,
    };
    Ok(match doctor::worst(&checks) {
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

/// Starts the server, sends everything that a client sends first, and lets the server end.
async fn started(arguments: &Arguments) -> Result<(Around, Arc<Log>), Failure> {
    let log = Log::new(Clock::system(), EVIDENCE_BYTES);
    let mut checks = vec![configured(), found(&arguments.command)];
    if checks[1].verdict == CheckResult::Failed {
        return Ok(((checks, Vec::new()), log));
    }
    let (host, _engine) = Host::start(
        Arc::clone(&log),
        Settings { inspect_limit: INSPECT_LIMIT, ..Settings::default() },
        Chain::new(),
    );
    let name = super::record::name_of(&arguments.command);
    let spec = Spec::new(arguments.command.clone());
    let (tell, told) = tokio::sync::oneshot::channel();
    let server = Launch { name, spec, era: arguments.era.era(), attendance: Attendance::Nobody };
    let launched = launch(&host, server, move |_| {
        // The receiver may have given up waiting; ignore the error.
        let _ = tell.send(());
    });
    if let Err(error) = launched {
        let fix = "check the path, its permissions, and its first line (#!)";
        checks.push(Check::found(
            "spawn",
            "the server starts and keeps running",
            CheckResult::Failed,
            vec![error.to_string()],
            fix,
        ));
        return Ok(((checks, Vec::new()), log));
    }
    let mut signals = lifecycle::signals().map_err(Failure::peer)?;
    let all_ended = async {
        // The first process may be replaced by another, in the other era: check twice.
        const POLL_INTERVAL: Duration = Duration::from_millis(200);
        loop {
            tokio::time::sleep(POLL_INTERVAL).await;
            if host.processes().iter().all(|process| process.ended().is_some()) {
                tokio::time::sleep(POLL_INTERVAL).await;
                if host.processes().iter().all(|process| process.ended().is_some()) {
                    return;
                }
            }
        }
    };
    let listed = tokio::select! {
        told = told => told.is_ok(),
        () = all_ended => false,
        () = tokio::time::sleep(arguments.timeout) => false,
        () = lifecycle::stopped(&mut signals) => false,
    };
    let after = vec![ends(&host, listed).await];
    host.closed(EXIT_TIMEOUT).await;
    Ok(((checks, after), log))
}

/// Checks that the configuration files of clients can be read.
fn configured() -> Check {
    let (id, title) = ("config", "the configuration files of clients are valid");
    let Ok(homes) = Homes::own() else {
        return Check::skipped(id, title, "there is no home directory");
    };
    let files = homes.files(None);
    let mut broken = Vec::new();
    let mut servers = 0;
    for place in &files {
        match Document::read(place) {
            Ok(document) => servers += document.entries.len(),
            Err(error) => broken.push(error.to_string()),
        }
    }
    match (broken.is_empty(), files.len()) {
        (true, 0) => Check::skipped(id, title, "no configuration file of a known client found"),
        (true, count) => Check::passed(id, title, format!("{servers} servers in {count} files")),
        (false, _) => {
            let fix = "fix the file at that line and column: the client ignores the whole file";
            Check::found(id, title, CheckResult::Warned, broken, fix)
        }
    }
}

/// Checks that clients find the program. Clients with a window have a shorter PATH than a shell.
fn found(command: &[String]) -> Check {
    let (id, title) = ("binary", "clients find the program");
    let Some(program) = command.first() else { return Check::skipped(id, title, "no command") };
    let spec = Spec::new(command.to_vec());
    if let Err(error) = spec.find() {
        let fix = error.hint();
        return Check::found(id, title, CheckResult::Failed, vec![error.to_string()], fix);
    }
    if program.contains('/') {
        return Check::passed(id, title, format!("{program} is a path"));
    }
    const TRIMMED: [&str; 5] = ["/usr/local/bin", "/usr/bin", "/bin", "/usr/sbin", "/sbin"];
    match TRIMMED.iter().map(|place| Path::new(place).join(program)).find(|path| path.is_file()) {
        Some(path) => Check::passed(id, title, path.display().to_string()),
        None => {
            let own = std::env::var_os("PATH")
                .into_iter()
                .flat_map(|path| std::env::split_paths(&path).collect::<Vec<PathBuf>>());
            let place = own.map(|place| place.join(program)).find(|path| path.is_file());
            let place = place.map_or_else(|| program.clone(), |path| path.display().to_string());
            Check::found(
                id,
                title,
                CheckResult::Warned,
                vec![format!(
                    "{place} is on your PATH, but not on the PATH of desktop clients ({})",
                    TRIMMED.join(":")
                )],
                format!("write {place} into the configuration instead of {program}"),
            )
        }
    }
}

/// Checks that the server ends when its stdin is closed, as the MCP specification requires.
async fn ends(host: &Arc<Host>, listed: bool) -> Check {
    let (id, title) = ("shutdown", "the server exits when its client closes stdin");
    let running: Vec<_> = host.processes().into_iter().filter(|process| process.ended().is_none()).collect();
    host.close_inputs();
    if running.is_empty() {
        let why = "the server ended by itself, before its client closed stdin".to_owned();
        let fix = "keep running until standard input ends: a client takes an earlier end for a crash";
        return Check::found(id, title, CheckResult::Failed, vec![why], fix);
    }
    let mut late = Vec::new();
    for process in running {
        if tokio::time::timeout(EXIT_TIMEOUT, process.wait()).await.is_err() {
            late.push(format!(
                "process {} was still running after {EXIT_TIMEOUT:?} and was terminated by a signal",
                process.id()
            ));
            process.terminate().await;
        }
    }
    let fix = "exit when standard input ends: clients close it and wait, and leave a running process behind";
    match late.is_empty() {
        true => Check::passed(
            id,
            title,
            if listed { "exited in time" } else { "exited in time, before everything was listed" },
        ),
        false => Check::found(id, title, CheckResult::Warned, late, fix),
    }
}

/// Calls an HTTP server with the built-in client.
async fn called(url: &str, arguments: &Arguments) -> Result<Arc<Log>, Failure> {
    let log = Log::new(Clock::system(), EVIDENCE_BYTES);
    let (host, _engine) = Host::start(
        Arc::clone(&log),
        Settings { inspect_limit: INSPECT_LIMIT, ..Settings::default() },
        Chain::new(),
    );
    let (server, _) = arguments.way.connect(url, false, &host).await?;
    let nobody = Guard::new(std::net::Ipv4Addr::LOCALHOST.into(), &[]);
    let service =
        service(&host, server, nobody, None, ProxyOptions { explains: true, ..ProxyOptions::default() });
    let (tell, told) = tokio::sync::oneshot::channel();
    let client = BuiltInClient {
        headers: arguments.way.headers()?,
        era: arguments.era.era(),
        attendance: Attendance::Nobody,
    };
    let client = service.connect(client, move |_| {
        // The receiver may have given up waiting; ignore the error.
        let _ = tell.send(());
    });
    // A failed handshake or a time-out is not an error here: the checks find it in the log.
    let _ = tokio::time::timeout(arguments.timeout, told).await;
    client.leave().await;
    service.close("all requests were sent");
    Ok(log)
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

fn render(title: &str, checks: &[Check], form: Form, report: impl FnOnce(&str) -> String) -> String {
    let value = json!({ "server": title, "checks": checks, "verdict": doctor::worst(checks) });
    match form {
        Form::Junit => doctor::junit(title, checks),
        Form::Json => output::pretty(&value) + "\n",
        Form::Yaml => output::yaml(&value),
        Form::Text => text(title, checks),
        Form::Markdown => report(&doctor::markdown(title, checks)),
    }
}

fn text(title: &str, checks: &[Check]) -> String {
    let count = |verdict| checks.iter().filter(|check| check.verdict == verdict).count();
    let mut text = format!("{}\n", output::harmless(title));
    for check in checks {
        let sign = match check.verdict {
            CheckResult::Passed => "ok  ",
            CheckResult::Warned => "warn",
            CheckResult::Unjudged => "?   ",
            CheckResult::Failed => "FAIL",
            CheckResult::Skipped => "-   ",
        };
        let mut evidence = check.evidence.iter().map(|line| output::harmless(line));
        let first = evidence.next().unwrap_or_default();
        match check.verdict {
            CheckResult::Passed | CheckResult::Skipped => {
                text.push_str(&format!("{sign}  {}: {first}\n", check.title))
            }
            CheckResult::Warned | CheckResult::Unjudged | CheckResult::Failed => {
                text.push_str(&format!("{sign}  {}\n        {first}\n", check.title));
                evidence.for_each(|line| text.push_str(&format!("        {line}\n")));
                if let Some(fix) = &check.fix {
                    text.push_str(&format!("        fix: {fix}\n"));
                }
            }
        }
    }
    text.push_str(&format!(
        "{} failed{}, {} warned, {} passed\n",
        count(CheckResult::Failed),
        match count(CheckResult::Unjudged) {
            0 => String::new(),
            unjudged => format!(", {unjudged} could not be judged"),
        },
        count(CheckResult::Warned),
        count(CheckResult::Passed)
    ));
    text
}
