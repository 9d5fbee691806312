//! Tests with traffic that a strict reader refuses (half of a character, 1E400, 200 levels) or that has
//! another shape than expected: nothing of it vanishes, and what cannot be judged is no pass.
//!
//! DRAFT for tests/it/odd_json.rs (add `mod odd_json;` to main.rs). Red on fdbd5d1 unless marked GREEN.

use std::io::{BufRead, Write};
use std::path::{Path, PathBuf};
use std::process::Output;

use serde_json::Value;

use crate::control_socket::Wrapped;
use crate::support::{eventually, run, shadowcat};

/// JSON texts that `serde_json::Value` refuses.
fn odd() -> [(&'static str, String); 3] {
    let deep = "[".repeat(200) + &"]".repeat(200);
    [("half of a character", r#""\ud83d""#.to_owned()), ("1E400", "1E400".to_owned()), ("200 levels", deep)]
}

/// Returns a tool whose `_meta` is `odd`.
fn tool(name: &str, odd: &str) -> String {
    format!(
        r#"{{"name":"{name}","description":"d","inputSchema":{{"type":"object"}},"_meta":{{"x":{odd}}}}}"#
    )
}

/// Returns a shell script that answers with these JSON texts.
fn server(capabilities: &str, tools: &str, result: &str) -> String {
    // `printf %s` does not interpret the escapes of the texts, unlike `echo`.
    format!(
        r#"while read -r line; do
  id=$(printf '%s' "$line" | sed -n 's/.*"id":\([0-9]*\).*/\1/p')
  case "$line" in
    *'"initialize"'*) r='{{"protocolVersion":"2025-11-25","capabilities":{capabilities},"serverInfo":{{"name":"odd","version":"1"}}}}' ;;
    *tools/list*) r='{{"tools":{tools}}}' ;;
    *tools/call*) r='{result}' ;;
    *'"id"'*) r='{{}}' ;;
    *) continue ;;
  esac
  case "$line" in
    *server/discover*) printf '{{"jsonrpc":"2.0","id":%s,"error":{{"code":-32601,"message":"no"}}}}\n' "$id" ;;
    *) printf '{{"jsonrpc":"2.0","id":%s,"result":%s}}\n' "$id" "$r" ;;
  esac
done"#
    )
}

const HELLO: &str = r#"{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"t","version":"1"}}}
{"jsonrpc":"2.0","method":"notifications/initialized"}
"#;
const LIST: &str = r#"{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{}}"#;
const RESULT: &str = r#"{"content":[]}"#;

fn call(arguments: &str) -> String {
    format!(
        r#"{{"jsonrpc":"2.0","id":2,"method":"tools/call","params":{{"name":"snap","arguments":{arguments}}}}}"#
    )
}

/// Records what a client says to a server.
fn record(directory: &Path, name: &str, server: &str, lines: &[&str]) -> PathBuf {
    let path = directory.join(name).with_extension("tape");
    let mut command = shadowcat(directory);
    command.args(["forward", "stdio", "--tape", path.to_str().unwrap(), "--", "sh", "-c", server]);
    run(command, (HELLO.to_owned() + &lines.join("\n") + "\n").as_bytes());
    path
}

fn tape(directory: &Path, arguments: &[&str]) -> (Option<i32>, String) {
    let mut command = shadowcat(directory);
    command.arg("tape").args(arguments);
    said(&run(command, b""))
}

fn said(output: &Output) -> (Option<i32>, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code(), text(&output.stdout) + &text(&output.stderr))
}

fn doctor(server: &str) -> (Option<i32>, Value) {
    let data = tempfile::tempdir().unwrap();
    let mut command = shadowcat(data.path());
    command.args(["doctor", "--output", "json", "--", "sh", "-c", server]);
    let output = run(command, b"");
    (output.status.code(), serde_json::from_slice(&output.stdout).unwrap())
}

fn evidence(report: &Value, id: &str) -> String {
    report["checks"].as_array().unwrap().iter().find(|check| check["id"] == id).unwrap().to_string()
}

// === doctor ===

