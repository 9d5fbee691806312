//! The debugger as an MCP server for agents: the functions of a screen as tools and resources. The
//! log names the agent as the author of its commands, so they are marked wherever they are shown.

mod results;
mod tools;

use std::sync::Arc;

use rmcp::model::{
    CallToolRequestParams, CallToolResponse, CallToolResult, ContentBlock, Implementation, JsonObject,
    ListResourceTemplatesResult, ListResourcesResult, ListToolsResult, PaginatedRequestParams,
    ReadResourceRequestParams, ReadResourceResponse, ReadResourceResult, Resource, ResourceContents,
    ResourceTemplate, ServerCapabilities, ServerConfig, Tool, ToolAnnotations,
};
use rmcp::service::RequestContext;
use rmcp::{ErrorData, RoleServer, ServerHandler, ServiceExt};
use serde_json::{Value, json};

use self::tools::ToolError;
use super::api::{Ask, FrameFacts};
use super::library;
use super::reach::EngineSelector;

/// The MCP server for agents.
#[derive(Debug, Clone, Copy)]
pub struct Agent {
    /// `true` to offer tools that change the traffic.
    pub control: bool,
}

/// Error that ended the server, as a sentence.
#[derive(Debug, thiserror::Error)]
#[error("the MCP server for agents failed: {0}")]
pub struct AgentError(String);

const INSTRUCTIONS: &str = "Shadowcat stands between MCP clients and servers. list_sessions says what runs; \
    list_frames and wait_for_frame show what was said; recordings are tapes. With control, `hold` stops \
    messages that match a query, list_held shows them, and edit, accept, drop and answer decide on them.";
/// Maximum number of frames in a resource.
const FRAMES: usize = 200;

/// Serves MCP on standard input and output until the client has ended.
///
/// # Errors
/// If the client does not speak MCP, or if the task of the server fails.
pub async fn serve(control: bool) -> Result<(), AgentError> {
    let failed = |error: String| AgentError(error);
    let agent = Agent { control };
    let running = agent.serve(rmcp::transport::stdio()).await.map_err(|error| failed(error.to_string()))?;
    running.waiting().await.map_err(|error| failed(error.to_string()))?;
    Ok(())
}

/// Returns the name of an agent for the log, which contains the name that its client reports.
fn name(cx: &RequestContext<RoleServer>) -> String {
    let client = cx.meta.client_info().map(|info| info.name.clone());
    let client = client.or_else(|| cx.peer.peer_info().map(|info| info.client_info.name.clone()));
    match client.filter(|name| !name.is_empty()) {
        Some(name) => format!("agent {name}"),
        None => "agent".to_owned(),
    }
}

fn object(value: Value) -> Arc<JsonObject> {
    match value {
        Value::Object(object) => Arc::new(object),
        _ => Arc::default(),
    }
}

impl ServerHandler for Agent {
    fn get_info(&self) -> ServerConfig {
        ServerConfig::new(ServerCapabilities::builder().enable_tools().enable_resources().build())
            .with_server_info(Implementation::new("shadowcat", env!("CARGO_PKG_VERSION")))
            .with_instructions(INSTRUCTIONS)
    }

    async fn list_tools(
        &self,
        _: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        let tool = |tool: tools::Tool| {
            let annotations = ToolAnnotations::new()
                .read_only(tool.read_only)
                .destructive(tool.destructive)
                .idempotent(tool.read_only)
                .open_world(false);
            Tool::new(tool.name, tool.description, object(tool.schema))
                .with_raw_output_schema(object(tool.result))
                .with_annotations(annotations)
        };
        Ok(ListToolsResult::with_all_items(tools::offered(self.control).into_iter().map(tool).collect()))
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        cx: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        let arguments = Value::Object(request.arguments.unwrap_or_default());
        match tools::call(&request.name, arguments, &name(&cx), self.control).await {
            Ok(value) => {
                let mut result = CallToolResult::success(vec![ContentBlock::text(format!("{value:#}"))]);
                result.structured_content = Some(value);
                Ok(result.into())
            }
            Err(error @ (ToolError::Unknown(_) | ToolError::NotAllowed(_))) => {
                Err(ErrorData::invalid_params(error.to_string(), None))
            }
            // The agent can react to these errors, so they are tool results rather than protocol
            // errors.
            Err(error) => Ok(CallToolResult::error(vec![ContentBlock::text(error.to_string())]).into()),
        }
    }

