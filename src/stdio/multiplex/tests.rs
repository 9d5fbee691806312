use std::io::{Read, Write};

use proptest::prelude::*;

use super::*;
use crate::mcp::Message;
use crate::session::Receipt;
use crate::transport::LinePiece;

/// Shared buffer that serves as the stdin of a server.
#[derive(Clone, Default)]
struct Stdin(Arc<Mutex<Vec<u8>>>);

impl Write for Stdin {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Reader that returns the stdout of a server in chunks.
struct Stdout(std::vec::IntoIter<Vec<u8>>);

impl crate::transport::Source for Stdout {}

impl Read for Stdout {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Some(chunk) = self.0.next() else { return Ok(0) };
        buffer[..chunk.len()].copy_from_slice(&chunk);
        Ok(chunk.len())
    }
}

fn multiplexer(chunks: Vec<Vec<u8>>, limit: usize) -> (Arc<Multiplexer>, LinkEnd, Stdin) {
    let stdin = Stdin::default();
    let server = LinkEnd { source: Box::new(Stdout(chunks.into_iter())), sink: Box::new(stdin.clone()) };
    let (multiplexer, end) = Multiplexer::with_timeout(server, limit, Duration::from_millis(20));
    (multiplexer, end, stdin)
}

fn said(line: &str) -> QueuedWrite<Receipt> {
    QueuedWrite::plain(Bytes::copy_from_slice(line.as_bytes()))
}

fn written(stdin: &Stdin) -> String {
    String::from_utf8(stdin.0.lock().clone()).unwrap()
}

fn line() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("\n".to_owned()),
        "[a-z]{1,40}\n",
        (0..9_u32).prop_map(|id| format!("{{\"jsonrpc\":\"2.0\",\"id\":{id},\"result\":{{}}}}\r\n")),
        Just("{\"jsonrpc\":\"2.0\",\"method\":\"notifications/message\"}\n".to_owned()),
    ]
}

proptest! {
    /// The first client gets its own messages byte for byte, whichever clients join and leave, and wherever
    /// the server's output is cut.
    #[test]
    fn messages_of_the_first_client_pass_unchanged(
        lines in prop::collection::vec(line(), 0..20),
        torn in "[a-z]{0,20}",
        size in 1..30_usize,
        limit in 8..60_usize,
        comings in prop::collection::vec(0..4_u8, 0..40),
    ) {
        let text = lines.concat() + &torn;
        let chunks: Vec<Vec<u8>> = text.as_bytes().chunks(size).map(<[u8]>::to_vec).collect();
        let (multiplexer, mut first, _) = multiplexer(chunks, limit);
        multiplexer.clients.lock().observe_first(&Message::parse("{\"jsonrpc\":\"2.0\",\"id\":0,\"method\":\"tools/list\"}".into()));
        let (mut got, mut there) = (Vec::new(), Vec::new());
        let mut comings = comings.into_iter();
        let mut buffer = [0; 64];
        loop {
            match comings.next() {
                Some(1) => there.push(multiplexer.add(Weak::new())),
                Some(2) => there.pop().into_iter().for_each(|(client, _)| multiplexer.leave(client)),
                _ => {}
            }
            match first.source.read(&mut buffer).unwrap() {
                0 => break,
                length => got.extend_from_slice(&buffer[..length]),
            }
        }
        prop_assert_eq!(String::from_utf8(got).unwrap(), text);
    }
}

#[test]
fn a_line_that_is_too_long_is_answered_in_either_direction() {
    let answer = format!("{{\"id\":ID,\"result\":\"{}\"}}\n", "x".repeat(200));
    let (multiplexer, mut first, stdin) = multiplexer(vec![], 100);
    let (_, mut end) = multiplexer.add(Weak::new());
    // The answer to a request of the joined client exceeds the limit.
    end.sink.write_batch(&[said("{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"a\"}\n")]).unwrap();
    let id = Message::parse(written(&stdin).into()).id().unwrap().token().to_owned();
    let chunks: Vec<Vec<u8>> = answer.replace("ID", &id).as_bytes().chunks(150).map(<[u8]>::to_vec).collect();
    let mut source = SharedOutput::new(
        &multiplexer,
        Box::new(Stdout([chunks, vec![b"\n".to_vec()]].concat().into_iter())),
    );
    let mut buffer = [0; 512];
    assert_eq!(source.read(&mut buffer).unwrap(), 1, "nothing of it is the first client's");
    let length = end.source.read(&mut buffer).unwrap();
    let refusal = Message::parse(Bytes::copy_from_slice(&buffer[..length]));
    assert_eq!(refusal.id().unwrap().token(), "1");
    assert!(refusal.is_error());
    // A request of the joined client exceeds the limit.
    let piece = |bytes: &str, last| QueuedWrite { piece: Some(LinePiece { lane: 1, last }), ..said(bytes) };
    let before = written(&stdin);
    end.sink.write_batch(&[piece("{\"jsonrpc\":\"2.0\",\"id\":5,\"method\":\"b\",", false)]).unwrap();
    end.sink.write_batch(&[piece("\"params\":{}}\n", true)]).unwrap();
    assert_eq!(written(&stdin), before);
    let length = end.source.read(&mut buffer).unwrap();
    let refusal = Message::parse(Bytes::copy_from_slice(&buffer[..length]));
    assert_eq!((refusal.id().unwrap().token(), refusal.is_error()), ("5", true));
    // Long lines of the first client pass, and nothing comes between their pieces.
    first.sink.write_batch(&[piece("{\"id\":9,", false)]).unwrap();
    let (waiting, line) = (Arc::clone(&multiplexer), Bytes::from_static(b"{}\n"));
    let writer = std::thread::spawn(move || waiting.input.write(line));
    first.sink.write_batch(&[piece("\"method\":\"c\"}\n", true)]).unwrap();
    writer.join().unwrap().unwrap();
    assert!(written(&stdin).ends_with("{\"id\":9,\"method\":\"c\"}\n{}\n"));
}

#[test]
fn a_client_that_does_not_read_is_disconnected_and_the_others_go_on() {
    let (multiplexer, _first, stdin) = multiplexer(vec![], 1 << 20);
    let (client, _end) = multiplexer.add(Weak::new());
    let (_, mut other) = multiplexer.add(Weak::new());
    let line = Bytes::from_static(b"{}\n");
    for _ in 0..=PIPE_LINES {
        multiplexer.deliver(client, line.clone());
    }
    while multiplexer.clients.lock().is_member(client) {
        std::thread::yield_now();
    }
    other.sink.write_batch(&[said("{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"a\"}\n")]).unwrap();
    assert!(written(&stdin).contains("\"method\":\"a\""));
}
