//! `shadowcat doctor` names the cause of each of the servers in `servers`, which have one fault each, and is silent
//! about healthy ones.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::Mutex;

use serde_json::Value;
use shadowcat::doctor::CAUSES;

use crate::support::{eventually, shadowcat};

/// Causes that no program of a few lines shows: they need a machine, a time or a file of a person. Tests beside the
/// code and in `tests/it/doctor.rs` have them.
const SHOWN_ELSEWHERE: [&str; 9] = [
    "lost",
    "trimmed-path",
    "unreachable",
    "not-started",
    "eras-differ",
    "unread",
    "moot",
    "slow-call",
    "config",
];

/// A server, as the header of its program describes it.
struct Sick {
    path: PathBuf,
    header: BTreeMap<String, Vec<String>>,
}

/// A running server that is killed with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Sick {
    fn read(path: PathBuf) -> Self {
        let mut header: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for line in std::fs::read_to_string(&path).unwrap().lines() {
            let Some(words) = line.strip_prefix("# ") else { continue };
            let (key, value) = words.split_once(' ').unwrap_or((words, ""));
            if key.len() > 1 && key.bytes().all(|byte| byte.is_ascii_uppercase()) {
                header.entry(key.to_owned()).or_default().push(value.trim().to_owned());
            }
        }
        Self { path, header }
    }

    fn all(&self, key: &str) -> &[String] {
        self.header.get(key).map_or(&[], Vec::as_slice)
    }

    fn one(&self, key: &str) -> &str {
        self.all(key).first().map_or("", String::as_str)
    }

    fn words(&self, key: &str) -> Vec<String> {
        shell_words::split(&self.all(key).join(" ")).unwrap()
    }

    fn name(&self) -> String {
        self.path.file_stem().unwrap().to_string_lossy().into_owned()
    }

    /// Starts the program if it is an HTTP server, and returns what doctor is given to examine.
    fn target(&self, data: &Path) -> (Option<Running>, Vec<String>) {
        let file = self.path.display().to_string();
        let upstream = |url: String| vec!["--upstream".to_owned(), url];
        match self.one("KIND") {
            kind @ ("http" | "https") => {
                let port = data.join("port");
                let mut command = python();
                command.args([&self.path, &port]).stderr(Stdio::null());
                let running = Running(command.spawn().unwrap());
                eventually("the port", || port.exists());
                let port = std::fs::read_to_string(port).unwrap();
                let path = Some(self.one("URL")).filter(|path| !path.is_empty()).unwrap_or("/mcp");
                (Some(running), upstream(format!("{kind}://127.0.0.1:{port}{path}")))
            }
            "refused" => (None, upstream("http://127.0.0.1:9/mcp".to_owned())),
            "dns" => (None, upstream("http://no-such-host.invalid/mcp".to_owned())),
            "cmd" => (None, [vec!["--".to_owned()], self.words("CMD")].concat()),
            "tape" => (None, vec!["--tape".to_owned(), self.record(data)]),
            _ => (None, vec!["--".to_owned(), "python3".to_owned(), file]),
        }
    }

    /// Records what a client says to the server.
    fn record(&self, data: &Path) -> String {
        let tape = data.join("t.tape").display().to_string();
        let mut command = shadowcat(data);
        command.args(["forward", "stdio", "--tape", &tape]).args(self.words("FWD"));
        command.args(["--", "python3"]).arg(&self.path).env("PYTHONDONTWRITEBYTECODE", "1");
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut child = command.spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        for line in self.all("SEND") {
            stdin.write_all(format!("{line}\n").as_bytes()).unwrap();
            // The time between messages is what these recordings are about.
            std::thread::sleep(std::time::Duration::from_millis(400));
        }
        std::thread::sleep(std::time::Duration::from_millis(800));
        drop(stdin);
        child.wait().unwrap();
        tape
    }

    fn doctor(&self, data: &Path, form: &str, target: &[String]) -> Output {
        let mut command = shadowcat(data);
        command.args(["doctor", "--output", form]).args(self.words("ARGS")).args(target);
        command.env("HOME", data).env("PYTHONDONTWRITEBYTECODE", "1");
        command
            .env_remove("HTTP_PROXY")
            .env_remove("http_proxy")
            .env_remove("PYTHONUNBUFFERED")
            .current_dir(directory());
        for variable in self.all("ENV") {
            let (name, value) = variable.split_once('=').unwrap();
            command.env(name, value);
        }
        command.stdin(Stdio::null()).output().unwrap()
    }

    /// Examines the server, and returns what is not as the header says.
    fn judge(&self) -> Vec<String> {
        let data = tempfile::tempdir().unwrap();
        let (running, target) = self.target(data.path());
        let mut wrong = Vec::new();
        let text = self.doctor(data.path(), "text", &target);
        let code = text.status.code().map(|code| code.to_string()).unwrap_or_default();
        if code != self.one("EXIT") {
            wrong.push(format!("exit {code} and not {}", self.one("EXIT")));
        }
        let text = String::from_utf8_lossy(&text.stdout).into_owned();
        // The first line names the server.
        let judged: Vec<&str> =
            text.lines().skip(1).filter(|line| !line.starts_with("ok ") && !line.starts_with("- ")).collect();
        let judged = judged.join("\n").replace(&self.name(), "SERVER").to_lowercase();
        let has = |words: &str| judged.contains(&words.to_lowercase());
        wrong.extend(
            self.all("WANT").iter().filter(|words| !has(words)).map(|words| format!("lacks {words:?}")),
        );
        wrong
            .extend(self.all("NOT").iter().filter(|words| has(words)).map(|words| format!("says {words:?}")));
        let says = |words: &&String| !text.contains(words.as_str());
        wrong.extend(self.all("SAYS").iter().filter(says).map(|words| format!("does not say {words:?}")));
        let found = self.causes(data.path(), running, &target);
        let missing = self.all("CAUSE").iter().filter(|cause| !found.contains(*cause));
        wrong.extend(missing.map(|cause| format!("cause {cause} is not among {found:?}")));
        if self.header.contains_key("OK") && !found.is_empty() {
            wrong.push(format!("is healthy, and has {found:?}"));
        }
        if !wrong.is_empty() {
            wrong.push(text);
        }
        wrong.into_iter().map(|what| format!("{}: {what}", self.name())).collect()
    }

    /// Returns the causes in the report for programs. An HTTP server is started anew for it, since it may have been
    /// meant for one client.
    fn causes(&self, data: &Path, running: Option<Running>, target: &[String]) -> BTreeSet<String> {
        let again = running.is_some().then(|| {
            drop(running);
            let _ = std::fs::remove_file(data.join("port"));
            self.target(data)
        });
        let target = again.as_ref().map_or(target, |(_, target)| target);
        let output = self.doctor(data, "json", target);
        let report: Value = serde_json::from_slice(&output.stdout).unwrap();
        let checks = report["checks"].as_array().unwrap();
        let causes = checks.iter().flat_map(|check| check["causes"].as_array().unwrap());
        causes.map(|cause| cause.as_str().unwrap().to_owned()).collect()
    }
}

