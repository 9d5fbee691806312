//! Tests of the client of our own for HTTP servers: `forward stdio --upstream`, with raw servers.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::Stdio;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::{Value, json};
use shadowcat::clock::Clock;

use crate::control_socket::Wrapped;
use crate::raw_http::{Seen, Server, respond};
use crate::support::{eventually, shadowcat, signal};

pub const JSON: &str = "content-type: application/json\r\n";
pub const EVENTS: &str = "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-type: text/event-stream\r\n";

/// Starts `forward stdio` in front of `server`.
pub fn bridge(data: &Path, server: &Server, options: &[&str]) -> Wrapped {
    let mut command = shadowcat(data);
    for name in ["HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "NO_PROXY"] {
        command.env_remove(name);
    }
    let url = format!("http://{}/mcp", server.address);
    command.args(["forward", "stdio", "--no-tape", "--upstream", &url]).args(options);
    Wrapped::spawn(command)
}

pub fn message(request: &Seen) -> Value {
    serde_json::from_slice(&request.body).unwrap_or(Value::Null)
}

pub fn answer(stream: &mut TcpStream, headers: &str, body: &Value) {
    respond(stream, "200 OK", &format!("{JSON}{headers}"), body.to_string().as_bytes());
}

/// Answers as a stateful server does, except for requests: `call` answers those.
pub fn stateful(call: impl Fn(&Value, &Seen, &mut TcpStream) + Send + Sync + 'static) -> Server {
    Server::start(move |request, stream| {
        let said = message(request);
        match (request.line.split(' ').next(), said["method"].as_str()) {
            (Some("GET"), _) if request.header("last-event-id").is_none() => {
                respond(stream, "405 No", "", b"")
            }
            (Some("DELETE"), _) => respond(stream, "200 OK", "", b""),
            (_, Some("initialize")) => {
                answer(stream, "mcp-session-id: one\r\n", &initialized(&said["id"]));
            }
            (Some("POST"), _) if said["id"].is_null() || said["method"].is_null() => {
                respond(stream, "202 Accepted", "", b"");
            }
            _ => call(&said, request, stream),
        }
    })
}

pub fn initialized(id: &Value) -> Value {
    json!({ "jsonrpc": "2.0", "id": id, "result": {
        "protocolVersion": "2025-11-25",
        "capabilities": { "tools": { "listChanged": true } },
        "serverInfo": { "name": "s", "version": "1" },
    } })
}

pub fn result(id: &Value, text: &str) -> Value {
    json!({ "jsonrpc": "2.0", "id": id, "result": { "content": [{ "type": "text", "text": text }] } })
}

pub fn failure(id: Value, code: i64, text: &str) -> Value {
    json!({ "jsonrpc": "2.0", "id": id, "error": { "code": code, "message": text } })
}

pub fn call(wrapped: &mut Wrapped, id: u64, name: &str) {
    wrapped.send(&json!({ "jsonrpc": "2.0", "id": id, "method": "tools/call", "params": { "name": name } }));
}

