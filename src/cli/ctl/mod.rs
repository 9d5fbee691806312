//! `shadowcat ctl`: the functions of the screen, for scripts.

mod decide;
mod pipe;
mod reach;
mod read;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Subcommand};

use super::failure::Failure;
use super::output::{self, Format};
use crate::control;
use crate::control::reach::{EngineSelector, Reached};
use crate::engine::Command;
use crate::log::record::Seq;

/// Arguments of `ctl`.
#[derive(Debug, Args)]
pub struct Arguments {
    #[command(flatten)]
    selector: reach::SelectorArguments,
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// List the sessions of every running shadowcat.
    Sessions {
        #[arg(long, value_enum, default_value_t)]
        output: Format,
    },
    /// List the frames of a running session; in JSON one object a line with --follow.
    Frames(read::FramesArguments),
    /// Wait for a frame that matches a query; exits with 1 when none comes in time.
    Wait(read::WaitArguments),
    /// Arm a breakpoint: messages that match its query are held.
    Hold(decide::HoldArguments),
    /// List the held messages.
    Held {
        #[arg(long, value_enum, default_value_t)]
        output: Format,
    },
    /// Let a held message go on, as it is or as it was edited.
    Accept(decide::AcceptArguments),
    /// Change a held message; it stays held.
    Edit(decide::EditArguments),
    /// Keep a held message from its peer.
    Drop(decide::DropArguments),
    /// Answer a held request in the place of the other side.
    Answer {
        /// Id of the frame, as `held` lists it.
        id: Seq,
        /// File with the answer: a JSON-RPC message, or the result alone; - is standard input.
        #[arg(long, value_name = "FILE")]
        file: PathBuf,
    },
    /// Send a message of your own to the server or the client.
    Inject(decide::InjectArguments),
    /// Start a server again.
    Restart {
        /// Number of the session, as `sessions` lists it; the newest if not given.
        number: Option<u32>,
    },
    /// List and change breakpoints.
    Rules {
        #[command(subcommand)]
        rules: Option<decide::Rules>,
    },
    /// Print the control protocol as an OpenRPC document.
    Schema,
    /// Join standard input and output to the control socket of one shadowcat.
    Pipe,
}

/// Time that a breakpoint of a script holds a message while no controller decides: a script that died
/// must not stop its server for ever.
const DEFAULT_PATIENCE: Duration = Duration::from_secs(60);

/// Runs a `ctl` command.
///
/// # Errors
/// Fails if the engine cannot be reached, refuses the command, or an argument is invalid.
pub async fn run(Arguments { selector, what }: Arguments) -> Result<ExitCode, Failure> {
    let selector: EngineSelector = selector.into();
    match what {
        What::Sessions { output } => read::sessions(&selector, output).await,
        What::Frames(arguments) => read::frames(&selector, arguments).await,
        What::Wait(arguments) => read::wait(&selector, arguments).await,
        What::Hold(arguments) => decide::hold(&selector, arguments).await,
        What::Held { output } => read::held(&selector, output).await,
        What::Accept(arguments) => decide::accept(&selector, arguments).await,
        What::Edit(arguments) => decide::edit(&selector, arguments).await,
        What::Drop(arguments) => decide::drop_held(&selector, &arguments).await,
        What::Answer { id, file } => decide::answer(&selector, id, &file).await,
        What::Inject(arguments) => decide::inject(&selector, arguments).await,
        What::Restart { number } => decide::restart(&selector, number).await,
        What::Rules { rules } => {
            decide::rules(&selector, rules.unwrap_or(decide::Rules::List { output: Format::default() })).await
        }
        What::Schema => {
            output::print(&(output::pretty(&control::document()) + "\n")).map_err(Failure::usage)?;
            Ok(ExitCode::SUCCESS)
        }
        What::Pipe => pipe::run(&selector).await,
    }
}

/// Sends a command that has no result to print.
async fn done(engine: &Reached, command: Command) -> Result<ExitCode, Failure> {
    engine.command(&command).await?;
    Ok(ExitCode::SUCCESS)
}
