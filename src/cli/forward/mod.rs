//! `shadowcat forward`: a proxy between a client and a server that neither of them notices.

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
    /// Forward to a stdio server: put this command in the place of the server's in the client's
    /// configuration.
    Stdio(stdio::Arguments),
    /// Forward to an HTTP server: give clients the address of shadowcat in the place of the server's.
    Http(http::Arguments),
}

/// Forwards until one side ends.
///
/// # Errors
/// Fails if an argument is invalid, or the server cannot be started or reached.
pub async fn run(arguments: Arguments) -> Result<ExitCode, Failure> {
    match arguments.transport {
        Transport::Stdio(arguments) => stdio::run(arguments).await,
        Transport::Http(arguments) => http::run(arguments).await,
    }
}
