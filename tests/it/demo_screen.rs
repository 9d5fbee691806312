//! Tests of the program in a real terminal: they press keys and check the cells of the screen.

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use portable_pty::PtySize;

use crate::pty_terminal::{Terminal, cells};
use crate::support::{eventually, is_alive, tapes};

#[test]
fn demo_holds_and_releases_a_call_from_the_form() {
    let data = tempfile::tempdir().unwrap();
    let mut terminal = Terminal::open(data.path(), &["demo"]);
    terminal.shows("not JSON: DB connected");
    terminal.shows("tools/call hang");
    // Set a breakpoint, send a call from the form, release it, and read the result.
    terminal.press(" rb");
    terminal.shows("break on:");
    terminal.press("tool:add dir:c2s\r");
    terminal.shows("ARMED 1");
    terminal.press("4");
    terminal.shows("Offers");
    terminal.press("\r");
    terminal.shows("add · form");
    terminal.press("20\t22\x13");
    terminal.shows("is held, 3 shows it");
    terminal.press("\x1b");
    // Escape followed at once by a key reads as another key, and no change on the screen shows that
    // Escape has arrived: wait.
    std::thread::sleep(std::time::Duration::from_millis(500));
    terminal.press("3");
    terminal.shows("\"b\": 22");
    terminal.press("a4");
    terminal.shows("\"text\": \"42\"");
    terminal.press("2q");
    assert!(terminal.ends().success());
    terminal.terminal_is_restored();
    terminal.shows("frames");
    assert_eq!(tapes(data.path()).len(), 1);
}

#[test]
fn demo_over_http_leaves_no_process() {
    let data = tempfile::tempdir().unwrap();
    let mut terminal = Terminal::open(data.path(), &["demo", "--http", "--no-tape"]);
    terminal.shows("SSE");
    terminal.shows("tools/call hang");
    terminal.press(" rb");
    terminal.shows("break on:");
    terminal.press("tool:add dir:c2s\r");
    terminal.shows("ARMED 1");
    terminal.press("4\r");
    terminal.shows("add · form");
    terminal.press("20\t22\x13");
    terminal.shows("is held, 3 shows it");
    terminal.press("\x1b");
    std::thread::sleep(std::time::Duration::from_millis(500));
    terminal.press("3H");
    terminal.shows("headers unchanged");
    terminal.press("\x1b");
    terminal.shows("Esc discards");
    terminal.press_escape("Esc discards");
    terminal.press("a");
    terminal.shows("No frame is held");
    let children = terminal.children();
    assert!(!children.is_empty());
    terminal.press("2q");
    assert!(terminal.ends().success());
    terminal.terminal_is_restored();
    eventually("its servers are gone", || !children.iter().any(|pid| is_alive(*pid)));
}

#[test]
fn external_editor_returns_its_text_and_the_screen_is_restored() {
    let data = tempfile::tempdir().unwrap();
    let mut terminal = Terminal::open(data.path(), &["demo", "--no-tape"]);
    terminal.shows("tools/call hang");
    terminal.press("4\x0e");
    terminal.shows("message to the server");
    terminal.press("\x1b[200~Bern\x1b[201~");
    terminal.shows("Bern");
    terminal.press("\x0f");
    terminal.shows("Basel");
    terminal.shows("Offers");
    terminal.press("\x03");
    assert!(terminal.ends().success());
}

#[test]
fn screen_follows_resizes_below_the_minimum_size() {
    let data = tempfile::tempdir().unwrap();
    let mut terminal = Terminal::open(data.path(), &["demo", "--no-tape"]);
    terminal.shows("tools/call");
    for (rows, cols, expected) in [(15, 60, "2 Frames"), (14, 60, "needs 60x15"), (40, 150, "2 Frames")] {
        terminal.parser.lock().unwrap().screen_mut().set_size(cells(rows), cells(cols));
        let size = PtySize { rows, cols, pixel_width: 0, pixel_height: 0 };
        terminal.master.as_ref().unwrap().resize(size).unwrap();
        terminal.shows(expected);
    }
    terminal.press("q");
    assert!(terminal.ends().success());
}

