//! Sessions that are being opened: a server that installs itself first answers `initialize` late. Its client gets
//! signs of life meanwhile. One that gives up and tries again gets the answer of the process that was started for
//! its first try.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::unfold;
use http::{HeaderValue, StatusCode};
use parking_lot::Mutex;
use tokio::sync::watch;

use super::reply::{KEEP_ALIVE_INTERVAL, STREAM_AFTER};
use super::stateless::status_of;
use super::{HttpAdapter, SESSION_ID};
use crate::clock::Stamp;
use crate::http::{Answer, StreamItem};
use crate::mcp::remap::replace;
use crate::mcp::{Id, Message, compose};
use crate::session::Session;
use crate::stdio::process::ServerProcess;
use crate::transport::http::Unanswered;

/// A session that is being opened, with the process that was started for it.
pub(super) struct Opening {
    /// The value of `Mcp-Session-Id`.
    pub key: String,
    /// The params of `initialize`.
    pub params: Bytes,
    /// What tells the client from others while it has no session: its address, user agent and credentials.
    pub client: Vec<u8>,
    /// The client's session in the log.
    pub session: Arc<Session>,
    /// The process.
    pub process: Arc<ServerProcess>,
    outcome: watch::Sender<Option<Outcome>>,
    /// Set while a client waits for the outcome.
    is_wanted: AtomicBool,
    /// The time of the outcome.
    done: Mutex<Option<Stamp>>,
}

/// The outcome of an `initialize`.
#[derive(Clone)]
pub(super) enum Outcome {
    /// The server has answered.
    Answered {
        /// The messages before the answer.
        before: Vec<Message>,
        /// The answer.
        answer: Message,
        /// The code of an error.
        code: Option<i64>,
    },
    /// The server has not answered.
    Failed(Unanswered),
}

/// Time for a client that gave up to try again, once its server has answered.
const ADOPTION_TIMEOUT: Duration = Duration::from_secs(60);

impl Opening {
    pub(super) fn new(
        key: String,
        params: Bytes,
        client: Vec<u8>,
        session: Arc<Session>,
        process: Arc<ServerProcess>,
    ) -> Arc<Self> {
        let (outcome, _) = watch::channel(None);
        Arc::new(Self {
            key,
            params,
            client,
            session,
            process,
            outcome,
            is_wanted: AtomicBool::new(false),
            done: Mutex::default(),
        })
    }

    /// Gives the outcome to the client that waits for it, or will.
    pub(super) fn settle(&self, outcome: Outcome, now: Stamp) {
        *self.done.lock() = Some(now);
        self.outcome.send_replace(Some(outcome));
    }

    /// Returns `true` if no client has come back for the outcome in time.
    pub(super) fn is_forgotten(&self, now: Stamp) -> bool {
        !self.is_wanted.load(Ordering::Acquire)
            && self.done.lock().is_some_and(|done| now.since(done) > ADOPTION_TIMEOUT)
    }

    /// Returns `true` if no client waits for the outcome.
    pub(super) fn is_unwanted(&self) -> bool {
        !self.is_wanted.load(Ordering::Acquire)
    }
}

/// A client's claim to an opening: it ends when the client leaves.
pub(super) struct Claim {
    opening: Arc<Opening>,
    adapter: Arc<HttpAdapter>,
    /// The id of the client's request.
    id: Id,
}

impl Claim {
    /// Claims an opening for the request with this id; `None` if another client waits for it.
    pub(super) fn new(adapter: Arc<HttpAdapter>, opening: &Arc<Opening>, id: Id) -> Option<Self> {
        let was_wanted = opening.is_wanted.swap(true, Ordering::AcqRel);
        (!was_wanted).then(|| Self { opening: Arc::clone(opening), adapter, id })
    }

    /// Waits for the outcome, and responds; after a while with a stream that shows signs of life first.
    ///
    /// # Errors
    /// If the server does not answer.
    pub(super) async fn respond(self) -> Result<Answer, Unanswered> {
        match tokio::time::timeout(STREAM_AFTER, self.outcome()).await {
            Ok(outcome) => self.answer(outcome),
            Err(_) => Ok(self.stream()),
        }
    }

    async fn outcome(&self) -> Outcome {
        let mut outcome = self.opening.outcome.subscribe();
        let settled = outcome.wait_for(Option::is_some).await.ok().and_then(|outcome| outcome.clone());
        // The sender lives as long as the opening.
        settled.unwrap_or_else(|| Outcome::Failed(super::check::stopping()))
    }

    /// Returns the messages of an outcome, the answer last and with the id of this client.
    fn messages(&self, before: Vec<Message>, answer: &Message) -> Vec<Message> {
        let own = match answer.id() == Some(&self.id) {
            true => answer.clone(),
            false => Message::parse(replace(answer.body(), &[(&["id"], Some(&self.id))])),
        };
        before.into_iter().chain([own]).collect()
    }

    fn answer(self, outcome: Outcome) -> Result<Answer, Unanswered> {
        self.adapter.forget(&self.opening);
        let (before, answer, code) = match outcome {
            Outcome::Answered { before, answer, code } => (before, answer, code),
            Outcome::Failed(why) => return Err(why),
        };
        let mut messages = self.messages(before, &answer);
        let mut answer = match (messages.len(), messages.pop()) {
            (1, Some(only)) => Answer::message(StatusCode::OK, only),
            (_, last) => Answer::stream(futures_util::stream::iter(
                messages.into_iter().chain(last).map(StreamItem::Message),
            )),
        };
        match code {
            // The session was refused: its process ends here.
            Some(code) => answer.head.status = status_of(code, true),
            None => name(&mut answer, &self.opening.key),
        }
        Ok(answer)
    }

    /// Responds with a stream on which the outcome comes.
    fn stream(self) -> Answer {
        let key = self.opening.key.clone();
        let mut answer = Answer::stream(unfold((Some(self), Vec::new()), |(claim, mut left)| async move {
            if !left.is_empty() {
                let message = left.remove(0);
                return Some((StreamItem::Message(message), (claim, left)));
            }
            let own = claim?;
            let Ok(outcome) = tokio::time::timeout(KEEP_ALIVE_INTERVAL, own.outcome()).await else {
                return Some((StreamItem::KeepAlive, (Some(own), left)));
            };
            own.adapter.forget(&own.opening);
            left = match outcome {
                Outcome::Answered { before, answer, .. } => own.messages(before, &answer),
                Outcome::Failed(why) => {
                    let text = format!("shadowcat: {}", why.why);
                    let line = compose::failure(Some(&own.id), compose::INTERNAL_ERROR, &text);
                    vec![Message::parse(line)]
                }
            };
            let message = left.remove(0);
            Some((StreamItem::Message(message), (None, left)))
        }));
        name(&mut answer, &key);
        answer
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.opening.is_wanted.store(false, Ordering::Release);
    }
}

/// Names the session in the head of an answer.
fn name(answer: &mut Answer, key: &str) {
    if let Ok(mut value) = HeaderValue::from_str(key) {
        value.set_sensitive(true);
        answer.head.headers.insert(SESSION_ID, value);
    }
}
