//! Tests of HTTP through the pipeline over real sockets, with raw clients and servers, so that
//! every byte can be compared.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use shadowcat::clock::Clock;
use shadowcat::engine::{Command, Engine, Reply, Tell};
use shadowcat::host::{Host, Settings};
use shadowcat::http::{HttpUpstream, ProxyOptions, ProxyService};
use shadowcat::intercept::Chain;
use shadowcat::log::record::{Body, Flags, HELD_BY_ORDER, Origin, Outcome};
use shadowcat::log::store::DEFAULT_BOUND;
use shadowcat::log::{Frame, Log, Seq, SessionId};
use shadowcat::mcp::Direction;
use shadowcat::transport::http::{Guard, Listener, Upstream, UpstreamOptions};

use crate::raw_http::{Seen, Server, json, read, respond, rest};

const EVENTS: &[u8] = b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-type: text/event-stream\r\nmcp-session-id: s3cr3t-session\r\n\r\n";

/// Proxy service in front of a server, with a deciding controller attached.
pub struct Stand {
    /// Log of the host.
    pub log: Arc<Log>,
    engine: Engine,
    /// Host that runs the sessions.
    pub host: Arc<Host>,
    address: SocketAddr,
    _stop: tokio::sync::oneshot::Sender<()>,
}

impl Stand {
    /// Starts a proxy service in front of `upstream` with the default settings.
    pub async fn before(upstream: SocketAddr) -> Self {
        Self::with(upstream, Settings::default()).await
    }

    async fn with(upstream: SocketAddr, settings: Settings) -> Self {
        let log = Log::new(Clock::system(), DEFAULT_BOUND);
        let chain = Chain::of_breakpoints(&settings.breakpoints);
        let (host, engine) = Host::start(Arc::clone(&log), settings, chain);
        host.controllers().attach("test");
        let listener = Listener::bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let address = listener.address().unwrap();
        let url = format!("http://{upstream}/mcp");
        let upstream = Upstream::new(&url, &UpstreamOptions::default()).unwrap();
        let guard = Guard::new(address.ip(), &[]);
        let gate = ProxyService::new(
            Arc::clone(&host),
            HttpUpstream::new(upstream),
            guard,
            "test".into(),
            ProxyOptions::default(),
        );
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        tokio::spawn(listener.serve(
            move |request, peer| Arc::clone(&gate).handle(request, peer),
            async move {
                let _ = stopped.await;
            },
        ));
        Self { log, engine, host, address, _stop: stop }
    }

    fn client(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        stream
    }

    fn send(&self, method: &str, headers: &str, body: &str) -> TcpStream {
        let mut stream = self.client();
        let head = format!("{method} /mcp HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{headers}");
        let length =
            if body.is_empty() { String::new() } else { format!("Content-Length: {}\r\n", body.len()) };
        stream.write_all(format!("{head}{length}\r\n{body}").as_bytes()).unwrap();
        stream
    }

    /// Sends a POST with a JSON body, and returns the connection.
    pub fn post(&self, headers: &str, body: &str) -> TcpStream {
        self.send("POST", &format!("Content-Type: application/json\r\n{headers}"), body)
    }

    /// Sends a POST with a JSON body, and reads the response.
    pub async fn ask(&self, headers: &str, body: &str) -> Seen {
        read(self.post(headers, body)).await
    }

    fn frames(&self) -> Vec<(Seq, Frame)> {
        let records = self.log.window(1, usize::MAX);
        records.iter().filter_map(|record| Some((record.seq, record.frame()?.clone()))).collect()
    }

