//! Options of every recording command: the tape, the server's name, breakpoints and limits.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use clap::Args;

use super::config::{self, Config};
use super::failure::Failure;
use super::secrets::Secrets;
use crate::clock::Clock;
use crate::host::Settings;
use crate::intercept::Breakpoints;
use crate::log::record::{Body, Level, Note, SessionId};
use crate::log::{Log, Query};
use crate::tape::writer::RecordingInfo;
use crate::tape::{Recorder, TapeWriter, library};
use crate::transport::child::Spec;
use crate::transport::http::Cleaner;

/// Default length in bytes above which lines pass through uninspected.
pub const INSPECT_LIMIT: usize = 16 << 20;

/// Options of commands that record.
#[derive(Debug, Args)]
pub struct Recording {
    /// Name of the server; derived from its command line if not given.
    #[arg(long)]
    pub name: Option<String>,
    /// Record to this file instead of the library.
    #[arg(long, value_name = "FILE", conflicts_with = "no_tape")]
    pub tape: Option<PathBuf>,
    /// Do not record.
    #[arg(long)]
    pub no_tape: bool,
    /// Leave secrets out of the tape: tokens and keys of known forms, and members with sensitive
    /// names.
    #[arg(long)]
    pub redact: bool,
    /// Secrets to leave out beside the known forms.
    #[command(flatten)]
    pub secrets: Secrets,
    /// Breakpoints that are set from the start.
    #[command(flatten)]
    pub breaks: Breaks,
    /// Limits on inspection, memory and the end of servers.
    #[command(flatten)]
    pub bounds: Bounds,
}

/// Breakpoints that are set from the start.
#[derive(Debug, Args)]
pub struct Breaks {
    /// Hold messages that match this query, from the first one on, e.g. 'method:initialize'.
    #[arg(long = "break", value_name = "QUERY", value_parser = query)]
    queries: Vec<Query>,
    /// Time that a held message waits while nobody is there to decide, e.g. 30s. If neither this nor
    /// the configuration sets it, nothing is held then.
    #[arg(long, value_name = "DURATION", value_parser = crate::cli::values::duration)]
    hold_unattended: Option<Duration>,
}

fn query(text: &str) -> Result<Query, String> {
    Query::parse_for_arrival(text).map_err(|error| error.to_string())
}

/// Limits on inspection and memory.
#[derive(Debug, Args)]
pub struct Bounds {
    /// Lines longer than this pass through uninspected (bytes, or 16m).
    #[arg(long, value_name = "SIZE", default_value = "16m", value_parser = super::values::size)]
    pub inspect_limit: usize,
    /// Memory for records before they are read back from the tape (bytes, or 64m).
    #[arg(long, value_name = "SIZE", default_value = "64m", value_parser = super::values::size)]
    pub memory: usize,
    /// Time after which the bytes of a line that has not ended go on, such as a prompt or a progress bar; 0
    /// keeps them until the line ends.
    #[arg(long, value_name = "DURATION", default_value = "100ms", value_parser = super::values::duration)]
    pub line_pause: Duration,
    /// Time that a server gets to end after its input was closed, and again after SIGTERM, before it is
    /// killed.
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = super::values::duration)]
    pub shutdown_grace: Duration,
}

impl Recording {
    /// Returns the options of a command line that gives none.
    ///
    /// # Errors
    /// Fails if the environment sets an option to an invalid value.
    pub fn usual() -> Result<Self, Failure> {
        use clap::FromArgMatches;
        let command = Self::augment_args(clap::Command::new("record")).no_binary_name(true);
        let matches = command.try_get_matches_from(std::iter::empty::<String>()).map_err(Failure::usage)?;
        Self::from_arg_matches(&matches).map_err(Failure::usage)
    }

    /// Returns the name of the server that `command` starts: the given one, or one derived from
    /// `command`.
    pub fn name_for(&self, command: &[String]) -> String {
        self.name.clone().unwrap_or_else(|| name_of(command))
    }

    /// Returns the command line of a server to start, which ends as the options say.
    pub fn spec(&self, command: Vec<String>) -> Spec {
        Spec { grace: self.bounds.shutdown_grace, ..Spec::new(command) }
    }

    /// Creates an empty log on the system clock.
    pub fn log(&self) -> Arc<Log> {
        Log::new(Clock::system(), self.bounds.memory)
    }

    /// Returns the settings of the engine.
    pub fn settings(&self, breakpoints: &Arc<Breakpoints>) -> Settings {
        let line_pause = Some(self.bounds.line_pause).filter(|pause| !pause.is_zero());
        let inspect_limit = self.bounds.inspect_limit;
        Settings { inspect_limit, line_pause, breakpoints: Arc::clone(breakpoints) }
    }

