//! Injected requests: exchanges of our own towards the server, with the credentials of a session. The
//! answers belong to us and never reach the client.

use std::sync::{Arc, Weak};

use http::header::{ACCEPT, CONTENT_TYPE};
use http::{HeaderValue, Method, Request};

use super::body::Outbound;
use super::call::{Answer, Call, CallBody, CallService};
use super::relay::Relay;
use super::sessions::{HttpSession, HttpSessions};
use super::{facts, fit};
use crate::log::operation::Correlation;
use crate::log::record::{Channel, Level};
use crate::mcp::compose::meta;
use crate::mcp::{Direction, Message};
use crate::session::{Lane, LaneForm, Receipt, Scope};
use crate::transport::http::headers;
use crate::transport::{QueuedWrite, WriterQueue};

/// The reason why an injected request failed.
#[derive(Debug, thiserror::Error)]
enum InjectError {
    #[error("the URL of the server has no path")]
    NoPath,
    #[error(transparent)]
    Unanswered(#[from] crate::transport::http::Unanswered),
}

/// Sends every write in the session's queue of injected requests, each in an exchange of its own, for as
/// long as the session exists.
pub fn serve(sessions: &Arc<HttpSessions>, upstream: &Arc<dyn CallService>, http_session: &Arc<HttpSession>) {
    let sessions = Arc::downgrade(sessions);
    let (upstream, http_session) = (Arc::downgrade(upstream), Arc::downgrade(http_session));
    tokio::spawn(async move {
        loop {
            let queue = http_session.upgrade().map(|http_session| Arc::clone(&http_session.injected));
            let Some(queue) = queue else { return };
            let Some(write) = queue.next().await else { return };
            let all = (Weak::upgrade(&sessions), Weak::upgrade(&upstream), Weak::upgrade(&http_session));
            let (Some(sessions), Some(upstream), Some(http_session)) = all else { return };
            tokio::spawn(send(sessions, upstream, http_session, write));
        }
    });
}

/// Sends one write in an exchange of its own; a failure is noted in the session.
pub async fn send(
    sessions: Arc<HttpSessions>,
    upstream: Arc<dyn CallService>,
    http_session: Arc<HttpSession>,
    write: QueuedWrite<Receipt>,
) {
    if let Err(why) = exchange(&sessions, &*upstream, &http_session, write).await {
        let text = format!("an exchange of our own failed: {why}");
        http_session.session.note(None, Level::Error, text);
    }
}

async fn exchange(
    sessions: &Arc<HttpSessions>,
    upstream: &dyn CallService,
    http_session: &Arc<HttpSession>,
    write: QueuedWrite<Receipt>,
) -> Result<(), InjectError> {
    let message = Message::parse(write.bytes.clone());
    let mut request = Request::new(());
    *request.method_mut() = Method::POST;
    match http_session.head() {
        Some(head) => {
            *request.uri_mut() = head.uri.clone();
            *request.headers_mut() = head.headers.clone();
        }
        // Without a request of the client there are no credentials to borrow.
        None => {
            *request.uri_mut() = upstream.address().path.parse().map_err(|_| InjectError::NoPath)?;
        }
    }
    let sent = request.headers_mut();
    headers::leave_hop(sent);
    let of_the_body: Vec<_> = sent.keys().filter(|name| headers::is_of_the_body(name)).cloned().collect();
    of_the_body.into_iter().for_each(|name| drop(sent.remove(name)));
    sent.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    sent.insert(ACCEPT, HeaderValue::from_static("application/json, text/event-stream"));
    if message.param(&["_meta", meta::PROTOCOL_VERSION]).is_some() {
        fit::repeat(sent, &sessions.context.annotations.lock().headers(&message));
    }
    let (head, ()) = request.into_parts();
    let described = head.clone();
    let frame = write.receipt.as_ref().map_or(0, |receipt| receipt.frame);
    let call = Call {
        head,
        message: Some(message),
        body: CallBody::Whole(Outbound::new(Arc::clone(&http_session.session), write)),
        context: http_session.request_context(frame),
    };
    let Answer { head, body } = upstream.call(call).await?;
    let is_stream = body.is_stream(&head.headers);
    // Answers to requests of ours are taken out of the lane; everything else on it goes nowhere.
    let nowhere = Arc::new(WriterQueue::queue());
    nowhere.abandon();
    let lane = http_session.session.open_lane(Lane {
        direction: Direction::ToClient,
        channel: Channel::Main,
        forward: Arc::clone(&nowhere),
        back: Some(Arc::clone(&http_session.injected)),
        scope: Scope::Session,
        form: if is_stream { LaneForm::Event } else { LaneForm::Body },
        correlation: Correlation::None,
        open_to_us: false,
    });
    let secret = http_session.has_secret_endpoint();
    let recorded = facts::recorded(&sessions.context.cleaner, &head.headers);
    let relay = Relay {
        sessions: Arc::clone(sessions),
        http_session: Arc::clone(http_session),
        lane,
        queue: nowhere,
        facts: facts::ExchangeFacts::new(&sessions.context.cleaner, lane, &described, secret),
        head,
        recorded,
        rewrite: None,
        op: None,
    };
    let outcome = relay.all(body, is_stream).await;
    http_session.session.close_lane(lane, outcome.err().as_deref());
    Ok(())
}