#[test]
fn signals_restore_the_terminal_and_leave_no_process() {
    for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP] {
        let data = tempfile::tempdir().unwrap();
        let mut terminal = Terminal::open(data.path(), &["demo"]);
        terminal.shows("tools/call");
        let children = terminal.children();
        assert!(!children.is_empty());
        kill(Pid::from_raw(terminal.pid()), signal).unwrap();
        terminal.ends();
        terminal.terminal_is_restored();
        for pid in children {
            eventually("its servers are gone", || !is_alive(pid));
        }
        let tape = tapes(data.path()).pop().unwrap();
        let mut reader = shadowcat::tape::Reader::open(&tape).unwrap();
        reader.by_ref().for_each(drop);
        assert!(reader.ending().seal.is_some(), "{signal}: the tape is sealed");
    }
}

#[test]
fn losing_the_terminal_ends_all_processes() {
    let data = tempfile::tempdir().unwrap();
    let mut terminal = Terminal::open(data.path(), &["demo"]);
    terminal.shows("tools/call");
    let children = terminal.children();
    terminal.master = None;
    terminal.keys = Box::new(std::io::sink());
    // The reader thread keeps the terminal open until the program ends, so the kernel sends no
    // SIGHUP: send it here.
    kill(Pid::from_raw(terminal.pid()), Signal::SIGHUP).unwrap();
    terminal.ends();
    for pid in children {
        eventually("its servers are gone", || !is_alive(pid));
    }
}

#[test]
fn demo_starts_cleanly_after_sigkill() {
    let data = tempfile::tempdir().unwrap();
    let mut terminal = Terminal::open(data.path(), &["demo"]);
    terminal.shows("tools/call");
    let children = terminal.children();
    kill(Pid::from_raw(terminal.pid()), Signal::SIGKILL).unwrap();
    terminal.ends();
    for pid in children {
        eventually("its servers saw the end of their input", || !is_alive(pid));
    }
    let mut again = Terminal::open(data.path(), &["demo"]);
    again.shows("tools/call");
    again.press("q");
    assert!(again.child.wait().unwrap().success());
    assert_eq!(tapes(data.path()).len(), 2);
}

#[test]
fn dead_server_is_announced_and_can_be_restarted() {
    let data = tempfile::tempdir().unwrap();
    let script = "echo 'it hurts' >&2; read line; exit 3";
    let mut terminal =
        Terminal::open(data.path(), &["tui", "--era", "2025", "--name", "sick", "--", "sh", "-c", script]);
    terminal.shows("exited 3");
    terminal.press("9");
    terminal.shows("it hurts");
    terminal.shows("session 1 ended");
    terminal.press("2 sr");
    terminal.shows("s2");
    terminal.press("q");
    assert!(terminal.ends().success());
}

#[test]
fn demo_without_a_terminal_suggests_forward_stdio() {
    let data = tempfile::tempdir().unwrap();
    let mut command = crate::support::shadowcat(data.path());
    command.args(["demo", "--no-tape"]);
    let output = crate::support::run(command, b"");
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("forward stdio"));
}

/// A burst of 100 000 frames with the screen attached: no frame is lost, and keys still work.
#[test]
fn burst_with_the_screen_attached_loses_no_frame() {
    let data = tempfile::tempdir().unwrap();
    let script =
        "yes '{\"jsonrpc\":\"2.0\",\"method\":\"notifications/x\"}' | head -n 100000; read line; read line";
    let mut terminal =
        Terminal::open(data.path(), &["tui", "--era", "2025", "--name", "burst", "--", "sh", "-c", script]);
    terminal.shows("/100001 frames");
    terminal.press("gg");
    terminal.shows("#2 · tree");
    terminal.press("q");
    assert!(terminal.ends().success());
    let tape = tapes(data.path()).pop().unwrap();
    let mut reader = shadowcat::tape::Reader::open(&tape).unwrap();
    let frames = reader.by_ref().filter(|record| record.frame().is_some()).count();
    assert!(frames >= 100_000);
    assert_eq!(reader.ending().damage, []);
}
