//! Batches: what is said in one counts like any other message.

use std::fs;
use std::path::Path;
use std::process::Output;

use serde_json::Value;
use shadowcat::mcp::Direction::{ToClient, ToServer};
use shadowcat::tape::builder::TapeBuilder;

use crate::support::{run, shadowcat};

const BEGIN: u64 = 1_700_000_000_000_000;

fn does(data: &Path, arguments: &[&str]) -> Output {
    let mut command = shadowcat(data);
    command.args(arguments);
    run(command, b"")
}

fn shown(data: &Path, tape: &Path, filter: &str) -> Vec<Value> {
    let output =
        does(data, &["tape", "show", tape.to_str().unwrap(), "--output", "json", "--filter", filter]);
    serde_json::from_slice::<Value>(&output.stdout).unwrap().as_array().unwrap().clone()
}

/// Builds a tape of messages; `None` begins another session.
fn tape(path: &Path, messages: &[Option<(shadowcat::mcp::Direction, &str)>]) {
    let mut builder = TapeBuilder::new("recorded", vec!["server".into()], BEGIN);
    let mut now = BEGIN;
    for message in messages {
        now += 1000;
        match message {
            Some((direction, line)) => drop(builder.message_at(now, *direction, line.as_bytes().to_vec())),
            None => drop(builder.session()),
        }
    }
    builder.write(fs::File::create(path).unwrap()).unwrap();
}

fn batches(path: &Path) {
    tape(
        path,
        &[
            Some((ToServer, r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"ls"}}"#)),
            Some((ToServer, r#"{"jsonrpc":"2.0","id":2,"method":"tools/call","params":{"name":"rm"}}"#)),
            Some((
                ToClient,
                r#"[{"jsonrpc":"2.0","id":1,"result":{}},{"jsonrpc":"2.0","id":2,"result":{}}]"#,
            )),
            Some((
                ToServer,
                r#"[{"jsonrpc":"2.0","id":3,"method":"tools/list"},{"jsonrpc":"2.0","id":4,"method":"tools/call","params":{"name":"rm"}},{"jsonrpc":"2.0","id":5,"method":"tools/call","params":{"name":"bad"}}]"#,
            )),
            Some((ToClient, r#"{"jsonrpc":"2.0","id":3,"result":{"tools":[]}}"#)),
            Some((ToClient, r#"{"jsonrpc":"2.0","id":5,"error":{"code":1,"message":"no"}}"#)),
        ],
    );
}

#[test]
fn an_answer_inside_a_batch_settles_its_call() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("b.tape");
    batches(&path);
    let lost = shown(directory.path(), &path, "status:lost");
    // Only the call with id 4 has no answer; it is in the batch.
    assert_eq!(lost.len(), 1, "{lost:#?}");
    assert_eq!(lost[0]["kind"], "batch");
    assert_eq!(shown(directory.path(), &path, "status:ok kind:req").len(), 3, "ids 1, 2 and 3");
    assert_eq!(shown(directory.path(), &path, "status:error kind:req").len(), 1, "id 5");
}

#[test]
fn filters_see_the_messages_of_a_batch() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("b.tape");
    batches(&path);
    for (filter, frames) in [
        ("tool:rm kind:req", 2),
        ("tool:rm", 3),
        ("method:tools/list", 2),
        ("id:4", 1),
        ("tool:ls kind:resp", 1),
        ("kind:batch", 2),
        ("json:$.params.name==\"bad\"", 1),
    ] {
        assert_eq!(shown(directory.path(), &path, filter).len(), frames, "{filter}");
    }
}

/// An answer beside its own progress in one array, and an id twice: no loop, no double count.
#[test]
fn odd_batches_are_folded_once() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("odd.tape");
    tape(
        &path,
        &[
            Some((
                ToServer,
                r#"[{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"a","_meta":{"progressToken":"t"}}},{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"b"}}]"#,
            )),
            Some((
                ToClient,
                r#"[{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":"t","progress":1}},{"jsonrpc":"2.0","id":1,"result":{}},{"jsonrpc":"2.0","id":1,"result":{}}]"#,
            )),
            Some((
                ToServer,
                r#"[{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":1}}]"#,
            )),
        ],
    );
    assert_eq!(shown(directory.path(), &path, "tool:a").len(), 2);
}
