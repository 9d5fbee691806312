//! Tests of the gateway at its edges: headers of the protocol, sessions that end or open slowly, cookies, and codings.

use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};
use shadowcat::clock::Clock;

use crate::gateway::{Gateway, JSON, call, initialize};
use crate::raw_http::{Seen, Server, respond};
use crate::support::eventually;

const ANSWER: &[u8] = br#"{"jsonrpc":"2.0","id":1,"result":{}}"#;

fn upstream(headers: &'static str) -> (Server, String) {
    let server = Server::start(move |_, stream| respond(stream, "200 OK", headers, ANSWER));
    let url = format!("http://{}/mcp", server.address);
    (server, url)
}

fn session(head: &Seen) -> String {
    format!("Mcp-Session-Id: {}\r\n", head.header("mcp-session-id").unwrap())
}

#[test]
fn headers_of_the_protocol_always_reach_the_server() {
    let (server, url) = upstream("Content-Type: application/json\r\n");
    let gateway = Gateway::start(&url, &[]);
    const OF_THE_PROTOCOL: [&str; 10] = [
        "Mcp-Session-Id",
        "MCP-Protocol-Version",
        "Mcp-Method",
        "Mcp-Name",
        "Last-Event-ID",
        "Mcp-Param-Max-Tokens",
        "Mcp-Param-Session-Id",
        "Mcp-Param-Secret-Name",
        "Mcp-Param-Signature-Algorithm",
        "Mcp-Param-X-Author",
    ];
    let headers: String = OF_THE_PROTOCOL.map(|name| format!("{name}: v\r\n")).concat();
    assert_eq!(gateway.post(&headers, &call(1, "any", json!({}))).whole().0, 200);
    let seen = &server.seen()[0];
    for name in OF_THE_PROTOCOL {
        assert_eq!(seen.header(name), Some("v"), "{name}");
    }
}

#[test]
fn every_header_given_to_the_gateway_goes_on() {
    let (server, url) = upstream("Content-Type: application/json\r\n");
    let gateway = Gateway::start(&url, &["--header", "X-Team: a", "--header", "X-Team: b"]);
    gateway.post("X-Team: theirs\r\n", &call(1, "any", json!({}))).whole();
    let seen = &server.seen()[0];
    let all: Vec<&str> = seen
        .headers
        .iter()
        .filter(|(name, _)| name.eq_ignore_ascii_case("x-team"))
        .map(|(_, value)| value.as_str())
        .collect();
    assert_eq!(all, ["a", "b"], "ours take the place of the client's, and none is lost");
}

#[test]
fn initialize_with_an_unknown_session_is_404_like_every_request() {
    let gateway = Gateway::demo();
    let (status, _, answer) = gateway.post("Mcp-Session-Id: gone\r\n", &initialize()).whole();
    assert_eq!((status, &answer["error"]["code"]), (404, &json!(-32001)), "so clients begin anew");
    let (_, head, _) = gateway.post("", &initialize()).whole();
    let (status, _, answer) = gateway.post(&session(&head), &initialize()).whole();
    assert_eq!((status, &answer["error"]["code"]), (400, &json!(-32600)), "a live one is initialized once");
}

#[test]
fn encoded_request_before_a_stdio_server_is_415() {
    let gateway = Gateway::demo();
    for coding in ["gzip", "br", "zstd", "x-odd"] {
        let headers = format!("{JSON}Content-Encoding: {coding}\r\n");
        let (status, head, answer) = gateway.send("POST", "/mcp", &headers, "\u{1f}not json").whole();
        assert_eq!((status, head.header("accept-encoding")), (415, Some("identity")), "{coding}");
        assert!(answer["error"]["message"].as_str().unwrap().contains(coding), "{answer}");
    }
    let headers = format!("{JSON}Content-Encoding: identity\r\n");
    assert_eq!(gateway.send("POST", "/mcp", &headers, &initialize().to_string()).whole().0, 200);
}

