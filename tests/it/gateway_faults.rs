//! Tests of the gateway with servers that misbehave and clients that disconnect.

use std::io::{Read, Write};
use std::path::Path;
use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::gateway::{Exchange, Gateway, JSON, call, initialize};
use crate::raw_http::{Server, respond};
use crate::support::{eventually, program, signal};

/// Server script of both eras whose tools misbehave as their names say. The script logs its input.
const TROUBLE: &str = r#"#!/bin/sh
answer() { printf '{"jsonrpc":"2.0","id":%s,"result":%s}\n' "$1" "$2"; }
note() { printf '{"jsonrpc":"2.0","method":"notifications/message","params":{"level":"info","data":"%s"}}\n' "$1"; }
many() {
    i=0
    while [ $i -lt "$1" ]; do
        i=$((i + 1))
        printf "$2" "$i"
    done
}
while read -r line; do
    printf '%s\n' "$line" >> "$1"
    id=$(printf '%s' "$line" | sed -n 's/.*[{,]"id":\([^,]*\),.*/\1/p')
    token=$(printf '%s' "$line" | sed -n 's/.*"progressToken":\([^,}]*\).*/\1/p')
    case "$line" in
    *'"initialize"'*) answer "$id" '{"protocolVersion":"2025-03-26","capabilities":{}}' ;;
    *server/discover*) answer "$id" '{"supportedVersions":["2026-07-28"],"capabilities":{},"resultType":"complete"}' ;;
    *tools/list*) answer "$id" '{"tools":[]}' ;;
    *'"burst"'*)
        many 3000 '{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":'"$token"',"progress":%s}}\n' > "$1.burst"
        cat "$1.burst"
        answer "$id" '{"done":true}' ;;
    *'"chatty"'*) note one; (sleep 1; note two) & ;;
    *'"slow"'*) (sleep 2; answer "$id" '{"done":true}') & ;;
    *'"long"'*)
        printf '{"jsonrpc":"2.0","result":{"text":"'
        head -c 2000000 /dev/zero | tr '\0' x
        printf '"},"id":%s}\n' "$id" ;;
    *'"flood"'*)
        # More than all sockets on the way hold.
        many 20000 '{"jsonrpc":"2.0","method":"notifications/resources/updated","params":{"uri":"x://%01000d"}}\n'
        answer "$id" '{"done":true}' ;;
    esac
done
"#;

fn trouble(place: &Path) -> String {
    let script = place.join("trouble.sh");
    std::fs::write(&script, TROUBLE).unwrap();
    format!("sh {} {}", script.display(), place.join("read").display())
}

/// Returns the input that the server has read so far.
fn read(place: &Path) -> String {
    std::fs::read_to_string(place.join("read")).unwrap_or_default()
}

fn tool(name: &str) -> Value {
    json!({ "name": name, "arguments": {}, "_meta": { "progressToken": 1 } })
}

#[test]
fn burst_is_not_taken_for_a_slow_client() {
    let place = tempfile::tempdir().unwrap();
    let gateway = Gateway::start(&trouble(place.path()), &[]);
    let mut burst = gateway.stateless(json!(1), "tools/call", tool("burst"));
    assert_eq!(burst.head().0, 200);
    for step in 1..=3000 {
        assert_eq!(burst.event()["params"]["progress"], step);
    }
    assert_eq!(burst.event()["result"]["done"], true);
}

#[test]
fn messages_of_a_gone_client_reach_no_other_client() {
    let place = tempfile::tempdir().unwrap();
    let gateway = Gateway::start(&trouble(place.path()), &[]);
    let mut alice = gateway.stateless(json!(1), "tools/call", tool("chatty"));
    assert_eq!(alice.head().0, 200);
    assert_eq!(alice.event()["params"]["data"], "one", "alice is the only client");
    drop(alice);
    eventually("the server is told", || read(place.path()).contains("notifications/cancelled"));
    let (status, head, answer) = gateway.stateless(json!(1), "tools/call", tool("slow")).whole();
    assert_eq!(
        (status, head.header("content-type")),
        (200, Some("application/json")),
        "messages for alice do not reach the second client"
    );
    assert_eq!(answer["result"]["done"], true);
}

