//! Tests of the end of servers: signals, helpers that stay, and wrappers.

use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::ExitStatusExt;
use std::process::Child;

use nix::sys::signal::Signal;
use shadowcat::clock::Clock;

use crate::support::{Deadline, forward, is_alive, run, shadowcat, signal, tapes};

/// Starts a server that says `up` once it is ready.
fn start(data: &std::path::Path, script: &str) -> (Child, BufReader<std::process::ChildStdout>, Deadline) {
    let mut child = forward(data, script).spawn().unwrap();
    let deadline = Deadline::of(&child);
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    stdout.read_line(&mut line).unwrap();
    assert_eq!(line, "up\n");
    (child, stdout, deadline)
}

#[test]
fn server_that_saves_for_three_seconds_is_not_killed() {
    let data = tempfile::tempdir().unwrap();
    let saved = data.path().join("saved");
    let script = format!(
        "trap 'sleep 3; touch {}; exit 7' TERM; echo up; while :; do sleep 0.1; done",
        saved.display()
    );
    let (mut child, _stdout, _deadline) = start(data.path(), &script);
    signal(&child, Signal::SIGTERM);
    assert_eq!(child.wait().unwrap().code(), Some(7), "the server's exit is ours");
    assert!(saved.exists());
}

#[test]
fn server_behind_a_wrapper_that_dies_at_once_saves_too() {
    let data = tempfile::tempdir().unwrap();
    let saved = data.path().join("saved");
    // The outer shell has no trap: it dies of the signal, as npx and uv do.
    let script = format!(
        "sh -c \"trap 'sleep 3; touch {}; exit 0' TERM; echo up; while :; do sleep 0.1; done\"; echo never",
        saved.display()
    );
    let (mut child, _stdout, _deadline) = start(data.path(), &script);
    signal(&child, Signal::SIGTERM);
    assert_eq!(child.wait().unwrap().signal(), Some(15));
    assert!(saved.exists());
}

#[test]
fn server_that_ignores_sigterm_is_killed_before_the_client_loses_patience() {
    let data = tempfile::tempdir().unwrap();
    let (mut child, _stdout, _deadline) =
        start(data.path(), "trap '' TERM; echo up; while :; do read x || sleep 1; done");
    let clock = Clock::system();
    let began = clock.now();
    signal(&child, Signal::SIGTERM);
    assert_eq!(child.wait().unwrap().signal(), Some(9));
    // The official SDKs kill shadowcat 2 s after they asked it to end, and would leave the server behind.
    assert!(clock.now().since(began).as_secs_f64() < 1.9);
}

#[test]
fn signal_that_the_server_survives_is_survived() {
    for (number, handled) in [(Signal::SIGHUP, "HUP"), (Signal::SIGINT, "INT"), (Signal::SIGQUIT, "QUIT")] {
        let data = tempfile::tempdir().unwrap();
        let script = format!(
            "trap 'echo {handled}' {handled}; trap 'exit 5' TERM; echo up; while :; do sleep 0.1; done"
        );
        let (mut child, mut stdout, _deadline) = start(data.path(), &script);
        for _ in 0..2 {
            signal(&child, number);
            let mut line = String::new();
            stdout.read_line(&mut line).unwrap();
            assert_eq!(line.trim(), handled);
        }
        std::thread::sleep(std::time::Duration::from_secs(2));
        assert!(child.try_wait().unwrap().is_none(), "{handled} reloads or cancels; it is not the end");
        signal(&child, Signal::SIGTERM);
        assert_eq!(child.wait().unwrap().code(), Some(5));
    }
}

#[test]
fn second_signal_reaches_the_server_as_itself() {
    let data = tempfile::tempdir().unwrap();
    let script = "trap 'echo TERM' TERM; trap 'exit 6' INT; echo up; while :; do sleep 0.1; done";
    let (mut child, mut stdout, _deadline) = start(data.path(), script);
    signal(&child, Signal::SIGTERM);
    let mut line = String::new();
    stdout.read_line(&mut line).unwrap();
    signal(&child, Signal::SIGINT);
    assert_eq!(child.wait().unwrap().code(), Some(6));
}

#[test]
fn helper_in_a_session_of_its_own_does_not_delay_the_end() {
    let data = tempfile::tempdir().unwrap();
    // The helper holds stdout and stderr for 20 s; the last words of the server are larger than a pipe.
    let script =
        "setsid sleep 20 </dev/null & echo $!; echo up >&2; read x; head -c 300000 /dev/zero | tr '\\0' x";
    let mut child = forward(data.path(), script).spawn().unwrap();
    let _deadline = Deadline::of(&child);
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    stdout.read_line(&mut line).unwrap();
    let helper: i32 = line.trim().parse().unwrap();
    let clock = Clock::system();
    let began = clock.now();
    drop(child.stdin.take());
    let mut rest = Vec::new();
    stdout.read_to_end(&mut rest).unwrap();
    assert!(child.wait().unwrap().success());
    assert_eq!(rest.len(), 300_000, "nothing that the server said is lost");
    assert!(clock.now().since(began).as_secs_f64() < 1.0);
    assert!(is_alive(helper), "what left the group is not ours to end");
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(helper), Signal::SIGKILL).unwrap();
}

#[test]
fn helper_that_writes_without_end_does_not_delay_it_either() {
    let data = tempfile::tempdir().unwrap();
    let script = "setsid sh -c 'while :; do echo noise; done' </dev/null & echo up; read x; kill -9 0";
    let (mut child, mut stdout, _deadline) = start(data.path(), script);
    let reader = std::thread::spawn(move || std::io::copy(&mut stdout, &mut std::io::sink()));
    drop(child.stdin.take());
    assert_eq!(child.wait().unwrap().signal(), Some(9));
    drop(reader);
}

#[test]
fn call_whose_server_died_is_lost_at_once() {
    let data = tempfile::tempdir().unwrap();
    let call = b"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"tools/call\",\"params\":{\"name\":\"t\"}}\n";
    let output = run(forward(data.path(), "read x; kill -9 $$"), call);
    assert_eq!(output.status.signal(), Some(9));
    let mut show = shadowcat(data.path());
    show.args(["tape", "show", &tapes(data.path())[0].display().to_string()]);
    let shown = run(show, b"").stdout;
    let shown = String::from_utf8_lossy(&shown);
    assert!(shown.contains("forwarded,lost") && !shown.contains("pending"), "{shown}");
}

#[test]
fn script_without_an_interpreter_line_is_run_by_sh() {
    use std::os::unix::fs::PermissionsExt;
    let data = tempfile::tempdir().unwrap();
    let script = data.path().join("start");
    std::fs::write(&script, "echo \"$0 $1\"\nexit 4\n").unwrap();
    std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).unwrap();
    let script = script.display().to_string();
    let mut command = shadowcat(data.path());
    command.args(["forward", "stdio", "--", &script, "an argument"]);
    let output = run(command, b"");
    assert_eq!(String::from_utf8_lossy(&output.stdout), format!("{script} an argument\n"));
    assert_eq!(output.status.code(), Some(4));
}
