//! HTTP servers that mislead the client of our own.

use std::io::{BufRead, Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use shadowcat::clock::Clock;

use crate::bridge::{EVENTS, answer, bridge, call, initialized, message, result, stateful};
use crate::control_socket::Wrapped;
use crate::pty_terminal::Terminal;
use crate::raw_http::{Server, respond};
use crate::support::eventually;

fn events(stream: &mut TcpStream, messages: &[Value]) {
    let mut text = format!("{EVENTS}\r\n");
    for message in messages {
        text += &format!("event: message\ndata: {message}\n\n");
    }
    // The test may have ended already; ignore the error.
    let _ = stream.write_all(text.as_bytes());
}

/// Returns everything that the client gets until its stream ends.
fn rest(wrapped: &mut Wrapped) -> Vec<Value> {
    drop(wrapped.stdin.take());
    let lines = wrapped.stdout.by_ref().lines().map_while(Result::ok);
    lines.map(|line| serde_json::from_str(&line).unwrap()).collect()
}

fn texts(answers: &[Value]) -> Vec<String> {
    let text = |answer: &Value| {
        let said = answer["result"]["content"][0]["text"].as_str().or(answer["error"]["message"].as_str());
        format!("{} {}", answer["id"], said.unwrap_or("-"))
    };
    let mut texts: Vec<String> = answers.iter().map(text).collect();
    texts.sort();
    texts
}

#[test]
fn late_answer_to_a_cancelled_request_is_not_that_of_another() {
    let data = tempfile::tempdir().unwrap();
    let server = stateful(|said, _, stream| match said["id"].as_u64() {
        Some(2) => drop(stream.read(&mut [0])),
        _ => events(stream, &[result(&json!(2), "of 2"), result(&json!(3), "of 3")]),
    });
    let mut wrapped = bridge(data.path(), &server, &[]);
    wrapped.initialize();
    call(&mut wrapped, 2, "t");
    wrapped.send(
        &json!({ "jsonrpc": "2.0", "method": "notifications/cancelled", "params": { "requestId": 2 } }),
    );
    call(&mut wrapped, 3, "t");
    assert_eq!(texts(&rest(&mut wrapped)), ["2 of 2", "3 of 3"]);
}

#[test]
fn request_that_got_an_error_of_ours_gets_no_second_answer() {
    let data = tempfile::tempdir().unwrap();
    let server = stateful(|said, _, stream| match said["id"].as_u64() {
        Some(2) => events(stream, &[]),
        _ => events(stream, &[result(&json!(2), "late"), result(&json!(3), "of 3")]),
    });
    let mut wrapped = bridge(data.path(), &server, &[]);
    wrapped.initialize();
    call(&mut wrapped, 2, "t");
    let error = wrapped.receive_reply(2);
    assert!(error["error"]["message"].as_str().unwrap().contains("ended without an answer"), "{error}");
    call(&mut wrapped, 3, "t");
    assert_eq!(texts(&rest(&mut wrapped)), ["3 of 3"]);
}

#[test]
fn each_request_has_one_answer_whatever_the_server_says() {
    let data = tempfile::tempdir().unwrap();
    let server = stateful(|said, _, stream| {
        let id = said["id"].as_u64().unwrap();
        let text = format!("of {id}");
        match said["params"]["name"].as_str().unwrap() {
            "twice" => events(stream, &[result(&json!(id), &text), result(&json!(id), "again")]),
            "batch" => answer(stream, "", &json!([result(&json!(id), &text), result(&json!(id), "again")])),
            // Ids of 4 and 5 exchanged: the body of a response answers its request.
            "swapped" => answer(stream, "", &result(&json!(9 - id), &text)),
            "foreign" => events(stream, &[result(&json!(77), "foreign"), result(&json!(id), &text)]),
            "only foreign" => events(stream, &[result(&json!(77), &text)]),
            _ => events(stream, &[result(&json!(id.to_string()), &text)]),
        }
    });
    let mut wrapped = bridge(data.path(), &server, &[]);
    wrapped.initialize();
    let names = ["twice", "batch", "swapped", "swapped", "foreign", "only foreign", "of another type"];
    for (id, name) in (2..).zip(names) {
        call(&mut wrapped, id, name);
    }
    let expected = ["2 of 2", "3 of 3", "4 of 4", "5 of 5", "6 of 6", "7 of 7", "8 of 8"];
    assert_eq!(texts(&rest(&mut wrapped)), expected);
}

#[test]
fn server_may_ask_before_it_answers_initialize() {
    let data = tempfile::tempdir().unwrap();
    let (sender, receiver) = std::sync::mpsc::sync_channel(1);
    let receiver = std::sync::Mutex::new(receiver);
    let server = Server::start(move |request, stream| {
        let said = message(request);
        match said["method"].as_str() {
            Some("initialize") => {
                let ping = json!({ "jsonrpc": "2.0", "id": 70, "method": "ping" });
                let head = format!("{EVENTS}mcp-session-id: one\r\n\r\n");
                write!(stream, "{head}event: message\ndata: {ping}\n\n").unwrap();
                let session: String = receiver.lock().unwrap().recv().unwrap();
                assert_eq!(session, "one");
                write!(stream, "event: message\ndata: {}\n\n", initialized(&said["id"])).unwrap();
            }
            None if said["id"] == 70 => {
                sender.send(request.header("mcp-session-id").unwrap_or_default().to_owned()).unwrap();
                respond(stream, "202 Accepted", "", b"");
            }
            Some("tools/call") => answer(stream, "", &result(&said["id"], "x")),
            _ => respond(stream, "202 Accepted", "", b""),
        }
    });
    let mut wrapped = bridge(data.path(), &server, &[]);
    wrapped.send(&json!({ "jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {
        "protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": { "name": "c", "version": "1" } } }));
    // What follows waits for the session.
    call(&mut wrapped, 2, "t");
    assert_eq!(wrapped.receive_reply(70)["method"], "ping");
    wrapped.send(&json!({ "jsonrpc": "2.0", "id": 70, "result": {} }));
    assert_eq!(wrapped.receive_reply(1)["result"]["protocolVersion"], "2025-11-25");
    wrapped.receive_reply(2);
    let called = server.seen().into_iter().find(|seen| seen.text().contains("tools/call")).unwrap();
    assert_eq!(called.header("mcp-session-id"), Some("one"));
}

