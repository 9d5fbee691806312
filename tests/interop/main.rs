//! Official SDK clients talk to reference servers, directly and through `forward stdio`, in both
//! eras, and must see the same.
//!
//! Needs `tests/interop/peers/setup.sh target/peers` and `--features interop`. `SHADOWCAT_SOAK=1`
//! runs every combination instead of one of each kind.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod conformance;
mod doctor;
mod http;
mod login;
mod tapes;
mod wrapped;

#[path = "../it/pty_terminal.rs"]
#[expect(dead_code, reason = "the other tests use the rest of it")]
mod pty_terminal;
#[path = "../it/support.rs"]
#[expect(dead_code, reason = "the other tests use the rest of it")]
mod support;

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use rmcp::model::CallToolRequestParams;
use rmcp::transport::TokioChildProcess;

fn peers() -> PathBuf {
    let peers = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/peers");
    assert!(peers.join("venv").is_dir(), "run tests/interop/peers/setup.sh target/peers first");
    peers
}

fn through(data: &Path) -> Vec<String> {
    // SDKs start a server with a trimmed environment, so the command line passes the data directory.
    let data = format!("SHADOWCAT_DATA_DIR={}", data.display());
    ["env", &data, env!("CARGO_BIN_EXE_shadowcat"), "forward", "stdio", "--"].map(str::to_owned).to_vec()
}

fn client(name: &str) -> Vec<String> {
    let peers = peers();
    let path = |file: &str| peers.join(file).display().to_string();
    match name {
        "py" => vec![path("venv/bin/python"), path("client_py.py")],
        "ts1" => vec!["node".into(), path("client_ts1.mjs")],
        _ => vec!["node".into(), path("client_ts2.mjs")],
    }
}

fn server(name: &str, data: &Path) -> Vec<String> {
    let peers = peers();
    let path = |file: &str| peers.join(file).display().to_string();
    match name {
        "everything" => vec![path("node_modules/.bin/mcp-server-everything"), "stdio".into()],
        "filesystem" => vec![path("node_modules/.bin/mcp-server-filesystem"), path("data/dir")],
        "memory" => {
            let file = format!("MEMORY_FILE_PATH={}", data.join("memory.jsonl").display());
            vec!["env".into(), file, path("node_modules/.bin/mcp-server-memory")]
        }
        "time" => vec![path("venv/bin/mcp-server-time")],
        "git" => vec![path("venv/bin/mcp-server-git"), "--repository".into(), path("data/repo")],
        _ => vec!["node".into(), path("server_ts2.mjs")],
    }
}

fn run(words: &[String]) -> Output {
    let mut command = Command::new(&words[0]);
    command.args(&words[1..]).current_dir(peers()).stdin(Stdio::null());
    command.output().unwrap()
}

/// Compares what a client sees of a server, directly and through shadowcat.
fn compare(client_name: &str, server_name: &str, era: &str) {
    let data = tempfile::tempdir().unwrap();
    let mut seen = Vec::new();
    for hop in [Vec::new(), through(data.path())] {
        let memory = tempfile::tempdir().unwrap();
        let words: Vec<String> =
            [client(client_name), vec![era.into()], hop, server(server_name, memory.path())].concat();
        let output = run(&words);
        let document: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| {
            panic!("{words:?}: {error}\n{}", String::from_utf8_lossy(&output.stderr));
        });
        assert!(document["calls"].is_array(), "{document}");
        seen.push((output.status.code(), String::from_utf8(output.stdout).unwrap()));
    }
    assert_eq!(seen[0], seen[1], "{client_name} and {server_name} in {era}");
    let tapes = std::fs::read_dir(data.path().join("tapes")).unwrap().count();
    assert!(tapes > 0, "the session went through shadowcat");
}

fn matrix(client: &str, short: &[(&str, &str)], eras: &[&str]) {
    let servers = ["everything", "filesystem", "memory", "time", "git", "ts2"];
    if std::env::var_os("SHADOWCAT_SOAK").is_some() {
        for server in servers {
            for era in eras {
                compare(client, server, era);
            }
        }
    } else {
        for (server, era) in short {
            compare(client, server, era);
        }
    }
}

