use std::io::{Read, Write};

use proptest::prelude::*;

use super::*;
use crate::mcp::Message;
use crate::session::Receipt;
use crate::transport::LinePiece;

/// What a server was written.
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

/// What a server writes, in these chunks.
struct Stdout(std::vec::IntoIter<Vec<u8>>);

impl Read for Stdout {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Some(chunk) = self.0.next() else { return Ok(0) };
        buffer[..chunk.len()].copy_from_slice(&chunk);
        Ok(chunk.len())
    }
}

fn multiplexer(chunks: Vec<Vec<u8>>, limit: usize) -> (Arc<Multiplexer>, End, Stdin) {
    let stdin = Stdin::default();
    let server = End { source: Box::new(Stdout(chunks.into_iter())), sink: Box::new(stdin.clone()) };
    let (multiplexer, end) = Multiplexer::patient(server, limit, Duration::from_millis(20));
    (multiplexer, end, stdin)
}

fn said(line: &str) -> QueuedWrite<Receipt> {
    QueuedWrite { bytes: Bytes::copy_from_slice(line.as_bytes()), receipt: None, piece: None }
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
    /// Whoever comes and goes, and wherever what the server says is cut: the first client gets what is
    /// its own, byte for byte.
    #[test]
    fn what_is_the_first_clients_passes_as_it_is(
        lines in prop::collection::vec(line(), 0..20),
        torn in "[a-z]{0,20}",
        size in 1..30_usize,
        limit in 8..60_usize,
        comings in prop::collection::vec(0..4_u8, 0..40),
    ) {
        let text = lines.concat() + &torn;
        let chunks: Vec<Vec<u8>> = text.as_bytes().chunks(size).map(<[u8]>::to_vec).collect();
        let (multiplexer, mut first, _) = multiplexer(chunks, limit);
        multiplexer.ids.lock().first_says(&Message::parse("{\"jsonrpc\":\"2.0\",\"id\":0,\"method\":\"tools/list\"}".into()));
        let (mut got, mut there) = (Vec::new(), Vec::new());
        let mut comings = comings.into_iter();
        let mut buffer = [0; 64];
        loop {
            match comings.next() {
                Some(1) => there.push(multiplexer.enter(Weak::new())),
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
    let (_, mut end) = multiplexer.enter(Weak::new());
    // The server's answer to a request of this client.
    end.sink.write_batch(&[said("{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"a\"}\n")]).unwrap();
    let id = Message::parse(written(&stdin).into()).id().unwrap().token().to_owned();
    let chunks: Vec<Vec<u8>> = answer.replace("ID", &id).as_bytes().chunks(150).map(<[u8]>::to_vec).collect();
    let mut source =
        Source::new(&multiplexer, Box::new(Stdout([chunks, vec![b"\n".to_vec()]].concat().into_iter())));
    let mut buffer = [0; 512];
    assert_eq!(source.read(&mut buffer).unwrap(), 1, "nothing of it is the first client's");
    let length = end.source.read(&mut buffer).unwrap();
    let refusal = Message::parse(Bytes::copy_from_slice(&buffer[..length]));
    assert_eq!(refusal.id().unwrap().token(), "1");
    assert!(refusal.is_error());
    // A request of this client.
    let piece = |bytes: &str, last| QueuedWrite { piece: Some(LinePiece { lane: 1, last }), ..said(bytes) };
    let before = written(&stdin);
    end.sink.write_batch(&[piece("{\"jsonrpc\":\"2.0\",\"id\":5,\"method\":\"b\",", false)]).unwrap();
    end.sink.write_batch(&[piece("\"params\":{}}\n", true)]).unwrap();
    assert_eq!(written(&stdin), before);
    let length = end.source.read(&mut buffer).unwrap();
    let refusal = Message::parse(Bytes::copy_from_slice(&buffer[..length]));
    assert_eq!((refusal.id().unwrap().token(), refusal.is_error()), ("5", true));
    // The first client's long lines pass, and nothing comes between their pieces.
    first.sink.write_batch(&[piece("{\"id\":9,", false)]).unwrap();
    let (waiting, line) = (Arc::clone(&multiplexer), Bytes::from_static(b"{}\n"));
    let writer = std::thread::spawn(move || waiting.input.write(line));
    first.sink.write_batch(&[piece("\"method\":\"c\"}\n", true)]).unwrap();
    writer.join().unwrap().unwrap();
    assert!(written(&stdin).ends_with("{\"id\":9,\"method\":\"c\"}\n{}\n"));
}

#[test]
fn one_that_does_not_read_is_let_go_and_the_others_go_on() {
    let (multiplexer, _first, stdin) = multiplexer(vec![], 1 << 20);
    let (client, _end) = multiplexer.enter(Weak::new());
    let (_, mut other) = multiplexer.enter(Weak::new());
    let line = Bytes::from_static(b"{}\n");
    for _ in 0..=PIPE_LINES {
        multiplexer.deliver(client, line.clone());
    }
    while multiplexer.ids.lock().is_member(client) {
        std::thread::yield_now();
    }
    other.sink.write_batch(&[said("{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"a\"}\n")]).unwrap();
    assert!(written(&stdin).contains("\"method\":\"a\""));
}
