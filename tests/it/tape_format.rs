//! Tests of tape files: every byte is read back, and damaged or partial tapes open as far as possible.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use proptest::prelude::*;
use shadowcat::clock::Clock;
use shadowcat::log::record::{Channel, Outcome};
use shadowcat::log::store::DEFAULT_BOUND;
use shadowcat::log::{Body, Log, Record};
use shadowcat::tape::files::part_path;
use shadowcat::tape::format::{LineError, TapeLine, read_line, write_record};
use shadowcat::tape::library::item;
use shadowcat::tape::media::Media;
use shadowcat::tape::writer::RecordingInfo;
use shadowcat::tape::{Reader, TapeWriter};

use crate::support::Bench;

fn subject() -> RecordingInfo {
    RecordingInfo { name: "test".into(), target: vec!["sh".into(), "-c".into()], parent: None }
}

fn line_of(record: &Record) -> Vec<u8> {
    let mut line = Vec::new();
    write_record(&mut line, record, 42);
    line
}

fn assert_round_trip(record: &Record) {
    let line = line_of(record);
    assert_eq!(line.iter().filter(|byte| **byte == b'\n').count(), 1, "one line per record");
    let Ok(TapeLine::Record(back)) = read_line(&line) else {
        panic!("{}", String::from_utf8_lossy(&line));
    };
    assert_eq!(String::from_utf8_lossy(&line_of(&back)), String::from_utf8_lossy(&line));
    if let (Body::Frame(before), Body::Frame(after)) = (&record.body, &back.body) {
        assert_eq!(before.message.raw(), after.message.raw());
        assert_eq!(before.link, after.link);
        assert_eq!(before.message.kind().as_str(), after.message.kind().as_str());
    }
}

/// Returns a session whose log contains every kind of record.
fn handling() -> Bench {
    let mut bench = Bench::new();
    let link = bench.link(false);
    bench.break_on("body:HOLD");
    let say = |lane, text: &str| bench.receive(lane, &format!("{text}\n"));
    say(
        link.there,
        r#"{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{"a":1.0},"clientInfo":{"name":"c","version":"1"}}}"#,
    );
    say(link.back, r#"{"jsonrpc":"2.0","id":0.0,"result":{"protocolVersion":"2025-06-18"}}"#);
    say(link.there, r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"HOLD"}}"#);
    say(link.back, r#"{"jsonrpc":"2.0","id":1,"method":"roots/list"}"#);
    say(link.back, "stray \u{1b}[31m line");
    bench.receive(link.back, "  {\"jsonrpc\":\"2.0\",\"id\":99,\"result\":1e400}\r\n");
    say(link.there, r#"[{"jsonrpc":"2.0","id":5,"method":"a"},{"jsonrpc":"2.0","method":"b"},3]"#);
    bench.session.receive(link.back, bytes::Bytes::from_static(b"\xff\xfe not text\n"));
    bench.session.receive(link.back, bytes::Bytes::from_static(b"last line without newline"));
    bench.session.accept_all("test");
    bench.session.close("over", Some(shadowcat::log::record::Exit::Signal(9)));
    bench.flush();
    bench
}

#[test]
fn every_kind_of_record_round_trips() {
    for record in handling().log.window(1, usize::MAX) {
        assert_round_trip(&record);
    }
}

#[test]
fn sealed_tape_is_complete_and_each_line_is_json() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.tape");
    let bench = handling();
    let mut writer = TapeWriter::create(&path, subject(), &bench.log).unwrap();
    writer.seal().unwrap();
    let mut reader = Reader::open(&path).unwrap();
    let records: Vec<Record> = reader.by_ref().collect();
    assert_eq!(records.len() as u64, bench.log.last());
    assert_eq!(reader.ending().damage, []);
    assert_eq!(reader.ending().seal.as_ref().map(|seal| seal.records), Some(bench.log.last()));
    for line in std::fs::read_to_string(&path).unwrap().lines() {
        // Numbers beyond any machine type are kept verbatim, so parse each line without converting
        // its values.
        let members: std::collections::BTreeMap<String, &serde_json::value::RawValue> =
            serde_json::from_str(line).unwrap();
        assert!(members["r"].get().starts_with('"'));
    }
    use std::os::unix::fs::PermissionsExt;
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn a_tape_torn_at_any_byte_opens_to_its_last_whole_record() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.tape");
    let bench = handling();
    TapeWriter::create(&path, subject(), &bench.log).unwrap().seal().unwrap();
    let whole = std::fs::read(&path).unwrap();
    let torn = directory.path().join("torn.tape");
    let header = whole.iter().position(|byte| *byte == b'\n').unwrap() + 1;
    for length in header..whole.len() {
        std::fs::write(&torn, &whole[..length]).unwrap();
        let mut reader = Reader::open(&torn).unwrap();
        let records: Vec<Record> = reader.by_ref().collect();
        let lines = whole[..length].split_inclusive(|byte| *byte == b'\n');
        let expected = lines
            .filter(|line| line.ends_with(b"\n") && matches!(read_line(line), Ok(TapeLine::Record(_))))
            .count();
        assert_eq!(records.len(), expected, "torn at {length}");
        let missing = whole[..length].rsplit(|byte| *byte == b'\n').next().unwrap().len();
        assert_eq!(reader.ending().torn, missing as u64, "torn at {length}");
        assert!(reader.ending().seal.is_none() && reader.ending().damage.is_empty(), "torn at {length}");
    }
}

#[test]
fn changed_byte_fails_the_checksum() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.tape");
    let bench = handling();
    TapeWriter::create(&path, subject(), &bench.log).unwrap().seal().unwrap();
    let mut bytes = std::fs::read(&path).unwrap();
    let at = bytes.windows(10).position(|window| window == b"tools/call").unwrap();
    bytes[at] = b'T';
    std::fs::write(&path, bytes).unwrap();
    let mut reader = Reader::open(&path).unwrap();
    reader.by_ref().for_each(drop);
    assert!(reader.ending().damage[0].what.contains("checksum"), "{:?}", reader.ending());
}

