//! Commands that change something: breakpoints, decisions on held frames, messages of the user's own.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use bytes::Bytes;
use clap::{Args, Subcommand, ValueEnum};
use serde_json::json;

use super::{DEFAULT_PATIENCE, done};
use crate::cli::failure::{Failure, FailureKind};
use crate::cli::output::{self, Format};
use crate::control::api::{Ask, Points};
use crate::control::reach::{EngineSelector, ReachError};
use crate::engine::{Command, Reply, Tell};
use crate::log::record::{Seq, SessionId};
use crate::mcp::json as text_json;
use crate::mcp::{Direction, compose, layout, patch};

/// Arguments of `ctl hold`.
#[derive(Debug, Args)]
pub struct HoldArguments {
    /// Query for the messages to hold.
    query: String,
    /// Time that a held message waits while no screen is there that decides; 60s if not given.
    #[arg(long, value_name = "DURATION", value_parser = crate::cli::values::duration)]
    patience: Option<Duration>,
}

/// Arguments of `ctl accept`.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub struct AcceptArguments {
    /// Id of the frame, as `held` lists it.
    id: Option<Seq>,
    /// Accept everything that is held.
    #[arg(long)]
    all: bool,
    /// Accept this frame, and hold the reply to it.
    #[arg(long, value_name = "ID")]
    hold_reply: Option<Seq>,
}

/// Arguments of `ctl edit`.
#[derive(Debug, Args)]
pub struct EditArguments {
    /// Id of the frame, as `held` lists it.
    id: Seq,
    /// JSON Patch (RFC 6902), e.g. '[{"op":"replace","path":"/params/arguments/q","value":"x"}]'.
    #[arg(long, value_name = "JSON-PATCH", required_unless_present = "file", conflicts_with = "file")]
    patch: Option<String>,
    /// File with the whole message, which need not be valid; - is standard input.
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
}

/// Arguments of `ctl drop`.
#[derive(Debug, Args)]
pub struct DropArguments {
    /// Id of the frame, as `held` lists it.
    id: Seq,
    /// Answer the waiting peer with this JSON-RPC error: a message, or CODE:MESSAGE.
    #[arg(long, value_name = "ERROR", num_args = 0..=1, allow_hyphen_values = true, default_missing_value = "dropped by shadowcat", conflicts_with_all = ["tool_error", "close"])]
    error: Option<String>,
    /// Answer the waiting peer that the tool failed, with this text.
    #[arg(long, value_name = "TEXT", conflicts_with = "close")]
    tool_error: Option<String>,
    /// Close the connection.
    #[arg(long)]
    close: bool,
}

