//! Tools for agents: each variant is a tool, and its fields are the tool's arguments.

use std::time::Duration;

use bytes::Bytes;
use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde::Deserialize;
use serde_json::{Value, json};

use super::results::{
    self, Armed, Done, Edited, EngineList, EngineSummary, FoundFrame, FramePage, HeldFrames, HeldThere,
    Injected, Tapes,
};
use crate::control::api::{Ask, Points};
use crate::control::client::CallError;
use crate::control::library;
use crate::control::reach::{EngineSelector, ReachError};
use crate::control::schema::{MethodSchema, variants};
use crate::engine::{Command, Reply, Tell};
use crate::log::Query;
use crate::log::record::{Seq, SessionId};
use crate::mcp::{Direction, compose, layout, patch};

/// Tools that only read.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(tag = "method", content = "params", deny_unknown_fields)]
pub enum ReadTool {
    /// Lists every session of every running shadowcat: its server, client, era, and counts of
    /// frames, errors and held messages. Begin here.
    #[serde(rename = "list_sessions")]
    Sessions {},
    /// Lists frames (messages) of a running session: the newest that match. Queries look like
    /// `tool:search status:error`, `kind:req method:tools/call`, `dur:>500ms`, `status:held`.
    #[serde(rename = "list_frames")]
    Frames {
        /// Name of a server, or process id of its shadowcat. Required if several run.
        #[serde(default)]
        server: Option<String>,
        /// Query; if empty, every frame matches.
        #[serde(default)]
        filter: String,
        /// First position to look at.
        #[serde(default)]
        from: Option<Seq>,
        /// Maximum number of frames; 50 if not given.
        #[serde(default)]
        limit: Option<usize>,
    },
    /// Waits for a frame that matches a query, in a session that runs or is about to start, and
    /// returns it. It is an error if none matches in time.
    #[serde(rename = "wait_for_frame")]
    Wait {
        /// Name of a server, or process id of its shadowcat. Required if several run.
        #[serde(default)]
        server: Option<String>,
        /// Query, e.g. `tool:search status:held`.
        filter: String,
        /// Time limit in seconds: 30 if not given, 300 at most.
        #[serde(default)]
        timeout: Option<u64>,
        /// First position to look at; 1 includes earlier frames. Only new frames if not given.
        #[serde(default)]
        from: Option<Seq>,
    },
    /// Lists held messages, which wait for a verdict: each with its id, its age and the message.
    #[serde(rename = "list_held")]
    Held {
        /// Name of a server, or process id of its shadowcat. All if not given.
        #[serde(default)]
        server: Option<String>,
    },
    /// Lists the breakpoints of a session's shadowcat, and the controllers that can decide there.
    #[serde(rename = "list_breakpoints")]
    Breakpoints {
        /// Name of a server, or process id of its shadowcat. Required if several run.
        #[serde(default)]
        server: Option<String>,
    },
    /// Lists recordings of the library, newest first.
    #[serde(rename = "list_tapes")]
    Tapes {
        /// Text in a name, a target or a tag.
        #[serde(default)]
        text: Option<String>,
        /// Maximum number of recordings; 20 if not given.
        #[serde(default)]
        limit: Option<usize>,
    },
    /// Lists frames of a recording: the newest that match.
    #[serde(rename = "list_tape_frames")]
    TapeFrames {
        /// Name, file path, or beginning of the file name or id of the recording.
        tape: String,
        /// Query; if empty, every frame matches.
        #[serde(default)]
        filter: String,
        /// Maximum number of frames; 50 if not given.
        #[serde(default)]
        limit: Option<usize>,
    },
}

