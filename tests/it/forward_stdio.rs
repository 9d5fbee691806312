//! Tests that `forward stdio` is transparent to its client.

use std::io::{BufRead, BufReader, Read, Write};

use nix::sys::signal::Signal;
use shadowcat::log::Record;
use shadowcat::tape::Reader;

use crate::support::{eventually, forward, is_alive, run, shadowcat, signal, tapes};

fn frames(data: &std::path::Path) -> Vec<String> {
    let path = tapes(data).pop().expect("a tape was recorded");
    let records: Vec<Record> = Reader::open(&path).unwrap().collect();
    let text = |record: &Record| Some(String::from_utf8_lossy(record.frame()?.message.raw()).into_owned());
    records.iter().filter_map(text).collect()
}

#[test]
fn bytes_pass_unchanged_on_stdin_stdout_and_stderr() {
    let data = tempfile::tempdir().unwrap();
    let input = b"{\"jsonrpc\": \"2.0\", \"id\": 1.0, \"method\": \"x\"}\r\n\n  {\"a\":1}\nno newline at the end \xff";
    let output = run(forward(data.path(), "cat; printf 'to stderr' >&2"), input);
    assert_eq!(output.stdout, input);
    assert_eq!(output.stderr, b"to stderr");
    assert_eq!(output.status.code(), Some(0));
    let seen = frames(data.path());
    assert_eq!(seen.iter().filter(|frame| frame.contains("1.0")).count(), 2, "{seen:?}");
    assert!(seen.contains(&"to stderr".to_owned()));
}

#[test]
fn exit_code_and_signal_of_the_server_are_passed_on() {
    let data = tempfile::tempdir().unwrap();
    assert_eq!(run(forward(data.path(), "exit 7"), b"").status.code(), Some(7));
    let output = run(forward(data.path(), "kill -9 $$"), b"");
    use std::os::unix::process::ExitStatusExt;
    assert_eq!(output.status.signal(), Some(9), "{output:?}");
}

#[test]
fn missing_command_is_reported_with_a_hint() {
    let data = tempfile::tempdir().unwrap();
    let mut command = shadowcat(data.path());
    command.args(["forward", "stdio", "--", "no-such-server"]);
    let output = run(command, b"");
    assert_eq!(output.status.code(), Some(3));
    assert!(output.stdout.is_empty());
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("no-such-server") && said.contains("hint:"), "{said}");
}

#[test]
fn unwritable_tape_does_not_stop_forwarding() {
    let data = tempfile::tempdir().unwrap();
    let mut command = shadowcat(data.path());
    command.args(["forward", "stdio", "--tape", "/proc/none/x.tape", "--", "cat"]);
    let output = run(command, b"hello\n");
    assert_eq!(output.stdout, b"hello\n");
    assert_eq!(output.status.code(), Some(0));
    assert!(String::from_utf8_lossy(&output.stderr).contains("/proc/none/x.tape"));
}

#[test]
fn line_over_the_limit_streams_through_and_its_length_is_recorded() {
    let data = tempfile::tempdir().unwrap();
    let mut command = shadowcat(data.path());
    command.args(["forward", "stdio", "--inspect-limit", "64k", "--", "cat"]);
    let mut input = vec![b'x'; 3_000_000];
    input.extend_from_slice(b"\nshort\n");
    let output = run(command, &input);
    assert!(output.stdout == input, "{} of {} bytes", output.stdout.len(), input.len());
    let mut show = shadowcat(data.path());
    show.args(["tape", "show", "cat", "--output", "json", "--filter", "size:>1m"]);
    let shown: serde_json::Value = serde_json::from_slice(&run(show, b"").stdout).unwrap();
    assert_eq!(shown.as_array().map(Vec::len), Some(2), "one frame in each direction: {shown}");
    assert_eq!((shown[0]["size"].as_u64(), &shown[0]["cut"]), (Some(3_000_001), &true.into()));
}

#[test]
fn signals_are_passed_on_and_no_process_is_left() {
    for name in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP] {
        let data = tempfile::tempdir().unwrap();
        // The server starts a child of its own that would outlive it.
        let script = "sleep 1000 & echo $!; echo $$; wait";
        let mut child = forward(data.path(), script).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let pids: Vec<i32> = (0..2).map(|_| lines.next().unwrap().unwrap().parse().unwrap()).collect();
        signal(&child, name);
        let status = child.wait().unwrap();
        use std::os::unix::process::ExitStatusExt;
        assert_eq!(status.signal(), Some(name as i32), "{name}: {status:?}");
        for pid in pids {
            eventually("the server's processes are gone", || !is_alive(pid));
        }
        assert!(tapes(data.path()).len() == 1);
    }
}

#[test]
fn server_that_ignores_signals_is_killed() {
    let data = tempfile::tempdir().unwrap();
    let script = "trap '' TERM INT HUP; echo $$; while :; do sleep 1; done";
    let mut child = forward(data.path(), script).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    signal(&child, Signal::SIGTERM);
    child.wait().unwrap();
    let pid: i32 = line.trim().parse().unwrap();
    eventually("the stubborn server is gone", || !is_alive(pid));
}

