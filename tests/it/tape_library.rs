//! Tests of the tape library: search, names, statistics and cleaning, also by several processes at once.

use std::path::Path;
use std::process::{Output, Stdio};

use serde_json::Value;

use crate::support::{eventually, forward, run, shadowcat, tapes};

fn tape(directory: &Path, arguments: &[&str]) -> Output {
    let mut command = shadowcat(directory);
    command.arg("tape").args(arguments);
    run(command, b"")
}

fn list(directory: &Path, arguments: &[&str]) -> Vec<Value> {
    let output = tape(directory, &[&["list", "--output", "json"][..], arguments].concat());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Records a session in which `sh -c script` reads `line`.
fn record(directory: &Path, script: &str, line: &str) {
    run(forward(directory, script), format!("{line}\n").as_bytes());
}

const CALL: &str =
    r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"find","arguments":{"q":"unicorn"}}}"#;
const FAILS: &str = r#"read -r l; echo '{"jsonrpc":"2.0","id":1,"error":{"code":1,"message":"no"}}'"#;

#[test]
fn tapes_are_found_by_metadata_and_content() {
    let directory = tempfile::tempdir().unwrap();
    record(directory.path(), "cat", r#"{"jsonrpc":"2.0","method":"x"}"#);
    record(directory.path(), FAILS, CALL);
    let all = list(directory.path(), &[]);
    assert_eq!(all.len(), 2);
    let failed = list(directory.path(), &["--errors"]);
    assert_eq!(failed.len(), 1);
    assert_eq!((&failed[0]["errors"], &failed[0]["frames"]), (&1.into(), &2.into()));
    assert!(list(directory.path(), &["--transport", "http"]).is_empty());
    assert_eq!(list(directory.path(), &["--since", "1h", "--server", "test"]).len(), 2);
    assert!(list(directory.path(), &["--until", "2020-01-01"]).is_empty());
    let id = failed[0]["id"].as_str().unwrap();
    let found = tape(directory.path(), &["search", "unicorn", "--output", "json"]);
    let found: Vec<Value> = serde_json::from_slice(&found.stdout).unwrap();
    assert_eq!((found.len(), &found[0]["id"], &found[0]["found_in"]), (1, &id.into(), &Value::from(vec![2])));
    assert!(tape(directory.path(), &["name", id, "the broken one"]).status.success());
    assert!(tape(directory.path(), &["tag", id, "bug", "later", "-later"]).status.success());
    assert_eq!(list(directory.path(), &["--tag", "bug"])[0]["name"], "the broken one");
    assert!(
        tape(directory.path(), &["show", "the broken one"]).status.success(),
        "a tape is found by its name"
    );
    let stats = tape(directory.path(), &["stats", "--output", "json"]);
    let stats: Value = serde_json::from_slice(&stats.stdout).unwrap();
    assert_eq!((&stats["tapes"], &stats["calls"][0]["call"]), (&2.into(), &"tools/call find".into()));
    assert_eq!(stats["calls"][0]["errors"], 1);
    // The index is a cache: a lost or broken index changes no result.
    let before = list(directory.path(), &[]);
    std::fs::write(directory.path().join("library.db"), "rubbish").unwrap();
    assert_eq!(list(directory.path(), &[]), before);
    assert_eq!(list(directory.path(), &["--reindex"]), before);
}

#[test]
fn clean_asks_first_and_keeps_tapes_tagged_keep() {
    let directory = tempfile::tempdir().unwrap();
    for _ in 0..3 {
        record(directory.path(), "cat", CALL);
    }
    let kept = list(directory.path(), &[])[2]["id"].as_str().unwrap().to_owned();
    assert!(tape(directory.path(), &["tag", &kept, "keep"]).status.success());
    let asked = tape(directory.path(), &["clean", "--keep", "0"]);
    assert_eq!(asked.status.code(), Some(2), "without a terminal, nobody can confirm");
    assert!(tape(directory.path(), &["clean", "--keep", "0", "--dry-run"]).status.success());
    assert_eq!(list(directory.path(), &[]).len(), 3);
    assert_eq!(tape(directory.path(), &["clean"]).status.code(), Some(2), "no limit was given");
    assert!(tape(directory.path(), &["clean", "--keep", "1", "--yes"]).status.success());
    let left = list(directory.path(), &[]);
    assert!(left.len() == 2 && left.iter().any(|tape| tape["id"] == kept.as_str()), "{left:?}");
    assert!(tape(directory.path(), &["delete", &kept, "--yes"]).status.success());
    assert_eq!(list(directory.path(), &[]).len(), 1);
    let files = std::fs::read_dir(directory.path().join("tapes")).unwrap().count();
    assert_eq!(files, 2, "only the tape and its index are left");
}

#[test]
fn concurrent_recorders_and_clean_lose_no_frames() {
    let directory = tempfile::tempdir().unwrap();
    let mut recorders: Vec<_> = (0..2)
        .map(|_| {
            let script = "i=0; while [ $i -lt 3000 ]; do echo \"{\\\"jsonrpc\\\":\\\"2.0\\\",\\\"method\\\":\\\"n\\\"}\"; i=$((i+1)); done; cat";
            let mut command = forward(directory.path(), script);
            command.stdout(Stdio::null());
            command.spawn().unwrap()
        })
        .collect();
    eventually("both record", || tapes(directory.path()).len() == 2);
    for _ in 0..5 {
        let cleaned = tape(directory.path(), &["clean", "--keep", "0", "--older", "1us", "--yes"]);
        assert!(cleaned.status.success(), "{}", String::from_utf8_lossy(&cleaned.stderr));
        list(directory.path(), &[]);
    }
    let path = tapes(directory.path()).pop().unwrap();
    let refused = tape(directory.path(), &["delete", path.to_str().unwrap(), "--yes"]);
    assert_eq!(refused.status.code(), Some(2), "the tape is still being recorded");
    for recorder in &mut recorders {
        drop(recorder.stdin.take());
        recorder.wait().unwrap();
    }
    for path in tapes(directory.path()) {
        assert!(tape(directory.path(), &["validate", path.to_str().unwrap()]).status.success());
        assert_eq!(shadowcat::tape::open(&path, &mut |_, _| ()).unwrap().world.rows.len(), 3000);
    }
    assert_eq!(tapes(directory.path()).len(), 2);
}
