//! `shadowcat mcp`: the debugger as an MCP server, for agents.

use std::process::ExitCode;

use clap::Args;

use super::failure::Failure;
use crate::control::agent;

/// Arguments of `mcp`.
#[derive(Debug, Args)]
pub struct Arguments {
    /// Offer tools that hold, edit, drop, answer and inject messages too, not only those that read.
    #[arg(long)]
    allow_control: bool,
}

/// Serves on standard input and output until the agent has ended, then exits the process.
///
/// # Errors
/// Fails if the agent does not speak MCP.
pub async fn run(arguments: &Arguments) -> Result<ExitCode, Failure> {
    agent::serve(arguments.allow_control).await.map_err(Failure::peer)?;
    // The thread that reads standard input may be blocked in its read; only the end of the process
    // ends it.
    std::process::exit(0)
}
