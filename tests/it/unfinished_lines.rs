//! Tests of streams without newlines: what works with a server itself works through shadowcat.

use std::io::{Read, Write};
use std::process::{Child, Stdio};

use shadowcat::log::record::{Body, Record, Role};
use shadowcat::tape::Reader;

use crate::support::{Deadline, forward, tapes};

/// Starts a server behind shadowcat. Its reads block until the bytes are there; a deadline ends a test that hangs.
fn start(data: &std::path::Path, script: &str) -> (Child, Deadline) {
    let child = forward(data, script).spawn().unwrap();
    let deadline = Deadline::of(&child);
    (child, deadline)
}

/// Reads exactly these bytes.
fn expect(from: &mut impl Read, text: &str) {
    let mut bytes = vec![0; text.len()];
    from.read_exact(&mut bytes).unwrap();
    assert_eq!(String::from_utf8_lossy(&bytes), text);
}

fn records(data: &std::path::Path) -> Vec<Record> {
    Reader::open(&tapes(data)[0]).unwrap().collect()
}

#[test]
fn prompt_on_stdout_is_seen_before_it_is_answered() {
    let data = tempfile::tempdir().unwrap();
    let (mut child, _deadline) =
        start(data.path(), "printf 'Ok to proceed? (y) '; read answer; echo \"$answer\"");
    let mut stdout = child.stdout.take().unwrap();
    expect(&mut stdout, "Ok to proceed? (y) ");
    child.stdin.take().unwrap().write_all(b"y\n").unwrap();
    expect(&mut stdout, "y\n");
    assert!(child.wait().unwrap().success());
}

#[test]
fn prompt_on_stderr_is_seen_at_once() {
    let data = tempfile::tempdir().unwrap();
    let (mut child, _deadline) =
        start(data.path(), "printf 'Password: ' >&2; read answer; echo \"$answer\" >&2");
    let mut stderr = child.stderr.take().unwrap();
    expect(&mut stderr, "Password: ");
    // The log tells of it after a while.
    std::thread::sleep(std::time::Duration::from_millis(400));
    child.stdin.take().unwrap().write_all(b"x\n").unwrap();
    expect(&mut stderr, "x\n");
    assert!(child.wait().unwrap().success());
    let all = records(data.path());
    let shown = all.iter().any(
        |record| matches!(&record.body, Body::Note(note) if note.text.ends_with("went on: \"Password: \"")),
    );
    assert!(shown, "the tape says what the server waited for");
    let lines: Vec<_> =
        all.iter().filter_map(Record::frame).filter(|frame| frame.direction.as_str() == "s2c").collect();
    assert_eq!(lines[0].message.raw(), "Password: x\n");
}

#[test]
fn progress_bar_moves_while_it_is_drawn() {
    let data = tempfile::tempdir().unwrap();
    let script = "for i in 1 2 3; do printf '\\r%s' $i; read go; printf '\\r%s' $i >&2; read go; done; echo";
    let (mut child, _deadline) = start(data.path(), script);
    let (mut stdin, mut stdout, mut stderr) =
        (child.stdin.take().unwrap(), child.stdout.take().unwrap(), child.stderr.take().unwrap());
    for step in 1..=3 {
        expect(&mut stdout, &format!("\r{step}"));
        stdin.write_all(b"go\n").unwrap();
        expect(&mut stderr, &format!("\r{step}"));
        stdin.write_all(b"go\n").unwrap();
    }
    expect(&mut stdout, "\n");
    assert!(child.wait().unwrap().success());
}

#[test]
fn json_without_newlines_is_answered_and_linked() {
    let data = tempfile::tempdir().unwrap();
    let ping = |id| format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"ping"}}"#);
    let pong = |id| format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{{}}}}"#);
    // dd reads one write of the client each, as a streaming parser does.
    let script = format!(
        "dd bs=4096 count=1 2>/dev/null >/dev/null; printf %s '{}'; dd bs=4096 count=1 2>/dev/null >/dev/null; printf %s '{}'",
        pong(1),
        pong(2)
    );
    let (mut child, _deadline) = start(data.path(), &script);
    let (mut stdin, mut stdout) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
    for id in 1..=2 {
        stdin.write_all(ping(id).as_bytes()).unwrap();
        expect(&mut stdout, &pong(id));
    }
    drop(stdin);
    assert!(child.wait().unwrap().success());
    let all = records(data.path());
    let answers =
        all.iter().filter_map(Record::frame).filter(|frame| frame.link.role == Role::Response).count();
    assert_eq!(answers, 2, "each answer is linked to its request");
}

#[test]
fn lsp_frames_pass_and_their_bodies_are_messages() {
    let data = tempfile::tempdir().unwrap();
    let body = r#"{"jsonrpc":"2.0","id":1,"result":{}}"#;
    let frame = format!("Content-Length: {}\\r\\n\\r\\n{body}", body.len());
    let script = format!("dd bs=4096 count=1 2>/dev/null >/dev/null; printf '{frame}'; read end");
    let (mut child, _deadline) = start(data.path(), &script);
    let (mut stdin, mut stdout) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
    let request = r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#;
    write!(stdin, "Content-Length: {}\r\n\r\n{request}", request.len()).unwrap();
    expect(&mut stdout, &frame.replace("\\r\\n", "\r\n"));
    drop(stdin);
    child.wait().unwrap();
    let all = records(data.path());
    let response = all.iter().filter_map(Record::frame).find(|frame| frame.link.role == Role::Response);
    assert_eq!(response.unwrap().message.raw(), body);
}

#[test]
fn every_byte_is_on_the_tape_in_its_order() {
    let data = tempfile::tempdir().unwrap();
    let script = r#"printf '{"jsonrpc":"2.0",'; sleep 0.3; printf '"method":"notifications/x"}'; sleep 0.3; echo; printf 'a'; sleep 0.3; printf 'b\r\nlast'"#;
    let output = crate::support::run(forward(data.path(), script), b"");
    let expected = b"{\"jsonrpc\":\"2.0\",\"method\":\"notifications/x\"}\nab\r\nlast";
    assert_eq!(output.stdout, expected);
    let all = records(data.path());
    let main = all.iter().filter_map(Record::frame).filter(|frame| frame.direction.as_str() == "s2c");
    assert_eq!(main.flat_map(|frame| frame.message.raw().to_vec()).collect::<Vec<u8>>(), expected);
}

#[test]
fn line_that_is_to_stay_whole_says_so() {
    let data = tempfile::tempdir().unwrap();
    let mut command = crate::support::shadowcat(data.path());
    command.args([
        "forward",
        "stdio",
        "--break",
        "tool:rm",
        "--hold-unattended",
        "1s",
        "--",
        "sh",
        "-c",
        "printf 'Go? '; read x",
    ]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let _deadline = Deadline::of(&child);
    std::thread::sleep(std::time::Duration::from_millis(500));
    drop(child.stdin.take());
    child.wait().unwrap();
    let waits = records(data.path()).iter().any(
        |record| matches!(&record.body, Body::Note(note) if note.text.contains("waits for its end: a breakpoint")),
    );
    assert!(waits);
}
