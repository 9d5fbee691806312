//! Tests of upstream servers behind TLS and behind proxies, and of HTTP/2 on both sides.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{Request, Response, Version};
use http_body_util::{BodyExt, Full};
use hyper::service::service_fn;
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};

use crate::raw_http::{Seen, Server, json};
use crate::support::shadowcat;

/// TLS server that answers with the HTTP version of the request.
struct Secure {
    address: SocketAddr,
    /// Path of the certificate to trust.
    ca: PathBuf,
    _place: tempfile::TempDir,
    _runtime: tokio::runtime::Runtime,
}

impl Secure {
    fn start() -> Self {
        let certified = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let place = tempfile::tempdir().unwrap();
        let ca = place.path().join("ca.pem");
        std::fs::write(&ca, certified.cert.pem()).unwrap();
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(certified.signing_key.serialize_der()));
        let provider = Arc::new(tokio_rustls::rustls::crypto::aws_lc_rs::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certified.cert.der().clone()], key)
            .unwrap();
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap();
        runtime.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let acceptor = acceptor.clone();
                tokio::spawn(async move {
                    // A client that does not trust the certificate fails the TLS handshake here.
                    let Ok(stream) = acceptor.accept(stream).await else { return };
                    let service = service_fn(async |request: Request<hyper::body::Incoming>| {
                        let text =
                            format!(r#"{{"jsonrpc":"2.0","id":1,"result":"{:?}"}}"#, request.version());
                        let mut response = Response::new(Full::new(Bytes::from(text)));
                        let json = http::HeaderValue::from_static("application/json");
                        response.headers_mut().insert("content-type", json);
                        Ok::<_, std::convert::Infallible>(response)
                    });
                    let server = auto::Builder::new(TokioExecutor::new());
                    let _ = server.serve_connection(TokioIo::new(stream), service).await;
                });
            }
        });
        Self { address, ca, _place: place, _runtime: runtime }
    }

    fn url(&self) -> String {
        format!("https://localhost:{}/mcp", self.address.port())
    }
}

/// Running `forward http`.
struct Hop {
    child: Child,
    address: SocketAddr,
    /// Standard error output before the line with the address.
    said: String,
}

impl Drop for Hop {
    fn drop(&mut self) {
        // The process may have ended already; ignore the errors.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Hop {
    fn start(data: &Path, upstream: &str, options: &[&str], environment: &[(&str, &str)]) -> Self {
        let mut command = shadowcat(data);
        for name in ["HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "NO_PROXY"] {
            command.env_remove(name);
        }
        command.args(["forward", "http", "--no-tape", "--upstream", upstream]).args(options);
        command.envs(environment.iter().copied()).stdin(Stdio::null()).stderr(Stdio::piped());
        Self::listening(command)
    }

    fn listening(mut command: Command) -> Self {
        let mut child = command.spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap());
        // If the process ends before it listens, the invalid address fails the test.
        let mut hop = Self { child, address: SocketAddr::from(([0, 0, 0, 0], 0)), said: String::new() };
        let mut line = String::new();
        while lines.read_line(&mut line).unwrap() > 0 {
            if let Some(url) = line.trim().strip_prefix("listening on http://") {
                hop.address = url.split('/').next().unwrap().parse().unwrap();
                std::thread::spawn(move || std::io::copy(&mut lines, &mut std::io::sink()));
                break;
            }
            hop.said += &line;
            line.clear();
        }
        hop
    }

    fn ask(&self) -> Seen {
        let mut stream = TcpStream::connect(self.address).unwrap();
        let body = r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#;
        let head = "POST /mcp HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: application/json\r\n";
        let request = format!("{head}Content-Length: {}\r\n\r\n{body}", body.len());
        stream.write_all(request.as_bytes()).unwrap();
        Seen::read(&mut BufReader::new(stream)).unwrap()
    }
}

#[test]
fn certificate_is_trusted_with_ca_or_insecure() {
    let (server, data) = (Secure::start(), tempfile::tempdir().unwrap());
    let ca = server.ca.display().to_string();
    let trusting = Hop::start(data.path(), &server.url(), &["--ca", &ca], &[]);
    assert!(trusting.said.is_empty(), "{}", trusting.said);
    assert_eq!(trusting.ask().line, "HTTP/1.1 200 OK");
    let strict = Hop::start(data.path(), &server.url(), &[], &[]).ask();
    assert!(strict.line.contains("502"), "{}", strict.line);
    assert!(strict.text().contains("certificate"), "{}", strict.text());
    let careless = Hop::start(data.path(), &server.url(), &["--insecure"], &[]);
    assert!(careless.said.contains("--insecure trusts any certificate"), "{}", careless.said);
    assert_eq!(careless.ask().line, "HTTP/1.1 200 OK");
}