/// Tools that change the traffic.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(tag = "method", content = "params", deny_unknown_fields)]
pub enum ControlTool {
    /// Arms a breakpoint: messages that match the query are held until someone decides, or for at
    /// most `patience` seconds while no screen is attached. Returns its number.
    #[serde(rename = "hold")]
    Hold {
        /// Name of a server, or process id of its shadowcat. Required if several run.
        #[serde(default)]
        server: Option<String>,
        /// Query, e.g. `tool:search kind:req`.
        query: String,
        /// Time limit in seconds; 60 if not given.
        #[serde(default)]
        patience: Option<u64>,
    },
    /// Removes a breakpoint.
    #[serde(rename = "remove_breakpoint")]
    RemoveBreakpoint {
        /// Name of a server, or process id of its shadowcat. Required if several run.
        #[serde(default)]
        server: Option<String>,
        /// Number of the breakpoint, as hold returned it.
        number: u32,
    },
    /// Accepts a held message: sends it unchanged, or as it was edited.
    #[serde(rename = "accept")]
    Accept {
        /// Name of a server, or process id of its shadowcat. Required if several hold such an id.
        #[serde(default)]
        server: Option<String>,
        /// Id of the message, as list_held returns it.
        id: Seq,
        /// Hold the reply to the message as well.
        #[serde(default)]
        hold_reply: bool,
    },
    /// Changes a held message by a JSON Patch (RFC 6902) or replaces it. It stays held until
    /// accepted.
    #[serde(rename = "edit")]
    Edit {
        /// Name of a server, or process id of its shadowcat. Required if several hold such an id.
        #[serde(default)]
        server: Option<String>,
        /// Id of the message, as list_held returns it.
        id: Seq,
        /// JSON Patch, e.g. `[{"op":"replace","path":"/params/arguments/q","value":"x"}]`.
        #[serde(default)]
        patch: Option<Value>,
        /// New message as a whole.
        #[serde(default)]
        message: Option<Value>,
    },
    /// Drops a held message: its receiver does not get it. With `error`, the peer that waits for an
    /// answer gets that error.
    #[serde(rename = "drop")]
    Drop {
        /// Name of a server, or process id of its shadowcat. Required if several hold such an id.
        #[serde(default)]
        server: Option<String>,
        /// Id of the message, as list_held returns it.
        id: Seq,
        /// Text of a JSON-RPC error; if not given, the waiting peer gets no answer.
        #[serde(default)]
        error: Option<String>,
    },
    /// Answers a held request in place of its receiver.
    #[serde(rename = "answer")]
    Answer {
        /// Name of a server, or process id of its shadowcat. Required if several hold such an id.
        #[serde(default)]
        server: Option<String>,
        /// Id of the message, as list_held returns it.
        id: Seq,
        /// Result, or {"error": {"code": …, "message": …}}.
        result: Value,
    },
    /// Sends a message of your own to one side, marked as injected. The peers do not see the answer
    /// to a request of yours.
    #[serde(rename = "inject")]
    Inject {
        /// Name of a server, or process id of its shadowcat. Required if several run.
        #[serde(default)]
        server: Option<String>,
        /// Number of the session, as list_sessions returns it.
        session: u32,
        /// Side that receives the message.
        to: To,
        /// JSON-RPC message. A string is sent as it is.
        message: Value,
    },
    /// Restarts the server of a session, if shadowcat started it.
    #[serde(rename = "restart")]
    Restart {
        /// Name of a server, or process id of its shadowcat. Required if several run.
        #[serde(default)]
        server: Option<String>,
        /// Number of the session, as list_sessions returns it.
        session: u32,
    },
}

/// Side that receives a message: `server` or `client`.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum To {
    Server,
    Client,
}

/// A tool as it is offered to agents.
pub struct Tool {
    /// Name of the tool.
    pub name: String,
    /// Description of the tool, from the doc comment of its variant.
    pub description: String,
    /// Schema of its arguments.
    pub schema: Value,
    /// Schema of its result.
    pub result: Value,
    /// `true` if the tool only reads.
    pub read_only: bool,
    /// `true` if the tool discards a message or ends a process.
    pub destructive: bool,
}

/// Error from calling a tool.
#[derive(Debug, thiserror::Error)]
pub enum ToolError {
    /// No tool has this name.
    #[error("there is no tool {0:?}")]
    Unknown(String),
    /// The tool with this name changes the traffic, which is not allowed.
    #[error("{0:?} changes the traffic and requires `shadowcat mcp --allow-control`")]
    NotAllowed(String),
    /// The arguments do not fit the tool.
    #[error("{0}")]
    Arguments(String),
    /// The tool could not do what it should.
    #[error("{0}")]
    Failed(String),
}

impl From<ReachError> for ToolError {
    fn from(error: ReachError) -> Self {
        Self::Failed(match error {
            ReachError::Several(_) => format!("{error}; select one with `server`"),
            ReachError::Nobody(_) => format!("{error}; list_sessions lists running sessions"),
            other => other.to_string(),
        })
    }
}