#[test]
fn records_of_later_kinds_are_kept_whatever_their_members_are() {
    for line in [
        r#"{"r":"charge","seq":7,"at":1,"mono":5,"sess":2,"frame":"x","dir":[1]}"#,
        r#"{"r":"charge","seq":7,"mono":5,"sess":2}"#,
    ] {
        let TapeLine::Record(record) = read_line(line.as_bytes()).unwrap() else { panic!("a record") };
        assert_eq!((record.seq, record.session.0), (7, 2));
        let Body::Unknown(unknown) = &record.body else { panic!("an unknown kind") };
        assert_eq!((&*unknown.kind, &unknown.line[..]), ("charge", line.as_bytes()));
    }
    assert!(read_line(br#"{"r":"charge","seq":"x","mono":5,"sess":2}"#).is_err());
}

#[test]
fn newer_format_version_is_refused() {
    let header = r#"{"r":"header","format":"shadowcat-tape","version":7,"by":"shadowcat 9","tape":"x","part":1,"anchor":0,"name":"n","target":[]}"#;
    assert_eq!(read_line(header.as_bytes()).unwrap_err(), LineError::Newer(7));
}

#[test]
fn parts_open_as_one_tape() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.tape");
    let clock = Clock::manual(0);
    let log = Log::new(clock.clone(), DEFAULT_BOUND);
    let bench = handling();
    let mut writer = TapeWriter::create(&path, subject(), &log).unwrap();
    for record in bench.log.window(1, 5) {
        log.append(record.session, record.body.clone());
    }
    writer.flush().unwrap();
    clock.advance(std::time::Duration::from_secs(25 * 3600));
    writer.flush().unwrap();
    let rest = bench.log.window(6, usize::MAX);
    for record in &rest {
        log.append(record.session, record.body.clone());
    }
    writer.seal().unwrap();
    let second = std::fs::read_to_string(directory.path().join("a.2.tape")).unwrap();
    let checkpoint: serde_json::Value = serde_json::from_str(second.lines().nth(1).unwrap()).unwrap();
    assert_eq!(checkpoint["r"], "checkpoint");
    assert_eq!(checkpoint["records"][0]["r"], "opened");
    assert_eq!(checkpoint["records"][1]["r"], "facts", "{checkpoint}");
    let mut reader = Reader::open(&path).unwrap();
    let seqs: Vec<u64> = reader.by_ref().map(|record| record.seq).collect();
    assert_eq!(seqs, (1..=log.last()).collect::<Vec<_>>());
    assert_eq!(reader.ending().damage, []);
    assert!(reader.ending().seal.is_some());
    // No mark covers the seal of a part, so the reader checks its contents against the records.
    let whole = std::fs::read(&path).unwrap();
    let seal = memchr::memmem::rfind(&whole, b"{\"r\":\"seal\"").unwrap();
    for at in seal..whole.len() {
        let mut flipped = whole.clone();
        flipped[at] ^= 1 << (at % 8);
        std::fs::write(&path, &flipped).unwrap();
        let mut reader = Reader::open(&path).unwrap();
        reader.by_ref().for_each(drop);
        let ending = reader.ending();
        assert!(!ending.damage.is_empty() || ending.torn > 0, "the flipped byte {at} was not detected");
    }
}

#[test]
fn full_part_is_sealed_with_the_session_facts() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.tape");
    let log = Log::new(Clock::manual(0), DEFAULT_BOUND);
    let mut writer = TapeWriter::create(&path, subject(), &log).unwrap().rolling_at(4000);
    let bench = handling();
    let records = bench.log.window(1, usize::MAX);
    for record in records.iter().cycle().take(200) {
        log.append(record.session, record.body.clone());
        writer.flush().unwrap();
    }
    writer.seal().unwrap();
    let parts = (2..).take_while(|part| part_path(&path, *part).exists()).count() + 1;
    assert!(parts > 5, "{parts} parts of 4 kB");
    let mut reader = Reader::open(&path).unwrap();
    assert_eq!(reader.by_ref().count(), 200, "all parts open as one tape");
    assert_eq!(reader.ending().damage, []);
    let seal = reader.ending().seal.clone().unwrap();
    assert_eq!(seal.records, 200);
    let facts: Vec<Record> = seal
        .facts
        .iter()
        .map(|fact| match read_line(fact.get().as_bytes()) {
            Ok(TapeLine::Record(record)) => record,
            other => panic!("{other:?}"),
        })
        .collect();
    assert!(facts.iter().any(|fact| matches!(&fact.body, Body::Facts(facts) if facts.era.is_some())));
    assert_eq!(item(&path).unwrap().seal.unwrap().frames, seal.frames, "a list needs only the seal");
}

