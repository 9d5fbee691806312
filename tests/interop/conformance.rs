//! Tests with the official conformance suite, directly and through shadowcat: the results must be equal.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::peers;

/// Process that is killed at the end of its test.
pub struct Running(pub Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts a server and returns the URL in the first line that it prints, behind the prefix `said`.
pub fn start(command: &mut Command, said: &str) -> (Running, String) {
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    // Fixture servers print only their URL, to stdout; shadowcat prints its line to stderr.
    let mut output: Box<dyn BufRead + Send> = match said.is_empty() {
        true => Box::new(BufReader::new(child.stdout.take().unwrap())),
        false => Box::new(BufReader::new(child.stderr.take().unwrap())),
    };
    output.read_line(&mut line).unwrap();
    // A full pipe would block the process, so drain it.
    std::thread::spawn(move || std::io::copy(&mut output, &mut std::io::sink()));
    let url = line.trim().strip_prefix(said).unwrap_or_else(|| panic!("{line}")).to_owned();
    (Running(child), url)
}

/// Returns the path of an example binary.
pub fn example(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_BIN_EXE_shadowcat")).parent().unwrap().join("examples").join(name);
    assert!(path.is_file(), "run `cargo build --examples` first");
    path
}

fn suite(words: &[&str], out: &Path) -> String {
    let peers = peers();
    let modules = peers.join("node_modules");
    let mut command = Command::new(modules.join(".bin/node"));
    command
        .arg(modules.join("@modelcontextprotocol/conformance/dist/index.js"))
        .args(words)
        .arg("-o")
        .arg(out);
    let output = command.current_dir(peers).output().unwrap();
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Number of results by scenario, check and status.
type Checks = BTreeMap<(String, String, String), usize>;

fn checks(out: &Path) -> Checks {
    fn collect(directory: &Path, checks: &mut Checks) {
        for entry in std::fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                collect(&path, checks);
            } else if path.ends_with("checks.json") {
                // The directory's name ends with a time stamp.
                let name = directory.file_name().unwrap().to_string_lossy().into_owned();
                let scenario = name.split("-20").next().unwrap_or(&name).to_owned();
                let list: Vec<serde_json::Value> =
                    serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
                for check in list.iter().filter(|check| check["status"] != "INFO") {
                    let text = |key: &str| check[key].as_str().unwrap_or_default().to_owned();
                    *checks.entry((scenario.clone(), text("id"), text("status"))).or_default() += 1;
                }
            }
        }
    }
    let mut all = Checks::new();
    collect(out, &mut all);
    all
}

fn passed(checks: &Checks) -> usize {
    checks.iter().filter(|((_, _, status), _)| status == "SUCCESS").map(|(_, count)| count).sum()
}

/// Check for which the suite waits only a moment: on a busy machine it warns even without shadowcat
/// in between.
const HASTY: &str = "sep-2575-server-sends-tools-list-changed-on-subscription";

/// Runs the suite on the server at `url`, and returns its output and checks. The suite runs again,
/// up to five times in all, if the hasty check gave up.
fn judged(url: &str, revision: &str, out: &Path) -> (String, Checks) {
    let mut tries = (1..=5).map(|number| {
        let out = out.join(number.to_string());
        let said = suite(&["server", "--url", url, "--requirements", revision], &out);
        (said, checks(&out))
    });
    let hasty = |checks: &Checks| checks.keys().any(|(_, id, status)| id == HASTY && status == "WARNING");
    let mut last = tries.next().unwrap();
    while hasty(&last.1) {
        match tries.next() {
            Some(next) => last = next,
            None => break,
        }
    }
    last
}

