//! Tests of the gateway (`shadowcat reverse`) as a process, with real servers and real sockets.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Stdio};
use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::raw_http::{Seen, Server, respond};
use crate::support::{self, eventually, program, shadowcat, signal};

/// Running gateway.
pub struct Gateway {
    /// Process of the gateway.
    pub child: Child,
    address: SocketAddr,
    data: tempfile::TempDir,
}

impl Drop for Gateway {
    fn drop(&mut self) {
        // The gateway may have ended already; ignore the errors.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Connection that carries a single request.
pub struct Exchange(pub BufReader<TcpStream>);

impl Exchange {
    /// Reads the head of the response, and returns the status and the headers.
    pub fn head(&mut self) -> (u16, Seen) {
        let mut head = Seen::default();
        let mut line = String::new();
        self.0.read_line(&mut line).unwrap();
        head.line = line.trim_end().to_owned();
        loop {
            let mut line = String::new();
            self.0.read_line(&mut line).unwrap();
            let Some((name, value)) = line.trim_end().split_once(": ") else { break };
            head.headers.push((name.to_owned(), value.to_owned()));
        }
        let status = head.line.split(' ').nth(1).unwrap_or_else(|| panic!("{head:?}")).parse().unwrap();
        (status, head)
    }

    /// Reads the next message of the event stream.
    pub fn event(&mut self) -> Value {
        loop {
            let mut line = String::new();
            assert_ne!(self.0.read_line(&mut line).unwrap(), 0, "the stream ended");
            if let Some(data) = line.strip_prefix("data: ") {
                return serde_json::from_str(data).unwrap();
            }
        }
    }

    /// Reads the whole response, and returns the status, the headers and the JSON body.
    pub fn whole(mut self) -> (u16, Seen, Value) {
        let (status, head) = self.head();
        let length = head.header("content-length").map_or(0, |length| length.parse().unwrap());
        let mut body = vec![0; length];
        self.0.read_exact(&mut body).unwrap();
        (status, head, serde_json::from_slice(&body).unwrap_or(Value::Null))
    }
}

impl Gateway {
    /// Starts a gateway with more options, and waits until it listens.
    pub fn start(upstream: &str, more: &[&str]) -> Self {
        let data = tempfile::tempdir().unwrap();
        let mut command = shadowcat(data.path());
        command.args(["reverse", "--bind", "127.0.0.1:0", "--upstream", upstream]).args(more);
        let mut child = command.stdin(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let mut said = BufReader::new(child.stderr.take().unwrap());
        let mut line = String::new();
        said.read_line(&mut line).unwrap();
        std::thread::spawn(move || std::io::copy(&mut said, &mut std::io::sink()));
        let place = line.trim().strip_prefix("listening on http://").and_then(|url| url.strip_suffix("/mcp"));
        let address = place.unwrap_or_else(|| panic!("{line}")).parse().unwrap();
        Self { child, address, data }
    }

    /// Starts a gateway in front of the demo server, which speaks both eras.
    pub fn demo() -> Self {
        Self::start(&format!("{} demo-server --pace 20", program()), &[])
    }

    /// Sends a request.
    pub fn send(&self, method: &str, path: &str, headers: &str, body: &str) -> Exchange {
        let mut stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let length = body.len();
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {length}\r\n{headers}\r\n{body}"
        );
        stream.write_all(head.as_bytes()).unwrap();
        Exchange(BufReader::new(stream))
    }

    /// Posts a JSON body to the MCP endpoint.
    pub fn post(&self, headers: &str, body: &Value) -> Exchange {
        self.send("POST", "/mcp", &format!("{JSON}{headers}"), &body.to_string())
    }

    /// Opens a session of the 2025 era, and returns the headers that name it.
    pub fn initialize(&self) -> String {
        let (status, head, answer) = self.post("", &initialize()).whole();
        assert_eq!((status, &answer["result"]["protocolVersion"]), (200, &json!("2025-11-25")), "{answer}");
        let session = head.header("mcp-session-id").unwrap();
        format!("Mcp-Session-Id: {session}\r\nMCP-Protocol-Version: 2025-11-25\r\n")
    }

    /// Sends a request of the 2026 era, with its headers and envelope.
    pub fn stateless(&self, id: Value, method: &str, mut params: Value) -> Exchange {
        let name = params["name"].as_str().map(|name| format!("Mcp-Name: {name}\r\n")).unwrap_or_default();
        params["_meta"]["io.modelcontextprotocol/protocolVersion"] = "2026-07-28".into();
        params["_meta"]["io.modelcontextprotocol/clientCapabilities"] = json!({});
        let headers = format!("MCP-Protocol-Version: 2026-07-28\r\nMcp-Method: {method}\r\n{name}");
        self.post(&headers, &json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params }))
    }

