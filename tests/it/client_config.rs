//! Tests of wrapping and unwrapping servers in the configuration files of real clients.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Output;

use serde_json::Value;

use crate::support::{program, run, shadowcat};

/// Temporary home directory, with the data directory of shadowcat in it.
struct Home(tempfile::TempDir);

impl Home {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        path
    }

    fn run(&self, arguments: &[&str]) -> Output {
        let mut command = shadowcat(&self.path("data"));
        fs::create_dir_all(self.path("project")).unwrap();
        command.args(arguments).current_dir(self.path("project"));
        command.env("SHADOWCAT_HOME", self.0.path()).env_remove("XDG_CONFIG_HOME");
        run(command, b"")
    }

    fn run_ok(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{arguments:?}: {said}");
        said
    }
}

/// Returns configuration files as real clients write them, each with a server called `files`.
fn fixtures() -> Vec<(&'static str, String)> {
    let plain = r#"{
  "mcpServers": {
    "files": {
      "command": "npx",
      "args": ["-y", "@modelcontextprotocol/server-filesystem", "/tmp"],
      "env": { "TOKEN": "s3cret" }
    },
    "other": { "command": "uvx", "args": ["mcp-server-time"] }
  }
}
"#;
    let odd = "// my servers\n{\"servers\" :\n{ \"files\":{\"type\":\"stdio\" , /* here */ \"command\":\"node\"\n\t,\"args\":[\n\t\t\"server.js\", // the file\n\t\t\"--größe=ü\",\n\t],},}, }\n";
    vec![
        (".config/Claude/claude_desktop_config.json", plain.to_owned()),
        (
            ".claude.json",
            "{\"numStartups\":7,\"projects\":{\"/a b\":{\"mcpServers\":{\"files\":{\"type\":\"stdio\",\"command\":\"x\",\"args\":[],\"env\":{}}}}},\"mcpServers\":{}}".to_owned(),
        ),
        ("project/.mcp.json", plain.replace('\n', "\r\n")),
        (".cursor/mcp.json", format!("\u{feff}{plain}")),
        (".config/Code/User/mcp.json", odd.to_owned()),
        (".codeium/windsurf/mcp_config.json", plain.replace("  ", "\t")),
        (".gemini/settings.json", "{\n  \"theme\": \"dark\",\n  \"mcpServers\": {\n    \"files\": {\n      \"command\": \"run me\"\n    }\n  }\n}".to_owned()),
        (
            ".codex/config.toml",
            "# codex\nmodel = \"x\"\n\n[mcp_servers.files]  # mine\nargs = [\n  \"a\",  # first\n  'b',\n]\ncommand = \"npx\"\nenv = { A = \"b\" }\n\n[other]\nx = 1\n".to_owned(),
        ),
        (
            ".config/zed/settings.json",
            "{\n  // zed\n  \"context_servers\": {\n    \"files\": {\n      \"source\": \"custom\",\n      \"command\": {\n        \"path\": \"zed-server\",\n        \"args\": [],\n      },\n    },\n  },\n}\n".to_owned(),
        ),
    ]
}

#[test]
fn unwrap_restores_the_file_byte_for_byte() {
    for (name, text) in fixtures() {
        let home = Home::new();
        let path = home.write(name, &text);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        home.run_ok(&["wrap", "files", "--yes"]);
        let wrapped = fs::read_to_string(&path).unwrap();
        assert!(wrapped.contains(program()) && wrapped.contains("\"forward\""), "{name}:\n{wrapped}");
        let status: Value =
            serde_json::from_slice(&home.run(&["wrap", "--status", "--output", "json"]).stdout).unwrap();
        let files = |status: &Value| {
            status.as_array().unwrap().iter().find(|row| row["server"] == "files").cloned().unwrap()
        };
        assert_eq!(files(&status)["wrapped"], true, "{name}:\n{wrapped}");
        // Wrapping a second time changes nothing.
        home.run_ok(&["wrap", "files", "--yes"]);
        assert_eq!(fs::read_to_string(&path).unwrap(), wrapped, "{name}");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o640, "{name}");
        home.run_ok(&["unwrap", "files", "--yes"]);
        assert_eq!(fs::read_to_string(&path).unwrap(), text, "{name}");
        let again = home.run(&["unwrap", "files", "--yes"]);
        assert!(again.status.success(), "{name}");
        assert_eq!(fs::read_to_string(&path).unwrap(), text, "{name}");
    }
}

#[test]
fn wrapped_entry_runs_the_original_command() {
    let home = Home::new();
    let path = home.write(
        ".cursor/mcp.json",
        "{\"mcpServers\":{\"say\":{\"command\":\"echo\",\"args\":[\"a b\",\"--c\"],\"disabled\":false}}}",
    );
    home.run_ok(&["wrap", "say", "--yes"]);
    let wrapped: Value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
    let say = &wrapped["mcpServers"]["say"];
    assert_eq!(say["disabled"], false, "settings that are not ours stay");
    let mut command = std::process::Command::new(say["command"].as_str().unwrap());
    command.args(say["args"].as_array().unwrap().iter().map(|word| word.as_str().unwrap()));
    command.env("SHADOWCAT_DATA_DIR", home.path("data"));
    let output = run(command, b"");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "a b --c\n");
}

