//! Tests of `--login` before authorization servers as they are out there, with one scripted here. (Issue 12, E7.)

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::raw_http::{Seen, Server, json, respond};
use crate::support::{eventually, shadowcat};

/// What the authorization server does otherwise than usual.
#[derive(Clone, Default)]
struct Ways {
    /// Appended to the issuer where the resource names it, where the server names itself, and in `iss`.
    named: &'static str,
    itself: &'static str,
    iss: Option<&'static str>,
    /// Leaves out refresh tokens.
    no_refresh: bool,
}

#[derive(Default)]
struct State {
    valid: String,
    grants: Vec<String>,
}

struct Authority {
    server: Server,
    state: Arc<Mutex<State>>,
}

fn authority(ways: Ways) -> Authority {
    let state: Arc<Mutex<State>> = Arc::default();
    let own = Arc::clone(&state);
    let server = Server::start(move |request, stream| {
        let me = format!("http://{}", request.header("host").unwrap());
        let target = request.line.split(' ').nth(1).unwrap();
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        match path {
            "/.well-known/oauth-protected-resource/mcp" => {
                json(
                    stream,
                    &format!(r#"{{"resource":"{me}/mcp","authorization_servers":["{me}{}"]}}"#, ways.named),
                );
            }
            "/.well-known/oauth-authorization-server" => json(
                stream,
                &format!(
                    r#"{{"issuer":"{me}{}","authorization_endpoint":"{me}/authorize","token_endpoint":"{me}/token","registration_endpoint":"{me}/register","code_challenge_methods_supported":["S256"]}}"#,
                    ways.itself
                ),
            ),
            "/register" => respond(
                stream,
                "201 Created",
                "Content-Type: application/json\r\n",
                br#"{"client_id":"c","token_endpoint_auth_method":"none"}"#,
            ),
            "/authorize" => {
                let of = |name: &str| {
                    let mut pairs = url::form_urlencoded::parse(query.as_bytes());
                    pairs.find(|(key, _)| key == name).map(|(_, value)| value.into_owned()).unwrap()
                };
                let iss = ways.iss.map_or_else(String::new, |iss| format!("&iss={me}{iss}"));
                let to = format!("{}?code=C&state={}{iss}", of("redirect_uri"), of("state"));
                respond(stream, "302 Go", &format!("Location: {to}\r\n"), b"");
            }
            "/token" => {
                let mut state = own.lock().unwrap();
                let text = request.text();
                state.grants.push(
                    if text.contains("grant_type=refresh_token") { "refresh" } else { "code" }.to_owned(),
                );
                let number = state.grants.len();
                state.valid = format!("T{number}");
                let refresh =
                    if ways.no_refresh { String::new() } else { format!(r#","refresh_token":"R{number}""#) };
                json(
                    stream,
                    &format!(
                        r#"{{"access_token":"T{number}","token_type":"Bearer","expires_in":3600{refresh}}}"#
                    ),
                );
            }
            "/mcp" => {
                let valid = format!("Bearer {}", own.lock().unwrap().valid);
                match request.header("authorization") == Some(valid.as_str()) {
                    true => json(stream, r#"{"jsonrpc":"2.0","id":1,"result":{}}"#),
                    false => respond(stream, "401 No", "WWW-Authenticate: Bearer\r\n", b""),
                }
            }
            _ => respond(stream, "404 Nothing", "", b""),
        }
    });
    Authority { server, state }
}

struct Hop {
    child: Child,
    said: Arc<Mutex<String>>,
    _data: tempfile::TempDir,
}

impl Drop for Hop {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Fetches an address as a browser does, and follows redirects.
fn browse(address: &str) {
    let mut address = address.to_owned();
    for _ in 0..3 {
        let rest = address.strip_prefix("http://").unwrap();
        let (host, path) = rest.split_at(rest.find('/').unwrap());
        let mut stream = TcpStream::connect(host).unwrap();
        stream
            .write_all(format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n").as_bytes())
            .unwrap();
        let seen = Seen::read(&mut BufReader::new(stream)).unwrap();
        match seen.header("location") {
            Some(next) => address = next.to_owned(),
            None => return,
        }
    }
}

impl Hop {
    /// Starts `forward http --login` without a terminal, and opens the address that it names.
    fn start(authority: &Authority, more: &[&str]) -> Self {
        let data = tempfile::tempdir().unwrap();
        let mut command = shadowcat(data.path());
        let url = format!("http://{}/mcp", authority.server.address);
        command
            .args(["forward", "http", "--no-tape", "--login", "--no-browser", "--upstream", &url])
            .args(more);
        let mut child = command.stdin(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap());
        let said: Arc<Mutex<String>> = Arc::default();
        let own = Arc::clone(&said);
        std::thread::spawn(move || {
            let mut line = String::new();
            while lines.read_line(&mut line).is_ok_and(|length| length > 0) {
                own.lock().unwrap().push_str(&line);
                line.clear();
            }
        });
        let hop = Self { child, said, _data: data };
        let place = || {
            let said = hop.said.lock().unwrap().clone();
            let found = said.split_whitespace().find(|word| word.ends_with("open-this-address"));
            found.map(str::to_owned)
        };
        eventually("it says where the address is, before anybody has logged in", || place().is_some());
        assert!(!hop.said().contains("listening"));
        browse(std::fs::read_to_string(place().unwrap()).unwrap().trim());
        hop
    }

    fn said(&self) -> String {
        self.said.lock().unwrap().clone()
    }

    fn address(&mut self) -> Option<SocketAddr> {
        let mut found = None;
        eventually("it listens or ends", || {
            let said = self.said.lock().unwrap().clone();
            let line =
                said.lines().find_map(|line| line.strip_prefix("listening on http://").map(str::to_owned));
            found = line.map(|line| line.split('/').next().unwrap().parse().unwrap());
            found.is_some() || self.child.try_wait().unwrap().is_some()
        });
        found
    }
}

fn ask(address: SocketAddr, length: usize) -> Seen {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let body =
        format!(r#"{{"jsonrpc":"2.0","id":1,"method":"ping","params":{{"x":"{}"}}}}"#, "y".repeat(length));
    let head = format!(
        "POST /mcp HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).unwrap();
    stream.write_all(body.as_bytes()).unwrap();
    Seen::read(&mut BufReader::new(stream)).unwrap()
}

#[test]
fn issuer_that_differs_by_a_slash_is_accepted_with_a_note() {
    for ways in [Ways { named: "/", ..Ways::default() }, Ways { itself: "/", ..Ways::default() }] {
        let authority = authority(ways);
        let mut hop = Hop::start(&authority, &[]);
        let address = hop.address().unwrap_or_else(|| panic!("{}", hop.said()));
        assert!(ask(address, 0).line.contains(" 200 "));
        assert!(hop.said().contains("trailing slash"), "{}", hop.said());
    }
    let ways = Ways { iss: Some("/elsewhere"), ..Ways::default() };
    let authority = authority(ways);
    assert_eq!(Hop::start(&authority, &[]).address(), None, "anything more is another issuer");
}

#[test]
fn issuer_option_with_or_without_a_slash_names_the_same_server() {
    for (itself, given) in [("", "/"), ("/", "")] {
        let authority = authority(Ways { named: itself, itself, ..Ways::default() });
        let issuer = format!("http://{}{given}", authority.server.address);
        let mut hop = Hop::start(&authority, &["--issuer", &issuer]);
        assert!(hop.address().is_some(), "{}", hop.said());
    }
}

#[test]
fn new_token_that_is_refused_is_renewed_once() {
    let authority = authority(Ways::default());
    let mut hop = Hop::start(&authority, &[]);
    let address = hop.address().unwrap();
    authority.state.lock().unwrap().valid = "none".into();
    assert!(ask(address, 0).line.contains(" 200 "), "the server forgot its tokens in a restart");
    assert_eq!(authority.state.lock().unwrap().grants, ["code", "refresh"]);
    // A server that refuses the renewed one too refuses every token.
    authority.state.lock().unwrap().valid = "none".into();
    for _ in 0..3 {
        assert!(ask(address, 0).line.contains(" 502 "));
    }
    assert_eq!(
        authority.state.lock().unwrap().grants,
        ["code", "refresh"],
        "it is not asked again and again"
    );
}

#[test]
fn new_token_without_a_refresh_token_is_not_replaced() {
    let authority = authority(Ways { no_refresh: true, ..Ways::default() });
    let mut hop = Hop::start(&authority, &[]);
    let address = hop.address().unwrap();
    authority.state.lock().unwrap().valid = "none".into();
    assert!(ask(address, 0).line.contains(" 502 "));
    assert_eq!(authority.state.lock().unwrap().grants, ["code"]);
}

#[test]
fn long_request_is_sent_again_with_the_renewed_token() {
    let authority = authority(Ways::default());
    let mut hop = Hop::start(&authority, &[]);
    let address = hop.address().unwrap();
    authority.state.lock().unwrap().valid = "none".into();
    assert!(ask(address, 3_000_000).line.contains(" 200 "), "it is in memory anyway");
}
