//! What tools answer. The schemas of these are those that tools declare.

use std::path::PathBuf;

use schemars::{JsonSchema, SchemaGenerator};
use serde::Serialize;
use serde_json::Value;

use crate::control::api::{FrameFacts, HeldFrame, Points, SessionFacts, TapeFacts};
use crate::log::record::Seq;

#[derive(Debug, Serialize, JsonSchema)]
pub struct EngineList {
    pub running: Vec<Engine>,
}

/// A shadowcat that runs.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Engine {
    pub server: String,
    pub pid: u32,
    pub mode: String,
    pub target: Vec<String>,
    pub tape: Option<PathBuf>,
    pub sessions: Vec<SessionFacts>,
}

#[derive(Debug, Serialize, JsonSchema)]
pub struct Frames {
    pub frames: Vec<FrameFacts>,
}

#[derive(Debug, Serialize, JsonSchema)]
pub struct Found {
    pub frame: FrameFacts,
}

#[derive(Debug, Serialize, JsonSchema)]
pub struct HeldFrames {
    pub held: Vec<HeldThere>,
}

/// A held message, and the process id of the shadowcat that holds it.
#[derive(Debug, Serialize, JsonSchema)]
pub struct HeldThere {
    pub server: String,
    #[serde(flatten)]
    pub frame: HeldFrame,
}

#[derive(Debug, Serialize, JsonSchema)]
pub struct Tapes {
    pub tapes: Vec<TapeFacts>,
}

#[derive(Debug, Serialize, JsonSchema)]
pub struct Done {
    pub done: bool,
}

#[derive(Debug, Serialize, JsonSchema)]
pub struct Armed {
    /// The number of the breakpoint.
    pub breakpoint: Option<u32>,
}

#[derive(Debug, Serialize, JsonSchema)]
pub struct Edited {
    pub held: bool,
    /// What goes on once it is accepted.
    pub message: String,
}

#[derive(Debug, Serialize, JsonSchema)]
pub struct Injected {
    pub frame: Option<Seq>,
}

/// The schema of what a tool answers.
pub fn schema(tool: &str, generator: &mut SchemaGenerator) -> Value {
    match tool {
        "list_sessions" => of::<EngineList>(generator),
        "list_frames" | "list_tape_frames" => of::<Frames>(generator),
        "wait_for_frame" => of::<Found>(generator),
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