#[test]
fn doctor_examines_tools_beside_what_a_strict_reader_refuses() {
    for (what, odd) in odd() {
        let tools = format!("[{},{}]", tool("fine", &odd), tool("bad name!", "1"));
        let (_, report) = doctor(&server(r#"{"tools":{}}"#, &tools, RESULT));
        assert!(evidence(&report, "names").contains("bad name!"), "{what}: {report:#}");
        assert!(evidence(&report, "schemas").contains("2 schemas"), "{what}: {report:#}");
    }
}

#[test]
fn doctor_names_a_list_of_another_shape_and_does_not_pass() {
    for tools in [r#"{"a":{"name":"a"}}"#, "null", r#""a""#] {
        let (code, report) = doctor(&server(r#"{"tools":{}}"#, tools, RESULT));
        assert_eq!(code, Some(1), "{tools}: {report:#}");
        let names = evidence(&report, "names");
        assert!(names.contains("result.tools") && names.contains("not an array"), "{tools}: {names}");
    }
}

#[test]
fn doctor_reads_capabilities_of_any_content_and_names_those_of_another_shape() {
    for (what, odd) in odd() {
        let capabilities = format!(r#"{{"tools":{{}},"experimental":{{"x":{odd}}}}}"#);
        let (_, report) = doctor(&server(&capabilities, &format!("[{}]", tool("a", "1")), RESULT));
        let check = evidence(&report, "capabilities");
        assert!(check.contains("passed") && !check.contains("does not declare"), "{what}: {check}");
    }
    for capabilities in ["[]", r#""tools""#, "null"] {
        let (code, report) = doctor(&server(capabilities, &format!("[{}]", tool("a", "1")), RESULT));
        assert!(evidence(&report, "handshake").contains("not an object"), "{capabilities}: {report:#}");
        assert_eq!(code, Some(1), "{capabilities}: {report:#}");
    }
}

#[test]
fn doctor_says_that_a_schema_nests_too_deeply_to_be_judged() {
    let schema = r#"{"type":"object","properties":{"n":"#.repeat(450) + "true" + &"}}".repeat(450);
    let tools = format!(r#"[{{"name":"a","description":"d","inputSchema":{schema}}}]"#);
    let (code, report) = doctor(&server(r#"{"tools":{}}"#, &tools, RESULT));
    assert!(evidence(&report, "schemas").contains("could not be judged"), "{report:#}");
    assert_eq!(code, Some(1));
}

// === diff and test ===

#[test]
fn a_removed_tool_is_drift_beside_what_a_strict_reader_refuses() {
    let directory = tempfile::tempdir().unwrap();
    for (at, (what, odd)) in odd().into_iter().enumerate() {
        let both =
            server(r#"{"tools":{}}"#, &format!("[{},{}]", tool("keep", &odd), tool("gone", "1")), RESULT);
        let one = server(r#"{"tools":{}}"#, &format!("[{}]", tool("keep", &odd)), RESULT);
        let a = record(directory.path(), &format!("a{at}"), &both, &[LIST]);
        let b = record(directory.path(), &format!("b{at}"), &one, &[LIST]);
        let (code, report) = tape(directory.path(), &["diff", a.to_str().unwrap(), b.to_str().unwrap()]);
        assert!(code == Some(1) && report.contains("tool gone: removed"), "{what}: {report}");
        let (code, report) = tape(directory.path(), &["test", a.to_str().unwrap(), "--", "sh", "-c", &one]);
        assert!(code == Some(1) && report.contains("tool gone: removed"), "{what}: {report}");
    }
}

#[test]
fn offers_of_another_shape_are_compared_too() {
    let directory = tempfile::tempdir().unwrap();
    let of = |tools: &str| server(r#"{"tools":{}}"#, tools, RESULT);
    let (a, b) = (tool("a", "1"), tool("a", "2"));
    for (at, (was, is)) in [
        // As an object, of which one member is gone.
        (format!(r#"{{"a":{a},"b":{a}}}"#), format!(r#"{{"a":{a}}}"#)),
        // A tool without a name is gone.
        (format!(r#"[{{"title":"nameless"}},{a}]"#), format!("[{a}]")),
        // Of two tools of one name, one is gone.
        (format!("[{a},{b}]"), format!("[{b}]")),
    ]
    .into_iter()
    .enumerate()
    {
        let one = record(directory.path(), &format!("a{at}"), &of(&was), &[LIST]);
        let two = record(directory.path(), &format!("b{at}"), &of(&is), &[LIST]);
        let (code, report) = tape(directory.path(), &["diff", one.to_str().unwrap(), two.to_str().unwrap()]);
        assert_eq!(code, Some(1), "{was}: {report}");
    }
    // Some clients send `"cursor":null` for the first page.
    let first = LIST.replace("{}", r#"{"cursor":null}"#);
    let one = record(directory.path(), "full", &of(&format!("[{a}]")), &[&first]);
    let two = record(directory.path(), "empty", &of("[]"), &[&first]);
    let (code, report) = tape(directory.path(), &["diff", one.to_str().unwrap(), two.to_str().unwrap()]);
    assert_eq!(code, Some(1), "{report}");
}

#[test]
fn numbers_of_results_are_compared_exactly() {
    let directory = tempfile::tempdir().unwrap();
    let of = |number: &str| {
        let result = format!(r#"{{"content":[],"structuredContent":{{"n":{number}}}}}"#);
        server(r#"{"tools":{}}"#, "[]", &result)
    };
    for (at, (was, is, same)) in [
        ("12345678901234567890123", "12345678901234567890124", false),
        ("9007199254740993", "9007199254740992.0", false),
        ("0.1", "0.10000000000000000001", false),
        ("1E400", "10E399", true),
        ("1", "1.0", true),
    ]
    .into_iter()
    .enumerate()
    {
        let a = record(directory.path(), &format!("a{at}"), &of(was), &[&call("{}")]);
        let b = record(directory.path(), &format!("b{at}"), &of(is), &[&call("{}")]);
        let (code, report) = tape(directory.path(), &["diff", a.to_str().unwrap(), b.to_str().unwrap()]);
        assert_eq!(code, Some(i32::from(!same)), "{was} and {is}: {report}");
    }
}

#[test]
fn a_failure_with_half_a_character_in_its_message_is_a_failure() {
    let directory = tempfile::tempdir().unwrap();
    let of = |result: &str| server(r#"{"tools":{}}"#, "[]", result);
    let a = record(directory.path(), "a", &of(RESULT), &[&call("{}")]);
    let failed = r#"{"isError":true,"content":[{"type":"text","text":"\ud83d"}]}"#;
    let b = record(directory.path(), "b", &of(failed), &[&call("{}")]);
    let (_, report) = tape(directory.path(), &["diff", a.to_str().unwrap(), b.to_str().unwrap()]);
    assert!(report.contains("tools/call snap: fails now"), "{report}");
}

#[test]
fn a_replay_does_not_answer_a_call_with_another_number() {
    let directory = tempfile::tempdir().unwrap();
    let result = r#"{"content":[{"type":"text","text":"of 123"}]}"#;
    let asked = call(r#"{"n":12345678901234567890123}"#);
    let path = record(directory.path(), "a", &server("{}", "[]", result), &[&asked]);
    let mut command = shadowcat(directory.path());
    command.args(["tape", "replay", path.to_str().unwrap()]);
    let (_, text) =
        said(&run(command, (HELLO.to_owned() + &asked.replace("0123}", "0124}") + "\n").as_bytes()));
    assert!(!text.contains("of 123"), "{text}");
}

// === show and ctl ===

#[test]
fn json_for_programs_has_every_message_as_it_was_spelled() {
    let directory = tempfile::tempdir().unwrap();
    let spelled =
        odd().map(|(_, odd)| odd).into_iter().chain(["12345678901234567890123".into(), "1.10".into()]);
    for (at, odd) in spelled.enumerate() {
        let result = format!(r#"{{"content":[],"structuredContent":{{"n":{odd}}}}}"#);
        let path = record(directory.path(), &format!("t{at}"), &server("{}", "[]", &result), &[&call("{}")]);
        let path = path.to_str().unwrap();
        let filter = "kind:resp tool:snap";
        let (_, shown) = tape(directory.path(), &["show", path, "--filter", filter, "--output", "json"]);
        let flat: String = shown.split_whitespace().collect();
        assert!(
            flat.contains(&format!(r#""msg":{{"jsonrpc":"2.0","id":2,"result":{result}}}"#)),
            "{odd}: {shown}"
        );
        let (_, played) =
            tape(directory.path(), &["play", path, "--filter", filter, "--speed", "max", "--output", "json"]);
        assert!(played.contains(&result), "{odd}: {played}");
    }
}

/// Sends a line, and returns the next one that the client gets, whatever it is.
fn raw(wrapped: &mut Wrapped) -> String {
    let mut line = String::new();
    wrapped.stdout.read_line(&mut line).unwrap();
    line.trim_end().to_owned()
}

fn ctl(data: &Path, arguments: &[&str]) -> (Option<i32>, String) {
    let mut command = shadowcat(data);
    command.arg("ctl").args(arguments);
    said(&run(command, b""))
}

/// Waits for a held frame, and returns its id from the table (which reads no message).
fn held(data: &Path) -> String {
    let mut id = String::new();
    eventually("a hold", || {
        let (_, table) = ctl(data, &["held"]);
        id =
            table.lines().nth(1).and_then(|row| row.split_whitespace().next()).unwrap_or_default().to_owned();
        id.parse::<u64>().is_ok()
    });
    id
}

/// Starts a server that sends back what it reads, with a breakpoint on requests.
fn echo(data: &Path) -> Wrapped {
    Wrapped::of(
        data,
        "echo",
        &["--break", "tool:snap kind:req dir:c2s", "--hold-unattended", "60s"],
        &["cat"],
    )
}

#[test]
fn a_patch_changes_one_value_and_keeps_every_other_byte() {
    let data = tempfile::tempdir().unwrap();
    let data = data.path();
    let numbers = [
        ("12345678901234567890123", "12345678901234567890124"),
        ("1", "12345678901234567890124"),
        ("1", "1.10"),
        ("1", "1E400"),
        ("1", r#""\ud83d""#),
    ];
    let beside = odd().map(|(_, odd)| odd).into_iter().chain([r#"1.0, "x" : 2, "e":"\u00e9" "#.to_owned()]);
    let changes = numbers
        .into_iter()
        .map(|(old, new)| ("0".to_owned(), old, new))
        .chain(beside.map(|odd| (odd, "1", "2")));
    for (odd, old, new) in changes {
        let mut wrapped = echo(data);
        let said = |value: &str| call(&format!(r#"{{"n":{value},"x":{odd}}}"#));
        writeln!(wrapped.stdin.as_mut().unwrap(), "{}", said(old)).unwrap();
        let id = held(data);
        let patch = format!(r#"[{{"op":"replace","path":"/params/arguments/n","value":{new}}}]"#);
        let (code, error) = ctl(data, &["edit", &id, "--patch", &patch]);
        assert_eq!(code, Some(0), "{odd}: {error}");
        ctl(data, &["accept", &id]);
        assert_eq!(raw(&mut wrapped), said(new));
        wrapped.ends();
    }
}

#[test]
fn an_answer_is_sent_as_it_was_written() {
    let data = tempfile::tempdir().unwrap();
    let data = data.path();
    let spelled =
        odd().map(|(_, odd)| odd).into_iter().chain(["12345678901234567890123".into(), "1.10".into()]);
    for odd in spelled {
        let mut wrapped = echo(data);
        writeln!(wrapped.stdin.as_mut().unwrap(), "{}", call("{}")).unwrap();
        let id = held(data);
        let result = format!(r#"{{"content":[],"structuredContent":{{"n":{odd}}}}}"#);
        let file = data.join("answer.json");
        std::fs::write(&file, &result).unwrap();
        ctl(data, &["answer", &id, "--file", file.to_str().unwrap()]);
        assert_eq!(raw(&mut wrapped), format!(r#"{{"jsonrpc":"2.0","id":2,"result":{result}}}"#));
        wrapped.ends();
    }
}

#[test]
fn a_deep_message_does_not_take_the_lists_away() {
    let data = tempfile::tempdir().unwrap();
    let data = data.path();
    for depth in [118, 122, 126, 130, 1100] {
        let mut wrapped = echo(data);
        let arguments = format!(r#"{{"n":{}{}}}"#, "[".repeat(depth - 3), "]".repeat(depth - 3));
        writeln!(wrapped.stdin.as_mut().unwrap(), "{}", call(&arguments)).unwrap();
        let id = held(data);
        for command in [&["frames"][..], &["frames", "--output", "json"], &["held", "--output", "json"]] {
            let (code, text) = ctl(data, command);
            assert!(code == Some(0) && text.contains("tools/call"), "{depth} {command:?}: {text}");
        }
        let (code, text) = ctl(data, &["edit", &id, "--patch", r#"[{"op":"add","path":"/x","value":1}]"#]);
        assert_eq!(code, Some(0), "{depth}: {text}");
        ctl(data, &["accept", "--all"]);
        assert!(raw(&mut wrapped).contains("\"x\":1"));
        wrapped.ends();
    }
}

// === imports ===

#[test]
fn an_odd_entry_does_not_take_the_import_away() {
    let directory = tempfile::tempdir().unwrap();
    let har = |more: &str| {
        let body = serde_json::to_string(HELLO.lines().next().unwrap()).unwrap();
        let fine = format!(
            r#"{{"startedDateTime":"2026-01-01T00:00:00Z","time":1,"request":{{"method":"POST","url":"http://h/mcp","headers":[],"postData":{{"text":{body}}}}},"response":{{"status":200,"headers":[],"content":{{"text":""}}}}}}"#
        );
        format!(r#"{{"log":{{"version":"1.2","entries":[{fine},{more}]}}}}"#)
    };
    let inspector = |more: &str| {
        format!(
            r#"[{{"timestamp":1,"direction":"request","message":{}}},{more}]"#,
            HELLO.lines().next().unwrap()
        )
    };
    for (at, (form, text)) in odd()
        .iter()
        .map(|(_, odd)| ("har", har(&format!(r#"{{"_foreign":{odd}}}"#))))
        .chain([("har", har("null"))])
        .chain(
            [
                r#"{"timestamp":1,"direction":"request"}"#,
                r#"{"timestamp":1,"direction":1,"message":{}}"#,
                r#"{"timestamp":1E400,"direction":"request","message":{}}"#,
                r#"{"timestamp":1,"direction":"request","message":{},"duration":"5ms"}"#,
                "null",
            ]
            .map(|more| ("inspector", inspector(more))),
        )
        .enumerate()
    {
        let (from, to) =
            (directory.path().join(format!("{at}.json")), directory.path().join(format!("{at}.tape")));
        std::fs::write(&from, &text).unwrap();
        let arguments = ["import", from.to_str().unwrap(), "--format", form, "-o", to.to_str().unwrap()];
        let (code, report) = tape(directory.path(), &arguments);
        assert!(code == Some(0) && report.contains("1 messages from"), "{text}: {report}");
    }
}

// === queries ===

#[test]
fn a_filter_says_how_many_frames_it_could_not_judge() {
    let directory = tempfile::tempdir().unwrap();
    let deep = "[".repeat(1100) + &"]".repeat(1100);
    let path = record(directory.path(), "t", "cat >/dev/null", &[&call(&format!(r#"{{"n":1,"d":{deep}}}"#))]);
    for filter in ["json:$.params.arguments.n==1", "kind:req tool:snap -json:$.params.arguments.n==2"] {
        let (_, report) = tape(directory.path(), &["show", path.to_str().unwrap(), "--filter", filter]);
        assert!(report.contains("1 frame could not be judged: more than 1024 levels"), "{filter}: {report}");
    }
}