impl From<CallError> for ToolError {
    fn from(error: CallError) -> Self {
        ReachError::from(error).into()
    }
}

/// Returns the tools to offer; those that change the traffic only if `control` is set.
pub fn offered(control: bool) -> Vec<Tool> {
    let settings = SchemaSettings::draft2020_12().with(|settings| settings.inline_subschemas = true);
    let mut generator = settings.into_generator();
    let tool = |read_only: bool| {
        move |MethodSchema { name, help, params }: MethodSchema| Tool {
            destructive: name == "drop" || name == "restart",
            result: Value::Null,
            name,
            description: help,
            schema: params,
            read_only,
        }
    };
    let mut tools: Vec<Tool> = variants::<ReadTool>(&mut generator).into_iter().map(tool(true)).collect();
    if control {
        tools.extend(variants::<ControlTool>(&mut generator).into_iter().map(tool(false)));
    }
    for tool in &mut tools {
        tool.result = results::schema(&tool.name, &mut generator);
    }
    tools
}

/// Calls the tool `name` on behalf of `by`.
///
/// # Errors
/// If there is no such tool or it is not allowed, if its arguments are wrong, or if it fails.
pub async fn call(name: &str, arguments: Value, by: &str, control: bool) -> Result<Value, ToolError> {
    let known = |tools: Vec<Tool>| tools.iter().any(|tool| tool.name == name);
    let tagged = json!({ "method": name, "params": arguments });
    let wrong = |error: serde_json::Error| ToolError::Arguments(format!("{name}: {error}"));
    if known(offered(false)) {
        return look(serde_json::from_value(tagged).map_err(wrong)?, by).await;
    }
    if control && known(offered(true)) {
        return act(serde_json::from_value(tagged).map_err(wrong)?, by).await;
    }
    Err(match known(offered(true)) {
        true => ToolError::NotAllowed(name.to_owned()),
        false => ToolError::Unknown(name.to_owned()),
    })
}

fn selector(server: Option<String>, by: &str) -> EngineSelector {
    EngineSelector { name: server, by: by.to_owned() }
}

fn checked(filter: &str) -> Result<(), ToolError> {
    Query::parse(filter).map(drop).map_err(|error| ToolError::Arguments(format!("filter: {error}")))
}

async fn look(look: ReadTool, by: &str) -> Result<Value, ToolError> {
    /// Number of frames to return if the call gives none.
    const FRAMES: usize = 50;
    const TAPES: usize = 20;
    const LONGEST: u64 = 300;
    match look {
        ReadTool::Sessions {} => {
            let mut engines = Vec::new();
            for engine in selector(None, by).all().await {
                let sessions = engine.sessions().await?;
                let facts = engine.facts;
                engines.push(EngineSummary {
                    server: facts.name,
                    pid: facts.pid,
                    mode: facts.mode,
                    target: facts.target,
                    tape: facts.tape.path,
                    sessions,
                });
            }
            Ok(json!(EngineList { running: engines }))
        }
        ReadTool::Frames { server, filter, from, limit } => {
            checked(&filter)?;
            let limit = Some(limit.unwrap_or(FRAMES));
            let ask = Ask::Frames { filter, from, to: None, limit, newest: true };
            let frames = selector(server, by).one().await?.ask(&ask).await?;
            Ok(json!(FramePage { frames }))
        }
        ReadTool::Wait { server, filter, timeout, from } => {
            checked(&filter)?;
            let patience = Duration::from_secs(timeout.unwrap_or(30).min(LONGEST));
            let selector = selector(server, by);
            match tokio::time::timeout(patience, selector.first(&filter, from)).await {
                Ok(frame) => Ok(json!(FoundFrame { frame: frame? })),
                Err(_) => Err(ToolError::Failed(format!("nothing matched {filter:?} within {patience:?}"))),
            }
        }
        ReadTool::Held { server } => {
            let mut all = Vec::new();
            for engine in selector(server, by).all().await {
                let held = engine.held().await?;
                let server = engine.facts.pid.to_string();
                all.extend(held.into_iter().map(|frame| HeldThere { server: server.clone(), frame }));
            }
            Ok(json!(HeldFrames { held: all }))
        }
        ReadTool::Breakpoints { server } => {
            let points: Points = selector(server, by).one().await?.ask(&Ask::Breakpoints {}).await?;
            Ok(json!(points))
        }
        ReadTool::Tapes { text, limit } => {
            let tapes = in_background(move || library::tapes(text, limit.unwrap_or(TAPES))).await?;
            Ok(json!(Tapes { tapes }))
        }
        ReadTool::TapeFrames { tape, filter, limit } => {
            checked(&filter)?;
            let frames =
                in_background(move || library::frames(&tape, &filter, limit.or(Some(FRAMES)))).await?;
            Ok(json!(FramePage { frames }))
        }
    }
}