/// Compares the results of the suite for the fixture server, directly and through `forward http`.
fn judge_server(revision: &str, reachable: usize) {
    let out = tempfile::tempdir().unwrap();
    let (_fixture, direct) = start(Command::new(example("fixture_server")).args(["http", "127.0.0.1:0"]), "");
    let mut hop = Command::new(env!("CARGO_BIN_EXE_shadowcat"));
    hop.env("SHADOWCAT_DATA_DIR", out.path()).args(["forward", "http", "--upstream", &direct]);
    let (_hop, through) = start(&mut hop, "listening on ");
    let mut seen = Vec::new();
    for (name, url) in [("direct", &direct), ("through", &through)] {
        let (said, checks) = judged(url, revision, &out.path().join(name));
        assert!(checks.keys().all(|(_, _, status)| status != "FAILURE"), "{revision} {name}: {checks:#?}");
        assert!(passed(&checks) >= reachable, "{revision} {name}: {said}");
        seen.push(checks);
    }
    assert_eq!(seen[0], seen[1], "{revision}: the results differ through shadowcat");
}

#[test]
fn results_for_a_2025_server_are_equal_through_forward_http() {
    judge_server("2025-11-25", 83);
}

#[test]
fn results_for_a_2026_server_are_equal_through_forward_http() {
    judge_server("2026-07-28", 197);
}

/// Compares the results of the suite for the fixture server, directly and through the gateway,
/// without the scenarios in `lost`: over stdio, those whose checks are all about what an HTTP
/// server does by itself.
fn judge_gateway(revision: &str, over_stdio: bool, lost: &[&str]) {
    let out = tempfile::tempdir().unwrap();
    let fixture = example("fixture_server");
    let (_fixture, direct) = start(Command::new(&fixture).args(["http", "127.0.0.1:0"]), "");
    let upstream = if over_stdio { format!("{} stdio", fixture.display()) } else { direct.clone() };
    let mut gateway = Command::new(env!("CARGO_BIN_EXE_shadowcat"));
    gateway.args(["reverse", "--bind", "127.0.0.1:0", "--upstream", &upstream]);
    let (_gateway, through) = start(&mut gateway, "listening on ");
    let mut seen = Vec::new();
    for (name, url) in [("direct", &direct), ("through", &through)] {
        let (said, mut checks) = judged(url, revision, &out.path().join(name));
        assert!(checks.keys().all(|(_, _, status)| status != "FAILURE"), "{revision} {name}: {said}");
        checks.retain(|(scenario, ..), _| !lost.contains(&scenario.as_str()));
        seen.push(checks);
    }
    assert!(seen[0].len() > 60, "{:#?}", seen[0]);
    assert_eq!(seen[0], seen[1], "{revision}: the results differ through the gateway");
}

#[test]
fn results_for_an_http_server_are_equal_through_the_gateway() {
    judge_gateway("2025-11-25", false, &[]);
    judge_gateway("2026-07-28", false, &[]);
}

/// A server on stdio has no streams of its own to close (sse-polling), and the gateway answers with
/// plain JSON if nothing precedes the answer, which the suite does not count (multiple-streams).
#[test]
fn results_for_a_stdio_server_are_equal_through_the_gateway() {
    let lost = ["server-server-sse-polling", "server-server-sse-multiple-streams"];
    judge_gateway("2025-11-25", true, &lost);
    judge_gateway("2026-07-28", true, &lost);
}

