//! Official SDK clients talk to servers over HTTP, directly and through `forward http`, and from
//! stdio through `forward stdio --upstream`, in both eras, and must see the same.

use std::process::{Command, Stdio};

use rmcp::model::ProtocolVersion;
use rmcp::service::{ClientLifecycleMode, ClientServiceExt};
use rmcp::transport::StreamableHttpClientTransport;

use crate::conformance::{Running, example, start};
use crate::{client, peers, run};

/// Starts the server called `name`, waits until it accepts connections, and returns its URL.
fn server(name: &str) -> (Running, String) {
    let (running, url) = started(name);
    // A server may print its URL before it listens.
    let authority = url.strip_prefix("http://").and_then(|url| url.split('/').next()).unwrap();
    for _ in 0..1000 {
        if std::net::TcpStream::connect(authority).is_ok() {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    (running, url)
}

fn started(name: &str) -> (Running, String) {
    match name {
        "everything" => {
            // The server does not report a port that it chose itself, so choose one that is free now.
            let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
            let mut command = Command::new(peers().join("node_modules/.bin/mcp-server-everything"));
            command.arg("streamableHttp").env("PORT", port.to_string());
            let (running, port) = start(&mut command, "MCP Streamable HTTP Server listening on port ");
            (running, format!("http://127.0.0.1:{port}/mcp"))
        }
        "py" => start(Command::new(peers().join("venv/bin/python")).arg(peers().join("server_py.py")), ""),
        "ts2" => start(Command::new("node").arg(peers().join("server_ts2.mjs")).arg("http"), ""),
        _ => start(Command::new(example("fixture_server")).args(["http", "127.0.0.1:0"]), ""),
    }
}

/// Returns what a client sees, without the messages of its other streams, whose order varies.
fn shows(client_name: &str, era: &str, to: &[String]) -> serde_json::Value {
    let words: Vec<String> = [client(client_name), vec![era.to_owned()], to.to_vec()].concat();
    let output = run(&words);
    let mut seen: serde_json::Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{words:?}: {error}\n{}", String::from_utf8_lossy(&output.stderr)));
    seen["messages"] = serde_json::Value::Null;
    // server-everything adds tools some time after the client has declared its capabilities.
    const LATE: [&str; 3] =
        ["trigger-elicitation-request", "trigger-url-elicitation", "simulate-research-query"];
    if let Some(tools) = seen["tools"]["tools"].as_array_mut() {
        tools.retain(|tool| !LATE.iter().any(|late| tool["name"] == *late));
    }
    seen
}

fn compare(client_name: &str, server_name: &str, era: &str) {
    let data = tempfile::tempdir().unwrap();
    let (_server, direct) = server(server_name);
    let mut hop = Command::new(env!("CARGO_BIN_EXE_shadowcat"));
    hop.env("SHADOWCAT_DATA_DIR", data.path()).args(["forward", "http", "--upstream", &direct]);
    let (_hop, through) = start(hop.stdin(Stdio::null()), "listening on ");
    let alone = shows(client_name, era, std::slice::from_ref(&direct));
    assert!(alone["calls"].as_array().is_some_and(|calls| calls.len() > 3), "{alone}");
    assert_eq!(shows(client_name, era, &[through]), alone, "{client_name} and {server_name} in {era}, HTTP");
    // Over stdio, the client may behave differently than over HTTP, but calls must give the same results.
    let place = format!("SHADOWCAT_DATA_DIR={}", data.path().display());
    let bridge = ["env", &place, env!("CARGO_BIN_EXE_shadowcat"), "forward", "stdio", "--upstream", &direct];
    let bridged = shows(client_name, era, &bridge.map(str::to_owned));
    for key in ["negotiated", "server", "tools", "elicitations", "calls"] {
        assert_eq!(bridged[key], alone[key], "{client_name} and {server_name} in {era}, bridged: {key}");
    }
    let tapes = std::fs::read_dir(data.path().join("tapes")).unwrap().count();
    assert!(tapes > 1, "the sessions went through shadowcat");
}

/// Compares what a client sees of a stdio server through the gateway and directly.
fn compare_gateway(client_name: &str, server: &[String], era: &str) {
    let data = tempfile::tempdir().unwrap();
    let mut gateway = Command::new(env!("CARGO_BIN_EXE_shadowcat"));
    gateway.env("SHADOWCAT_DATA_DIR", data.path()).args(["reverse", "--bind", "127.0.0.1:0", "--upstream"]);
    let (_gateway, url) = start(gateway.arg(server.join(" ")).stdin(Stdio::null()), "listening on ");
    let alone = shows(client_name, era, server);
    assert!(alone["calls"].as_array().is_some_and(|calls| calls.len() > 3), "{alone}");
    let through = shows(client_name, era, &[url]);
    for key in ["negotiated", "server", "tools", "elicitations", "calls"] {
        assert_eq!(through[key], alone[key], "{client_name} and {server:?} in {era}: {key}");
    }
}

#[test]
fn sdk_clients_see_the_same_stdio_server_through_the_gateway() {
    let everything = crate::server("everything", std::path::Path::new(""));
    let fixture = [example("fixture_server").display().to_string(), "stdio".to_owned()];
    for client in ["py", "ts1", "ts2"] {
        compare_gateway(client, &everything, "2025");
    }
    for client in ["py", "ts2"] {
        compare_gateway(client, &fixture, "2026");
    }
    compare_gateway("ts2", &everything, "auto");
}

#[test]
fn python_client_sees_the_same_over_http() {
    for (server, era) in [
        ("everything", "2025"),
        ("fixture", "2025"),
        ("fixture", "2026"),
        ("fixture", "auto"),
        ("py", "2026"),
        ("ts2", "2026"),
    ] {
        compare("py", server, era);
    }
}

#[test]
fn typescript_2025_client_sees_the_same_over_http() {
    compare("ts1", "everything", "2025");
    compare("ts1", "fixture", "2025");
    compare("ts1", "py", "2025");
    compare("ts1", "ts2", "2025");
}

#[test]
fn typescript_2026_client_sees_the_same_over_http() {
    for (server, era) in
        [("everything", "auto"), ("fixture", "2025"), ("fixture", "2026"), ("py", "2026"), ("ts2", "2026")]
    {
        compare("ts2", server, era);
    }
}

/// Runs the client of the Rust SDK in this process, and returns what it sees.
async fn ask(url: &str, lifecycle: ClientLifecycleMode) -> String {
    let transport = StreamableHttpClientTransport::from_uri(url.to_owned());
    let client = ().serve_with_lifecycle(transport, lifecycle).await.unwrap();
    let info = format!("{:?}", client.peer_info());
    let tools = serde_json::to_string(&client.list_all_tools().await.unwrap()).unwrap();
    let nothing = serde_json::from_value(serde_json::json!({ "name": "nothing" })).unwrap();
    let unknown = client.call_tool(nothing).await.map_err(|error| error.to_string());
    client.cancel().await.unwrap();
    format!("{info}\n{tools}\n{unknown:?}")
}

#[tokio::test]
async fn rust_client_sees_the_same_over_http() {
    let discover = || ClientLifecycleMode::Discover { preferred_versions: vec![ProtocolVersion::LATEST] };
    for (name, stateless) in
        [("everything", false), ("fixture", false), ("fixture", true), ("py", true), ("ts2", true)]
    {
        let (_server, direct) = server(name);
        let mut hop = Command::new(env!("CARGO_BIN_EXE_shadowcat"));
        hop.args(["forward", "http", "--no-tape", "--upstream", &direct]);
        let (_hop, through) = start(hop.stdin(Stdio::null()), "listening on ");
        let mode = || if stateless { discover() } else { ClientLifecycleMode::Initialize };
        assert_eq!(ask(&through, mode()).await, ask(&direct, mode()).await, "{name}");
    }
}

/// Compares resumption after a cut stream, cancellation and subscriptions of an SDK, directly and
/// through shadowcat. Returns the frames that `tape show` finds for `filter`.
fn streams(words: &[&str], server_name: &str, filter: &str) -> serde_json::Value {
    let data = tempfile::tempdir().unwrap();
    let (_server, direct) = server(server_name);
    let tape = data.path().join("streams.tape");
    let tape = tape.to_str().unwrap();
    let mut hop = Command::new(env!("CARGO_BIN_EXE_shadowcat"));
    hop.args(["forward", "http", "--tape", tape, "--upstream", &direct]);
    let (mut hop, through) = start(hop.stdin(Stdio::null()), "listening on ");
    let mut seen = Vec::new();
    for url in [&direct, &through] {
        let mut words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        words.push(url.clone());
        let output = run(&words);
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let saw: serde_json::Value = serde_json::from_str(&said)
            .unwrap_or_else(|error| panic!("{error} {said} {}", String::from_utf8_lossy(&output.stderr)));
        assert!(!saw.as_object().unwrap().is_empty(), "{words:?}: {saw}");
        seen.push(saw);
    }
    assert_eq!(seen[0], seen[1], "{words:?} {server_name}");
    // The tape is complete once the process has ended.
    let pid = nix::unistd::Pid::from_raw(i32::try_from(hop.0.id()).unwrap());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).unwrap();
    hop.0.wait().unwrap();
    let mut show = Command::new(env!("CARGO_BIN_EXE_shadowcat"));
    show.args(["tape", "show", tape, "--output", "json", "--filter", filter]);
    serde_json::from_slice(&show.output().unwrap().stdout).unwrap()
}

#[test]
fn streams_resume_cancel_and_subscribe_through_forward_http() {
    let (ts1, ts2, py) = ("streams_ts1.mjs", "streams_ts2.mjs", "streams_py.py");
    let python = peers().join("venv/bin/python").display().to_string();
    let some = |found: serde_json::Value| {
        assert!(!found.as_array().unwrap().is_empty(), "no frame on the tape matches")
    };
    some(streams(&["node", ts1], "fixture", "http:last-event-id*"));
    some(streams(&["node", ts1], "everything", "method:notifications/cancelled"));
    some(streams(&["node", ts2], "fixture", "method:notifications/tools/list_changed http:stream"));
    some(streams(&["node", ts2], "py", "status:lost tool:sleep"));
    some(streams(&[&python, py, "2025"], "fixture", "tool:test_reconnection"));
    some(streams(&[&python, py, "2025"], "py", "method:notifications/cancelled"));
    some(streams(&[&python, py, "2026"], "fixture", "method:subscriptions/listen"));
    some(streams(&[&python, py, "2026"], "py", "status:lost tool:sleep"));
}

/// Exchange as it was received: status line, headers with their case and order, and the body
/// without its transfer coding.
#[derive(Debug, PartialEq, Eq)]
struct Exchanged {
    status: String,
    headers: Vec<(String, String)>,
    body: String,
}

/// Headers that may differ because they belong to a hop (RFC 9110, 7.6.1), contain the time, or
/// name a session.
const DIFFER: [&str; 5] = ["connection", "keep-alive", "transfer-encoding", "date", "mcp-session-id"];

fn exchange(url: &str, method: &str, headers: &str, body: &str) -> (Exchanged, Option<String>) {
    use std::io::{Read, Write};
    let authority = url.strip_prefix("http://").unwrap().split('/').next().unwrap();
    let mut stream = std::net::TcpStream::connect(authority).unwrap();
    stream.set_read_timeout(Some(std::time::Duration::from_secs(20))).unwrap();
    let length = body.len();
    let head = format!(
        "{method} /mcp HTTP/1.1\r\nHost: {authority}\r\nConnection: close\r\nContent-Length: {length}\r\n{headers}\r\n{body}"
    );
    stream.write_all(head.as_bytes()).unwrap();
    // Servers may keep the connection open for seconds despite `Connection: close`, so stop at the
    // end of the response.
    let mut all = Vec::new();
    let mut chunk = [0; 65536];
    while !is_whole(&all) {
        match stream.read(&mut chunk).unwrap() {
            0 => break,
            length => all.extend_from_slice(&chunk[..length]),
        }
    }
    let text = String::from_utf8_lossy(&all).into_owned();
    let (head, mut rest) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{text}"));
    let mut lines = head.split("\r\n");
    let status = lines.next().unwrap().to_owned();
    let headers: Vec<(String, String)> =
        lines.map(|line| line.split_once(": ").map(|(a, b)| (a.to_owned(), b.to_owned())).unwrap()).collect();
    let find = |name: &str| headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name));
    let session = find("mcp-session-id").map(|(_, value)| value.clone());
    let mut body = String::new();
    if find("transfer-encoding").is_some() {
        while let Some((size, after)) = rest.split_once("\r\n") {
            let size = usize::from_str_radix(size, 16).unwrap();
            body += &after[..size];
            rest = after.get(size + 2..).unwrap_or_default();
        }
    } else {
        rest.clone_into(&mut body);
    }
    // Event ids differ in each session.
    let body = body.split('\n').map(|line| if line.starts_with("id: ") { "id: MASKED" } else { line });
    let body = body.collect::<Vec<_>>().join("\n");
    // A 204 response must not have Content-Length, and loses it on the way (RFC 9110, 8.6).
    let no_content = status.contains(" 204 ");
    let differs = |name: &str| {
        DIFFER.iter().any(|each| name.eq_ignore_ascii_case(each))
            || (no_content && name.eq_ignore_ascii_case("content-length"))
    };
    let headers = headers.into_iter().filter(|(name, _)| !differs(name)).collect();
    (Exchanged { status, headers, body }, session)
}

