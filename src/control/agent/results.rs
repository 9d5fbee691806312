//! Results of the tools. Tools declare the schemas of these types as their output schemas.

use std::path::PathBuf;

use schemars::{JsonSchema, SchemaGenerator};
use serde::Serialize;
use serde_json::Value;

use crate::control::api::{FrameFacts, HeldFrame, Points, SessionFacts, TapeFacts};
use crate::log::record::Seq;

/// Result of `list_sessions`.
#[derive(Debug, Serialize, JsonSchema)]
pub struct EngineList {
    /// Running shadowcats, in order of process id.
    pub running: Vec<EngineSummary>,
}

/// A running shadowcat.
#[derive(Debug, Serialize, JsonSchema)]
pub struct EngineSummary {
    /// Display name of its server.
    pub server: String,
    /// Process id.
    pub pid: u32,
    /// Running command, e.g. `forward stdio`.
    pub mode: String,
    /// Command line or URL of its server.
    pub target: Vec<String>,
    /// First file of its recording; none when nothing is recorded.
    pub tape: Option<PathBuf>,
    /// Sessions, including those that have ended.
    pub sessions: Vec<SessionFacts>,
}

/// Result of `list_frames` and `list_tape_frames`.
#[derive(Debug, Serialize, JsonSchema)]
pub struct FramePage {
    /// Matching frames, in order of time.
    pub frames: Vec<FrameFacts>,
}

/// Result of `wait_for_frame`.
#[derive(Debug, Serialize, JsonSchema)]
pub struct FoundFrame {
    /// First frame that matches.
    pub frame: FrameFacts,
}

/// Result of `list_held`.
#[derive(Debug, Serialize, JsonSchema)]
pub struct HeldFrames {
    /// Held messages.
    pub held: Vec<HeldThere>,
}

/// A held message and the shadowcat that holds it.
#[derive(Debug, Serialize, JsonSchema)]
pub struct HeldThere {
    /// Process id of the shadowcat that holds the message.
    pub server: String,
    /// Held message.
    #[serde(flatten)]
    pub frame: HeldFrame,
}

/// Result of `list_tapes`.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Tapes {
    /// Recordings, newest first.
    pub tapes: Vec<TapeFacts>,
}

/// Result of tools that only report success.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Done {
    /// Always `true`.
    pub done: bool,
}

/// Result of `hold`.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Armed {
    /// Number of the breakpoint.
    pub breakpoint: Option<u32>,
}

/// Result of `edit`.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Edited {
    /// Always `true`: the message stays held.
    pub held: bool,
    /// Message that is sent once it is accepted.
    pub message: String,
}

/// Result of `inject`.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Injected {
    /// Position of the injected frame.
    pub frame: Option<Seq>,
}

/// Returns the output schema of `tool`.
pub fn schema(tool: &str, generator: &mut SchemaGenerator) -> Value {
    match tool {
        "list_sessions" => of::<EngineList>(generator),
        "list_frames" | "list_tape_frames" => of::<FramePage>(generator),
        "wait_for_frame" => of::<FoundFrame>(generator),
        "list_held" => of::<HeldFrames>(generator),
        "list_breakpoints" => of::<Points>(generator),
        "list_tapes" => of::<Tapes>(generator),
        "hold" => of::<Armed>(generator),
        "edit" => of::<Edited>(generator),
        "inject" => of::<Injected>(generator),
        _ => of::<Done>(generator),
    }
}

fn of<T: JsonSchema>(generator: &mut SchemaGenerator) -> Value {
    generator.subschema_for::<T>().to_value()
}