    /// Returns the value of a metric.
    pub fn metric(&self, name: &str) -> f64 {
        let mut exchange = self.send("GET", "/metrics", "", "");
        let mut text = String::new();
        exchange.0.read_to_string(&mut text).unwrap();
        let line =
            text.lines().find(|line| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(' ')));
        line.unwrap_or_else(|| panic!("{name}: {text}")).rsplit(' ').next().unwrap().parse().unwrap()
    }

    /// Returns the number of running server processes.
    pub fn processes(&self) -> u32 {
        self.metric("shadowcat_processes") as u32
    }

    /// Returns the JSON body of `/health`.
    pub fn health(&self) -> Value {
        let (status, _, health) = self.send("GET", "/health", "", "").whole();
        assert_eq!(status, 200);
        health
    }
}

/// Headers of a JSON request.
pub const JSON: &str = "Content-Type: application/json\r\nAccept: application/json, text/event-stream\r\n";

/// Returns an `initialize` request of the 2025 era.
pub fn initialize() -> Value {
    let params = json!({ "protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": { "name": "t", "version": "1" } });
    json!({ "jsonrpc": "2.0", "id": 0, "method": "initialize", "params": params })
}

/// Returns a `tools/call` request.
pub fn call(id: impl Into<Value>, tool: &str, arguments: Value) -> Value {
    let params = json!({ "name": tool, "arguments": arguments });
    json!({ "jsonrpc": "2.0", "id": id.into(), "method": "tools/call", "params": params })
}

#[test]
fn each_session_has_its_own_process_that_ends_with_it() {
    let gateway = Gateway::demo();
    let (one, other) = (gateway.initialize(), gateway.initialize());
    assert_ne!(one, other);
    eventually("the probe is over", || gateway.processes() == 2);
    let (status, _, answer) = gateway.post(&one, &call("x", "add", json!({ "a": 2, "b": 3 }))).whole();
    assert_eq!((status, &answer["id"]), (200, &json!("x")));
    assert_eq!(answer["result"]["content"][0]["text"], "5");
    let initialized = json!({ "jsonrpc": "2.0", "method": "notifications/initialized" });
    assert_eq!(gateway.post(&one, &initialized).whole().0, 202);
    assert_eq!(gateway.send("DELETE", "/mcp", &one, "").whole().0, 200);
    eventually("its process is gone", || gateway.processes() == 1);
    let (status, _, gone) = gateway.post(&one, &call(1, "add", json!({}))).whole();
    assert_eq!((status, &gone["error"]["code"]), (404, &json!(-32001)));
    let (status, ..) = gateway.post(&other, &call(1, "add", json!({ "a": 1, "b": 1 }))).whole();
    assert_eq!(status, 200, "the other session goes on");
}

