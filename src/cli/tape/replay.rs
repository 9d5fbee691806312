//! `tape replay`: a recording in the place of its server.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::{Args, Parser, ValueEnum};

use super::{TapeName, opened, scope};
use crate::cli::failure::{Failure, FailureKind};
use crate::cli::{output, record, reverse};
use crate::clock::Clock;
use crate::log::Log;
use crate::log::store::DEFAULT_BOUND;
use crate::replay::standin::{StandInConfig, StandInServer};
use crate::stdio::lifecycle;
use crate::tape::builder::TapeBuilder;
use crate::tape::player::Speed;
use crate::tape::replay::{OnMiss, StandIn, StandInOptions};
use crate::tape::script::Script;
use crate::tape::similarity::Ignored;
use crate::tape::writer::RecordingInfo;
use crate::tape::{OpenedTape, Recorder, TapeWriter};
use crate::transport::child::Spec;
use crate::transport::stdio;

/// Arguments of `tape replay`.
#[derive(Debug, Args)]
pub struct Arguments {
    #[command(flatten)]
    tape: TapeName,
    /// Answer to a request that the recording does not have.
    #[arg(long, value_enum, default_value_t)]
    on_miss: MissChoice,
    /// Keep the times of the recording, this much faster or slower (0.1 to 10, max); without it
    /// everything is answered at once. Some clients drop progress that comes together with its
    /// result: they need the times.
    #[arg(long, value_name = "SPEED")]
    speed: Option<Speed>,
    /// Leave this part of the arguments out when requests are matched: a JSONPath into `params`.
    #[arg(long, value_name = "PATH")]
    ignore: Vec<String>,
    /// Answer for one session of the recording only.
    #[arg(long, value_name = "NUMBER")]
    session: Option<u32>,
    /// With --on-miss pass-through: record the traffic to this new tape.
    #[arg(long, value_name = "FILE", requires = "command")]
    learn: Option<PathBuf>,
    /// Serve over HTTP here, at /mcp, instead of on standard input and output.
    #[arg(long, value_name = "ADDR:PORT", conflicts_with = "learn")]
    listen: Option<SocketAddr>,
    /// Also answer to this host name, and to web pages of it.
    #[arg(long, value_name = "HOST", requires = "listen")]
    allow_host: Vec<String>,
    /// Also serve web pages of this origin (scheme, host and port; or null).
    #[arg(long, value_name = "ORIGIN", requires = "listen", value_parser = crate::cli::values::origin)]
    allow_origin: Vec<String>,
    /// Command line of the real server that is asked with --on-miss pass-through.
    #[arg(last = true, value_name = "CMD")]
    command: Vec<String>,
}

/// Time limit for closing the streams.
const CLOSE: Duration = Duration::from_secs(1);

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
enum MissChoice {
    /// Error that names the nearest recorded request.
    #[default]
    Error,
    /// Recorded answer to the nearest request of the same method.
    Nearest,
    /// Answer of the real server.
    PassThrough,
}

/// Stands in for the server until the client has ended, then exits the process.
///
/// # Errors
/// Fails if the options do not fit together, the tape cannot be opened or has no requests, or the new
/// tape cannot be created.
pub async fn run(arguments: Arguments) -> Result<ExitCode, Failure> {
    let passes = arguments.on_miss == MissChoice::PassThrough;
    if passes == arguments.command.is_empty() {
        return Err(Failure::usage(
            "--on-miss pass-through needs the real server's command line, and the other way round",
        )
        .hint("shadowcat tape replay TAPE --on-miss pass-through -- CMD"));
    }
    if let Some(address) = arguments.listen {
        return listen(&arguments, address).await;
    }
    // The recording, and the requests and answers in it …
    let tape = opened(&arguments.tape.tape)?;
    let (script, ignored) = read(&tape, &arguments)?;
    // … the stand-in that gives the answers again …
    let on_miss = match arguments.on_miss {
        MissChoice::Error => OnMiss::Error,
        MissChoice::Nearest => OnMiss::Nearest,
        MissChoice::PassThrough => OnMiss::PassThrough,
    };
    let clock = Clock::system();
    let standin =
        StandIn::new(script, StandInOptions { on_miss, speed: arguments.speed, ignored }, clock.clone());
    // … the real server behind it, and the new tape that names this one as its parent …
    let real = passes.then(|| Spec::new(arguments.command.clone()));
    let mut learnt = match &arguments.learn {
        Some(path) => {
            let subject = RecordingInfo {
                name: tape.header.name.clone(),
                target: arguments.command.clone(),
                parent: Some(tape.header.tape.clone()),
            };
            Some(learn(path, subject, clock)?)
        }
        None => None,
    };
    let builder = learnt.as_mut().and_then(|(builder, _)| builder.take());
    let config = StandInConfig { standin, real, builder, limit: record::INSPECT_LIMIT };
    // … and the client, on the standard streams of this process.
    let (input, output) = stdio::claim_standard_streams().map_err(Failure::peer)?;
    let mut signals = lifecycle::signals().map_err(Failure::peer)?;
    let standing = StandInServer::new(config);
    let stop = standing.stop();
    let played = tokio::task::spawn_blocking(move || standing.run(input, output));
    tokio::pin!(played);
    let (played, interrupted) = tokio::select! {
        played = &mut played => (played, false),
        () = lifecycle::stopped(&mut signals) => {
            stop.stop();
            // A client that does not read must not delay the exit.
            (tokio::time::timeout(CLOSE, played).await.unwrap_or(Ok(Ok(()))), true)
        }
    };
    if let Some((_, mut recorder)) = learnt {
        recorder.finish();
    }
    let code = match played.map_err(Failure::peer)? {
        _ if interrupted => FailureKind::Interrupted as i32,
        Ok(()) => 0,
        Err(error) => {
            output::say(&Failure::peer(error).to_string());
            FailureKind::Peer as i32
        }
    };
    // The thread that reads the client may be blocked in its read; only the end of the process ends
    // it.
    std::process::exit(code)
}