const PREFLIGHT: &str = "Access-Control-Request-Method: POST\r\nAccess-Control-Request-Headers: content-type, mcp-session-id, mcp-param-region\r\n";

fn preflight(gateway: &Gateway, origin: &str) -> (u16, Seen) {
    gateway.send("OPTIONS", "/mcp", &format!("Origin: {origin}\r\n{PREFLIGHT}"), "").head()
}

#[test]
fn pages_that_are_admitted_can_use_a_stdio_server() {
    let options =
        ["--allow-origin", "https://app.example", "--allow-origin", "null", "--allow-host", "chat.example"];
    let gateway = Gateway::start(&format!("{} demo-server", crate::support::program()), &options);
    for origin in
        ["http://localhost:6274", "http://127.0.0.1:1", "https://app.example", "null", "https://chat.example"]
    {
        let (status, head) = preflight(&gateway, origin);
        assert_eq!(status, 204, "{origin}");
        assert_eq!(head.header("access-control-allow-origin"), Some(origin), "exactly, and never *");
        assert_eq!(head.header("access-control-allow-methods"), Some("GET, POST, DELETE"));
        assert_eq!(
            head.header("access-control-allow-headers"),
            Some("content-type, mcp-session-id, mcp-param-region"),
            "names of arguments are open: what is asked for is allowed"
        );
        assert!(head.header("vary").is_some_and(|vary| vary.contains("Origin")));
        assert_eq!(head.header("access-control-allow-credentials"), None);
        // Every answer carries the headers, errors too: a page could not read them otherwise.
        for (body, wanted) in [(initialize(), 200), (call(1, "any", json!({})), 400)] {
            let (status, head, _) = gateway.post(&format!("Origin: {origin}\r\n"), &body).whole();
            assert_eq!(status, wanted, "{origin}");
            assert_eq!(head.header("access-control-allow-origin"), Some(origin));
            let exposed =
                head.header("access-control-expose-headers").unwrap_or_default().to_ascii_lowercase();
            for name in ["mcp-session-id", "www-authenticate", "retry-after"] {
                assert!(exposed.contains(name), "{exposed}");
            }
        }
    }
    let (status, head, _) = gateway.post("", &initialize()).whole();
    assert_eq!(
        (status, head.header("access-control-allow-origin")),
        (200, None),
        "no page, no headers of pages"
    );
}

#[test]
fn cors_of_an_http_upstream_passes_unless_the_gateway_is_asked() {
    let own = "Content-Type: application/json\r\nAccess-Control-Allow-Origin: *\r\nAccess-Control-Allow-Credentials: true\r\n";
    let (server, url) = upstream(own);
    let gateway = Gateway::start(&url, &[]);
    let (_, head, _) = gateway.post("Origin: http://localhost:1\r\n", &call(1, "any", json!({}))).whole();
    assert_eq!(head.header("access-control-allow-origin"), Some("*"));
    assert_eq!(preflight(&gateway, "http://localhost:1").0, 200, "the upstream answers");
    let asked = server.seen().len();
    let gateway = Gateway::start(&url, &["--allow-origin", "https://app.example"]);
    assert_eq!(preflight(&gateway, "https://app.example").0, 204);
    assert_eq!(server.seen().len(), asked, "the gateway answers for itself");
    let (_, head, _) = gateway.post("Origin: https://app.example\r\n", &call(1, "any", json!({}))).whole();
    assert_eq!(head.header("access-control-allow-origin"), Some("https://app.example"));
    assert_eq!(head.header("access-control-allow-credentials"), None);
}

// --- sessions of a stdio server

/// Server script that answers `initialize` after `$2` seconds and logs its life to `$1`.
const SLOW: &str = r#"
echo start >> "$1"
while read -r line; do
    id=$(printf '%s' "$line" | sed -n 's/.*"id":\([^,}]*\).*/\1/p')
    case "$line" in
    *'"initialize"'*)
        sleep "$2"
        echo ready >> "$1"
        printf '{"jsonrpc":"2.0","id":%s,"result":{"protocolVersion":"2025-11-25","capabilities":{},"pid":%s}}\n' "$id" $$ ;;
    *server/discover*) printf '{"jsonrpc":"2.0","id":%s,"error":{"code":-32601,"message":"no"}}\n' "$id" ;;
    *'"id"'*) printf '{"jsonrpc":"2.0","id":%s,"result":{}}\n' "$id" ;;
    esac
