//! A server is started again, and its client stays.

use std::io::BufRead;
use std::path::Path;

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::control::Wrapped;
use crate::support::{eventually, is_alive, shadowcat, tapes};

fn ctl(data: &Path, arguments: &[&str]) {
    let mut command = shadowcat(data);
    command.arg("ctl").args(arguments);
    let output = crate::support::run(command, b"");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// The server process of a wrapped server.
fn server(wrapped: &Wrapped) -> i32 {
    let tasks = std::fs::read_dir(format!("/proc/{}/task", wrapped.child.id())).unwrap().flatten();
    let lists = tasks.filter_map(|task| std::fs::read_to_string(task.path().join("children")).ok());
    let children: Vec<i32> = lists
        .flat_map(|list| list.split_whitespace().map(|pid| pid.parse().unwrap()).collect::<Vec<_>>())
        .collect();
    assert_eq!(children.len(), 1, "{children:?}");
    children[0]
}

/// What comes up to the answer to `id`, that included.
fn up_to(wrapped: &mut Wrapped, id: u64) -> Vec<Value> {
    let mut all = Vec::new();
    loop {
        let mut line = String::new();
        assert_ne!(wrapped.stdout.read_line(&mut line).unwrap(), 0, "the server is gone: {all:?}");
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
    wrapped.say(&json!({ "jsonrpc": "2.0", "id": id, "method": "tools/call", "params": params }));
}

#[test]
fn a_wrapped_server_is_started_again_under_its_client() {
    let data = tempfile::tempdir().unwrap();
    let data = data.path();
    let mut wrapped = Wrapped::demo(data, "calc", &[]);
    wrapped.greet();
    let before = server(&wrapped);
    call(&mut wrapped, 2, "hang");
    wrapped.add(3, 20, 22);
    wrapped.hears(3);
    ctl(data, &["restart"]);
    // What the old one owed is answered; what comes then is answered by the new one.
    wrapped.add(4, 20, 23);
    let came = up_to(&mut wrapped, 4);
    let failed = came.iter().find(|message| message["id"] == 2).expect("the call that hung is answered");
    assert!(failed["error"]["message"].as_str().unwrap().contains("started again"), "{failed}");
    assert!(came.last().unwrap().to_string().contains("43"));
    assert!(!came.iter().any(|message| message["id"] == 1), "the client was greeted already: {came:?}");
    let changed = |message: &Value| message["method"] == "notifications/tools/list_changed";
    assert!(came.iter().any(changed), "it may offer something else: {came:?}");
    assert_ne!(server(&wrapped), before);
    eventually("the old one is gone", || !is_alive(before));
    // And once more, while a call is held: the new one gets it.
    ctl(data, &["hold", "tool:add kind:req", "--patience", "1m"]);
    wrapped.add(5, 1, 1);
    ctl(data, &["wait", "--filter", "status:held", "--from", "1"]);
    ctl(data, &["restart"]);
    ctl(data, &["accept", "--all"]);
    let came = up_to(&mut wrapped, 5);
    assert!(came.iter().all(|message| message["error"].is_null()), "{came:?}");
    wrapped.ends();
    let tape = std::fs::read_to_string(&tapes(data)[0]).unwrap();
    assert!(tape.contains("started again as process"), "{tape}");
}

#[test]
fn a_client_that_is_to_stay_is_answered_while_there_is_no_server() {
    let data = tempfile::tempdir().unwrap();
    let data = data.path();
    let mut wrapped = Wrapped::demo(data, "calc", &["--stay"]);
    wrapped.greet();
    call(&mut wrapped, 2, "hang");
    wrapped.add(3, 20, 22);
    wrapped.hears(3);
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(server(&wrapped)), Signal::SIGKILL).unwrap();
    let failed = wrapped.hears(2);
    assert!(failed["error"]["message"].as_str().unwrap().contains("the server"), "{failed}");
    wrapped.add(4, 1, 2);
    let failed = wrapped.hears(4);
    assert_eq!(failed["error"]["code"], -32603, "{failed}");
    ctl(data, &["restart"]);
    wrapped.add(5, 20, 25);
    assert!(wrapped.hears(5).to_string().contains("45"));
    // A client that leaves while there is none ends everything, as the server ended.
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(server(&wrapped)), Signal::SIGKILL).unwrap();
    wrapped.add(6, 1, 2);
    assert!(wrapped.hears(6)["error"].is_object());
    drop(wrapped.stdin.take());
    let status = wrapped.child.wait().unwrap();
    assert_eq!(std::os::unix::process::ExitStatusExt::signal(&status), Some(9), "{status:?}");
    let tape = std::fs::read_to_string(&tapes(data)[0]).unwrap();
    assert!(tape.contains("its client stays"), "{tape}");
}
