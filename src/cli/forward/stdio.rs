//! `shadowcat forward stdio`: a stdio server, and its client on our own standard streams.

use std::io;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;

use crate::cli::failure::Failure;
use crate::cli::record;
use crate::proxy::host::{End, Host, Settings};
use crate::proxy::supervise;
use crate::transport::child::{Ended, Spec};
use crate::transport::stdio;

/// Arguments of `forward stdio`.
#[derive(Debug, Args)]
pub struct Arguments {
    #[command(flatten)]
    record: record::Recording,
    /// The server's command line.
    #[arg(last = true, required = true, value_name = "CMD")]
    command: Vec<String>,
}

/// How long closing the streams may take.
const CLOSE: Duration = Duration::from_secs(1);

/// Forwards until the server has ended, and exits as it did.
pub async fn run(arguments: Arguments) -> Result<ExitCode, Failure> {
    let Arguments { record, command } = arguments;
    // From the client's bytes to the server and back, outermost first:
    // the log, that everything is recorded in before anyone rules on it …
    let log = record.log();
    // … the tape, which follows it at its own pace …
    let mut recorder = record.record(&log, &command);
    // … the engine, with nobody to decide, so nothing is ever held …
    let settings = Settings { inspect_limit: record.inspect_limit };
    let (host, _engine) = Host::start(log, settings);
    // … the server, in a process group of its own …
    let spec = Spec { command, directory: None };
    let mut signals = supervise::signals().map_err(Failure::peer)?;
    let child = spec.spawn().map_err(|error| {
        Failure::peer(error).hint("the command after -- is started as it stands, without a shell")
    })?;
    let process = child.process.clone();
    // … and the client, on our own standard streams.
    let (input, output) = stdio::take().map_err(Failure::peer)?;
    let watched = supervise::ClientWatch { input: input.watch(), output: output.watch() };
    let stderr: Box<dyn io::Write + Send> = Box::new(stdio::stderr().map_err(Failure::peer)?);
    let client = End { source: Box::new(input), sink: Box::new(output) };
    let name = record.name_for(&spec.command);
    let (session, threads) =
        host.open_stdio(&name, &spec, child, client, stderr, false).map_err(Failure::peer)?;

    let ended = supervise::until_end(&session, &process, &threads, &watched, &mut signals).await;
    let stop = async {
        // Whoever asks a second time does not want to wait for the client.
        signals.recv().await;
    };
    supervise::wind_down(&session, &threads, || watched.output.is_hung_up(), stop).await;
    session.close("the server ended", Some(ended.into()));
    threads.closed(CLOSE).await;
    if let Some(recorder) = &mut recorder {
        recorder.finish();
    }
    exit_as(ended)
}

/// Ends this process the way the server ended. The lane that reads the client may be blocked in
/// its read, which only the end of the process ends.
fn exit_as(ended: Ended) -> Result<ExitCode, Failure> {
    match ended {
        Ended::Code(code) => std::process::exit(code),
        Ended::Signal(signal) => {
            // Dies of the same signal where that is possible; else says it as shells do.
            let _ = signal_hook::low_level::emulate_default_handler(signal);
            std::process::exit(128 + signal)
        }
    }
}
