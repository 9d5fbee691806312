//! What the client sends, in the order in which it goes on.

use std::collections::VecDeque;

use tokio::sync::oneshot;

use super::{Bridge, MAX_MESSAGE_BYTES};
use crate::mcp::line::{LinePart, LineSplitter};
use crate::mcp::remap::Long;
use crate::mcp::{Id, Kind, Message};
use crate::transport::memory::PipeReader;

/// A line of the client.
enum Input {
    Message(Message),
    /// The line is longer than a message may be; its id, if one was found at its beginning.
    TooLong(Option<Id>),
}

/// The client's stream, split into lines.
struct Inputs {
    stream: PipeReader,
    splitter: LineSplitter,
    has_ended: bool,
}

/// Maximum number of lines that wait for the answer to `initialize`; the client's stream is not read then.
const MAX_WAITING: usize = 1024;

impl Bridge {
    /// Reads the client's messages to the end of its stream. While `initialize` has no answer, only answers,
    /// cancellations and another `initialize` go on: the server may ask before it answers (2025-11-25,
    /// basic/lifecycle). The rest waits for the session.
    pub(super) async fn read(self: &std::sync::Arc<Self>, from_client: PipeReader) {
        let splitter = LineSplitter::new(MAX_MESSAGE_BYTES);
        let mut inputs = Inputs { stream: from_client, splitter, has_ended: false };
        let mut waiting = VecDeque::new();
        let mut opening: Option<oneshot::Receiver<()>> = None;
        loop {
            if opening.is_none() {
                match waiting.pop_front() {
                    Some(input) => {
                        opening = self.input(input).await;
                        continue;
                    }
                    None if inputs.has_ended => return,
                    None => {}
                }
            }
            tokio::select! {
                () = answered(&mut opening) => opening = None,
                came = inputs.next(), if !inputs.has_ended && waiting.len() < MAX_WAITING => {
                    for input in came {
                        match &input {
                            Input::Message(message) if opening.is_some() && goes_ahead(message) => {
                                opening = self.input(input).await.or(opening);
                            }
                            _ => waiting.push_back(input),
                        }
                    }
                }
            }
        }
    }

    async fn input(self: &std::sync::Arc<Self>, input: Input) -> Option<oneshot::Receiver<()>> {
        match input {
            Input::Message(message) => self.message(message).await,
            Input::TooLong(id) => {
                self.refuse_long(id.as_ref()).await;
                None
            }
        }
    }
}

impl Inputs {
    /// Waits for bytes of the client, and returns the lines that they end.
    async fn next(&mut self) -> Vec<Input> {
        let mut parts = Vec::new();
        match self.stream.recv().await {
            Some(chunk) => {
                self.splitter.feed(&chunk);
                while let Some(part) = self.splitter.next_piece() {
                    parts.push(part);
                }
            }
            None => {
                self.has_ended = true;
                parts.extend(self.splitter.finish());
            }
        }
        parts.into_iter().filter_map(Input::of).collect()
    }
}

impl Input {
    fn of(part: LinePart) -> Option<Self> {
        match part {
            LinePart::Line(line) if line.trim_ascii().is_empty() => None,
            LinePart::Line(line) => Some(Self::Message(Message::parse(line.trim_ascii().to_vec().into()))),
            LinePart::Start(beginning) => Some(Self::TooLong(Long::begin(&beginning).request())),
            LinePart::More(_) | LinePart::End(_) => None,
        }
    }
}

/// Waits for the answer to `initialize`, or for the news that there will be none.
async fn answered(opening: &mut Option<oneshot::Receiver<()>>) {
    match opening {
        // A sender that was dropped says that the exchange is over.
        Some(receiver) => drop(receiver.await),
        None => std::future::pending().await,
    }
}

fn goes_ahead(message: &Message) -> bool {
    match message.kind() {
        Kind::Response { .. } | Kind::Failure { .. } => true,
        _ => matches!(message.method(), Some("notifications/cancelled" | "initialize")),
    }
}
