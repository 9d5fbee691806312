//! Benchmark of a tape of a million frames: writing, opening, reading from its middle and
//! searching, next to `grep` and `jq` on the same file. Run with `cargo bench --bench tape`.

#![expect(clippy::disallowed_methods, reason = "a benchmark reads the real clock")]
#![expect(
    clippy::print_stdout,
    clippy::expect_used,
    reason = "its output is its result, and it stops at the first surprise"
)]

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::time::{Duration, Instant};

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use shadowcat::clock::Clock;
use shadowcat::engine::Engine;
use shadowcat::log::operation::{Correlation, OperationTracker};
use shadowcat::log::record::{Channel, Frame, LaneId, Opened, Origin, Outcome, Sent, SessionId};
use shadowcat::log::subject::{Prefilter, RowSubject};
use shadowcat::log::world::Row;
use shadowcat::log::{Body, Log, Query};
use shadowcat::mcp::{Direction, Message};
use shadowcat::tape::TapeWriter;
use shadowcat::tape::writer::RecordingInfo;
use shadowcat::tui::{App, AppEvent, Appearance, Theme, view};

const FRAMES: u64 = 1_000_000;

fn main() {
    if let Some(path) = std::env::args().skip_while(|argument| argument != "--open").nth(1) {
        return open(Path::new(&path));
    }
    let directory = tempfile::tempdir().expect("a directory");
    if let Some(keep) = std::env::var_os("KEEP") {
        write(&Path::new(&keep).join("million.tape"));
        return;
    }
    let path = directory.path().join("million.tape");
    let took = write(&path);
    let bytes: u64 =
        shadowcat::tape::part::parts(&path).iter().map(|part| part.metadata().expect("its size").len()).sum();
    println!(
        "write {FRAMES} frames: {:.1} s, {:.0} frames/s, {:.0} MB/s",
        took.as_secs_f64(),
        FRAMES as f64 / took.as_secs_f64(),
        bytes as f64 / 1e6 / took.as_secs_f64()
    );
    for (what, remove) in [("with its index", false), ("without an index", true), ("again", false)] {
        if remove {
            for part in shadowcat::tape::part::parts(&path) {
                std::fs::remove_file(shadowcat::tape::index::path_beside(&part)).expect("its index");
            }
        }
        println!("open {what}:");
        let own = std::env::current_exe().expect("our path");
        Command::new(own).arg("--open").arg(&path).status().expect("open");
    }
    let parts: Vec<_> = shadowcat::tape::part::parts(&path);
    let yardstick = |name: &str, arguments: &[&str]| {
        let began = Instant::now();
        let run = Command::new(name).args(arguments).args(&parts).stdout(Stdio::null()).status();
        match run {
            Ok(_) => println!("{name} {}: {:.0} ms", arguments.join(" "), millis(began)),
            Err(error) => println!("{name}: not run: {error}"),
        }
    };
    yardstick("grep", &["-c", "needle-777777"]);
    yardstick("jq", &["-c", "select(.msg.params.arguments.query == \"needle-777777\")"]);
}

fn millis(since: Instant) -> f64 {
    since.elapsed().as_secs_f64() * 1e3
}

fn write(path: &Path) -> Duration {
    let clock = Clock::manual(1_700_000_000_000_000);
    let log = Log::new(clock.clone(), 64 << 20);
    let subject = RecordingInfo { name: "million".into(), target: vec!["server".into()], parent: None };
    let mut writer = TapeWriter::create(path, subject, &log).expect("a tape");
    let mut operations = OperationTracker::new(Arc::new(AtomicU32::new(0)));
    let session = SessionId(1);
    let opened = Opened {
        name: "million".into(),
        target: vec!["server".into()],
        directory: None,
        pid: None,
        own_client: false,
    };
    log.append(session, Body::Opened(opened));
    let mut took = Duration::ZERO;
    for number in 0..FRAMES / 2 {
        let tool = ["search", "read", "write", "list"][(number % 4) as usize];
        let request = format!(
            r#"{{"jsonrpc":"2.0","id":{number},"method":"tools/call","params":{{"name":"{tool}","arguments":{{"query":"needle-{number}","limit":10}}}}}}"#
        );
        let response = format!(
            r#"{{"jsonrpc":"2.0","id":{number},"result":{{"content":[{{"type":"text","text":"the answer to {number}"}}],"isError":{}}}}}"#,
            number % 100 == 0
        );
        for (direction, text) in [(Direction::ToServer, request), (Direction::ToClient, response)] {
            clock.advance(Duration::from_micros(300));
            let message = Message::parse((text + "\n").into());
            let record = log.append_with(session, |seq| {
                let link =
                    operations.observe(seq, direction, None, Correlation::Presumed, &message, false).link;
                Body::Frame(Box::new(Frame {
                    lane: LaneId(if direction == Direction::ToServer { 1 } else { 2 }),
                    direction,
                    channel: Channel::Main,
                    origin: Origin::Wire,
                    message,
                    link,
                    elements: Vec::new(),
                    http: None,
                    redacted: Box::default(),
                }))
            });
            let sent =
                Sent { frame: record.seq, outcome: Outcome::Forwarded, held: None, length: None, why: None };
            log.append(session, Body::Sent(sent));
        }
        if number % 10_000 == 0 {
            let began = Instant::now();
            writer.flush().expect("a flush");
            took += began.elapsed();
        }
    }
    let began = Instant::now();
    writer.seal().expect("a seal");
    took + began.elapsed()
}