done
"#;

fn slow(place: &Path, seconds: &str) -> String {
    let script = place.join("slow.sh");
    std::fs::write(&script, SLOW).unwrap();
    format!("sh {} {} {seconds}", script.display(), place.join("life").display())
}

fn life(place: &Path) -> String {
    std::fs::read_to_string(place.join("life")).unwrap_or_default()
}

#[test]
fn idle_session_gives_way_when_the_house_is_full() {
    let place = tempfile::tempdir().unwrap();
    let options = ["--max-sessions", "2", "--session-idle", "1s"];
    let gateway = Gateway::start(&slow(place.path(), "0"), &options);
    let open = || session(&gateway.post("", &initialize()).whole().1);
    let (first, second) = (open(), open());
    let (status, head, _) = gateway.post("", &initialize()).whole();
    assert_eq!((status, head.header("retry-after").is_some()), (503, true), "neither has been silent");
    // A session with an open stream is not idle.
    let mut stream = gateway.send("GET", "/mcp", &format!("{second}Accept: text/event-stream\r\n"), "");
    assert_eq!(stream.head().0, 200);
    std::thread::sleep(Duration::from_millis(1500));
    assert_eq!(
        gateway.post("", &initialize()).whole().0,
        200,
        "the first gives way at once, not at the next sweep"
    );
    assert_eq!(gateway.post(&first, &call(1, "any", json!({}))).whole().0, 404);
    assert_eq!(gateway.post(&second, &call(1, "any", json!({}))).whole().0, 200);
}

#[test]
fn deleted_session_leaves_room_at_once() {
    let gateway =
        Gateway::start(&format!("{} demo-server", crate::support::program()), &["--max-sessions", "1"]);
    for _ in 0..5 {
        let (status, head, _) = gateway.post("", &initialize()).whole();
        assert_eq!(status, 200);
        assert_eq!(gateway.send("DELETE", "/mcp", &session(&head), "").whole().0, 200);
    }
}

#[test]
fn server_of_a_client_that_gave_up_gets_ready_for_its_next_try() {
    let place = tempfile::tempdir().unwrap();
    let gateway = Gateway::start(&slow(place.path(), "2"), &[]);
    let probes = 1;
    let impatient = gateway.post("", &initialize());
    eventually("its server runs", || life(place.path()).matches("start").count() == probes + 1);
    drop(impatient);
    eventually("it was left to get ready", || life(place.path()).contains("ready"));
    let clock = Clock::system();
    let begun = clock.now();
    let mut again = initialize();
    again["id"] = json!("again");
    let (status, _, answer) = gateway.post("", &again).whole();
    assert_eq!((status, &answer["id"]), (200, &json!("again")), "{answer}");
    assert!(clock.now().since(begun) < Duration::from_secs(1), "the answer was there already");
    assert_eq!(life(place.path()).matches("start").count(), probes + 1, "no other process was started");
    // Who asks for something else gets a process of its own.
    let mut other = initialize();
    other["params"]["clientInfo"]["name"] = json!("other");
    assert_eq!(gateway.post("", &other).whole().0, 200);
    assert_eq!(life(place.path()).matches("start").count(), probes + 2);
}

/// Takes 11 seconds: time that passes for a child cannot be advanced.
#[test]
fn server_that_one_client_gave_up_is_not_given_to_another() {
    let place = tempfile::tempdir().unwrap();
    let gateway = Gateway::start(&slow(place.path(), "2"), &[]);
    let impatient = gateway.post("Authorization: Bearer alice\r\n", &initialize());
    eventually("its server runs", || life(place.path()).matches("start").count() == 2);
    drop(impatient);
    // The address, the user agent and the params are the same.
    assert_eq!(gateway.post("Authorization: Bearer bob\r\n", &initialize()).whole().0, 200);
    assert_eq!(life(place.path()).matches("start").count(), 3, "a process of its own");
}

