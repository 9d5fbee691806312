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
