//! Fuzz target for server-sent events: every byte of a stream is preserved, however it is cut.
#![no_main]

use libfuzzer_sys::fuzz_target;
use shadowcat::mcp::sse::{Event, EventPart, EventSplitter};

fuzz_target!(|input: (Vec<Vec<u8>>, u8)| {
    let (chunks, limit) = input;
    let mut splitter = EventSplitter::new(usize::from(limit) + 1);
    let mut out = Vec::new();
    let mut take = |piece: EventPart| match piece {
        EventPart::Event(event) => {
            let edited = Event::parse(event.with_data(b"edited"));
            assert_eq!(edited.data.as_deref(), Some(&b"edited"[..]));
            out.extend_from_slice(&event.raw);
        }
        EventPart::Idle(bytes) | EventPart::Start(bytes) | EventPart::More(bytes) | EventPart::End(bytes) => {
            out.extend_from_slice(&bytes);
        }
    };
    for chunk in &chunks {
        splitter.feed(chunk);
        while let Some(piece) = splitter.next_piece() {
            take(piece);
        }
    }
    while let Some(piece) = splitter.finish() {
        take(piece);
    }
    assert_eq!(out, chunks.concat());
});
