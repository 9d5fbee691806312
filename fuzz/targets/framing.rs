//! Fuzz target for lines and the messages in them: every byte is preserved, and no input of a peer panics.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use shadowcat::mcp::line::{LinePart, LineSplitter};
use shadowcat::mcp::mirror::Annotations;
use shadowcat::mcp::{Message, json, layout};

fuzz_target!(|input: (Vec<Vec<u8>>, u16)| {
    let (chunks, limit) = input;
    let mut splitter = LineSplitter::new(usize::from(limit) + 1);
    let mut out = Vec::new();
    let mut annotations = Annotations::default();
    let mut take = |piece: LinePart| match piece {
        LinePart::Line(line) => {
            out.extend_from_slice(&line);
            look(line, &mut annotations);
        }
        LinePart::Start(bytes) | LinePart::More(bytes) | LinePart::End(bytes) => {
            out.extend_from_slice(&bytes)
        }
    };
    for chunk in &chunks {
        splitter.feed(chunk);
        while let Some(piece) = splitter.next_piece() {
            take(piece);
        }
    }
    if let Some(piece) = splitter.finish() {
        take(piece);
    }
    assert_eq!(out, chunks.concat());
});

fn look(line: Bytes, annotations: &mut Annotations) {
    let message = Message::parse(line.clone());
    assert_eq!(message.raw(), &line);
    annotations.learn(&message);
    annotations.headers(&message);
    let _ = (message.target(), message.is_error(), message.param(&["_meta", "progressToken"]));
    let text = String::from_utf8_lossy(&line);
    let flat = layout::one_line(&text);
    assert!(!flat.contains('\n') && !flat.contains('\r'));
    if json::document(text.as_bytes()).is_ok() {
        assert!(json::document(layout::pretty(&text).as_bytes()).is_ok());
        assert!(json::document(flat.as_bytes()).is_ok());
    }
}