#[test]
fn evicted_records_are_read_back_from_the_tape() {
    let directory = tempfile::tempdir().unwrap();
    let log = Log::new(Clock::manual(0), 64 << 10);
    let mut writer = TapeWriter::create(&directory.path().join("a.tape"), subject(), &log).unwrap();
    let bench = handling();
    let frame = bench.log.window(1, usize::MAX).into_iter().find(|record| record.frame().is_some()).unwrap();
    for _ in 0..2000 {
        log.append(frame.session, frame.body.clone());
        writer.flush().unwrap();
    }
    assert_eq!(log.lost(), 0);
    let first = log.get(1).expect("it is on the tape");
    assert_eq!(first.frame().unwrap().message.raw(), frame.frame().unwrap().message.raw());
    let mut tail = log.tail(1);
    let all = std::iter::from_fn(|| Some(tail.read(100)).filter(|window| !window.is_empty())).flatten();
    assert_eq!(all.map(|record| record.seq).collect::<Vec<_>>(), (1..=2000).collect::<Vec<_>>());
}

#[test]
fn later_part_opens_alone_and_an_existing_file_is_kept() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.tape");
    let strange = directory.path().join("a.2.tape");
    std::fs::write(&strange, "mine").unwrap();
    let clock = Clock::manual(0);
    let log = Log::new(clock.clone(), DEFAULT_BOUND);
    let bench = handling();
    let mut writer = TapeWriter::create(&path, subject(), &log).unwrap();
    let append = |range: std::ops::Range<usize>| {
        for record in &bench.log.window(1, usize::MAX)[range] {
            log.append(record.session, record.body.clone());
        }
    };
    append(0..3);
    writer.flush().unwrap();
    clock.advance(std::time::Duration::from_secs(25 * 3600));
    writer.flush().unwrap();
    assert_eq!(std::fs::read_to_string(&strange).unwrap(), "mine");
    std::fs::remove_file(&strange).unwrap();
    append(3..6);
    writer.flush().unwrap();
    append(6..9);
    writer.seal().unwrap();
    for (part, first) in [(&path, 1), (&strange, 7)] {
        let mut reader = Reader::open(part).unwrap();
        assert_eq!(
            reader.by_ref().map(|record| record.seq).collect::<Vec<_>>(),
            (first..=9).collect::<Vec<_>>()
        );
        assert_eq!(reader.ending().damage, []);
    }
}

/// Disk that is full after `room` bytes, until the test makes room.
#[derive(Clone)]
struct Disk {
    room: Arc<AtomicU64>,
    bytes: Arc<std::sync::Mutex<Vec<u8>>>,
}

impl Media for Disk {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        let room = self.room.load(Ordering::Relaxed);
        let mut all = self.bytes.lock().unwrap();
        let fits = usize::try_from(room).unwrap().saturating_sub(all.len()).min(bytes.len());
        all.extend_from_slice(&bytes[..fits]);
        if fits < bytes.len() { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
    }

