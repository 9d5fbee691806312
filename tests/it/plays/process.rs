//! The stages with real server processes: one that can be restarted, or one that several clients share.
//! The process only relays its standard streams to the play, over a socket.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::mpsc;
use std::time::Duration;

use bytes::Bytes;
use shadowcat::host::SharedServer;
use shadowcat::log::record::SessionId;
use shadowcat::mcp::Era;
use shadowcat::session::Session;
use shadowcat::stdio::drive::Threads;
use shadowcat::stdio::link::{LinkEnd, StartedServer};
use shadowcat::stdio::multiplex::Multiplexer;
use shadowcat::stdio::restart::RestartableServer;
use shadowcat::transport::child::{Process, Spec};
use shadowcat::transport::memory;

use super::script::Peer;
use super::stage::{EngineParts, Stage};

pub struct Processes {
    parts: EngineParts,
    listener: TcpListener,
    spec: Spec,
    process: Option<Process>,
    server: Option<Connection>,
    /// Messages of servers that were replaced, unread.
    unread: Vec<String>,
    clients: HashMap<String, Client>,
    shared: Option<SharedServer>,
    session: SessionId,
}

/// The play's side of a server process.
struct Connection {
    stream: TcpStream,
    lines: mpsc::Receiver<String>,
}

struct Client {
    to_session: Option<memory::PipeWriter>,
    lines: mpsc::Receiver<String>,
    session: Arc<Session>,
    member: Option<shadowcat::stdio::multiplex::attribution::ClientId>,
    _threads: Arc<Threads>,
}

/// Maximum number of lines of a peer that a play has not read.
const MAX_LINES: usize = 4096;
/// Capacity of the pipes between a client and its session, in chunks.
const PIPE_CHUNKS: usize = 256;

impl Processes {
    pub fn new(shares: bool) -> Self {
        let parts = EngineParts::new();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let relay = format!("exec 3<>/dev/tcp/127.0.0.1/{port}; cat <&3 & exec cat >&3");
        let spec = Spec::new(["bash", "-c", &relay].map(str::to_owned).to_vec());
        let mut stage = Self {
            parts,
            listener,
            spec,
            process: None,
            server: None,
            unread: Vec::new(),
            clients: HashMap::new(),
            shared: None,
            session: SessionId(1),
        };
        match shares {
            true => stage.start_shared(),
            false => stage.start_restartable(),
        }
        stage.accept();
        stage
    }

    fn accept(&mut self) {
        let (stream, _) = self.listener.accept().unwrap();
        let lines = lines(stream.try_clone().unwrap());
        if let Some(before) = self.server.replace(Connection { stream, lines }) {
            self.unread.extend(before.lines.try_iter());
        }
    }

    fn client_end(&mut self) -> (memory::PipeWriter, mpsc::Receiver<String>, LinkEnd) {
        let (to_session, from_client) = memory::pipe(PIPE_CHUNKS);
        let (to_client, from_session) = memory::pipe(PIPE_CHUNKS);
        let end = LinkEnd { source: Box::new(from_client), sink: Box::new(to_client) };
        (to_session, lines(from_session), end)
    }

    fn start_restartable(&mut self) {
        let (server, streams) = RestartableServer::start(&self.spec, true).unwrap();
        let (to_session, lines, end) = self.client_end();
        let nowhere = Box::new(std::io::sink());
        let host = Arc::clone(&self.parts.host);
        let (session, threads) = host.open_stdio("play", &self.spec, streams, end, nowhere, false).unwrap();
        server.bind(&session);
        self.session = session.id();
        let threads = Arc::new(threads);
        let (own, running) = (Arc::clone(&session), Arc::clone(&threads));
        self.parts.runtime.spawn(async move {
            let (_no_signals, mut signals) = tokio::sync::mpsc::channel(1);
            let ended = host.run_restartable(&server, &own, &running, None, &mut signals).await;
            own.close("the server ended", Some(ended.into()));
        });
        let client = Client { to_session: Some(to_session), lines, session, member: None, _threads: threads };
        self.clients.insert(String::new(), client);
    }

    fn start_shared(&mut self) {
        let host = Arc::clone(&self.parts.host);
        let mut server = StartedServer::from(self.spec.spawn().unwrap());
        let process = server.process.clone();
        let (multiplexer, first) = Multiplexer::before(server.end, host.settings().inspect_limit);
        server.end = first;
        let (to_session, lines, end) = self.client_end();
        let nowhere = Box::new(std::io::sink());
        let (session, threads) = host.open_stdio("play", &self.spec, server, end, nowhere, false).unwrap();
        multiplexer.bind(&session);
        self.session = session.id();
        self.process = Some(process.clone());
        self.shared = Some(SharedServer { multiplexer, process, era: Era::Stateful });
        let client = Client {
            to_session: Some(to_session),
            lines,
            session,
            member: None,
            _threads: Arc::new(threads),
        };
        self.clients.insert(String::new(), client);
    }

