//! Tests of recordings that replace their server, test a server, or are compared with another recording.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::{Value, json};
use shadowcat::clock::Clock;
use shadowcat::mcp::{Direction, Message};
use shadowcat::tape::builder::TapeBuilder;
use shadowcat::tape::player::Speed;
use shadowcat::tape::replay::{Handled, How, OnMiss, StandIn, StandInOptions};
use shadowcat::tape::script::Script;
use shadowcat::tape::similarity::Ignored;

use crate::support::{program, run, shadowcat};

/// Lines of a recording: time in milliseconds, direction, message.
type Lines<'a> = &'a [(u64, Direction, Value)];

const C: Direction = Direction::ToServer;
const S: Direction = Direction::ToClient;

fn record(path: &Path, lines: Lines<'_>) {
    let begin = 1_700_000_000_000_000;
    let mut builder = TapeBuilder::new("recorded", vec!["server".into()], begin);
    for (millis, direction, message) in lines {
        builder.message_at(begin + millis * 1000, *direction, message.to_string().into_bytes());
    }
    builder.write(std::fs::File::create_new(path).unwrap()).unwrap();
}

fn script(path: &Path) -> Script {
    let tape = shadowcat::tape::open(path, &mut |_, _| ()).unwrap();
    Script::read(&tape.world, &tape.log, None)
}

fn message(value: &Value) -> Message {
    Message::parse(value.to_string().into())
}

fn call(id: u64, tool: &str, arguments: Value) -> Value {
    json!({"jsonrpc": "2.0", "id": id, "method": "tools/call", "params": {"name": tool, "arguments": arguments}})
}

fn answer(id: u64, text: &str) -> Value {
    json!({"jsonrpc": "2.0", "id": id, "result": {"content": [{"type": "text", "text": text}]}})
}

fn said(standin: &mut StandIn) -> Vec<Value> {
    standin.say().iter().map(|said| serde_json::from_slice(&said.line).unwrap()).collect()
}

fn text(value: &Value) -> &str {
    value["result"]["content"][0]["text"].as_str().unwrap_or_default()
}

#[test]
fn recorded_answers_come_in_order_with_the_new_ids() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.tape");
    record(
        &path,
        &[
            (0, C, call(1, "roll", json!({}))),
            (5, S, answer(1, "three")),
            (10, C, call(2, "roll", json!({}))),
            (15, S, answer(2, "five")),
        ],
    );
    let mut standin = StandIn::new(script(&path), StandInOptions::default(), Clock::manual(0));
    for (id, expected) in [(70, "three"), (71, "five"), (72, "five")] {
        let handled = standin.handle(&message(&call(id, "roll", json!({}))));
        assert!(matches!(handled, Handled::Answered { how: How::Exact, .. }), "{handled:?}");
        let answers = said(&mut standin);
        assert_eq!((answers[0]["id"].as_u64(), text(&answers[0])), (Some(id), expected));
    }
}

#[test]
fn replay_times_are_scaled_by_the_speed() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.tape");
    let progress = |n: u64| json!({"jsonrpc": "2.0", "method": "notifications/progress", "params": {"progressToken": "t", "progress": n}});
    let mut asked = call(1, "long", json!({}));
    asked["params"]["_meta"] = json!({"progressToken": "t"});
    record(
        &path,
        &[(0, C, asked.clone()), (100, S, progress(1)), (250, S, progress(2)), (300, S, answer(1, "done"))],
    );
    for (speed, factor) in [("1", 1.0), ("10", 0.1), ("0.1", 10.0)] {
        let clock = Clock::manual(0);
        let options =
            StandInOptions { speed: Some(speed.parse::<Speed>().unwrap()), ..StandInOptions::default() };
        let mut standin = StandIn::new(script(&path), options, clock.clone());
        let mut mine = asked.clone();
        (mine["id"], mine["params"]["_meta"]["progressToken"]) = (json!("x"), json!(99));
        standin.handle(&message(&mine));
        let mut came = Vec::new();
        while let Some(wait) = standin.wait() {
            clock.advance(wait);
            came.extend(said(&mut standin).into_iter().map(|line| (clock.now().nanos() / 1000, line)));
        }
        let times: Vec<u64> = came.iter().map(|(at, _)| *at).collect();
        let expected = [100, 250, 300].map(|millis| (f64::from(millis) * factor * 1000.0) as u64);
        assert_eq!(times, expected, "{speed}");
        assert_eq!(came[0].1["params"]["progressToken"], 99, "the progress token of the new request");
        assert_eq!(came[2].1["id"], "x");
    }
}