/// Returns how long a process takes to end; kills it after five seconds.
fn ends(wrapped: &mut Wrapped) -> Option<Duration> {
    let clock = Clock::system();
    let since = clock.now();
    while clock.now().since(since) < Duration::from_secs(5) {
        if wrapped.child.try_wait().unwrap().is_some() {
            return Some(clock.now().since(since));
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    None
}

// --- an exchange is a correlation of its own

#[test]
fn answer_with_a_foreign_id_answers_the_request_of_its_exchange() {
    let data = tempfile::tempdir().unwrap();
    let server = stateful(|said, _, stream| match said["id"].as_u64() {
        Some(2) => {
            let error = failure(json!("server-error"), -32600, "Session required");
            respond(stream, "400 Bad Request", JSON, error.to_string().as_bytes());
        }
        Some(3) => answer(stream, "", &failure(json!("other"), -32603, "internal")),
        Some(4) => answer(stream, "", &result(&json!("04"), "respelled")),
        Some(5) => {
            let error = failure(Value::Null, -32600, "in a stream");
            write!(stream, "{EVENTS}\r\nevent: message\ndata: {error}\n\n").unwrap();
        }
        _ => answer(stream, "", &failure(said["id"].clone(), -32601, "no such method")),
    });
    let mut wrapped = bridge(data.path(), &server, &[]);
    wrapped.initialize();
    for id in 2..=6 {
        call(&mut wrapped, id, "t");
    }
    let mut answers: Vec<Value> = (2..=6)
        .map(|_| {
            let mut line = String::new();
            wrapped.stdout.read_line(&mut line).unwrap();
            serde_json::from_str(&line).unwrap()
        })
        .collect();
    answers.sort_by_key(|answer| answer["id"].as_u64());
    let ids: Vec<Option<u64>> = answers.iter().map(|answer| answer["id"].as_u64()).collect();
    assert_eq!(
        ids,
        [Some(2), Some(3), Some(4), Some(5), Some(6)],
        "each request has one answer: {answers:?}"
    );
    assert_eq!(answers[0]["error"]["code"], -32600, "the code of the server is kept");
    let text = answers[0]["error"]["message"].as_str().unwrap();
    assert!(text.contains("400 Bad Request") && text.contains("Session required"), "{text}");
    assert_eq!(answers[1]["error"], json!({ "code": -32603, "message": "internal" }));
    assert_eq!(answers[2]["result"]["content"][0]["text"], "respelled");
    assert_eq!(answers[4]["error"]["message"], "no such method");
}

#[test]
fn answer_on_the_stream_of_another_request_is_the_only_one() {
    let data = tempfile::tempdir().unwrap();
    let gate = Arc::new(Mutex::new(None::<TcpStream>));
    let server = stateful(move |said, _, stream| match said["id"].as_u64() {
        Some(2) => {
            write!(stream, "{EVENTS}\r\n").unwrap();
            *gate.lock().unwrap() = Some(stream.try_clone().unwrap());
        }
        _ => {
            eventually("the first request arrives", || gate.lock().unwrap().is_some());
            let mut first = gate.lock().unwrap().take().unwrap();
            for id in [3, 2] {
                write!(first, "event: message\ndata: {}\n\n", result(&json!(id), "x")).unwrap();
            }
            first.shutdown(std::net::Shutdown::Both).unwrap();
            // Its own stream ends without an answer.
            write!(stream, "{EVENTS}\r\n").unwrap();
        }
    });
    let mut wrapped = bridge(data.path(), &server, &[]);
    wrapped.initialize();
    call(&mut wrapped, 2, "t");
    call(&mut wrapped, 3, "t");
    drop(wrapped.stdin.take());
    let mut rest = String::new();
    wrapped.stdout.read_to_string(&mut rest).unwrap();
    assert_eq!(rest.lines().count(), 2, "{rest}");
    assert!(!rest.contains("error"), "{rest}");
}

// --- lost sessions

/// A server that forgets its session `one` after the third request, and answers with `status` from then on.
fn forgetful(status: &'static str) -> (Server, Arc<AtomicUsize>) {
    let (sessions, lost) = (AtomicUsize::new(0), Arc::new(AtomicUsize::new(0)));
    let is_lost = Arc::clone(&lost);
    let server = Server::start(move |request, stream| {
        let (said, id) = (message(request), request.header("mcp-session-id").unwrap_or_default().to_owned());
        let current = format!("s{}", sessions.load(Ordering::SeqCst));
        match (request.line.split(' ').next(), said["method"].as_str()) {
            (_, Some("initialize")) if id.is_empty() => {
                is_lost.store(0, Ordering::SeqCst);
                let name = sessions.fetch_add(1, Ordering::SeqCst) + 1;
                answer(stream, &format!("mcp-session-id: s{name}\r\n"), &initialized(&said["id"]));
            }
            _ if id != current || is_lost.load(Ordering::SeqCst) == 1 => {
                let error = failure(Value::Null, -32001, "Session not found");
                respond(stream, status, JSON, error.to_string().as_bytes());
            }
            (Some("GET"), _) => respond(stream, "405 No", "", b""),
            (_, Some("tools/call")) => answer(stream, "", &result(&said["id"], &id)),
            (_, Some("ping")) => {
                answer(stream, "", &json!({ "jsonrpc": "2.0", "id": said["id"], "result": {} }))
            }
            _ => respond(stream, "202 Accepted", "", b""),
        }
    });
    (server, lost)
}

fn methods(server: &Server) -> Vec<(String, String)> {
    let of = |seen: &Seen| {
        let method = message(seen)["method"].as_str().unwrap_or(&seen.line).to_owned();
        (method, seen.header("mcp-session-id").unwrap_or("-").to_owned())
    };
    server.seen().iter().map(of).collect()
}

#[test]
fn lost_session_is_replaced_and_refused_calls_are_sent_again() {
    for status in ["404 Not Found", "400 Bad Request", "422 Unprocessable Entity"] {
        let data = tempfile::tempdir().unwrap();
        let (server, lost) = forgetful(status);
        let mut wrapped = bridge(data.path(), &server, &[]);
        wrapped.initialize();
        call(&mut wrapped, 2, "t");
        wrapped.receive_reply(2);
        lost.store(1, Ordering::SeqCst);
        for id in 3..13 {
            call(&mut wrapped, id, "t");
        }
        // The answers may come in any order.
        let mut left: Vec<u64> = (3..13).collect();
        while !left.is_empty() {
            let mut line = String::new();
            assert_ne!(wrapped.stdout.read_line(&mut line).unwrap(), 0, "{status}: {left:?}");
            let heard: Value = serde_json::from_str(&line).unwrap();
            assert_ne!(heard["id"], 1, "the answer to the repeated handshake goes to nobody");
            if let Some(id) = heard["id"].as_u64() {
                assert_eq!(heard["result"]["content"][0]["text"], "s2", "{status}: {heard}");
                left.retain(|other| *other != id);
            }
        }
        let greeted = methods(&server).iter().filter(|(method, _)| method == "initialize").count();
        assert_eq!(greeted, 2, "{status}: ten refused calls share one new session");
        drop(wrapped.stdin.take());
        assert!(ends(&mut wrapped).is_some());
        eventually("the new session is deleted", || {
            methods(&server).iter().any(|(line, id)| line.starts_with("DELETE") && id == "s2")
        });
    }
}

#[test]
fn bad_request_in_a_living_session_is_no_loss() {
    let data = tempfile::tempdir().unwrap();
    let server = stateful(|said, _, stream| match said["method"].as_str() {
        Some("ping") => answer(stream, "", &json!({ "jsonrpc": "2.0", "id": said["id"], "result": {} })),
        _ => respond(stream, "400 Bad Request", "content-type: text/plain\r\n", b"no such header\nx"),
    });
    let mut wrapped = bridge(data.path(), &server, &[]);
    wrapped.initialize();
    call(&mut wrapped, 2, "t");
    let text = wrapped.receive_reply(2)["error"]["message"].as_str().unwrap().to_owned();
    assert!(text.contains("400 Bad Request (text/plain): no such header"), "{text}");
    assert_eq!(methods(&server).iter().filter(|(method, _)| method == "initialize").count(), 1);
}

#[test]
fn initialize_of_the_client_carries_no_session_id() {
    let data = tempfile::tempdir().unwrap();
    let (server, lost) = forgetful("404 Not Found");
    let mut wrapped = bridge(data.path(), &server, &[]);
    wrapped.initialize();
    // Its answer shows that the first handshake is over.
    call(&mut wrapped, 3, "t");
    wrapped.receive_reply(3);
    lost.store(1, Ordering::SeqCst);
    wrapped.initialize();
    call(&mut wrapped, 2, "t");
    assert_eq!(wrapped.receive_reply(2)["result"]["content"][0]["text"], "s2");
    let greetings = methods(&server).into_iter().filter(|(method, _)| method == "initialize");
    assert!(greetings.into_iter().all(|(_, id)| id == "-"));
}

#[test]
fn answer_to_a_question_of_a_lost_session_is_not_sent() {
    let data = tempfile::tempdir().unwrap();
    let sessions = AtomicUsize::new(0);
    let server = Server::start(move |request, stream| {
        let (said, id) = (message(request), request.header("mcp-session-id").unwrap_or_default().to_owned());
        match (said["method"].as_str(), id.as_str()) {
            (Some("initialize"), _) => {
                let name = sessions.fetch_add(1, Ordering::SeqCst) + 1;
                answer(stream, &format!("mcp-session-id: s{name}\r\n"), &initialized(&said["id"]));
            }
            (Some("tools/call"), "s1") if said["params"]["name"] == "ask" => {
                let question = json!({ "jsonrpc": "2.0", "id": 77, "method": "roots/list" });
                write!(stream, "{EVENTS}\r\nevent: message\ndata: {question}\n\n").unwrap();
                let _ = stream.read(&mut [0]);
            }
            (Some("tools/call"), "s1") => respond(stream, "404 Not Found", "", b""),
            (Some("tools/call"), _) => answer(stream, "", &result(&said["id"], "x")),
            _ => respond(stream, "202 Accepted", "", b""),
        }
    });
    let mut wrapped = bridge(data.path(), &server, &[]);
    wrapped.initialize();
    call(&mut wrapped, 2, "ask");
    assert_eq!(wrapped.receive_reply(77)["method"], "roots/list");
    call(&mut wrapped, 3, "t");
    wrapped.receive_reply(3);
    wrapped.send(&json!({ "jsonrpc": "2.0", "id": 77, "result": { "roots": [] } }));
    call(&mut wrapped, 4, "t");
    wrapped.receive_reply(4);
    assert!(!server.seen().iter().any(|seen| seen.text().contains("\"roots\":[]")), "{:?}", methods(&server));
}

// --- resumption

#[test]
fn resumption_counts_only_tries_in_vain() {
    let data = tempfile::tempdir().unwrap();
    let tries = AtomicUsize::new(0);
    let server = stateful(move |said, request, stream| {
        let number = tries.fetch_add(1, Ordering::SeqCst);
        assert!(number == 0 || request.header("last-event-id").is_some());
        let _ = said;
        write!(stream, "{EVENTS}\r\n").unwrap();
        // Three of four tries bring nothing.
        if number.is_multiple_of(4) {
            write!(stream, "id: {number}\nretry: 1\ndata: \n\n").unwrap();
        }
        if number == 40 {
            write!(stream, "id: end\nevent: message\ndata: {}\n\n", result(&json!(2), "late")).unwrap();
        }
    });
    let mut wrapped = bridge(data.path(), &server, &[]);
    wrapped.initialize();
    call(&mut wrapped, 2, "t");
    assert_eq!(wrapped.receive_reply(2)["result"]["content"][0]["text"], "late");
    let vain = stateful(|_, request, stream| match request.header("last-event-id") {
        None => write!(stream, "{EVENTS}\r\nid: 1\nretry: 1\ndata: \n\n").unwrap(),
        Some(_) => write!(stream, "{EVENTS}\r\n").unwrap(),
    });
    let mut wrapped = bridge(data.path(), &vain, &[]);
    wrapped.initialize();
    call(&mut wrapped, 2, "t");
    let text = wrapped.receive_reply(2)["error"]["message"].as_str().unwrap().to_owned();
    assert!(text.contains("tries to resume it brought nothing"), "{text}");
}

// --- order

#[test]
fn unanswered_notification_does_not_stop_later_messages() {
    for hangs in ["notifications/initialized", "notifications/cancelled", "answer"] {
        let data = tempfile::tempdir().unwrap();
        let server = Server::start(move |request, stream| {
            let said = message(request);
            let method = said["method"].as_str().unwrap_or("answer");
            match method {
                "initialize" => answer(stream, "mcp-session-id: one\r\n", &initialized(&said["id"])),
                _ if method == hangs => drop(stream.read(&mut [0])),
                "tools/call" => answer(stream, "", &result(&said["id"], "x")),
                _ => respond(stream, "202 Accepted", "", b""),
            }
        });
        let mut wrapped = bridge(data.path(), &server, &[]);
        wrapped.initialize();
        wrapped.send(&json!({ "jsonrpc": "2.0", "id": "q", "result": {} }));
        let cancelled =
            json!({ "jsonrpc": "2.0", "method": "notifications/cancelled", "params": { "requestId": 9 } });
        (0..20).for_each(|_| wrapped.send(&cancelled));
        let clock = Clock::system();
        let since = clock.now();
        call(&mut wrapped, 2, "t");
        wrapped.receive_reply(2);
        assert!(clock.now().since(since) < Duration::from_secs(4), "{hangs}: {:?}", clock.now().since(since));
        drop(wrapped.stdin.take());
        assert!(ends(&mut wrapped).is_some(), "{hangs}: the end of the input ends it");
    }
}

#[test]
fn notifications_and_requests_arrive_in_their_order() {
    let data = tempfile::tempdir().unwrap();
    let server = stateful(|said, _, stream| answer(stream, "", &result(&said["id"], "x")));
    let mut wrapped = bridge(data.path(), &server, &[]);
    // Everything at once, as a script does.
    wrapped.send(&json!({ "jsonrpc": "2.0", "id": 1, "method": "initialize", "params": { "protocolVersion": "2025-11-25" } }));
    wrapped.send(&json!({ "jsonrpc": "2.0", "method": "notifications/initialized" }));
    for number in 0..20 {
        wrapped.send(&json!({ "jsonrpc": "2.0", "method": "x", "params": { "n": number } }));
    }
    call(&mut wrapped, 2, "t");
    wrapped.receive_reply(2);
    let numbers: Vec<u64> =
        server.seen().iter().filter_map(|seen| message(seen)["params"]["n"].as_u64()).collect();
    assert_eq!(numbers, (0..20).collect::<Vec<_>>());
    assert_eq!(methods(&server).last().unwrap().0, "tools/call");
}

// --- the end

/// A server whose `open` answers and keeps its stream, and whose `never` does not answer.
fn lasting() -> Server {
    stateful(|said, _, stream| match said["params"]["name"].as_str() {
        Some("open") => {
            write!(stream, "{EVENTS}\r\nevent: message\ndata: {}\n\n", result(&said["id"], "x")).unwrap();
            let _ = stream.read(&mut [0]);
        }
        Some("never") => drop(stream.read(&mut [0])),
        Some("long") => answer(stream, "", &result(&said["id"], &"x".repeat(400_000))),
        _ => answer(stream, "", &result(&said["id"], "x")),
    })
}

#[test]
fn end_of_input_ends_it_although_streams_are_open() {
    let data = tempfile::tempdir().unwrap();
    let server = lasting();
    let mut wrapped = bridge(data.path(), &server, &[]);
    wrapped.initialize();
    call(&mut wrapped, 2, "open");
    wrapped.receive_reply(2);
    drop(wrapped.stdin.take());
    assert!(ends(&mut wrapped).is_some());
    assert!(server.seen().iter().any(|seen| seen.line.starts_with("DELETE")));
}

#[test]
fn signal_ends_it_in_every_state() {
    for name in ["open", "never", "long"] {
        let data = tempfile::tempdir().unwrap();
        let mut wrapped = bridge(data.path(), &lasting(), &[]);
        wrapped.initialize();
        call(&mut wrapped, 2, name);
        // The answer is left unread: the pipe is full of the long one.
        if name == "long" {
            drop(wrapped.stdin.take());
        }
        std::thread::sleep(Duration::from_millis(300));
        signal(&wrapped.child, Signal::SIGTERM);
        let took = ends(&mut wrapped);
        assert!(took.is_some_and(|took| took < Duration::from_millis(1900)), "{name}: {took:?}");
    }
}

// --- messages

#[test]
fn refusal_names_status_place_type_and_first_line() {
    for (status, headers, body, words) in [
        (
            "404 Not Found",
            "content-type: text/html\r\n",
            "<html>\n<h1>nope",
            &["404 Not Found (text/html): <html>"][..],
        ),
        (
            "307 Temporary Redirect",
            "location: https://login.example/a?token=hush\r\n",
            "",
            &["to https://login.example/a"],
        ),
        (
            "421 Misdirected Request",
            "content-type: text/plain\r\n",
            "Invalid Host header",
            &["421", "Invalid Host header"],
        ),
        (
            "200 OK",
            "content-type: text/html\r\n",
            "<!doctype html>",
            &["200 OK (text/html): <!doctype html>"],
        ),
        ("202 Accepted", "", "", &["202 Accepted without an answer"]),
        ("401 Unauthorized", "www-authenticate: Bearer\r\n", "{\"error\":\"x\"}", &["401", "--login"]),
    ] {
        let data = tempfile::tempdir().unwrap();
        let server = stateful(move |_, _, stream| respond(stream, status, headers, body.as_bytes()));
        let mut wrapped = bridge(data.path(), &server, &[]);
        wrapped.initialize();
        call(&mut wrapped, 2, "t");
        let text = wrapped.receive_reply(2)["error"]["message"].as_str().unwrap().to_owned();
        assert!(words.iter().all(|word| text.contains(word)) && !text.contains("hush"), "{text}");
    }
}

#[test]
fn errors_behind_a_proxy_name_it_and_not_its_password() {
    let data = tempfile::tempdir().unwrap();
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    for (scheme, variable) in [("http", "HTTP_PROXY"), ("https", "HTTPS_PROXY")] {
        let mut command = shadowcat(data.path());
        command.args(["forward", "stdio", "--no-tape", "--upstream", &format!("{scheme}://mcp.example/mcp")]);
        command.env_remove("NO_PROXY").env(variable, format!("http://ada:s3cret@{nobody}"));
        let mut wrapped = Wrapped::spawn(command);
        wrapped.send(&json!({ "jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {} }));
        let text = wrapped.receive_reply(1)["error"]["message"].as_str().unwrap().to_owned();
        assert!(text.contains(&format!("through the proxy {nobody}")) && !text.contains("s3cret"), "{text}");
    }
}

#[test]
fn redirects_within_the_origin_are_followed() {
    let data = tempfile::tempdir().unwrap();
    let server = Server::start(|request, stream| {
        let said = message(request);
        match (request.line.split(' ').nth(1), said["method"].as_str()) {
            (Some("/mcp"), _) => {
                let to = format!("location: http://{}/mcp/\r\n", request.header("host").unwrap());
                respond(stream, "307 Temporary Redirect", &to, b"");
            }
            (_, Some("initialize")) => answer(stream, "mcp-session-id: one\r\n", &initialized(&said["id"])),
            (_, Some("tools/call")) => answer(stream, "", &result(&said["id"], "x")),
            _ => respond(stream, "202 Accepted", "", b""),
        }
    });
    let mut wrapped = bridge(data.path(), &server, &["--header", "Authorization: Bearer t"]);
    wrapped.initialize();
    call(&mut wrapped, 2, "t");
    wrapped.receive_reply(2);
    drop(wrapped.stdin.take());
    assert!(ends(&mut wrapped).is_some());
    let lines: Vec<String> = server.seen().iter().map(|seen| seen.line.clone()).collect();
    assert_eq!(
        lines.iter().filter(|line| line.contains(" /mcp ")).count(),
        1,
        "the place is remembered: {lines:?}"
    );
    assert!(lines.iter().any(|line| line == "DELETE /mcp/ HTTP/1.1"), "{lines:?}");
}

#[test]
fn redirect_to_another_origin_gets_no_credentials() {
    let data = tempfile::tempdir().unwrap();
    let other = Server::start(|_, stream| respond(stream, "200 OK", "", b""));
    let to = format!("location: http://localhost:{}/mcp\r\n", other.address.port());
    let server = Server::start(move |_, stream| respond(stream, "307 Temporary Redirect", &to, b""));
    let mut wrapped = bridge(data.path(), &server, &["--header", "Authorization: Bearer t"]);
    wrapped.send(&json!({ "jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {} }));
    let text = wrapped.receive_reply(1)["error"]["message"].as_str().unwrap().to_owned();
    assert!(text.contains("307") && text.contains("localhost"), "{text}");
    assert!(other.seen().is_empty());
}

#[test]
fn encoded_answers_are_asked_for_and_decoded() {
    let gzip = |text: String| {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        encoder.write_all(text.as_bytes()).unwrap();
        encoder.finish().unwrap()
    };
    let data = tempfile::tempdir().unwrap();
    let server = stateful(move |said, request, stream| {
        assert!(request.header("accept-encoding").unwrap().contains("gzip"));
        let body = result(&said["id"], "x");
        match said["id"].as_u64() {
            Some(2) => respond(
                stream,
                "200 OK",
                &format!("{JSON}content-encoding: gzip\r\n"),
                &gzip(body.to_string()),
            ),
            _ => {
                let body = gzip(format!("event: message\ndata: {body}\n\n"));
                let kind = "content-type: text/event-stream\r\ncontent-encoding: gzip\r\n";
                respond(stream, "200 OK", kind, &body);
            }
        }
    });
    let mut wrapped = bridge(data.path(), &server, &[]);
    wrapped.initialize();
    for id in [2, 3] {
        call(&mut wrapped, id, "t");
        assert!(wrapped.receive_reply(id)["result"].is_object());
    }
}

#[test]
fn long_messages_pass_both_ways() {
    let data = tempfile::tempdir().unwrap();
    let server = stateful(|said, request, stream| {
        let body = result(&said["id"], &"y".repeat(request.body.len()));
        write!(stream, "{EVENTS}\r\nevent: message\ndata: {body}\n\n").unwrap();
    });
    let mut wrapped = bridge(data.path(), &server, &["--inspect-limit", "64k"]);
    wrapped.initialize();
    call(&mut wrapped, 2, &"z".repeat(1 << 20));
    assert!(wrapped.receive_reply(2).to_string().len() > 1 << 20);
}

// --- the built-in client

#[test]
fn doctor_falls_back_to_initialize_and_deletes_its_session() {
    for probe in ["error", "silence", "older"] {
        let data = tempfile::tempdir().unwrap();
        let server = stateful(move |said, _, stream| match (said["method"].as_str(), probe) {
            (Some("server/discover"), "silence") => drop(stream.read(&mut [0])),
            (Some("server/discover"), "older") => {
                let data = json!({ "supported": ["2025-11-25"], "requested": "2026-07-28" });
                let error = json!({ "code": -32022, "message": "no", "data": data });
                let body = json!({ "jsonrpc": "2.0", "id": said["id"], "error": error }).to_string();
                respond(stream, "400 Bad Request", JSON, body.as_bytes());
            }
            (Some("server/discover"), _) => {
                let error = failure(json!("server-error"), -32600, "Bad Request: Missing session ID");
                respond(stream, "400 Bad Request", JSON, error.to_string().as_bytes());
            }
            _ => {
                answer(stream, "", &json!({ "jsonrpc": "2.0", "id": said["id"], "result": { "tools": [] } }))
            }
        });
        let mut doctor = shadowcat(data.path());
        doctor.args(["doctor", "--upstream", &format!("http://{}/mcp", server.address)]).stdin(Stdio::null());
        let output = crate::support::run(doctor, b"");
        let names = methods(&server);
        let names: Vec<&str> = names.iter().map(|(name, _)| name.as_str()).collect();
        assert!(names.contains(&"initialize") && names.contains(&"tools/list"), "{probe}: {names:?}");
        assert!(names.iter().any(|name| name.starts_with("DELETE")), "{probe}: {names:?}");
        assert!(!String::from_utf8_lossy(&output.stdout).contains("FAIL"), "{probe}: {output:?}");
    }
}

/// Used by tests that read whole streams.
#[expect(unused, reason = "kept for the tests of section E")]
fn reader(stream: TcpStream) -> BufReader<TcpStream> {
    BufReader::new(stream)
}
