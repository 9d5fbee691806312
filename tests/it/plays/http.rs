//! The stage of a proxy service for HTTP. The server is a `CallService` that the play speaks for. Every name
//! after `@` is an exchange.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use futures_util::StreamExt;
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Full};
use shadowcat::http::{Answer, Call, CallBody, CallService, Calling, ProxyOptions, ProxyService, StreamItem};
use shadowcat::mcp::Message;
use shadowcat::transport::http::{Guard, ServerAddress, Unanswered};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use super::script::Peer;
use super::stage::{EngineParts, Stage};

pub struct OverHttp {
    parts: EngineParts,
    service: Arc<ProxyService>,
    server: Arc<Scripted>,
    clients: HashMap<String, ClientSide>,
    /// Value of `Mcp-Session-Id` in every request, once the server has named the session.
    session_id: Option<&'static str>,
}

struct ClientSide {
    task: JoinHandle<()>,
    lines: std::sync::mpsc::Receiver<String>,
}

/// Maximum number of messages of an exchange.
const MAX_LINES: usize = 1024;
/// The header that names the exchange of a request.
const EXCHANGE: &str = "x-exchange";
/// The name of the session that the server gives in its answer to `initialize`.
const SESSION_ID: &str = "play-session";

/// The server, for which the play speaks.
struct Scripted {
    address: ServerAddress,
    exchanges: Mutex<HashMap<String, ServerSide>>,
}

#[derive(Default)]
struct ServerSide {
    /// Requests that have arrived.
    received: Vec<String>,
    /// Takes the head of the answer.
    answer: Option<oneshot::Sender<Answer>>,
    /// Takes the messages of a streamed answer.
    items: Option<mpsc::Sender<StreamItem>>,
    /// Set once the exchange was given up by its client.
    gone: Option<Arc<Mutex<bool>>>,
}

/// Notes that an answer was dropped before it ended.
struct DropFlag(Arc<Mutex<bool>>);

impl Drop for DropFlag {
    fn drop(&mut self) {
        *self.0.lock().unwrap() = true;
    }
}

impl CallService for Scripted {
    fn call(&self, call: Call) -> Calling<'_> {
        let name = call.headers().get(EXCHANGE).map_or("", |name| name.to_str().unwrap_or_default());
        let (name, method) = (name.to_owned(), call.head.method.clone());
        let CallBody::Whole(body) = call.body else {
            return Box::pin(async { Err(Unanswered::bad_gateway("a play sends no long bodies")) });
        };
        let text = String::from_utf8_lossy(&body.accept()).into_owned();
        let (sender, receiver) = oneshot::channel();
        let gone = Arc::new(Mutex::new(false));
        let mut exchanges = self.exchanges.lock().unwrap();
        let side = exchanges.entry(name).or_default();
        side.received.push(if text.is_empty() { method.to_string() } else { text });
        (side.answer, side.gone) = (Some(sender), Some(Arc::clone(&gone)));
        drop(exchanges);
        let flag = DropFlag(gone);
        Box::pin(async move {
            let answer = receiver.await;
            drop(flag);
            answer.map_err(|_| Unanswered::bad_gateway("the server broke off"))
        })
    }

    fn address(&self) -> &ServerAddress {
        &self.address
    }
}

impl OverHttp {
    pub fn new() -> Self {
        let parts = EngineParts::new();
        let address = ServerAddress {
            proxy: None,
            origin: "http://server".into(),
            authority: "server".into(),
            path: "/mcp".into(),
            target: vec!["http://server/mcp".into()],
        };
        let server = Arc::new(Scripted { address, exchanges: Mutex::default() });
        let guard = Guard::new(std::net::Ipv4Addr::LOCALHOST.into(), &[]);
        let entered = parts.runtime.enter();
        let upstream = Arc::clone(&server) as Arc<dyn CallService>;
        let service = ProxyService::new(
            Arc::clone(&parts.host),
            upstream,
            guard,
            "play".into(),
            ProxyOptions { explains: true, ..ProxyOptions::default() },
        );
        drop(entered);
        Self { parts, service, server, clients: HashMap::new(), session_id: None }
    }

    fn request(&mut self, name: &str, method: &str, text: &str) {
        let mut request = Request::builder()
            .method(method)
            .uri("/mcp")
            .header("host", "localhost")
            .header("accept", "application/json, text/event-stream")
            .header(EXCHANGE, name);
        if !text.is_empty() {
            request = request.header("content-type", "application/json");
        }
        if let Some(id) = self.session_id {
            request = request.header("mcp-session-id", id);
        }
        let request = request.body(Full::new(Bytes::copy_from_slice(text.as_bytes()))).unwrap();
        let service = Arc::clone(&self.service);
        let (sender, lines) = std::sync::mpsc::sync_channel(MAX_LINES);
        let task = self.parts.runtime.spawn(async move {
            let peer = (std::net::Ipv4Addr::LOCALHOST, 1).into();
            let Ok(response) = service.exchange(request, peer).await else {
                // The play may be over.
                let _ = sender.send("(connection closed)".to_owned());
                return;
            };
            read_response(response, &sender).await;
        });
        self.clients.insert(name.to_owned(), ClientSide { task, lines });
    }
}

