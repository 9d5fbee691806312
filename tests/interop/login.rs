//! Tests of `--login` with a real authorization server: with a browser redirect, with a pasted
//! answer, and with stored tokens.

use std::io::{Read, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::conformance::{Running, start};
use crate::peers;

/// Starts the authorization server, whose tokens live for `lives` seconds, and an MCP server that
/// accepts them.
fn authority(lives: &str) -> (Running, String) {
    let peers = peers();
    let mut command = Command::new(peers.join("node_modules/.bin/node"));
    start(command.current_dir(&peers).args(["authority.mjs", lives]), "")
}

fn browser(more: &str) -> String {
    let peers = peers();
    format!("{} {}{more}", peers.join("venv/bin/python").display(), peers.join("browser.py").display())
}

fn hop(data: &Path, upstream: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_shadowcat"));
    command.env("SHADOWCAT_DATA_DIR", data).args(["forward", "http", "--login", "--upstream", upstream]);
    command.stdin(Stdio::null());
    command
}

/// Returns the answer of the server, which names the user of the token.
fn whoami(url: &str) -> String {
    let body = r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#;
    let output =
        Command::new("curl").args(["-s", "-H", "content-type: application/json", "-d", body, url]).output();
    String::from_utf8(output.unwrap().stdout).unwrap()
}

const ADA: &str = r#"{"jsonrpc":"2.0","id":1,"result":{"sub":"ada"}}"#;

/// Starts the hop and returns its URL, skipping earlier output.
fn listening(mut command: Command) -> (Running, String) {
    let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
    let mut said = std::io::BufReader::new(child.stderr.take().unwrap());
    let running = Running(child);
    loop {
        let mut line = String::new();
        assert_ne!(std::io::BufRead::read_line(&mut said, &mut line).unwrap(), 0, "the hop ended");
        if let Some(url) = line.trim().strip_prefix("listening on ") {
            let url = url.to_owned();
            std::thread::spawn(move || std::io::copy(&mut said, &mut std::io::sink()));
            return (running, url);
        }
    }
}

#[test]
fn browser_login_tokens_are_stored_and_renewed() {
    let data = tempfile::tempdir().unwrap();
    let (_authority, upstream) = authority("2");
    let mut first = hop(data.path(), &upstream);
    first.env("BROWSER", browser(""));
    let (running, url) = listening(first);
    assert_eq!(whoami(&url), ADA);
    // Wait longer than a token lives.
    std::thread::sleep(Duration::from_millis(2500));
    assert_eq!(whoami(&url), ADA, "the token was renewed");
    drop(running);
    // The second hop uses the stored tokens, since its browser always fails.
    let mut second = hop(data.path(), &upstream);
    second.env("BROWSER", "false");
    let (_running, url) = listening(second);
    assert_eq!(whoami(&url), ADA);
    for entry in std::fs::read_dir(data.path().join("oauth")).unwrap() {
        use std::os::unix::fs::PermissionsExt;
        let entry = entry.unwrap();
        assert_eq!(entry.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        if entry.path().extension().is_none_or(|ending| ending != "json") {
            continue;
        }
        let kept: serde_json::Value = serde_json::from_slice(&std::fs::read(entry.path()).unwrap()).unwrap();
        let tokens = kept["tokens"].as_object().unwrap().values().next().unwrap();
        for entry in std::fs::read_dir(data.path().join("tapes")).unwrap() {
            let tape = std::fs::read_to_string(entry.unwrap().path()).unwrap_or_default();
            assert!(!tape.contains("eyJ"), "no token is on a tape");
            assert!(!tape.contains(tokens["refresh"].as_str().unwrap()));
        }
    }
}

/// Programs that share a login renew each token only once: the authorization server would take a
/// second use of a refresh token for theft.
#[test]
fn programs_that_share_a_login_renew_each_token_once() {
    let data = tempfile::tempdir().unwrap();
    let (_authority, upstream) = authority("2");
    let mut first = hop(data.path(), &upstream);
    first.env("BROWSER", browser(""));
    let (_first, one) = listening(first);
    let mut second = hop(data.path(), &upstream);
    second.env("BROWSER", "false");
    let (_second, two) = listening(second);
    for _ in 0..3 {
        std::thread::sleep(Duration::from_millis(2200));
        std::thread::scope(|scope| {
            let all: Vec<_> = (0..12)
                .map(|number| {
                    let url = if number % 2 == 0 { &one } else { &two };
                    scope.spawn(move || whoami(url))
                })
                .collect();
            for thread in all {
                assert_eq!(thread.join().unwrap(), ADA);
            }
        });
    }
}

#[test]
fn callback_url_can_be_pasted_without_a_browser() {
    let data = tempfile::tempdir().unwrap();
    let (_authority, upstream) = authority("3600");
    let size = portable_pty::PtySize { rows: 24, cols: 1000, pixel_width: 0, pixel_height: 0 };
    let pair = portable_pty::native_pty_system().openpty(size).unwrap();
    let mut command = portable_pty::CommandBuilder::new(env!("CARGO_BIN_EXE_shadowcat"));
    command.env("SHADOWCAT_DATA_DIR", data.path());
    command.args(["forward", "http", "--login", "--no-browser", "--no-tape", "--upstream", &upstream]);
    let mut child = pair.slave.spawn_command(command).unwrap();
    drop(pair.slave);
    let said: Arc<Mutex<Vec<u8>>> = Arc::default();
    let (mut output, hearing) = (pair.master.try_clone_reader().unwrap(), Arc::clone(&said));
    std::thread::spawn(move || {
        let mut chunk = [0; 4096];
        while let Ok(length @ 1..) = output.read(&mut chunk) {
            hearing.lock().unwrap().extend_from_slice(&chunk[..length]);
        }
    });
    let find = |what: &str| {
        for _ in 0..2000 {
            let text = String::from_utf8_lossy(&said.lock().unwrap()).into_owned();
            let found = text.split_whitespace().find(|word| word.contains(what)).map(str::to_owned);
            if let Some(found) = found.filter(|_| text.ends_with('\n')) {
                return found;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        panic!("{what} in {:?}", String::from_utf8_lossy(&said.lock().unwrap()));
    };
    let address = find("code_challenge_method=S256");
    let words = browser(" --stop");
    let words: Vec<&str> = words.split(' ').collect();
    let answer = Command::new(words[0]).args(&words[1..]).arg(&address).output().unwrap();
    let answer = String::from_utf8(answer.stdout).unwrap();
    assert!(answer.contains("/callback?code="), "{answer}");
    let mut keyboard = pair.master.take_writer().unwrap();
    keyboard.write_all(b"http://127.0.0.1/callback?code=x&state=of-another\n").unwrap();
    find("state");
    keyboard.write_all(answer.as_bytes()).unwrap();
    find("listening");
    let text = String::from_utf8_lossy(&said.lock().unwrap()).into_owned();
    let url = text.lines().find_map(|line| line.trim().strip_prefix("listening on ")).unwrap().to_owned();
    assert_eq!(whoami(&url), ADA);
    child.kill().unwrap();
    child.wait().unwrap();
}
