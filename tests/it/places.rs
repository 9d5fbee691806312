//! Directories of the user: writers follow the XDG variables (XDG Base Directory Specification).

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::support::{eventually, program, run};

/// Returns the program with every XDG variable in `place`, and the data directory not named.
fn with_xdg(place: &Path) -> Command {
    let mut command = Command::new(program());
    command.env_remove("SHADOWCAT_DATA_DIR").env_remove("SHADOWCAT_HOME");
    for name in ["DATA_HOME", "CONFIG_HOME", "STATE_HOME", "RUNTIME_DIR"] {
        let directory = place.join(name);
        fs::create_dir_all(&directory).unwrap();
        fs::set_permissions(&directory, fs::Permissions::from_mode(0o700)).unwrap();
        command.env(format!("XDG_{name}"), directory);
    }
    command
}

#[test]
fn engine_writes_where_the_variables_say_and_readers_find_it() {
    let place = tempfile::tempdir().unwrap();
    let mut engine = with_xdg(place.path());
    engine.args(["forward", "stdio", "--name", "placed", "--", "cat"]);
    let mut engine = engine.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    eventually("its session is found", || {
        let mut sessions = with_xdg(place.path());
        sessions.args(["ctl", "sessions", "--output", "json"]);
        String::from_utf8_lossy(&run(sessions, b"").stdout).contains("placed")
    });
    let files = |below: &str| fs::read_dir(place.path().join(below)).unwrap().count();
    assert_eq!(files("RUNTIME_DIR/shadowcat"), 1, "the socket");
    drop(engine.stdin.take());
    engine.wait().unwrap();
    assert_eq!(files("DATA_HOME/shadowcat/tapes"), 2, "a tape and its index");
    let mut list = with_xdg(place.path());
    list.args(["tape", "list", "--output", "json"]);
    assert!(String::from_utf8_lossy(&run(list, b"").stdout).contains("placed"));
}

#[test]
fn relative_variables_are_ignored() {
    let place = tempfile::tempdir().unwrap();
    let mut engine = with_xdg(place.path());
    engine.env("XDG_RUNTIME_DIR", "relative").current_dir(place.path());
    engine.args(["forward", "stdio", "--no-tape", "--name", "relative", "--", "cat"]);
    let output = run(engine, b"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ping\"}\n");
    assert!(output.status.success(), "{output:?}");
    assert!(!place.path().join("relative").exists());
}
