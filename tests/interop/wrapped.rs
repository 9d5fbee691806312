//! Tests of real clients whose configuration is wrapped: another process holds, edits and releases
//! their messages, and their results show the edit.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};

use super::pty_terminal::Terminal;
use super::support::{eventually, program, shadowcat};
use super::{client, peers, run, server};

/// Home directory with a configuration of Claude Desktop in which a server is wrapped.
struct Home(tempfile::TempDir);

impl Home {
    fn new() -> Self {
        let home = Self(tempfile::tempdir().unwrap());
        let words = server("everything", home.0.path());
        let environment = json!({
            "SHADOWCAT_DATA_DIR": home.data(),
            "XDG_CONFIG_HOME": home.0.path().join(".config"),
            "PATH": std::env::var("PATH").unwrap(),
        });
        let entry = json!({ "command": words[0], "args": words[1..], "env": environment });
        let text = serde_json::to_string_pretty(&json!({ "mcpServers": { "everything": entry } })).unwrap();
        std::fs::create_dir_all(home.file().parent().unwrap()).unwrap();
        std::fs::create_dir_all(home.data()).unwrap();
        std::fs::write(home.file(), text).unwrap();
        // Hold the first call even if no controller is attached yet.
        let config = home.0.path().join(".config/shadowcat");
        std::fs::create_dir_all(&config).unwrap();
        let breaks = "break = [\"tool:echo kind:req\"]\nhold_unattended = \"1m\"\n";
        std::fs::write(config.join("config.toml"), breaks).unwrap();
        let mut wrap = shadowcat(&home.data());
        wrap.args(["wrap", "everything", "--client", "claude-desktop", "--yes"]);
        wrap.env("SHADOWCAT_HOME", home.0.path()).env_remove("XDG_CONFIG_HOME").stdin(Stdio::null());
        assert!(wrap.output().unwrap().status.success());
        home
    }

    fn data(&self) -> PathBuf {
        self.0.path().join("data")
    }

    fn file(&self) -> PathBuf {
        self.0.path().join(".config/Claude/claude_desktop_config.json")
    }

    /// Returns the configuration entry of the server.
    fn entry(&self) -> Value {
        let text = std::fs::read_to_string(self.file()).unwrap();
        serde_json::from_str::<Value>(&text).unwrap()["mcpServers"]["everything"].clone()
    }
}

/// Starts a client without a terminal, as a desktop application runs.
fn alone(words: &[String], environment: &Value) -> Child {
    let mut command = Command::new("setsid");
    command.args(words).current_dir(peers());
    for (name, value) in environment.as_object().unwrap() {
        command.env(name, value.as_str().unwrap());
    }
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap()
}

