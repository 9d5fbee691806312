//! `tape test`: a recorded client replayed against a server.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;

use super::report::{Judgement, render};
use super::{TapeName, opened, scope};
use crate::cli::failure::{Failure, FailureKind};
use crate::cli::http::{UpstreamArguments, service, target};
use crate::cli::{output, record};
use crate::host::{Host, Settings};
use crate::http::{Bridge, ProxyOptions};
use crate::intercept::Chain;
use crate::log::Log;
use crate::log::record::{Body, Channel, Closed, Origin, SessionId};
use crate::log::world::World;
use crate::mcp::{Direction, json};
use crate::replay::rehearsal::{Rehearsal, RehearsalOutcome};
use crate::stdio::lifecycle;
use crate::stdio::link::LinkEnd;
use crate::tape::compare::{Side, compare};
use crate::tape::script::Script;
use crate::tape::similarity::Ignored;
use crate::tape::writer::RecordingInfo;
use crate::tape::{OpenedTape, Recorder, TapeWriter, files};
use crate::transport::child::Spec;
use crate::transport::http::Guard;
use crate::transport::memory;

/// Arguments of `tape test`.
#[derive(Debug, Args)]
pub struct Arguments {
    #[command(flatten)]
    tape: TapeName,
    /// URL of an HTTP server to test.
    #[arg(long, value_name = "URL", conflicts_with = "command")]
    upstream: Option<String>,
    #[command(flatten)]
    way: UpstreamArguments,
    /// Leave this part of answers out: a JSONPath into `{"result": …}` or `{"error": …}`.
    #[arg(long, value_name = "PATH")]
    ignore: Vec<String>,
    /// Send only what the client sent in this session of the recording.
    #[arg(long, value_name = "NUMBER")]
    session: Option<u32>,
    /// Time limit for an answer, e.g. 30s.
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = crate::cli::values::duration)]
    timeout: Duration,
    /// Record the test to this tape.
    #[arg(long, value_name = "FILE")]
    record: Option<PathBuf>,
    #[arg(long, value_enum, default_value_t)]
    output: Judgement,
    /// Command line of a stdio server to test.
    #[arg(last = true, required_unless_present = "upstream", value_name = "CMD")]
    command: Vec<String>,
}

/// Capacity of each pipe between the client and the server, in chunks.
const PIPE_CHUNKS: usize = 64;
/// Time limit for closing the streams.
const CLOSE: Duration = Duration::from_secs(1);

/// Sends what the recorded client sent, and compares the answers. The exit code is 1 if they differ.
///
/// # Errors
/// Fails if the recording cannot be opened or has no requests, the server answers nothing, or the new
/// tape cannot be created.
pub async fn run(arguments: Arguments) -> Result<ExitCode, Failure> {
    let ignored = Ignored::parse(&arguments.ignore).map_err(Failure::usage)?;
    // The recording, session by session …
    let tape = opened(&arguments.tape.tape)?;
    let only = scope(&tape, arguments.session)?;
    let sessions: Vec<SessionId> = match only {
        Some(only) => vec![only],
        None => tape.world.sessions.keys().copied().collect(),
    };
    // … an engine for the test, and a tape of it if one is wanted …
    let log = Log::new(crate::clock::Clock::system(), usize::MAX);
    let mut recorder = match &arguments.record {
        Some(path) => {
            let subject = RecordingInfo {
                name: tape.header.name.clone(),
                target: arguments.command.clone(),
                parent: Some(tape.header.tape.clone()),
            };
            let writer = TapeWriter::create(path, subject, &log).and_then(Recorder::start);
            Some(writer.map_err(|error| record::refused(path, &error))?)
        }
        None => None,
    };
    let (host, _engine) = Host::start(Arc::clone(&log), Settings::default(), Chain::new());
    let mut signals = lifecycle::signals().map_err(Failure::peer)?;
    // … each session on a server of its own, as it was recorded …
    let mut silent = Vec::new();
    let mut asked = 0;
    for session in sessions {
        let script = Script::read(&tape.world, &tape.log, Some(session));
        let requests = script.requests().count();
        if requests == 0 {
            continue;
        }
        asked += requests;
        let outcome = tokio::select! {
            outcome = rehearse(&host, &arguments, &tape, &script) => outcome?,
            () = lifecycle::stopped(&mut signals) => {
                host.close_inputs();
                for process in host.processes() {
                    process.terminate().await;
                }
                if let Some(recorder) = &mut recorder {
                    recorder.finish();
                }
                return Ok(ExitCode::from(FailureKind::Interrupted as u8));
            }
        };
        if outcome.answered == 0 || !has_spoken(&log) {
            return Err(Failure::peer(format!("the server did not answer{}", last_words(&log)))
                .hint("run the server by hand; `--record FILE` records the test on a tape"));
        }
        if outcome.cut_short {
            output::say(&format!("the server ended before all requests of session {} were sent", session.0));
        }
        silent.extend(outcome.silent);
    }
    if asked == 0 {
        return Err(Failure::usage("the recording has no requests, so there is nothing to test"));
    }
    if let Some(recorder) = &mut recorder {
        recorder.finish();
    }
    // … and the comparison.
    let mut world = World::default();
    log.window(1, usize::MAX).iter().for_each(|record| world.apply(record));
    let mut report = compare(
        &Side { world: &tape.world, log: &tape.log, only },
        &Side { world: &world, log: &log, only: None },
        &ignored,
    );
    report.add_silent(&silent, &Script::read(&tape.world, &tape.log, only));
    let against = arguments.upstream.as_deref().map_or_else(|| arguments.command.join(" "), target);
    let title = format!("{} against {against}", files::stem(&tape.path));
    output::print(&render(&report, &title, arguments.output)).map_err(Failure::usage)?;
    Ok(if report.has_drift() { ExitCode::from(FailureKind::Check as u8) } else { ExitCode::SUCCESS })
}

