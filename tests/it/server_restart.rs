//! Tests of restarting a server while its client stays connected.

use std::io::BufRead;
use std::path::Path;

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::control_socket::Wrapped;
use crate::support::{eventually, is_alive, shadowcat, tapes};

fn ctl(data: &Path, arguments: &[&str]) {
    let mut command = shadowcat(data);
    command.arg("ctl").args(arguments);
    let output = crate::support::run(command, b"");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// Returns the process id of the server behind `forward stdio`.
fn server(wrapped: &Wrapped) -> i32 {
    let tasks = std::fs::read_dir(format!("/proc/{}/task", wrapped.child.id())).unwrap().flatten();
    let lists = tasks.filter_map(|task| std::fs::read_to_string(task.path().join("children")).ok());
    let children: Vec<i32> = lists
        .flat_map(|list| list.split_whitespace().map(|pid| pid.parse().unwrap()).collect::<Vec<_>>())
        .collect();
    assert_eq!(children.len(), 1, "{children:?}");
    children[0]
}

/// Reads messages up to and including the answer to `id`.
fn up_to(wrapped: &mut Wrapped, id: u64) -> Vec<Value> {
    let mut all = Vec::new();
    loop {
        let mut line = String::new();
        assert_ne!(
            wrapped.stdout.read_line(&mut line).unwrap(),
            0,
            "the connection to the server is closed: {all:?}"
        );
        let Ok(message) = serde_json::from_str::<Value>(&line) else { continue };
        let is_it = message["id"] == id;
        all.push(message);
        if is_it {
            return all;
        }
    }
}

fn call(wrapped: &mut Wrapped, id: u64, tool: &str) {
    let params = json!({ "name": tool, "arguments": {} });
    wrapped.send(&json!({ "jsonrpc": "2.0", "id": id, "method": "tools/call", "params": params }));
}

#[test]
fn server_restarts_while_its_client_stays_connected() {
    let data = tempfile::tempdir().unwrap();
    let data = data.path();
    let mut wrapped = Wrapped::demo(data, "calc", &[]);
    wrapped.initialize();
    let before = server(&wrapped);
    call(&mut wrapped, 2, "hang");
    wrapped.call_add(3, 20, 22);
    wrapped.receive_reply(3);
    ctl(data, &["restart"]);
    // The pending call of the old process is answered with an error; later calls go to the new process.
    wrapped.call_add(4, 20, 23);
    let came = up_to(&mut wrapped, 4);
    let failed = came.iter().find(|message| message["id"] == 2).expect("the call that hung is answered");
    assert!(failed["error"]["message"].as_str().unwrap().contains("restarted"), "{failed}");
    assert!(came.last().unwrap().to_string().contains("43"));
    assert!(
        !came.iter().any(|message| message["id"] == 1),
        "the answer to the handshake was sent again: {came:?}"
    );
    let changed = |message: &Value| message["method"] == "notifications/tools/list_changed";
    assert!(came.iter().any(changed), "the client was not told that the tools may have changed: {came:?}");
    assert_ne!(server(&wrapped), before);
    eventually("the old one is gone", || !is_alive(before));
    // Restart once more while a call is held: the new process receives the call.
    ctl(data, &["hold", "tool:add kind:req", "--patience", "1m"]);
    wrapped.call_add(5, 1, 1);
    ctl(data, &["wait", "--filter", "status:held", "--from", "1"]);
    ctl(data, &["restart"]);
    ctl(data, &["accept", "--all"]);
    let came = up_to(&mut wrapped, 5);
    assert!(came.iter().all(|message| message["error"].is_null()), "{came:?}");
    wrapped.ends();
    let tape = std::fs::read_to_string(&tapes(data)[0]).unwrap();
    assert!(tape.contains("restarted as process"), "{tape}");
}

#[test]
fn stay_option_answers_the_client_while_no_server_runs() {
    let data = tempfile::tempdir().unwrap();
    let data = data.path();
    let mut wrapped = Wrapped::demo(data, "calc", &["--stay"]);
    wrapped.initialize();
    call(&mut wrapped, 2, "hang");
    wrapped.call_add(3, 20, 22);
    wrapped.receive_reply(3);
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(server(&wrapped)), Signal::SIGKILL).unwrap();
    let failed = wrapped.receive_reply(2);
    assert!(failed["error"]["message"].as_str().unwrap().contains("the server"), "{failed}");
    wrapped.call_add(4, 1, 2);
    let failed = wrapped.receive_reply(4);
    assert_eq!(failed["error"]["code"], -32603, "{failed}");
    let sessions = || {
        let mut sessions = shadowcat(data);
        sessions.args(["ctl", "sessions", "--output", "json"]);
        serde_json::from_slice::<Value>(&crate::support::run(sessions, b"").stdout).unwrap()[0].clone()
    };
    assert_eq!((&sessions()["down"], &sessions()["process"]), (&json!(true), &Value::Null));
    ctl(data, &["restart"]);
    wrapped.call_add(5, 20, 25);
    assert!(wrapped.receive_reply(5).to_string().contains("45"));
    assert_eq!((&sessions()["down"], &sessions()["process"]), (&json!(false), &json!(server(&wrapped))));
    // If the client leaves while no server runs, shadowcat ends as the server did.
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(server(&wrapped)), Signal::SIGKILL).unwrap();
    wrapped.call_add(6, 1, 2);
    assert!(wrapped.receive_reply(6)["error"].is_object());
    drop(wrapped.stdin.take());
    let status = wrapped.child.wait().unwrap();
    assert_eq!(std::os::unix::process::ExitStatusExt::signal(&status), Some(9), "{status:?}");
    let tape = std::fs::read_to_string(&tapes(data)[0]).unwrap();
    assert!(tape.contains("its client stays"), "{tape}");
}