    async fn eventually<T>(&self, what: &str, found: impl Fn(&Self) -> Option<T>) -> T {
        for _ in 0..4000 {
            if let Some(found) = found(self) {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        panic!("never happened: {what}");
    }

    /// Waits for a frame that is held for a decision, and returns its number.
    async fn held(&self) -> Seq {
        self.eventually("a hold", |stand| {
            let mut held = None;
            for record in stand.log.window(1, usize::MAX) {
                match &record.body {
                    Body::Held(hold) if &*hold.by != HELD_BY_ORDER => held = Some(hold.frame),
                    Body::Sent(sent) if Some(sent.frame) == held => held = None,
                    _ => {}
                }
            }
            held
        })
        .await
    }

    async fn outcome(&self, frame: Seq) -> Outcome {
        self.eventually("an outcome", |stand| {
            stand.log.window(1, usize::MAX).iter().find_map(|record| match &record.body {
                Body::Sent(sent) if sent.frame == frame => Some(sent.outcome),
                _ => None,
            })
        })
        .await
    }

    async fn command(&self, command: Command) -> Reply {
        self.engine.send(command).await.unwrap()
    }

    async fn break_on(&self, query: &str) {
        self.command(Command::Break { query: query.into(), patience: None }).await;
    }

    /// Returns all records in the tape format.
    fn tape(&self) -> String {
        let mut lines = Vec::new();
        for record in self.log.window(1, usize::MAX) {
            shadowcat::tape::format::write_record(&mut lines, &record, 0);
        }
        String::from_utf8(lines).unwrap()
    }
}

const CALL: &str =
    r#"{ "jsonrpc":"2.0", "id":1.0,"method":"tools/call","params":{"name":"echo","arguments":{"n":1e400}} }"#;
const RESULT: &str = "{\"jsonrpc\":\"2.0\",\"id\":1.0 ,\"result\":{\"content\":[]}}\n";

#[tokio::test(flavor = "multi_thread")]
async fn untouched_exchange_passes_byte_for_byte() {
    let origin = Server::start(|_, stream| {
        respond(
            stream,
            "200 Fine",
            "Content-Type: application/json\r\nX-Odd: a\r\nX-Odd: b\r\n",
            RESULT.as_bytes(),
        );
    });
    let stand = Stand::before(origin.address).await;
    let reply = stand.ask("X-Mine: 1\r\nAccept: x/y\r\nMcp-Param-A: =?base64?eA==?=\r\n", CALL).await;
    assert_eq!(reply.text(), RESULT);
    let odd: Vec<&str> =
        reply.headers.iter().filter(|(name, _)| name == "X-Odd").map(|(_, value)| value.as_str()).collect();
    assert_eq!(odd, ["a", "b"], "header names keep their case and order");
    let seen = &origin.seen()[0];
    assert_eq!(seen.line, "POST /mcp HTTP/1.1");
    assert_eq!(seen.text(), CALL);
    let mut names: Vec<&str> = seen.headers.iter().map(|(name, _)| name.as_str()).collect();
    names.sort_unstable();
    assert_eq!(names, ["Accept", "Content-Length", "Content-Type", "Host", "Mcp-Param-A", "X-Mine"]);
    assert_eq!(seen.header("host"), Some(origin.address.to_string().as_str()));
    let frames = stand.frames();
    assert_eq!(frames.len(), 2);
    assert!(frames.iter().all(|(_, frame)| frame.origin == Origin::Wire));
    assert_eq!(frames[1].1.link.to, Some(frames[0].0));
    let http = frames[1].1.http.as_ref().unwrap();
    assert_eq!((http.status, http.header("x-odd")), (Some(200), Some("a")));
}

#[tokio::test(flavor = "multi_thread")]
async fn events_pass_immediately_and_unchanged() {
    const STREAM: [&str; 5] = [
        ": hello\r\n",
        "id: 1\r\ndata:\r\n\r\n",
        "event: message\nid: 2\ndata: {\"jsonrpc\":\"2.0\",\n",
        "data: \"id\":1,\"result\":{}}\nodd: field\n\n",
        "data: cut off",
    ];
    let (sender, steps) = std::sync::mpsc::sync_channel::<()>(8);
    let steps = Mutex::new(steps);
    let origin = Server::start(move |_, stream| {
        stream.write_all(EVENTS).unwrap();
        for part in STREAM {
            steps.lock().unwrap().recv().unwrap();
            stream.write_all(part.as_bytes()).unwrap();
        }
    });
    let stand = Stand::before(origin.address).await;
    let mut client = stand.post("", r#"{"jsonrpc":"2.0","id":1,"method":"tools/call"}"#);
    let mut head = [0; 15];
    client.read_exact(&mut head).unwrap();
    assert_eq!(&head, b"HTTP/1.1 200 OK", "the head comes before any event");
    sender.send(()).unwrap();
    let reader = tokio::task::spawn_blocking(move || {
        let mut reader = BufReader::new(client);
        let mut text = String::new();
        while !text.ends_with(": hello\r\n") {
            assert_ne!(reader.read_line(&mut text).unwrap(), 0, "{text}");
        }
        reader
    });
    let mut reader = reader.await.unwrap();
    for _ in 1..STREAM.len() {
        sender.send(()).unwrap();
    }
    let all = tokio::task::spawn_blocking(move || {
        let mut all = String::new();
        reader.read_to_string(&mut all).unwrap();
        all
    });
    let chunked = all.await.unwrap();
    let lines = chunked.split("\r\n").filter(|line| usize::from_str_radix(line, 16).is_err());
    let body: String = lines.collect::<Vec<_>>().join("\r\n").replace("\r\n\r\n\r\n", "\r\n\r\n");
    for part in ["id: 1\r\ndata:\r\n", "odd: field\n\n", "data: cut off"] {
        assert!(body.contains(part), "{part:?} in {body:?}");
    }
    let messages: Vec<_> =
        stand.frames().into_iter().filter(|(_, frame)| frame.kind().as_str() == "resp").collect();
    assert_eq!(messages.len(), 1);
    assert_eq!(messages[0].1.message.raw(), "{\"jsonrpc\":\"2.0\",\n\"id\":1,\"result\":{}}");
    let event = messages[0].1.http.as_ref().unwrap().event.clone().unwrap();
    assert_eq!(event.raw, [STREAM[2], STREAM[3]].concat());
}

#[tokio::test(flavor = "multi_thread")]
async fn edited_call_updates_its_headers() {
    let origin = Server::start(|_, stream| json(stream, r#"{"jsonrpc":"2.0","id":1,"result":{}}"#));
    let stand = Stand::before(origin.address).await;
    stand.break_on("tool:echo kind:req").await;
    let call = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"echo","_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28"}}}"#;
    let client =
        stand.post("Mcp-Method: tools/call\r\nMcp-Name: echo\r\nMcp-Protocol-Version: 2026-07-28\r\n", call);
    let held = stand.held().await;
    assert!(origin.seen().is_empty());
    let line = Bytes::from(call.replace("\"echo\"", "\"größer\""));
    stand.command(Command::Edit { frame: held, line: line.clone(), keeps_headers: false }).await;
    assert_eq!(read(client).await.line, "HTTP/1.1 200 OK");
    let seen = &origin.seen()[0];
    assert_eq!(seen.body, line);
    assert_eq!(seen.header("mcp-name"), Some("=?base64?Z3LDtsOfZXI=?="));
    assert_eq!(seen.header("content-length"), Some(line.len().to_string().as_str()));
    let edited = stand.frames().into_iter().find(|(_, frame)| frame.origin == Origin::Replaced(held));
    assert_eq!(stand.outcome(edited.unwrap().0).await, Outcome::Forwarded);
}

#[tokio::test(flavor = "multi_thread")]
async fn keeps_headers_sends_an_edited_body_with_the_original_headers() {
    let origin = Server::start(|_, stream| json(stream, r#"{"jsonrpc":"2.0","id":1,"result":{}}"#));
    let stand = Stand::before(origin.address).await;
    stand.break_on("kind:req").await;
    let client = stand.post("Mcp-Method: tools/call\r\nMcp-Name: echo\r\n", CALL);
    let (frame, line) = (stand.held().await, Bytes::from(CALL.replace("\"echo\"", "\"other\"")));
    stand.command(Command::Edit { frame, line: line.clone(), keeps_headers: true }).await;
    assert_eq!(read(client).await.line, "HTTP/1.1 200 OK");
    let seen = &origin.seen()[0];
    assert_eq!((seen.body.as_slice(), seen.header("mcp-name")), (&line[..], Some("echo")));
    assert_eq!(
        seen.header("content-length"),
        Some(line.len().to_string().as_str()),
        "Content-Length must still match the body"
    );
    assert!(
        stand.tape().contains("its headers were kept unchanged"),
        "the tape records that the headers stayed"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn edited_reply_updates_its_content_length() {
    let origin = Server::start(|_, stream| json(stream, RESULT));
    let stand = Stand::before(origin.address).await;
    stand.break_on("kind:resp").await;
    let client = stand.post("", CALL);
    let line = Bytes::from_static(br#"{"jsonrpc":"2.0","id":1.0,"result":{"content":["other"]}}"#);
    stand
        .command(Command::Edit { frame: stand.held().await, line: line.clone(), keeps_headers: false })
        .await;
    let reply = read(client).await;
    assert_eq!(reply.body, line);
}

#[tokio::test(flavor = "multi_thread")]
async fn held_event_keeps_its_stream_open_and_its_order() {
    let origin = Server::start(|_, stream| {
        stream.write_all(EVENTS).unwrap();
        let event = |id: u8, text: &str| format!("id: {id}\nevent: message\ndata: {text}\n\n");
        let first =
            event(1, r#"{"jsonrpc":"2.0","method":"notifications/message","params":{"data":"HOLD"}}"#);
        let second = event(2, r#"{"jsonrpc":"2.0","id":1,"result":{}}"#);
        stream.write_all(format!("{first}: alive\n\n{second}").as_bytes()).unwrap();
    });
    let stand = Stand::before(origin.address).await;
    stand.break_on("body:HOLD").await;
    let client = stand.post("", r#"{"jsonrpc":"2.0","id":1,"method":"tools/call"}"#);
    let held = stand.held().await;
    stand
        .eventually("the second event", |stand| {
            stand.frames().iter().any(|(_, frame)| frame.kind().as_str() == "resp").then_some(())
        })
        .await;
    let line =
        Bytes::from_static(br#"{"jsonrpc":"2.0","method":"notifications/message","params":{"data":"MINE"}}"#);
    stand.command(Command::Edit { frame: held, line, keeps_headers: false }).await;
    let all = rest(client).await;
    let at = |text: &str| all.find(text).unwrap_or_else(|| panic!("{text} in {all}"));
    assert!(at(": alive") < at("MINE"), "keep-alives pass a hold");
    assert!(at("id: 1\nevent: message\ndata: ") < at("MINE") && at("MINE") < at("id: 2"));
    assert!(!all.contains("HOLD"));
}

#[tokio::test(flavor = "multi_thread")]
async fn held_call_can_be_dropped_answered_or_closed() {
    let origin = Server::start(|_, stream| json(stream, RESULT));
    let stand = Stand::before(origin.address).await;
    stand.break_on("kind:req").await;
    let client = stand.post("", CALL);
    let tell = Tell::Error { code: -32603, message: "no".into() };
    stand.command(Command::Drop { frame: stand.held().await, tell }).await;
    let reply = read(client).await;
    assert!(reply.text().contains(r#""id":1.0,"error":{"code":-32603"#), "{}", reply.text());

    let client = stand.post("", CALL);
    let line = Bytes::from_static(br#"{"jsonrpc":"2.0","id":1.0,"result":"mine"}"#);
    stand.command(Command::Answer { frame: stand.held().await, line: line.clone() }).await;
    assert_eq!(read(client).await.body, line);

    let client = stand.post("", CALL);
    stand.command(Command::Drop { frame: stand.held().await, tell: Tell::Close }).await;
    assert_eq!(rest(client).await, "");

    let client = stand.post("", CALL);
    stand.command(Command::Drop { frame: stand.held().await, tell: Tell::Silence }).await;
    client.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
    assert_eq!(rest(client).await, "", "the call still waits");
    assert!(origin.seen().is_empty(), "the server has seen none of them");
}

#[tokio::test(flavor = "multi_thread")]
async fn held_call_is_withdrawn_when_its_client_disconnects() {
    let origin = Server::start(|_, stream| json(stream, RESULT));
    let stand = Stand::before(origin.address).await;
    stand.break_on("kind:req").await;
    let client = stand.post("", CALL);
    let held = stand.held().await;
    drop(client);
    assert_eq!(stand.outcome(held).await, Outcome::Withdrawn);
    assert!(stand.engine.send(Command::Accept { frame: held }).await.is_err());
    assert!(origin.seen().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn upstream_connection_closes_when_the_client_disconnects() {
    let gone = Arc::new(Mutex::new(false));
    let told = Arc::clone(&gone);
    let origin = Server::start(move |_, stream| {
        stream.write_all(EVENTS).unwrap();
        stream.write_all(b": open\n\n").unwrap();
        let mut byte = [0];
        let end = stream.read(&mut byte);
        assert!(matches!(end, Ok(0) | Err(_)));
        *told.lock().unwrap() = true;
    });
    let stand = Stand::before(origin.address).await;
    let mut client = stand.post("", CALL);
    let mut head = [0; 15];
    client.read_exact(&mut head).unwrap();
    drop(client);
    stand.eventually("the end upstream", |_| gone.lock().unwrap().then_some(())).await;
    stand
        .eventually("the end in the log", |stand| {
            stand.tape().contains(r#""why":"the client left""#).then_some(())
        })
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn upstream_failure_is_reported() {
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let stand = Stand::before(nobody).await;
    let reply = stand.ask("", CALL).await;
    assert_eq!(reply.line, "HTTP/1.1 502 Bad Gateway");
    assert!(reply.text().contains(r#""id":1.0,"error":{"code":502"#), "{}", reply.text());
    assert!(reply.text().contains("Connection refused"), "{}", reply.text());
    let frames = stand.frames();
    assert_eq!(frames[1].1.origin, Origin::Answered(frames[0].0), "the answer is marked as ours");

    let origin = Server::start(|_, stream| {
        let part = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n4\r\n: a\n\r\n";
        stream.write_all(part).unwrap();
    });
    let stand = Stand::before(origin.address).await;
    let text = rest(stand.post("", CALL)).await;
    assert!(
        text.contains(": a\n") && !text.ends_with("0\r\n\r\n"),
        "the client sees that the stream broke off: {text:?}"
    );
    stand.eventually("a note", |stand| stand.tape().contains("broke off its stream").then_some(())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn redirects_and_error_statuses_pass_unchanged() {
    for (status, headers) in [
        ("307 Temporary Redirect", "location: http://elsewhere.example/mcp?token=hush\r\n"),
        ("401 Unauthorized", "www-authenticate: Bearer resource_metadata=\"http://h/x\"\r\n"),
        ("429 Too Many Requests", "retry-after: 7\r\n"),
        ("503 Service Unavailable", "retry-after: 7\r\n"),
        ("405 Method Not Allowed", "allow: POST\r\n"),
    ] {
        let origin = Server::start(move |_, stream| respond(stream, status, headers, b""));
        let stand = Stand::before(origin.address).await;
        let reply = stand.ask("", CALL).await;
        assert_eq!(reply.line, format!("HTTP/1.1 {status}"));
        let (name, value) = headers.trim_end().split_once(": ").unwrap();
        assert_eq!(reply.header(name), Some(value));
        let (_, frame) = stand.frames().pop().unwrap();
        assert_eq!(frame.kind().as_str(), "http");
        assert_eq!(frame.http.unwrap().status, status[..3].parse().ok());
        assert_eq!(origin.seen().len(), 1, "the request is neither redirected nor retried");
        assert!(!stand.tape().contains("hush"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn injected_messages_reach_only_their_receiver() {
    let origin = Server::start(|request, stream| match request.line.split(' ').next() {
        Some("GET") => {
            stream.write_all(EVENTS).unwrap();
            std::thread::sleep(Duration::from_secs(20));
        }
        _ if request.text().contains("initialize") => {
            let headers = "content-type: application/json\r\nmcp-session-id: s3cr3t-session\r\n";
            respond(
                stream,
                "200 OK",
                headers,
                br#"{"jsonrpc":"2.0","id":1,"result":{"protocolVersion":"2025-11-25"}}"#,
            );
        }
        _ => {
            let id =
                shadowcat::mcp::Message::parse(request.body.clone().into()).id().unwrap().token().to_owned();
            json(stream, &format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{{}}}}"#));
        }
    });
    let stand = Stand::before(origin.address).await;
    let hello = r#"{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25"}}"#;
    stand.ask("Authorization: Bearer t0ken\r\n", hello).await;
    let session = SessionId(1);
    let inject =
        |to, line: &'static str| Command::Inject { session, to, line: Bytes::from_static(line.as_bytes()) };

    let ping = r#"{"jsonrpc":"2.0","id":7,"method":"ping"}"#;
    let refused = stand.engine.send(inject(Direction::ToClient, ping)).await;
    assert!(refused.is_err(), "no stream is open towards the client");

    let Reply::Frame(sent) = stand.command(inject(Direction::ToServer, ping)).await else { panic!() };
    stand
        .eventually("our answer", |stand| {
            stand.frames().into_iter().find(|(_, frame)| frame.link.to == Some(sent))
        })
        .await;
    let ours = &origin.seen()[1];
    assert_eq!(
        ours.header("mcp-session-id"),
        Some("s3cr3t-session"),
        "the injected request uses the client's session"
    );
    assert_eq!(
        ours.header("authorization"),
        Some("Bearer t0ken"),
        "the injected request uses the client's credentials"
    );

    let mut stream = stand.send("GET", "Accept: text/event-stream\r\nMcp-Session-Id: s3cr3t-session\r\n", "");
    let mut head = [0; 15];
    stream.read_exact(&mut head).unwrap();
    stand
        .eventually("the stream", |stand| {
            let open = |(_, frame): &(Seq, Frame)| frame.http.as_ref().is_some_and(|http| http.stream);
            stand.frames().iter().any(open).then_some(())
        })
        .await;
    let Reply::Frame(asked) = stand.command(inject(Direction::ToClient, ping)).await else { panic!() };
    let reader = tokio::task::spawn_blocking(move || {
        let mut reader = BufReader::new(stream);
        let mut line = String::new();
        while !line.starts_with("data: ") {
            line.clear();
            assert_ne!(reader.read_line(&mut line).unwrap(), 0);
            assert!(
                !line.starts_with("id:"),
                "an injected event must not have an id from which a client would resume"
            );
        }
        (reader, line)
    });
    let (_stream, line) = reader.await.unwrap();
    let id = shadowcat::mcp::Message::parse(line[6..].to_owned().into()).id().unwrap().token().to_owned();
    let answer = format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{{}}}}"#);
    let before = origin.seen().len();
    let reply = stand.ask("Mcp-Session-Id: s3cr3t-session\r\n", &answer).await;
    assert_eq!(reply.line, "HTTP/1.1 202 Accepted");
    assert_eq!(origin.seen().len(), before, "the answer to an injected request does not reach the server");
    let (frame, _) = stand.frames().into_iter().find(|(_, frame)| frame.link.to == Some(asked)).unwrap();
    assert_eq!(stand.outcome(frame).await, Outcome::Dropped);
    for secret in ["s3cr3t-session", "t0ken"] {
        assert!(!stand.tape().contains(secret), "{secret} on the tape");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn encoded_body_passes_encoded_and_is_recorded_decoded() {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(RESULT.as_bytes()).unwrap();
    let encoded = encoder.finish().unwrap();
    let sent = encoded.clone();
    let origin = Server::start(move |_, stream| {
        respond(stream, "200 OK", "content-type: application/json\r\ncontent-encoding: gzip\r\n", &sent);
    });
    let stand = Stand::before(origin.address).await;
    let reply = stand.ask("", CALL).await;
    assert_eq!((reply.header("content-encoding"), &reply.body), (Some("gzip"), &encoded));
    assert_eq!(stand.frames()[1].1.message.raw(), RESULT);
    stand.break_on("kind:resp").await;
    let client = stand.post("", CALL);
    let line = Bytes::from_static(br#"{"jsonrpc":"2.0","id":1.0,"result":{}}"#);
    stand
        .command(Command::Edit { frame: stand.held().await, line: line.clone(), keeps_headers: false })
        .await;
    let reply = read(client).await;
    assert_eq!((reply.header("content-encoding"), &reply.body[..]), (None, &line[..]));
}

#[tokio::test(flavor = "multi_thread")]
async fn long_bodies_stream_through_both_ways() {
    let long = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"x","params":["{}"]}}"#, "y".repeat(3 << 20));
    let echoed = long.clone();
    let origin = Server::start(move |request, stream| {
        assert!(request.text() == echoed);
        respond(stream, "200 OK", "content-type: application/json\r\n", &request.body);
    });
    let stand = Stand::with(origin.address, Settings { inspect_limit: 1 << 16, ..Settings::default() }).await;
    let client = stand.client();
    let head = format!(
        "POST /mcp HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        long.len()
    );
    let body = long.clone();
    let mut writer = client.try_clone().unwrap();
    let written = tokio::task::spawn_blocking(move || {
        writer.write_all(head.as_bytes()).and_then(|()| writer.write_all(body.as_bytes())).unwrap();
    });
    client.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let reply = read(client).await;
    written.await.unwrap();
    assert!(reply.text() == long, "{} bytes came back of {}", reply.body.len(), long.len());
    let frames = stand.frames();
    assert!(
        frames.iter().all(|(_, frame)| frame.kind().as_str() == "invalid"),
        "bodies over the limit are not inspected"
    );
    let truth = stand.eventually("the true length", |stand| {
        stand.log.window(1, usize::MAX).iter().find_map(|record| match &record.body {
            Body::Sent(sent) => sent.length,
            _ => None,
        })
    });
    assert_eq!(truth.await, long.len() as u64);
}

#[tokio::test(flavor = "multi_thread")]
async fn foreign_hosts_and_origins_are_refused_and_recorded() {
    let origin = Server::start(|_, stream| json(stream, RESULT));
    let stand = Stand::before(origin.address).await;
    let mut client = stand.client();
    client.write_all(b"POST /mcp HTTP/1.1\r\nHost: evil.example\r\nContent-Length: 0\r\n\r\n").unwrap();
    assert_eq!(read(client).await.line, "HTTP/1.1 403 Forbidden");
    let reply = stand.ask("Origin: http://evil.example\r\n", CALL).await;
    assert_eq!(reply.line, "HTTP/1.1 403 Forbidden");
    let mut client = stand.client();
    client.write_all(b"CONNECT x:1 HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    assert_ne!(read(client).await.line, "HTTP/1.1 200 OK");
    assert!(origin.seen().is_empty());
    assert!(stand.tape().contains("evil.example"), "the log says who it was");
    let huge = format!("X-Big: {}\r\n", "x".repeat(100 << 10));
    let mut client = stand.client();
    let _ = client.write_all(format!("POST /mcp HTTP/1.1\r\nHost: localhost\r\n{huge}\r\n").as_bytes());
    let reply = rest(client).await;
    assert!(reply.is_empty() || reply.starts_with("HTTP/1.1 431"), "{reply}");
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_follow_the_session_ids_of_the_server() {
    let origin = Server::start(|request, stream| {
        let id = request.header("x-give").map_or_else(String::new, |id| format!("mcp-session-id: {id}\r\n"));
        respond(
            stream,
            "200 OK",
            &format!("content-type: application/json\r\n{id}"),
            br#"{"jsonrpc":"2.0","id":1,"result":{}}"#,
        );
    });
    let stand = Stand::before(origin.address).await;
    let say = |method: &str| format!(r#"{{"jsonrpc":"2.0","id":1,"method":"{method}"}}"#);
    stand.ask("X-Give: a\r\n", &say("initialize")).await;
    stand.ask("X-Give: b\r\n", &say("initialize")).await;
    stand.ask("Mcp-Session-Id: a\r\n", &say("tools/list")).await;
    stand.ask("Mcp-Session-Id: b\r\n", &say("tools/list")).await;
    let sessions: Vec<(u32, Option<Flags>)> = stand
        .log
        .window(1, usize::MAX)
        .iter()
        .filter_map(|record| Some((record.session.0, record.frame()?.link.flags)))
        .map(|(session, flags)| (session, (!flags.is_empty()).then_some(flags)))
        .collect();
    let none = |session| (session, None);
    assert_eq!(sessions, [none(1), none(1), none(2), none(2), none(1), none(1), none(2), none(2)]);
    stand.host.accept_all("the end");
}

/// Exchanges end early in every way, again and again: no task and no socket may be left.
#[tokio::test(flavor = "multi_thread")]
async fn exchanges_leak_no_tasks_or_sockets_however_they_end() {
    let rounds = if std::env::var_os("SHADOWCAT_SOAK").is_some() { 2500 } else { 60 };
    let server = Server::start(|request, stream| match request.header("x-do") {
        Some("stream") => {
            let _ = stream.write_all(EVENTS);
            // Wait until the client disconnects.
            let _ = stream.read(&mut [0]);
        }
        Some("reset") => {}
        Some("half") => {
            let _ = stream.write_all(
                b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n{",
            );
        }
        _ => json(stream, RESULT),
    });
    let stand = Stand::before(server.address).await;
    let sockets = || std::fs::read_dir("/proc/self/fd").unwrap().count();
    let tasks = || tokio::runtime::Handle::current().metrics().num_alive_tasks();
    stand.ask("", CALL).await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    let before = (tasks(), sockets());
    for _ in 0..rounds {
        stand.ask("", CALL).await;
        assert_eq!(stand.ask("X-Do: reset\r\n", CALL).await.line, "HTTP/1.1 502 Bad Gateway");
        assert_eq!(rest(stand.post("X-Do: half\r\n", CALL)).await, "", "a truncated answer is not passed on");
        let mut client = stand.post("X-Do: stream\r\n", CALL);
        let mut head = [0; 15];
        client.read_exact(&mut head).unwrap();
    }
    // Tests that run at the same time open tasks and sockets too; tolerate some, but not hundreds.
    stand
        .eventually("the end of what was under way", |_| {
            let now = (tasks(), sockets());
            (now.0 <= before.0 + 10 && now.1 <= before.1 + 100).then_some(())
        })
        .await;
    let ended = stand.tape().matches(r#""r":"ended""#).count();
    assert!(ended >= rounds, "each stream's end is in the log");
}

#[tokio::test(flavor = "multi_thread")]
async fn simultaneous_clients_get_separate_sessions() {
    let server = Server::start(|request, stream| {
        let id = request.header("x-give").map_or_else(String::new, |id| format!("mcp-session-id: {id}\r\n"));
        if request.text().contains("initialize") || request.text().contains("slow") {
            std::thread::sleep(Duration::from_millis(150));
        }
        let body = br#"{"jsonrpc":"2.0","id":1,"result":{}}"#;
        respond(stream, "200 OK", &format!("content-type: application/json\r\n{id}"), body);
    });
    let stand = Stand::before(server.address).await;
    let say = |method: &str| format!(r#"{{"jsonrpc":"2.0","id":1,"method":"{method}"}}"#);
    let hello = say("initialize");
    tokio::join!(stand.ask("X-Give: a\r\n", &hello), stand.ask("X-Give: b\r\n", &hello));
    let sessions: std::collections::BTreeSet<u32> = stand
        .log
        .window(1, usize::MAX)
        .iter()
        .filter(|record| record.frame().is_some())
        .map(|record| record.session.0)
        .collect();
    assert_eq!(sessions.len(), 2, "two clients with equal handshakes get two sessions");
    assert!(stand.frames().iter().all(|(_, frame)| frame.link.flags.is_empty()));

    let slow = stand.post("Mcp-Session-Id: a\r\n", &say("slow"));
    stand.eventually("the slow call", |_| (server.seen().len() == 3).then_some(())).await;
    let deleted = read(stand.send("DELETE", "Mcp-Session-Id: a\r\n", "")).await;
    assert_eq!(deleted.line, "HTTP/1.1 200 OK");
    assert_eq!(read(slow).await.line, "HTTP/1.1 200 OK", "the call in flight is still answered");
    stand.eventually("the end", |stand| stand.tape().contains("its client deleted it").then_some(())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn truncated_bodies_never_look_complete() {
    let (sender, seen) = std::sync::mpsc::sync_channel(4);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut all = Vec::new();
            let _ = stream.read_to_end(&mut all);
            let _ = sender.send(all);
        }
    });
    let stand = Stand::with(address, Settings { inspect_limit: 1024, ..Settings::default() }).await;
    let mut client = stand.client();
    let head = "POST /mcp HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n";
    client.write_all(format!("{head}1000\r\n{}\r\n", "x".repeat(4096)).as_bytes()).unwrap();
    tokio::time::sleep(Duration::from_millis(50)).await;
    drop(client);
    let all = tokio::task::spawn_blocking(move || seen.recv_timeout(Duration::from_secs(20)).unwrap());
    let all = String::from_utf8(all.await.unwrap()).unwrap();
    assert!(all.contains("xxx") && !all.ends_with("0\r\n\r\n"), "{}", &all[all.len() - 40..]);

    let server = Server::start(|_, stream| {
        let head = "HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ntransfer-encoding: chunked\r\n\r\n";
        let _ = stream.write_all(head.as_bytes());
    });
    let stand = Stand::before(server.address).await;
    assert!(!rest(stand.post("", CALL)).await.ends_with("0\r\n\r\n"));
}

/// HTTP+SSE transport (2024-11-05): a stream names an endpoint, and carries the answers to what is
/// posted there.
#[tokio::test(flavor = "multi_thread")]
async fn http_sse_transport_is_one_session() {
    let streams: Arc<Mutex<Vec<TcpStream>>> = Arc::default();
    let server = Server::start(move |request, stream| {
        if request.line.starts_with("GET") {
            let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n";
            stream.write_all(head.as_bytes()).unwrap();
            stream.write_all(b"event: endpoint\ndata: /messages?id=hush\n\n").unwrap();
            streams.lock().unwrap().push(stream.try_clone().unwrap());
            std::thread::sleep(Duration::from_secs(20));
        } else {
            respond(stream, "202 Accepted", "content-type: text/plain\r\n", b"Accepted");
            let mut streams = streams.lock().unwrap();
            let answer = "event: message\ndata: {\"jsonrpc\":\"2.0\",\"id\":7,\"result\":{}}\n\n";
            streams[0].write_all(answer.as_bytes()).unwrap();
        }
    });
    let stand = Stand::before(server.address).await;
    let mut stream = stand.client();
    stream.write_all(b"GET /sse HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n\r\n").unwrap();
    stand.eventually("the endpoint", |stand| stand.tape().contains("event: endpoint").then_some(())).await;
    let call = r#"{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"echo"}}"#;
    let mut post = stand.client();
    let head = format!(
        "POST /messages?id=hush HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{call}",
        call.len()
    );
    post.write_all(head.as_bytes()).unwrap();
    assert_eq!(read(post).await.line, "HTTP/1.1 202 Accepted");
    let answer = stand
        .eventually("the answer", |stand| {
            stand
                .frames()
                .into_iter()
                .find(|(_, frame)| frame.kind().as_str() == "resp")
                .map(|(_, frame)| frame)
        })
        .await;
    assert!(answer.link.to.is_some() && answer.link.flags.is_empty(), "{:?}", answer.link);
    let tape = stand.tape();
    let leak = tape.lines().find(|line| line.contains("hush"));
    assert_eq!(leak, None, "the endpoint is a secret, since it gives access to the session");
}

#[tokio::test(flavor = "multi_thread")]
async fn refused_call_can_be_retried_with_the_same_id() {
    let refused = std::sync::atomic::AtomicBool::new(false);
    let server = Server::start(move |request, stream| {
        if request.text().contains("initialize") {
            let headers = "content-type: application/json\r\nmcp-session-id: a\r\n";
            respond(stream, "200 OK", headers, br#"{"jsonrpc":"2.0","id":0,"result":{}}"#);
        } else if !refused.swap(true, std::sync::atomic::Ordering::SeqCst) {
            respond(stream, "401 Unauthorized", "content-type: application/json\r\n", b"");
        } else {
            json(stream, r#"{"jsonrpc":"2.0","id":1,"result":{}}"#);
        }
    });
    let stand = Stand::before(server.address).await;
    stand.ask("", r#"{"jsonrpc":"2.0","id":0,"method":"initialize"}"#).await;
    let call = r#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#;
    assert_eq!(stand.ask("Mcp-Session-Id: a\r\n", call).await.line, "HTTP/1.1 401 Unauthorized");
    stand.ask("Mcp-Session-Id: a\r\n", call).await;
    let frames = stand.frames();
    let (again, _) = frames[frames.len() - 2];
    let answer = &frames[frames.len() - 1].1;
    assert_eq!(answer.link.to, Some(again), "{:?}", answer.link);
    assert!(frames.iter().all(|(_, frame)| frame.link.flags.is_empty()));
    assert_eq!(frames[3].1.kind().as_str(), "http", "an empty body is not a broken message");
}
