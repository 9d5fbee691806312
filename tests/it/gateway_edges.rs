//! Tests of the gateway at its edges: headers of the protocol, sessions that have ended, and codings.

use serde_json::json;

use crate::gateway::{Gateway, JSON, call, initialize};
use crate::raw_http::{Seen, Server, respond};

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
