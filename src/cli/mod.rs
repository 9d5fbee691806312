//! Command line of shadowcat: each file contains one command, which assembles one mode of the
//! program.

mod appearance;
mod attach;
mod config;
mod ctl;
mod demo;
mod doctor;
mod failure;
mod forward;
mod http;
mod mcp;
mod output;
mod record;
mod reverse;
mod screens;
mod secrets;
mod socket;
mod tape;
mod tui;
mod values;
mod wrap;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{Args, CommandFactory, Parser, Subcommand, ValueEnum};

use failure::{Failure, FailureKind};

/// A terminal debugger and gateway for MCP, the Model Context Protocol.
#[derive(Debug, Parser)]
#[command(name = "shadowcat", version, propagate_version = true, arg_required_else_help = true)]
struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

/// Options of every command.
#[derive(Debug, Args)]
struct Global {
    /// Read this file instead of ~/.config/shadowcat/config.toml.
    #[arg(long, value_name = "FILE", global = true, env = "SHADOWCAT_CONFIG")]
    config: Option<std::path::PathBuf>,
    /// Directory for tapes, sockets and everything else; SHADOWCAT_DATA_DIR does the same.
    #[arg(long, value_name = "DIR", global = true)]
    data_dir: Option<std::path::PathBuf>,
    /// Log more (twice: everything).
    #[arg(short, long, action = clap::ArgAction::Count, global = true)]
    verbose: u8,
    /// Log errors only.
    #[arg(short, long, global = true)]
    quiet: bool,
    /// Format of shadowcat's own log, which goes to standard error.
    #[arg(long, value_enum, default_value_t, global = true)]
    log_format: LogFormat,
    /// Use of colours in the output.
    #[arg(long, value_enum, default_value_t, global = true)]
    color: output::Color,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
enum LogFormat {
    #[default]
    Text,
    Json,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Try the screen on a built-in server and client; nothing to install.
    Demo(demo::Arguments),
    /// Show all running sessions; with a command, launch a server under the debugger; with a tape,
    /// open it.
    Tui(tui::Arguments),
    /// Join a client to the server that a screen has launched: put this command in the place of the
    /// server's in the client's configuration.
    Attach(attach::Arguments),
    /// Forward between a client and a server, and record.
    Forward(forward::Arguments),
    /// Put a server behind one HTTP endpoint, for clients of both eras.
    Reverse(reverse::Arguments),
    /// Diagnose a server: what is wrong with it, and why.
    Doctor(doctor::Arguments),
    /// Put shadowcat in front of a server in the configuration of a client.
    Wrap(wrap::Arguments),
    /// Take shadowcat out of the configuration of a client again.
    Unwrap(wrap::Arguments),
    /// Inspect and control running sessions, from scripts.
    Ctl(ctl::Arguments),
    /// Serve the debugger as an MCP server, for agents.
    Mcp(mcp::Arguments),
    /// Inspect and manage recordings.
    Tape(tape::Arguments),
    /// Print the completion script of a shell.
    Completions { shell: clap_complete::Shell },
    /// Print the manual page.
    Man,
    /// Run the built-in server of the demo on standard input and output.
    #[command(hide = true)]
    DemoServer(demo::ServerArguments),
}

/// Runs the program and returns its exit code.
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(error) => {
            // clap prints help to standard output and errors to standard error.
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { 2 } else { 0 });
        }
    };
    match run(cli) {
        Ok(code) => code,
        Err(failure) => {
            output::say(&failure.to_string());
            ExitCode::from(failure.kind as u8)
        }
    }
}

fn run(cli: Cli) -> Result<ExitCode, Failure> {
    let Cli { global, command } = cli;
    if let Some(directory) = &global.data_dir {
        crate::places::choose(directory);
    }
    if let Some(path) = &global.config {
        config::choose(path);
        // A file that the user named must be valid: report its errors before the command starts.
        config::load().map_err(Failure::usage)?;
    }
    // A write beyond the file size limit must fail as a write, not end the traffic by SIGXFSZ. The
    // handler does nothing, and child processes do not inherit it.
    let ignored = std::sync::Arc::default();
    signal_hook::flag::register(nix::sys::signal::Signal::SIGXFSZ as i32, ignored).map_err(Failure::usage)?;
    if !matches!(command, Command::Tui(_) | Command::Demo(_)) {
        log_to_stderr(&global);
    }
    match command {
        Command::Demo(arguments) => runtime()?.block_on(demo::run(arguments, global.color)),
        Command::Tui(arguments) => runtime()?.block_on(tui::run(arguments, global.color)),
        Command::Attach(arguments) => runtime()?.block_on(attach::run(arguments)),
        Command::Forward(arguments) => runtime()?.block_on(forward::run(arguments)),
        Command::Reverse(arguments) => runtime()?.block_on(reverse::run(arguments)),
        Command::Doctor(arguments) => runtime()?.block_on(doctor::run(arguments)),
        Command::Wrap(arguments) => wrap::run(&arguments, crate::clients::Wrapping::In),
        Command::Unwrap(arguments) => wrap::run(&arguments, crate::clients::Wrapping::Out),
        Command::Ctl(arguments) => runtime()?.block_on(ctl::run(arguments)),
        Command::Mcp(arguments) => runtime()?.block_on(mcp::run(&arguments)),
        Command::Tape(arguments) => runtime()?.block_on(tape::run(arguments)),
        Command::DemoServer(arguments) => demo::serve(&arguments),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "shadowcat", &mut script);
            printed(&script)
        }
        Command::Man => {
            let mut page = Vec::new();
            clap_mangen::Man::new(Cli::command()).render(&mut page).map_err(Failure::usage)?;
            printed(&page)
        }
    }
}

fn printed(bytes: &[u8]) -> Result<ExitCode, Failure> {
    output::print(&String::from_utf8_lossy(bytes)).map_err(Failure::usage)?;
    Ok(ExitCode::SUCCESS)
}

/// Builds the runtime. Two workers suffice, because dedicated threads move the bytes.
fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().map_err(|error| {
        Failure::new(FailureKind::Usage, error).hint("the system is out of threads or file descriptors")
    })
}

fn log_to_stderr(global: &Global) {
    let level = match (global.quiet, global.verbose) {
        (true, _) => "error",
        (false, 0) => "warn",
        (false, 1) => "info",
        (false, _) => "debug",
    };
    let filter = tracing_subscriber::EnvFilter::try_from_env("SHADOWCAT_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new(format!("shadowcat={level}")));
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    // A test may have installed a subscriber already; keep it then.
    let _ = match global.log_format {
        LogFormat::Text => builder.with_ansi(false).try_init(),
        LogFormat::Json => builder.json().try_init(),
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}