    /// Returns a client, which joins the shared server with its first step.
    fn client(&mut self, name: &str) -> Result<&mut Client, String> {
        if !self.clients.contains_key(name) {
            let shared = self.shared.clone().ok_or("this stage has one client")?;
            let (to_session, lines, end) = self.client_end();
            let opened = self.parts.host.open_shared(name, &self.spec, &shared, end);
            let (member, session, threads) = opened.map_err(|error| error.to_string())?;
            let client = Client {
                to_session: Some(to_session),
                lines,
                session,
                member: Some(member),
                _threads: Arc::new(threads),
            };
            self.clients.insert(name.to_owned(), client);
        }
        self.clients.get_mut(name).ok_or_else(|| "no such client".to_owned())
    }
}

impl Stage for Processes {
    fn engine(&self) -> &EngineParts {
        &self.parts
    }

    fn send(&mut self, peer: &Peer, text: &str) -> Result<(), String> {
        let line = format!("{text}\n");
        if peer.is_server {
            let server = self.server.as_mut().ok_or("the server has ended")?;
            return server.stream.write_all(line.as_bytes()).map_err(|error| error.to_string());
        }
        let client = self.client(&peer.name)?;
        let to_session = client.to_session.as_mut().ok_or("this client has left")?;
        to_session.try_send(Bytes::from(line)).map(drop).map_err(|error| error.to_string())
    }

    fn act(&mut self, peer: &Peer, words: &str) -> Result<(), String> {
        match (peer.is_server, words) {
            // The process that a restart has started connects to the play.
            (true, "starts") => self.accept(),
            (true, "exits") => {
                let server = self.server.take().ok_or("the server has ended")?;
                self.unread.extend(server.lines.try_iter());
                server.stream.shutdown(std::net::Shutdown::Both).map_err(|error| error.to_string())?;
            }
            (false, "joins") => drop(self.client(&peer.name)?),
            (false, "leaves") => {
                let shared = self.shared.clone();
                let client = self.client(&peer.name)?;
                client.to_session.take();
                if let (Some(shared), Some(member)) = (shared, client.member) {
                    shared.multiplexer.leave(member);
                }
            }
            _ => return Err(format!("{peer} cannot {words:?}")),
        }
        Ok(())
    }

    fn received(&mut self, peer: &Peer) -> Option<String> {
        match peer.is_server {
            true => self.server.as_ref()?.lines.try_recv().ok(),
            false => self.client(&peer.name).ok()?.lines.try_recv().ok(),
        }
    }

    fn finish(&mut self) -> Vec<(Peer, String)> {
        for client in self.clients.values_mut() {
            client.to_session.take();
        }
        self.parts.host.close_inputs();
        if let Some(process) = &self.process {
            process.signal(nix::sys::signal::Signal::SIGTERM);
        }
        for process in self.parts.host.processes() {
            process.signal(nix::sys::signal::Signal::SIGTERM);
        }
        let server = Peer { is_server: true, name: String::new() };
        let mut rest: Vec<(Peer, String)> =
            self.unread.drain(..).map(|text| (server.clone(), text)).collect();
        if let Some(connection) = self.server.take() {
            rest.extend(until_end(&connection.lines).map(|text| (server.clone(), text)));
        }
        for (name, client) in self.clients.drain() {
            client.session.close("the play is over", None);
            let peer = Peer { is_server: false, name };
            rest.extend(client.lines.try_iter().map(|text| (peer.clone(), text)));
        }
        rest
    }

    fn session(&self) -> SessionId {
        self.session
    }
}

/// Returns the lines of a stream that ends now.
fn until_end(lines: &mpsc::Receiver<String>) -> impl Iterator<Item = String> + '_ {
    std::iter::from_fn(|| lines.recv_timeout(Duration::from_secs(10)).ok())
}

/// Reads a stream in a thread, line by line.
fn lines(stream: impl std::io::Read + Send + 'static) -> mpsc::Receiver<String> {
    let (sender, receiver) = mpsc::sync_channel(MAX_LINES);
    std::thread::spawn(move || {
        for line in BufReader::new(stream).lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    receiver
}