#[test]
fn unrecorded_call_is_refused_with_the_nearest_match() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.tape");
    record(
        &path,
        &[
            (0, C, call(1, "find", json!({"q": "rust", "n": 1}))),
            (5, S, answer(1, "crab")),
            (9, C, call(2, "find", json!({"q": "go", "n": 2}))),
            (9, S, answer(2, "gopher")),
        ],
    );
    let near = call(5, "find", json!({"q": "rust", "n": 2}));
    let mut strict = StandIn::new(script(&path), StandInOptions::default(), Clock::manual(0));
    let handled = strict.handle(&message(&near));
    assert!(matches!(handled, Handled::Missed { nearest: Some((_, How::Nearest { .. })) }), "{handled:?}");
    let refusal = said(&mut strict).remove(0);
    assert!(refusal["error"]["message"].as_str().unwrap().contains("similarity 0.67"), "{refusal}");
    let options = StandInOptions { on_miss: OnMiss::Nearest, ..StandInOptions::default() };
    let mut loose = StandIn::new(script(&path), options, Clock::manual(0));
    loose.handle(&message(&near));
    assert_eq!(text(&said(&mut loose)[0]), "crab");
    let ignored = Ignored::parse(&["$.arguments.n".to_owned()]).unwrap();
    let mut blind = StandIn::new(
        script(&path),
        StandInOptions { ignored, ..StandInOptions::default() },
        Clock::manual(0),
    );
    let handled = blind.handle(&message(&near));
    assert!(
        matches!(handled, Handled::Answered { how: How::Exact, .. }),
        "ignored arguments do not count: {handled:?}"
    );
}

#[test]
fn replay_waits_for_the_reply_to_a_server_request() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.tape");
    let ask =
        json!({"jsonrpc": "2.0", "id": "q", "method": "elicitation/create", "params": {"message": "?"}});
    let reply = json!({"jsonrpc": "2.0", "id": "q", "result": {"action": "accept"}});
    record(
        &path,
        &[(0, C, call(1, "ask", json!({}))), (1, S, ask), (50, C, reply.clone()), (51, S, answer(1, "ok"))],
    );
    let mut standin = StandIn::new(script(&path), StandInOptions::default(), Clock::manual(0));
    standin.handle(&message(&call(8, "ask", json!({}))));
    let question = said(&mut standin);
    assert_eq!(question.len(), 1, "{question:?}");
    assert!(said(&mut standin).is_empty());
    assert_eq!(standin.handle(&message(&reply)), Handled::Replied);
    assert_eq!(text(&said(&mut standin)[0]), "ok");
}

/// Records a session with the demo server in an era, and returns the path of the tape.
fn recorded(directory: &Path, era: &str) -> PathBuf {
    let path = directory.join(format!("{era}.tape"));
    let mut command = shadowcat(directory);
    command.args(["forward", "stdio", "--name", "demo", "--tape"]).arg(&path).args([
        "--",
        program(),
        "demo-server",
    ]);
    let output = run(command, said_by_client(era).as_bytes());
    assert!(path.exists(), "{}", String::from_utf8_lossy(&output.stderr));
    path
}

