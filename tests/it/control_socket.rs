//! Tests of the control socket with real processes: scripts, screens and agents attach, and any of
//! them may fail.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Output, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{Deadline, eventually, program, run, shadowcat, signal};

/// Running `forward stdio` in front of a server, with the client ends of its pipes.
pub struct Wrapped {
    /// Process of `forward stdio`.
    pub child: Child,
    /// Input of the process; `None` once a test has closed it.
    pub stdin: Option<ChildStdin>,
    /// Output of the process.
    pub stdout: BufReader<std::process::ChildStdout>,
    _deadline: Deadline,
}

impl Wrapped {
    /// Starts `forward stdio` in front of the demo server.
    pub fn demo(data: &Path, name: &str, options: &[&str]) -> Self {
        Self::of(data, name, options, &[program(), "demo-server", "--pace", "1"])
    }

    /// Starts `forward stdio` in front of `server`.
    pub fn of(data: &Path, name: &str, options: &[&str], server: &[&str]) -> Self {
        let mut command = shadowcat(data);
        command.args(["forward", "stdio", "--name", name]).args(options).arg("--").args(server);
        Self::spawn(command)
    }

    /// Starts a command that serves MCP on its standard streams.
    pub fn spawn(mut command: Command) -> Self {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().unwrap();
        let stdin = child.stdin.take();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let deadline = Deadline::of(&child);
        Self { child, stdin, stdout, _deadline: deadline }
    }

    /// Sends a message.
    pub fn send(&mut self, message: &Value) {
        writeln!(self.stdin.as_mut().unwrap(), "{message}").unwrap();
    }

    /// Reads up to the next message with this `id`, and returns it.
    pub fn receive_reply(&mut self, id: u64) -> Value {
        loop {
            let mut line = String::new();
            assert_ne!(
                self.stdout.read_line(&mut line).unwrap(),
                0,
                "the connection to the server is closed"
            );
            if let Ok(message) = serde_json::from_str::<Value>(&line)
                && message["id"] == id
            {
                return message;
            }
        }
    }

    /// Performs the handshake of the 2025 era, with id 1.
    pub fn initialize(&mut self) {
        let client = json!({ "name": "tester", "version": "1" });
        let params = json!({ "protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": client });
        self.send(&json!({ "jsonrpc": "2.0", "id": 1, "method": "initialize", "params": params }));
        assert!(self.receive_reply(1)["result"].is_object());
        self.send(&json!({ "jsonrpc": "2.0", "method": "notifications/initialized" }));
    }

    /// Sends a call of the tool `add`.
    pub fn call_add(&mut self, id: u64, a: i64, b: i64) {
        let params = json!({ "name": "add", "arguments": { "a": a, "b": b } });
        self.send(&json!({ "jsonrpc": "2.0", "id": id, "method": "tools/call", "params": params }));
    }

    /// Sends a call of the tool `add` as a client of the given era does.
    pub fn call_as(&mut self, client: &str, era: &str, id: u64, a: i64, b: i64) {
        let mut params = json!({ "name": "add", "arguments": { "a": a, "b": b } });
        if era == "2026" {
            params["_meta"] = json!({
                "io.modelcontextprotocol/protocolVersion": "2026-07-28",
                "io.modelcontextprotocol/clientInfo": { "name": client, "version": "1" },
                "io.modelcontextprotocol/clientCapabilities": {},
            });
        }
        self.send(&json!({ "jsonrpc": "2.0", "id": id, "method": "tools/call", "params": params }));
    }

    /// Closes the input, and checks that the process ends successfully.
    pub fn ends(mut self) {
        drop(self.stdin.take());
        let mut rest = String::new();
        self.stdout.read_to_string(&mut rest).unwrap();
        assert!(self.child.wait().unwrap().success());
    }
}