/// Starts a server that loses its first session with the first call, and answers `initialize` with the statuses of
/// `openings` from the second on.
fn forgetful(openings: &'static [&'static str]) -> Server {
    let (sessions, lost) = (AtomicUsize::new(0), AtomicUsize::new(0));
    Server::start(move |request, stream| {
        let (said, id) = (message(request), request.header("mcp-session-id").unwrap_or_default().to_owned());
        let is_first = id == "s0";
        match (request.line.split(' ').next(), said["method"].as_str()) {
            (_, Some("initialize")) => {
                let number = sessions.fetch_add(1, Ordering::SeqCst);
                match number.checked_sub(1).and_then(|at| openings.get(at)) {
                    Some(status) => {
                        // Long enough for every call to notice the loss.
                        std::thread::sleep(Duration::from_millis(300));
                        respond(stream, status, "", b"");
                    }
                    None => {
                        answer(stream, &format!("mcp-session-id: s{number}\r\n"), &initialized(&said["id"]))
                    }
                }
            }
            (Some("GET"), _) if is_first && lost.load(Ordering::SeqCst) > 0 => {
                respond(stream, "404 No", "", b"")
            }
            (Some("GET"), _) => {
                let _ = write!(
                    stream,
                    "{EVENTS}\r\nevent: message\ndata: {}\n\n",
                    json!({ "jsonrpc": "2.0", "method": "notifications/message", "params": { "data": id } })
                );
                let _ = stream.read(&mut [0]);
            }
            (_, Some("tools/call")) if said["params"]["name"] == "ask" => {
                events(
                    stream,
                    &[json!({ "jsonrpc": "2.0", "id": 77, "method": "roots/list" }), result(&said["id"], "")],
                );
            }
            (Some("POST"), _) if is_first && (said["method"] == "tools/call" || said["id"] == 77) => {
                lost.fetch_add(1, Ordering::SeqCst);
                respond(stream, "404 Not Found", "", b"");
            }
            (_, Some("tools/call")) => answer(stream, "", &result(&said["id"], &id)),
            _ => respond(stream, "202 Accepted", "", b""),
        }
    })
}

#[test]
fn listening_stream_is_opened_again_although_the_first_new_handshake_failed() {
    let data = tempfile::tempdir().unwrap();
    let server = forgetful(&["503 Not Yet"]);
    let mut wrapped = bridge(data.path(), &server, &[]);
    wrapped.initialize();
    call(&mut wrapped, 2, "t");
    let error = wrapped.receive_reply(2);
    assert!(error["error"]["message"].as_str().unwrap().contains("503"), "{error}");
    call(&mut wrapped, 3, "t");
    assert_eq!(wrapped.receive_reply(3)["result"]["content"][0]["text"], "s2");
    eventually("the stream of the new session", || {
        server
            .seen()
            .iter()
            .any(|seen| seen.line.starts_with("GET") && seen.header("mcp-session-id") == Some("s2"))
    });
}

#[test]
fn failed_handshake_is_that_of_every_call_that_waited_for_it() {
    let data = tempfile::tempdir().unwrap();
    let server = forgetful(&["503 Not Yet", "503 Not Yet", "503 Not Yet"]);
    let mut wrapped = bridge(data.path(), &server, &[]);
    wrapped.initialize();
    for id in 2..=4 {
        call(&mut wrapped, id, "t");
    }
    let mut answers = rest(&mut wrapped);
    // What the server said on its stream before it lost the session answers no call.
    answers.retain(|message| message.get("method").is_none());
    assert!(answers.len() == 3 && answers.iter().all(|answer| answer["error"].is_object()), "{answers:?}");
    let seen = server.seen();
    let handshakes = seen.iter().filter(|seen| seen.text().contains("\"initialize\"")).count();
    assert_eq!(handshakes, 2, "one for the client, and one for all who waited");
}

