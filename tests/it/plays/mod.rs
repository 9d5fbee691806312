//! Plays: stories of messages as text files in `tests/plays`, each run on one of several stages.
//!
//! A play is a list of steps, one a line; `#` begins a comment:
//!
//! ```text
//! on session                    the stage: session, http, process or shared
//! client > {"jsonrpc": ...}     the client sends a message
//! server < {"jsonrpc": ...}     the server has received this next
//! user ! break tool:echo        the user sets a breakpoint
//! user ! release 1              the user decides on the first message of the play
//! rule ! later echo             an interceptor decides later on calls of this tool
//! clock + 1s                    the clock advances
//! held = 1 2                    these messages of the play wait for the user
//! record = {"verdict":"drop"}   the next record that has these members
//! ```
//!
//! `<name>` in an expected message stands for any JSON token, such as an id that the program chose; it stands
//! for the same token in the rest of the play. `client@b` is another client, or over HTTP another exchange. Messages are numbered in the order in
//! which the play sends them. Every message that a peer receives must be expected by the play.
//! `PLAY=name cargo test --test it plays` runs the plays whose names contain `name`.

mod http;
mod process;
mod rules;
mod script;
mod session;
mod stage;

use std::path::{Path, PathBuf};

use self::script::{Play, StageKind};
use self::stage::{Run, Stage};

fn plays() -> Vec<PathBuf> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/plays");
    let mut paths: Vec<PathBuf> =
        std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|ending| ending == "play"));
    let wanted = std::env::var("PLAY").unwrap_or_default();
    paths.retain(|path| path.to_string_lossy().contains(&wanted));
    paths.sort();
    paths
}

/// Runs a play.
///
/// # Errors
/// The line that fails, and why.
fn run(text: &str) -> Result<(), String> {
    let play = Play::parse(text)?;
    let stage: Box<dyn FnOnce() -> Box<dyn Stage>> = match play.stage {
        StageKind::Session => Box::new(|| Box::new(session::InMemory::new())),
        StageKind::Http => Box::new(|| Box::new(http::OverHttp::new())),
        StageKind::Process => Box::new(|| Box::new(process::Processes::new(false))),
        StageKind::Shared => Box::new(|| Box::new(process::Processes::new(true))),
    };
    Run::new(stage()).play(&play)
}

#[test]
fn every_play_goes_as_it_is_written() {
    let paths = plays();
    assert!(!paths.is_empty(), "no play was found");
    let failures: Vec<String> = std::thread::scope(|scope| {
        let runs: Vec<_> = paths
            .iter()
            .map(|path| {
                scope.spawn(move || {
                    let text = std::fs::read_to_string(path).unwrap();
                    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
                    run(&text).err().map(|why| format!("{name}:{why}"))
                })
            })
            .collect();
        runs.into_iter().filter_map(|run| run.join().unwrap()).collect()
    });
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn a_play_that_goes_otherwise_fails_at_its_line() {
    let call = r#"client > {"jsonrpc":"2.0","id":1,"method":"ping"}"#;
    for (play, expected) in [
        (format!("on session\n{call}\nserver < {{}}"), "3: server received"),
        (format!("on session\n{call}"), "2: nothing expects that server received"),
        (
            format!(
                "on session\n{call}\nserver < {{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ping\"}}\nheld = 1"
            ),
            "4: held are []",
        ),
        ("on session\nrecord = {\"kind\":\"none\"}".to_owned(), "2: no record has"),
        ("on session\nuser ! dance".to_owned(), "2: user cannot \"dance\""),
        ("on the moon".to_owned(), "1: no stage \"the moon\""),
        ("client > x".to_owned(), "1: a play begins with its stage"),
    ] {
        let why = run(&play).unwrap_err();
        assert!(why.starts_with(expected), "{why}");
    }
}
