//! Tests of `tape export` and `tape redact`: recordings in other formats, and without their secrets.

use std::path::{Path, PathBuf};
use std::process::Output;

use serde_json::Value;
use shadowcat::tape::export::ExportFormat;

use crate::support::{forward, run, shadowcat, tapes};

/// Returns the secrets that redaction must remove, each planted in another place. Most of them are
/// concatenated here, so that secret scanners do not report this file.
fn secrets() -> Vec<String> {
    let repeat = |text: &str, times: usize| text.repeat(times);
    vec![
        format!("ghp_{}", repeat("a1B2c3D4e5", 4)),
        format!("sk-ant-{}", repeat("x7Y8", 8)),
        format!("AKIA{}", repeat("Q7W8", 4)),
        format!("xoxb-{}", repeat("12345", 4)),
        format!("eyJ{}.eyJ{}.{}", repeat("hbGc", 4), repeat("zdWI", 4), repeat("c2ln", 4)),
        "correct-horse-battery".to_owned(),
        "hunter2-in-text".to_owned(),
        "plain-api-key-value".to_owned(),
        format!("glpat-{}", repeat("z9", 12)),
        "user:open-sesame@".to_owned(),
        format!("-----BEGIN PRIVATE KEY-----\\n{}\\n-----END PRIVATE KEY-----", repeat("MIIE", 8)),
        "named-by-path".to_owned(),
        "CUST-4711".to_owned(),
    ]
}

/// Records a tape with all secrets: in arguments, results, text inside JSON, stray lines, stderr
/// and the command line.
fn recorded(directory: &Path) -> PathBuf {
    let s = secrets();
    let call = format!(
        r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"name":"x","arguments":{{"password":"{}","note":"use {} and {}","deep":[{{"apiKey":"{}"}}],"who":"{}","id":"{}"}}}}}}"#,
        s[5], s[1], s[2], s[7], s[11], s[12]
    );
    let inner = format!(r#"{{\"token\":\"{}\",\"jwt\":\"{}\"}}"#, s[8], s[4]);
    let answer = format!(
        r#"{{"jsonrpc":"2.0","id":1,"result":{{"content":[{{"type":"text","text":"{inner}"}},{{"type":"text","text":"password={}"}}],"pem":"{}"}}}}"#,
        s[6], s[10]
    );
    let file = directory.join("answer");
    std::fs::write(&file, format!("{answer}\nstray {} line {}\n", s[3], s[12])).unwrap();
    let script = format!(
        "read -r line; echo 'login with {} at postgres://{}db' >&2; cat {}; cat >/dev/null",
        s[0],
        s[9],
        file.display()
    );
    run(forward(directory, &script), (call + "\n").as_bytes());
    tapes(directory).pop().unwrap()
}

fn tape(directory: &Path, arguments: &[&str]) -> Output {
    let mut command = shadowcat(directory);
    command.arg("tape").args(arguments);
    run(command, b"")
}

/// Returns the secrets that `text` still contains, each line of a multi-line secret by itself.
fn survives(text: &str) -> Vec<String> {
    secrets()
        .into_iter()
        .filter(|secret| {
            let parts: Vec<&str> = secret.split("\\n").collect();
            parts.iter().filter(|part| !part.starts_with("-----")).any(|part| text.contains(part))
        })
        .collect()
}

const NAMED: [&str; 4] = ["--redact-path", "$.params.arguments.who", "--redact-pattern", r"CUST-\d+"];

#[test]
fn no_secret_survives_redacted_export() {
    let directory = tempfile::tempdir().unwrap();
    let path = recorded(directory.path());
    let path = path.to_str().unwrap();
    let plain = tape(directory.path(), &["export", path, "--format", "jsonl"]);
    let found = survives(&String::from_utf8_lossy(&plain.stdout)).len();
    assert!(
        found >= secrets().len() - 1,
        "the plain export contains all secrets but the one of the command line: {found}"
    );
    for form in ExportFormat::ALL {
        let arguments = [&["export", path, "--redact", "--format", form.name][..], &NAMED[..]].concat();
        let output = tape(directory.path(), &arguments);
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{}: {}", form.name, String::from_utf8_lossy(&output.stderr));
        assert_eq!(survives(&text), Vec::<String>::new(), "{}:\n{text}", form.name);
        assert!(text.contains("redacted") || form.name == "otlp", "{}", form.name);
    }
}