    fn cut(&mut self, length: u64) -> io::Result<()> {
        self.bytes.lock().unwrap().truncate(usize::try_from(length).unwrap());
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn disk_full_at_any_byte_loses_nothing_once_there_is_room() {
    let bench = handling();
    let whole = {
        let disk = Disk { room: Arc::new(AtomicU64::new(u64::MAX)), bytes: Arc::default() };
        let mut writer =
            TapeWriter::on(Box::new(disk.clone()), Path::new("x"), subject(), &bench.log).unwrap();
        writer.seal().unwrap();
        disk.bytes.lock().unwrap().len() as u64
    };
    for room in 0..whole {
        let disk = Disk { room: Arc::new(AtomicU64::new(room)), bytes: Arc::default() };
        let Ok(mut writer) = TapeWriter::on(Box::new(disk.clone()), Path::new("x"), subject(), &bench.log)
        else {
            continue;
        };
        assert!(writer.seal().is_err(), "full at {room}");
        for line in disk.bytes.lock().unwrap().split_inclusive(|byte| *byte == b'\n') {
            assert!(read_line(line).is_ok(), "a partial line was left at {room}");
        }
        disk.room.store(u64::MAX, Ordering::Relaxed);
        writer.seal().unwrap();
        assert_eq!(disk.bytes.lock().unwrap().len() as u64, whole, "full at {room}");
    }
}

#[test]
fn full_disk_bounds_memory_and_records_gaps() {
    let disk = Disk { room: Arc::new(AtomicU64::new(4096)), bytes: Arc::default() };
    let log = Log::new(Clock::manual(0), 256 << 10);
    let mut writer = TapeWriter::on(Box::new(disk.clone()), Path::new("x"), subject(), &log).unwrap();
    let bench = handling();
    let frame = bench.log.window(1, usize::MAX).into_iter().find(|record| record.frame().is_some()).unwrap();
    for _ in 0..5000 {
        log.append(frame.session, frame.body.clone());
        let _ = writer.flush();
    }
    assert!(log.lost() > 1000);
    disk.room.store(u64::MAX, Ordering::Relaxed);
    writer.seal().unwrap();
    let bytes = disk.bytes.lock().unwrap().clone();
    let mut there = vec![false; usize::try_from(log.last()).unwrap() + 1];
    for line in bytes.split_inclusive(|byte| *byte == b'\n') {
        if let TapeLine::Record(record) = read_line(line).unwrap() {
            there[usize::try_from(record.seq).unwrap()] = true;
            if let Body::Gap(gap) = &record.body {
                let missing = usize::try_from(gap.first).unwrap()..=usize::try_from(gap.last).unwrap();
                there[missing].fill(true);
            }
        }
    }
    let accounted = there.iter().filter(|there| **there).count() as u64;
    assert_eq!(accounted, log.last(), "every record is on the tape or in a gap");
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes_round_trip_through_a_tape(
        line in prop_oneof![
            prop::collection::vec(any::<u8>(), 0..80),
            "[ \t\r]{0,3}\\PC{0,60}[ \r]{0,2}".prop_map(String::into_bytes),
            "[ ]{0,2}\\{\"jsonrpc\":\"2.0\",\"id\":[0-9.e]{1,9},\"(method|result)\":\"[a-z\\\\u08d]{0,9}\"\\}[\r]{0,1}".prop_map(String::into_bytes),
        ],
        stderr: bool,
        newline: bool,
    ) {
        let mut raw: Vec<u8> = line.into_iter().filter(|byte| *byte != b'\n').collect();
        if newline || raw.is_empty() {
            raw.push(b'\n');
        }
        let mut bench = Bench::new();
        let link = bench.link(false);
        bench.session.receive(link.back, raw.clone().into());
        bench.flush();
        prop_assert_eq!(&link.client.bytes(), &raw);
        for record in bench.log.window(1, usize::MAX) {
            let mut record = (*record).clone();
            if let Body::Frame(frame) = &mut record.body {
                if stderr {
                    frame.channel = Channel::Stderr;
                    let text = shadowcat::mcp::Opaque::Text;
                    frame.message = shadowcat::mcp::Message::opaque(raw.clone().into(), text);
                }
                prop_assert_eq!(frame.message.raw(), &raw);
            }
            if let Body::Sent(sent) = &record.body {
                prop_assert_eq!(sent.outcome, Outcome::Forwarded);
            }
            assert_round_trip(&record);
        }
    }
}
