//! The program in a real terminal: keys in, cells out.

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use portable_pty::PtySize;

use crate::support::{eventually, is_alive, tapes};
use crate::terminal::{Terminal, cells};

#[test]
fn the_demo_is_watched_stopped_edited_and_left() {
    let data = tempfile::tempdir().unwrap();
    let mut terminal = Terminal::open(data.path(), &["demo"]);
    terminal.sees("not JSON: DB connected");
    terminal.sees("tools/call hang");
    // A breakpoint, a call from the form, an edit in the person's own editor, and the result.
    terminal.press(" rb");
    terminal.sees("break on:");
    terminal.press("tool:add dir:c2s\r");
    terminal.sees("ARMED 1");
    terminal.press("4");
    terminal.sees("Offers");
    terminal.press("\r");
    terminal.sees("add · form");
    terminal.press("20\t22\x13");
    terminal.sees("is held, 3 shows it");
    terminal.press("\x1b");
    // With the next key it would be another one, and nothing shows that it came.
    std::thread::sleep(std::time::Duration::from_millis(500));
    terminal.press("3");
    terminal.sees("\"b\": 22");
    terminal.press("a4");
    terminal.sees("\"text\": \"42\"");
    terminal.press("2q");
    assert!(terminal.ends().success());
    terminal.is_given_back();
    terminal.sees("frames");
    assert_eq!(tapes(data.path()).len(), 1);
}

#[test]
fn the_demo_runs_over_http_and_leaves_nothing() {
    let data = tempfile::tempdir().unwrap();
    let mut terminal = Terminal::open(data.path(), &["demo", "--http", "--no-tape"]);
    terminal.sees("SSE");
    terminal.sees("tools/call hang");
    terminal.press(" rb");
    terminal.sees("break on:");
    terminal.press("tool:add dir:c2s\r");
    terminal.sees("ARMED 1");
    terminal.press("4\r");
    terminal.sees("add · form");
    terminal.press("20\t22\x13");
    terminal.sees("is held, 3 shows it");
    terminal.press("\x1b");
    std::thread::sleep(std::time::Duration::from_millis(500));
    terminal.press("3H");
    terminal.sees("headers stay");
    terminal.press("\x1b");
    terminal.sees("Esc discards");
    terminal.escapes("Esc discards");
    terminal.press("a");
    terminal.sees("Nothing held");
    let children = terminal.children();
    assert!(!children.is_empty());
    terminal.press("2q");
    assert!(terminal.ends().success());
    terminal.is_given_back();
    eventually("its servers are gone", || !children.iter().any(|pid| is_alive(*pid)));
}

#[test]
fn an_edit_in_the_persons_own_editor_comes_back_and_the_screen_too() {
    let data = tempfile::tempdir().unwrap();
    let mut terminal = Terminal::open(data.path(), &["demo", "--no-tape"]);
    terminal.sees("tools/call hang");
    terminal.press("4\x0e");
    terminal.sees("message to the server");
    terminal.press("\x1b[200~Bern\x1b[201~");
    terminal.sees("Bern");
    terminal.press("\x0f");
    terminal.sees("Basel");
    terminal.sees("Offers");
    terminal.press("\x03");
    assert!(terminal.ends().success());
}

#[test]
fn a_resize_is_followed_down_to_the_smallest() {
    let data = tempfile::tempdir().unwrap();
    let mut terminal = Terminal::open(data.path(), &["demo", "--no-tape"]);
    terminal.sees("tools/call");
    for (rows, cols, expected) in [(15, 60, "2 Frames"), (14, 60, "needs 60x15"), (40, 150, "2 Frames")] {
        terminal.parser.lock().unwrap().screen_mut().set_size(cells(rows), cells(cols));
        let size = PtySize { rows, cols, pixel_width: 0, pixel_height: 0 };
        terminal.master.as_ref().unwrap().resize(size).unwrap();
        terminal.sees(expected);
    }
    terminal.press("q");
    assert!(terminal.ends().success());
}

#[test]
fn every_end_leaves_the_terminal_sane_and_no_process_behind() {
    for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP] {
        let data = tempfile::tempdir().unwrap();
        let mut terminal = Terminal::open(data.path(), &["demo"]);
        terminal.sees("tools/call");
        let children = terminal.children();
        assert!(!children.is_empty());
        kill(Pid::from_raw(terminal.pid()), signal).unwrap();
        terminal.ends();
        terminal.is_given_back();
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
fn a_terminal_that_goes_away_ends_everything() {
    let data = tempfile::tempdir().unwrap();
    let mut terminal = Terminal::open(data.path(), &["demo"]);
    terminal.sees("tools/call");
    let children = terminal.children();
    terminal.master = None;
    terminal.keys = Box::new(std::io::sink());
    // Both ends are closed now but for the reader's, which the program's end closes.
    kill(Pid::from_raw(terminal.pid()), Signal::SIGHUP).unwrap();
    terminal.ends();
    for pid in children {
        eventually("its servers are gone", || !is_alive(pid));
    }
}

#[test]
fn after_a_kill_the_next_start_is_clean() {
    let data = tempfile::tempdir().unwrap();
    let mut terminal = Terminal::open(data.path(), &["demo"]);
    terminal.sees("tools/call");
    let children = terminal.children();
    kill(Pid::from_raw(terminal.pid()), Signal::SIGKILL).unwrap();
    terminal.ends();
    for pid in children {
        eventually("its servers saw the end of their input", || !is_alive(pid));
    }
    let mut again = Terminal::open(data.path(), &["demo"]);
    again.sees("tools/call");
    again.press("q");
    assert!(again.child.wait().unwrap().success());
    assert_eq!(tapes(data.path()).len(), 2);
}

#[test]
fn a_server_that_dies_is_announced_and_can_be_restarted() {
    let data = tempfile::tempdir().unwrap();
    let script = "echo 'it hurts' >&2; read line; exit 3";
    let mut terminal =
        Terminal::open(data.path(), &["tui", "--era", "2025", "--name", "sick", "--", "sh", "-c", script]);
    terminal.sees("exited 3");
    terminal.press("9");
    terminal.sees("it hurts");
    terminal.sees("session 1 ended");
    terminal.press("2 sr");
    terminal.sees("s2");
    terminal.press("q");
    assert!(terminal.ends().success());
}

#[test]
fn without_a_terminal_it_says_what_to_do() {
    let data = tempfile::tempdir().unwrap();
    let mut command = crate::support::shadowcat(data.path());
    command.args(["demo", "--no-tape"]);
    let output = crate::support::run(command, b"");
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("forward stdio"));
}

/// 100 000 frames in one burst, with the screen attached: none is lost, keys still work.
#[test]
fn a_burst_with_the_screen_attached_loses_nothing() {
    let data = tempfile::tempdir().unwrap();
    let script =
        "yes '{\"jsonrpc\":\"2.0\",\"method\":\"notifications/x\"}' | head -n 100000; read line; read line";
    let mut terminal =
        Terminal::open(data.path(), &["tui", "--era", "2025", "--name", "burst", "--", "sh", "-c", script]);
    terminal.sees("/100001 frames");
    terminal.press("gg");
    terminal.sees("#2 · tree");
    terminal.press("q");
    assert!(terminal.ends().success());
    let tape = tapes(data.path()).pop().unwrap();
    let mut reader = shadowcat::tape::Reader::open(&tape).unwrap();
    let frames = reader.by_ref().filter(|record| record.frame().is_some()).count();
    assert!(frames >= 100_000);
    assert_eq!(reader.ending().damage, []);
}