#[test]
fn stateless_requests_share_a_process_without_mixing() {
    let gateway = Gateway::demo();
    let index = |steps: u32| {
        let params =
            json!({ "name": "index", "arguments": { "steps": steps }, "_meta": { "progressToken": "same" } });
        gateway.stateless(json!(1), "tools/call", params)
    };
    let (mut three, mut five) = (index(3), index(5));
    for (exchange, steps) in [(&mut three, 3), (&mut five, 5)] {
        assert_eq!(exchange.head().0, 200);
        for step in 1..=steps {
            let progress = exchange.event();
            assert_eq!(progress["params"]["progressToken"], "same");
            assert_eq!(
                (&progress["params"]["progress"], &progress["params"]["total"]),
                (&json!(step), &json!(steps))
            );
        }
        let answer = exchange.event();
        assert_eq!(answer["id"], 1);
        assert_eq!(answer["result"]["content"][0]["text"], format!("indexed {steps} folders"));
    }
    eventually("one process serves them", || gateway.processes() == 1);
    // An id keeps its JSON type on the way to the server and back.
    let (status, _, answer) = gateway.stateless(json!("a"), "tools/list", json!({})).whole();
    assert_eq!((status, &answer["id"]), (200, &json!("a")));
}

/// Returns the command of a server that logs its input and answers only `server/discover`.
fn secretary(directory: &std::path::Path) -> String {
    let script = directory.join("secretary.sh");
    let text = r#"#!/bin/sh
while read -r line; do
    printf '%s\n' "$line" >> "$1"
    id=$(printf '%s' "$line" | sed -n 's/.*"id":\([^,]*\),"method":"server\/discover".*/\1/p')
    [ -n "$id" ] && printf '{"jsonrpc":"2.0","id":%s,"result":{"supportedVersions":["2026-07-28"],"capabilities":{},"resultType":"complete"}}\n' "$id"
done
"#;
    std::fs::write(&script, text).unwrap();
    format!("sh {} {}", script.display(), directory.join("read").display())
}

#[test]
fn closing_a_stream_cancels_the_call_at_the_server() {
    let place = tempfile::tempdir().unwrap();
    let gateway = Gateway::start(&secretary(place.path()), &[]);
    let read = || std::fs::read_to_string(place.path().join("read")).unwrap_or_default();
    let waiting = gateway.stateless(json!("mine"), "tools/call", json!({ "name": "slow", "arguments": {} }));
    eventually("the server is asked", || read().contains("\"slow\""));
    drop(waiting);
    eventually("the server is told", || read().contains("notifications/cancelled"));
    let lines: Vec<Value> = read().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let asked = lines.iter().find(|line| line["params"]["name"] == "slow").unwrap();
    let told = lines.iter().find(|line| line["method"] == "notifications/cancelled").unwrap();
    assert_ne!(asked["id"], "mine", "the id is mapped before it reaches the server");
    assert!(asked["id"].is_string(), "the id keeps its JSON type");
    assert_eq!(told["params"]["requestId"], asked["id"]);
}