    async fn list_resources(
        &self,
        _: Option<PaginatedRequestParams>,
        cx: RequestContext<RoleServer>,
    ) -> Result<ListResourcesResult, ErrorData> {
        const TAPES: usize = 50;
        let one = |uri: String, name: String, description: String| {
            Resource::new(uri, name).with_description(description).with_mime_type("application/json")
        };
        let selector = EngineSelector { name: None, by: name(&cx) };
        let mut resources =
            vec![one("shadowcat://sessions".into(), "sessions".into(), "All running sessions".into())];
        for engine in selector.all().await {
            resources.push(one(
                format!("shadowcat://sessions/{}/frames", engine.facts.pid),
                format!("frames of {}", engine.title()),
                "The newest messages".into(),
            ));
        }
        let tapes = tools::in_background(|| library::tapes(None, TAPES)).await.unwrap_or_default();
        for tape in tapes {
            resources.push(one(
                format!("shadowcat://tapes/{}/frames", tape.tape),
                tape.tape,
                format!("A recording of {}", tape.name),
            ));
        }
        Ok(ListResourcesResult::with_all_items(resources))
    }

    async fn list_resource_templates(
        &self,
        _: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListResourceTemplatesResult, ErrorData> {
        let one = |uri: &str, name: &str| ResourceTemplate::new(uri, name).with_mime_type("application/json");
        Ok(ListResourceTemplatesResult::with_all_items(vec![
            one("shadowcat://sessions/{pid}/frames/{seq}", "one frame of a running session"),
            one("shadowcat://tapes/{tape}/frames", "the frames of a recording"),
        ]))
    }

    async fn read_resource(
        &self,
        request: ReadResourceRequestParams,
        cx: RequestContext<RoleServer>,
    ) -> Result<ReadResourceResponse, ErrorData> {
        let value = read(&request.uri, &name(&cx)).await?;
        let contents = ResourceContents::text(format!("{value:#}"), request.uri.clone())
            .with_mime_type("application/json");
        Ok(ReadResourceResult::new(vec![contents]).into())
    }
}

async fn read(uri: &str, by: &str) -> Result<Value, ErrorData> {
    let unknown = || ErrorData::resource_not_found(format!("there is no resource {uri:?}"), None);
    let failed = |error: ToolError| ErrorData::internal_error(error.to_string(), None);
    let path = uri.strip_prefix("shadowcat://").ok_or_else(unknown)?;
    let parts: Vec<&str> = path.split('/').collect();
    match parts[..] {
        ["sessions"] => tools::call("list_sessions", json!({}), by, false).await.map_err(failed),
        ["sessions", server, "frames"] => {
            let arguments = json!({ "server": server, "limit": FRAMES });
            tools::call("list_frames", arguments, by, false).await.map_err(failed)
        }
        ["sessions", server, "frames", seq] => {
            let seq = seq.parse().map_err(|_| unknown())?;
            let selector = EngineSelector { name: Some(server.to_owned()), by: by.to_owned() };
            let engine = selector.one().await.map_err(|error| failed(error.into()))?;
            let ask = Ask::Frames {
                filter: String::new(),
                from: Some(seq),
                to: Some(seq),
                limit: Some(1),
                newest: false,
            };
            let frames: Vec<FrameFacts> = engine.ask(&ask).await.map_err(|error| failed(error.into()))?;
            frames.into_iter().next().map(|frame| json!(frame)).ok_or_else(unknown)
        }
        ["tapes", tape, "frames"] => {
            let arguments = json!({ "tape": tape, "limit": FRAMES });
            tools::call("list_tape_frames", arguments, by, false).await.map_err(failed)
        }
        _ => Err(unknown()),
    }
}
