//! Server of the demo: both eras over stdio, with every kind of trouble built in.

use std::io::{self, BufRead, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use serde_json::{Value, json};

use crate::mcp::compose::{self, INVALID_PARAMS, METHOD_NOT_FOUND, meta};
use crate::mcp::{Era, Id, Kind, Message, Revision};

/// Demo server that writes to `W`.
struct Server<W> {
    out: Mutex<W>,
    /// `true` once the tool `forget` has appeared.
    learnt: AtomicBool,
    asked: AtomicU64,
    /// Call that waits for an elicitation in the stateful era: the id of the elicitation, and the id
    /// of the call.
    waiting: Mutex<Option<(Id, Id)>>,
    pace: Duration,
}

/// Serves until `input` ends. `pace` is the time that one step of a slow call takes.
///
/// # Errors
/// Fails if `input` cannot be read.
pub fn serve(input: impl BufRead, out: impl Write + Send + 'static, pace: Duration) -> io::Result<()> {
    let server = Arc::new(Server {
        out: Mutex::new(out),
        learnt: AtomicBool::new(false),
        asked: AtomicU64::new(0),
        waiting: Mutex::default(),
        pace,
    });
    // A print on standard output is the classic mistake of stdio servers.
    server.write(b"DB connected (this line is not JSON-RPC)");
    for line in input.split(b'\n') {
        let message = Message::parse(line?.into());
        server.on_message(&message);
    }
    Ok(())
}

impl<W: Write + Send + 'static> Server<W> {
    fn write(&self, line: &[u8]) {
        let mut out = self.out.lock();
        // A client that is gone needs no answer; the end of its stream ends the server.
        let _ = out.write_all(line).and_then(|()| out.write_all(b"\n")).and_then(|()| out.flush());
    }

    fn say(&self, line: &Bytes) {
        self.write(line);
    }

    fn on_message(self: &Arc<Self>, message: &Message) {
        match message.kind() {
            Kind::Request { id, method, .. } => self.request(id, method, message),
            Kind::Response { id, .. } => {
                let waiting = self.waiting.lock().take();
                match waiting {
                    Some((ours, call)) if ours == *id => {
                        let name = message.outcome(&["content", "name"]).map(text).unwrap_or_default();
                        self.say(&compose::response(&call, &greeting(&name)));
                    }
                    other => *self.waiting.lock() = other,
                }
            }
            _ => {}
        }
    }

    fn request(self: &Arc<Self>, id: &Id, method: &str, message: &Message) {
        let era = match message.param(&["_meta", meta::PROTOCOL_VERSION]) {
            Some(_) => Era::Stateless,
            None => Era::Stateful,
        };
        let result = match method {
            "initialize" => json!({
                "protocolVersion": Revision::LATEST_STATEFUL.as_str(),
                "capabilities": { "tools": { "listChanged": true }, "resources": {}, "prompts": {} },
                "serverInfo": info(),
                "instructions": "A demo server. Try add, search, index, greet, learn and hang.",
            }),
            "server/discover" => json!({
                "supportedVersions": [Revision::LATEST.as_str()],
                "capabilities": { "tools": { "listChanged": true }, "resources": {}, "prompts": {} },
            }),
            "ping" if era == Era::Stateful => json!({}),
            "tools/list" => json!({ "tools": self.tools() }),
            "resources/list" => {
                json!({ "resources": [{ "uri": "demo://readme", "name": "readme", "mimeType": "text/plain" }] })
            }
            "resources/read" => {
                json!({ "contents": [{ "uri": "demo://readme", "mimeType": "text/plain", "text": "Hold me, edit me, let me go." }] })
            }
            "prompts/list" => {
                json!({ "prompts": [{ "name": "review", "description": "Review a file", "arguments": [{ "name": "path", "required": true }] }] })
            }
            "prompts/get" => {
                json!({ "messages": [{ "role": "user", "content": { "type": "text", "text": "Review it." } }] })
            }
            "tools/call" => return self.call(id, era, message),
            _ => return self.say(&compose::failure(Some(id), METHOD_NOT_FOUND, "method not found")),
        };
        self.answer(id, era, method, result);
    }

    fn answer(&self, id: &Id, era: Era, method: &str, mut result: Value) {
        if let (Era::Stateless, Value::Object(result)) = (era, &mut result) {
            result.entry("resultType").or_insert_with(|| "complete".into());
            if method.ends_with("/list") || matches!(method, "server/discover" | "resources/read") {
                result.insert("ttlMs".into(), 0.into());
                result.insert("cacheScope".into(), "private".into());
            }
            result.insert("_meta".into(), json!({ meta::SERVER_INFO: info() }));
        }
        self.say(&compose::response(id, &result));
    }

    fn call(self: &Arc<Self>, id: &Id, era: Era, message: &Message) {
        let name = message.param(&["name"]).map(text).unwrap_or_default();
        let argument =
            |key: &str| -> Option<Value> { serde_json::from_slice(message.param(&["arguments", key])?).ok() };
        match name.as_str() {
            "add" => match (argument("a").and_then(|a| a.as_f64()), argument("b").and_then(|b| b.as_f64())) {
                (Some(a), Some(b)) => self.answer(id, era, "tools/call", said(&format!("{}", a + b))),
                _ => self.refuse(id, "a and b must be numbers"),
            },
            "search" => match argument("limit") {
                Some(limit) if !limit.is_u64() => {
                    self.refuse(id, &format!("limit must be a whole number, not {limit}"));
                }
                _ => self.answer(id, era, "tools/call", said("3 issues found: #12, #40, #41")),
            },
            "index" => {
                let steps = argument("steps").and_then(|steps| steps.as_u64()).unwrap_or(4).min(100);
                let token = message
                    .param(&["_meta", "progressToken"])
                    .and_then(|token| serde_json::from_slice(token).ok());
                self.index(id.clone(), era, steps, token);
            }
            "learn" => {
                self.learnt.store(true, Ordering::Relaxed);
                self.answer(id, era, "tools/call", said("learned: forget"));
                if era == Era::Stateful {
                    self.say(&compose::notification("notifications/tools/list_changed", None));
                }
            }
            "greet" => self.greet(id, era, message),
            // A call without an answer shows the time-out of the client.
            "hang" => {}
            "forget" if self.learnt.load(Ordering::Relaxed) => {
                self.answer(id, era, "tools/call", said("forgotten"));
            }
            _ => self.say(&compose::failure(Some(id), INVALID_PARAMS, &format!("unknown tool: {name}"))),
        }
    }

    fn refuse(&self, id: &Id, why: &str) {
        self.say(&compose::failure(Some(id), INVALID_PARAMS, &format!("invalid arguments: {why}")));
    }

    /// Answers a slow call in steps, with progress notifications if the call has a token.
    fn index(self: &Arc<Self>, id: Id, era: Era, steps: u64, token: Option<Value>) {
        let server = Arc::clone(self);
        std::thread::spawn(move || {
            for step in 1..=steps {
                std::thread::sleep(server.pace);
                if let Some(token) = &token {
                    let params = json!({ "progressToken": token, "progress": step, "total": steps });
                    server.say(&compose::notification("notifications/progress", Some(&params)));
                }
            }
            server.answer(&id, era, "tools/call", said(&format!("indexed {steps} folders")));
        });
    }

    /// Answers a call that needs the user's name. The server asks for it with a request of its own in
    /// the stateful era, and with a result that requires input in the stateless era.
    fn greet(&self, id: &Id, era: Era, message: &Message) {
        let params = json!({
            "mode": "form",
            "message": "What is your name?",
            "requestedSchema": {
                "type": "object",
                "properties": { "name": { "type": "string", "title": "Your name" } },
                "required": ["name"],
            },
        });
        match era {
            Era::Stateful => {
                let ours = Id::text(&format!("ask-{}", self.asked.fetch_add(1, Ordering::Relaxed) + 1));
                *self.waiting.lock() = Some((ours.clone(), id.clone()));
                self.say(&compose::request(&ours, "elicitation/create", Some(&params)));
            }
            Era::Stateless => match message.param(&["inputResponses", "name", "content", "name"]) {
                Some(name) => self.answer(id, era, "tools/call", greeting(&text(name))),
                None if message.param(&["inputResponses"]).is_some() => {
                    self.answer(id, era, "tools/call", greeting(""));
                }
                None => {
                    let result = json!({
                        "resultType": "input_required",
                        "inputRequests": { "name": { "method": "elicitation/create", "params": params } },
                        "requestState": "greet-1",
                    });
                    self.answer(id, era, "tools/call", result);
                }
            },
        }
    }

    fn tools(&self) -> Value {
        let tool = |name: &str, description: &str, properties: Value, required: Value| {
            json!({
                "name": name,
                "description": description,
                "inputSchema": { "type": "object", "properties": properties, "required": required },
            })
        };
        let number = json!({ "type": "number" });
        let mut tools = vec![
            tool("add", "Adds two numbers", json!({ "a": number, "b": number }), json!(["a", "b"])),
            tool(
                "search",
                "Searches issues",
                json!({
                    "query": { "type": "string", "description": "what to look for" },
                    "limit": { "type": "integer", "description": "how many at most", "default": 10 },
                }),
                json!(["query"]),
            ),
            tool(
                "index",
                "Indexes folders, slowly, with progress",
                json!({ "steps": { "type": "integer" } }),
                json!([]),
            ),
            tool("greet", "Greets you, and asks for your name first", json!({}), json!([])),
            tool("learn", "Makes a new tool appear", json!({}), json!([])),
            tool("hang", "Never answers", json!({}), json!([])),
        ];
        if self.learnt.load(Ordering::Relaxed) {
            let mut forget = tool("forget", "A tool learned at run time", json!({}), json!([]));
            forget["annotations"] = json!({ "destructiveHint": true });
            tools.push(forget);
        }
        tools.into()
    }
}

fn text(token: &[u8]) -> String {
    crate::mcp::json::unescape(token).map(|text| text.into_owned()).unwrap_or_default()
}

fn said(text: &str) -> Value {
    json!({ "content": [{ "type": "text", "text": text }] })
}

fn greeting(name: &str) -> Value {
    said(&if name.is_empty() { "Hello, whoever you are.".to_owned() } else { format!("Hello, {name}!") })
}

fn info() -> Value {
    json!({ "name": "shadowcat-demo", "version": env!("CARGO_PKG_VERSION") })
}
