//! The stage of a session with lanes in memory and without threads. Every name after `@` is a pair of lanes
//! of its own, whose ids are its own, as over HTTP.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use shadowcat::log::record::{LaneId, Opened, SessionId};
use shadowcat::mcp::Direction;
use shadowcat::session::{Lane, Receipt, Scope, Session};
use shadowcat::transport::WriterQueue;

use super::script::Peer;
use super::stage::{EngineParts, Stage};
use crate::support::Sink;

pub struct InMemory {
    parts: EngineParts,
    session: Arc<Session>,
    links: HashMap<String, Link>,
}

struct Link {
    to_server: LaneId,
    to_client: LaneId,
    queues: [Arc<WriterQueue<Receipt>>; 2],
    /// The bytes written to server and client, and the number of messages taken out of each.
    written: [(Sink, usize); 2],
}

impl InMemory {
    pub fn new() -> Self {
        let parts = EngineParts::new();
        let session = parts.host.open(Opened {
            name: "play".into(),
            target: vec![],
            directory: None,
            pid: None,
            own_client: false,
        });
        let mut stage = Self { parts, session, links: HashMap::new() };
        stage.link("");
        stage
    }

    fn link(&mut self, name: &str) -> &mut Link {
        let number = u32::try_from(self.links.len()).unwrap() + 1000;
        let session = &self.session;
        self.links.entry(name.to_owned()).or_insert_with(|| {
            let (server, client) = (Sink::default(), Sink::default());
            let queues = [server.clone(), client.clone()].map(|sink| Arc::new(WriterQueue::new(sink)));
            let scope = if name.is_empty() { Scope::Session } else { Scope::Of(LaneId(number)) };
            let lane = |direction, forward: &Arc<WriterQueue<Receipt>>, back: &Arc<WriterQueue<Receipt>>| {
                session.open_lane(Lane { scope, ..Lane::of_lines(direction, forward, back) })
            };
            let to_server = lane(Direction::ToServer, &queues[0], &queues[1]);
            let to_client = lane(Direction::ToClient, &queues[1], &queues[0]);
            Link { to_server, to_client, queues, written: [(server, 0), (client, 0)] }
        })
    }

    fn lane(&mut self, peer: &Peer) -> LaneId {
        let link = self.link(&peer.name);
        if peer.is_server { link.to_client } else { link.to_server }
    }
}

impl Stage for InMemory {
    fn engine(&self) -> &EngineParts {
        &self.parts
    }

    /// `\r` at the end of the text makes the line end with CRLF.
    fn send(&mut self, peer: &Peer, text: &str) -> Result<(), String> {
        let lane = self.lane(peer);
        let text = text.replace("\\r", "\r");
        self.session.receive(lane, Bytes::from(format!("{text}\n")));
        self.flush();
        Ok(())
    }

    fn act(&mut self, peer: &Peer, words: &str) -> Result<(), String> {
        let lane = self.lane(peer);
        match words {
            "end" => self.session.end(lane),
            "exit" => {
                self.session.end(lane);
                self.session.server_gone();
            }
            _ => return Err(format!("{peer} cannot {words:?}")),
        }
        Ok(())
    }

    fn flush(&mut self) {
        for link in self.links.values() {
            for queue in &link.queues {
                queue.flush(&mut |receipt, written| self.session.confirm(receipt, written));
            }
        }
    }

    fn received(&mut self, peer: &Peer) -> Option<String> {
        let (sink, taken) = &mut self.link(&peer.name).written[usize::from(!peer.is_server)];
        let bytes = sink.bytes();
        let text = String::from_utf8_lossy(&bytes);
        let line = text.split('\n').nth(*taken).filter(|_| text.matches('\n').count() > *taken)?;
        *taken += 1;
        Some(line.replace('\r', "\\r"))
    }

    fn finish(&mut self) -> Vec<(Peer, String)> {
        self.flush();
        let names: Vec<String> = self.links.keys().cloned().collect();
        let peers = names
            .iter()
            .flat_map(|name| [true, false].map(|is_server| Peer { is_server, name: name.clone() }));
        let peers: Vec<Peer> = peers.collect();
        peers.into_iter().filter_map(|peer| self.received(&peer).map(|text| (peer, text))).collect()
    }

    fn session(&self) -> SessionId {
        self.session.id()
    }
}
