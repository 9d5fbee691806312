//! `shadowcat demo`: a look around, with nothing to install.

use std::io;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;

use super::failure::Failure;
use super::output::Color;
use super::{record, tui};
use crate::demo::{script, server};
use crate::mcp::Era;
use crate::proxy::client::{Attendance, Client};
use crate::proxy::host::Host;
use crate::proxy::launch::{Launch, launch};
use crate::transport::child::Spec;

/// Arguments of `demo`.
#[derive(Debug, Args)]
pub struct Arguments {
    #[command(flatten)]
    record: record::Recording,
    #[command(flatten)]
    look: tui::LookArguments,
}

/// Arguments of the demo's server.
#[derive(Debug, Args)]
pub struct ServerArguments {
    /// Milliseconds that one step of a slow call takes.
    #[arg(long, default_value_t = 400)]
    pace: u64,
}

/// Opens the screen on the built-in server, in both eras, with a client that follows a script.
pub async fn run(arguments: Arguments, color: Color) -> Result<ExitCode, Failure> {
    let Arguments { record, look } = arguments;
    let look = look.look(color)?;
    let program = std::env::current_exe().map_err(Failure::usage)?;
    let command = vec![program.display().to_string(), "demo-server".to_owned()];
    let log = record.log();
    let recorder = record.record(&log, &["demo".to_owned()]);
    let (host, engine) = Host::start(log, record.settings());
    host.breakpoints().attend();
    for (name, era, attendance) in [
        ("demo-2026", Era::Stateless, Attendance::Script(script::answer())),
        ("demo-2025", Era::Stateful, Attendance::Person),
    ] {
        let spec = Spec { command: command.clone(), directory: None };
        let server = Launch { name: name.to_owned(), spec, era: Some(era), attendance };
        launch(&host, server, move |client| play(client, era)).map_err(Failure::peer)?;
    }
    tui::show(&host, engine, recorder, look).await
}

/// Makes the calls of the script, each in its time.
fn play(client: Arc<Client>, era: Era) {
    tokio::spawn(async move {
        for step in script::steps(era) {
            tokio::time::sleep(step.after).await;
            if client.call(step.method, Some(step.params)).await.is_err() {
                // The server is gone, and the screen says so.
                return;
            }
        }
    });
}

/// Serves the demo on standard input and output.
pub fn serve(arguments: &ServerArguments) -> Result<ExitCode, Failure> {
    let pace = Duration::from_millis(arguments.pace);
    server::serve(io::stdin().lock(), io::stdout(), pace).map_err(Failure::peer)?;
    Ok(ExitCode::SUCCESS)
}
