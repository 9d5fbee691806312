//! Peers that leave lines unfinished at the wrong moment.

use std::io::{Read, Write};
use std::path::Path;
use std::time::Duration;

use serde_json::json;

use crate::control_socket::Wrapped;
use crate::support::{eventually, run, shadowcat};

/// Longer than the pause after which an unfinished line goes on.
const PAUSE: Duration = Duration::from_millis(400);

fn ctl(data: &Path, arguments: &[&str]) -> String {
    let mut command = shadowcat(data);
    command.arg("ctl").args(arguments);
    let output = run(command, b"");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn expect(wrapped: &mut Wrapped, text: &str) {
    let mut bytes = vec![0; text.len()];
    wrapped.stdout.read_exact(&mut bytes).unwrap();
    assert_eq!(String::from_utf8_lossy(&bytes), text);
}

fn write(wrapped: &mut Wrapped, text: &str) {
    wrapped.stdin.as_mut().unwrap().write_all(text.as_bytes()).unwrap();
}

#[test]
fn calls_of_a_server_that_died_in_a_line_are_answered() {
    let data = tempfile::tempdir().unwrap();
    let script = "read line; printf 'working: 10%'; sleep 0.4; exit 3";
    let mut wrapped = Wrapped::of(data.path(), "dies", &["--stay"], &["sh", "-c", script]);
    for id in 1..=2 {
        wrapped.send(&json!({ "jsonrpc": "2.0", "id": id, "method": "ping" }));
        let answer = wrapped.receive_reply(id);
        assert!(answer["error"]["message"].as_str().unwrap().contains("exited 3"), "{answer}");
    }
}

#[test]
fn line_that_began_before_a_restart_goes_to_the_new_server_whole() {
    let data = tempfile::tempdir().unwrap();
    let mut wrapped = Wrapped::demo(data.path(), "calc", &[]);
    // The handshake pauses in its lines too, and is repeated all the same.
    write(
        &mut wrapped,
        r#"{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25","#,
    );
    std::thread::sleep(PAUSE);
    write(&mut wrapped, "\"capabilities\":{},\"clientInfo\":{\"name\":\"c\",\"version\":\"1\"}}}\n");
    assert!(wrapped.receive_reply(1)["result"].is_object());
    wrapped.send(&json!({ "jsonrpc": "2.0", "method": "notifications/initialized" }));
    write(&mut wrapped, r#"{"jsonrpc":"2.0","id":2,"method":"tools/"#);
    std::thread::sleep(PAUSE);
    ctl(data.path(), &["restart"]);
    write(&mut wrapped, "list\"}\n");
    assert!(wrapped.receive_reply(2)["result"]["tools"].is_array());
    wrapped.ends();
}

#[test]
fn prompt_goes_on_once_the_breakpoint_that_it_waits_for_is_gone() {
    for gone in [["rules", "disarm"].as_slice(), &["rules", "remove", "1"]] {
        let data = tempfile::tempdir().unwrap();
        let options = ["--break", "tool:rm", "--hold-unattended", "60s"];
        let script = "printf 'Go? '; read answer; echo \"$answer\"";
        let mut wrapped = Wrapped::of(data.path(), "asks", &options, &["sh", "-c", script]);
        eventually("the control socket", || {
            let mut command = shadowcat(data.path());
            command.args(["ctl", "sessions"]);
            run(command, b"").status.success()
        });
        std::thread::sleep(PAUSE);
        ctl(data.path(), gone);
        expect(&mut wrapped, "Go? ");
        write(&mut wrapped, "y\n");
        expect(&mut wrapped, "y\n");
    }
}

#[test]
fn messages_without_newlines_pass_a_breakpoint_that_they_do_not_match() {
    let data = tempfile::tempdir().unwrap();
    let pong = r#"{"jsonrpc":"2.0","id":1,"result":{}}"#;
    let script = format!("dd bs=4096 count=1 >/dev/null 2>&1; printf %s '{pong}'; read end");
    let options = ["--break", "tool:rm", "--hold-unattended", "60s"];
    let mut wrapped = Wrapped::of(data.path(), "bare", &options, &["sh", "-c", &script]);
    write(&mut wrapped, r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#);
    expect(&mut wrapped, pong);
    // One that matches is held, and goes on when it is accepted.
    let options = ["--break", "method:ping dir:c2s", "--hold-unattended", "60s"];
    let mut wrapped = Wrapped::of(data.path(), "held", &options, &["sh", "-c", &script]);
    write(&mut wrapped, r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#);
    ctl(data.path(), &["--session", "held", "wait", "--from", "1", "--filter", "status:held"]);
    ctl(data.path(), &["--session", "held", "accept", "--all"]);
    expect(&mut wrapped, pong);
}
