//! Tests of `shadowcat doctor` on real processes: problems are found and explained.

use serde_json::{Value, json};

use crate::control_socket::Wrapped;
use crate::pty_terminal::Terminal;
use crate::support::{program, run, shadowcat, tapes};

fn examine(arguments: &[&str]) -> (Value, Option<i32>) {
    let data = tempfile::tempdir().unwrap();
    let mut command = shadowcat(data.path());
    command.args(["doctor", "--output", "json"]).args(arguments);
    let output = run(command, b"");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let value = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {said}"));
    (value, output.status.code())
}

fn check(report: &Value, id: &str) -> Value {
    report["checks"].as_array().unwrap().iter().find(|check| check["id"] == id).unwrap().clone()
}

/// Returns a shell script that serves the 2025 era and then runs `more`.
fn server(tools: &Value, more: &str) -> String {
    let initialized = json!({ "protocolVersion": "2025-11-25", "capabilities": { "tools": {}, "prompts": {} }, "serverInfo": { "name": "sick", "version": "1" } });
    format!(
        r#"while read -r line; do
  id=$(printf '%s' "$line" | sed -n 's/.*"id":\([0-9]*\).*/\1/p')
  case "$line" in
    *server/discover*) echo "{{\"jsonrpc\":\"2.0\",\"id\":$id,\"error\":{{\"code\":-32601,\"message\":\"no\"}}}}" ;;
    *'"initialize"'*) printf '%s\n' "{{\"jsonrpc\":\"2.0\",\"id\":$id,\"result\":"'{initialized}'"}}" ;;
    *tools/list*) printf '%s\n' "{{\"jsonrpc\":\"2.0\",\"id\":$id,\"result\":{{\"tools\":"'{tools}'"}}}}" ;;
    *prompts/list*) echo "{{\"jsonrpc\":\"2.0\",\"id\":$id,\"error\":{{\"code\":-32601,\"message\":\"no prompts\"}}}}" ;;
  esac
done
{more}"#
    )
}

#[test]
fn problems_are_reported_with_evidence_and_a_fix() {
    let tools = json!([
        { "name": "bad name", "description": "x", "inputSchema": { "type": "string" } },
        { "name": "fine", "description": "x", "inputSchema": { "type": "object", "properties": {} } },
        { "name": "fine", "inputSchema": { "type": "object", "anyOf": [] , "properties": { "a": { "type": "nonsense" } } } }
    ]);
    let script = server(&tools, "sleep 30");
    let (report, code) = examine(&["--", "sh", "-c", &script]);
    assert_eq!(code, Some(1));
    let seen = |id: &str, verdict: &str, text: &str| {
        let check = check(&report, id);
        assert_eq!(check["verdict"], verdict, "{check:#}");
        assert!(check["evidence"].to_string().contains(text), "{check:#}");
        assert!(check["fix"].is_string() || matches!(verdict, "passed" | "not-applicable"), "{check:#}");
    };
    seen("handshake", "passed", "2025-11-25");
    seen("era", "passed", "2025");
    seen("schemas", "failed", "bad name: the root of inputSchema");
    seen("schemas", "failed", "fine: inputSchema: [] has less than 1 item");
    seen("names", "warned", "fine is listed 2 times");
    seen("capabilities", "warned", "declares prompts, and prompts/list fails");
    seen("shutdown", "warned", "was still running");
    seen("context-cost", "passed", "tokens");
}

#[test]
fn server_that_does_not_start_or_answer_is_diagnosed() {
    let (report, code) = examine(&["--", "sh", "-c", "echo 'ModuleNotFoundError: x' >&2; exit 3"]);
    assert_eq!(code, Some(1));
    assert!(check(&report, "spawn")["evidence"].to_string().contains("ModuleNotFoundError"), "{report:#}");
    let (report, code) = examine(&["--", "no-such-program-anywhere"]);
    assert_eq!(check(&report, "binary")["verdict"], "failed");
    assert_eq!(code, Some(3), "the server was never reached");
    let (report, code) = examine(&["--", program(), "demo-server", "--pace", "1"]);
    assert_eq!(code, Some(1));
    assert!(check(&report, "stdout")["evidence"].to_string().contains("DB connected"));
    let (report, code) = examine(&["--upstream", "http://127.0.0.1:9/mcp"]);
    assert_eq!(code, Some(3), "the server was never reached");
    let reach = check(&report, "reach");
    assert!(reach["evidence"].to_string().contains("cannot be reached"), "{report:#}");
    assert_eq!(reach["causes"], json!(["refused"]));
    // Nothing is known of the rest, and it does not pass.
    assert_eq!(check(&report, "tools")["verdict"], "unjudged");
}

/// Returns a server that answers `initialize` with `greeting`, `tools/list` with `list` and does `more` for other
/// messages.
fn odd_server(greeting: &str, list: &str, more: &str) -> String {
    format!(
        r#"while read -r line; do
  id=$(printf '%s' "$line" | sed -n 's/.*"id":\([0-9]*\).*/\1/p')
  case "$line" in
    *'"initialize"'*) r='{greeting}' ;;
    *tools/list*) r='{list}' ;;
    *'"id"'*) printf '{{"jsonrpc":"2.0","id":%s,"error":{{"code":-32601,"message":"no"}}}}\n' "$id"; continue ;;
    *) {more}; continue ;;
  esac
  printf '{{"jsonrpc":"2.0","id":%s,"result":%s}}\n' "$id" "$r"
