//! `shadowcat forward`: between a client and a server, and nobody can tell.

mod http;
mod stdio;

use std::process::ExitCode;

use clap::{Args, Subcommand};

use super::failure::Failure;

/// Arguments of `forward`.
#[derive(Debug, Args)]
pub struct Arguments {
    #[command(subcommand)]
    transport: Transport,
}

#[derive(Debug, Subcommand)]
enum Transport {
    /// A stdio server: put this in the place of its command in the client's configuration.
    Stdio(stdio::Arguments),
    /// An HTTP server: give clients our address in the place of its own.
    Http(http::Arguments),
}

/// Forwards until one side ends it.
pub async fn run(arguments: Arguments) -> Result<ExitCode, Failure> {
    match arguments.transport {
        Transport::Stdio(arguments) => stdio::run(arguments).await,
        Transport::Http(arguments) => http::run(arguments).await,
    }
}