/// Starts a server that runs the script `first` at its first start, and the demo server from then on.
fn twice(data: &Path, options: &[&str], first: &str) -> Wrapped {
    let mark = data.join("started");
    let script = format!(
        "if [ ! -e '{0}' ]; then touch '{0}'; {first}; fi; exec '{1}' demo-server --pace 1",
        mark.display(),
        crate::support::program()
    );
    Wrapped::of(data, "calc", options, &["sh", "-c", &script])
}

const INITIALIZED: &str = r#"read line; echo '{"jsonrpc":"2.0","id":1,"result":{"protocolVersion":"2025-11-25","capabilities":{},"serverInfo":{"name":"first","version":"1"}}}'; read line"#;

#[test]
fn partial_line_of_the_old_server_does_not_corrupt_the_new_output() {
    let data = tempfile::tempdir().unwrap();
    let data = data.path();
    let first =
        format!("{INITIALIZED}; read line; printf '{{\"jsonrpc\":\"2.0\",\"id\":2,\"result\":'; exit 3");
    let mut wrapped = twice(data, &["--stay"], &first);
    wrapped.initialize();
    wrapped.call_add(2, 1, 1);
    assert!(wrapped.receive_reply(2)["error"].is_object());
    ctl(data, &["restart"]);
    wrapped.call_add(3, 20, 22);
    assert!(wrapped.receive_reply(3).to_string().contains("42"));
    wrapped.ends();
}

#[test]
fn server_that_does_not_read_and_keeps_its_stdout_open_is_replaced() {
    let data = tempfile::tempdir().unwrap();
    let data = data.path();
    // A process in another process group keeps the stdout of the server open.
    let first = format!("{INITIALIZED}; setsid sleep 60 & exec sleep 60");
    let mut wrapped = twice(data, &[], &first);
    wrapped.initialize();
    // Send more data than the pipe of the server takes.
    let mut stdin = wrapped.stdin.take().unwrap();
    let writer = std::thread::spawn(move || {
        use std::io::Write;
        for id in 2..60 {
            let text = "x".repeat(4000);
            let params = json!({ "name": "add", "arguments": { "a": 1, "b": 1, "text": text } });
            writeln!(
                stdin,
                "{}",
                json!({ "jsonrpc": "2.0", "id": id, "method": "tools/call", "params": params })
            )
            .unwrap();
        }
        stdin
    });
    std::thread::sleep(std::time::Duration::from_millis(200));
    ctl(data, &["restart"]);
    wrapped.stdin = Some(writer.join().unwrap());
    wrapped.call_add(60, 20, 22);
    assert!(wrapped.receive_reply(60).to_string().contains("42"));
    wrapped.ends();
}

#[test]
fn server_that_never_finished_the_handshake_is_replaced() {
    let data = tempfile::tempdir().unwrap();
    let data = data.path();
    let mut wrapped = twice(data, &[], "read line; exec sleep 60");
    let client = json!({ "name": "tester", "version": "1" });
    let params = json!({ "protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": client });
    wrapped.send(&json!({ "jsonrpc": "2.0", "id": 1, "method": "initialize", "params": params }));
    ctl(data, &["wait", "--filter", "method:initialize", "--from", "1"]);
    ctl(data, &["restart"]);
    assert_eq!(wrapped.receive_reply(1)["result"]["serverInfo"]["name"], "shadowcat-demo");
    wrapped.ends();
}

#[test]
fn requests_of_the_old_server_are_cancelled_and_late_answers_dropped() {
    let data = tempfile::tempdir().unwrap();
    let data = data.path();
    let ask = r#"echo '{"jsonrpc":"2.0","id":7,"method":"roots/list"}'; while read line; do :; done; exit 0"#;
    let mut wrapped = twice(data, &[], &format!("{INITIALIZED}; {ask}"));
    wrapped.initialize();
    assert_eq!(wrapped.receive_reply(7)["method"], "roots/list");
    ctl(data, &["restart"]);
    let mut line = String::new();
    while !line.contains("notifications/cancelled") {
        line.clear();
        assert_ne!(wrapped.stdout.read_line(&mut line).unwrap(), 0);
    }
    assert!(line.contains(r#""requestId":7"#), "{line}");
    wrapped.send(&json!({ "jsonrpc": "2.0", "id": 7, "result": { "roots": [] } }));
    wrapped.call_add(8, 1, 1);
    wrapped.receive_reply(8);
    wrapped.ends();
    let tape = std::fs::read_to_string(&tapes(data)[0]).unwrap();
    assert!(tape.contains("it answers a process that has ended"), "{tape}");
}