    /// Returns the breakpoints of the configuration file and of the command line, with their patience.
    pub fn breakpoints(&self, log: &Log) -> Arc<Breakpoints> {
        let breakpoints = Breakpoints::new();
        let config = config::load().unwrap_or_else(|error| {
            // A broken configuration file must not stop the traffic.
            complain(log, &format!("no configuration: {error}"));
            Config::default()
        });
        let patience = self.breaks.hold_unattended.or(config.hold_unattended);
        breakpoints.set_default_patience(patience.unwrap_or_default());
        for query in config.breaks.iter().chain(&self.breaks.queries) {
            breakpoints.add(query.clone(), None);
        }
        breakpoints
    }

    /// Starts to record `log`. A failure does not stop the command: it is noted in the log, and the
    /// result is `None`, as it is with `--no-tape`.
    pub fn record(&self, log: &Arc<Log>, command: &[String]) -> Option<Recorder> {
        if self.no_tape {
            return None;
        }
        let name = self.name_for(command);
        let wall = log.clock().wall(log.clock().now());
        let path = match &self.tape {
            Some(path) => path.clone(),
            None => {
                library::sweep(wall, library::KEEP_BYTES, library::KEEP_FOR);
                match library::directory() {
                    Some(directory) => directory.join(library::new_name(&name, wall)),
                    None => {
                        complain(log, "no tape: this user has no home directory; name a file with --tape");
                        return None;
                    }
                }
            }
        };
        let subject = RecordingInfo { name, target: Cleaner::new().command(command), parent: None };
        let redactor = match self.redact || self.secrets.is_asked() {
            true => match self.secrets.redactor() {
                Ok(redactor) => Some(Arc::new(redactor)),
                Err(error) => {
                    // Better no tape than one with secrets that were to be left out.
                    complain(log, &format!("no tape: {error}"));
                    return None;
                }
            },
            false => None,
        };
        match TapeWriter::create_redacted(&path, subject, log, redactor).and_then(Recorder::start) {
            Ok(recorder) => Some(recorder),
            Err(error) => {
                complain(log, &explain(&path, &error));
                None
            }
        }
    }
}

fn explain(path: &Path, error: &std::io::Error) -> String {
    let next = match error.kind() {
        std::io::ErrorKind::AlreadyExists => "a tape is never overwritten; name another file",
        _ => "name another file with --tape, or switch recording off with --no-tape",
    };
    format!("no tape: create {}: {error}; {next}", path.display())
}

/// Creates the failure of a command that could not create a new tape.
pub fn refused(path: &Path, error: &std::io::Error) -> Failure {
    let failure = Failure::usage(format!("create {}: {error}", path.display()));
    match error.kind() {
        std::io::ErrorKind::AlreadyExists => failure.hint("a tape is never overwritten; name another file"),
        _ => failure.hint("check the directory and its permissions, or name another file"),
    }
}

fn complain(log: &Log, text: &str) {
    tracing::warn!("{text}");
    let note =
        Note { frame: None, mark: None, level: Level::Error, by: "shadowcat".into(), text: text.to_owned() };
    log.append(SessionId(0), Body::Note(note));
}

/// Derives a server name from a command line: the first word that is not a launcher, option or
/// assignment, or the host of a URL.
pub fn name_of(command: &[String]) -> String {
    const LAUNCHERS: [&str; 14] = [
        "npx", "bunx", "uvx", "uv", "node", "bun", "deno", "python", "python3", "run", "exec", "env",
        "docker", "-",
    ];
    if let Some((_, place)) = command.first().and_then(|word| word.split_once("://")) {
        return place.split('/').next().unwrap_or(place).to_owned();
    }
    let plain = |word: &str| word.rsplit('/').next().unwrap_or(word).to_owned();
    let says_what = |word: &&String| {
        let word = plain(word);
        !word.starts_with('-') && !word.contains('=') && !LAUNCHERS.contains(&word.as_str())
    };
    let word = command.iter().find(says_what).or(command.first());
    let name = word.map_or_else(|| "server".to_owned(), |word| plain(word));
    for ending in [".py", ".js", ".mjs", ".ts"] {
        if let Some(stem) = name.strip_suffix(ending) {
            return stem.to_owned();
        }
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_come_from_what_runs() {
        let name = |line: &str| name_of(&line.split(' ').map(str::to_owned).collect::<Vec<_>>());
        assert_eq!(name("npx -y @modelcontextprotocol/server-everything stdio"), "server-everything");
        assert_eq!(name("/usr/bin/mcp-server-time --local-timezone UTC"), "mcp-server-time");
        assert_eq!(name("env A=b python3 ./tools/weather.py"), "weather");
        assert_eq!(name("node"), "node");
        assert_eq!(name("https://mcp.example/mcp"), "mcp.example");
    }
}