#[test]
fn python_client_sees_the_same_over_stdio() {
    let short = [("everything", "2025"), ("time", "2026"), ("git", "auto"), ("ts2", "auto"), ("ts2", "2025")];
    matrix("py", &short, &["2025", "2026", "auto"]);
}

#[test]
fn typescript_2025_client_sees_the_same_over_stdio() {
    matrix("ts1", &[("everything", "2025"), ("filesystem", "2025"), ("ts2", "2025")], &["2025"]);
}

#[test]
fn typescript_2026_client_sees_the_same_over_stdio() {
    let short =
        [("ts2", "2026"), ("ts2", "auto"), ("memory", "2025"), ("time", "2026"), ("everything", "auto")];
    matrix("ts2", &short, &["2025", "2026", "auto"]);
}

/// Runs the client of the Rust SDK in this process, and returns what it sees.
async fn ask(words: &[String], lifecycle: rmcp::service::ClientLifecycleMode) -> String {
    use rmcp::service::ClientServiceExt;
    let mut command = tokio::process::Command::new(&words[0]);
    command.args(&words[1..]);
    let client = ().serve_with_lifecycle(TokioChildProcess::new(command).unwrap(), lifecycle).await.unwrap();
    let info = format!("{:?}", client.peer_info());
    let tools = client.list_all_tools().await.unwrap();
    let echo: CallToolRequestParams = serde_json::from_value(
        serde_json::json!({ "name": "echo", "arguments": { "message": "hi", "text": "hi" } }),
    )
    .unwrap();
    let known = client.call_tool(echo).await.map_err(|error| error.to_string());
    let nothing: CallToolRequestParams =
        serde_json::from_value(serde_json::json!({ "name": "nothing" })).unwrap();
    let unknown = client.call_tool(nothing).await.map_err(|error| error.to_string());
    client.cancel().await.unwrap();
    format!("{info}\n{}\n{known:?}\n{unknown:?}", serde_json::to_string(&tools).unwrap())
}

#[tokio::test]
async fn rust_client_sees_the_same_over_stdio() {
    use rmcp::model::ProtocolVersion;
    use rmcp::service::ClientLifecycleMode;
    let discover = || ClientLifecycleMode::Discover { preferred_versions: vec![ProtocolVersion::LATEST] };
    let data = tempfile::tempdir().unwrap();
    for (name, stateless) in [("everything", false), ("ts2", false), ("ts2", true)] {
        let mode = || if stateless { discover() } else { ClientLifecycleMode::Initialize };
        let direct = ask(&server(name, data.path()), mode()).await;
        let hop = [through(data.path()), server(name, data.path())].concat();
        assert_eq!(ask(&hop, mode()).await, direct, "{name}");
    }
}

/// The input that the server gets and its output must be equal byte for byte, with and without shadowcat.
#[test]
fn bytes_are_equal_with_and_without_shadowcat() {
    let data = tempfile::tempdir().unwrap();
    let lines = [
        r#"{"jsonrpc": "2.0", "id": 1.0, "method": "initialize", "params": {"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"raw","version":"1"}}}"#,
        r#"{"method":"notifications/initialized","jsonrpc":"2.0"}"#,
        r#"{"jsonrpc":"2.0","id":"é\u0000","method":"tools/call","params":{"name":"echo","arguments":{"message":"\ud83d\ude00","message":"twice"}}}"#,
        r#"{"jsonrpc":"2.0","id":12345678901234567890,"method":"ping"}"#,
        "not json at all",
    ];
    let input = lines.join("\n") + "\r\n{\"jsonrpc\":\"2.0\",\"id\":3,\"method\":\"ping\"}";
    let mut seen = Vec::new();
    for (name, hop) in [("direct", Vec::new()), ("through", through(data.path()))] {
        let got = data.path().join(name);
        let everything = server("everything", data.path()).join(" ");
        let script = format!("tee {} | {everything}", got.display());
        let words = [hop, ["sh", "-c", &script].map(str::to_owned).to_vec()].concat();
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        use std::io::Write;
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        seen.push((std::fs::read(&got).unwrap(), output.stdout, output.stderr, output.status.code()));
    }
    assert_eq!(seen[0].0, input.as_bytes());
    assert!(seen[0] == seen[1], "{seen:?}");
}
