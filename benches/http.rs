//! Benchmark of `forward http` and `reverse`: requests per second, latency and memory per open
//! stream, compared with the server alone and with nginx as a plain reverse proxy, in turn in the
//! same run; and the allocations and the processor time of a call through the gateway. Run with `cargo bench --bench http`; nginx is left out if it is not installed.

#![expect(clippy::disallowed_methods, reason = "a benchmark reads the real clock")]
#![expect(
    clippy::print_stdout,
    clippy::expect_used,
    reason = "its output is its result, and it stops at the first surprise"
)]

use std::alloc::System;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use shadowcat::clock::Clock;
use shadowcat::host::{Host, Settings};
use shadowcat::http::{CallService, HttpUpstream, ProxyOptions, ProxyService};
use shadowcat::intercept::Chain;
use shadowcat::log::Log;
use shadowcat::serve::{HttpAdapter, SessionLimits};
use shadowcat::transport::child::Spec;
use shadowcat::transport::http::{Guard, Upstream, UpstreamOptions};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

/// Counts the allocations of this process.
#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const ROUNDS: usize = 5;
const REQUESTS: usize = 4000;
const CLIENTS: usize = 8;
const STREAMS: usize = 500;

const CALL: &str = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"echo","arguments":{"text":"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"}}}"#;
const RESULT: &str = r#"{"jsonrpc":"2.0","id":1,"result":{"content":[{"type":"text","text":"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"}]}}"#;

/// Starts a server that answers every POST alike, and opens a stream that stays for every GET.
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

/// Reads an HTTP message, and returns its first line and its body.
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

/// Measures the requests per second, and the median and 99th percentile of their latency in microseconds.
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
        // Send SIGTERM, not SIGKILL: nginx must stop its own workers.
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

/// Returns the resident memory of a process in kilobytes.
fn resident(child: &Child) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok()).unwrap_or_default()
}

/// Measures the memory that an open stream costs, in kilobytes.
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

/// Returns the processor time of this process so far, in microseconds. Linux counts it in hundredths of a
/// second.
fn processor_time() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields: Vec<&str> = stat.rsplit(") ").next().unwrap_or_default().split(' ').collect();
    let ticks = |at: usize| fields.get(at).and_then(|field| field.parse::<f64>().ok()).unwrap_or_default();
    (ticks(11) + ticks(12)) * 1e4
}

/// Sends one request through a service in this process, and returns the name of its session.
async fn exchange(service: &Arc<ProxyService>, session: Option<&str>, body: &'static str) -> Option<String> {
    let mut request = http::Request::builder()
        .method("POST")
        .uri("/mcp")
        .header("host", "localhost")
        .header("content-type", "application/json")
        .header("accept", "application/json, text/event-stream");
    if let Some(session) = session {
        request = request.header("mcp-session-id", session);
    }
    let request = request.body(Full::new(Bytes::from_static(body.as_bytes()))).expect("a request");
    let response = Arc::clone(service).exchange(request, (Ipv4Addr::LOCALHOST, 1).into()).await;
    let Ok(response) = response else { panic!("the connection was closed") };
    assert!(response.status().is_success(), "{}", response.status());
    let session = response.headers().get("mcp-session-id").and_then(|id| id.to_str().ok().map(str::to_owned));
    let answer = response.into_body().collect().await.expect("a body").to_bytes();
    assert!(!answer.is_empty() || body.contains("notifications/"), "an answer");
    session
}

/// Measures calls through a service in this process, without sockets of clients: calls a second, and a call's
/// allocations, allocated bytes and processor time.
async fn in_process(name: &str, host: &Arc<Host>, upstream: Arc<dyn CallService>) {
    const INITIALIZE: &str = r#"{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"bench","version":"1"}}}"#;
    const INITIALIZED: &str = r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#;
    const ADD: &str =
        r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"add","arguments":{"a":1,"b":2}}}"#;
    const CALLS: usize = 4000;
    let guard = Guard::new(Ipv4Addr::LOCALHOST.into(), &[]);
    let options = ProxyOptions { explains: true, ..ProxyOptions::default() };
    let service = ProxyService::new(Arc::clone(host), upstream, guard, name.into(), options);
    let session = exchange(&service, None, INITIALIZE).await;
    exchange(&service, session.as_deref(), INITIALIZED).await;
    for _ in 0..CALLS / 10 {
        exchange(&service, session.as_deref(), ADD).await;
    }
    let (region, processor, began) = (Region::new(ALLOCATOR), processor_time(), Instant::now());
    for _ in 0..CALLS {
        exchange(&service, session.as_deref(), ADD).await;
    }
    let (calls, change) = (CALLS as f64, region.change());
    println!(
        "{name:24} {:9.0} calls/s, {:5.1} allocations, {:6.0} bytes, {:5.1} us of processor time a call",
        calls / began.elapsed().as_secs_f64(),
        (change.allocations + change.reallocations) as f64 / calls,
        change.bytes_allocated as f64 / calls,
        (processor_time() - processor) / calls
    );
    service.close("the benchmark is over");
}

/// Measures the gateway in this process: before a process, and before an HTTP server in another process.
async fn gateway_calls(directory: &Path) {
    let program = env!("CARGO_BIN_EXE_shadowcat").to_owned();
    let command = format!("{program} demo-server");
    let words = ["reverse", "--bind", "127.0.0.1:0", "--upstream", &command];
    let mut other = Command::new(&program);
    other.args(words).env("SHADOWCAT_DATA_DIR", directory).stderr(Stdio::piped());
    let mut child = other.spawn().expect("start shadowcat");
    let mut line = String::new();
    BufReader::new(child.stderr.take().expect("stderr")).read_line(&mut line).expect("its address");
    let other = Running(child);
    let url = line.trim().trim_start_matches("listening on ").to_owned();
    let log = Log::new(Clock::system(), 64 << 20);
    let (host, _engine) = Host::start(log, Settings::default(), Chain::new());
    let spec = Spec::new(vec![program, "demo-server".into()]);
    let limits = SessionLimits { count: 8, idle: Duration::ZERO };
    let adapter = HttpAdapter::new(Arc::clone(&host), "bench".into(), spec, limits);
    in_process("before a process", &host, Arc::clone(&adapter) as Arc<dyn CallService>).await;
    adapter.close().await;
    let upstream = Upstream::new(&url, &UpstreamOptions::default()).expect("an upstream");
    in_process("before an HTTP server", &host, HttpUpstream::new(upstream)).await;
    drop(other);
}

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let scratch = tempfile::tempdir().expect("a directory");
    println!("\nthe gateway inside this process, one client");
    runtime.expect("a runtime").block_on(gateway_calls(scratch.path()));
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