#[test]
fn too_long_answer_fails_only_its_call() {
    let place = tempfile::tempdir().unwrap();
    let gateway = Gateway::start(&trouble(place.path()), &["--inspect-limit", "1m"]);
    let slow = gateway.stateless(json!("s"), "tools/call", tool("slow"));
    let (_, _, answer) = gateway.stateless(json!("l"), "tools/call", tool("long")).whole();
    assert_eq!(answer["id"], "l");
    assert!(answer["error"]["message"].as_str().unwrap().contains("--inspect-limit"), "{answer}");
    assert_eq!(slow.whole().2["result"]["done"], true);
}

/// Opens a session, and returns the header that names it.
fn session(gateway: &Gateway) -> String {
    let (status, head, _) = gateway.post("", &initialize()).whole();
    assert_eq!(status, 200);
    format!("Mcp-Session-Id: {}\r\n", head.header("mcp-session-id").unwrap())
}

#[test]
fn unread_stream_does_not_block_calls() {
    let place = tempfile::tempdir().unwrap();
    let gateway = Gateway::start(&trouble(place.path()), &[]);
    let session = session(&gateway);
    let listen = || gateway.send("GET", "/mcp", &format!("{session}Accept: text/event-stream\r\n"), "");
    let mut deaf = listen();
    assert_eq!(deaf.head().0, 200);
    let (status, _, answer) = gateway.post(&session, &call(1, "flood", json!({}))).whole();
    assert_eq!((status, &answer["result"]["done"]), (200, &json!(true)));
    let mut other = listen();
    assert_eq!(other.head().0, 200);
    assert_eq!(other.event()["method"], "notifications/resources/updated", "the new stream takes over");
}

#[test]
fn ids_can_be_reused_after_cancellation() {
    let place = tempfile::tempdir().unwrap();
    let gateway = Gateway::start(&trouble(place.path()), &[]);
    let session = session(&gateway);
    let twice = json!([call(5, "slow", json!({})), call(5, "slow", json!({}))]);
    assert_eq!(gateway.post(&session, &twice).whole().0, 400, "a batch is accepted whole or refused");
    let mut taken = gateway.post(&session, &call(5, "nothing", json!({})));
    eventually("it is asked", || read(place.path()).contains("\"nothing\""));
    let params = json!({ "requestId": 5 });
    let cancelled = json!({ "jsonrpc": "2.0", "method": "notifications/cancelled", "params": params });
    assert_eq!(gateway.post(&session, &cancelled).whole().0, 202);
    assert_eq!(taken.head().0, 200);
    let mut rest = String::new();
    taken.0.read_to_string(&mut rest).unwrap();
    assert!(!rest.contains("data:"), "a cancelled call gets no answer: {rest}");
    assert_eq!(gateway.post(&session, &call(5, "slow", json!({}))).whole().0, 200);
}

#[test]
fn early_exit_of_the_server_is_explained() {
    let gateway = Gateway::start(r#"sh -c 'echo "need API_KEY" >&2; exit 2'"#, &[]);
    for _ in 0..2 {
        let (status, _, answer) = gateway.stateless(json!(1), "server/discover", json!({})).whole();
        assert_eq!(status, 502);
        let why = answer["error"]["message"].as_str().unwrap();
        assert!(why.contains("exited 2") && why.contains("need API_KEY"), "{why}");
    }
    let health = gateway.health();
    assert!(health["upstream"]["why"].as_str().unwrap().contains("need API_KEY"), "{health}");
}

#[test]
fn max_sessions_limit_is_enforced() {
    let place = tempfile::tempdir().unwrap();
    let gateway = Gateway::start(&trouble(place.path()), &["--max-sessions", "2"]);
    let all: Vec<Exchange> = (0..12).map(|_| gateway.post("", &initialize())).collect();
    let statuses: Vec<u16> = all.into_iter().map(|exchange| exchange.whole().0).collect();
    assert_eq!(statuses.iter().filter(|status| **status == 200).count(), 2, "{statuses:?}");
    assert!(statuses.iter().all(|status| matches!(status, 200 | 503)), "{statuses:?}");
    for number in 0..50 {
        let made_up = format!("Mcp-Session-Id: made-up-{number}\r\n");
        assert_eq!(gateway.post(&made_up, &call(1, "any", json!({}))).whole().0, 404);
    }
}

#[test]
fn ambiguous_json_is_refused_on_a_shared_server() {
    let place = tempfile::tempdir().unwrap();
    let gateway = Gateway::start(&trouble(place.path()), &[]);
    let headers =
        format!("{JSON}MCP-Protocol-Version: 2026-07-28\r\nMcp-Method: tools/call\r\nMcp-Name: slow\r\n");
    let body = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"die","name":"slow","_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28"}}}"#;
    assert_eq!(gateway.send("POST", "/mcp", &headers, body).whole().0, 400);
}

