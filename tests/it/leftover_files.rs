//! Tests of files that were left beside tapes, and of configuration entries that cannot be called.

use std::fs;
use std::path::Path;
use std::process::Output;

use serde_json::Value;

use crate::support::{run, shadowcat};

const PING: &[u8] = b"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ping\"}\n";

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

fn does(data: &Path, arguments: &[&str]) -> Output {
    let mut command = shadowcat(data);
    command.args(arguments);
    run(command, b"")
}

fn shown(data: &Path, tape: &Path, filter: &str) -> Vec<Value> {
    let output =
        does(data, &["tape", "show", tape.to_str().unwrap(), "--output", "json", "--filter", filter]);
    serde_json::from_slice::<Value>(&output.stdout).unwrap().as_array().unwrap().clone()
}

fn recorded(path: &Path) -> Output {
    let mut command = shadowcat(path.parent().unwrap());
    command.args(["forward", "stdio", "--tape", path.to_str().unwrap(), "--", "cat"]);
    run(command, PING)
}

fn wraps(file: &str, text: &str, arguments: &[&str]) -> (Option<i32>, String, String) {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join(file);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::create_dir_all(home.path().join("p")).unwrap();
    fs::write(&path, text).unwrap();
    let mut command = shadowcat(&home.path().join("data"));
    command.args(arguments).current_dir(home.path().join("p"));
    command.env("SHADOWCAT_HOME", home.path()).env_remove("XDG_CONFIG_HOME");
    let output = run(command, b"");
    (output.status.code(), said(&output), fs::read_to_string(&path).unwrap())
}

#[test]
fn the_index_of_a_deleted_tape_gives_way() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.tape");
    assert!(recorded(&path).status.success());
    fs::remove_file(&path).unwrap();
    let output = recorded(&path);
    assert_eq!(said(&output).matches("no tape").count(), 0, "{}", said(&output));
    assert_eq!(shown(directory.path(), &path, "").len(), 2);
    let index = fs::read(directory.path().join("a.tape.idx")).unwrap();
    assert!(index.len() > 24, "the new index has entries");
}

#[test]
fn a_file_that_only_has_the_name_of_an_index_stays_as_it_is() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.tape");
    let other = directory.path().join("a.tape.idx");
    fs::write(&other, "precious\n").unwrap();
    let output = recorded(&path);
    assert!(path.is_file(), "{}", said(&output));
    assert_eq!(shown(directory.path(), &path, "").len(), 2, "it is read without an index beside it");
    assert_eq!(fs::read_to_string(&other).unwrap(), "precious\n");
    fs::remove_file(&path).unwrap();
    fs::remove_file(&other).unwrap();
    fs::create_dir(&other).unwrap();
    let output = recorded(&path);
    assert!(path.is_file(), "a directory in its place: {}", said(&output));
}

#[test]
fn urls_that_cannot_be_called_are_refused_with_the_reason() {
    for (url, why) in [
        ("unix:///run/x.sock", "Unix socket"),
        ("ws://127.0.0.1:9/mcp", "WebSocket"),
        ("wss://h/mcp", "WebSocket"),
        ("", "its URL is empty"),
        ("  ", "its URL is empty"),
        ("ftp://h/", "ftp://"),
        ("localhost:3000/mcp", "write http://"),
        ("http://", "no host"),
    ] {
        for (file, text) in [
            (".cursor/mcp.json", format!(r#"{{"mcpServers":{{"a":{{"url":"{url}"}}}}}}"#)),
            (".codex/config.toml", format!("[mcp_servers.a]\nurl = \"{url}\"\n")),
        ] {
            let (code, said, after) = wraps(file, &text, &["wrap", "a", "--yes"]);
            assert_eq!(code, Some(2), "{file} {url}: {said}");
            assert!(said.contains(why), "{file} {url}: {said}");
            assert_eq!(after, text, "{file} {url}");
        }
    }
    // A variable that the client fills in may be anything.
    let (code, said, _) = wraps(
        ".cursor/mcp.json",
        r#"{"mcpServers":{"a":{"url":"${env:BASE}/mcp"}}}"#,
        &["wrap", "a", "--yes"],
    );
    assert_eq!(code, Some(0), "{said}");
}