fn python() -> Command {
    let mut command = Command::new("python3");
    command.env("PYTHONDONTWRITEBYTECODE", "1");
    command
}

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/interop/doctor/servers")
}

fn servers() -> Vec<Sick> {
    let files = std::fs::read_dir(directory()).unwrap().map(|entry| entry.unwrap().path());
    let is_server = |path: &PathBuf| {
        path.extension().is_some_and(|extension| extension == "py")
            && path.file_name().is_some_and(|name| name != "base.py")
    };
    files.filter(is_server).map(Sick::read).collect()
}

#[test]
fn every_fault_is_named() {
    let servers = Mutex::new(servers());
    assert!(servers.lock().unwrap().len() > 100);
    let wrong = Mutex::new(Vec::new());
    // Most of them make doctor wait.
    const AT_ONCE: usize = 6;
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                loop {
                    let Some(server) = servers.lock().unwrap().pop() else { return };
                    let found = server.judge();
                    wrong.lock().unwrap().extend(found);
                }
            });
        }
    });
    let wrong = wrong.into_inner().unwrap();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_cause_is_shown_by_a_server() {
    let servers = servers();
    let shown: BTreeSet<&str> =
        servers.iter().flat_map(|server| server.all("CAUSE")).map(String::as_str).collect();
    let known: BTreeSet<&str> = CAUSES.iter().map(|cause| cause.id).collect();
    let unknown: Vec<_> = shown.difference(&known).collect();
    assert!(unknown.is_empty(), "{unknown:?} are no causes");
    let unshown: Vec<_> = known.difference(&shown).filter(|id| !SHOWN_ELSEWHERE.contains(id)).collect();
    assert!(unshown.is_empty(), "no server shows {unshown:?}");
}