/// Reads the requests and answers of the recording, and the paths that matching ignores.
fn read(tape: &OpenedTape, arguments: &Arguments) -> Result<(Script, Ignored), Failure> {
    let ignored = Ignored::parse(&arguments.ignore).map_err(Failure::usage)?;
    let script = Script::read(&tape.world, &tape.log, scope(tape, arguments.session)?);
    if script.requests().next().is_none() {
        return Err(Failure::usage(
            "the recording has no requests, so there is nothing to test / to answer it answers nothing",
        ));
    }
    Ok((script, ignored))
}

/// Creates a tape builder whose records go to a new tape.
fn learn(
    path: &std::path::Path,
    subject: RecordingInfo,
    clock: Clock,
) -> Result<(Option<TapeBuilder>, Recorder), Failure> {
    let log = Log::new(clock, DEFAULT_BOUND);
    let recorder = TapeWriter::create(path, subject.clone(), &log)
        .and_then(Recorder::start)
        .map_err(|error| record::refused(path, &error))?;
    Ok((Some(TapeBuilder::on(Arc::clone(&log), subject)), recorder))
}

/// Serves over HTTP: the gateway, in front of one process like this one for each session.
async fn listen(arguments: &Arguments, address: SocketAddr) -> Result<ExitCode, Failure> {
    #[derive(Parser)]
    struct Gateway {
        #[command(flatten)]
        arguments: reverse::Arguments,
    }
    if arguments.tape.tape == "-" {
        return Err(Failure::usage(
            "--listen reads the tape again for each client, which standard input does not allow",
        )
        .hint("write it to a file first"));
    }
    // Open the tape here once, so that a wrong name is reported before a client connects.
    let tape = opened(&arguments.tape.tape)?;
    read(&tape, arguments)?;
    let own = std::env::current_exe().map_err(Failure::usage)?;
    let mut words: Vec<String> = vec![own.display().to_string(), "tape".into(), "replay".into()];
    words.push(std::path::absolute(&tape.path).unwrap_or(tape.path).display().to_string());
    let mut option = |name: &str, value: String| words.extend([name.to_owned(), value]);
    if let Some(choice) = arguments.on_miss.to_possible_value() {
        option("--on-miss", choice.get_name().to_owned());
    }
    arguments.speed.iter().for_each(|speed| option("--speed", speed.to_string()));
    arguments.session.iter().for_each(|session| option("--session", session.to_string()));
    arguments.ignore.iter().for_each(|path| option("--ignore", path.clone()));
    if !arguments.command.is_empty() {
        words.push("--".into());
        words.extend(arguments.command.iter().cloned());
    }
    let upstream = shell_words::join(&words);
    let mut options: Vec<String> =
        ["replay", "--name", &tape.header.name, "--upstream", &upstream, "--bind", &address.to_string()]
            .map(str::to_owned)
            .to_vec();
    for host in &arguments.allow_host {
        options.extend(["--allow-host".to_owned(), host.clone()]);
    }
    for origin in &arguments.allow_origin {
        options.extend(["--allow-origin".to_owned(), origin.clone()]);
    }
    let Gateway { arguments } = Gateway::try_parse_from(options).map_err(Failure::usage)?;
    reverse::run(arguments).await
}