#[test]
fn server_reads_end_of_input_when_the_engine_is_killed() {
    let data = tempfile::tempdir().unwrap();
    let mut child = forward(data.path(), "echo $$; cat > /dev/null").spawn().unwrap();
    let mut line = String::new();
    let mut out = BufReader::new(child.stdout.take().unwrap());
    out.read_line(&mut line).unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    let pid: i32 = line.trim().parse().unwrap();
    eventually("the server has ended by itself", || !is_alive(pid));
    // The tape of the killed engine opens.
    eventually("the tape opens", || Reader::open(&tapes(data.path())[0]).is_ok());
}

#[test]
fn closing_stdin_lets_the_server_finish() {
    let data = tempfile::tempdir().unwrap();
    let output = run(forward(data.path(), "cat; sleep 0.5; echo late; exit 4"), b"early\n");
    assert_eq!(output.stdout, b"early\nlate\n");
    assert_eq!(output.status.code(), Some(4));
}

#[test]
fn server_that_closes_only_its_stdout_keeps_running() {
    let data = tempfile::tempdir().unwrap();
    let script = "echo one; exec 1>&-; read line; echo \"got $line\" >&2; exit 5";
    let mut child = forward(data.path(), script).spawn().unwrap();
    let mut out = Vec::new();
    child.stdout.take().unwrap().read_to_end(&mut out).unwrap();
    assert_eq!(out, b"one\n", "the end of the server's stdout is passed on");
    child.stdin.take().unwrap().write_all(b"still here\n").unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.stderr, b"got still here\n");
    assert_eq!(output.status.code(), Some(5));
}

#[test]
fn slow_client_causes_back_pressure_on_the_server() {
    let data = tempfile::tempdir().unwrap();
    let script =
        "i=0; while [ $i -lt 200 ]; do head -c 100000 /dev/zero | tr '\\0' x; echo; i=$((i+1)); done";
    let mut command = shadowcat(data.path());
    command.args(["forward", "stdio", "--memory", "16m", "--", "sh", "-c", script]);
    let mut child =
        command.stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::piped()).spawn().unwrap();
    let mut out = child.stdout.take().unwrap();
    let path = || tapes(data.path()).pop();
    let seen = || {
        path().map_or(0, |path| {
            Reader::open(&path).map_or(0, |tape| tape.filter(|r| r.frame().is_some()).count())
        })
    };
    eventually("the first frames are on the tape", || seen() > 0);
    assert!(seen() < 20, "the client does not read, so back-pressure stops the server");
    let mut bytes = Vec::new();
    out.read_to_end(&mut bytes).unwrap();
    let total = bytes.len();
    assert_eq!(total, 200 * 100_001);
    assert!(child.wait().unwrap().success());
    let mut reader = Reader::open(&path().unwrap()).unwrap();
    let frames = reader.by_ref().filter(|record| record.frame().is_some()).count();
    assert_eq!((frames, reader.ending().damage.len()), (200, 0));
}

#[test]
fn stubborn_server_is_killed_when_its_client_dies() {
    let data = tempfile::tempdir().unwrap();
    let script = "trap '' TERM; echo $$; while :; do sleep 1; done";
    let mut child = forward(data.path(), script).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    // The pipes of the client are closed in both directions now.
    drop(child.stdin.take());
    child.wait().unwrap();
    let pid: i32 = line.trim().parse().unwrap();
    eventually("the stubborn server is gone", || !is_alive(pid));
}

#[test]
fn last_bytes_reach_a_client_that_reads_late() {
    let data = tempfile::tempdir().unwrap();
    let mut child =
        forward(data.path(), "head -c 400000 /dev/zero | tr '\\0' x; echo done >&2").spawn().unwrap();
    let mut said = String::new();
    // The server blocks on its full pipe until the client reads: let the pipes fill first.
    std::thread::sleep(std::time::Duration::from_millis(300));
    let mut bytes = Vec::new();
    child.stdout.take().unwrap().read_to_end(&mut bytes).unwrap();
    child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    assert_eq!((bytes.len(), said.as_str()), (400_000, "done\n"));
    assert!(child.wait().unwrap().success());
}

#[test]
fn client_killed_during_a_call_leaves_no_server() {
    // Servers that neither read their input nor end at a broken pipe.
    let scripts = [
        "trap '' TERM PIPE; echo $$; read line; while :; do echo noise 2>/dev/null; sleep 0.2; done",
        "trap '' TERM PIPE; echo $$; while :; do sleep 1; done",
    ];
    for script in scripts {
        let data = tempfile::tempdir().unwrap();
        let mut child = forward(data.path(), script).spawn().unwrap();
        let mut line = String::new();
        let mut out = BufReader::new(child.stdout.take().unwrap());
        out.read_line(&mut line).unwrap();
        let mut stdin = child.stdin.take().unwrap();
        let call = format!(
            "{{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"x\",\"params\":\"{}\"}}\n",
            "x".repeat(1000)
        );
        // Send more than the pipes hold, so that the lane is blocked when its client dies.
        let writer = std::thread::spawn(move || {
            for _ in 0..60 {
                if stdin.write_all(call.as_bytes()).is_err() {
                    return;
                }
            }
        });
        std::thread::sleep(std::time::Duration::from_millis(200));
        drop(out);
        writer.join().unwrap();
        child.wait().unwrap();
        let pid: i32 = line.trim().parse().unwrap();
        eventually("the connection to the server is closed", || !is_alive(pid));
    }
}