#[test]
fn redaction_reports_kinds_and_places() {
    let directory = tempfile::tempdir().unwrap();
    let path = recorded(directory.path());
    let before = std::fs::read(&path).unwrap();
    let clean = directory.path().join("clean.tape");
    let arguments = [
        &["redact", path.to_str().unwrap(), "-o", clean.to_str().unwrap(), "--report", "json"][..],
        &NAMED[..],
    ]
    .concat();
    let output = tape(directory.path(), &arguments);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let told = |kind: &str, place: &str| {
        report.as_array().unwrap().iter().any(|row| row["kind"] == kind && row["where"] == place)
    };
    assert!(told("key:password", "$.params.arguments.password"), "{report:#}");
    assert!(told("anthropic", "$.params.arguments.note") && told("github", "text"), "{report:#}");
    assert_eq!(std::fs::read(&path).unwrap(), before, "the original changes only with --in-place");
    assert_eq!(survives(&std::fs::read_to_string(&clean).unwrap()), Vec::<String>::new());
    assert!(tape(directory.path(), &["validate", clean.to_str().unwrap()]).status.success());
    let marked = tape(
        directory.path(),
        &["show", clean.to_str().unwrap(), "--filter", "status:redacted", "--output", "json"],
    );
    let marked: Value = serde_json::from_slice(&marked.stdout).unwrap();
    assert_eq!(marked.as_array().unwrap().len(), 4, "each redacted frame is marked: {marked:#}");
    assert!(
        tape(
            directory.path(),
            &["redact", path.to_str().unwrap(), "--in-place", "--redact-pattern", "CUST-[0-9]+"]
        )
        .status
        .success()
    );
    assert!(!std::fs::read_to_string(&path).unwrap().contains("hunter2"));
}

#[test]
fn recording_with_redact_contains_no_secrets() {
    let directory = tempfile::tempdir().unwrap();
    let s = secrets();
    let mut command = shadowcat(directory.path());
    command.args(["forward", "stdio", "--redact", "--redact-pattern", r"CUST-\d+", "--", "cat"]);
    let line = format!(
        r#"{{"jsonrpc":"2.0","id":1,"method":"x","params":{{"password":"{}","t":"{} {}"}}}}"#,
        s[5], s[0], s[12]
    );
    let output = run(command, (line.clone() + "\n").as_bytes());
    assert_eq!(String::from_utf8(output.stdout).unwrap(), line + "\n", "the forwarded bytes are not changed");
    let path = tapes(directory.path()).pop().unwrap();
    assert_eq!(survives(&std::fs::read_to_string(&path).unwrap()), Vec::<String>::new());
    assert!(tape(directory.path(), &["validate", path.to_str().unwrap()]).status.success());
}

#[test]
fn every_export_format_is_valid() {
    let directory = tempfile::tempdir().unwrap();
    let path = recorded(directory.path());
    let export = |form: &str| {
        let output = tape(directory.path(), &["export", path.to_str().unwrap(), "--format", form]);
        String::from_utf8(output.stdout).unwrap()
    };
    let json: Value = serde_json::from_str(&export("json")).unwrap();
    assert_eq!(json["frames"].as_array().unwrap().len(), 4);
    assert_eq!(json["frames"][0]["method"], "tools/call");
    assert!(export("jsonl").lines().all(|line| serde_json::from_str::<Value>(line).is_ok()));
    let har: Value = serde_json::from_str(&export("har")).unwrap();
    assert_eq!(har["log"]["entries"][0]["_webSocketMessages"].as_array().unwrap().len(), 4);
    let otlp: Value = serde_json::from_str(&export("otlp")).unwrap();
    let span = &otlp["resourceSpans"][0]["scopeSpans"][0]["spans"][0];
    assert_eq!(
        (span["name"].as_str(), span["traceId"].as_str().map(str::len)),
        (Some("tools/call x"), Some(32))
    );
    let csv = export("csv");
    assert_eq!(csv.lines().next().unwrap().split(',').count(), 14);
    let markdown = export("markdown");
    assert!(markdown.contains("| 2 |") && markdown.contains("```json"), "{markdown}");
    let page = export("html");
    assert!(page.starts_with("<!doctype html>") && !page.contains("@DATA@"));
    let data = page.split_once("type=\"application/json\">").unwrap().1.split_once("</script>").unwrap().0;
    assert_eq!(serde_json::from_str::<Value>(data).unwrap()["frames"].as_array().unwrap().len(), 4);
    // The exported script sends the same requests to the server command that it names.
    let script = directory.path().join("again.sh");
    std::fs::write(&script, export("curl")).unwrap();
    let mut again = std::process::Command::new("sh");
    again.arg(&script).env("WAIT", "0");
    let said = String::from_utf8(run(again, b"").stdout).unwrap();
    assert!(said.contains("\"result\""), "{said}");
    let file = directory.path().join("out.csv");
    assert!(
        tape(
            directory.path(),
            &["export", path.to_str().unwrap(), "--format", "csv", "-o", file.to_str().unwrap()]
        )
        .status
        .success()
    );
    assert_eq!(std::fs::read_to_string(file).unwrap(), csv);
}