done"#
    )
}

#[test]
fn each_fault_is_found_by_its_check() {
    const GREETING: &str = r#"{"protocolVersion":"2025-11-25","capabilities":{"tools":{}},"serverInfo":{"name":"s","version":"1"}}"#;
    const LIST: &str = r#"{"tools":[{"name":"t","description":"d","inputSchema":{"type":"object"}}]}"#;
    let again = r#"{"tools":[],"nextCursor":"p2"}"#;
    let empty = r#"{"tools":[],"nextCursor":""}"#;
    let flood = "head -c 20000000 /dev/zero | tr '\\0' x | fold -w 100 >&2";
    let traced = "echo 'Error: Cannot find module x' >&2; for i in 1 2 3 4 5 6 7 8; do echo '    at y' >&2; done; exit 1";
    for (what, script, id, verdict, evidence) in [
        ("healthy", odd_server(GREETING, LIST, ":"), "pages", "passed", "1 pages"),
        (
            "the same cursor",
            odd_server(GREETING, again, ":"),
            "pages",
            "failed",
            "nextCursor \\\"p2\\\" again",
        ),
        ("an empty cursor", odd_server(GREETING, empty, ":"), "pages", "failed", "nextCursor is empty"),
        ("no version", odd_server("{}", LIST, ":"), "handshake", "failed", "without protocolVersion"),
        (
            "an unknown version",
            odd_server(&GREETING.replace("2025-11-25", "1.0"), LIST, ":"),
            "handshake",
            "failed",
            "no published revision",
        ),
        ("a flood of stderr", odd_server(GREETING, LIST, flood), "names", "passed", "1 tools"),
        (
            "a list without an answer",
            odd_server(GREETING, LIST, ":").replace("r='{\"tools\"", "continue; r='{\"tools\""),
            "pages",
            "failed",
            "no answer",
        ),
        ("a missing module", traced.to_owned(), "spawn", "failed", "Cannot find module x"),
        ("an end without a word", "exit 0".to_owned(), "spawn", "failed", "exited with code 0"),
    ] {
        let (report, code) = examine(&["--timeout", "3s", "--", "sh", "-c", &script]);
        let found = check(&report, id);
        assert_eq!(found["verdict"], verdict, "{what}: {report:#}");
        assert!(found["evidence"].to_string().contains(evidence), "{what}: {found:#}");
        assert_eq!(code, Some(i32::from(verdict == "failed")), "{what}: {report:#}");
    }
}

#[test]
fn running_session_and_its_tape_are_examined() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path();
    let mut wrapped = Wrapped::demo(data, "calc", &[]);
    wrapped.initialize();
    let doctor = |arguments: &[&str]| {
        let mut command = shadowcat(data);
        command.arg("doctor").args(arguments);
        run(command, b"")
    };
    let live = doctor(&["--session", "calc", "--output", "junit"]);
    let text = String::from_utf8_lossy(&live.stdout).into_owned();
    assert_eq!(live.status.code(), Some(1));
    assert!(text.contains("classname=\"stdout\"") && text.contains("failures=\"1\""), "{text}");
    // The screen shows the same findings.
    let mut terminal = Terminal::open(data, &["tui"]);
    terminal.shows("1 session runs");
    terminal.press("0");
    terminal.shows("1 failed");
    terminal.shows("DB connected");
    terminal.press("yy");
    terminal.shows("on the clipboard");
    terminal.press("q");
    assert!(terminal.ends().success());
    drop(wrapped.stdin.take());
    wrapped.child.wait().unwrap();
    let tape = doctor(&["--tape", tapes(data)[0].to_str().unwrap()]);
    assert!(String::from_utf8_lossy(&tape.stdout).contains("FAIL  standard output carries only messages"));
    assert_eq!(doctor(&["--session", "calc"]).status.code(), Some(3), "the session has ended");
}

#[test]
fn bug_report_contains_a_redacted_tape() {
    let data = tempfile::tempdir().unwrap();
    let mut doctor = shadowcat(data.path());
    let token = "ghp_abcdefghijklmnopqrstuvwxyz0123456789";
    let script = format!("echo 'token {token}' >&2; exec '{}' demo-server --pace 1", program());
    doctor.args(["doctor", "--output", "markdown", "--", "sh", "-c", &script]);
    let output = run(doctor, b"");
    let report = String::from_utf8(output.stdout).unwrap();
    assert!(report.contains("- ✅ **"), "{report}");
    assert!(!report.contains(token), "{report}");
    let tape = report.split("``````jsonl\n").nth(1).unwrap().split("``````").next().unwrap();
    let file = data.path().join("report.tape");
    std::fs::write(&file, tape).unwrap();
    let mut play = shadowcat(data.path());
    play.args(["tape", "play", file.to_str().unwrap(), "--speed", "max"]);
    let played = run(play, b"");
    let played = String::from_utf8_lossy(&played.stdout).into_owned();
    assert!(played.contains("tools/list"), "{played}");
    let mut terminal = Terminal::open(data.path(), &["tui", file.to_str().unwrap()]);
    terminal.shows("server/discover");
    terminal.press("q");
    assert!(terminal.ends().success());
}
