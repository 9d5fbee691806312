//! Tests of `shadowcat tui` in a real terminal, attached to engines of other processes.

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::control_socket::Wrapped;
use crate::pty_terminal::Terminal;
use crate::support::{eventually, is_alive, shadowcat, tapes};

#[test]
fn screen_holds_and_edits_messages_of_another_process() {
    let data = tempfile::tempdir().unwrap();
    let data = data.path();
    let mut terminal = Terminal::open(data, &["tui"]);
    terminal.shows("Nothing is running yet");
    // Two servers start later, each by its own client.
    let mut calc = Wrapped::demo(data, "calc", &[]);
    let mut other = Wrapped::demo(data, "other", &[]);
    calc.initialize();
    other.initialize();
    terminal.shows("2 sessions run");
    terminal.shows("● calc");
    terminal.shows("tester 1");
    // Show the frames of both in one list, and set a breakpoint on one session.
    terminal.press("a");
    terminal.shows("SERVER");
    terminal.press(" rb");
    terminal.shows("break on:");
    terminal.press("tool:add sess:calc kind:req\r");
    terminal.shows("ARMED 1");
    other.call_add(2, 1, 1);
    assert!(other.receive_reply(2)["result"].is_object(), "the other session goes on");
    calc.call_add(2, 1111, 0);
    terminal.shows("3 Intercept●1");
    terminal.press("3");
    terminal.shows("\"a\": 1111");
    // The screen shows the frame number that `ctl held` prints.
    let mut ctl = shadowcat(data);
    ctl.args(["ctl", "held", "--output", "json"]);
    let held: serde_json::Value = serde_json::from_slice(&crate::support::run(ctl, b"").stdout).unwrap();
    terminal.shows(&format!("calc#{}", held[0]["id"]));
    terminal.press("E");
    terminal.shows("\"a\": 2222");
    terminal.press("\x13");
    assert!(calc.receive_reply(2).to_string().contains("2222"), "the client sees the edit");
    terminal.press(&format!("2g:calc#{}\r", held[0]["id"]));
    terminal.shows(&format!("calc#{} ·", held[0]["id"]));
    terminal.press("3");
    terminal.shows("No frame is held");
    // When the engine is killed, its frames stay readable.
    calc.child.kill().unwrap();
    calc.child.wait().unwrap();
    terminal.shows("no longer answers");
    terminal.press("1");
    terminal.shows("1 session runs");
    terminal.press("G");
    terminal.press("q");
    assert!(terminal.ends().success());
    terminal.terminal_is_restored();
    terminal.shows("detached; 1 shadowcat process keeps running");
    other.call_add(3, 1, 1);
    assert!(other.receive_reply(3)["result"].is_object());
}

#[test]
fn killed_screens_release_their_held_frames() {
    let data = tempfile::tempdir().unwrap();
    let data = data.path();
    let mut calc = Wrapped::demo(data, "calc", &[]);
    calc.initialize();
    let mut first = Terminal::open(data, &["tui"]);
    first.shows("1 session runs");
    let mut second = Terminal::open(data, &["tui"]);
    // The screen knows the deciding controller before the sessions, and without a session Enter
    // would open a recording: wait for the session.
    second.shows("1 session runs");
    second.shows("decides");
    first.shows("+1 watching");
    second.press(" ad");
    first.shows("decides");
    second.press("\r rb");
    second.shows("break on:");
    second.press("tool:add\r");
    first.shows("ARMED 1");
    calc.call_add(2, 1, 2);
    first.shows("3 Intercept●1");
    // When the deciding screen is killed, the other one can decide.
    kill(Pid::from_raw(second.pid()), Signal::SIGKILL).unwrap();
    second.ends();
    first.press("3");
    first.shows("tools/call add");
    first.press("w");
    first.shows("result");
    kill(Pid::from_raw(first.pid()), Signal::SIGKILL).unwrap();
    first.ends();
    assert!(calc.receive_reply(2).to_string().contains('3'), "held replies go on as well");
    drop(calc.stdin.take());
    calc.child.wait().unwrap();
    let tape = std::fs::read_to_string(&tapes(data)[0]).unwrap();
    assert!(tape.contains("is gone, nobody decides"), "{tape}");
}

