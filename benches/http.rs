//! What `forward http` and `reverse` cost: requests a second, the time that one takes and memory per open
//! stream, against the server alone and against nginx as a plain reverse proxy, in the same run and
//! in turn. Run with `cargo bench --bench http`; nginx is left out where it is not installed.

#![expect(clippy::disallowed_methods, reason = "a benchmark reads the real clock")]
#![expect(
    clippy::print_stdout,
    clippy::expect_used,
    reason = "its output is its result, and it stops at the first surprise"
)]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const ROUNDS: usize = 5;
const REQUESTS: usize = 4000;
const CLIENTS: usize = 8;
const STREAMS: usize = 500;

const CALL: &str = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"echo","arguments":{"text":"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"}}}"#;
const RESULT: &str = r#"{"jsonrpc":"2.0","id":1,"result":{"content":[{"type":"text","text":"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"}]}}"#;

/// A server that answers every POST alike, and opens a stream that stays for every GET.
fn serve() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("listen");
    let address = listener.local_addr().expect("address");
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || {
                stream.set_nodelay(true).expect("nodelay");
                let mut writer = stream.try_clone().expect("clone");
                let mut reader = BufReader::new(stream);
                while let Some((line, _)) = message(&mut reader) {
                    let answer = match line.starts_with("GET") {
                        true => {
                            "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n: open\n\n".to_owned()
                        }
                        false => format!(
                            "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{RESULT}",
                            RESULT.len()
                        ),
                    };
                    if writer.write_all(answer.as_bytes()).is_err() {
                        return;
                    }
                }
            });
        }
    });
    address
}

/// Reads a message; its first line and its body.
fn message(reader: &mut BufReader<TcpStream>) -> Option<(String, Vec<u8>)> {
    let mut first = String::new();
    if reader.read_line(&mut first).ok()? == 0 {
        return None;
    }
    let mut length = 0;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        if line.trim().is_empty() {
            break;
        }
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().ok()?;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some((first, body))
}

fn post(path: &str) -> String {
    format!(
        "POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nAccept: application/json, text/event-stream\r\nContent-Length: {}\r\n\r\n{CALL}",
        CALL.len()
    )
}

/// Requests a second, and the median and 99th percentile of their times in microseconds.
fn load(address: SocketAddr) -> (f64, f64, f64) {
    let began = Instant::now();
    let clients: Vec<_> = (0..CLIENTS)
        .map(|_| {
            std::thread::spawn(move || {
                let stream = TcpStream::connect(address).expect("connect");
                stream.set_nodelay(true).expect("nodelay");
                let mut writer = stream.try_clone().expect("clone");
                let mut reader = BufReader::new(stream);
                let request = post("/mcp");
                let mut times = Vec::with_capacity(REQUESTS / CLIENTS);
                for _ in 0..REQUESTS / CLIENTS {
                    let sent = Instant::now();
                    writer.write_all(request.as_bytes()).expect("write");
                    let (_, body) = message(&mut reader).expect("answer");
                    assert_eq!(body.len(), RESULT.len(), "the answer is the server's");
                    times.push(sent.elapsed().as_secs_f64() * 1e6);
                }
                times
            })
        })
        .collect();
    let mut times: Vec<f64> = clients.into_iter().flat_map(|client| client.join().expect("client")).collect();
    let rate = REQUESTS as f64 / began.elapsed().as_secs_f64();
    times.sort_by(f64::total_cmp);
    (rate, times[times.len() / 2], times[times.len() * 99 / 100])
}

struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // Asked and not forced: nginx has workers that it must end itself.
        let pid = nix::unistd::Pid::from_raw(self.0.id().cast_signed());
        let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM);
        let _ = self.0.wait();
    }
}

fn shadowcat(upstream: SocketAddr, data: &Path, words: &[&str]) -> (Running, SocketAddr) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_shadowcat"));
    command.args(words).args(["--upstream", &format!("http://{upstream}/mcp")]);
    let mut child =
        command.env("SHADOWCAT_DATA_DIR", data).stderr(Stdio::piped()).spawn().expect("start shadowcat");
    let mut line = String::new();
    BufReader::new(child.stderr.take().expect("stderr")).read_line(&mut line).expect("its address");
    let address = line.trim().trim_start_matches("listening on http://").trim_end_matches("/mcp");
    (Running(child), address.parse().expect("an address"))
}

