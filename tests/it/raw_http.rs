//! Raw HTTP clients and servers, so that tests can compare every byte.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// HTTP request or response as read from a connection.
#[derive(Debug, Clone, Default)]
pub struct Seen {
    /// Request line or status line.
    pub line: String,
    /// Headers in their order, with the case of their names.
    pub headers: Vec<(String, String)>,
    /// Body without its transfer coding.
    pub body: Vec<u8>,
}

impl Seen {
    /// Returns the first value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        let named = |(key, _): &&(String, String)| key.eq_ignore_ascii_case(name);
        self.headers.iter().find(named).map(|(_, value)| value.as_str())
    }

    /// Returns the body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// Reads one message from a connection. Returns `None` at its end.
    pub fn read(reader: &mut BufReader<TcpStream>) -> Option<Self> {
        let mut seen = Self::default();
        let mut line = String::new();
        if reader.read_line(&mut line).ok()? == 0 {
            return None;
        }
        seen.line = line.trim_end().to_owned();
        loop {
            let mut line = String::new();
            reader.read_line(&mut line).ok()?;
            let Some((name, value)) = line.trim_end().split_once(": ") else { break };
            seen.headers.push((name.to_owned(), value.to_owned()));
        }
        if let Some(length) = seen.header("content-length") {
            seen.body = vec![0; length.parse().ok()?];
            reader.read_exact(&mut seen.body).ok()?;
        } else if seen.header("transfer-encoding").is_some() {
            loop {
                let mut line = String::new();
                reader.read_line(&mut line).ok()?;
                let mut chunk = vec![0; usize::from_str_radix(line.trim(), 16).ok()? + 2];
                reader.read_exact(&mut chunk).ok()?;
                if chunk.len() == 2 {
                    break;
                }
                seen.body.extend(&chunk[..chunk.len() - 2]);
            }
        }
        Some(seen)
    }
}

/// Server that passes the first request of each connection to a closure of the test.
pub struct Server {
    /// Address that the server listens on.
    pub address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl Server {
    /// Starts a server that writes its answers with `answer`.
    pub fn start(answer: impl Fn(&Seen, &mut TcpStream) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let seen: Arc<Mutex<Vec<Seen>>> = Arc::default();
        let (answer, requests) = (Arc::new(answer), Arc::clone(&seen));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (answer, requests) = (Arc::clone(&answer), Arc::clone(&requests));
                std::thread::spawn(move || {
                    let mut writer = stream.try_clone().unwrap();
                    let mut reader = BufReader::new(stream);
                    if let Some(request) = Seen::read(&mut reader) {
                        requests.lock().unwrap().push(request.clone());
                        answer(&request, &mut writer);
                    }
                });
            }
        });
        Self { address, seen }
    }

    /// Returns the requests received so far.
    pub fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }
}

/// Writes a response with Content-Length and `connection: close`.
pub fn respond(stream: &mut TcpStream, status: &str, headers: &str, body: &[u8]) {
    let head =
        format!("HTTP/1.1 {status}\r\nconnection: close\r\n{headers}content-length: {}\r\n\r\n", body.len());
    // The client may have disconnected; ignore the error.
    let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body));
}

/// Writes a JSON response.
pub fn json(stream: &mut TcpStream, body: &str) {
    respond(stream, "200 OK", "content-type: application/json\r\n", body.as_bytes());
}

/// Reads one message without blocking the runtime.
pub async fn read(stream: TcpStream) -> Seen {
    let read = move || Seen::read(&mut BufReader::new(stream)).unwrap_or_default();
    tokio::task::spawn_blocking(read).await.unwrap()
}

/// Reads everything until the connection ends, regularly or with an error.
pub async fn rest(mut stream: TcpStream) -> String {
    let read = move || {
        let mut all = Vec::new();
        let _ = stream.read_to_end(&mut all);
        String::from_utf8_lossy(&all).into_owned()
    };
    tokio::task::spawn_blocking(read).await.unwrap()
}