#[test]
fn slow_initialize_becomes_a_stream_that_names_its_session() {
    let place = tempfile::tempdir().unwrap();
    let gateway = Gateway::start(&slow(place.path(), "11"), &[]);
    let clock = Clock::system();
    let begun = clock.now();
    let mut greeted = gateway.post("", &initialize());
    let (status, head) = greeted.head();
    assert!(clock.now().since(begun) < Duration::from_millis(10_800), "{:?}", clock.now().since(begun));
    assert_eq!((status, head.header("content-type")), (200, Some("text/event-stream")));
    assert_eq!(greeted.event()["result"]["protocolVersion"], "2025-11-25");
    assert_eq!(gateway.post(&session(&head), &call(1, "any", json!({}))).whole().0, 200);
}

// --- E5: cookies and headers that pass by name

#[test]
fn named_headers_and_cookies_pass_and_no_others() {
    let (server, url) = upstream(
        "Content-Type: application/json\r\nSet-Cookie: route=2; Path=/deep; Domain=up.example; HttpOnly\r\nSet-Cookie: login=hush\r\n",
    );
    let gateway = Gateway::start(&url, &["--pass-cookie", "route", "--pass-header", "X-Api-Key"]);
    let headers =
        "Cookie: route=1; login=hush\r\nCookie: other=x\r\nX-Api-Key: theirs\r\nX-Auth-Token: theirs\r\n";
    let (_, head, _) = gateway.post(headers, &call(1, "any", json!({}))).whole();
    let seen = &server.seen()[0];
    assert_eq!((seen.header("cookie"), seen.header("x-api-key")), (Some("route=1"), Some("theirs")));
    assert_eq!(seen.header("x-auth-token"), None);
    let set: Vec<&str> = head
        .headers
        .iter()
        .filter(|(name, _)| name.eq_ignore_ascii_case("set-cookie"))
        .map(|(_, value)| value.as_str())
        .collect();
    assert_eq!(set, ["route=2; HttpOnly"], "its place is ours: the client sends it to us");
    for (option, value, why) in
        [("--pass-header", "Authorization", "--header"), ("--pass-header", "Cookie", "--pass-cookie")]
    {
        let mut refused = crate::support::shadowcat(Path::new("/nonexistent"));
        let refused = refused.args(["reverse", "--upstream", &url, option, value]).output().unwrap();
        let text = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(refused.status.code() == Some(2) && text.contains(why), "{text}");
    }
}

// --- long bodies

/// The frames of a tape that have no `sent` record.
fn unsent(tape: &str) -> Vec<Value> {
    let records: Vec<Value> = tape.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let sent: Vec<&Value> =
        records.iter().filter(|record| record["r"] == "sent").map(|record| &record["frame"]).collect();
    records
        .iter()
        .filter(|record| record["r"] == "frame" && !sent.contains(&&record["seq"]))
        .cloned()
        .collect()
}

#[test]
fn request_that_is_too_long_has_an_outcome() {
    let place = tempfile::tempdir().unwrap();
    let tape = place.path().join("x.tape");
    let options = ["--inspect-limit", "64k", "--tape", tape.to_str().unwrap()];
    let mut gateway = Gateway::start(&format!("{} demo-server", crate::support::program()), &options);
    let (_, head, _) = gateway.post("", &initialize()).whole();
    let long = call(1, "any", json!({ "text": "x".repeat(200_000) }));
    assert_eq!(gateway.post(&session(&head), &long).whole().0, 413);
    crate::support::signal(&gateway.child, nix::sys::signal::Signal::SIGTERM);
    gateway.child.wait().unwrap();
    let text = std::fs::read_to_string(&tape).unwrap();
    assert_eq!(unsent(&text), Vec::<Value>::new());
}