#[test]
fn http_entry_is_wrapped_and_oauth_entry_is_refused() {
    let home = Home::new();
    let text = "{\n  \"mcpServers\": {\n    \"web\": {\n      \"type\": \"http\",\n      \"url\": \"https://mcp.example/mcp\",\n      \"headers\": { \"Authorization\": \"Bearer abc\" },\n      \"timeout\": 60\n    },\n    \"login\": { \"url\": \"https://x.example\", \"oauth\": { \"clientId\": \"1\" } }\n  }\n}\n";
    let path = home.write(".gemini/settings.json", text);
    home.run_ok(&["wrap", "web", "--yes"]);
    let wrapped: Value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
    let web = &wrapped["mcpServers"]["web"];
    let words: Vec<&str> =
        web["args"].as_array().unwrap().iter().map(|word| word.as_str().unwrap()).collect();
    // A client may not pass our environment on, so the arguments name the data directory.
    assert_eq!(words[..2], ["--data-dir", home.path("data").to_str().unwrap()]);
    assert_eq!(words[2..], ["forward", "stdio", "--name", "web", "--upstream", "https://mcp.example/mcp"]);
    assert_eq!(web["env"]["SHADOWCAT_HEADERS"], "Authorization: Bearer abc");
    assert_eq!((&web["timeout"], &web["url"]), (&Value::from(60), &Value::Null));
    let refused = home.run(&["wrap", "login", "--yes"]);
    assert_eq!(refused.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("oauth"), "the reason is named");
    home.run_ok(&["unwrap", "--all", "--yes"]);
    assert_eq!(fs::read_to_string(&path).unwrap(), text);
    let toml = "[mcp_servers.web]\nurl = \"https://x.example/mcp\" # here\nenabled = true\n";
    let path = home.write(".codex/config.toml", toml);
    home.run_ok(&["wrap", "web", "--client", "codex", "--yes"]);
    let wrapped = fs::read_to_string(&path).unwrap();
    assert!(
        wrapped.contains("\"--upstream\", \"https://x.example/mcp\"]") && wrapped.contains("enabled = true"),
        "{wrapped}"
    );
    home.run_ok(&["unwrap", "web", "--client", "codex", "--yes"]);
    assert_eq!(fs::read_to_string(&path).unwrap(), toml);
}

#[test]
fn unwrap_keeps_later_changes() {
    let home = Home::new();
    let path = home.write(
        ".cursor/mcp.json",
        "{\"mcpServers\":{\"a\":{\"command\":\"x\",\"args\":[\"1\"]},\"b\":{\"command\":\"y\"}}}",
    );
    home.run_ok(&["wrap", "--all", "--yes"]);
    // Add a server, and an argument to a wrapped server.
    let wrapped = fs::read_to_string(&path).unwrap();
    let edited = wrapped
        .replace("\"1\"]", "\"1\", \"2\"]")
        .replace("\"mcpServers\":{", "\"mcpServers\":{\"new\":{\"command\":\"z\"},");
    fs::write(&path, edited).unwrap();
    home.run_ok(&["unwrap", "--all", "--yes"]);
    let now: Value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
    let expected: Value = serde_json::from_str("{\"mcpServers\":{\"new\":{\"command\":\"z\"},\"a\":{\"command\":\"x\",\"args\":[\"1\",\"2\"]},\"b\":{\"command\":\"y\"}}}").unwrap();
    assert_eq!(now, expected);
    // Unwrapping keeps the changes without the stored original as well.
    home.run_ok(&["wrap", "a", "--yes"]);
    fs::remove_dir_all(home.path("data/wrapped")).unwrap();
    home.run_ok(&["unwrap", "a", "--yes"]);
    let now: Value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
    assert_eq!(now, expected);
}

