//! Tests of the maintenance of tape files: compression, indexes, damage, repair, old formats and imports.

use std::path::{Path, PathBuf};
use std::process::Output;
use std::time::Duration;

use serde_json::Value;
use shadowcat::log::record::Seq;
use shadowcat::tape::index::path_beside;
use shadowcat::tape::part::OpenError;
use shadowcat::tape::recorder::FLUSH_EVERY;
use shadowcat::tape::{Reader, files};

use crate::support::{eventually, forward, run, shadowcat, tapes};

const SAID: &str = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"x","arguments":{"q":"needle"}}}
not json needle
{"jsonrpc":"2.0","id":2,"method":"ping"}
"#;

/// Records a sealed tape with requests, answers, stray lines and stderr.
fn recorded(directory: &Path) -> PathBuf {
    let script = r#"echo 'token needle' >&2; while read -r line; do echo "$line" | sed 's/"method".*/"result":{"needle":true}}/'; done"#;
    run(forward(directory, script), SAID.as_bytes());
    tapes(directory).pop().unwrap()
}

fn tape(directory: &Path, arguments: &[&str]) -> Output {
    let mut command = shadowcat(directory);
    command.arg("tape").args(arguments);
    run(command, b"")
}

fn shown(directory: &Path, path: &Path, filter: &str) -> Value {
    let output = tape(directory, &["show", path.to_str().unwrap(), "--filter", filter, "--output", "json"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn results_are_equal_with_and_without_an_index() {
    let directory = tempfile::tempdir().unwrap();
    let path = recorded(directory.path());
    for filter in ["", "body:needle", "needle", "body:\"\\n\"", "status:error", "tool:x"] {
        let with = shown(directory.path(), &path, filter);
        let index = path_beside(&path);
        let kept = std::fs::read(&index).unwrap();
        std::fs::remove_file(&index).unwrap();
        assert_eq!(shown(directory.path(), &path, filter), with, "{filter}");
        assert_eq!(std::fs::read(&index).unwrap(), kept, "the index is rebuilt identically");
    }
}

#[test]
fn corrupt_or_stale_index_is_ignored() {
    let directory = tempfile::tempdir().unwrap();
    let path = recorded(directory.path());
    let whole = shown(directory.path(), &path, "");
    let index = path_beside(&path);
    let good = std::fs::read(&index).unwrap();
    // Flip single bits in the offsets and lengths, then truncate the index, down to an empty file.
    for at in (24..good.len()).step_by(7) {
        let mut bad = good.clone();
        bad[at] ^= 0x10;
        std::fs::write(&index, bad).unwrap();
        let opened = shadowcat::tape::open(&path, &mut |_, _| ()).unwrap();
        for row in &opened.world.rows {
            assert!(row.seq <= Seq::from(u32::MAX));
        }
        opened.log.containing(b"needle", 1, opened.last);
    }
    for length in [0, 8, 24, 30, good.len() - 1] {
        std::fs::write(&index, &good[..length]).unwrap();
        assert_eq!(shown(directory.path(), &path, ""), whole, "{length} bytes of the index");
    }
    // Edit the tape without updating its index.
    std::fs::write(&index, &good).unwrap();
    let text = std::fs::read_to_string(&path).unwrap().replace("not json needle", "not json, a longer line");
    std::fs::write(&path, text).unwrap();
    assert_eq!(shown(directory.path(), &path, "").as_array().unwrap().len(), whole.as_array().unwrap().len());
}

#[test]
fn compressed_tape_has_the_same_content() {
    let directory = tempfile::tempdir().unwrap();
    let path = recorded(directory.path());
    let (whole, bytes) = (shown(directory.path(), &path, ""), std::fs::read(&path).unwrap());
    let output = tape(directory.path(), &["compress", path.to_str().unwrap()]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let packed = PathBuf::from(format!("{}.zst", path.display()));
    assert!(packed.exists() && !path.exists());
    assert_eq!(shown(directory.path(), &packed, ""), whole);
    assert_eq!(zstd::stream::decode_all(&std::fs::read(&packed).unwrap()[..]).unwrap(), bytes);
    assert!(tape(directory.path(), &["validate", packed.to_str().unwrap()]).status.success());
    assert!(files::is_tape(&packed));
    let list = tape(directory.path(), &["list", "--output", "json"]);
    let list: Value = serde_json::from_slice(&list.stdout).unwrap();
    assert_eq!(list[0]["frames"], whole.as_array().unwrap().len());
    // A tape that another program has compressed opens as well, also from a pipe.
    let plain = directory.path().join("other.tape.zst");
    std::fs::write(&plain, zstd::stream::encode_all(&bytes[..], 3).unwrap()).unwrap();
    assert_eq!(shown(directory.path(), &plain, ""), whole);
    let mut piped = shadowcat(directory.path());
    piped.args(["tape", "show", "-", "--output", "json"]);
    let piped: Value = serde_json::from_slice(&run(piped, &std::fs::read(&plain).unwrap()).stdout).unwrap();
    assert_eq!(piped, whole);
}

#[test]
fn repair_fixes_a_damaged_tape_and_keeps_the_original() {
    let directory = tempfile::tempdir().unwrap();
    let path = recorded(directory.path());
    let name = path.to_str().unwrap();
    let mut bytes = std::fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle..middle + 20].fill(b'#');
    bytes.truncate(bytes.len() - 40);
    std::fs::write(&path, &bytes).unwrap();
    assert_eq!(tape(directory.path(), &["validate", name]).status.code(), Some(1));
    assert_eq!(tape(directory.path(), &["validate", name, "--repair"]).status.code(), Some(0));
    assert_eq!(
        tape(directory.path(), &["validate", name]).status.code(),
        Some(0),
        "the repaired tape is intact"
    );
    assert_eq!(std::fs::read(format!("{name}.damaged")).unwrap(), bytes, "the damaged tape is kept");
}

#[test]
fn version_0_tapes_migrate_and_version_99_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/fixtures/v0.json");
    let here = directory.path().join("v0.json");
    std::fs::copy(&fixture, &here).unwrap();
    let shown = shown(directory.path(), &here, "");
    assert_eq!(shown.as_array().unwrap().len(), 4);
    assert_eq!(shown[1]["duration_ns"], 322_000_000);
    assert_eq!(shown[0]["msg"]["params"]["arguments"]["a"], 1.5);
    let migrated = tape(directory.path(), &["migrate", here.to_str().unwrap()]);
    assert!(migrated.status.success(), "{}", String::from_utf8_lossy(&migrated.stderr));
    assert_eq!(std::fs::read(&here).unwrap(), std::fs::read(&fixture).unwrap(), "the original is kept");
    let now = directory.path().join("v0.tape");
    assert!(tape(directory.path(), &["validate", now.to_str().unwrap()]).status.success());
    assert!(std::fs::read_to_string(&now).unwrap().contains("1.50"), "numbers keep their spelling");
    let v1 = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/fixtures/v1.tape");
    let copy = directory.path().join("v1.tape");
    std::fs::copy(v1, &copy).unwrap();
    assert!(tape(directory.path(), &["validate", copy.to_str().unwrap()]).status.success());
    let newer = std::fs::read_to_string(&copy).unwrap().replacen("\"version\":1", "\"version\":99", 1);
    std::fs::write(&copy, newer).unwrap();
    let refused = tape(directory.path(), &["show", copy.to_str().unwrap()]);
    assert_eq!(refused.status.code(), Some(2));
    let why = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(why.contains("version 99") && why.contains("Install a newer shadowcat"), "{why}");
    for broken in [
        "{\"frames\":[{}]}",
        "{\"frames\": 3, \"session\":",
        "[]",
        "",
        "{\"frames\":[{\"timestamp\":\"x\",\"direction\":\"c2s\",\"message\":1}]}",
    ] {
        std::fs::write(&here, broken).unwrap();
        assert!(
            matches!(
                Reader::open(&here),
                Err(OpenError::Old { .. } | OpenError::NoHeader { .. } | OpenError::TornHeader { .. })
            ),
            "{broken}"
        );
    }
}

/// Flips each byte of a tape in turn, and checks that the reader detects it unless it is behind the
/// last mark of an unsealed tape.
fn every_byte(bytes: &[u8], path: &Path, sealed: bool) {
    let last_mark = memchr::memmem::rfind(bytes, b"{\"r\":\"mark\"").unwrap();
    // The seal covers all records; bytes behind the last mark of an unsealed tape are not covered.
    let end = match sealed {
        true => bytes.len(),
        false => last_mark + bytes[last_mark..].iter().position(|byte| *byte == b'\n').unwrap(),
    };
    for at in 0..bytes.len() {
        let mut flipped = bytes.to_vec();
        flipped[at] ^= 1 << (at % 8);
        std::fs::write(path, &flipped).unwrap();
        let Ok(mut reader) = Reader::open(path) else { continue };
        reader.by_ref().for_each(drop);
        let ending = reader.ending();
        let is_found = !ending.damage.is_empty() || ending.torn > 0 || (sealed && ending.seal.is_none());
        let here = String::from_utf8_lossy(&bytes[at.saturating_sub(60)..bytes.len().min(at + 20)]);
        assert!(is_found || at > end, "the flipped byte {at} was not detected, behind {here}");
        // Opening a damaged tape must not panic either.
        let _ = shadowcat::tape::open(path, &mut |_, _| ());
    }
}

#[test]
fn flipped_byte_is_detected_in_sealed_and_unsealed_tapes() {
    let directory = tempfile::tempdir().unwrap();
    let path = recorded(directory.path());
    let bytes = std::fs::read(&path).unwrap();
    let flipped = directory.path().join("flipped.tape");
    every_byte(&bytes, &flipped, true);
    let seal = memchr::memmem::rfind(&bytes, b"{\"r\":\"seal\"").unwrap();
    every_byte(&bytes[..seal], &flipped, false);
}

#[test]
fn flipped_byte_is_detected_in_a_compressed_tape() {
    let directory = tempfile::tempdir().unwrap();
    let path = recorded(directory.path());
    assert!(tape(directory.path(), &["compress", path.to_str().unwrap()]).status.success());
    let bytes = std::fs::read(format!("{}.zst", path.display())).unwrap();
    let flipped = directory.path().join("flipped.tape.zst");
    let step = if std::env::var_os("SHADOWCAT_SOAK").is_some() { 1 } else { 7 };
    let whole = Reader::open(&path.with_extension("tape.zst")).unwrap().count();
    for at in (usize::try_from(std::process::id()).unwrap() % step..bytes.len()).step_by(step) {
        let mut damaged = bytes.clone();
        damaged[at] ^= 1 << (at % 8);
        std::fs::write(&flipped, &damaged).unwrap();
        let Ok(mut reader) = Reader::open(&flipped) else { continue };
        let records = reader.by_ref().count();
        let ending = reader.ending();
        let is_found = !ending.damage.is_empty() || ending.torn > 0 || ending.seal.is_none();
        // Damage to the table behind the blocks does not always affect their contents.
        assert!(is_found || records == whole, "the flipped byte {at} was not detected");
    }
    // The readable part of a truncated file is shown.
    std::fs::write(&flipped, &bytes[..bytes.len() - 20]).unwrap();
    assert!(Reader::open(&flipped).unwrap().count() > 0);
}

#[test]
fn repaired_tape_records_the_damage() {
    let directory = tempfile::tempdir().unwrap();
    let path = recorded(directory.path());
    let mut bytes = std::fs::read(&path).unwrap();
    let at = memchr::memmem::find(&bytes, b"\"method\":\"").unwrap() + 12;
    bytes[at] ^= 1;
    std::fs::write(&path, &bytes).unwrap();
    let name = path.to_str().unwrap();
    assert_eq!(tape(directory.path(), &["validate", name]).status.code(), Some(1));
    assert_eq!(tape(directory.path(), &["validate", name, "--repair"]).status.code(), Some(0));
    let repaired = std::fs::read_to_string(&path).unwrap();
    assert!(repaired.contains("repaired: byte") && repaired.contains("was changed"), "{repaired}");
}

#[test]
fn recordings_of_other_tools_are_imported() {
    let directory = tempfile::tempdir().unwrap();
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/fixtures");
    for (file, frames, tool) in [
        ("mcpsnoop.jsonl", 4, "search"),
        ("mcp-server-weather.log", 5, "forecast"),
        ("inspector.json", 5, "echo"),
        ("http.har", 5, "echo"),
    ] {
        let to = directory.path().join(file).with_extension("tape");
        let from = fixtures.join(file);
        let import = tape(directory.path(), &["import", from.to_str().unwrap(), "-o", to.to_str().unwrap()]);
        assert!(import.status.success(), "{file}: {}", String::from_utf8_lossy(&import.stderr));
        let all = shown(directory.path(), &to, "");
        assert_eq!(all.as_array().unwrap().len(), frames, "{file}: {all:#}");
        let call = shown(directory.path(), &to, &format!("tool:{tool} kind:req"));
        let answer = shown(directory.path(), &to, &format!("tool:{tool} kind:resp"));
        assert_eq!(call.as_array().unwrap().len(), 1, "{file}");
        assert_eq!(call[0]["op"], answer[0]["op"], "{file}: an answer belongs to its request");
        assert!(tape(directory.path(), &["validate", to.to_str().unwrap()]).status.success());
    }
    let unknown = directory.path().join("x.txt");
    std::fs::write(&unknown, "hello").unwrap();
    let refused = tape(directory.path(), &["import", unknown.to_str().unwrap()]);
    assert_eq!(refused.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("har, inspector, mcpsnoop, claude"));
}

#[test]
fn har_export_round_trips() {
    let directory = tempfile::tempdir().unwrap();
    let path = recorded(directory.path());
    let (har, back) = (directory.path().join("a.har"), directory.path().join("back.tape"));
    let har = har.to_str().unwrap();
    assert!(
        tape(directory.path(), &["export", path.to_str().unwrap(), "--format", "har", "-o", har])
            .status
            .success()
    );
    assert!(tape(directory.path(), &["import", har, "-o", back.to_str().unwrap()]).status.success());
    let diff = tape(directory.path(), &["diff", path.to_str().unwrap(), back.to_str().unwrap()]);
    assert!(diff.status.success(), "{}", String::from_utf8_lossy(&diff.stdout));
}

/// A recorder that is killed at a random moment leaves a tape with everything before its last flush.
#[test]
fn a_killed_recorder_loses_at_most_its_last_flush() {
    let directory = tempfile::tempdir().unwrap();
    let runs = if std::env::var_os("SHADOWCAT_SOAK").is_some() { 200 } else { 6 };
    for number in 0..runs {
        let path = directory.path().join(format!("{number}.tape"));
        let mut command = shadowcat(directory.path());
        let script = "i=0; while :; do echo \"{\\\"jsonrpc\\\":\\\"2.0\\\",\\\"method\\\":\\\"n$i\\\"}\"; i=$((i+1)); done";
        command.args(["forward", "stdio", "--tape"]).arg(&path).args(["--", "sh", "-c", script]);
        command.stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::null());
        let mut child = command.stderr(std::process::Stdio::null()).spawn().unwrap();
        let marks = |path: &Path| {
            let text = std::fs::read(path).unwrap_or_default();
            memchr::memmem::find_iter(&text, b"{\"r\":\"mark\"").count()
        };
        eventually("a flush", || marks(&path) > 0);
        let chance = u64::from(uuid::Uuid::new_v4().as_bytes()[0]);
        std::thread::sleep(Duration::from_millis(chance));
        let killed = shadowcat::clock::Clock::system().anchor();
        child.kill().unwrap();
        child.wait().unwrap();
        let opened = shadowcat::tape::open(&path, &mut |_, _| ()).unwrap();
        assert!(!opened.world.rows.is_empty() && opened.seal.is_none());
        let newest = opened.world.rows.last().map(|row| opened.log.clock().wall(row.at)).unwrap();
        // The server writes without pause, so missing messages were sent after the last flush. A
        // busy machine may flush much later than after `FLUSH_EVERY`, hence the factor.
        let missing = Duration::from_micros(killed.saturating_sub(newest));
        assert!(missing < FLUSH_EVERY * 30, "{missing:?} are missing");
        let name = path.to_str().unwrap();
        assert_eq!(tape(directory.path(), &["validate", name, "--repair"]).status.code(), Some(0));
        assert_eq!(tape(directory.path(), &["validate", name]).status.code(), Some(0));
        std::fs::remove_file(&path).unwrap();
        std::fs::remove_file(directory.path().join(format!("{number}.tape.damaged"))).unwrap();
    }
}

#[test]
fn only_parts_of_the_same_tape_are_deleted_or_compressed() {
    let directory = tempfile::tempdir().unwrap();
    let path = recorded(directory.path());
    let foreign = PathBuf::from(path.to_str().unwrap().replace(".tape", ".2.tape"));
    std::fs::copy(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/fixtures/v1.tape"), &foreign).unwrap();
    let bytes = std::fs::read(&foreign).unwrap();
    assert!(tape(directory.path(), &["compress", path.to_str().unwrap()]).status.success());
    let packed = format!("{}.zst", path.display());
    assert!(tape(directory.path(), &["delete", "--yes", &packed]).status.success());
    assert!(!Path::new(&packed).exists());
    assert_eq!(std::fs::read(&foreign).unwrap(), bytes, "the part belongs to another tape");
    // A file that is a recording only by its content is neither deleted nor compressed.
    let chat = directory.path().join("chat.json");
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/fixtures/v0.json");
    std::fs::copy(fixture, &chat).unwrap();
    for command in [&["delete", "--yes"][..], &["compress"]] {
        let output = tape(directory.path(), &[command, &[chat.to_str().unwrap()]].concat());
        assert_eq!(output.status.code(), Some(2), "{command:?}");
        assert!(chat.exists());
    }
    assert_eq!(
        tape(directory.path(), &["delete", "--yes", ""]).status.code(),
        Some(2),
        "an empty name is refused"
    );
}

#[test]
fn repair_does_not_overwrite_an_earlier_damaged_copy() {
    let directory = tempfile::tempdir().unwrap();
    let path = recorded(directory.path());
    let name = path.to_str().unwrap();
    for text in ["first", "second"] {
        let mut bytes = std::fs::read(&path).unwrap();
        bytes.extend_from_slice(text.as_bytes());
        std::fs::write(&path, bytes).unwrap();
        assert!(tape(directory.path(), &["validate", name, "--repair"]).status.success());
    }
    for (ending, text) in [("damaged", "first"), ("damaged.2", "second")] {
        assert!(std::fs::read_to_string(format!("{name}.{ending}")).unwrap().ends_with(text), "{ending}");
    }
    let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&path).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600, "only the owner may access the tape");
}