/// Arguments of `ctl inject`.
#[derive(Debug, Args)]
pub struct InjectArguments {
    /// Number or name of the session, as `sessions` lists it.
    to_session: String,
    /// Side that receives the message.
    #[arg(long, value_enum)]
    to: Side,
    /// File with the message; - is standard input.
    #[arg(long, value_name = "FILE", default_value = "-")]
    file: PathBuf,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Side {
    Server,
    Client,
}

/// Actions on breakpoints.
#[derive(Debug, Subcommand)]
pub enum Rules {
    /// List the breakpoints, and who decides; what `ctl rules` by itself does.
    List {
        /// Output format of the list.
        #[arg(long, value_enum, default_value_t)]
        output: Format,
    },
    /// Add a breakpoint: the same as `hold`.
    Add(HoldArguments),
    /// Remove a breakpoint.
    Remove {
        /// Id of the breakpoint, as `list` shows it.
        id: u32,
    },
    /// Switch a breakpoint on.
    Enable {
        /// Id of the breakpoint, as `list` shows it.
        id: u32,
    },
    /// Switch a breakpoint off.
    Disable {
        /// Id of the breakpoint, as `list` shows it.
        id: u32,
    },
    /// Arm all breakpoints.
    Arm,
    /// Disarm all breakpoints: none of them holds.
    Disarm,
}

/// Maximum length in bytes of a message that is read from a file.
const MAX_MESSAGE_BYTES: u64 = 64 << 20;

/// Sets a breakpoint, and prints its number.
///
/// # Errors
/// Fails if the query is empty or invalid, or not exactly one engine can be reached.
pub async fn hold(selector: &EngineSelector, arguments: HoldArguments) -> Result<ExitCode, Failure> {
    let HoldArguments { query, patience } = arguments;
    if query.trim().is_empty() {
        return Err(Failure::usage("an empty query would hold everything")
            .hint("'method:*' holds every message that has a method"));
    }
    let engine = selector.one().await?;
    let patience = u64::try_from(patience.unwrap_or(DEFAULT_PATIENCE).as_millis()).ok();
    let reply = engine.command(&Command::Break { query, patience }).await?;
    if let Reply::Breakpoint(id) = reply {
        output::print(&format!("{id}\n")).map_err(Failure::usage)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Releases one held frame, or everything that is held in all engines.
///
/// # Errors
/// Fails if no engine runs, or none holds the frame.
pub async fn accept(selector: &EngineSelector, arguments: AcceptArguments) -> Result<ExitCode, Failure> {
    match arguments {
        AcceptArguments { id: Some(frame), .. } => {
            done(&selector.holder(frame).await?, Command::Accept { frame }).await
        }
        AcceptArguments { hold_reply: Some(frame), .. } => {
            done(&selector.holder(frame).await?, Command::AcceptAndHoldReply { frame }).await
        }
        _ => {
            let all = selector.all().await;
            if all.is_empty() {
                return Err(ReachError::Nobody(selector.name.clone()).into());
            }
            let mut outcome = Ok(ExitCode::SUCCESS);
            for engine in all {
                if let Err(error) = engine.command(&Command::AcceptAll {}).await {
                    // A failure in one engine does not keep the others from releasing.
                    output::say(&format!("{}: {error}", engine.title()));
                    outcome = Ok(ExitCode::from(FailureKind::Check as u8));
                }
            }
            outcome
        }
    }
}

/// Changes a held frame, which stays held.
///
/// # Errors
/// Fails if no engine holds the frame, or the patch or the file is invalid.
pub async fn edit(selector: &EngineSelector, arguments: EditArguments) -> Result<ExitCode, Failure> {
    let EditArguments { id: frame, patch, file } = arguments;
    let Some(patch) = patch else {
        let line = one_line(&read(file.as_deref().unwrap_or(Path::new("-")))?);
        return done(&selector.holder(frame).await?, Command::Amend { frame, line }).await;
    };
    let wrong = |error: String| {
        Failure::usage(format!("--patch: {error}"))
            .hint(r#"write [{"op":"replace","path":"/params/arguments/q","value":"x"}] (RFC 6902)"#)
    };
    let engine = selector.holder(frame).await?;
    let held = engine.held_text(frame).await?;
    let message = patch::apply(&held, &patch).map_err(|error| wrong(error.to_string()))?;
    done(&engine, Command::Amend { frame, line: Bytes::from(message) }).await
}

/// Drops a held frame, and answers the waiting peer as the arguments ask.
///
/// # Errors
/// Fails if no engine holds the frame.
pub async fn drop_held(selector: &EngineSelector, arguments: &DropArguments) -> Result<ExitCode, Failure> {
    let DropArguments { id: frame, error, tool_error, close } = arguments;
    let tell = match (error, tool_error, close) {
        (Some(error), ..) => {
            let (code, message) = match error.split_once(':').map(|(code, text)| (code.trim().parse(), text))
            {
                Some((Ok(code), message)) => (code, message.trim().to_owned()),
                _ => (compose::INTERNAL_ERROR, error.clone()),
            };
            Tell::Error { code, message }
        }
        (None, Some(text), _) => Tell::ToolError { text: text.clone() },
        (None, None, true) => Tell::Close,
        (None, None, false) => Tell::Silence,
    };
    done(&selector.holder(*frame).await?, Command::Drop { frame: *frame, tell }).await
}

/// Answers a held request with the contents of `file`.
///
/// # Errors
/// Fails if no engine holds the frame, it is not a request, or the file has no message.
pub async fn answer(selector: &EngineSelector, frame: Seq, file: &Path) -> Result<ExitCode, Failure> {
    let text = read(file)?;
    let engine = selector.holder(frame).await?;
    let text = one_line(&text);
    let is_result = |span| text_json::member(&text, span, "jsonrpc").is_none();
    // A result alone becomes the response to this request; anything else is sent as it is.
    let line = match std::str::from_utf8(&text) {
        Ok(value) if text_json::document(&text).is_ok_and(is_result) => engine.answer(frame, value).await?,
        _ => text,
    };
    done(&engine, Command::Answer { frame, line }).await
}

/// Sends a message of the user's own, and prints its number.
///
/// # Errors
/// Fails if the file has no message, or the session does not exist or takes no message.
pub async fn inject(selector: &EngineSelector, arguments: InjectArguments) -> Result<ExitCode, Failure> {
    let InjectArguments { to_session, to, file } = arguments;
    let line = one_line(&read(&file)?);
    let to = match to {
        Side::Server => Direction::ToServer,
        Side::Client => Direction::ToClient,
    };
    let (engine, session) = match to_session.parse() {
        Ok(number) => (selector.one().await?, SessionId(number)),
        Err(_) => {
            let named = EngineSelector {
                name: selector.name.clone().or(Some(to_session.clone())),
                by: selector.by.clone(),
            };
            let engine = named.one().await?;
            let sessions = engine.sessions().await?;
            let of_name = sessions.iter().rfind(|session| session.name == to_session);
            let session = of_name.map(|session| session.session);
            let Some(session) = session else {
                let text = format!("{} has no session called {to_session:?}", engine.title());
                return Err(Failure::usage(text));
            };
            (engine, session)
        }
    };
    let reply = engine.command(&Command::Inject { session, to, line }).await?;
    if let Reply::Frame(seq) = reply {
        output::print(&format!("{seq}\n")).map_err(Failure::usage)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Restarts the server of a session, of the newest one if `number` is `None`.
///
/// # Errors
/// Fails if there is no such session, or its server cannot be restarted.
pub async fn restart(selector: &EngineSelector, number: Option<u32>) -> Result<ExitCode, Failure> {
    let engine = selector.one().await?;
    let sessions = engine.sessions().await?;
    let newest = || sessions.iter().map(|session| session.session).max();
    let session = number.map(SessionId).or_else(newest);
    let session = session.ok_or_else(|| Failure::usage(format!("{} has no session yet", engine.title())))?;
    done(&engine, Command::Restart { session }).await
}

/// Carries out an action on breakpoints.
///
/// # Errors
/// Fails if not exactly one engine can be reached, or it has no such breakpoint.
pub async fn rules(selector: &EngineSelector, rules: Rules) -> Result<ExitCode, Failure> {
    let command = match rules {
        Rules::Add(arguments) => return hold(selector, arguments).await,
        Rules::List { output } => return list(selector, output).await,
        Rules::Enable { id } => return set_enabled(selector, id, true).await,
        Rules::Disable { id } => return set_enabled(selector, id, false).await,
        Rules::Remove { id } => Command::RemoveBreakpoint { id },
        Rules::Arm => Command::Arm { armed: true },
        Rules::Disarm => Command::Arm { armed: false },
    };
    done(&selector.one().await?, command).await
}

async fn set_enabled(selector: &EngineSelector, id: u32, on: bool) -> Result<ExitCode, Failure> {
    let engine = selector.one().await?;
    let points: Points = engine.ask(&Ask::Breakpoints {}).await?;
    match points.points.iter().find(|point| point.id == id) {
        Some(point) if point.enabled == on => Ok(ExitCode::SUCCESS),
        _ => done(&engine, Command::ToggleBreakpoint { id }).await,
    }
}

async fn list(selector: &EngineSelector, format: Format) -> Result<ExitCode, Failure> {
    let engine = selector.one().await?;
    let Points { points, armed, everything, controllers, .. } = engine.ask(&Ask::Breakpoints {}).await?;
    let rows = points.iter().map(|point| {
        let cells = vec![
            point.id.to_string(),
            if point.enabled && armed { "on" } else { "off" }.to_owned(),
            point.query.clone(),
            point.hits.to_string(),
            format!("{:?}", Duration::from_millis(point.patience)),
        ];
        (cells, json!(point))
    });
    output::list(format, &["ID", "ON", "QUERY", "HITS", "PATIENCE"], rows.collect())
        .map_err(Failure::usage)?;
    if format == Format::Table {
        for controller in controllers {
            let word = if controller.decides { "decides" } else { "watches" };
            output::say(&format!("{} {word}", controller.name));
        }
        if everything {
            output::say("everything is held");
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Reads a message from a file, or from standard input if `path` is `-`.
fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    let mut text = Vec::new();
    let taken = match path.as_os_str() == "-" {
        true => std::io::stdin().lock().take(MAX_MESSAGE_BYTES).read_to_end(&mut text),
        false => {
            std::fs::File::open(path).and_then(|file| file.take(MAX_MESSAGE_BYTES).read_to_end(&mut text))
        }
    };
    taken.map_err(|error| Failure::usage(format!("read {}: {error}", path.display())))?;
    match text.trim_ascii().is_empty() {
        true => Err(Failure::usage(format!("{} is empty", path.display()))),
        false => Ok(text),
    }
}

/// Puts a message on one line, as stdio framing needs it. Bytes that are not UTF-8 stay as they are.
fn one_line(text: &[u8]) -> Bytes {
    let text = text.trim_ascii();
    match std::str::from_utf8(text) {
        Ok(text) => Bytes::from(layout::one_line(text)),
        Err(_) => Bytes::copy_from_slice(text),
    }
}
