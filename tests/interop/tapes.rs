//! Tests with recordings of real servers: `tape test` with the same and other servers, replay to
//! real clients, and the HTML page in a real browser.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;

use super::{client, peers, run, server, through};

/// Records a client and a server, and returns what the client saw and the tape.
fn recorded(data: &Path, client_name: &str, server_name: &str, era: &str) -> (Value, PathBuf) {
    let memory = tempfile::tempdir().unwrap();
    let words =
        [client(client_name), vec![era.into()], through(data), server(server_name, memory.path())].concat();
    let output = run(&words);
    let saw = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{words:?}: {error}\n{}", String::from_utf8_lossy(&output.stderr)));
    let tapes = std::fs::read_dir(data.join("tapes")).unwrap().map(|entry| entry.unwrap().path());
    // A client may probe the server in a session of its own first, so take the longest tape.
    let tape = tapes.filter(|path| path.extension().is_some_and(|ending| ending == "tape"));
    (saw, tape.max_by_key(|path| path.metadata().unwrap().len()).unwrap())
}

fn shadowcat(data: &Path, arguments: &[&str], more: &[String]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_shadowcat"));
    command.args(arguments).args(more).current_dir(peers()).env("SHADOWCAT_DATA_DIR", data);
    command.stdin(Stdio::null()).output().unwrap()
}

#[test]
fn tape_test_finds_no_drift_in_unchanged_servers() {
    for (client_name, server_name, era) in [
        ("ts1", "everything", "2025"),
        ("ts1", "filesystem", "2025"),
        ("ts1", "memory", "2025"),
        ("py", "git", "2025"),
        ("ts2", "ts2", "2026"),
    ] {
        let data = tempfile::tempdir().unwrap();
        let (_, tape) = recorded(data.path(), client_name, server_name, era);
        let memory = tempfile::tempdir().unwrap();
        let same = server(server_name, memory.path());
        let output = shadowcat(data.path(), &["tape", "test", tape.to_str().unwrap(), "--"], &same);
        let report = String::from_utf8_lossy(&output.stdout).into_owned();
        assert_eq!(output.status.code(), Some(0), "{server_name}: {report}");
        assert!(!report.contains(" 0 calls"), "{report}");
    }
}

#[test]
fn tape_test_names_the_drift_of_a_changed_server() {
    let data = tempfile::tempdir().unwrap();
    let (_, tape) = recorded(data.path(), "ts1", "filesystem", "2025");
    let tape = tape.to_str().unwrap();
    // Replace the data of the server.
    let other = tempfile::tempdir().unwrap();
    std::fs::write(other.path().join("hello.txt"), "changed").unwrap();
    let mut words = server("filesystem", data.path());
    *words.last_mut().unwrap() = other.path().display().to_string();
    let output = shadowcat(data.path(), &["tape", "test", tape, "--"], &words);
    let report = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(1), "{report}");
    assert!(report.contains("tools/call list_allowed_directories: changed"), "{report}");
    // A different server.
    let output = shadowcat(
        data.path(),
        &["tape", "test", tape, "--output", "json", "--"],
        &server("time", data.path()),
    );
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let change = |name: &str, what: &str| {
        report["contract"]
            .as_array()
            .unwrap()
            .iter()
            .any(|change| change["name"] == name && change["change"] == what)
    };
    assert!(change("read_text_file", "removed") && change("get_current_time", "added"), "{report:#}");
}

/// Checks that a client sees from a tape what it saw from the recorded server.
fn replayed(client_name: &str, server_name: &str, era: &str) {
    let data = tempfile::tempdir().unwrap();
    let (mut saw, tape) = recorded(data.path(), client_name, server_name, era);
    // The call plans of the clients use the last argument of the server command, so pass it to the shell.
    let last = server(server_name, data.path()).pop().unwrap();
    let replay = format!("exec {} tape replay {} --speed 1", env!("CARGO_BIN_EXE_shadowcat"), tape.display());
    let stand_in = ["sh", "-c", &replay, "sh", &last].map(str::to_owned).to_vec();
    let words = [client(client_name), vec![era.into()], stand_in].concat();
    let output = run(&words);
    let mut sees: Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{words:?}: {error}\n{}", String::from_utf8_lossy(&output.stderr)));
    if era == "2026" {
        // The discovery request went to another process and is not on this tape, so the stand-in
        // derives its answer from the recording.
        for seen in [&mut saw, &mut sees] {
            seen["capabilities"] = Value::Null;
            seen.as_object_mut().unwrap().remove("instructions");
        }
    }
    assert_eq!(saw, sees, "{client_name} and {server_name} in {era}");
}

#[test]
fn clients_see_the_same_from_a_replayed_tape() {
    replayed("ts1", "everything", "2025");
    replayed("ts1", "memory", "2025");
    replayed("py", "git", "2025");
    replayed("ts2", "ts2", "2026");
}

#[test]
fn html_page_works_in_a_browser_offline() {
    let data = tempfile::tempdir().unwrap();
    let (_, tape) = recorded(data.path(), "ts1", "everything", "2025");
    let page = data.path().join("page.html");
    let export = ["tape", "export", tape.to_str().unwrap(), "--format", "html", "-o", page.to_str().unwrap()];
    assert!(shadowcat(data.path(), &export, &[]).status.success());
    let words = ["node", "page.mjs", page.to_str().unwrap(), "echo"].map(str::to_owned);
    let output = run(&words);
    let saw: Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}\n{}", String::from_utf8_lossy(&output.stderr)));
    assert_eq!((&saw["console"], &saw["requests"]), (&Value::Array(vec![]), &Value::Array(vec![])), "{saw}");
    let number = |key: &str| saw[key].as_u64().unwrap();
    assert!(number("found") > 0 && number("found") < number("rows") && number("marked") > 0, "search: {saw}");
    assert!(number("open") > 0 && number("folded") == 0, "folding: {saw}");
    assert_ne!(saw["before"], saw["after"], "stepping: {saw}");
    let played = saw["played"].as_str().unwrap();
    let (place, count) = played.rsplit_once(' ').unwrap().1.split_once('/').unwrap();
    assert_eq!(place, count, "playing to the end: {saw}");
    assert_eq!(saw["drawn"], true);
}