#[test]
fn bad_block_of_a_compressed_tape_loses_only_that_block() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.tape");
    let mut bench = crate::support::Bench::new();
    let link = bench.link(false);
    for id in 0..9000 {
        // Vary the lines so that they do not compress to almost nothing.
        let noise: String =
            (0..12).map(|n| format!("{:x}", (id * 2_654_435_761_u64).rotate_left(n * 5))).collect();
        bench.receive(link.there, &format!("{{\"jsonrpc\":\"2.0\",\"id\":{id},\"method\":\"{noise}\"}}\n"));
    }
    bench.session.close("over", None);
    let subject = shadowcat::tape::writer::RecordingInfo { name: "a".into(), target: vec![], parent: None };
    shadowcat::tape::TapeWriter::create(&path, subject, &bench.log).unwrap().seal().unwrap();
    assert!(tape(directory.path(), &["compress", path.to_str().unwrap()]).status.success());
    let packed = directory.path().join("a.tape.zst");
    let mut bytes = std::fs::read(&packed).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0x40;
    std::fs::write(&packed, bytes).unwrap();
    let name = packed.to_str().unwrap();
    assert_eq!(tape(directory.path(), &["validate", name]).status.code(), Some(1));
    assert_eq!(tape(directory.path(), &["validate", name, "--repair"]).status.code(), Some(0));
    let frames: Vec<u64> =
        Reader::open(&path).unwrap().filter(|r| r.frame().is_some()).map(|r| r.seq).collect();
    assert!(frames.len() > 4000 && frames.len() < 9000, "{}", frames.len());
    assert!(frames.last().unwrap() > &8900, "records behind the bad block are kept");
}