#[test]
fn gateway_stops_despite_a_stubborn_server() {
    // The server never answers, and ignores both the end of its input and SIGTERM.
    let stubborn = r#"sh -c 'trap "" TERM; while true; do sleep 1; done'"#;
    let mut gateway = Gateway::start(stubborn, &["--grace", "0"]);
    let waiting = gateway.post("", &initialize());
    eventually("its server runs", || gateway.processes() > 0);
    signal(&gateway.child, Signal::SIGTERM);
    assert_eq!(gateway.child.wait().unwrap().code(), Some(0));
    drop(waiting);
    let mut gateway = Gateway::start(stubborn, &["--grace", "600"]);
    let _waiting = gateway.post("", &initialize());
    eventually("its server runs", || gateway.processes() > 0);
    signal(&gateway.child, Signal::SIGTERM);
    std::thread::sleep(Duration::from_millis(300));
    signal(&gateway.child, Signal::SIGTERM);
    assert_eq!(gateway.child.wait().unwrap().code(), Some(130), "a second signal stops the gateway at once");
}

#[test]
fn idle_streams_do_not_delay_shutdown() {
    let mut gateway = Gateway::start(&format!("{} demo-server", program()), &["--grace", "600"]);
    let session = gateway.initialize();
    let mut stream = gateway.send("GET", "/mcp", &format!("{session}Accept: text/event-stream\r\n"), "");
    assert_eq!(stream.head().0, 200);
    signal(&gateway.child, Signal::SIGTERM);
    assert_eq!(gateway.child.wait().unwrap().code(), Some(0));
}

#[test]
fn unusable_upstream_answer_is_a_502() {
    let origin = Server::start(|_, stream| {
        let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{\"json";
        stream.write_all(head.as_bytes()).unwrap();
    });
    let gateway = Gateway::start(&format!("http://{}/mcp", origin.address), &[]);
    let (status, _, answer) = gateway.post("", &call(9, "any", json!({}))).whole();
    assert_eq!((status, &answer["id"]), (502, &json!(9)));
    let moved =
        Server::start(|_, stream| respond(stream, "307 Go", "Location: http://a.example/mcp\r\n", b""));
    let gateway = Gateway::start(&format!("http://{}/mcp", moved.address), &[]);
    let (status, _, answer) = gateway.post("", &call(9, "any", json!({}))).whole();
    assert_eq!(status, 502);
    assert!(answer["error"]["message"].as_str().unwrap().contains("a.example"), "{answer}");
}

/// The client deletes a session while a call is in flight, and then uses the session id again.
#[test]
fn deleted_session_id_can_be_used_again() {
    let origin = Server::start(|request, stream| {
        if request.text().contains("slow") {
            std::thread::sleep(Duration::from_millis(300));
        }
        let headers = "Content-Type: application/json\r\nMcp-Session-Id: one\r\n";
        respond(stream, "200 OK", headers, br#"{"jsonrpc":"2.0","id":1,"result":{}}"#);
    });
    let gateway = Gateway::start(&format!("http://{}/mcp", origin.address), &[]);
    let session = "Mcp-Session-Id: one\r\n";
    assert_eq!(gateway.post("", &initialize()).whole().0, 200);
    let slow = gateway.post(session, &call(1, "slow", json!({})));
    std::thread::sleep(Duration::from_millis(100));
    assert_eq!(gateway.send("DELETE", "/mcp", session, "").whole().0, 200);
    assert_eq!(slow.whole().0, 200);
    for _ in 0..3 {
        assert_eq!(gateway.post(session, &call(1, "any", json!({}))).whole().0, 200);
    }
}