#[test]
fn http_requirements_are_enforced() {
    let gateway = Gateway::demo();
    let session = gateway.initialize();
    let text = |headers: &str, body: &str| gateway.send("POST", "/mcp", headers, body).whole();
    let status = |seen: (u16, Seen, Value)| (seen.0, seen.2["error"]["code"].as_i64().unwrap_or_default());
    let only_json = "Content-Type: application/json\r\nAccept: application/json\r\n";
    assert_eq!(status(text(only_json, "{}")).0, 406);
    assert_eq!(status(text("Content-Type: text/plain\r\nAccept: */*\r\n", "{}")).0, 415);
    assert_eq!(status(text(JSON, "{oops")), (400, -32700));
    assert_eq!(status(text(JSON, "{}")), (400, -32600));
    assert_eq!(status(gateway.post("", &call(1, "add", json!({}))).whole()), (400, -32000));
    let unknown = "Mcp-Session-Id: 00000000-0000-4000-8000-000000000000\r\n";
    assert_eq!(status(gateway.post(unknown, &call(1, "add", json!({}))).whole()), (404, -32001));
    let old = session.replace("2025-11-25", "1999-01-01");
    assert_eq!(status(gateway.post(&old, &call(1, "add", json!({}))).whole()), (400, -32000));
    assert_eq!(status(gateway.post(&session, &json!([call(1, "add", json!({}))])).whole()), (400, -32600));
    assert_eq!(status(gateway.post(&session, &initialize()).whole()), (400, -32600));
    let put = gateway.send("PUT", "/mcp", &session, "").whole();
    assert_eq!((put.0, put.1.header("allow")), (405, Some("POST, GET, DELETE")));
    assert_eq!(
        gateway.send("GET", "/mcp", &format!("{session}Accept: application/json\r\n"), "").whole().0,
        406
    );
    // The 2026 era has status codes of its own.
    assert_eq!(status(gateway.stateless(json!(1), "no/such", json!({})).whole()), (404, -32601));
    let wrong = "MCP-Protocol-Version: 2026-07-28\r\nMcp-Method: tools/list\r\nMcp-Name: add\r\n";
    let mut body = call(1, "add", json!({ "a": 1, "b": 1 }));
    assert_eq!(status(gateway.post(wrong, &body).whole()), (400, -32602), "the envelope in _meta is missing");
    body["params"]["_meta"] = json!({
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientCapabilities": {},
    });
    assert_eq!(status(gateway.post(wrong, &body).whole()), (400, -32020), "the header names another method");
    let twice = body.to_string().replacen('{', r#"{"id":9,"#, 1);
    let right = format!("{JSON}{}", wrong.replace("tools/list", "tools/call"));
    assert_eq!(status(text(&right, &twice)), (400, -32600), "a duplicate id is ambiguous");
    assert_eq!(gateway.post(&right.replacen(JSON, "", 1), &body).whole().0, 200);
}

#[test]
fn server_requests_arrive_on_the_stream_of_their_call() {
    let gateway = Gateway::demo();
    let session = gateway.initialize();
    let mut greet = gateway.post(&session, &call(7, "greet", json!({})));
    assert_eq!(greet.head().0, 200);
    let asked = greet.event();
    assert_eq!(asked["method"], "elicitation/create");
    let answer = json!({ "jsonrpc": "2.0", "id": asked["id"], "result": { "action": "accept", "content": { "name": "Ada" } } });
    assert_eq!(gateway.post(&session, &answer).whole().0, 202);
    let greeted = greet.event();
    assert_eq!(
        (&greeted["id"], &greeted["result"]["content"][0]["text"]),
        (&json!(7), &json!("Hello, Ada!"))
    );
    // Messages that belong to no call wait for the GET stream of the client.
    assert_eq!(gateway.post(&session, &call(8, "learn", json!({}))).whole().0, 200);
    let mut stream = gateway.send("GET", "/mcp", &format!("{session}Accept: text/event-stream\r\n"), "");
    assert_eq!(stream.head().0, 200);
    assert_eq!(stream.event()["method"], "notifications/tools/list_changed");
}

#[test]
fn dead_server_is_an_error_and_the_next_session_gets_a_new_process() {
    let script = r#"sh -c 'read -r line; echo "{\"jsonrpc\":\"2.0\",\"id\":0,\"result\":{\"protocolVersion\":\"2025-11-25\",\"capabilities\":{}}}"; read -r line; exit 7'"#;
    let gateway = Gateway::start(script, &[]);
    for _ in 0..2 {
        let session = gateway.initialize();
        let (status, _, answer) = gateway.post(&session, &call(1, "any", json!({}))).whole();
        assert_eq!((status, &answer["id"]), (502, &json!(1)));
        assert!(answer["error"]["message"].as_str().unwrap().contains("exited 7"), "{answer}");
        let health = gateway.health();
        assert_eq!((&health["status"], &health["upstream"]["state"]), (&json!("degraded"), &json!("down")));
        assert_eq!(gateway.post(&session, &call(2, "any", json!({}))).whole().0, 404);
    }
    let data = tempfile::tempdir().unwrap();
    let mut missing = shadowcat(data.path());
    missing.args(["reverse", "--bind", "127.0.0.1:0", "--upstream", "no-such-command-here"]);
    let missing = missing.output().unwrap();
    assert_eq!(missing.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&missing.stderr).contains("not found in PATH"), "{missing:?}");
}

