//! `shadowcat demo`.
use super::failure::Failure;
use super::output::Color;
use clap::Args;
use std::process::ExitCode;

#[derive(Debug, Args)]
pub struct Arguments {}
#[derive(Debug, Args)]
pub struct ServerArguments {}

pub async fn run(_: Arguments, _: Color) -> Result<ExitCode, Failure> {
    Ok(ExitCode::SUCCESS)
}
pub fn serve(_: &ServerArguments) -> Result<ExitCode, Failure> {
    Ok(ExitCode::SUCCESS)
}
