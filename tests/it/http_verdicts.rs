//! Tests of the answers of interceptors over HTTP: status, headers, pace, and verdicts of several messages.

use std::num::NonZeroU32;
use std::sync::Arc;

use bytes::Bytes;
use shadowcat::clock::Clock;
use shadowcat::intercept::{Chain, Inspected, Interceptor, Outgoing, Ruling, Verdict, priority};
use shadowcat::mcp::Direction;

use crate::http_proxy::Stand;
use crate::raw_http::{Server, json, read};

const CALL: &str = r#"{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"echo"}}"#;
const RESULT: &str = r#"{"jsonrpc":"2.0","id":7,"result":{"content":[]}}"#;
const POST: &str = "Accept: application/json, text/event-stream\r\n";

/// Interceptor that gives the same verdict on every message of one direction.
struct Fixed {
    direction: Direction,
    verdict: Verdict,
}

impl Interceptor for Fixed {
    fn name(&self) -> &str {
        "fixed"
    }

    fn rule(&self, frame: &Inspected<'_>) -> Option<Ruling> {
        (frame.direction == self.direction).then(|| self.verdict.clone().into())
    }
}

async fn start_with_verdict(server: &Server, direction: Direction, verdict: Verdict) -> Stand {
    let stand = Stand::before(server.address).await;
    let fixed = Arc::new(Fixed { direction, verdict });
    stand.host.chain().replace(Chain::new().with(priority::RULES, fixed));
    stand
}

fn outgoing(text: &str) -> Outgoing {
    Bytes::copy_from_slice(text.as_bytes()).into()
}

#[tokio::test(flavor = "multi_thread")]
async fn answer_uses_the_status_and_headers_of_its_verdict() {
    let server = Server::start(|_, stream| json(stream, RESULT));
    let limited =
        outgoing(RESULT).with_head(429, &[("Retry-After", "7"), ("bad name", "x"), ("X-Bad", "a\nb")]);
    let stand = start_with_verdict(&server, Direction::ToServer, Verdict::Answer(vec![limited])).await;
    let reply = stand.ask(POST, CALL).await;
    assert!(reply.line.starts_with("HTTP/1.1 429 "), "{}", reply.line);
    assert_eq!(reply.header("retry-after"), Some("7"));
    assert_eq!((reply.header("bad name"), reply.header("x-bad")), (None, None), "HTTP does not allow these");
    assert_eq!(reply.header("content-type"), Some("application/json"));
    assert_eq!(reply.text(), RESULT);
    assert!(server.seen().is_empty(), "the server never saw the call");
}

#[tokio::test(flavor = "multi_thread")]
async fn answer_of_several_messages_is_a_single_response() {
    let server = Server::start(|_, stream| json(stream, RESULT));
    let first = outgoing("{\"first\":1}").with_head(503, &[("X-From", "rule")]);
    let last = outgoing(RESULT).with_pace(NonZeroU32::new(100_000).unwrap());
    let verdict = Verdict::Answer(vec![first, outgoing("{\"second\":2}"), last]);
    let stand = start_with_verdict(&server, Direction::ToServer, verdict).await;
    let reply = stand.ask(POST, CALL).await;
    assert!(reply.line.starts_with("HTTP/1.1 503 "), "{}", reply.line);
    assert_eq!(reply.header("x-from"), Some("rule"));
    assert_eq!(reply.text(), format!("{{\"first\":1}}{{\"second\":2}}{RESULT}"));
}

#[tokio::test(flavor = "multi_thread")]
async fn paced_answer_is_sent_at_its_rate() {
    let server = Server::start(|_, stream| json(stream, RESULT));
    let text = "x".repeat(400);
    let paced = outgoing(&text).with_pace(NonZeroU32::new(1000).unwrap());
    let stand = start_with_verdict(&server, Direction::ToServer, Verdict::Answer(vec![paced])).await;
    let clock = Clock::system();
    let started = clock.now();
    let reply = stand.ask(POST, CALL).await;
    let elapsed = clock.now().since(started);
    // 400 bytes at 1000 bytes a second in pieces of 100: three pauses of 100 ms at least.
    assert!(elapsed.as_millis() >= 290, "{elapsed:?}");
    assert_eq!(reply.text(), text);
    assert_eq!(reply.header("content-length"), Some("400"));
}

#[tokio::test(flavor = "multi_thread")]
async fn edited_response_uses_the_status_and_headers_of_its_verdict() {
    let server = Server::start(|_, stream| json(stream, RESULT));
    let edited =
        outgoing("{\"edited\":true}").with_head(418, &[("Content-Type", "application/problem+json")]);
    let stand = start_with_verdict(&server, Direction::ToClient, Verdict::Deliver(vec![edited])).await;
    let reply = stand.ask(POST, CALL).await;
    assert!(reply.line.starts_with("HTTP/1.1 418 "), "{}", reply.line);
    assert_eq!(reply.header("content-type"), Some("application/problem+json"));
    assert_eq!(reply.header("content-length"), Some("15"));
    assert_eq!(reply.text(), "{\"edited\":true}");
    // An edited response without a head of its own keeps the head of the server.
    let verdict = Verdict::Deliver(vec![outgoing("{\"edited\":2}"), outgoing("{\"more\":3}")]);
    let fixed = Arc::new(Fixed { direction: Direction::ToClient, verdict });
    stand.host.chain().replace(Chain::new().with(priority::RULES, fixed));
    let reply = stand.ask(POST, CALL).await;
    assert_eq!(reply.line, "HTTP/1.1 200 OK");
    assert_eq!(reply.text(), "{\"edited\":2}{\"more\":3}");
}

#[tokio::test(flavor = "multi_thread")]
async fn all_requests_that_replace_one_reach_the_server() {
    let server = Server::start(|request, stream| {
        let id = if request.text().contains("\"extra\"") { "\"extra\"" } else { "7" };
        json(stream, &format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{{}}}}"#));
    });
    let extra = r#"{"jsonrpc":"2.0","id":"extra","method":"ping"}"#;
    let verdict = Verdict::Deliver(vec![outgoing(CALL), outgoing(extra)]);
    let stand = start_with_verdict(&server, Direction::ToServer, verdict).await;
    let reply = read(stand.post(POST, CALL)).await;
    assert_eq!(reply.text(), r#"{"jsonrpc":"2.0","id":7,"result":{}}"#, "the client gets its own answer");
    crate::support::eventually("the second request", || server.seen().len() == 2);
    let mut seen: Vec<String> = server.seen().iter().map(|request| request.text()).collect();
    seen.sort_unstable();
    assert_eq!(seen, [extra.to_owned(), CALL.to_owned()]);
}