fn result(child: Child) -> String {
    let output = child.wait_with_output().unwrap();
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn inspector_result_shows_the_edit_of_a_user() {
    let home = Home::new();
    let mut terminal = Terminal::open(&home.data(), &["tui"]);
    terminal.shows("Nothing is running yet");
    let inspector = [
        peers().join("node_modules/.bin/node").display().to_string(),
        peers().join("node_modules/.bin/mcp-inspector").display().to_string(),
        "--cli".into(),
        "--config".into(),
        home.file().display().to_string(),
    ];
    let call = [
        "--server",
        "everything",
        "--method",
        "tools/call",
        "--tool-name",
        "echo",
        "--tool-arg",
        "message=Bern",
    ];
    let words: Vec<String> = inspector.into_iter().chain(call.map(str::to_owned)).collect();
    let child = alone(&words, &json!({ "HOME": home.0.path() }));
    terminal.shows("Intercept●1");
    terminal.press("3");
    terminal.shows("Bern");
    terminal.press("E");
    terminal.shows("Basel");
    terminal.press("\x13");
    let said = result(child);
    assert!(said.contains("Echo: Basel"), "{said}");
    terminal.press("q");
    assert!(terminal.child.wait().unwrap().success());
}

fn edited_by_a_script(client_name: &str, era: &str) {
    let home = Home::new();
    let entry = home.entry();
    let mut words = client(client_name);
    words.extend([era.to_owned(), entry["command"].as_str().unwrap().to_owned()]);
    words.extend(entry["args"].as_array().unwrap().iter().map(|word| word.as_str().unwrap().to_owned()));
    // SDKs start a server with a trimmed environment, so set the variables of the configuration with env(1).
    let environment = entry["env"].as_object().unwrap();
    let set: Vec<String> = environment.iter().map(|(k, v)| format!("{k}={}", v.as_str().unwrap())).collect();
    let at = client(client_name).len() + 1;
    words.splice(at..at, std::iter::once("env".to_owned()).chain(set));
    let child = alone(&words, &json!({}));
    let ctl = |arguments: &[&str]| {
        let mut command = shadowcat(&home.data());
        command.arg("ctl").args(arguments).stdin(Stdio::null());
        let output = command.output().unwrap();
        (output.status.success(), String::from_utf8(output.stdout).unwrap())
    };
    let mut id = String::new();
    eventually("the call is held", || {
        let held: Value = serde_json::from_str(&ctl(&["held", "--output", "json"]).1).unwrap();
        id = held[0]["id"].to_string();
        held[0]["target"] == "echo"
    });
    let patch = r#"[{"op":"replace","path":"/params/arguments/message","value":"EDITED"}]"#;
    assert!(ctl(&["edit", &id, "--patch", patch]).0 && ctl(&["accept", &id]).0);
    let said = result(child);
    assert!(said.contains("Echo: EDITED"), "{client_name} {era}: {said}");
}

#[test]
fn sdk_client_results_show_the_edits_of_a_script() {
    edited_by_a_script("ts1", "2025");
    edited_by_a_script("py", "2025");
    edited_by_a_script("ts2", "2025");
}

#[test]
fn unwrap_restores_the_original_command() {
    let home = Home::new();
    let wrapped = std::fs::read_to_string(home.file()).unwrap();
    assert!(wrapped.contains("forward"));
    let mut unwrap = shadowcat(&home.data());
    unwrap.args(["unwrap", "everything", "--yes"]).env("SHADOWCAT_HOME", home.0.path());
    assert!(unwrap.env_remove("XDG_CONFIG_HOME").stdin(Stdio::null()).output().unwrap().status.success());
    assert_eq!(home.entry()["command"], server("everything", Path::new("/"))[0].as_str());
}

/// Clients of several SDKs that share a process launched by a screen see what each of them sees of
/// a process of its own.
#[test]
fn sdk_clients_share_a_server_that_a_screen_launched() {
    // In the 2025 era, the server sends its requests only to a single waiting client and counts
    // their ids, so run one client at a time.
    let (all, share) = (&["py", "ts2", "py"][..], Some("--share"));
    for (era, share, names) in [("2026", None, all), ("2025", share, &["py"]), ("2025", share, &["ts2"])] {
        let data = tempfile::tempdir().unwrap();
        let words = server("ts2", data.path());
        let launch = ["tui", "--name", "shared", "--era", era, "--"].map(str::to_owned);
        let launch: Vec<String> = launch.into_iter().chain(words.clone()).collect();
        let mut terminal =
            Terminal::open(data.path(), &launch.iter().map(String::as_str).collect::<Vec<_>>());
        terminal.shows("tools/list");
        let hop =
            ["env", &format!("SHADOWCAT_DATA_DIR={}", data.path().display()), program(), "attach", "shared"]
                .map(str::to_owned);
        let hop: Vec<String> = hop.into_iter().chain(share.map(str::to_owned)).collect();
        let see = |name: &str, server: &[String]| {
            let words = [client(name), vec![era.into()], server.to_vec()].concat();
            let output = run(&words);
            let said = String::from_utf8(output.stdout).unwrap();
            assert!(said.contains("calls"), "{words:?}: {said}{}", String::from_utf8_lossy(&output.stderr));
            said
        };
        std::thread::scope(|scope| {
            let at_once = |name: &'static str| {
                let (see, hop) = (&see, &hop);
                scope.spawn(move || see(name, hop))
            };
            let shared: Vec<_> = names.iter().map(|name| at_once(name)).collect();
            for (name, shared) in names.iter().zip(shared) {
                assert_eq!(shared.join().unwrap(), see(name, &words), "{name} in {era}");
            }
        });
        assert_eq!(terminal.children().len(), 1, "one process for all of them");
        terminal.press("q");
        assert!(terminal.ends().success());
    }
}