/// Returns `true` if the server itself has sent a message. An answer that shadowcat makes in the
/// place of an unreachable server does not count.
fn has_spoken(log: &Log) -> bool {
    let records = log.window(1, usize::MAX);
    let mut frames = records.iter().filter_map(|record| record.frame());
    frames.any(|frame| {
        frame.direction == Direction::ToClient
            && frame.origin == Origin::Wire
            && frame.channel == Channel::Main
            && frame.message.is_rpc()
    })
}

/// Describes the end of a server that answers nothing: its exit status and stderr, or the reason why
/// it cannot be reached.
fn last_words(log: &Log) -> String {
    const LINES: usize = 5;
    let mut said: Vec<String> = Vec::new();
    let mut end = String::new();
    for record in log.window(1, usize::MAX) {
        match &record.body {
            Body::Frame(frame) if frame.channel == Channel::Stderr => {
                said.push(String::from_utf8_lossy(frame.message.body()).trim_end().to_owned());
            }
            Body::Frame(frame) if frame.origin != Origin::Wire => {
                let body = frame.message.body();
                let message = json::lookup(body, 0..body.len(), &["error", "message"]);
                let message = message.and_then(|span| json::unescape(&body[span]));
                end = message.map_or(end, |message| format!(": {message}"));
            }
            Body::Closed(Closed { exit: Some(exit), .. }) => end = format!(": it {exit}"),
            _ => {}
        }
    }
    let from = said.len().saturating_sub(LINES);
    said[from..].iter().fold(end, |end, line| format!("{end}\n  stderr: {line}"))
}

/// Plays one session to a server that is started, or called, for it alone.
async fn rehearse(
    host: &Arc<Host>,
    arguments: &Arguments,
    tape: &OpenedTape,
    script: &Script,
) -> Result<RehearsalOutcome, Failure> {
    let (to_server, from_client) = memory::pipe(PIPE_CHUNKS);
    let (to_client, from_server) = memory::pipe(PIPE_CHUNKS);
    let rehearsal = Rehearsal::new(script, to_server, from_server, record::INSPECT_LIMIT, arguments.timeout);
    let name = &tape.header.name;
    if let Some(upstream) = &arguments.upstream {
        let (server, _) = arguments.way.connect(upstream, false, host).await?;
        let nobody = Guard::new(std::net::Ipv4Addr::LOCALHOST.into(), &[]);
        let options = ProxyOptions { explains: true, ..ProxyOptions::default() };
        let service = service(host, server, nobody, Some(name), options);
        let bridge = Bridge::new(Arc::clone(&service), to_client, arguments.way.headers()?);
        let running = tokio::spawn(bridge.run(from_client));
        let outcome = rehearsal.run().await;
        // The bridge ends by itself, since its client is gone.
        let _ = running.await;
        service.close("all requests were sent");
        return Ok(outcome);
    }
    let spec = Spec::new(arguments.command.clone());
    let child = spec.spawn()?;
    let process = child.process.clone();
    let client = LinkEnd { source: Box::new(from_client), sink: Box::new(to_client) };
    let nowhere = Box::new(std::io::sink());
    let (session, threads) =
        host.open_stdio(name, &spec, child, client, nowhere, true).map_err(Failure::peer)?;
    let outcome = rehearsal.run().await;
    process.shut_down().await;
    let ended = process.wait().await;
    session.close("all requests were sent", Some(ended.into()));
    threads.closed(CLOSE).await;
    Ok(outcome)
}
