//! Tests of `shadowcat mcp`, with the official SDK's client as the agent, in both eras.

use std::path::Path;

use rmcp::model::{CallToolRequestParams, ClientConfig, ProtocolVersion, ReadResourceRequestParams, Tool};
use rmcp::service::{ClientLifecycleMode, ClientServiceExt, RunningService};
use rmcp::transport::TokioChildProcess;
use rmcp::{ClientHandler, RoleClient};
use serde_json::{Value, json};

use crate::control_socket::Wrapped;
use crate::support::{program, tapes};

struct Agent;

impl ClientHandler for Agent {
    fn get_info(&self) -> ClientConfig {
        let mut config = ClientConfig::default();
        config.client_info.name = "tester".into();
        config
    }
}

type Client = RunningService<RoleClient, Agent>;

async fn connect(data: &Path, options: &[&str], stateless: bool) -> Client {
    let mut command = tokio::process::Command::new(program());
    command.arg("mcp").args(options).env("SHADOWCAT_DATA_DIR", data);
    let lifecycle = match stateless {
        true => ClientLifecycleMode::Discover { preferred_versions: vec![ProtocolVersion::V_2026_07_28] },
        false => ClientLifecycleMode::Initialize,
    };
    Agent.serve_with_lifecycle(TokioChildProcess::new(command).unwrap(), lifecycle).await.unwrap()
}

/// Calls a tool and checks its structured content against the schema. Returns the error text if the
/// call fails.
async fn call(client: &Client, name: &'static str, arguments: Value) -> Result<Value, String> {
    let arguments = arguments.as_object().cloned().unwrap_or_default();
    let request = CallToolRequestParams::new(name).with_arguments(arguments);
    let result = client.call_tool(request).await.map_err(|error| error.to_string())?;
    let result = serde_json::to_value(result).unwrap();
    if result["isError"] == true {
        return Err(result["content"][0]["text"].as_str().unwrap_or_default().to_owned());
    }
    let tools = client.list_all_tools().await.unwrap();
    let tool = tools.iter().find(|tool| tool.name == name).unwrap();
    let schema = Value::Object(tool.output_schema.as_deref().unwrap().clone());
    let structured = result["structuredContent"].clone();
    assert_eq!(schema["type"], "object", "{name}");
    jsonschema::validate(&schema, &structured)
        .unwrap_or_else(|error| panic!("{name}: {error}: {structured:#}"));
    Ok(structured)
}

fn names(tools: &[Tool]) -> Vec<String> {
    tools.iter().map(|tool| tool.name.to_string()).collect()
}

fn drive(stateless: bool) {
    let data = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let mut wrapped = Wrapped::demo(data.path(), "calc", &[]);
    wrapped.initialize();
    runtime.block_on(async {
        let agent = connect(data.path(), &["--allow-control"], stateless).await;
        let tools = agent.list_all_tools().await.unwrap();
        assert!(tools.iter().all(|tool| tool.annotations.is_some() && tool.description.is_some()));
        let running = call(&agent, "list_sessions", json!({})).await.unwrap();
        assert_eq!(running["running"][0]["server"], "calc", "{running:#}");
        let point = call(&agent, "hold", json!({ "query": "tool:add kind:req" })).await.unwrap();
        assert_eq!(point["breakpoint"], 1);
        wrapped.call_add(2, 20, 1);
        let frame =
            call(&agent, "wait_for_frame", json!({ "filter": "status:held", "from": 1 })).await.unwrap();
        let held = call(&agent, "list_held", json!({})).await.unwrap();
        let id = held["held"][0]["id"].clone();
        assert_eq!(id, frame["frame"]["seq"]);
        let patch = json!([{ "op": "replace", "path": "/params/arguments/b", "value": 22 }]);
        let edited = call(&agent, "edit", json!({ "id": id, "patch": patch })).await.unwrap();
        assert_eq!(edited["held"], true);
        call(&agent, "list_breakpoints", json!({})).await.unwrap();
        call(&agent, "accept", json!({ "id": id })).await.unwrap();
        let failed = call(&agent, "accept", json!({ "id": id })).await.unwrap_err();
        assert!(failed.contains("is not held"), "{failed}");
        let wrong = call(&agent, "accept", json!({ "frame": 1 })).await.unwrap_err();
        assert!(wrong.contains("accept:"), "{wrong}");
        let resources = agent.list_all_resources().await.unwrap();
        assert!(resources.iter().any(|resource| resource.uri == "shadowcat://sessions"), "{resources:?}");
        let uri = resources.iter().find(|resource| resource.uri.ends_with("/frames")).unwrap().uri.clone();
        let read = agent.read_resource(ReadResourceRequestParams::new(uri)).await.unwrap();
        assert!(serde_json::to_string(&read).unwrap().contains("tools/call"));
        let nothing = agent.read_resource(ReadResourceRequestParams::new("shadowcat://x")).await;
        assert!(nothing.is_err());
        agent.cancel().await.unwrap();
    });
    assert!(wrapped.receive_reply(2).to_string().contains("42"), "the client sees the edit");
    drop(wrapped.stdin.take());
    wrapped.child.wait().unwrap();
    let tape = std::fs::read_to_string(&tapes(data.path())[0]).unwrap();
    assert!(tape.contains(r#""by":"agent tester""#), "the tape names the agent as the author: {tape}");
    runtime.block_on(async {
        let agent = connect(data.path(), &[], stateless).await;
        let listed = call(&agent, "list_tapes", json!({ "text": "calc" })).await.unwrap();
        let tape = listed["tapes"][0]["tape"].clone();
        let frames =
            call(&agent, "list_tape_frames", json!({ "tape": tape, "filter": "status:edited" })).await;
        assert!(!frames.unwrap()["frames"].as_array().unwrap().is_empty());
        call(&agent, "list_breakpoints", json!({})).await.unwrap_err();
        agent.cancel().await.unwrap();
    });
}

#[test]
fn an_agent_holds_edits_and_releases_in_the_stateful_era() {
    drive(false);
}

#[test]
fn an_agent_holds_edits_and_releases_in_the_stateless_era() {
    drive(true);
}

#[test]
fn without_allow_control_mutating_tools_are_absent_and_refused() {
    let data = tempfile::tempdir().unwrap();
    let mut wrapped = Wrapped::demo(data.path(), "calc", &[]);
    wrapped.initialize();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let agent = connect(data.path(), &[], false).await;
        let tools = agent.list_all_tools().await.unwrap();
        let read_only =
            |tool: &Tool| tool.annotations.as_ref().is_some_and(|a| a.read_only_hint == Some(true));
        assert!(!tools.is_empty() && tools.iter().all(read_only), "{:?}", names(&tools));
        for name in ["hold", "accept", "edit", "drop", "answer", "inject", "restart", "remove_breakpoint"] {
            assert!(!names(&tools).iter().any(|tool| tool == name));
            let refused = call(&agent, name, json!({})).await.unwrap_err();
            assert!(refused.contains("--allow-control"), "{name}: {refused}");
        }
        assert!(call(&agent, "no_such_tool", json!({})).await.is_err());
        let points = call(&agent, "list_breakpoints", json!({})).await.unwrap();
        assert_eq!(points["points"], json!([]));
        let filter = call(&agent, "list_frames", json!({ "filter": "nonsense:x" })).await.unwrap_err();
        assert!(filter.contains("filter"), "{filter}");
        agent.cancel().await.unwrap();
    });
}