/// Reads files on a blocking thread, so that other messages are answered meanwhile.
pub(super) async fn in_background<T: Send + 'static>(
    read: impl FnOnce() -> Result<T, String> + Send + 'static,
) -> Result<T, ToolError> {
    let read = tokio::task::spawn_blocking(read).await;
    read.map_err(|error| ToolError::Failed(error.to_string()))?.map_err(ToolError::Failed)
}

fn line(message: &Value) -> Bytes {
    // A string is sent as a line of text: it need not be JSON.
    match message {
        Value::String(text) => Bytes::from(layout::one_line(text)),
        other => Bytes::from(other.to_string()),
    }
}

async fn act(act: ControlTool, by: &str) -> Result<Value, ToolError> {
    const PATIENCE: u64 = 60;
    let done = json!(Done { done: true });
    match act {
        ControlTool::Hold { server, query, patience } => {
            let patience = Some(patience.unwrap_or(PATIENCE).saturating_mul(1000));
            let engine = selector(server, by).one().await?;
            match engine.command(&Command::Break { query, patience }).await? {
                Reply::Breakpoint(number) => Ok(json!(Armed { breakpoint: Some(number) })),
                _ => Ok(json!(Armed { breakpoint: None })),
            }
        }
        ControlTool::RemoveBreakpoint { server, number } => {
            let engine = selector(server, by).one().await?;
            engine.command(&Command::RemoveBreakpoint { id: number }).await?;
            Ok(done)
        }
        ControlTool::Accept { server, id, hold_reply } => {
            let engine = selector(server, by).holder(id).await?;
            let command = match hold_reply {
                true => Command::AcceptAndHoldReply { frame: id },
                false => Command::Accept { frame: id },
            };
            engine.command(&command).await?;
            Ok(done)
        }
        ControlTool::Edit { server, id, patch, message } => {
            let engine = selector(server, by).holder(id).await?;
            let message = match (patch, message) {
                (Some(patch), None) => {
                    let held = engine.held_text(id).await?;
                    let text = patch::apply(&held, &patch.to_string())
                        .map_err(|error| ToolError::Arguments(format!("patch: {error}")))?;
                    Bytes::from(text)
                }
                (None, Some(message)) => line(&message),
                _ => return Err(ToolError::Arguments("give either patch or message".into())),
            };
            engine.command(&Command::Amend { frame: id, line: message.clone() }).await?;
            Ok(json!(Edited { held: true, message: String::from_utf8_lossy(&message).into_owned() }))
        }
        ControlTool::Drop { server, id, error } => {
            let tell =
                error.map_or(Tell::Silence, |message| Tell::Error { code: compose::INTERNAL_ERROR, message });
            selector(server, by).holder(id).await?.command(&Command::Drop { frame: id, tell }).await?;
            Ok(done)
        }
        ControlTool::Answer { server, id, result } => {
            let engine = selector(server, by).holder(id).await?;
            let line = engine.answer(id, &result.to_string()).await?;
            engine.command(&Command::Answer { frame: id, line }).await?;
            Ok(done)
        }
        ControlTool::Inject { server, session, to, message } => {
            let to = match to {
                To::Server => Direction::ToServer,
                To::Client => Direction::ToClient,
            };
            let engine = selector(server, by).one().await?;
            let command = Command::Inject { session: SessionId(session), to, line: line(&message) };
            match engine.command(&command).await? {
                Reply::Frame(seq) => Ok(json!(Injected { frame: Some(seq) })),
                _ => Ok(json!(Injected { frame: None })),
            }
        }
        ControlTool::Restart { server, session } => {
            let engine = selector(server, by).one().await?;
            engine.command(&Command::Restart { session: SessionId(session) }).await?;
            Ok(done)
        }
    }
}