#[test]
fn stateless_client_is_told_to_initialize_if_the_server_is_stateful() {
    let script = r#"sh -c 'while read -r line; do id=${line#*\"id\":}; echo "{\"jsonrpc\":\"2.0\",\"id\":${id%%,*},\"error\":{\"code\":-32601,\"message\":\"no\"}}"; done'"#;
    let gateway = Gateway::start(script, &[]);
    let (status, _, answer) = gateway.stateless(json!(1), "server/discover", json!({})).whole();
    // An error code of the 2026 era would keep the client from falling back to `initialize`.
    assert_eq!((status, &answer["error"]["code"]), (400, &json!(-32000)));
    assert!(answer["error"]["message"].as_str().unwrap().contains("initialize"), "{answer}");
}

#[test]
fn stopped_gateway_finishes_calls_and_leaves_no_process() {
    let mut gateway = Gateway::demo();
    let session = gateway.initialize();
    let params = json!({ "name": "index", "arguments": { "steps": 10 }, "_meta": { "progressToken": 1 } });
    let body = json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params });
    let mut running = gateway.post(&session, &body);
    assert_eq!((running.head().0, &running.event()["params"]["progress"]), (200, &json!(1)));
    let group = gateway.child.id();
    let children = || {
        let of_it = |pid: &i32| {
            let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            let parent = stat.rsplit(") ").next().and_then(|rest| rest.split(' ').nth(1)?.parse().ok());
            parent == Some(group)
        };
        let all = std::fs::read_dir("/proc").unwrap().flatten();
        all.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).filter(of_it).collect::<Vec<i32>>()
    };
    let mine = children();
    assert!(!mine.is_empty());
    signal(&gateway.child, Signal::SIGTERM);
    let mut last = Value::Null;
    while last["id"].is_null() {
        last = running.event();
    }
    assert_eq!(last["result"]["content"][0]["text"], "indexed 10 folders");
    assert_eq!(gateway.child.wait().unwrap().code(), Some(0));
    assert!(mine.iter().all(|pid| !support::is_alive(*pid)), "its servers are gone");
}

#[test]
fn http_upstream_keeps_its_path_and_gets_no_client_credentials() {
    let origin = Server::start(|request, stream| match request.header("x-mine") {
        Some("refused") => respond(stream, "401 No", "WWW-Authenticate: Bearer realm=\"elsewhere\"\r\n", b""),
        _ => respond(
            stream,
            "200 OK",
            "Content-Type: application/json\r\nSet-Cookie: a=b\r\n",
            b"{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{}}",
        ),
    });
    let url = format!("http://{}/deep/api?v=1", origin.address);
    let gateway = Gateway::start(&url, &["--header", "Authorization: Bearer ours"]);
    let headers = "Authorization: Bearer theirs\r\nCookie: c=d\r\nX-Api-Key: theirs\r\nX-Mine: kept\r\n";
    let (status, head, answer) = gateway.post(headers, &call(1, "any", json!({}))).whole();
    assert_eq!((status, head.header("set-cookie"), &answer["result"]), (200, None, &json!({})));
    let seen = &origin.seen()[0];
    assert_eq!(seen.line, "POST /deep/api?v=1 HTTP/1.1");
    let of = |name: &str| seen.header(name).map(str::to_owned);
    assert_eq!(
        (of("authorization"), of("cookie"), of("x-api-key"), of("x-mine")),
        (Some("Bearer ours".into()), None, None, Some("kept".into()))
    );
    let (status, head, answer) = gateway.post("X-Mine: refused\r\n", &call(1, "any", json!({}))).whole();
    assert_eq!((status, head.header("www-authenticate")), (502, None));
    assert!(answer["error"]["message"].as_str().unwrap().contains("--header"), "{answer}");
}