/// Returns `true` if a response is complete by its own framing.
fn is_whole(response: &[u8]) -> bool {
    let text = String::from_utf8_lossy(response).to_ascii_lowercase();
    let Some((head, body)) = text.split_once("\r\n\r\n") else { return false };
    let length = head.split("\r\n").find_map(|line| line.strip_prefix("content-length: "));
    match length {
        Some(length) => body.len() >= length.parse().unwrap(),
        None => head.contains("transfer-encoding: chunked") && text.ends_with("0\r\n\r\n"),
    }
}

#[test]
fn raw_exchanges_are_equal_byte_by_byte() {
    let json = "Content-Type: application/json\r\nAccept: application/json, text/event-stream\r\n";
    let initialize = r#"{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"raw","version":"1"}}}"#;
    let discover = r#"{"jsonrpc":"2.0","id":"d","method":"server/discover","params":{"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}}}"#;
    let modern = "MCP-Protocol-Version: 2026-07-28\r\nMcp-Method: server/discover\r\n";
    for name in ["everything", "fixture", "py", "ts2"] {
        let (_server, direct) = server(name);
        let mut hop = Command::new(env!("CARGO_BIN_EXE_shadowcat"));
        hop.args(["forward", "http", "--no-tape", "--upstream", &direct]);
        let (_hop, through) = start(hop.stdin(Stdio::null()), "listening on ");
        let story = |url: &str| {
            let ask = |method: &str, headers: &str, body: &str| exchange(url, method, headers, body).0;
            let (first, session) = exchange(url, "POST", json, initialize);
            let named =
                session.map(|id| format!("{json}Mcp-Session-Id: {id}\r\n")).unwrap_or(json.to_owned());
            let post = |body: &str| ask("POST", &named, body);
            vec![
                first,
                post(r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#),
                post(r#"{ "jsonrpc": "2.0", "id": "é", "method": "tools/list" }"#),
                post(r#"{"jsonrpc":"2.0","id":1.0,"method":"tools/call","params":{"name":"nothing"}}"#),
                post(r#"{"jsonrpc":"2.0","id":2,"method":"no/such"}"#),
                post("{oops"),
                ask("POST", &format!("{json}{modern}"), discover),
                ask(
                    "POST",
                    &format!("{json}Mcp-Session-Id: nobody\r\n"),
                    r#"{"jsonrpc":"2.0","id":3,"method":"ping"}"#,
                ),
                ask("POST", "Content-Type: text/plain\r\nAccept: text/html\r\n", "hello"),
                ask("PUT", json, "{}"),
                ask("OPTIONS", "", ""),
                ask("GET", "Accept: application/json\r\nMcp-Session-Id: nobody\r\n", ""),
                ask("DELETE", &named, ""),
            ]
        };
        let (alone, with_us) = (story(&direct), story(&through));
        for (number, (alone, with_us)) in alone.iter().zip(&with_us).enumerate() {
            assert_eq!(with_us, alone, "exchange {number} with {name}");
        }
    }
}
