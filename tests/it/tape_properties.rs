//! Property tests of the formats around tapes: no input makes the program panic, and written data
//! is read back unchanged.

use std::io::Read;

use proptest::prelude::*;
use serde_json::Value;
use shadowcat::log::World;
use shadowcat::tape::import::ImportFormat;
use shadowcat::tape::packed::{Packed, pack};
use shadowcat::tape::player::Speed;
use shadowcat::tape::redact::Redactor;
use shadowcat::tape::writer::RecordingInfo;
use shadowcat::tape::{Reader, TapeWriter};

use crate::support::Bench;

/// Generates a direction and a line: mostly valid messages, and some lines that are none.
fn line() -> impl Strategy<Value = (bool, String)> {
    let texts = prop_oneof![
        Just(r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"x","_meta":{"progressToken":1}}}"#.to_owned()),
        Just(r#"{"jsonrpc":"2.0","id":1,"result":{}}"#.to_owned()),
        Just(r#"{"jsonrpc":"2.0","id":1,"error":{"code":1,"message":"no"}}"#.to_owned()),
        Just(r#"{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":1}}"#.to_owned()),
        Just(r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":1}}"#.to_owned()),
        Just(r#"{"jsonrpc":"2.0","id":"q","method":"roots/list"}"#.to_owned()),
        Just(r#"{"jsonrpc":"2.0","id":"q","result":{"roots":[]}}"#.to_owned()),
        Just(r#"[{"jsonrpc":"2.0","id":7,"method":"a"},{"jsonrpc":"2.0","method":"b"}]"#.to_owned()),
        Just(r#"{"jsonrpc":"2.0","id":2,"method":"tools/list","params":{"cursor":"c"}}"#.to_owned()),
        Just(r#"{"jsonrpc":"2.0","id":2,"result":{"tools":[],"resultType":"input_required"}}"#.to_owned()),
        "[ -~]{0,20}",
        "\\PC{0,8}",
    ];
    (any::<bool>(), texts)
}

/// Formats the visible state of a world.
fn shown(world: &World) -> String {
    let operations: Vec<_> = world.operations.iter().collect();
    let names: Vec<_> =
        world.rows.iter().map(|row| (world.text(row.method), world.text(row.target), row.origin())).collect();
    let rows: Vec<_> = world
        .rows
        .iter()
        .map(|row| {
            (
                row.seq,
                row.at,
                row.op(),
                row.role,
                row.flags,
                row.state,
                row.duration(),
                row.is_error,
                row.kind,
                row.size,
            )
        })
        .collect();
    format!("{rows:?}{names:?}{operations:?}{:?}{:?}{:?}", world.sessions, world.asked, world.held)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn world_from_the_index_equals_the_world_from_the_records(lines in prop::collection::vec(line(), 0..40)) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.tape");
        let mut bench = Bench::new();
        let link = bench.link(false);
        for (there, text) in &lines {
            bench.receive(if *there { link.there } else { link.back }, &format!("{text}\n"));
        }
        bench.session.close("over", None);
        let subject = RecordingInfo { name: "a".into(), target: vec![], parent: None };
        TapeWriter::create(&path, subject, &bench.log).unwrap().seal().unwrap();
        let mut folded = World::default();
        Reader::open(&path).unwrap().for_each(|record| folded.apply(&record));
        let opened = shadowcat::tape::open(&path, &mut |_, _| ()).unwrap();
        prop_assert_eq!(shown(&opened.world), shown(&folded));
        std::fs::remove_file(shadowcat::tape::index::path_beside(&path)).unwrap();
        let anew = shadowcat::tape::open(&path, &mut |_, _| ()).unwrap();
        prop_assert_eq!(shown(&anew.world), shown(&folded));
        for row in &opened.world.rows {
            prop_assert!(opened.log.get(row.seq).is_some());
        }
    }

    #[test]
    fn packed_bytes_are_read_back_from_any_offset(bytes in prop::collection::vec(any::<u8>(), 0..5000), repeat in 1_usize..600, at in any::<prop::sample::Index>()) {
        let plain = bytes.repeat(repeat);
        let mut file = tempfile::tempfile().unwrap();
        pack(&plain[..], &mut file, &mut |_| ()).unwrap();
        let packed = Packed::open(file).unwrap().unwrap();
        prop_assert_eq!(packed.length(), plain.len() as u64);
        let from = at.index(plain.len() + 1);
        let mut rest = Vec::new();
        packed.another().unwrap().from(from as u64).read_to_end(&mut rest).unwrap();
        prop_assert_eq!(&rest[..], &plain[from..]);
        let mut some = vec![0; (plain.len() - from).min(77)];
        packed.read_exact_at(&mut some, from as u64).unwrap();
        prop_assert_eq!(&some[..], &plain[from..from + some.len()]);
    }

    #[test]
    fn imports_never_panic(text in "\\PC{0,80}", which in 0_usize..6) {
        let around = [
            text.clone(),
            format!("[{{\"timestamp\":{text:?},\"direction\":\"request\",\"message\":{{}}}}]"),
            format!("{{\"log\":{{\"entries\":[{text}]}}}}"),
            format!("2025-06-03T20:54:12.993Z [x] [info] Message from client: {text}"),
            format!("{{\"session_id\":\"a\",\"ts\":\"2026-01-02T03:04:05Z\",\"direction\":\"c2s\",\"text\":{text:?}}}"),
            format!("{{\"frames\":[{{\"timestamp\":1,\"direction\":\"c2s\",\"message\":{text:?}}}]}}"),
        ];
        for form in ImportFormat::ALL {
            let _ = form.read(around[which].as_bytes(), "x");
        }
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("x.json");
        std::fs::write(&path, &around[which]).unwrap();
        let _ = shadowcat::tape::open(&path, &mut |_, _| ());
    }

    #[test]
    fn displayed_speed_parses_to_the_same_speed(text in "[0-9]{1,3}(\\.[0-9]{1,3})?") {
        if let Ok(speed) = text.parse::<Speed>() {
            prop_assert_eq!(speed.to_string().parse::<Speed>().unwrap(), speed);
        }
    }

    #[test]
    fn secret_is_redacted_at_any_depth(before in "[a-z ]{0,9}", after in " [a-z ]{0,9}", depth in 0_usize..6, number in any::<i32>()) {
        let secret = format!("ghp_{}", "a1B2c3D4".repeat(5));
        let mut value = Value::from(format!("{before} {secret}{after}"));
        for level in 0..depth {
            value = match level % 3 {
                0 => serde_json::json!({ "k": value, "n": number }),
                1 => serde_json::json!([number, value]),
                _ => Value::from(value.to_string()),
            };
        }
        let message = serde_json::json!({"jsonrpc": "2.0", "id": number, "method": "x", "params": {"v": value}});
        let mut bench = Bench::new();
        let link = bench.link(false);
        bench.receive(link.there, &format!("{message}\n"));
        let redactor = Redactor::new(&[], &[], &[]).unwrap();
        let clean: Vec<_> = bench.log.window(1, 10).iter().map(|record| redactor.record(record)).collect();
        let frame = clean.iter().find_map(|record| record.frame()).unwrap();
        let text = String::from_utf8_lossy(frame.message.raw()).into_owned();
        prop_assert!(!text.contains(&secret), "{}", text);
        prop_assert!(!frame.redacted.is_empty() && frame.message.is_rpc());
        let kept: Value = serde_json::from_str(&text).unwrap();
        prop_assert_eq!(&kept["id"], &Value::from(number));
    }
}