#[test]
fn unchangeable_file_is_left_alone() {
    let home = Home::new();
    let broken = "{\n  \"mcpServers\": {\n    \"a\": { \"command\" \"x\" }\n  }\n}";
    let path = home.write(".cursor/mcp.json", broken);
    let refused = home.run(&["wrap", "a", "--yes"]);
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(2));
    assert!(said.contains("mcp.json:3:22"), "line and column: {said}");
    assert_eq!(fs::read_to_string(&path).unwrap(), broken);
    fs::remove_file(&path).unwrap();
    // Standard input is not a terminal, so nobody can confirm the change.
    let fine = "{\"mcpServers\":{\"a\":{\"command\":\"x\"}}}";
    let path = home.write(".cursor/mcp.json", fine);
    assert_eq!(home.run(&["wrap", "a"]).status.code(), Some(2));
    let dry = home.run(&["wrap", "a", "--dry-run"]);
    assert!(dry.status.success() && String::from_utf8_lossy(&dry.stdout).contains("+ "));
    fs::set_permissions(&path, fs::Permissions::from_mode(0o444)).unwrap();
    let refused = home.run(&["wrap", "a", "--yes"]);
    assert_eq!(refused.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("read-only"));
    assert_eq!(fs::read_to_string(&path).unwrap(), fine);
    let refused = home.run(&["wrap", "nobody", "--yes"]);
    assert!(String::from_utf8_lossy(&refused.stderr).contains("known servers: a"));
    assert_eq!(home.run(&["wrap", "a", "--client", "emacs"]).status.code(), Some(2));
}

#[test]
fn symlink_stays_and_the_original_is_backed_up() {
    let home = Home::new();
    let text = "{\"mcpServers\":{\"a\":{\"command\":\"x\"}}}";
    let real = home.write("dotfiles/mcp.json", text);
    fs::create_dir_all(home.path(".cursor")).unwrap();
    std::os::unix::fs::symlink(&real, home.path(".cursor/mcp.json")).unwrap();
    home.run_ok(&["wrap", "a", "--yes"]);
    assert!(home.path(".cursor/mcp.json").is_symlink());
    assert!(fs::read_to_string(&real).unwrap().contains("forward"));
    let kept: Vec<PathBuf> =
        fs::read_dir(home.path("data/wrapped")).unwrap().map(|entry| entry.unwrap().path()).collect();
    let first = kept.iter().find(|path| path.extension().is_some_and(|ending| ending == "first")).unwrap();
    assert_eq!(fs::read_to_string(first).unwrap(), text);
    let private = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o077 == 0;
    assert!(kept.iter().all(|path| private(path)), "copies of settings may contain secrets");
}

#[test]
fn unusual_syntax_is_wrapped_reversibly_or_refused() {
    let json = [
        // The last member ends the object on its own line.
        "{\"mcpServers\": {\n  \"a\": {\"url\": \"https://x.example/mcp\",\n    \"timeout\": 1 }}}",
        // A name that looks like an option.
        "{\"mcpServers\": {\"-a\": {\"command\": \"x\", \"args\": [\"y\",]}}}",
        "{\"mcpServers\": {\"a\": {\"command\": \"x\"}, \"a\": {\"command\": \"y\"}}}",
        "{\"mcpServers\": {'a': {command: \"x\"}}}",
        "{\"mcpServers\": {\"a\": {\"type\": \"sse\", \"url\": \"https://x.example/sse\"}}}",
        "{\"mcpServers\": {\"a\": {\"url\": \"https://x.example/sse\", \"httpUrl\": \"https://x.example\"}}}",
    ];
    let toml = [
        "mcp_servers.a.command = \"x\"\nmcp_servers.b.command = \"y\"\n",
        "[mcp_servers]\na = { url = \"https://x.example\", enabled = true }\nb.url = \"https://y.example\"\n",
        "[mcp_servers.\"a b\"]\ncommand = '''x'''\nargs = [ ]\n",
    ];
    let files = json.iter().map(|text| (".cursor/mcp.json", *text));
    for (name, text) in files.chain(toml.iter().map(|text| (".codex/config.toml", *text))) {
        let home = Home::new();
        let path = home.write(name, text);
        let outcome = home.run(&["wrap", "--all", "--yes"]);
        let said = String::from_utf8_lossy(&outcome.stderr).into_owned();
        let made = fs::read_to_string(&path).unwrap();
        if outcome.status.success() {
            assert_ne!(made, text, "{said}");
            let listed = home.run(&["wrap", "--status", "--output", "json"]);
            let rows: Vec<Value> = serde_json::from_slice(&listed.stdout).unwrap();
            assert!(rows.iter().any(|row| row["wrapped"] == true), "{text}: {rows:?}");
            home.run_ok(&["unwrap", "--all", "--yes"]);
        } else {
            assert_eq!(outcome.status.code(), Some(2), "{text}: {said}");
        }
        assert_eq!(fs::read_to_string(&path).unwrap(), text, "{said}");
    }
    // A list with a trailing comma, without the stored original.
    let home = Home::new();
    let path = home.write(".cursor/mcp.json", json[1]);
    home.run_ok(&["wrap", "--all", "--yes"]);
    fs::remove_dir_all(home.path("data/wrapped")).unwrap();
    let made = fs::read_to_string(&path).unwrap().replace("\"y\",", "");
    fs::write(&path, made).unwrap();
    home.run_ok(&["unwrap", "--all", "--yes"]);
    let now = fs::read_to_string(&path).unwrap();
    assert!(!now.contains("forward") && now.contains("\"command\": \"x\""), "{now}");
}