/// Compares the results of the suite for the fixture client, directly and through a hop with
/// `options`. The check `differs` may come out differently.
fn judge_client(revision: &str, scenarios: &[impl AsRef<str>], options: &str, differs: &str) {
    let client = example("fixture_client").display().to_string();
    let script = peers().join("through.sh").display().to_string();
    let through = format!("sh {script} {} '{options}' {client}", env!("CARGO_BIN_EXE_shadowcat"));
    for scenario in scenarios.iter().map(AsRef::as_ref) {
        let judge = || -> Result<(), String> {
            let out = tempfile::tempdir().unwrap();
            let mut seen = Vec::new();
            for (name, command) in [("direct", &client), ("through", &through)] {
                let out = out.path().join(name);
                let words = [
                    "client",
                    "--command",
                    command,
                    "--scenario",
                    scenario,
                    "--spec-version",
                    revision,
                    "--force",
                ];
                let said = suite(&words, &out);
                let mut checks = checks(&out);
                checks.retain(|(_, id, _), _| id != differs);
                if checks.is_empty() {
                    return Err(format!("{scenario} {name}: {said}"));
                }
                if checks.keys().any(|(_, _, status)| status == "FAILURE") {
                    return Err(format!("{scenario} {name}: {checks:#?}"));
                }
                seen.push(checks);
            }
            match seen[0] == seen[1] {
                true => Ok(()),
                false => Err(format!("{revision} {scenario}: the suite sees that we are there: {seen:#?}")),
            }
        };
        // The time limit of the suite is too short for a client on a busy machine, with or without
        // shadowcat in between: try up to three times.
        let verdicts = std::iter::repeat_with(judge).take(3);
        let mut failures = Vec::new();
        let passed = verdicts.into_iter().any(|verdict| verdict.map_err(|why| failures.push(why)).is_ok());
        assert!(passed, "{failures:#?}");
    }
}

#[test]
fn results_for_a_2025_client_are_equal_through_forward_http() {
    let scenarios = ["initialize", "tools_call", "elicitation-sep1034-client-defaults", "sse-retry"];
    judge_client("2025-11-25", &scenarios, "", "");
}

#[test]
fn results_for_a_2026_client_are_equal_through_forward_http() {
    let scenarios = [
        "tools_call",
        "request-metadata",
        "sep-2322-client-request-state",
        "http-standard-headers",
        "http-custom-headers",
        "http-invalid-tool-headers",
        "json-schema-ref-no-deref",
    ];
    judge_client("2026-07-28", &scenarios, "", "");
}

/// Returns the required client scenarios of a revision that involve authorization.
fn authorizing(revision: &str) -> Vec<String> {
    let file = format!("node_modules/@modelcontextprotocol/conformance/requirements/{revision}.yaml");
    let text = std::fs::read_to_string(peers().join(file)).unwrap();
    let client = text.split("\nclient:").nth(1).unwrap().split("\nnot_scored").next().unwrap().to_owned();
    let named = client.lines().filter_map(|line| line.strip_prefix("  - "));
    named.filter(|name| name.starts_with("auth/")).map(str::to_owned).collect()
}

/// Compares OAuth through `--rewrite-origin`. One check necessarily differs: if the authorization
/// server is on another origin, the client asks it for a token for the address of shadowcat, to
/// which it has connected, and shadowcat does not stand between those two.
fn judge_authorization(revision: &str) {
    let scenarios = authorizing(revision);
    assert!(scenarios.len() > 10, "{scenarios:?}");
    judge_client(revision, &scenarios, "--rewrite-origin", "resource-parameter-matches-prm");
}

/// Runs the authorization scenarios of the suite with `--login`, so that the suite judges shadowcat
/// as the client.
fn judge_login(revision: &str) {
    let script = peers().join("login.sh").display().to_string();
    let client = example("fixture_client").display().to_string();
    let command = format!("sh {script} {} {client}", env!("CARGO_BIN_EXE_shadowcat"));
    for scenario in authorizing(revision) {
        let out = tempfile::tempdir().unwrap();
        let words =
            ["client", "--command", &command, "--scenario", &scenario, "--spec-version", revision, "--force"];
        let said = suite(&words, out.path());
        let checks = checks(out.path());
        assert!(passed(&checks) > 1, "{scenario}: {said}");
        assert!(checks.keys().all(|(_, _, status)| status != "FAILURE"), "{scenario}: {checks:#?}");
    }
}

#[test]
fn login_passes_the_authorization_scenarios() {
    judge_login("2026-07-28");
    if std::env::var_os("SHADOWCAT_SOAK").is_some() {
        judge_login("2025-11-25");
    }
}

#[test]
fn authorization_results_are_equal_through_rewrite_origin() {
    judge_authorization("2026-07-28");
    if std::env::var_os("SHADOWCAT_SOAK").is_some() {
        judge_authorization("2025-11-25");
    }
}