#[test]
fn every_route_checks_host_and_origin() {
    let gateway = Gateway::demo();
    for path in ["/mcp", "/health", "/metrics", "/elsewhere"] {
        let mut stream = TcpStream::connect(gateway.address).unwrap();
        let head = format!("GET {path} HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n");
        stream.write_all(head.as_bytes()).unwrap();
        assert_eq!(Exchange(BufReader::new(stream)).head().0, 403, "{path}");
        let evil = gateway.send("GET", path, "Origin: http://evil.example\r\n", "").head().0;
        assert_eq!(evil, 403, "{path}");
    }
    assert_eq!(gateway.send("GET", "/elsewhere", "", "").head().0, 404);
    assert_eq!(gateway.send("POST", "/health", "", "").head().0, 405);
}

#[test]
fn two_hundred_sessions_at_once_leave_no_process_behind() {
    const SESSIONS: usize = 200;
    let gateway = Gateway::demo();
    std::thread::scope(|scope| {
        let open: Vec<_> = (0..8)
            .map(|_| {
                scope.spawn(|| {
                    let sessions: Vec<String> = (0..SESSIONS / 8).map(|_| gateway.initialize()).collect();
                    for session in &sessions {
                        let (status, _, answer) =
                            gateway.post(session, &call(1, "add", json!({ "a": 20, "b": 22 }))).whole();
                        assert_eq!((status, &answer["result"]["content"][0]["text"]), (200, &json!("42")));
                    }
                    sessions
                })
            })
            .collect();
        let sessions: Vec<String> = open.into_iter().flat_map(|thread| thread.join().unwrap()).collect();
        assert_eq!(gateway.processes() as usize, SESSIONS);
        for session in sessions {
            assert_eq!(gateway.send("DELETE", "/mcp", &session, "").whole().0, 200);
        }
    });
    eventually("all processes are gone", || gateway.processes() == 0);
}

#[test]
fn record_option_records_without_secrets() {
    let mut gateway = Gateway::start(&format!("env API_KEY=hush {} demo-server", program()), &["--record"]);
    let session = gateway.initialize();
    assert_eq!(gateway.post(&session, &call(1, "add", json!({ "a": 1, "b": 1 }))).whole().0, 200);
    let (status, ..) = gateway.stateless(json!("s"), "tools/list", json!({})).whole();
    assert_eq!(status, 200);
    signal(&gateway.child, Signal::SIGTERM);
    assert_eq!(gateway.child.wait().unwrap().code(), Some(0));
    let tapes = support::tapes(gateway.data.path());
    let text = std::fs::read_to_string(&tapes[0]).unwrap();
    let id = session.split("\r\n").next().unwrap().trim_start_matches("Mcp-Session-Id: ");
    assert!(!text.contains(id), "the session's id is a secret");
    assert!(text.contains(r#""by":"remap""#) && text.contains(r#"id \"s\" rewritten to"#), "{text}");
    assert!(text.contains("started process"), "{text}");
    assert!(text.contains("API_KEY=[secret") && !text.contains("hush"), "{text}");
}

#[test]
fn illegal_ids_and_initialize_notifications_are_refused_at_once() {
    let gateway = Gateway::demo();
    let session = gateway.initialize();
    for id in [json!(null), json!(true), json!([1])] {
        let request = json!({ "jsonrpc": "2.0", "id": id, "method": "tools/list" });
        let (status, _, answer) = gateway.post(&session, &request).whole();
        assert_eq!((status, &answer["error"]["code"]), (400, &json!(-32600)), "{id}");
    }
    let processes = gateway.processes();
    let notification = json!({ "jsonrpc": "2.0", "method": "initialize" });
    assert_eq!(gateway.post("", &notification).whole().0, 400, "it names no session");
    // The process that was asked for its era may have ended meanwhile.
    assert!(gateway.processes() <= processes, "and starts no process");
}