#[test]
fn home_opens_and_leaves_a_recording() {
    let data = tempfile::tempdir().unwrap();
    let data = data.path();
    let mut calc = Wrapped::demo(data, "calc", &[]);
    calc.initialize();
    drop(calc.stdin.take());
    calc.child.wait().unwrap();
    let mut terminal = Terminal::open(data, &["tui"]);
    terminal.shows("Nothing is running");
    terminal.shows("calc");
    terminal.press("\r");
    terminal.shows("As of #");
    terminal.press("\x1b");
    terminal.shows("Nothing is running");
    // Open a recording by its name; the error about a missing one names it.
    terminal.press("o");
    terminal.shows("open recording:");
    terminal.press("calc\r");
    terminal.shows("As of #");
    terminal.press("q");
    terminal.shows("Nothing is running");
    terminal.press("ono-such\r");
    terminal.shows("no tape \"no-such\"");
    // The prompt keeps the typed text.
    terminal.shows("open recording: no-such");
    terminal.press_escape("open recording:");
    terminal.press("q");
    assert!(terminal.ends().success());
}

#[test]
fn home_launches_servers_and_ends_them() {
    let data = tempfile::tempdir().unwrap();
    let data = data.path();
    let mut terminal = Terminal::open(data, &["tui"]);
    terminal.shows("Nothing is running yet");
    terminal.press("l");
    terminal.shows("launch:");
    terminal.press("no-such-program --now\r");
    terminal.shows("not found in PATH");
    terminal.shows("launch: no-such-program --now");
    terminal.press("\x15");
    terminal.press(&format!("'{}' demo-server --pace 1\r", crate::support::program()));
    terminal.shows("tools/list");
    let children = terminal.children();
    assert_eq!(children.len(), 1);
    terminal.press("1");
    terminal.shows("1 session runs");
    terminal.press("q");
    terminal.shows("Nothing is running");
    eventually("its server has ended", || !is_alive(children[0]));
    // The ended session is in the list of recordings now.
    terminal.shows("server: shadowcat-demo");
    terminal.press("d");
    terminal.shows("tools/call hang");
    terminal.press("q");
    terminal.shows("Nothing is running");
    terminal.press("q");
    assert!(terminal.ends().success());
    terminal.terminal_is_restored();
}

#[test]
fn home_shows_earlier_failures_and_idle_proxies() {
    let data = tempfile::tempdir().unwrap();
    let data = data.path();
    let script = "echo 'ModuleNotFoundError: no module named weather' >&2; exit 1";
    let mut failed = Wrapped::of(data, "weather", &[], &["sh", "-c", script]);
    failed.child.wait().unwrap();
    // An HTTP proxy without clients yet.
    let mut door = shadowcat(data);
    door.args(["forward", "http", "--upstream", "http://127.0.0.1:9/mcp", "--listen", "127.0.0.1:0"]);
    let door = Wrapped::spawn(door);
    let mut terminal = Terminal::open(data, &["tui"]);
    terminal.shows("weather: exited 1 after");
    terminal.shows("ModuleNotFoundError: no module");
    terminal.shows("forward http: no client yet");
    drop(door);
    terminal.press("q");
    assert!(terminal.ends().success());
}

#[test]
fn home_wraps_and_unwraps_a_client_server() {
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join(".cursor/mcp.json");
    std::fs::create_dir_all(file.parent().unwrap()).unwrap();
    let before = "{\n  // mine\n  \"mcpServers\": { \"calc\": { \"command\": \"calc-server\" } }\n}\n";
    std::fs::write(&file, before).unwrap();
    let data = home.path().join("data");
    std::fs::create_dir_all(&data).unwrap();
    let mut terminal = Terminal::open_with(&data, &["tui"], &[("SHADOWCAT_HOME", home.path())]);
    terminal.shows("Nothing is running yet");
    terminal.press("w");
    terminal.shows("wrap calc of Cursor");
    terminal.press("a");
    terminal.shows("Enter changes the file");
    terminal.shows("calc-server");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), before, "the change is only shown so far");
    terminal.press("\r");
    terminal.shows("saved; Cursor:");
    let wrapped = std::fs::read_to_string(&file).unwrap();
    assert!(wrapped.contains("forward") && wrapped.contains("// mine"), "{wrapped}");
    terminal.press("w");
    terminal.shows("unwrap calc of Cursor");
    terminal.press("a");
    terminal.shows("Enter changes the file");
    terminal.press("\r");
    terminal.shows("saved; Cursor:");
    eventually("every byte is back", || std::fs::read_to_string(&file).unwrap() == before);
    terminal.press("q");
    assert!(terminal.ends().success());
}