/// Returns a secret that is recognizable by its format.
fn key(name: &str) -> &'static str {
    Box::leak(format!("ghp_{name}{}", "0a1B".repeat(8)).into_boxed_str())
}

/// Returns lines, not all of them messages, with secrets in unusual places; each comes with the
/// strings that redaction must remove.
fn corners() -> Vec<(String, Vec<&'static str>)> {
    let nested = (0..6).fold("{\"token\":\"deep-inside-6\"}".to_owned(), |text, _| {
        serde_json::json!({ "text": text }).to_string()
    });
    let encoded = base64::Engine::encode(
        &base64::prelude::BASE64_STANDARD,
        "DB_HOST=db\nDB_PASSWORD=in-a-blob-77\nLONG=ENOUGH",
    );
    let line = |params: &str| format!(r#"{{"jsonrpc":"2.0","method":"x","params":{params}}}"#);
    vec![
        (
            line(
                r#"{"db_password":"compound-1","openai_api_key":"compound-2","AWS_SECRET_ACCESS_KEY":"compound-3"}"#,
            ),
            vec!["compound-1", "compound-2", "compound-3"],
        ),
        (line(r#"{"text":"{\"db_password\":\"nested-77\"}"}"#), vec!["nested-77"]),
        (line(&format!(r#"{{"text":{}}}"#, serde_json::Value::from(nested))), vec!["deep-inside-6"]),
        (
            line(&format!(r#"{{"blob":"{encoded}"}}"#)),
            vec![Box::leak(encoded.into_boxed_str()), "in-a-blob-77"],
        ),
        (line(r#"{"env":[{"name":"GITHUB_TOKEN","value":"from-the-env"}]}"#), vec!["from-the-env"]),
        (line(r#"{"card":4111111111111111,"my-ssn":123456789}"#), vec!["4111111111111111", "123456789"]),
        (line(r#"{"password":"said-again-99"}"#), vec!["said-again-99"]),
        (
            line(r#"{"text":"you are in with said-again-99, my_ssn=999000111"}"#),
            vec!["said-again-99", "999000111"],
        ),
        (
            line(r#"{"note":"PASSWORD='with space inside' and https://me:pa@ss-word@h/"}"#),
            vec!["space inside", "ss-word"],
        ),
        (r#"{"token":"broken-json-1","x":"#.to_owned(), vec!["broken-json-1"]),
        (format!("\u{feff}{}", line(r#"{"pwd":"behind-a-bom"}"#)), vec!["behind-a-bom"]),
        (
            line(r#"{"arguments":{"user":"twice-one","user":"twice-two","n":1}}"#),
            vec!["twice-one", "twice-two"],
        ),
        (line(r#"{"arguments":{"user":"not-a-number","n":1e400}}"#), vec!["not-a-number"]),
        (format!("[{}]", line(r#"{"arguments":{"user":"in-a-batch"}}"#)), vec!["in-a-batch"]),
        ("Authorization: Token abc-def-ghi".to_owned(), vec!["abc-def-ghi"]),
        ("GET /x?token=in-the-query&a=1".to_owned(), vec!["in-the-query"]),
        // A redaction mark in the input does not protect a secret from redaction.
        (line(r#"{"password":"beside-a-mark[redacted:x]"}"#), vec!["beside-a-mark"]),
        (line(r#"{"secret":"[redacted:inside-a-mark]"}"#), vec!["inside-a-mark"]),
        (line(&format!(r#"{{"{}-token":"named"}}"#, key("inName"))), vec![key("inName")]),
        (line(&format!(r#"{{"{}":1}}"#, key("aloneHere"))), vec![key("aloneHere")]),
        (format!("\u{1b}[33m{} in colour", key("inColour")), vec![key("inColour")]),
        (format!("GET /?x%3D{}", key("inPercent")), vec![key("inPercent")]),
        (format!("said\\n{}", key("behindEscape")), vec![key("behindEscape")]),
        (line(&format!(r#"{{"text":"MY_{}"}}"#, key("behindLine"))), vec![key("behindLine")]),
        (format!("gsk_{}", "k3Y".repeat(9)), vec![Box::leak("k3Y".repeat(9).into_boxed_str())]),
    ]
}

#[test]
fn secrets_in_unusual_places_are_redacted() {
    let directory = tempfile::tempdir().unwrap();
    let options = [
        "--redact-key",
        "my_ssn",
        "--redact-pattern",
        r"\b4\d{15}\b",
        "--redact-path",
        "$.params.arguments.user",
    ];
    let said: String = corners().into_iter().map(|(line, _)| line + "\n").collect();
    let pem = "printf -- '-----BEGIN PRIVATE KEY-----\\nMIIEowIBAAline1\\nline2line2line2\\n-----END PRIVATE KEY-----\\nplain after\\n' >&2; cat";
    let mut command = shadowcat(directory.path());
    command.args(["forward", "stdio", "--", "sh", "-c", pem]);
    run(command, said.as_bytes());
    let path = tapes(directory.path()).pop().unwrap();
    let plain = std::fs::read_to_string(&path).unwrap();
    for secret in corners().into_iter().flat_map(|(_, secrets)| secrets) {
        assert!(plain.contains(secret) || secret == "in-a-blob-77", "the plain tape contains {secret}");
    }
    let gone = |path: &Path, ends: &[&str]| {
        let text = std::fs::read_to_string(path).unwrap();
        let secrets = corners().into_iter().flat_map(|(_, secrets)| secrets);
        let left: Vec<&str> = secrets.chain(["MIIEow", "line2line2"]).filter(|s| text.contains(s)).collect();
        assert_eq!(left, Vec::<&str>::new(), "{ends:?}");
        assert!(text.contains("plain after"), "text that is no secret stays");
    };
    let clean = directory.path().join("clean.tape");
    let arguments =
        [&["redact", path.to_str().unwrap(), "-o", clean.to_str().unwrap()][..], &options].concat();
    let output = tape(directory.path(), &arguments);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    gone(&clean, &["redacted later"]);
    // Redact the same lines while they are recorded.
    let live = directory.path().join("live.tape");
    let mut command = shadowcat(directory.path());
    command.args(["forward", "stdio", "--redact", "--tape", live.to_str().unwrap()]).args(options);
    command.args(["--", "sh", "-c", pem]);
    run(command, said.as_bytes());
    gone(&live, &["redacted live"]);
}

#[test]
fn text_without_secrets_is_not_redacted() {
    let directory = tempfile::tempdir().unwrap();
    let said = [
        r#"{"jsonrpc":"2.0","id":1,"result":{"tools":[{"name":"login","inputSchema":{"type":"object","properties":{"password":{"type":"string","description":"the password: required"}}}}]}}"#,
        r#"{"jsonrpc":"2.0","id":2,"method":"x","params":{"hasPassword":true,"apiKey":null,"maxTokens":4096,"_meta":{"progressToken":"p-1234"}}}"#,
        r#"{"jsonrpc":"2.0","id":3,"result":{"text":"Bearer authentication is used; max_tokens: 12000; Unexpected token: }"}}"#,
    ];
    let mut command = shadowcat(directory.path());
    command.args(["forward", "stdio", "--redact", "--redact-pattern", r"\d{6,}", "--", "cat"]);
    run(command, (said.join("\n") + "\n").as_bytes());
    let path = tapes(directory.path()).pop().unwrap();
    let text = std::fs::read_to_string(&path).unwrap();
    for line in said {
        assert!(text.contains(&line.replace('"', "\\\"")) || text.contains(line), "{line}\n{text}");
    }
    assert!(
        tape(directory.path(), &["redact", path.to_str().unwrap(), "--redact-pattern", r"\d{6,}"])
            .status
            .success()
    );
}

#[test]
fn redaction_works_on_pipes_notes_and_compressed_tapes() {
    let directory = tempfile::tempdir().unwrap();
    let path = recorded(directory.path());
    let name = path.to_str().unwrap();
    let key = &secrets()[0];
    assert!(tape(directory.path(), &["name", name, &format!("call {key}")]).status.success());
    let mut piped = shadowcat(directory.path());
    piped.args(["tape", "redact", "-"]).args(NAMED);
    let output = run(piped, &std::fs::read(&path).unwrap());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.starts_with(r#"{"r":"header""#) && survives(&text).is_empty());
    assert!(tape(directory.path(), &["compress", name]).status.success());
    let packed = format!("{name}.zst");
    let arguments = [&["redact", "--in-place", &packed][..], &NAMED].concat();
    assert!(tape(directory.path(), &arguments).status.success());
    let plain = zstd::stream::decode_all(&std::fs::read(&packed).unwrap()[..]).unwrap();
    assert!(survives(&String::from_utf8(plain).unwrap()).is_empty());
    let notes = std::fs::read_to_string(name.replace(".tape", ".notes")).unwrap();
    assert!(notes.contains("[redacted:github]") && !notes.contains(key), "{notes}");
}

/// Starts an HTTP server that sends secrets in its headers and its answer.
fn chatty_server() -> (std::net::SocketAddr, std::thread::JoinHandle<()>) {
    use std::io::{Read, Write};
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let s = secrets();
    let body = format!(r#"{{"jsonrpc":"2.0","id":1,"result":{{"token":"{}","text":"see {}"}}}}"#, s[5], s[0]);
    let answer = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nX-Api-Key: {}\r\nX-Trace: run by {}\r\nSet-Cookie: sid={}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        s[7],
        s[2],
        s[3],
        body.len()
    );
    let serving = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut request = Vec::new();
        let mut chunk = [0; 4096];
        while !request.ends_with(b"}") {
            let length = stream.read(&mut chunk).unwrap();
            request.extend_from_slice(&chunk[..length]);
        }
        stream.write_all(answer.as_bytes()).unwrap();
    });
    (address, serving)
}

#[test]
fn no_http_secret_survives_redacted_export() {
    use std::io::{BufRead, BufReader, Read, Write};
    let directory = tempfile::tempdir().unwrap();
    let (server, serving) = chatty_server();
    let mut command = shadowcat(directory.path());
    command.args(["forward", "http", "--upstream", &format!("http://{server}/mcp?api_key={}", secrets()[8])]);
    let mut hop = command.stderr(std::process::Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(hop.stderr.as_mut().unwrap()).read_line(&mut line).unwrap();
    let address = line.split("http://").nth(1).unwrap().split('/').next().unwrap().to_owned();
    let s = secrets();
    let body = format!(
        r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"name":"x","arguments":{{"jwt":"{}","who":"{}"}}}}}}"#,
        s[4], s[11]
    );
    let mut client = std::net::TcpStream::connect(&address).unwrap();
    write!(
        client,
        "POST /mcp HTTP/1.1\r\nHost: {address}\r\nContent-Type: application/json\r\nAccept: application/json, text/event-stream\r\nAuthorization: Bearer {}\r\nX-Customer: {}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        s[1],
        s[12],
        body.len()
    )
    .unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).unwrap();
    serving.join().unwrap();
    assert!(answer.contains(&s[7]) && answer.contains(&s[5]), "the client gets everything: {answer}");
    crate::support::signal(&hop, nix::sys::signal::Signal::SIGTERM);
    hop.wait().unwrap();
    let path = tapes(directory.path()).pop().unwrap();
    let path = path.to_str().unwrap();
    for form in ExportFormat::ALL {
        let arguments = [&["export", path, "--redact", "--format", form.name][..], &NAMED[..]].concat();
        let output = tape(directory.path(), &arguments);
        assert!(output.status.success(), "{}: {}", form.name, String::from_utf8_lossy(&output.stderr));
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert_eq!(survives(&text), Vec::<String>::new(), "{}:\n{text}", form.name);
    }
    let report = tape(directory.path(), &[&["redact", path][..], &NAMED].concat());
    assert!(report.status.success(), "{}", String::from_utf8_lossy(&report.stderr));
    assert_eq!(survives(&String::from_utf8_lossy(&report.stdout)), Vec::<String>::new());
}

#[test]
fn export_writes_through_pipes_and_symlinks() {
    let directory = tempfile::tempdir().unwrap();
    let path = recorded(directory.path());
    let (file, link) = (directory.path().join("file.csv"), directory.path().join("link.csv"));
    std::fs::write(&file, "old").unwrap();
    std::os::unix::fs::symlink(&file, &link).unwrap();
    let to = |place: &str| {
        tape(directory.path(), &["export", path.to_str().unwrap(), "--format", "csv", "-o", place])
    };
    assert!(to(link.to_str().unwrap()).status.success());
    assert!(link.is_symlink() && std::fs::read_to_string(&file).unwrap().starts_with("seq,"));
    let pipe = directory.path().join("pipe");
    nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let reading = {
        let pipe = pipe.clone();
        std::thread::spawn(move || std::fs::read_to_string(pipe).unwrap())
    };
    assert!(to(pipe.to_str().unwrap()).status.success());
    assert!(reading.join().unwrap().starts_with("seq,"));
    let mut command = shadowcat(directory.path());
    command.args(["forward", "stdio", "--redact-path", "bad[", "--", "cat"]);
    let refused = run(command, b"");
    assert_eq!(refused.status.code(), Some(2), "a wrong option is refused before anything is forwarded");
}