fn nginx(upstream: SocketAddr, directory: &Path) -> Option<(Running, SocketAddr)> {
    let address = TcpListener::bind("127.0.0.1:0").ok()?.local_addr().ok()?;
    let here = directory.display();
    let text = format!(
        "daemon off; worker_processes 2; pid {here}/pid; error_log {here}/error.log;\n\
         events {{ worker_connections 4096; }}\n\
         http {{ access_log off; client_body_temp_path {here}/b; proxy_temp_path {here}/p; fastcgi_temp_path {here}/f; \
         uwsgi_temp_path {here}/u; scgi_temp_path {here}/s; upstream up {{ server {upstream}; keepalive 64; }}\n\
         server {{ listen {address}; keepalive_requests 1000000; location / {{ proxy_pass http://up; \
         proxy_http_version 1.1; proxy_set_header Connection \"\"; proxy_buffering off; }} }} }}\n"
    );
    let file = directory.join("nginx.conf");
    std::fs::write(&file, text).ok()?;
    let child = Command::new("nginx")
        .arg("-c")
        .arg(&file)
        .arg("-p")
        .arg(directory)
        .stderr(Stdio::null())
        .spawn()
        .ok()?;
    let running = Running(child);
    for _ in 0..200 {
        if TcpStream::connect(address).is_ok() {
            return Some((running, address));
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    None
}

/// Resident kilobytes of a process.
fn resident(child: &Child) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok()).unwrap_or_default()
}

/// Kilobytes that an open stream costs.
fn streams(running: &Running, address: SocketAddr) -> f64 {
    let before = resident(&running.0);
    let open: Vec<TcpStream> = (0..STREAMS)
        .map(|_| {
            let mut stream = TcpStream::connect(address).expect("connect");
            stream
                .write_all(b"GET /mcp HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n\r\n")
                .expect("ask");
            let mut head = [0; 15];
            stream.read_exact(&mut head).expect("the head");
            stream
        })
        .collect();
    std::thread::sleep(Duration::from_millis(500));
    let after = resident(&running.0);
    drop(open);
    (after - before) / STREAMS as f64
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn main() {
    let directory = tempfile::tempdir().expect("a directory");
    let server = serve();
    let plain = shadowcat(server, directory.path(), &["forward", "http", "--no-tape"]);
    let recording = shadowcat(server, directory.path(), &["forward", "http"]);
    let gateway = shadowcat(server, directory.path(), &["reverse", "--bind", "127.0.0.1:0"]);
    let nginx = nginx(server, directory.path());
    let mut variants = vec![("the server alone", server)];
    variants.extend(nginx.as_ref().map(|(_, address)| ("nginx", *address)));
    variants.extend([
        ("forward http, no tape", plain.1),
        ("forward http, recording", recording.1),
        ("reverse", gateway.1),
    ]);
    let mut found = vec![Vec::new(); variants.len()];
    for _ in 0..ROUNDS {
        for (at, (_, address)) in variants.iter().enumerate() {
            found[at].push(load(*address));
        }
    }
    let peer = usize::from(nginx.is_some());
    let of = |at: usize, which: fn(&(f64, f64, f64)) -> f64| median(found[at].iter().map(which).collect());
    println!("\n{REQUESTS} calls of {} bytes by {CLIENTS} clients, medians of {ROUNDS} rounds", CALL.len());
    println!(
        "{:24} {:>9} {:>8} {:>8}  rate, p50, p99 / {}",
        "", "calls/s", "p50 us", "p99 us", variants[peer].0
    );
    for (at, (name, _)) in variants.iter().enumerate() {
        let (rate, p50, p99) = (of(at, |row| row.0), of(at, |row| row.1), of(at, |row| row.2));
        let ratios = (rate / of(peer, |row| row.0), p50 / of(peer, |row| row.1), p99 / of(peer, |row| row.2));
        println!(
            "{name:24} {rate:9.0} {p50:8.0} {p99:8.0}  {:.2}  {:.2}  {:.2}",
            ratios.0, ratios.1, ratios.2
        );
    }
    for (name, running) in [("forward http, recording", &recording), ("reverse", &gateway)] {
        println!("{STREAMS} open streams: {:.1} kB each, {name}", streams(&running.0, running.1));
    }
}