#[test]
fn invalid_ca_file_is_named_in_the_error() {
    let data = tempfile::tempdir().unwrap();
    let file = data.path().join("ca.pem");
    std::fs::write(&file, "not a certificate").unwrap();
    for path in [file.display().to_string(), data.path().join("none.pem").display().to_string()] {
        let mut command = shadowcat(data.path());
        command.args(["forward", "http", "--upstream", "https://localhost:1/mcp", "--ca", &path]);
        let output = command.output().unwrap();
        assert_eq!(output.status.code(), Some(2));
        assert!(String::from_utf8_lossy(&output.stderr).contains(&path), "{output:?}");
    }
}

#[test]
fn http_2_works_on_both_sides() {
    let (server, data) = (Secure::start(), tempfile::tempdir().unwrap());
    let ca = server.ca.display().to_string();
    let hop = Hop::start(data.path(), &server.url(), &["--ca", &ca], &[]);
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        let client = Client::builder(TokioExecutor::new()).http2_only(true).build_http::<Full<Bytes>>();
        let all = (0..20).map(|number| {
            let body = format!(r#"{{"jsonrpc":"2.0","id":{number},"method":"ping"}}"#);
            let request = Request::post(format!("http://{}/mcp", hop.address))
                .header("content-type", "application/json")
                .body(Full::new(Bytes::from(body)));
            client.request(request.unwrap())
        });
        for response in futures_util::future::join_all(all).await {
            let response = response.unwrap();
            assert_eq!((response.status().as_u16(), response.version()), (200, Version::HTTP_2));
            let body = response.into_body().collect().await.unwrap().to_bytes();
            assert!(
                String::from_utf8_lossy(&body).contains("HTTP/2.0"),
                "the request to the upstream used HTTP/2"
            );
        }
    });
}

/// Starts a CONNECT proxy, and returns its address and the requests that it receives.
fn tunnels() -> (SocketAddr, Arc<Mutex<Vec<Seen>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let asked: Arc<Mutex<Vec<Seen>>> = Arc::default();
    let seen = Arc::clone(&asked);
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let seen = Arc::clone(&seen);
            std::thread::spawn(move || {
                let mut reader = BufReader::new(stream.try_clone().unwrap());
                let Some(request) = Seen::read(&mut reader) else { return };
                let target = request.line.split(' ').nth(1).unwrap().to_owned();
                seen.lock().unwrap().push(request);
                let (mut there, mut back) = (TcpStream::connect(target).unwrap(), stream);
                back.write_all(b"HTTP/1.1 200 Connected\r\n\r\n").unwrap();
                let (mut from, mut to) = (there.try_clone().unwrap(), back.try_clone().unwrap());
                std::thread::spawn(move || std::io::copy(&mut from, &mut to));
                let _ = std::io::copy(&mut reader, &mut there);
            });
        }
    });
    (address, asked)
}

#[test]
fn environment_proxies_are_used() {
    let (server, data) = (Secure::start(), tempfile::tempdir().unwrap());
    let (proxy, asked) = tunnels();
    let ca = server.ca.display().to_string();
    let proxied = format!("http://ada:s3cret@{proxy}");
    let hop = Hop::start(data.path(), &server.url(), &["--ca", &ca], &[("HTTPS_PROXY", &proxied)]);
    assert_eq!(hop.ask().line, "HTTP/1.1 200 OK");
    let tunnel = asked.lock().unwrap()[0].clone();
    assert_eq!(tunnel.line, format!("CONNECT localhost:{} HTTP/1.1", server.address.port()));
    assert_eq!(tunnel.header("proxy-authorization"), Some("Basic YWRhOnMzY3JldA=="));
    // Without TLS, the proxy receives the whole request, with the credentials for the proxy.
    let reader = Server::start(|_, stream| json(stream, r#"{"jsonrpc":"2.0","id":1,"result":{}}"#));
    let proxied = format!("http://ada:s3cret@{}", reader.address);
    let plain = Hop::start(data.path(), "http://mcp.example/mcp", &[], &[("HTTP_PROXY", &proxied)]);
    assert_eq!(plain.ask().line, "HTTP/1.1 200 OK");
    let seen = &reader.seen()[0];
    assert_eq!(seen.line, "POST http://mcp.example/mcp HTTP/1.1");
    assert_eq!(seen.header("host"), Some("mcp.example"));
    assert_eq!(seen.header("proxy-authorization"), Some("Basic YWRhOnMzY3JldA=="));
    let environment = [("HTTPS_PROXY", "http://127.0.0.1:1"), ("NO_PROXY", "localhost")];
    let past = Hop::start(data.path(), &server.url(), &["--ca", &ca], &environment);
    assert_eq!(past.ask().line, "HTTP/1.1 200 OK", "NO_PROXY excludes this host");
    let lost = Hop::start(data.path(), &server.url(), &["--ca", &ca], &environment[..1]).ask();
    assert!(lost.line.contains("502"), "{}", lost.line);
}
