//! Benchmark of `forward stdio`: round trips and throughput, compared with a direct pipe and with a
//! plain byte relay in C, in turn in the same run, so that the ratios hold when the speed of the
//! machine drifts. Run with `cargo bench --bench relay`.

#![expect(clippy::disallowed_methods, reason = "a benchmark reads the real clock")]
#![expect(
    clippy::print_stdout,
    clippy::expect_used,
    reason = "its output is its result, and it stops at the first surprise"
)]

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

const ROUNDS: usize = 9;
const TRIPS: usize = 3000;
const LINES: usize = 300_000;

fn variants(relay: &Path, data: &Path) -> Vec<(&'static str, Vec<String>)> {
    let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
    let relay = relay.display().to_string();
    let program = env!("CARGO_BIN_EXE_shadowcat");
    let data = format!("SHADOWCAT_DATA_DIR={}", data.display());
    vec![
        ("direct pipe", words(&["cat"])),
        ("relay in C", words(&[&relay, "cat"])),
        ("forward, no tape", words(&[program, "forward", "stdio", "--no-tape", "--", "cat"])),
        ("forward, recording", words(&["env", &data, program, "forward", "stdio", "--", "cat"])),
    ]
}

fn start(words: &[String]) -> (Child, ChildStdin, BufReader<ChildStdout>) {
    let mut command = Command::new(&words[0]);
    command.args(&words[1..]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().expect("start a variant");
    let (stdin, stdout) = (child.stdin.take(), child.stdout.take());
    (child, stdin.expect("stdin"), BufReader::with_capacity(1 << 16, stdout.expect("stdout")))
}

fn message(size: usize) -> Vec<u8> {
    let frame =
        br#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"echo","arguments":{"text":""}}}"#;
    let padding = "x".repeat(size.saturating_sub(frame.len() + 1));
    let text = String::from_utf8_lossy(frame).replace("\"text\":\"\"", &format!("\"text\":\"{padding}\""));
    (text + "\n").into_bytes()
}

/// Measures round trips, and returns their median and 99th percentile in microseconds.
fn round_trips(words: &[String], size: usize) -> (f64, f64) {
    let (mut child, mut stdin, mut stdout) = start(words);
    let message = message(size);
    let mut line = Vec::new();
    let mut times = Vec::with_capacity(TRIPS);
    for trip in 0..TRIPS + 200 {
        let began = Instant::now();
        stdin.write_all(&message).expect("write");
        line.clear();
        stdout.read_until(b'\n', &mut line).expect("read");
        if trip >= 200 {
            times.push(began.elapsed().as_secs_f64() * 1e6);
        }
    }
    drop(stdin);
    child.wait().expect("wait");
    times.sort_by(f64::total_cmp);
    (times[times.len() / 2], times[times.len() * 99 / 100])
}

/// Measures the throughput in messages per second, out and back.
fn throughput(words: &[String]) -> f64 {
    let (mut child, mut stdin, mut stdout) = start(words);
    let block = message(200).repeat(100);
    let began = Instant::now();
    let writer = std::thread::spawn(move || {
        for _ in 0..LINES / 100 {
            stdin.write_all(&block).expect("write");
        }
    });
    let mut line = Vec::new();
    for _ in 0..LINES {
        line.clear();
        stdout.read_until(b'\n', &mut line).expect("read");
    }
    let taken = began.elapsed();
    writer.join().expect("writer");
    child.wait().expect("wait");
    LINES as f64 / taken.as_secs_f64()
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn build_relay(directory: &Path) -> Option<PathBuf> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/relay.c");
    let relay = directory.join("relay");
    let status = Command::new("cc").args(["-O2", "-pthread", "-o"]).arg(&relay).arg(source).status();
    status.is_ok_and(|status| status.success()).then_some(relay)
}

fn main() {
    let directory = tempfile::tempdir().expect("a directory");
    let Some(relay) = build_relay(directory.path()) else {
        println!("no C compiler: there is nothing to compare with");
        return;
    };
    let variants = variants(&relay, directory.path());
    for size in [200, 4096] {
        println!("\nround trip of a {size}-byte message, {ROUNDS} x {TRIPS}, medians of rounds");
        println!("{:20} {:>9} {:>9} {:>12} {:>12}", "", "p50 us", "p99 us", "p50 / relay", "p99 / relay");
        let mut all = vec![Vec::new(); variants.len()];
        for _ in 0..ROUNDS {
            for (at, (_, words)) in variants.iter().enumerate() {
                all[at].push(round_trips(words, size));
                std::thread::sleep(Duration::from_millis(20));
            }
        }
        for (at, (name, _)) in variants.iter().enumerate() {
            let of = |pick: fn(&(f64, f64)) -> f64| median(all[at].iter().map(pick).collect());
            let ratio = |pick: fn(&(f64, f64)) -> f64| {
                median(all[at].iter().zip(&all[1]).map(|(a, b)| pick(a) / pick(b)).collect())
            };
            println!(
                "{name:20} {:9.1} {:9.1} {:12.2} {:12.2}",
                of(|t| t.0),
                of(|t| t.1),
                ratio(|t| t.0),
                ratio(|t| t.1)
            );
        }
    }
    println!("\n{LINES} messages of 200 bytes out and back, medians of {ROUNDS}");
    let mut all = vec![Vec::new(); variants.len()];
    for _ in 0..ROUNDS {
        for (at, (_, words)) in variants.iter().enumerate() {
            all[at].push(throughput(words));
        }
    }
    for (at, (name, _)) in variants.iter().enumerate() {
        let ratio = median(all[at].iter().zip(&all[1]).map(|(a, b)| a / b).collect());
        println!("{name:20} {:9.0} messages/s {ratio:6.2} x relay", median(all[at].clone()));
    }
}