/// Reports a response as lines: the status unless it is 200, then the body, or the data of each event.
async fn read_response(
    response: http::Response<shadowcat::transport::http::HttpBody>,
    lines: &std::sync::mpsc::SyncSender<String>,
) {
    let status = response.status();
    let is_stream = response.headers().get("content-type").is_some_and(|kind| kind == "text/event-stream");
    let mut body = response.into_body();
    if !is_stream {
        let bytes = body.collect().await.map(|body| body.to_bytes()).unwrap_or_default();
        let text = String::from_utf8_lossy(&bytes);
        let line = match status {
            StatusCode::OK => text.into_owned(),
            status => format!("{} {text}", status.as_u16()).trim_end().to_owned(),
        };
        // The play may be over.
        let _ = lines.send(line);
        return;
    }
    let mut pending = String::new();
    while let Some(Ok(frame)) = body.frame().await {
        pending.push_str(&String::from_utf8_lossy(&frame.into_data().unwrap_or_default()));
        while let Some((event, rest)) = pending.clone().split_once("\n\n") {
            let data = event.lines().filter_map(|line| line.strip_prefix("data: "));
            for data in data {
                let _ = lines.send(data.to_owned());
            }
            pending = rest.to_owned();
        }
    }
    let _ = lines.send("(end)".to_owned());
}

impl Stage for OverHttp {
    fn engine(&self) -> &EngineParts {
        &self.parts
    }

    fn send(&mut self, peer: &Peer, text: &str) -> Result<(), String> {
        if !peer.is_server {
            self.request(&peer.name, "POST", text);
            return Ok(());
        }
        let message = Message::parse(Bytes::copy_from_slice(text.as_bytes()));
        let mut exchanges = self.server.exchanges.lock().unwrap();
        let side = exchanges.get_mut(&peer.name).ok_or("the server has no such request")?;
        if let Some(items) = &side.items {
            return items.try_send(StreamItem::Message(message)).map_err(|_| "the client has left".into());
        }
        let answer = side.answer.take().ok_or("this request was answered")?;
        let mut response = Answer::message(StatusCode::OK, message);
        if self.session_id.is_none() && text.contains("\"protocolVersion\"") {
            self.session_id = Some(SESSION_ID);
            response.head.headers.insert("mcp-session-id", http::HeaderValue::from_static(SESSION_ID));
        }
        answer.send(response).map_err(|_| "the client has left".into())
    }

    fn act(&mut self, peer: &Peer, words: &str) -> Result<(), String> {
        let (verb, rest) = words.split_once(' ').unwrap_or((words, ""));
        if !peer.is_server {
            match verb {
                "get" => self.request(&peer.name, "GET", ""),
                "delete" => self.request(&peer.name, "DELETE", ""),
                "leaves" => {
                    let client = self.clients.remove(&peer.name).ok_or("no such client")?;
                    client.task.abort();
                }
                _ => return Err(format!("{peer} cannot {words:?}")),
            }
            return Ok(());
        }
        let mut exchanges = self.server.exchanges.lock().unwrap();
        let side = exchanges.get_mut(&peer.name).ok_or("the server has no such request")?;
        match verb {
            "streams" => {
                let answer = side.answer.take().ok_or("this request was answered")?;
                let (sender, receiver) = mpsc::channel(MAX_LINES);
                side.items = Some(sender);
                let items = futures_util::stream::unfold(receiver, |mut receiver| async move {
                    Some((receiver.recv().await?, receiver))
                });
                answer.send(Answer::stream(items.boxed())).map_err(|_| "the client has left".into())
            }
            "keeps-alive" => {
                let items = side.items.as_ref().ok_or("this answer is no stream")?;
                items.try_send(StreamItem::KeepAlive).map_err(|_| "the client has left".into())
            }
            "ends" => {
                side.items.take();
                Ok(())
            }
            "status" => {
                let answer = side.answer.take().ok_or("this request was answered")?;
                let status = rest.parse().map_err(|_| format!("not a status: {rest:?}"))?;
                answer.send(Answer::empty(status)).map_err(|_| "the client has left".into())
            }
            "breaks-off" => {
                side.answer.take();
                side.items.take();
                Ok(())
            }
            // Waits until the proxy has given the exchange up.
            "is-left" => {
                let gone = side.gone.clone().ok_or("the server has no such request")?;
                drop(exchanges);
                crate::support::eventually("the exchange is given up", || *gone.lock().unwrap());
                Ok(())
            }
            _ => Err(format!("{peer} cannot {words:?}")),
        }
    }

    fn received(&mut self, peer: &Peer) -> Option<String> {
        if !peer.is_server {
            return self.clients.get(&peer.name)?.lines.try_recv().ok();
        }
        let mut exchanges = self.server.exchanges.lock().unwrap();
        let side = exchanges.get_mut(&peer.name)?;
        (!side.received.is_empty()).then(|| side.received.remove(0))
    }

    fn finish(&mut self) -> Vec<(Peer, String)> {
        self.service.close("the play is over");
        let mut rest = Vec::new();
        for (name, side) in self.server.exchanges.lock().unwrap().drain() {
            let peer = Peer { is_server: true, name };
            rest.extend(side.received.into_iter().map(|text| (peer.clone(), text)));
        }
        for (name, client) in self.clients.drain() {
            let peer = Peer { is_server: false, name };
            client.task.abort();
            let lines = client.lines.try_iter().filter(|line| line != "(end)");
            rest.extend(lines.map(|text| (peer.clone(), text)));
        }
        rest
    }
}
