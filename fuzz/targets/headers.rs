//! Fuzz target for the headers of peers: challenges, headers that mirror the body, hosts, addresses
//! and secrets.
#![no_main]

use http::{HeaderMap, HeaderName, HeaderValue, Uri};
use libfuzzer_sys::fuzz_target;
use shadowcat::mcp::Message;
use shadowcat::mcp::mirror::{self, Annotations};
use shadowcat::oauth::discovery::Challenge;
use shadowcat::transport::http::coding::Decoder;
use shadowcat::transport::http::{Cleaner, Guard, Rewrite, headers};

fuzz_target!(|input: (Vec<(u8, Vec<u8>)>, String)| {
    const NAMES: [&str; 12] = [
        "www-authenticate",
        "host",
        "origin",
        "cookie",
        "set-cookie",
        "location",
        "content-type",
        "content-encoding",
        "connection",
        "mcp-name",
        "mcp-method",
        "authorization",
    ];
    let (values, text) = input;
    let mut map = HeaderMap::new();
    for (name, value) in &values {
        if let Ok(value) = HeaderValue::from_bytes(value) {
            map.append(HeaderName::from_static(NAMES[usize::from(*name) % NAMES.len()]), value);
        }
    }
    let _ = (Challenge::of(&map), Decoder::of(&map).is_ok(), headers::is_json(&map));
    let _ = Guard::new([127, 0, 0, 1].into(), &[]).check(&Uri::from_static("/"), &map);
    let cleaner = Cleaner::new();
    let _ = (
        cleaner.headers(&map),
        cleaner.url(&text),
        cleaner.endpoint(&text),
        cleaner.form(&text),
        cleaner.json(&text),
    );
    let words: Vec<String> = text.split(' ').map(str::to_owned).collect();
    assert_eq!(cleaner.command(&words).len(), words.len());
    let rewrite = Rewrite::new("http://127.0.0.1:9".into(), "https://mcp.example".into());
    if !text.contains("127.0.0.1") {
        // Rewriting to the client and back to the server restores the text.
        assert_eq!(rewrite.to_server(&rewrite.to_client(&text)), text);
    }
    rewrite.headers(&mut map);
    let request = Message::parse(text.into_bytes().into());
    let mirrored = Annotations::default().headers(&request);
    let _ = mirror::compare(&mirrored, |name| {
        map.get_all(name).iter().map(|value| value.to_str().ok().map(str::to_owned)).collect()
    });
    headers::leave_hop(&mut map);
    assert!(!map.contains_key("connection"));
});