fn said_by_client(era: &str) -> String {
    let meta = json!({
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientInfo": {"name": "t", "version": "1"},
        "io.modelcontextprotocol/clientCapabilities": {},
    });
    let mut lines = Vec::new();
    if era == "2025" {
        lines.push(json!({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}}}));
        lines.push(json!({"jsonrpc": "2.0", "method": "notifications/initialized"}));
    } else {
        lines.push(json!({"jsonrpc": "2.0", "id": 0, "method": "server/discover", "params": {}}));
    }
    lines.push(json!({"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {}}));
    lines.push(call(2, "add", json!({"a": 40, "b": 2})));
    lines.push(call(3, "search", json!({"query": "x", "limit": "ten"})));
    if era == "2026" {
        let requests = lines.iter_mut().filter(|line| line.get("id").is_some());
        requests.for_each(|line| line["params"]["_meta"] = meta.clone());
    }
    lines.iter().map(|line| line.to_string() + "\n").collect()
}

fn tape(directory: &Path, arguments: &[&str]) -> Command {
    let mut command = shadowcat(directory);
    command.arg("tape").args(arguments);
    command
}

fn output(command: Command) -> Output {
    run(command, b"")
}

#[test]
fn replay_answers_like_the_server_in_both_eras() {
    let directory = tempfile::tempdir().unwrap();
    for era in ["2025", "2026"] {
        let path = recorded(directory.path(), era);
        let sorted = |output: &Output| {
            let text = String::from_utf8_lossy(&output.stdout).into_owned();
            let mut lines: Vec<Value> =
                text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
            lines.sort_by_key(|line| line["id"].as_u64());
            lines
        };
        let mut direct = Command::new(program());
        direct.arg("demo-server");
        let direct = sorted(&run(direct, said_by_client(era).as_bytes()));
        let replay = tape(directory.path(), &["replay", path.to_str().unwrap()]);
        let replayed = sorted(&run(replay, said_by_client(era).as_bytes()));
        assert_eq!(direct, replayed, "{era}");
        assert!(direct.len() >= 4);
    }
}

#[test]
fn tape_test_reports_drift_only_for_a_changed_server() {
    let directory = tempfile::tempdir().unwrap();
    let path = recorded(directory.path(), "2025");
    let path = path.to_str().unwrap();
    let same = output(tape(directory.path(), &["test", path, "--", program(), "demo-server"]));
    let report = String::from_utf8_lossy(&same.stdout).into_owned();
    assert_eq!(same.status.code(), Some(0), "{report}");
    assert!(report.contains("no drift"), "{report}");
    // Change one answer and one tool name of the server with sed.
    let changed = format!(
        "{} demo-server | sed -u 's/\"42\"/\"43\"/; s/\"name\":\"greet\"/\"name\":\"salute\"/'",
        program()
    );
    for (form, expected) in [
        ("text", "tools/call add: changed"),
        ("text", "tool greet: removed"),
        ("json", "\"drift\": true"),
        ("junit", "<failure message=\"changed"),
        ("sarif", "\"ruleId\": \"contract-added\""),
    ] {
        let drifted =
            output(tape(directory.path(), &["test", path, "--output", form, "--", "sh", "-c", &changed]));
        let report = String::from_utf8_lossy(&drifted.stdout).into_owned();
        assert_eq!(drifted.status.code(), Some(1), "{report}");
        assert!(report.contains(expected), "{form}: no {expected:?} in\n{report}");
    }
    let gone = output(tape(directory.path(), &["test", path, "--", "true"]));
    assert_eq!(gone.status.code(), Some(3), "a server that fails is not reported as drift");
}

#[test]
fn pass_through_asks_the_real_server_and_records_new_answers() {
    let directory = tempfile::tempdir().unwrap();
    let path = recorded(directory.path(), "2025");
    let learnt = directory.path().join("learnt.tape");
    let asks = |id: u64, a: u64| {
        said_by_client("2025") + &call(id, "add", json!({"a": a, "b": 1})).to_string() + "\n"
    };
    let mut spy =
        tape(directory.path(), &["replay", path.to_str().unwrap(), "--on-miss", "pass-through", "--learn"]);
    spy.arg(&learnt).args(["--", program(), "demo-server"]);
    let said = String::from_utf8(run(spy, asks(9, 6).as_bytes()).stdout).unwrap();
    let ninth = said.lines().find(|line| line.contains("\"id\":9")).unwrap_or_default();
    assert!(ninth.contains("\"7\""), "the real server answers the unrecorded call: {said}");
    let replay = tape(directory.path(), &["replay", learnt.to_str().unwrap()]);
    let said = String::from_utf8(run(replay, asks(11, 6).as_bytes()).stdout).unwrap();
    assert!(said.lines().any(|line| line.contains("\"id\":11") && line.contains("\"7\"")), "{said}");
    let header = std::fs::read_to_string(&learnt).unwrap().lines().next().unwrap().to_owned();
    let parent: Value = serde_json::from_str(&header).unwrap();
    let first: Value =
        serde_json::from_str(std::fs::read_to_string(&path).unwrap().lines().next().unwrap()).unwrap();
    assert_eq!(parent["parent"], first["tape"]);
}

#[test]
fn tape_diff_compares_contract_and_results() {
    let directory = tempfile::tempdir().unwrap();
    let (a, b) = (directory.path().join("a.tape"), directory.path().join("b.tape"));
    let list = |destructive: bool| json!({"jsonrpc": "2.0", "id": 1, "result": {"tools": [{"name": "rm", "annotations": {"destructiveHint": destructive}}]}});
    let ask = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/list"});
    record(
        &a,
        &[
            (0, C, ask.clone()),
            (1, S, list(false)),
            (2, C, call(2, "rm", json!({"p": 1}))),
            (3, S, answer(2, "at 2026-01-01T00:00:00Z")),
        ],
    );
    record(
        &b,
        &[
            (0, C, ask),
            (1, S, list(true)),
            (2, C, call(7, "rm", json!({"p": 1}))),
            (9, S, answer(7, "at 2026-02-02T00:00:01Z")),
        ],
    );
    let diff = output(tape(directory.path(), &["diff", a.to_str().unwrap(), b.to_str().unwrap()]));
    let report = String::from_utf8_lossy(&diff.stdout).into_owned();
    assert_eq!(diff.status.code(), Some(1), "{report}");
    assert!(report.contains("changed its safety annotations"), "{report}");
    assert!(
        report.contains("$.result.content[0].text (time)"),
        "a changed time does not count as a difference: {report}"
    );
    let ignored =
        ["diff", a.to_str().unwrap(), b.to_str().unwrap(), "--ignore", "$.result.tools[*].annotations"];
    assert_eq!(output(tape(directory.path(), &ignored)).status.code(), Some(0));
}

#[test]
fn tape_play_prints_the_recording() {
    let directory = tempfile::tempdir().unwrap();
    let path = recorded(directory.path(), "2025");
    let played = output(tape(directory.path(), &["play", path.to_str().unwrap(), "--speed", "max"]));
    let text = String::from_utf8(played.stdout).unwrap();
    assert!(text.lines().count() >= 8, "{text}");
    let wrong = output(tape(directory.path(), &["play", path.to_str().unwrap(), "--speed", "fast"]));
    assert_eq!(wrong.status.code(), Some(2));
}
