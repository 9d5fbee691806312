//! What an agent can look at and do: each variant is a tool, its fields are the tool's arguments.

use std::time::Duration;

use bytes::Bytes;
use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde::Deserialize;
use serde_json::{Value, json};

use super::results::{
    self, Armed, Done, Edited, Engine, EngineList, Found, Frames, HeldFrames, HeldThere, Injected, Tapes,
};
use crate::control::api::{Ask, Points};
use crate::control::client::CallError;
use crate::control::library;
use crate::control::reach::{EngineSelector, ReachError};
use crate::control::schema::{Method, variants};
use crate::engine::{Command, Reply, Tell};
use crate::log::Query;
use crate::log::record::{Seq, SessionId};
use crate::mcp::{Direction, compose, layout, patch};

/// Tools that change nothing.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(tag = "method", content = "params", deny_unknown_fields)]
pub enum ReadTool {
    /// Lists every session of every running shadowcat: its server, client, era, counts of frames, errors and held messages. Begin here.
    #[serde(rename = "list_sessions")]
    Sessions {},
    /// Lists frames (messages) of a running session, the newest that match. Queries look like `tool:search status:error`, `kind:req method:tools/call`, `dur:>500ms`, `status:held`.
    #[serde(rename = "list_frames")]
    Frames {
        /// The name of a server, or the process id of its shadowcat. Needed where several run.
        #[serde(default)]
        server: Option<String>,
        /// A query; everything where empty.
        #[serde(default)]
        filter: String,
        /// The first position that is looked at.
        #[serde(default)]
        from: Option<Seq>,
        /// At most so many; 50 if not given.
        #[serde(default)]
        limit: Option<usize>,
    },
    /// Waits for a frame that a query matches, of a session that runs or is about to start, and returns it. Nothing found in time is an error.
    #[serde(rename = "wait_for_frame")]
    Wait {
        #[serde(default)]
        server: Option<String>,
        /// A query, e.g. `tool:search status:held`.
        filter: String,
        /// Seconds; 30 if not given, 300 at most.
        #[serde(default)]
        timeout: Option<u64>,
        /// From this position on; 1 takes what was there before too.
        #[serde(default)]
        from: Option<Seq>,
    },
    /// Lists what is held: messages that wait for a verdict, each with its id, its age and the message.
    #[serde(rename = "list_held")]
    Held {
        #[serde(default)]
        server: Option<String>,
    },
    /// Lists the breakpoints of a session's shadowcat, and who decides there.
    #[serde(rename = "list_breakpoints")]
    Breakpoints {
        #[serde(default)]
        server: Option<String>,
    },
    /// Lists recordings of the library, the newest first.
    #[serde(rename = "list_tapes")]
    Tapes {
        /// Text in a name, a server or a tag.
        #[serde(default)]
        text: Option<String>,
        /// At most so many; 20 if not given.
        #[serde(default)]
        limit: Option<usize>,
    },
    /// Lists frames of a recording, the newest that match.
    #[serde(rename = "list_tape_frames")]
    TapeFrames {
        /// A name, a file, or the beginning of an id.
        tape: String,
        #[serde(default)]
        filter: String,
        #[serde(default)]
        limit: Option<usize>,
    },
}