#[test]
fn answer_to_a_lost_session_is_not_sent_to_its_successor() {
    let data = tempfile::tempdir().unwrap();
    let server = forgetful(&[]);
    let mut wrapped = bridge(data.path(), &server, &[]);
    wrapped.initialize();
    call(&mut wrapped, 2, "ask");
    assert_eq!(wrapped.receive_reply(77)["method"], "roots/list");
    // The server refuses the answer, since it has lost the session; the answer is not for the next one.
    wrapped.send(&json!({ "jsonrpc": "2.0", "id": 77, "result": { "roots": [] } }));
    call(&mut wrapped, 3, "t");
    assert_eq!(wrapped.receive_reply(3)["result"]["content"][0]["text"], "s1");
    let seen = server.seen();
    let sent = seen.iter().filter(|seen| seen.text().contains("\"roots\":[]"));
    assert_eq!(sent.filter_map(|seen| seen.header("mcp-session-id")).collect::<Vec<_>>(), ["s0"]);
}

#[test]
fn events_that_are_sent_again_bring_nothing() {
    let data = tempfile::tempdir().unwrap();
    let server = stateful(|_, _, stream| {
        let note = json!({ "jsonrpc": "2.0", "method": "notifications/message", "params": { "data": "x" } });
        // The position of the client is ignored.
        write!(stream, "{EVENTS}\r\nretry: 0\n\nid: 1\ndata: {note}\n\nid: 2\ndata: \n\n").unwrap();
    });
    let mut wrapped = bridge(data.path(), &server, &[]);
    wrapped.initialize();
    call(&mut wrapped, 2, "t");
    let answers = rest(&mut wrapped);
    assert_eq!(answers.len(), 2, "one notification and one error: {answers:?}");
    assert!(answers[1]["error"]["message"].as_str().unwrap().contains("brought nothing"), "{answers:?}");
}

#[test]
fn stream_that_ends_at_once_is_not_opened_in_a_tight_loop() {
    let data = tempfile::tempdir().unwrap();
    let server = Server::start(|request, stream| {
        let said = message(request);
        match (request.line.split(' ').next(), said["method"].as_str()) {
            (Some("GET"), _) => write!(stream, "{EVENTS}\r\nretry: 0\n\n").unwrap(),
            (_, Some("initialize")) => answer(stream, "mcp-session-id: s\r\n", &initialized(&said["id"])),
            _ => respond(stream, "202 Accepted", "", b""),
        }
    });
    let mut wrapped = bridge(data.path(), &server, &[]);
    wrapped.initialize();
    let (clock, gets) =
        (Clock::system(), || server.seen().iter().filter(|seen| seen.line.starts_with("GET")).count());
    eventually("the first request", || gets() > 0);
    let since = clock.now();
    eventually("the fourth request", || gets() > 3);
    // At least 200, 400 and 800 ms.
    assert!(clock.now().since(since) > Duration::from_millis(1300));
}

#[test]
fn screen_shows_the_offers_of_a_session_that_replaced_a_lost_one() {
    let data = tempfile::tempdir().unwrap();
    let sessions = AtomicUsize::new(0);
    let server = Server::start(move |request, stream| {
        let (said, id) = (message(request), request.header("mcp-session-id").unwrap_or_default().to_owned());
        match (request.line.split(' ').next(), said["method"].as_str()) {
            (_, Some("initialize")) => {
                let number = sessions.fetch_add(1, Ordering::SeqCst);
                answer(stream, &format!("mcp-session-id: s{number}\r\n"), &initialized(&said["id"]));
            }
            // The first session is lost while its stream is open.
            (Some("GET"), _) if id == "s0" && sessions.load(Ordering::SeqCst) == 1 => {
                let lost = request.header("last-event-id").is_some();
                match lost {
                    true => respond(stream, "404 Not Found", "", b""),
                    false => drop(write!(stream, "{EVENTS}\r\nid: 1\nretry: 200\ndata:\n\n")),
                }
            }
            (Some("GET"), _) => {
                let _ = write!(stream, "{EVENTS}\r\n: open\n\n");
                let _ = stream.read(&mut [0]);
            }
            (_, Some("tools/list")) => {
                let tool = json!({ "name": format!("tool_of_{id}"), "inputSchema": { "type": "object" } });
                answer(
                    stream,
                    "",
                    &json!({ "jsonrpc": "2.0", "id": said["id"], "result": { "tools": [tool] } }),
                );
            }
            _ => respond(stream, "202 Accepted", "", b""),
        }
    });
    let url = format!("http://{}/mcp", server.address);
    let mut terminal =
        Terminal::open(data.path(), &["tui", "--no-tape", "--era", "2025", "--upstream", &url]);
    terminal.press("4");
    // The server declares no listChanged: nobody would tell the screen.
    terminal.shows("tool_of_s1");
    terminal.press("q");
    assert!(terminal.ends().success());
}