impl Drop for Wrapped {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn ctl(data: &Path, arguments: &[&str]) -> Output {
    let mut command = shadowcat(data);
    command.arg("ctl").args(arguments);
    run(command, b"")
}

fn json_of(data: &Path, arguments: &[&str]) -> Value {
    let output = ctl(data, &[arguments, &["--output", "json"]].concat());
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{arguments:?}: {error}: {said}"))
}

fn run_ok(data: &Path, arguments: &[&str]) -> String {
    let output = ctl(data, arguments);
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

fn held(data: &Path) -> Vec<u64> {
    json_of(data, &["held"]).as_array().unwrap().iter().map(|held| held["id"].as_u64().unwrap()).collect()
}

/// Returns the paths of all control sockets.
fn sockets(data: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(data.join("run")) else { return Vec::new() };
    entries.map(|entry| entry.unwrap().path()).collect()
}

/// Connection to the control socket that sends raw requests.
struct Peer {
    stream: UnixStream,
    lines: BufReader<UnixStream>,
    made: u64,
}

impl Peer {
    fn connect(data: &Path) -> Self {
        eventually("a socket", || !sockets(data).is_empty());
        let path = sockets(data).pop().unwrap();
        let mut stream = None;
        eventually("the socket is served", || {
            stream = UnixStream::connect(&path).ok();
            stream.is_some()
        });
        let stream = stream.unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let lines = BufReader::new(stream.try_clone().unwrap());
        Self { stream, lines, made: 0 }
    }

    fn with_hello(data: &Path, name: &str) -> Self {
        let mut peer = Self::connect(data);
        let facts = peer.ask("hello", json!({ "version": 1, "name": name }));
        assert_eq!(facts["result"]["version"], 1, "{facts}");
        peer
    }

    fn ask(&mut self, method: &str, params: Value) -> Value {
        self.made += 1;
        let request = json!({ "jsonrpc": "2.0", "id": self.made, "method": method, "params": params });
        writeln!(self.stream, "{request}").unwrap();
        loop {
            let message = self.receive();
            if message["id"] == self.made {
                return message;
            }
        }
    }

    fn receive(&mut self) -> Value {
        let mut line = String::new();
        self.lines.read_line(&mut line).unwrap();
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{line:?}: {error}"))
    }
}

#[test]
fn ctl_holds_edits_and_releases_messages() {
    let data = tempfile::tempdir().unwrap();
    let data = data.path();
    let mut wrapped = Wrapped::demo(data, "calc", &[]);
    wrapped.initialize();
    assert_eq!(run_ok(data, &["hold", "tool:add kind:req"]), "1");
    wrapped.call_add(2, 20, 1);
    let seen = json_of(data, &["wait", "--filter", "status:held", "--from", "1"]);
    assert_eq!(seen[0]["target"], "add");
    let id = held(data)[0].to_string();
    run_ok(data, &["edit", &id, "--patch", r#"[{"op":"replace","path":"/params/arguments/b","value":22}]"#]);
    let row = &json_of(data, &["held"])[0];
    assert!(row["amended"].as_str().unwrap().contains("22") && row["session"] == 1 && row["age"].is_u64());
    run_ok(data, &["accept", &id]);
    assert!(wrapped.receive_reply(2).to_string().contains("42"), "the client sees the edit");
    // Answer one call in place of the server, and drop another one with an error.
    wrapped.call_add(3, 1, 1);
    eventually("a hold", || held(data).len() == 1);
    let file = data.join("answer.json");
    std::fs::write(&file, r#"{"content":[{"type":"text","text":"mine"}]}"#).unwrap();
    run_ok(data, &["answer", &held(data)[0].to_string(), "--file", file.to_str().unwrap()]);
    assert!(wrapped.receive_reply(3).to_string().contains("mine"));
    wrapped.call_add(4, 1, 1);
    eventually("a hold", || held(data).len() == 1);
    run_ok(data, &["drop", &held(data)[0].to_string(), "--error", "-32050: not today"]);
    assert_eq!(wrapped.receive_reply(4)["error"], json!({ "code": -32050, "message": "not today" }));
    run_ok(data, &["rules", "disable", "1"]);
    wrapped.call_add(5, 1, 1);
    assert!(wrapped.receive_reply(5)["result"].is_object(), "nothing is held any more");
    // Inject a request of our own, and wait for its answer.
    let mut inject = shadowcat(data);
    inject.args(["ctl", "--as", "a script", "inject", "1", "--to", "server"]);
    let output = run(inject, br#"{"jsonrpc":"2.0","id":9,"method":"tools/list"}"#);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    eventually("the answer", || {
        json_of(data, &["frames", "--filter", "method:tools/list kind:resp"]).as_array().unwrap().len() == 1
    });
    assert_eq!(ctl(data, &["accept", "999"]).status.code(), Some(2));
    assert_eq!(ctl(data, &["frames", "--filter", "nonsense:x"]).status.code(), Some(2));
    assert_eq!(ctl(data, &["wait", "--filter", "tool:nothing", "--timeout", "100ms"]).status.code(), Some(1));
    wrapped.ends();
    assert_eq!(sockets(data), Vec::<PathBuf>::new(), "no socket is left behind");
    assert_eq!(ctl(data, &["held", "--output", "json"]).stdout, b"[]\n");
    assert_eq!(ctl(data, &["hold", "x"]).status.code(), Some(3));
    // The tape records the author of each decision.
    let tape = std::fs::read_to_string(&crate::support::tapes(data)[0]).unwrap();
    assert!(tape.contains(r#""by":"ctl""#) && tape.contains(r#""by":"a script""#), "{tape}");
}

#[test]
fn hold_unattended_holds_the_handshake_without_a_controller() {
    let data = tempfile::tempdir().unwrap();
    let data = data.path();
    let mut wrapped =
        Wrapped::demo(data, "calc", &["--break", "method:initialize kind:req", "--hold-unattended", "1m"]);
    let params = json!({ "protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": { "name": "x", "version": "1" } });
    wrapped.send(&json!({ "jsonrpc": "2.0", "id": 1, "method": "initialize", "params": params }));
    eventually("the handshake is held", || held(data).len() == 1);
    run_ok(data, &["accept", "--all"]);
    assert!(wrapped.receive_reply(1)["result"].is_object());
    // Without `--hold-unattended`, nothing is held while no controller is attached.
    let mut other = Wrapped::demo(data, "free", &["--break", "method:initialize kind:req"]);
    other.initialize();
    // A frame goes on when the time of `--hold-unattended` is over.
    let mut brief = Wrapped::demo(
        data,
        "brief",
        &["--break", "method:initialize kind:req", "--hold-unattended", "200ms"],
    );
    brief.initialize();
    let held = json_of(data, &["frames", "--session", "brief", "--filter", "method:initialize kind:req"]);
    assert!(held.to_string().contains("forwarded"));
}

#[test]
fn held_messages_go_on_when_all_controllers_disconnect() {
    let data = tempfile::tempdir().unwrap();
    let data = data.path();
    let mut wrapped = Wrapped::demo(data, "calc", &[]);
    wrapped.initialize();
    let mut first = Peer::with_hello(data, "first");
    let mut second = Peer::with_hello(data, "second");
    let seat = |answer: Value| answer["result"]["seat"].as_u64().unwrap();
    let one = seat(first.ask("seat/take", json!({ "name": "first" })));
    let two = seat(second.ask("seat/take", json!({ "name": "second" })));
    first.ask("breakpoint/add", json!({ "query": "tool:add" }));
    wrapped.call_add(2, 1, 1);
    wrapped.call_add(3, 1, 2);
    eventually("both are held", || held(data).len() == 2);
    // Only the deciding controller may accept; the other one can take over.
    let id = held(data)[0];
    let refused = second.ask("hold/accept", json!({ "frame": id }));
    assert!(refused["error"]["message"].as_str().unwrap().contains("first decides"), "{refused}");
    second.ask("seat/decide", json!({ "seat": two }));
    assert!(first.ask("hold/accept", json!({ "frame": id }))["error"].is_object());
    first.ask("seat/decide", json!({ "seat": one }));
    // When the deciding controller disconnects, the other one decides, and frames stay held.
    drop(first);
    eventually("the other decides", || {
        second.ask("breakpoint/list", json!({}))["result"]["watchers"]
            .as_array()
            .is_some_and(|all| all.len() == 1 && all[0]["decides"] == true)
    });
    assert_eq!(held(data).len(), 2);
    // When the last controller disconnects, held frames go on in their order, and the tape says why.
    drop(second);
    assert!(wrapped.receive_reply(2)["result"].is_object() && wrapped.receive_reply(3)["result"].is_object());
    wrapped.ends();
    let tape = std::fs::read_to_string(&crate::support::tapes(data)[0]).unwrap();
    assert!(tape.contains("second is gone, nobody decides"), "{tape}");
}

#[test]
fn subscriber_gets_every_record_once_despite_a_stuck_subscriber() {
    let data = tempfile::tempdir().unwrap();
    let data = data.path();
    let flood = "i=0; while [ $i -lt 20000 ]; do echo \"{\\\"jsonrpc\\\":\\\"2.0\\\",\\\"method\\\":\\\"n$i\\\"}\"; i=$((i+1)); done; cat >/dev/null";
    let mut wrapped = Wrapped::of(data, "flood", &[], &["sh", "-c", flood]);
    let mut reader = Peer::with_hello(data, "reader");
    // The stuck peer subscribes to everything and never reads.
    let mut stuck = Peer::with_hello(data, "stuck");
    writeln!(
        stuck.stream,
        "{}",
        json!({ "jsonrpc": "2.0", "id": 7, "method": "log/subscribe", "params": { "from": 1 } })
    )
    .unwrap();
    reader.ask("log/subscribe", json!({ "from": 1 }));
    let mut lines = 0;
    let mut line = String::new();
    while lines < 20000 {
        line.clear();
        assert_ne!(wrapped.stdout.read_line(&mut line).unwrap(), 0);
        lines += 1;
    }
    let mut next = 1;
    let mut frames = 0;
    while frames < 20000 {
        let told = reader.receive();
        if told["method"] == "log/record" {
            assert_eq!(told["params"]["seq"], next, "every record, in order");
            next += 1;
            frames += u64::from(told["params"]["r"] == "frame");
        }
    }
    wrapped.ends();
    drop(stuck);
}

#[test]
fn deleted_socket_is_recreated_and_stale_socket_is_removed() {
    let data = tempfile::tempdir().unwrap();
    let data = data.path();
    let mut wrapped = Wrapped::demo(data, "calc", &[]);
    wrapped.initialize();
    std::fs::remove_dir_all(data.join("run")).unwrap();
    wrapped.call_add(2, 1, 1);
    assert!(wrapped.receive_reply(2)["result"].is_object(), "forwarding works without a socket");
    eventually("the socket is back", || sockets(data).len() == 1);
    assert_eq!(json_of(data, &["sessions"]).as_array().unwrap().len(), 1);
    // A killed engine leaves its socket behind; the next engine removes it.
    wrapped.child.kill().unwrap();
    wrapped.child.wait().unwrap();
    assert_eq!(sockets(data).len(), 1);
    assert_eq!(json_of(data, &["sessions"]), json!([]));
    // A socket of a living process that does not listen yet is kept, since it may be about to listen.
    let starting = data.join(format!("run/{}-starting.sock", std::process::id()));
    drop(std::os::unix::net::UnixListener::bind(&starting).unwrap());
    let left = sockets(data).into_iter().find(|path| *path != starting).unwrap();
    let mut next = Wrapped::demo(data, "next", &[]);
    next.initialize();
    eventually("what was left is swept away", || !left.exists());
    assert!(starting.exists());
    assert!(sockets(data).iter().any(|path| path.display().to_string().ends_with("-next.sock")));
}

#[test]
fn socket_directory_is_private_and_planted_entries_are_ignored() {
    let data = tempfile::tempdir().unwrap();
    let data = data.path();
    let mut wrapped = Wrapped::demo(data, "calc", &[]);
    wrapped.initialize();
    let place = data.join("run");
    assert_eq!(std::fs::metadata(&place).unwrap().permissions().mode() & 0o777, 0o700);
    let socket = sockets(data).pop().unwrap();
    let metadata = std::fs::symlink_metadata(&socket).unwrap();
    assert!(metadata.file_type().is_socket() && metadata.mode() & 0o777 == 0o600);
    // A regular file and a symbolic link are not taken for control sockets.
    std::fs::write(place.join("1-file.sock"), "x").unwrap();
    std::os::unix::fs::symlink(&socket, place.join("2-link.sock")).unwrap();
    assert_eq!(json_of(data, &["sessions"]).as_array().unwrap().len(), 1);
    let planted = ctl(data, &["--session", place.join("2-link.sock").to_str().unwrap(), "frames"]);
    assert_ne!(planted.status.code(), Some(0));
    // A symbolic link is not used as the socket directory: the engine runs without a socket and says so.
    let other = tempfile::tempdir().unwrap();
    let elsewhere = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink(elsewhere.path(), other.path().join("run")).unwrap();
    let mut alone = Wrapped::demo(other.path(), "alone", &[]);
    alone.initialize();
    alone.ends();
    let tape = std::fs::read_to_string(&crate::support::tapes(other.path())[0]).unwrap();
    assert!(tape.contains("no control socket"), "{tape}");
    assert_eq!(std::fs::read_dir(elsewhere.path()).unwrap().count(), 0);
}

#[test]
fn another_user_cannot_connect() {
    if !nix::unistd::getuid().is_root() {
        // Only root can switch to another user.
        return;
    }
    let data = tempfile::tempdir().unwrap();
    let path = data.path();
    let mut wrapped = Wrapped::demo(path, "calc", &[]);
    wrapped.initialize();
    let socket = sockets(path).pop().unwrap();
    let connect = "use Socket; $SIG{PIPE} = 'IGNORE'; socket(my $s, PF_UNIX, SOCK_STREAM, 0); connect($s, pack_sockaddr_un($ARGV[0])) or die \"kept out: $!\"; send($s, \"{}\\n\", 0); my $read = sysread($s, my $said, 100); print \"heard:$said\";";
    let tried = |uid: &str| {
        let mut command = Command::new("setpriv");
        command.args(["--reuid", uid, "--regid", uid, "--clear-groups", "perl", "-e", connect]).arg(&socket);
        command.output().unwrap()
    };
    // The permissions of the directory keep the other user out.
    let refused = tried("65534");
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && said.contains("kept out: Permission denied"), "{said}");
    // With open permissions, the engine refuses the other user.
    for open in [path, &path.join("run")] {
        std::fs::set_permissions(open, std::fs::Permissions::from_mode(0o755)).unwrap();
    }
    std::fs::set_permissions(&socket, std::fs::Permissions::from_mode(0o666)).unwrap();
    let refused = tried("65534");
    let said = String::from_utf8_lossy(&refused.stdout).into_owned();
    assert_eq!(said.trim(), "heard:", "close the connection without an answer");
}

#[test]
fn invalid_requests_get_errors_and_stop_nothing() {
    let data = tempfile::tempdir().unwrap();
    let data = data.path();
    let mut wrapped = Wrapped::demo(data, "calc", &[]);
    wrapped.initialize();
    let mut peer = Peer::connect(data);
    let mut answer = |line: &str| {
        writeln!(peer.stream, "{line}").unwrap();
        peer.receive()["error"].clone()
    };
    assert_eq!(answer("nonsense")["code"], -32700);
    assert_eq!(answer("[]")["code"], -32600);
    assert_eq!(answer(r#"{"jsonrpc":"1.0","id":1,"method":"hello"}"#)["code"], -32600);
    assert_eq!(
        answer(r#"{"jsonrpc":"2.0","id":1,"method":"engine/facts"}"#)["code"],
        -32600,
        "hello comes first"
    );
    let newer = answer(r#"{"jsonrpc":"2.0","id":1,"method":"hello","params":{"version":99,"name":"x"}}"#);
    assert_eq!(newer["code"], -32001);
    assert!(newer["message"].as_str().unwrap().contains("the peer speaks 99"), "{newer}");
    let older = answer(r#"{"jsonrpc":"2.0","id":1,"method":"hello","params":{"version":0,"name":"x"}}"#);
    assert!(older["message"].as_str().unwrap().contains("update the client program"), "{older}");
    let mut peer = Peer::with_hello(data, "x");
    assert_eq!(peer.ask("no/such", json!({}))["error"]["code"], -32601);
    assert_eq!(peer.ask("hold/accept", json!({ "frame": "x" }))["error"]["code"], -32602);
    assert_eq!(peer.ask("hold/accept", json!({ "frame": 1, "more": 2 }))["error"]["code"], -32602);
    assert_eq!(peer.ask("log/frames", json!({ "filter": "nonsense:x" }))["error"]["code"], -32602);
    // A line without end is answered with an error, and its connection is closed.
    let mut huge = Peer::connect(data);
    let chunk = vec![b'x'; 1 << 20];
    while huge.stream.write_all(&chunk).is_ok() {}
    wrapped.call_add(2, 1, 1);
    assert!(wrapped.receive_reply(2)["result"].is_object());
    assert!(peer.ask("engine/facts", json!({}))["result"]["pid"].is_u64());
}

#[test]
fn protocol_matches_the_documented_schema() {
    let data = tempfile::tempdir().unwrap();
    let printed = ctl(data.path(), &["schema"]).stdout;
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/control.openrpc.json");
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&file, &printed).unwrap();
    }
    assert_eq!(
        String::from_utf8(printed.clone()).unwrap(),
        std::fs::read_to_string(&file).unwrap(),
        "run UPDATE_DOCS=1 cargo test documented"
    );
    // Every documented method exists, with the parameters that it requires.
    let document: Value = serde_json::from_slice(&printed).unwrap();
    let mut wrapped = Wrapped::demo(data.path(), "calc", &[]);
    wrapped.initialize();
    let mut peer = Peer::with_hello(data.path(), "x");
    let methods = document["methods"].as_array().unwrap();
    assert!(methods.len() > 25);
    for method in methods.iter().filter(|method| {
        method["x-notification"] != true && method["name"] != "hello" && method["name"] != "client/attach"
    }) {
        let name = method["name"].as_str().unwrap();
        let error = peer.ask(name, json!({}))["error"].clone();
        assert_ne!(error["code"], -32601, "{name}");
        let required: Vec<&Value> =
            method["params"].as_array().unwrap().iter().filter(|p| p["required"] == true).collect();
        assert_eq!(error["code"] == -32602, !required.is_empty(), "{name}: {error}");
    }
}

#[test]
fn ctl_finds_engines_regardless_of_the_environment() {
    let state = tempfile::tempdir().unwrap();
    // Desktop clients start servers with a minimal environment: only PATH.
    let mut command = Command::new("env");
    command.args(["-i", "PATH=/usr/bin:/bin", program(), "forward", "stdio", "--no-tape", "--name"]);
    let name = format!("trimmed-{}", std::process::id());
    command.arg(&name).args(["--", "cat"]).stdin(Stdio::piped()).stdout(Stdio::null());
    let mut engine = command.spawn().unwrap();
    let look = || {
        let mut command = Command::new(program());
        command.args(["ctl", "sessions", "--output", "json"]).env_remove("SHADOWCAT_DATA_DIR");
        command.env("XDG_RUNTIME_DIR", state.path()).env("XDG_STATE_HOME", state.path());
        String::from_utf8(run(command, b"").stdout).unwrap()
    };
    eventually("it is found", || look().contains(&name));
    signal(&engine, nix::sys::signal::Signal::SIGTERM);
    engine.wait().unwrap();
    assert!(!look().contains(&name));
}

#[test]
fn three_hubs_follow_ten_engines_without_loss() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path();
    let lines = if std::env::var_os("SHADOWCAT_SOAK").is_some() { 100_000_u64 } else { 5_000 };
    let flood = format!(
        "i=0; while [ $i -lt {lines} ]; do echo \"{{\\\"jsonrpc\\\":\\\"2.0\\\",\\\"method\\\":\\\"n$i\\\"}}\"; i=$((i+1)); done; cat >/dev/null"
    );
    let mut engines: Vec<Wrapped> =
        (0..10).map(|n| Wrapped::of(data, &format!("e{n}"), &[], &["sh", "-c", &flood])).collect();
    eventually("all are there", || sockets(data).len() == 10);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let paths = sockets(data);
    let hubs: Vec<_> = runtime.block_on(async {
        let mut hubs = Vec::new();
        for number in 0..3 {
            let (hub, engine, _) = shadowcat::control::Hub::new(&format!("screen {number}"), 0);
            assert_eq!(hub.attach(&paths).await.len(), 0);
            hubs.push((hub, engine));
        }
        hubs
    });
    // The clients read everything that their servers send.
    for engine in &mut engines {
        let mut line = String::new();
        for _ in 0..lines {
            line.clear();
            assert_ne!(engine.stdout.read_line(&mut line).unwrap(), 0);
        }
    }
    for engine in engines {
        engine.ends();
    }
    for (_, engine) in &hubs {
        let mut tail = engine.log().tail(1);
        let mut frames = 0;
        // Read in batches: a hub does not keep all records in memory.
        let mut read = || {
            while let records = tail.read(1000)
                && !records.is_empty()
            {
                frames += records.iter().filter(|record| record.frame().is_some()).count() as u64;
            }
            frames
        };
        let mut last = (0, 0);
        // A hub that has fallen behind reads the rest from the tapes: wait as long as it makes progress.
        loop {
            let now = read();
            if now >= 10 * lines {
                break;
            }
            if now > last.0 {
                last = (now, 0)
            } else {
                last.1 += 1
            }
            assert!(last.1 < 1200, "{now} of {} frames; gaps {:?}", 10 * lines, engine.log().lost());
            std::thread::sleep(Duration::from_millis(50));
        }
        assert_eq!(read(), 10 * lines);
    }
    for tape in crate::support::tapes(data) {
        let opened = shadowcat::tape::open(&tape, &mut |_, _| ()).unwrap();
        assert_eq!((opened.world.rows.len() as u64, opened.log.lost()), (lines, 0));
    }
}

#[test]
fn ci_gate_script_fails_on_errors() {
    let gate = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/gate.sh");
    let client = |calls: &str| {
        let greeting = r#"{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"ci","version":"1"}}}"#;
        format!(
            "(echo '{greeting}'; sleep 0.3; echo '{{\"jsonrpc\":\"2.0\",\"method\":\"notifications/initialized\"}}'; {calls}; sleep 0.3) | {program} forward stdio --name job -- {program} demo-server --pace 1 >/dev/null",
            program = program()
        )
    };
    let call = |tool: &str, arguments: Value| {
        let params = json!({ "name": tool, "arguments": arguments });
        format!("echo '{}'", json!({ "jsonrpc": "2.0", "id": 7, "method": "tools/call", "params": params }))
    };
    let gated = |calls: &str| {
        let data = tempfile::tempdir().unwrap();
        let mut command = Command::new("sh");
        command.arg(&gate).args(["job", "sh", "-c", &client(calls)]);
        command.env("SHADOWCAT", program()).env("SHADOWCAT_DATA_DIR", data.path());
        let output = run(command, b"");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        (output.status.code(), said)
    };
    let (code, said) = gated(&call("add", json!({ "a": 1, "b": 2 })));
    assert_eq!(code, Some(0), "{said}");
    let (code, said) = gated(&call("no-such-tool", json!({})));
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("no-such-tool"), "{said}");
}

#[test]
fn configured_breakpoint_holds_the_handshake_and_broken_file_is_tolerated() {
    let data = tempfile::tempdir().unwrap();
    let data = data.path();
    let file = data.join("config.toml");
    std::fs::write(&file, "break = [\"method:initialize kind:req\"]\nhold_unattended = \"1m\"\n").unwrap();
    let params = json!({ "protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": { "name": "x", "version": "1" } });
    let first = json!({ "jsonrpc": "2.0", "id": 1, "method": "initialize", "params": params });
    let start = |file: &Path| {
        let mut command = shadowcat(data);
        command.args(["forward", "stdio", "--name", "calc", "--", program(), "demo-server"]);
        // The environment names the directory of the configuration.
        command.env("XDG_CONFIG_HOME", file);
        Wrapped::spawn(command)
    };
    std::fs::create_dir_all(data.join("xdg/shadowcat")).unwrap();
    std::fs::copy(&file, data.join("xdg/shadowcat/config.toml")).unwrap();
    let mut wrapped = start(&data.join("xdg"));
    wrapped.send(&first);
    eventually("the handshake is held", || held(data).len() == 1);
    run_ok(data, &["accept", "--all"]);
    assert!(wrapped.receive_reply(1)["result"].is_object());
    wrapped.ends();
    std::fs::write(data.join("xdg/shadowcat/config.toml"), "break = [\"nonsense:x\"]").unwrap();
    let mut wrapped = start(&data.join("xdg"));
    wrapped.initialize();
    wrapped.ends();
    let tapes = crate::support::tapes(data);
    let tape = std::fs::read_to_string(tapes.iter().max().unwrap()).unwrap();
    assert!(
        tapes.iter().any(|tape| std::fs::read_to_string(tape).unwrap().contains("no configuration")),
        "{tape}"
    );
    // A broken file that is named on the command line is an error at once.
    let mut command = shadowcat(data);
    command.args(["--config", data.join("xdg/shadowcat/config.toml").to_str().unwrap(), "ctl", "sessions"]);
    let refused = run(command, b"");
    assert_eq!(refused.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("line 1"));
}

#[test]
fn full_disk_stops_neither_forwarding_nor_decisions() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path();
    // The size limit applies to all files of this process and its children.
    let script = format!(
        "ulimit -f 8; exec {} forward stdio --name full -- {} demo-server --pace 1",
        program(),
        program()
    );
    let mut command = Command::new("sh");
    command.args(["-c", &script]).env("SHADOWCAT_DATA_DIR", data);
    let mut wrapped = Wrapped::spawn(command);
    wrapped.initialize();
    for id in 2..200 {
        wrapped.call_add(id, 1, 1);
        assert!(wrapped.receive_reply(id)["result"].is_object());
    }
    run_ok(data, &["hold", "tool:add kind:req"]);
    wrapped.call_add(500, 20, 22);
    eventually("a hold", || held(data).len() == 1);
    run_ok(data, &["accept", "--all"]);
    assert!(wrapped.receive_reply(500).to_string().contains("42"));
    // The tape is written asynchronously, so the failure shows at its next write.
    let mut peer = Peer::with_hello(data, "x");
    eventually("the failure is told", || {
        peer.ask("engine/facts", json!({}))["result"]["tape"]["failing"].is_string()
    });
    wrapped.ends();
}

#[test]
fn controller_belongs_to_its_connection_and_ends_with_it() {
    let data = tempfile::tempdir().unwrap();
    let data = data.path();
    let wrapped = Wrapped::demo(data, "seats", &[]);
    let mut one = Peer::with_hello(data, "one");
    assert!(one.ask("seat/take", json!({ "name": "one" }))["result"]["seat"].is_u64());
    let again = one.ask("seat/take", json!({ "name": "one again" }));
    assert!(again["error"]["message"].as_str().unwrap().contains("leave it first"), "{again}");
    let mut two = Peer::with_hello(data, "two");
    let seat = two.ask("seat/take", json!({ "name": "two" }))["result"]["seat"].clone();
    // Any controller may begin to hold everything; only the deciding one may end it.
    assert!(two.ask("hold/everything", json!({ "on": true }))["error"].is_null());
    let refused = two.ask("hold/everything", json!({ "on": false }));
    assert!(refused["error"]["message"].as_str().unwrap().contains("take over"), "{refused}");
    assert!(two.ask("seat/decide", json!({ "seat": seat }))["error"].is_null());
    assert!(two.ask("hold/everything", json!({ "on": false }))["error"].is_null());
    // Peers that disconnect before the answer to their last request, half of them by an explicit shutdown.
    for peer in 0..20 {
        let mut hasty = Peer::with_hello(data, "hasty");
        let take =
            json!({ "jsonrpc": "2.0", "id": 99, "method": "seat/take", "params": { "name": "hasty" } });
        writeln!(hasty.stream, "{take}").unwrap();
        if peer % 2 == 0 {
            hasty.stream.shutdown(std::net::Shutdown::Both).unwrap();
        }
    }
    drop(one);
    let mut controllers = Value::Null;
    eventually("those who are gone have left their seats", || {
        controllers = two.ask("breakpoint/list", json!({}))["result"]["watchers"].clone();
        controllers.as_array().is_some_and(|controllers| controllers.len() == 1)
    });
    assert_eq!(controllers[0]["name"], "two");
    drop(wrapped);
}

#[test]
fn requests_before_end_of_input_are_answered_in_order() {
    let data = tempfile::tempdir().unwrap();
    let data = data.path();
    let wrapped = Wrapped::demo(data, "order", &[]);
    let mut peer = Peer::connect(data);
    let mut text = String::new();
    let mut say = |id: u64, method: &str, params: Value| {
        let request = json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params });
        text.push_str(&format!("{request}\n"));
    };
    say(0, "hello", json!({ "version": 1, "name": "piped" }));
    // Send more requests than may be in progress at once.
    for id in 1..200 {
        match id % 2 {
            0 => say(id, "breakpoint/list", json!({})),
            _ => say(id, "breakpoint/add", json!({ "query": format!("method:x{id}") })),
        }
    }
    peer.stream.write_all(text.as_bytes()).unwrap();
    peer.stream.shutdown(std::net::Shutdown::Write).unwrap();
    let mut ids = Vec::new();
    let mut points = 0;
    loop {
        let mut line = String::new();
        if peer.lines.read_line(&mut line).unwrap() == 0 {
            break;
        }
        let message: Value = serde_json::from_str(&line).unwrap();
        let Some(id) = message["id"].as_u64() else { continue };
        if let Some(list) = message["result"]["points"].as_array() {
            assert_eq!(list.len() as u64, id / 2, "a list contains the breakpoints of all earlier requests");
            points = list.len();
        }
        ids.push(id);
    }
    assert_eq!(ids, (0..200).collect::<Vec<_>>());
    assert_eq!(points, 99);
    drop(wrapped);
}

#[test]
fn sessions_and_tapes_are_listed_over_the_socket() {
    let data = tempfile::tempdir().unwrap();
    let data = data.path();
    let mut before = Wrapped::demo(data, "before", &[]);
    before.initialize();
    before.call_add(2, 20, 22);
    before.receive_reply(2);
    before.ends();
    let mut now = Wrapped::demo(data, "now", &[]);
    now.initialize();
    let mut peer = Peer::with_hello(data, "x");
    let sessions = peer.ask("session/list", json!({}))["result"].clone();
    assert_eq!(sessions[0]["name"], "now", "{sessions:#}");
    assert_eq!(sessions[0]["client"], "tester");
    assert!(peer.ask("engine/facts", json!({}))["result"].get("sessions").is_none());
    let tapes = peer.ask("tape/list", json!({ "text": "before" }))["result"].clone();
    assert_eq!((tapes[0]["name"].as_str(), tapes.as_array().map(Vec::len)), (Some("before"), Some(1)));
    let of = |filter: &str| json!({ "tape": tapes[0]["tape"], "filter": filter });
    let frames = peer.ask("tape/frames", of("tool:add kind:resp"))["result"].clone();
    assert!(frames[0]["message"].to_string().contains("42"), "{frames:#}");
    assert_eq!(peer.ask("tape/frames", of("nonsense:x"))["error"]["code"], -32602);
    let nothing = peer.ask("tape/frames", json!({ "tape": "no-such-tape" }));
    assert!(nothing["error"]["message"].as_str().unwrap().contains("no-such-tape"), "{nothing}");
}
