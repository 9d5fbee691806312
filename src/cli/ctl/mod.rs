//! `shadowcat ctl`: what a screen shows and does, for scripts.

mod decide;
mod look;
mod pipe;
mod reach;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Subcommand};

use super::failure::Failure;
use super::output::{self, Format};
use crate::control;
use crate::control::reach::{Reached, Whom};
use crate::engine::Command;
use crate::log::record::Seq;

/// Arguments of `ctl`.
#[derive(Debug, Args)]
pub struct Arguments {
    #[command(flatten)]
    whom: reach::WhomArguments,
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// What is running: every session of every shadowcat.
    Sessions {
        #[arg(long, value_enum, default_value_t)]
        output: Format,
    },
    /// The frames of a running session; in JSON one object a line with --follow.
    Frames(look::FramesArguments),
    /// Wait for a frame that a query matches; exits with 1 when none comes in time.
    Wait(look::WaitArguments),
    /// Arm a breakpoint: what this query matches is held.
    Hold(decide::HoldArguments),
    /// What is held.
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
        /// The frame, as `held` lists it.
        id: Seq,
        /// The answer: a JSON-RPC message, or the result alone; - is standard input.
        #[arg(long, value_name = "FILE")]
        file: PathBuf,
    },
    /// Send a message of your own past the peers.
    Inject(decide::InjectArguments),
    /// Start a server again.
    Restart {
        /// The session, as `sessions` lists it; the newest if not given.
        number: Option<u32>,
    },
    /// The breakpoints.
    #[command(subcommand)]
    Rules(decide::Rules),
    /// Print the control protocol as an OpenRPC document.
    Schema,
    /// Join standard input and output to the control socket of one shadowcat.
    Pipe,
}

/// How long a breakpoint of a script holds while nobody decides: a script that died must not stop
/// its server for ever.
const PATIENCE: Duration = Duration::from_secs(60);

/// Runs the command.
pub async fn run(Arguments { whom, what }: Arguments) -> Result<ExitCode, Failure> {
    let whom: Whom = whom.into();
    match what {
        What::Sessions { output } => look::sessions(&whom, output).await,
        What::Frames(arguments) => look::frames(&whom, arguments).await,
        What::Wait(arguments) => look::wait(&whom, arguments).await,
        What::Hold(arguments) => decide::hold(&whom, arguments).await,
        What::Held { output } => look::held(&whom, output).await,
        What::Accept(arguments) => decide::accept(&whom, arguments).await,
        What::Edit(arguments) => decide::edit(&whom, arguments).await,
        What::Drop(arguments) => decide::drop_held(&whom, &arguments).await,
        What::Answer { id, file } => decide::answer(&whom, id, &file).await,
        What::Inject(arguments) => decide::inject(&whom, arguments).await,
        What::Restart { number } => decide::restart(&whom, number).await,
        What::Rules(rules) => decide::rules(&whom, rules).await,
        What::Schema => {
            output::print(&(output::pretty(&control::document()) + "\n")).map_err(Failure::usage)?;
            Ok(ExitCode::SUCCESS)
        }
        What::Pipe => pipe::run(&whom).await,
    }
}

/// A command that wants nothing but to be done.
async fn done(engine: &Reached, command: Command) -> Result<ExitCode, Failure> {
    engine.command(&command).await?;
    Ok(ExitCode::SUCCESS)
}
