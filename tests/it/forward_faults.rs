//! Tests of faults in operation: dead servers, floods of output, full disks.

use std::process::Command;

use shadowcat::log::{Body, Record};
use shadowcat::tape::Reader;

use crate::support::{forward, program, run, tapes};

#[test]
fn partial_line_before_a_crash_is_delivered_and_recorded() {
    let data = tempfile::tempdir().unwrap();
    let output = run(forward(data.path(), "printf '{\"jsonrpc\":\"2.0\",\"id\":1,\"res'; kill -9 $$"), b"");
    assert_eq!(output.stdout, b"{\"jsonrpc\":\"2.0\",\"id\":1,\"res");
    let records: Vec<Record> = Reader::open(&tapes(data.path())[0]).unwrap().collect();
    let half = records.iter().find_map(Record::frame).unwrap();
    assert_eq!(half.message.raw(), &output.stdout);
    assert!(matches!(&records.last().unwrap().body, Body::Closed(closed) if closed.exit.is_some()));
}

#[test]
fn flood_of_stderr_does_not_block_messages() {
    let data = tempfile::tempdir().unwrap();
    let script = "yes 'noise noise noise' | head -n 200000 >&2 & cat; wait";
    let output = run(forward(data.path(), script), b"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ping\"}\n");
    assert_eq!(output.stdout, b"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ping\"}\n");
    assert_eq!(output.stderr.iter().filter(|byte| **byte == b'\n').count(), 200_000);
}

#[test]
fn burst_of_100_000_frames_is_recorded_completely() {
    let data = tempfile::tempdir().unwrap();
    let script = "yes '{\"jsonrpc\":\"2.0\",\"method\":\"notifications/x\"}' | head -n 100000";
    let output = run(forward(data.path(), script), b"");
    assert_eq!(output.stdout.iter().filter(|byte| **byte == b'\n').count(), 100_000);
    let mut reader = Reader::open(&tapes(data.path())[0]).unwrap();
    let mut frames = 0;
    for record in reader.by_ref() {
        assert!(!matches!(record.body, Body::Gap(_)), "no frame is lost");
        frames += usize::from(record.frame().is_some());
    }
    assert_eq!(frames, 100_000);
    assert_eq!(reader.ending().damage, []);
    assert!(reader.ending().seal.is_some());
}

/// A file-size limit makes the kernel refuse the tape's bytes as a full disk does.
#[test]
fn full_disk_does_not_stop_forwarding() {
    let data = tempfile::tempdir().unwrap();
    let mut command = Command::new("sh");
    let limited = format!(
        "ulimit -f 8; exec {} forward stdio --name test -- sh -c 'head -c 300000 /dev/zero | tr \"\\0\" \"\\n\" | sed s/^/x/'",
        program()
    );
    command.args(["-c", &limited]).env("SHADOWCAT_DATA_DIR", data.path());
    let output = run(command, b"");
    assert_eq!(output.stdout.len(), 600_000, "{}", String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success());
    let mut reader = Reader::open(&tapes(data.path())[0]).unwrap();
    reader.by_ref().for_each(drop);
    assert_eq!(reader.ending().damage, [], "the written part of the tape is intact");
}