fn open(path: &Path) {
    let began = Instant::now();
    let tape = shadowcat::tape::open(path, &mut |_, _| ()).expect("a tape");
    let began_at = began.elapsed();
    println!(
        "  {:.0} ms, {} frames, {} kB resident",
        began_at.as_secs_f64() * 1e3,
        tape.world.rows.len(),
        resident()
    );
    let began = Instant::now();
    let reads = 1000;
    for step in 0..reads {
        let at = tape.world.rows.len() * step / reads;
        tape.log.get(tape.world.rows[at].seq).expect("a record");
    }
    println!("  seek and read one frame: {:.0} us", millis(began) / reads as f64 * 1e3);
    let began = Instant::now();
    let moment = tape.world.moment(tape.world.last / 2);
    println!("  state at the middle: {:.1} ms, {} in flight", millis(began), moment.in_flight.len());
    for query in ["tool:search status:error", "body:needle-77777", "dur:>200us"] {
        let query = Query::parse(query).expect("a query");
        let began = Instant::now();
        let (world, log) = (&tape.world, &tape.log);
        let prefilter = Prefilter::new(&query, log, 1, tape.last);
        let matches = |row: &&Row| {
            query.matches(&RowSubject { prefilter: Some(&prefilter), ..RowSubject::new(world, row, log) })
        };
        let found = world.rows.iter().filter(matches).count();
        println!("  filter {}: {:.0} ms, {found} found", query.text(), millis(began));
    }
    paint(tape, began_at);
    println!("  {} kB resident in the end", resident());
}

/// Measures the first drawing of the screen, counted from the start of opening, and then seeking
/// and stepping.
fn paint(tape: shadowcat::tape::OpenedTape, opened: Duration) {
    let began = Instant::now();
    let nothing = tokio::sync::watch::channel(Default::default()).1;
    let (engine, _requests) = Engine::new(tape.log, tokio::sync::watch::channel(Default::default()).1);
    let look = Appearance {
        theme: Theme::dark(),
        ascii: false,
        colour: true,
        themes: None,
        complaint: None,
        waiting: None,
    };
    let mut app = App::on_tape(engine, tape.world, nothing, look, (150, 45), Clock::system());
    let mut terminal = Terminal::new(TestBackend::new(150, 45)).expect("a terminal");
    let mut draw = |app: &mut App, input: AppEvent| {
        let began = Instant::now();
        app.update(input);
        let mut areas = app.areas;
        terminal.draw(|frame| areas = view::draw(frame, app)).expect("drawn");
        app.areas = areas;
        millis(began)
    };
    draw(&mut app, AppEvent::Records);
    println!("  open and first paint: {:.0} ms", opened.as_secs_f64() * 1e3 + millis(began));
    while app.is_scanning() {
        draw(&mut app, AppEvent::Records);
    }
    let key = |key| AppEvent::Key(KeyEvent::new(KeyCode::Char(key), KeyModifiers::NONE));
    draw(&mut app, key('g'));
    let seek = draw(&mut app, key('5'));
    let mut steps: Vec<f64> = (0..200).map(|_| draw(&mut app, key('.'))).collect();
    steps.sort_by(f64::total_cmp);
    println!(
        "  seek to the middle: {seek:.1} ms to paint; a step: p50 {:.1} ms, p99 {:.1} ms",
        steps[100], steps[198]
    );
}

fn resident() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.map(|line| line.trim().trim_end_matches(" kB").to_owned()).unwrap_or_default()
}