#[test]
fn via_option_attaches_to_a_remote_machine() {
    let data = tempfile::tempdir().unwrap();
    let data = data.path();
    let mut calc = Wrapped::demo(data, "far", &[]);
    calc.initialize();
    // The stand-in for ssh runs its command on this machine, as a remote shell would.
    let ssh = data.join("ssh");
    let script = format!(
        "#!/bin/sh\nwhile [ \"$1\" != -- ]; do shift; done\nshift; [ \"$1\" = me@there ] || exit 9; shift; shift\nexec {} \"$@\"\n",
        crate::support::program()
    );
    std::fs::write(&ssh, script).unwrap();
    std::fs::set_permissions(&ssh, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let mut terminal =
        Terminal::open_with(data, &["tui", "--via", "ssh://me@there:22"], &[("SHADOWCAT_SSH", &ssh)]);
    terminal.shows("1 session runs");
    terminal.press("\r");
    calc.call_add(2, 20, 22);
    assert!(calc.receive_reply(2)["result"].is_object());
    terminal.shows("tools/call add");
    terminal.press("q");
    assert!(terminal.ends().success());
    for wrong in ["there", "ssh://", "ssh://-oProxyCommand=x"] {
        let mut command = shadowcat(data);
        command.args(["tui", "--via", wrong]);
        assert_eq!(crate::support::run(command, b"").status.code(), Some(2), "{wrong}");
    }
}

#[test]
fn client_attaches_to_a_server_launched_by_a_screen() {
    let data = tempfile::tempdir().unwrap();
    let data = data.path();
    let program = crate::support::program();
    let launch = ["tui", "--name", "calc", "--era", "2025", "--", program, "demo-server", "--pace", "1"];
    let mut terminal = Terminal::open(data, &launch);
    terminal.shows("tools/list");
    let mut attach = shadowcat(data);
    attach.args(["attach", "calc"]);
    let mut client = Wrapped::spawn(attach);
    client.initialize();
    terminal.press("1");
    terminal.shows("2 sessions run");
    terminal.shows("tester 1");
    // Messages of the client are held and edited at the screen that launched the server.
    terminal.press("a rb");
    terminal.shows("break on:");
    terminal.press("tool:add kind:req\r");
    terminal.shows("ARMED 1");
    client.call_add(2, 1111, 0);
    terminal.shows("Intercept●1");
    terminal.press("3");
    terminal.shows("\"a\": 1111");
    terminal.press("E");
    terminal.shows("\"a\": 2222");
    terminal.press("\x13");
    assert!(client.receive_reply(2).to_string().contains("2222"));
    terminal.shows("No frame is held");
    // Quitting asks first, since the client would lose its server.
    terminal.press("q");
    terminal.shows("1 client is attached");
    terminal.press_escape("1 client is attached");
    // A client that leaves ends only its own server process.
    drop(client.stdin.take());
    assert!(client.child.wait().unwrap().success());
    terminal.press("1");
    terminal.shows("1 session runs");
    let mut nobody = shadowcat(data);
    nobody.args(["attach", "no-such-name"]);
    assert_eq!(crate::support::run(nobody, b"").status.code(), Some(3));
    let mut other = Wrapped::demo(data, "other", &[]);
    other.initialize();
    let mut refused = shadowcat(data);
    refused.args(["attach", "other"]);
    let refused = crate::support::run(refused, b"");
    assert_eq!(refused.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("has no server that clients can attach to"));
    terminal.press("q");
    assert!(terminal.ends().success());
}

/// Starts a client that joins the server called `calc`.
fn attached(data: &std::path::Path, options: &[&str]) -> Wrapped {
    let mut attach = shadowcat(data);
    attach.args(["attach", "calc"]).args(options);
    Wrapped::spawn(attach)
}

#[test]
fn clients_share_a_process_launched_by_a_screen() {
    for (era, options) in [("2025", &["--share"][..]), ("2026", &[])] {
        let data = tempfile::tempdir().unwrap();
        let data = data.path();
        let program = crate::support::program();
        let launch = ["tui", "--name", "calc", "--era", era, "--", program, "demo-server", "--pace", "1"];
        let mut terminal = Terminal::open(data, &launch);
        terminal.shows("tools/list");
        let mut one = attached(data, options);
        let mut other = attached(data, options);
        for (client, own) in [(&mut one, "one"), (&mut other, "other")] {
            if era == "2025" {
                client.initialize();
            }
            client.call_as(own, era, 7, 20, if own == "one" { 1 } else { 2 });
        }
        // The clients use the same id, and each gets its own answer.
        assert!(one.receive_reply(7).to_string().contains("21"));
        assert!(other.receive_reply(7).to_string().contains("22"));
        terminal.press("1");
        terminal.shows("3 sessions run");
        assert_eq!(terminal.children().len(), 1, "one process");
        // When one client leaves, the other one and the screen go on.
        one.ends();
        terminal.shows("2 sessions run");
        other.call_as("other", era, 8, 30, 3);
        assert!(other.receive_reply(8).to_string().contains("33"));
        // When the screen is left, the server ends, and its client sees the end.
        terminal.press("q");
        terminal.shows("1 client is attached");
        terminal.press("q");
        assert!(terminal.ends().success());
        other.ends();
        let tape = std::fs::read_to_string(&tapes(data)[0]).unwrap();
        assert!(tape.contains("rewritten to"), "the tape records the mapped ids");
        assert!(tape.contains("shares process"));
    }
}

/// Returns the resident memory of a process in bytes.
fn memory(pid: i32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() << 10
}

#[test]
fn three_screens_keep_up_with_ten_engines() {
    let soak = std::env::var_os("SHADOWCAT_SOAK").is_some();
    let lines: usize = if soak { 300_000 } else { 5_000 };
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path();
    // The flood begins when the client sends its first line.
    let flood = format!(
        "read go; seq -f '{{\"jsonrpc\":\"2.0\",\"method\":\"notifications/message\",\"params\":{{\"level\":\"info\",\"data\":%.0f}}}}' {lines}; cat >/dev/null"
    );
    let mut engines: Vec<Wrapped> =
        (0..10).map(|n| Wrapped::of(data, &format!("e{n}"), &[], &["sh", "-c", &flood])).collect();
    let mut screens: Vec<Terminal> = (0..3).map(|_| Terminal::open(data, &["tui"])).collect();
    for screen in &mut screens {
        screen.shows("10 sessions run");
        screen.press("a");
        screen.shows("follow");
    }
    let clock = shadowcat::clock::Clock::system();
    for engine in &mut engines {
        engine.send(&serde_json::json!({ "jsonrpc": "2.0", "method": "notifications/go" }));
    }
    let readers: Vec<_> = engines
        .into_iter()
        .map(|mut engine| {
            std::thread::spawn(move || {
                let mut line = String::new();
                for _ in 0..lines {
                    line.clear();
                    assert_ne!(std::io::BufRead::read_line(&mut engine.stdout, &mut line).unwrap(), 0);
                }
                engine
            })
        })
        .collect();
    // The screens answer keys during the flood.
    let mut answered = 0;
    while answered == 0 || readers.iter().any(|reader| !reader.is_finished()) {
        for screen in &mut screens {
            screen.press("?");
            screen.shows("all frames of all sessions");
            screen.press_escape("all frames of all sessions");
            screen.shows("follow");
        }
        answered += 1;
    }
    let engines: Vec<Wrapped> = readers.into_iter().map(|reader| reader.join().unwrap()).collect();
    let took = clock.now().since(shadowcat::clock::Stamp::default());
    // Every client sends a message, and every server its flood.
    let all = 10 * lines + 10;
    for screen in &screens {
        let (mut shown, mut still) = (String::new(), 0);
        while !shown.contains(&format!("{all}/{all} frames")) {
            let now = screen.screen();
            still = if now == shown { still + 1 } else { 0 };
            assert!(still < 2000, "the screen no longer changes: {all} frames are expected\n{now}");
            shown = now;
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
    }
    let of_engines: u64 =
        engines.iter().map(|engine| memory(i32::try_from(engine.child.id()).unwrap())).max().unwrap();
    let of_screens = screens.iter().map(|screen| memory(screen.pid())).max().unwrap();
    // The rate is printed only: the test does not pass or fail by it.
    let rate = all as f64 / took.as_secs_f64();
    std::io::Write::write_all(
        &mut std::io::stdout(),
        format!(
            "{rate:.0} messages/s, {answered} times three keys; engines up to {} MB, screens up to {} MB\n",
            of_engines >> 20,
            of_screens >> 20
        )
        .as_bytes(),
    )
    .unwrap();
    assert!(of_engines < 250 << 20 && of_screens < 700 << 20, "{of_engines} {of_screens}");
    for engine in engines {
        engine.ends();
    }
    for screen in &mut screens {
        screen.press("q");
        assert!(screen.ends().success());
    }
    for tape in tapes(data) {
        let opened = shadowcat::tape::open(&tape, &mut |_, _| ()).unwrap();
        assert_eq!((opened.world.rows.len(), opened.log.lost()), (lines + 1, 0));
    }
}
