//! Benchmark of the screen: the time from a key press to its effect while 10 000 messages per
//! second arrive, and the processor time and memory that this takes. The program runs in a real
//! pty; this binary is also its server. Run with `cargo bench --bench screen`.

#![expect(clippy::disallowed_methods, reason = "a benchmark reads the real clock")]
#![expect(
    clippy::print_stdout,
    clippy::expect_used,
    reason = "its output is its result, and it stops at the first surprise"
)]

use std::io::{Read, Write};
use std::num::NonZero;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use portable_pty::{CommandBuilder, PtySize, native_pty_system};

const RATE: u64 = 10_000;
const PRESSES: usize = 100;

fn main() {
    if std::env::args().any(|argument| argument == "--flood") {
        return flood();
    }
    let data = tempfile::tempdir().expect("a directory");
    let size = PtySize { rows: 40, cols: 140, pixel_width: 0, pixel_height: 0 };
    let pair = native_pty_system().openpty(size).expect("a pty");
    let own = std::env::current_exe().expect("our path").display().to_string();
    let mut command = CommandBuilder::new(env!("CARGO_BIN_EXE_shadowcat"));
    command.args(["tui", "--era", "2025", "--name", "flood", "--", &own, "--flood"]);
    command.env("SHADOWCAT_DATA_DIR", data.path());
    command.env("TERM", "xterm-256color");
    let began = Instant::now();
    let mut child = pair.slave.spawn_command(command).expect("start");
    let cells = |count| NonZero::new(count).expect("not zero");
    let parser = Arc::new(Mutex::new(vt100::Parser::new(cells(40), cells(140), 0)));
    let mut output = pair.master.try_clone_reader().expect("a reader");
    let sink = Arc::clone(&parser);
    std::thread::spawn(move || {
        let mut chunk = [0; 65536];
        while let Ok(length @ 1..) = output.read(&mut chunk) {
            sink.lock().expect("parser").process(&chunk[..length]);
        }
    });
    let mut keys = pair.master.take_writer().expect("a writer");
    let shows = |text: &str| parser.lock().expect("parser").screen().contents().contains(text);
    let until = |text: &str, there: bool| {
        while shows(text) != there {
            std::thread::sleep(Duration::from_micros(200));
        }
    };
    until("Frames", true);
    println!("first paint after {:.0} ms", began.elapsed().as_secs_f64() * 1e3);
    std::thread::sleep(Duration::from_secs(1));
    let pid = child.process_id().expect("pid");
    let (cpu, wall) = (cpu_ticks(pid), Instant::now());
    let mut times = Vec::new();
    for _ in 0..PRESSES {
        for (key, there) in [("?", true), ("?2", false)] {
            let pressed = Instant::now();
            keys.write_all(&key.as_bytes()[key.len() - 1..]).expect("a key");
            keys.flush().expect("a key");
            until("Help · Frames", there);
            times.push(pressed.elapsed().as_secs_f64() * 1e3);
            std::thread::sleep(Duration::from_millis(10));
        }
    }
    let share = (cpu_ticks(pid) - cpu) as f64 / 100.0 / wall.elapsed().as_secs_f64();
    times.sort_by(f64::total_cmp);
    println!(
        "key to paint at {RATE} messages/s: p50 {:.1} ms, p99 {:.1} ms",
        times[times.len() / 2],
        times[times.len() * 99 / 100]
    );
    println!("the whole program takes {:.0} % of a core (wire, tape and screen)", share * 100.0);
    println!("resident memory {} kB", resident(pid));
    keys.write_all(b"q").expect("a key");
    drop(keys);
    let _ = child.wait();
}

/// Writes [`RATE`] messages per second until its input ends.
fn flood() {
    std::thread::spawn(|| {
        let began = Instant::now();
        let mut out = std::io::stdout().lock();
        let mut said = 0;
        loop {
            let due = u64::try_from(began.elapsed().as_micros()).unwrap_or(0) * RATE / 1_000_000;
            while said < due {
                said += 1;
                let line = format!(
                    r#"{{"jsonrpc":"2.0","method":"notifications/message","params":{{"level":"info","data":"message {said}"}}}}"#
                );
                if writeln!(out, "{line}").is_err() {
                    return;
                }
            }
            let _ = out.flush();
            std::thread::sleep(Duration::from_millis(1));
        }
    });
    let mut rest = Vec::new();
    let _ = std::io::stdin().read_to_end(&mut rest);
}

/// Returns the user and system time of a process in hundredths of a second.
fn cpu_ticks(pid: u32) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let fields: Vec<&str> = stat.rsplit(") ").next().unwrap_or_default().split(' ').collect();
    [11, 12].iter().filter_map(|at| fields.get(*at)?.parse::<u64>().ok()).sum()
}

fn resident(pid: u32) -> String {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.map(|line| line.trim().trim_end_matches(" kB").to_owned()).unwrap_or_default()
}