/// Tools that change what goes on.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(tag = "method", content = "params", deny_unknown_fields)]
pub enum ControlTool {
    /// Arms a breakpoint: messages that the query matches are held until somebody decides, for at most `patience` seconds while nobody at a screen does. Returns its number.
    #[serde(rename = "hold")]
    Hold {
        #[serde(default)]
        server: Option<String>,
        /// A query, e.g. `tool:search kind:req`.
        query: String,
        /// Seconds; 60 if not given.
        #[serde(default)]
        patience: Option<u64>,
    },
    /// Removes a breakpoint by its number.
    #[serde(rename = "remove_breakpoint")]
    RemoveBreakpoint {
        #[serde(default)]
        server: Option<String>,
        number: u32,
    },
    /// Lets a held message go on, as it is or as it was edited.
    #[serde(rename = "accept")]
    Accept {
        #[serde(default)]
        server: Option<String>,
        /// The id that list_held gives.
        id: Seq,
        /// Hold the reply to it as well.
        #[serde(default)]
        hold_reply: bool,
    },
    /// Changes a held message, by a JSON Patch (RFC 6902) or as a whole. It stays held until it is accepted.
    #[serde(rename = "edit")]
    Edit {
        #[serde(default)]
        server: Option<String>,
        id: Seq,
        /// Operations such as {"op":"replace","path":"/params/arguments/q","value":"x"}.
        #[serde(default)]
        patch: Option<Value>,
        /// The whole message.
        #[serde(default)]
        message: Option<Value>,
    },
    /// Keeps a held message from its peer. With an error, whoever waits for an answer gets that.
    #[serde(rename = "drop")]
    Drop {
        #[serde(default)]
        server: Option<String>,
        id: Seq,
        /// The text of a JSON-RPC error; nothing is told if not given.
        #[serde(default)]
        error: Option<String>,
    },
    /// Answers a held request in the place of the other side.
    #[serde(rename = "answer")]
    Answer {
        #[serde(default)]
        server: Option<String>,
        id: Seq,
        /// The result, or {"error": {"code": …, "message": …}}.
        result: Value,
    },
    /// Sends a message of your own past the peers, marked as injected. What is answered to a request of yours is not seen by them.
    #[serde(rename = "inject")]
    Inject {
        #[serde(default)]
        server: Option<String>,
        /// The number of the session.
        session: u32,
        to: To,
        /// A JSON-RPC message.
        message: Value,
    },
    /// Starts the server of a session again, where shadowcat is its client.
    #[serde(rename = "restart")]
    Restart {
        #[serde(default)]
        server: Option<String>,
        session: u32,
    },
}

/// The side that a message goes to.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum To {
    Server,
    Client,
}

/// A tool, as it is offered.
pub struct Tool {
    pub name: String,
    pub description: String,
    pub schema: Value,
    /// The schema of its result.
    pub result: Value,
    pub read_only: bool,
    /// Whether something is lost by it.
    pub destructive: bool,
}

/// Why a tool gave no result.
#[derive(Debug, thiserror::Error)]
pub enum ToolError {
    #[error("there is no tool {0:?}")]
    Unknown(String),
    #[error("{0:?} changes what goes on, which needs `shadowcat mcp --allow-control`")]
    NotAllowed(String),
    #[error("{0}")]
    Arguments(String),
    #[error("{0}")]
    Failed(String),
}

impl From<ReachError> for ToolError {
    fn from(error: ReachError) -> Self {
        Self::Failed(match error {
            ReachError::Several(_) => format!("{error}; say which with `server`"),
            ReachError::Nobody(_) => format!("{error}; list_sessions says what runs"),
            other => other.to_string(),
        })
    }
}

impl From<CallError> for ToolError {
    fn from(error: CallError) -> Self {
        ReachError::from(error).into()
    }
}

/// The tools that are offered.
pub fn offered(control: bool) -> Vec<Tool> {
    let settings = SchemaSettings::draft2020_12().with(|settings| settings.inline_subschemas = true);
    let mut generator = settings.into_generator();
    let tool = |read_only: bool| {
        move |Method { name, help, params }: Method| Tool {
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

/// Calls a tool in the name of `by`.
///
/// # Errors
/// When there is no such tool, its arguments are wrong, or it cannot do what it should.
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
    /// Frames that are given if it is not said how many.
    const FRAMES: usize = 50;
    const TAPES: usize = 20;
    const LONGEST: u64 = 300;
    match look {
        ReadTool::Sessions {} => {
            let mut engines = Vec::new();
            for engine in selector(None, by).all().await {
                let sessions = engine.sessions().await?;
                let facts = engine.facts;
                engines.push(Engine {
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
            Ok(json!(Frames { frames }))
        }
        ReadTool::Wait { server, filter, timeout, from } => {
            checked(&filter)?;
            let patience = Duration::from_secs(timeout.unwrap_or(30).min(LONGEST));
            let selector = selector(server, by);
            match tokio::time::timeout(patience, selector.first(&filter, from)).await {
                Ok(frame) => Ok(json!(Found { frame: frame? })),
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
            Ok(json!(Frames { frames }))
        }
    }
}

/// Reads files elsewhere than where messages are answered.
pub(super) async fn in_background<T: Send + 'static>(
    read: impl FnOnce() -> Result<T, String> + Send + 'static,
) -> Result<T, ToolError> {
    let read = tokio::task::spawn_blocking(read).await;
    read.map_err(|error| ToolError::Failed(error.to_string()))?.map_err(ToolError::Failed)
}

fn line(message: &Value) -> Bytes {
    // A text is sent as it is: it need not be JSON.
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
                    let text = patch::apply(&held, &patch)
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
            let line = engine.answer(id, &result).await?;
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
